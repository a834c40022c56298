"""A corpus makes batches that a model takes, and cuts training texts by image."""

import numpy as np
import pytest
import torch
from datasets import Dataset

from mmnas_hf.configuration_mmnas import MMnasConfig
from mmnas_hf.corpus import SMALLEST_SPLIT, WEIGHT_SHARE, Corpus
from mmnas_hf.errors import InputError
from mmnas_hf.processing_mmnas import build_tokenizer
from mmnas_hf.tasks import TASKS
from mmnas_hf.training import training_rows
from tiny import FEATURE_SIZE, SIZES, TEXTS_AN_IMAGE, tiny_corpus, tiny_data

every_task = pytest.mark.parametrize("task", TASKS)


def config_of(corpus, **changes):
    return MMnasConfig(**corpus.settings() | {"genotype": "S|RG", **SIZES, **changes})


def images_of(rows):
    return set(rows["image_id"])


# Batches


@every_task
def test_a_batch_is_what_the_tasks_model_takes(task):
    corpus = tiny_corpus(task)
    config = config_of(corpus)
    rows = corpus.task.training_rows(corpus.rows("train"))
    batch = corpus.collator(config)([rows[0], rows[5]])
    assert TASKS[task].model_class(config)(**batch).loss.isfinite()


@every_task
def test_a_batch_has_the_regions_of_its_texts_images(task):
    corpus = tiny_corpus(task)
    rows = corpus.task.training_rows(corpus.rows("train"))
    batch = corpus.collator(config_of(corpus))([rows[6], rows[0]])
    for row, number in enumerate((6, 0)):
        expected = torch.tensor(corpus.store[[rows[number]["image_id"]]].boxes[0])
        assert torch.equal(batch["region_boxes"][row, : len(expected)], expected)


@pytest.mark.parametrize("kept", [0, 100], ids=["forgotten", "remembered"])
@every_task
def test_a_batch_has_the_words_that_the_processor_finds(task, kept, monkeypatch):
    monkeypatch.setattr("mmnas_hf.corpus.TEXTS_KEPT", kept)
    corpus = tiny_corpus(task)
    rows = [*corpus.task.training_rows(corpus.rows("train"))]
    rows[1] = {**rows[1], corpus.task.text_column: "blue " * 60}  # more words than are read
    collate = corpus.collator(config_of(corpus))
    for chosen in ([0, 1, 0], [2, 0], [1]):
        texts = [rows[number][corpus.task.text_column] for number in chosen]
        batch, expected = collate([rows[number] for number in chosen]), corpus.processor.process_texts(texts)
        for name in expected:
            assert torch.equal(batch[name], expected[name])


def test_batches_are_drawn_from_rows_with_no_more_than_they_need():
    corpus = tiny_corpus("vqa")
    rows = corpus.rows("train").add_column("remark", ["none"] * len(corpus.rows("train"))).select([3, 1, 2])
    drawn = training_rows(rows, corpus.task)
    assert drawn.column_names == ["image_id", *corpus.task.columns]
    assert drawn["question"][:] == rows["question"][:]


def test_nothing_is_written_beside_the_data_for_batches(tmp_path):
    corpus = tiny_corpus("vqa")
    corpus.rows("train").save_to_disk(tmp_path)
    before = sorted(tmp_path.iterdir())
    training_rows(Dataset.load_from_disk(tmp_path).select([3, 1, 2]), corpus.task)
    assert sorted(tmp_path.iterdir()) == before


@every_task
def test_a_network_of_another_feature_width_raises(task):
    corpus = tiny_corpus(task)
    with pytest.raises(InputError, match=f"of width {FEATURE_SIZE + 1}, the data has {FEATURE_SIZE}"):
        corpus.collator(config_of(corpus, region_size=FEATURE_SIZE + 1))


@every_task
def test_the_vocabulary_is_that_of_all_splits(task):
    corpus = tiny_corpus(task)
    words = {corpus.processor.tokenizer.unk_token_id}
    for rows in corpus.splits.values():
        for row in rows:
            assert not words & set(corpus.processor.tokenizer(row[corpus.task.text_column])["input_ids"])


@every_task
def test_texts_may_be_as_long_as_the_task_says(task):
    assert tiny_corpus(task).processor.tokenizer.model_max_length == {"vqa": 14, "vgd": 14, "itm": 50}[task]


def test_a_given_tokenizer_is_kept():
    tokenizer = build_tokenizer(["quite other words"])
    assert Corpus(TASKS["vqa"], tiny_data("vqa"), tokenizer).processor.tokenizer is tokenizer


