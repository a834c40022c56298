"""The processor makes the original's word ids, and pads regions to the longest of a batch."""

import numpy as np
import pytest
import torch
from transformers import AutoProcessor

from mmnas_hf.errors import InputError
from mmnas_hf.modeling_mmnas import MMnasModel
from mmnas_hf.processing_mmnas import MMnasProcessor, build_tokenizer, find_words, pad_regions
from tiny import tiny_config

TEXTS = ["Is the dog's ball red?", "What (exactly) is left/right?", 'A well-known 3.5 #tag; here: "quoted" * now!']


@pytest.fixture
def processor():
    return MMnasProcessor(build_tokenizer(find_words(TEXTS)))


def regions(*counts, width=8):
    generator = np.random.default_rng(0)
    features = [generator.normal(size=(count, width)).astype(np.float32) for count in counts]
    return features, [generator.uniform(0, 50, size=(count, 4)).astype(np.float32) for count in counts]


def words_of(text):
    tokenizer = build_tokenizer(find_words([text]), max_words=50)
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


# Words


def test_the_vocabulary_is_padding_unknown_cls_and_words_by_first_appearance():
    vocabulary = build_tokenizer(find_words(["b a", "a c b"])).get_vocab()
    assert vocabulary == {"PAD": 0, "UNK": 1, "CLS": 2, "b": 3, "a": 4, "c": 5}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Is THE Dog big", ["is", "the", "dog", "big"]),
        ("the dog's ball?", ["the", "dogs", "ball"]),
        ('a., b! (c) d* #e f:; "g" h\'i', ["a", "b", "c", "d", "e", "f", "g", "hi"]),
        ("well-known left/right", ["well", "known", "left", "right"]),
        ("3.5 apples", ["35", "apples"]),
        ("  many\tblanks\n ", ["many", "blanks"]),
    ],
)
def test_texts_are_cut_into_words_as_in_the_original(text, words):
    assert words_of(text) == words


def test_words_that_were_not_seen_are_unknown(processor):
    assert processor.tokenizer("is the unicorn red")["input_ids"][2] == 1


@pytest.mark.parametrize("longest", [14, 50])
def test_texts_are_cut_at_the_longest_length(longest):
    tokenizer = build_tokenizer(["word"], max_words=longest)
    assert tokenizer("word " * 60, truncation=True)["input_ids"] == [3] * longest


def test_texts_are_padded_to_the_longest_of_the_batch(processor):
    batch = processor(["is red", "is the ball red"], *regions(1, 1))
    assert batch["input_ids"].tolist()[0][2:] == [0, 0]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]


# Regions


def test_regions_are_padded_with_zeros_to_the_longest_of_the_batch(processor):
    features, boxes = regions(2, 5, 1)
    batch = processor(["is"] * 3, features, boxes)
    assert batch["region_mask"].sum(1).tolist() == [2, 5, 1]
    for row, (feature, box) in enumerate(zip(features, boxes, strict=True)):
        count = len(feature)
        assert torch.equal(batch["region_features"][row, :count], torch.tensor(feature))
        assert torch.equal(batch["region_boxes"][row, :count], torch.tensor(box))
        assert not batch["region_features"][row, count:].any()
        assert not batch["region_boxes"][row, count:].any()


@pytest.mark.parametrize(
    ("stored", "batched"),
    [(np.float16, torch.float16), (np.float32, torch.float32), (np.float64, torch.float32)],
)
def test_half_precision_stays_and_double_becomes_single(stored, batched, processor):
    features, boxes = regions(2)
    batch = processor("is", [features[0].astype(stored)], boxes)
    assert batch["region_features"].dtype == batched


def test_a_model_reads_half_precision_as_the_numbers_that_it_holds(processor):
    features, boxes = regions(3, 2)
    halves = [rows.astype(np.float16) for rows in features]
    model = MMnasModel(tiny_config(vocab_size=40, genotype="S|SG")).eval()
    inputs = [
        processor(["is", "red"], given, boxes) for given in (halves, [rows.astype(np.float32) for rows in halves])
    ]
    outputs = [model(**batch).region_states for batch in inputs]
    assert torch.equal(*outputs)


def test_boxes_may_be_left_out(processor):
    assert "region_boxes" not in processor("is", regions(2)[0])


def test_image_sizes_are_passed_on(processor):
    assert processor("is", *regions(2), image_sizes=[(480, 640)])["image_sizes"].tolist() == [[480, 640]]


def test_one_text_may_be_a_plain_string(processor):
    assert torch.equal(processor("is red", *regions(2))["input_ids"], processor(["is red"], *regions(2))["input_ids"])


def test_a_batch_has_only_what_models_take(processor):
    batch = processor("is red", *regions(2), image_sizes=[(480, 640)])
    assert sorted(batch) == sorted(processor.model_input_names)


# Storage


def test_a_saved_processor_loads_as_it_was(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    loaded, inputs = MMnasProcessor.from_pretrained(tmp_path), (TEXTS, *regions(3, 1, 2))
    expected = processor(*inputs)
    assert all(torch.equal(value, expected[name]) for name, value in loaded(*inputs).items())


def test_a_saved_processor_keeps_its_longest_length(tmp_path):
    MMnasProcessor(build_tokenizer(["word"], max_words=50)).save_pretrained(tmp_path)
    loaded = MMnasProcessor.from_pretrained(tmp_path)
    assert loaded("word " * 60, *regions(1))["input_ids"].shape == (1, 50)


def test_auto_processor_loads_a_processor_beside_its_model(processor, tmp_path):
    tiny_config(genotype="S|S").save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert type(AutoProcessor.from_pretrained(tmp_path)) is MMnasProcessor


# Wrong input


def test_texts_and_images_that_differ_in_number_raise(processor):
    with pytest.raises(InputError, match="2 texts but regions of 1 images"):
        processor(["is", "red"], *regions(2))


def test_features_and_boxes_that_differ_in_number_raise(processor):
    with pytest.raises(InputError, match=r"images have \[2\] features but \[3\] boxes"):
        processor("is", regions(2)[0], regions(3)[1])


def test_features_of_different_widths_raise():
    with pytest.raises(InputError, match=r"widths \[8, 9\]"):
        pad_regions(regions(2)[0] + regions(2, width=9)[0], None)


def test_fewer_boxes_than_images_raise(processor):
    with pytest.raises(InputError, match="boxes"):
        processor(["is", "red"], regions(2, 2)[0], regions(2)[1])