@every_task
def test_settings_size_the_network(task):
    corpus = tiny_corpus(task)
    config = config_of(corpus)
    assert (config.vocab_size, config.region_size) == (len(corpus.processor.tokenizer), FEATURE_SIZE)


# Rows


def test_an_unknown_split_raises():
    with pytest.raises(InputError, match="no split 'spring'; this data set has: train, validation, test"):
        tiny_corpus("vqa").rows("spring")


@pytest.mark.parametrize("images", [1, 3])
def test_rows_may_be_those_of_the_first_images(images):
    corpus = tiny_corpus("vqa")
    assert corpus.rows("test", images).to_list() == corpus.rows("test").to_list()[: images * TEXTS_AN_IMAGE]


# The search's two parts


@every_task
def test_the_searchs_parts_share_no_image(task):
    split = tiny_corpus(task).search_split(0)
    assert not images_of(split.weights) & images_of(split.architecture)


@every_task
def test_the_searchs_parts_are_all_training_texts(task):
    corpus = tiny_corpus(task)
    split = corpus.search_split(0)
    assert images_of(split.weights) | images_of(split.architecture) == images_of(corpus.rows("train"))
    assert len(split.weights) + len(split.architecture) == len(corpus.rows("train"))


def test_weight_steps_get_four_fifths_of_the_images():
    corpus = tiny_corpus("vqa")
    assert WEIGHT_SHARE == 0.8
    assert len(images_of(corpus.search_split(0).weights)) == 0.8 * len(images_of(corpus.rows("train")))


def test_the_searchs_parts_are_seeded():
    first, again, other = (images_of(tiny_corpus("vqa").search_split(seed).architecture) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_the_smallest_data_that_can_be_split():
    images = SMALLEST_SPLIT // TEXTS_AN_IMAGE * 5
    split = tiny_corpus("vqa", images={"train": images, "test": 2}).search_split(0)
    assert len(split.architecture) == SMALLEST_SPLIT


def test_data_too_small_to_split_raises():
    images = SMALLEST_SPLIT // TEXTS_AN_IMAGE * 5 - 5
    with pytest.raises(InputError, match=f"{2 * images} training texts about {images} images are too few to split"):
        tiny_corpus("vqa", images={"train": images, "test": 2}).search_split(0)


# Hidden images


@every_task
def test_a_blind_corpus_has_the_same_texts_and_empty_regions(task):
    corpus = tiny_corpus(task)
    rows = corpus.task.training_rows(corpus.rows("train"))
    shown, hidden = (part.collator(config_of(corpus))([rows[0], rows[1]]) for part in (corpus, corpus.blind()))
    assert not hidden["region_features"].any()
    assert shown["region_features"].any()
    assert all(torch.equal(hidden[name], shown[name]) for name in shown if name != "region_features")


# Wrong data


def with_images(change):
    data = tiny_data("vqa")
    images = data.images.to_list()
    change(images)
    return data._replace(images=Dataset.from_list(images, features=data.images.features))


def test_features_that_are_nan_raise():
    def spoil(images):
        images[2]["features"] = np.full((len(images[2]["boxes"]), FEATURE_SIZE), np.nan, np.float16).tobytes()

    with pytest.raises(InputError, match="'train-2' has features or boxes that are NaN"):
        Corpus(TASKS["vqa"], with_images(spoil))


def test_a_text_about_an_image_that_is_not_there_raises():
    with pytest.raises(InputError, match="no image 'train-2'"):
        Corpus(TASKS["vqa"], with_images(lambda images: images.pop(2)))


@every_task
@pytest.mark.parametrize("column", ["image_id", "text"])
def test_texts_without_a_column_raise(task, column):
    data = tiny_data(task)
    column = TASKS[task].text_column if column == "text" else column
    texts = {split: rows.remove_columns(column) for split, rows in data.texts.items()}
    with pytest.raises(InputError, match=column):
        Corpus(TASKS[task], data._replace(texts=texts))


@pytest.mark.parametrize(
    ("roles", "watched"),
    [({}, "validation"), ({"validation": "test"}, "train"), ({"test": "validation+test"}, "train")],
)
def test_no_search_is_watched_on_texts_that_are_tested_on(roles, watched):
    corpus = Corpus(TASKS["vqa"], tiny_data("vqa"), roles=roles)
    assert {row["image_id"].split("-")[0] for row in corpus.watched_rows(0)} == {watched}
    assert len(set(corpus.watched_rows(0, 3)["image_id"])) == 3
