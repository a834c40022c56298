"""Pipelines answer, ground and match: from any form of input, one by one or in batches, and after storage."""

from collections.abc import Iterator
from copy import copy

import datasets
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch.utils.data import Dataset, IterableDataset
from transformers.pipelines.pt_utils import KeyDataset

from mmnas_hf import Detection, InputError, MMnasConfig, draw
from mmnas_hf.boxes import clip, decode_deltas
from mmnas_hf.data import IMAGE_FEATURES, RegionStore
from mmnas_hf.pipeline_mmnas import PIPELINES, TOP_K
from mmnas_hf.training import build_model
from pipelines import (
    TASK_OF,
    TEXTS,
    Made,
    make_pipeline,
    random_detection,
    same,
    unlike_inputs,
)
from tiny import FEATURE_SIZE, HEIGHT, SIZES, SPACE, WIDTH

VQA, VGD, ITM = PIPELINES


@pytest.fixture(scope="module")
def made() -> dict[str, Made]:
    return {name: make_pipeline(name) for name in PIPELINES}


@pytest.fixture(params=PIPELINES)
def pipe(request, made):
    return made[request.param].pipe


@pytest.fixture
def vqa(made):
    return made[VQA].pipe


@pytest.fixture
def picture() -> Image.Image:
    return Image.new("RGB", (WIDTH, HEIGHT), "red")


class CountingDetector:
    """Finds four regions that follow from the picture's first pixel, and counts the pictures."""

    def __init__(self):
        self.seen = []

    def __call__(self, picture: Image.Image) -> Detection:
        self.seen.append(picture)
        return random_detection(4, seed=sum(picture.getpixel((0, 0))))


@torch.no_grad()
def outputs_of(pipe, given, **settings):
    """What the network itself says of one input."""
    inputs = pipe.processor(given[pipe.text_key], *([part] for part in given["regions"]))
    return pipe.model(**inputs, **settings)


# What is found


def test_answers_are_the_networks_best_with_their_probabilities(vqa):
    for given in unlike_inputs(vqa):
        scores = outputs_of(vqa, given).logits[0].sigmoid()
        records = vqa(given)
        assert [record["answer"] for record in records] == [
            vqa.model.config.id2label[i] for i in scores.argsort().flip(0).tolist()
        ]
        assert [record["score"] for record in records] == pytest.approx(scores.sort(descending=True).values.tolist())


def test_boxes_are_moved_regions_in_pixels_with_the_probability_of_each(made):
    pipe = made[VGD].pipe
    for given in unlike_inputs(pipe):
        outputs, image = outputs_of(pipe, given), given["regions"]
        moved = clip(decode_deltas(torch.tensor(image.boxes), outputs.box_deltas[0]), torch.tensor([HEIGHT, WIDTH]))
        scores = outputs.logits[0].softmax(-1)
        records = pipe(given, top_k=99)
        assert len(records) == len(image.boxes)
        assert sum(record["score"] for record in records) == pytest.approx(1)
        for record, place in zip(records, scores.argsort(descending=True, stable=True).tolist(), strict=True):
            assert record["score"] == pytest.approx(scores[place].item())
            assert record["box"] == pytest.approx(moved[place].tolist())


def test_boxes_stay_inside_the_image():
    pipe = make_pipeline(VGD).pipe
    torch.nn.init.constant_(pipe.model.head.box.bias, 20.0)
    boxes = np.array([record["box"] for record in pipe({"expression": "red", "regions": random_detection(6)}, top_k=6)])
    assert (boxes >= 0).all()
    assert (boxes <= [WIDTH - 1, HEIGHT - 1] * 2).all()


def with_regions_unlike_each_other(corpus):
    """The corpus with features in which no two regions are the same, for then rounding would tell which is the best."""
    changed = copy(corpus)
    images = [
        image | {"features": random_detection(len(image["boxes"]), seed).features.astype(np.float16).tobytes()}
        for seed, image in enumerate(corpus.store.images)
    ]
    changed.store = RegionStore(datasets.Dataset.from_list(images, features=IMAGE_FEATURES))
    return changed


@pytest.mark.parametrize("name", [VQA, VGD])
def test_a_data_set_is_answered_as_its_evaluation_answers_it(name, made):
    pipe, corpus = made[name].pipe, with_regions_unlike_each_other(made[name].corpus)
    rows, images = corpus.rows("test"), {image["image_id"]: image for image in corpus.store.images}
    inputs = ({pipe.text_key: row[pipe.text_key], "regions": images[row["image_id"]]} for row in rows)
    batch = corpus.collator(pipe.model.config)(list(rows))
    batch.pop("labels")
    outputs = [output.detach() for output in pipe.model(**batch).to_tuple()]
    kept = corpus.task.reduce(tuple(outputs) if len(outputs) > 1 else outputs[0])
    expected = corpus.task.answers(as_arrays(kept), rows, corpus.store, pipe.model.config)
    key = "answer" if name == VQA else "box"
    records = [records[0] for records in pipe(inputs, batch_size=8)]
    assert same([{key: record[key]} for record in records], [{key: record[key]} for record in expected])


def as_arrays(kept):
    return tuple(part.numpy() for part in kept) if isinstance(kept, tuple) else kept.numpy()


def test_a_pair_has_one_score(made):
    pipe = made[ITM].pipe
    for given in unlike_inputs(pipe):
        assert pipe(given) == {"score": pytest.approx(outputs_of(pipe, given).logits.sigmoid().item())}


@pytest.mark.parametrize("name", [VQA, VGD])
def test_top_k_limits_the_records_to_the_best(name, made):
    pipe = made[name].pipe
    given = unlike_inputs(pipe)[1]
    everything = pipe(given, top_k=99)
    for top_k in (1, 2):
        assert pipe(given, top_k=top_k) == everything[:top_k]
    assert pipe(given) == everything[:TOP_K]
    scores = [record["score"] for record in everything]
    assert scores == sorted(scores, reverse=True)


# Attention


@pytest.mark.parametrize("name", [VQA, VGD])
def test_attention_comes_with_every_record(name, made):
    pipe = made[name].pipe
    given = unlike_inputs(pipe)[1]
    records = pipe(given, return_attention=True)
    assert all(record.keys() > {"words", "regions"} for record in records)
    assert [{key: record[key] for key in record.keys() - {"words", "regions"}} for record in records] == pipe(given)


def test_attention_is_the_networks_own(pipe):
    for given in unlike_inputs(pipe):
        outputs = outputs_of(pipe, given, output_attentions=True)
        result = pipe(given, return_attention=True)
        record = result if isinstance(result, dict) else result[0]
        words, regions = record["words"], record["regions"]
        assert [word["weight"] for word in words] == pytest.approx(outputs.word_weights[0].tolist())
        assert [region["weight"] for region in regions] == pytest.approx(outputs.region_weights[0].tolist())
        assert [region["box"] for region in regions] == given["regions"].boxes.tolist()
        assert sum(word["weight"] for word in words) == pytest.approx(1)
        assert sum(region["weight"] for region in regions) == pytest.approx(1)


def test_attention_names_the_words_that_the_network_reads(vqa):
    (record,) = vqa({"question": "Is a ZEBRA red?", "regions": random_detection(2)}, top_k=1, return_attention=True)
    assert [word["word"] for word in record["words"]] == ["is", "UNK", "UNK", "red"]


def test_networks_keep_attention_to_themselves_unless_asked(vqa):
    outputs = outputs_of(vqa, unlike_inputs(vqa)[0])
    assert outputs.word_weights is None
    assert outputs.region_weights is None


def test_settings_may_be_given_at_the_start():
    made = make_pipeline(VQA)
    settings = {"top_k": 1, "return_attention": True, "batch_size": 4}
    pipe = transformers.pipeline(VQA, model=made.pipe.model, processor=made.corpus.processor, **settings)
    given = unlike_inputs(pipe)
    assert same(pipe(given), [made.pipe(one, top_k=1, return_attention=True) for one in given])
    assert len(pipe(given[1], top_k=2)) == 2


# Forms of inputs


class Listed(Dataset):
    """A data set of torch's kind over a list, which knows no end but its length."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index % len(self.items)]


class Streamed(IterableDataset):
    """A stream of torch's kind."""

    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


def as_rows(inputs):
    """A `datasets.Dataset` whose rows have arrays, as an image table joined to texts would."""
    return datasets.Dataset.from_list([{**one, "regions": None, **one["regions"]._asdict()} for one in inputs])


FORMS = {
    "list": list,
    "tuple": tuple,
    "generator": lambda inputs: (one for one in inputs),
    "iterator": iter,
    "torch data set": Listed,
    "torch stream": Streamed,
    "data set": as_rows,
    "stream": lambda inputs: as_rows(inputs).to_iterable_dataset(),
}


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_inputs_and_any_batch_size_gives_what_single_inputs_give(form, batch_size, pipe):
    inputs = unlike_inputs(pipe)
    singles = [pipe(one, return_attention=True) for one in inputs]
    results = pipe(FORMS[form](inputs), batch_size=batch_size, return_attention=True)
    assert isinstance(results, list) == (form in {"list", "tuple"})
    assert same(list(results), singles)


def test_batches_are_padded_to_their_longest_and_what_is_padded_is_masked(vqa, monkeypatch):
    batches = []
    forward = vqa.model.forward
    monkeypatch.setattr(vqa.model, "forward", lambda **inputs: batches.append(inputs) or forward(**inputs))
    vqa(unlike_inputs(vqa), batch_size=4)
    assert [batch["region_features"].shape for batch in batches] == [(4, 6, FEATURE_SIZE), (3, 6, FEATURE_SIZE)]
    assert [batch["region_mask"].sum(1).tolist() for batch in batches] == [[3, 6, 1, 4], [5, 2, 6]]
    assert [batch["attention_mask"].sum(1).tolist() for batch in batches] == [[1, 5, 3, 3], [3, 1, 3]]
    for batch in batches:
        assert not batch["region_features"][~batch["region_mask"]].any()
        assert not batch["region_boxes"][~batch["region_mask"]].any()


def test_generators_are_read_no_further_than_needed(vqa):
    read = []

    def endless() -> Iterator:
        while True:
            read.append(len(read))
            yield unlike_inputs(vqa)[0]

    results = vqa(endless())
    next(iter(results))
    assert len(read) <= 2


def test_no_inputs_give_no_results(pipe):
    assert pipe([]) == []
    assert list(pipe(one for one in ())) == []


TEXT_FORMS = {
    "one": lambda texts: texts[0],
    "list": list,
    "generator": lambda texts: (text for text in texts),
    "data set": lambda texts: KeyDataset(datasets.Dataset.from_dict({"text": texts}), "text"),
    "torch data set": Listed,
}


@pytest.mark.parametrize("form", TEXT_FORMS)
def test_texts_may_share_an_image_that_is_given_by_name(form, pipe):
    image, texts = random_detection(4), list(TEXTS)
    expected = [pipe({pipe.text_key: text, "regions": image}) for text in texts]
    results = pipe(TEXT_FORMS[form](texts), regions=image, batch_size=3)
    assert same(results if form == "one" else list(results), expected[0] if form == "one" else expected)


def test_a_shared_picture_is_looked_at_once(picture):
    detector = CountingDetector()
    pipe = make_pipeline(VQA, detector=detector).pipe
    assert len(pipe(["red?", "green?", "blue?"], image=picture)) == 3
    assert len(detector.seen) == 1


# Forms of images


def image_forms(folder, picture):
    """The same regions, in every form."""
    image = random_detection(4, seed=sum(picture.getpixel((0, 0))))
    half = Detection(image.features.astype(np.float16), *image[1:])
    np.savez(
        folder / "image.npz", x=image.features.T, bbox=image.boxes, image_h=np.int64(HEIGHT), image_w=np.int64(WIDTH)
    )
    picture.save(folder / "image.png")
    arrays = {"features": image.features, "boxes": image.boxes}
    return {
        "detection": {"regions": image},
        "mapping": {"regions": {**arrays, "image_size": image.image_size}},
        "arrays": {**arrays, "image_size": image.image_size},
        "lists": {"features": image.features.tolist(), "boxes": image.boxes.tolist(), "image_size": [HEIGHT, WIDTH]},
        "tensors": {name: torch.tensor(array) for name, array in arrays.items()} | {"image_size": (HEIGHT, WIDTH)},
        "height and width": {**arrays, "height": HEIGHT, "width": WIDTH},
        "feature file": {"regions": folder / "image.npz"},
        "feature file by name": {"image": str(folder / "image.npz")},
        "row of a table": {
            "features": half.features.tobytes(),
            "boxes": image.boxes.tolist(),
            "height": HEIGHT,
            "width": WIDTH,
        },
        "picture": {"image": picture},
        "picture with alpha": {"image": picture.convert("RGBA")},
        "picture file": {"image": folder / "image.png"},
        "regions before a picture": {"regions": image, "image": Image.new("RGB", (WIDTH, HEIGHT), "white")},
    }


@pytest.mark.parametrize("shared", [False, True])
def test_every_form_of_an_image_gives_the_same(shared, tmp_path, picture):
    pipe = make_pipeline(VQA, detector=CountingDetector()).pipe
    for form, given in image_forms(tmp_path, picture).items():
        result = pipe("is it red", **given) if shared else pipe({"question": "is it red", **given})
        expected = pipe({"question": "is it red", "regions": random_detection(4, seed=255)})
        assert same(result, expected, 1e-2 if form == "row of a table" else 1e-5), form


def test_a_detector_is_asked_only_for_pictures(picture):
    detector = CountingDetector()
    pipe = make_pipeline(VQA, detector=detector).pipe
    given = [{"question": "red?", "image": picture}, {"question": "red?", "regions": random_detection(3)}]
    pipe(given)
    assert len(detector.seen) == 1
    assert detector.seen[0].mode == "RGB"


def test_results_are_drawn_onto_the_picture(pipe, picture):
    result = pipe({pipe.text_key: "is it red", "regions": random_detection(4)}, return_attention=True)
    drawn = pipe.draw(picture, result)
    assert drawn == draw(picture, result)
    assert drawn.height > drawn.width * HEIGHT / WIDTH


# Networks


def test_networks_that_read_where_a_region_lies_are_told():
    pipe = make_pipeline(VQA, box_feature=True).pipe
    inputs = unlike_inputs(pipe)
    assert same(pipe(inputs, batch_size=4), [pipe(one) for one in inputs])
    moved = inputs[1]["regions"]._replace(image_size=(2 * HEIGHT, 2 * WIDTH))
    assert not same(pipe(inputs[1]), pipe({**inputs[1], "regions": moved}))


def test_networks_are_not_in_training(pipe):
    assert not pipe.model.training


def test_a_saved_pipeline_comes_back_with_its_processor(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    loaded = transformers.pipeline(pipe.task_name, model=str(tmp_path))
    assert type(loaded) is type(pipe)
    assert loaded.processor.tokenizer.get_vocab() == pipe.processor.tokenizer.get_vocab()
    inputs = unlike_inputs(pipe)
    assert same(loaded(inputs, return_attention=True), pipe(inputs, return_attention=True), 2e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_networks_may_be_in_half_precision(dtype, pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    half = transformers.pipeline(pipe.task_name, model=str(tmp_path), dtype=dtype, device="cpu")
    assert half.dtype == dtype
    inputs = unlike_inputs(pipe)
    for low, full in zip(half(inputs, batch_size=4), map(pipe, inputs), strict=True):
        best, expected = (low, full) if pipe.task_name == ITM else (low[0], full[0])
        assert best["score"] == pytest.approx(expected["score"], abs=0.05)


def test_the_device_is_the_callers_choice(pipe):
    placed = transformers.pipeline(
        pipe.task_name, model=pipe.model, processor=pipe.processor, device=torch.device("cpu")
    )
    assert placed.device == torch.device("cpu")


def test_a_device_map_places_the_network(vqa, tmp_path):
    vqa.save_pretrained(tmp_path)
    placed = transformers.pipeline(VQA, model=str(tmp_path), device_map="cpu")
    given = unlike_inputs(vqa)[0]
    assert same(placed(given), vqa(given), 2e-6)


# Wrong input


def broken(**changes):
    image = random_detection(3)
    return {
        "question": "is it red",
        "features": image.features,
        "boxes": image.boxes,
        "image_size": (100, 200),
        **changes,
    }


WRONG = {
    "text alone": ("is it red", "'is it red' comes without an image; give image= or regions="),
    "number": (3, "no 'question' in an input of int; give it as a mapping's key"),
    "no text": ({"regions": random_detection(2)}, "no 'question' in an input of regions"),
    "other text": ({"caption": "red", "regions": random_detection(2)}, "no 'question' in an input of caption, regions"),
    "no words": (broken(question=" ?! "), r"question ' \?! ' has no words"),
    "text that is none": (broken(question=None), "a NoneType is no question; give a text"),
    "no image": ({"question": "red?"}, r"question 'red\?': no image among question; give regions, features or image"),
    "no boxes": (broken(boxes=None), "features come without boxes or image_size"),
    "no size": (broken(image_size=None), "features come without boxes or image_size"),
    "width": (broken(features=np.ones((3, 9))), "width 9, where this network reads 8; give features of the detector"),
    "picture without detector": (
        {"question": "red?", "image": Image.new("RGB", (9, 9))},
        r"a picture needs regions: give detector=ScenesDetector\(\) or TransformersDetector\(...\)",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_raises_one_line(case, vqa):
    given, message = WRONG[case]
    with pytest.raises(InputError, match=message) as caught:
        vqa(given)
    assert "\n" not in str(caught.value)


def test_wrong_input_in_a_batch_raises_the_same(vqa):
    with pytest.raises(InputError, match=r"question 'red\?': no image among question"):
        vqa([*unlike_inputs(vqa), {"question": "red?"}], batch_size=4)


@pytest.mark.parametrize("top_k", [0, -1, 1.5, "3"])
def test_top_k_that_counts_nothing_raises(top_k, vqa):
    with pytest.raises(InputError, match=f"top_k {top_k!r} is no number of things; give 1 or more"):
        vqa(unlike_inputs(vqa)[0], top_k=top_k)


def test_top_k_of_a_pair_raises(made):
    with pytest.raises(InputError, match="top_k says nothing of a pair's score; give it to rank"):
        made[ITM].pipe(unlike_inputs(made[ITM].pipe)[0], top_k=2)


def test_an_unknown_argument_raises(pipe):
    with pytest.raises(InputError, match="unknown argument 'topk'; known: top_k, return_attention"):
        pipe(unlike_inputs(pipe)[0], topk=3)


def test_a_network_of_another_task_raises(made):
    model, corpus = made[VGD].pipe.model, made[VGD].corpus
    message = (
        f"{VQA} runs networks of class {PIPELINES[VQA].network}, and this is a {PIPELINES[VGD].network}; use {VGD}"
    )
    with pytest.raises(InputError, match=message):
        transformers.pipeline(VQA, model=model, processor=corpus.processor)


def test_a_saved_network_of_another_task_raises(made, tmp_path):
    made[VGD].pipe.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=f"use {VGD}"):
        transformers.pipeline(VQA, model=str(tmp_path))


def test_a_supernet_raises(made):
    corpus = made[VQA].corpus
    config = MMnasConfig(**corpus.settings(), **SIZES, search_space=SPACE)
    with pytest.raises(InputError, match=r"this is a supernet; give one network of it, model.derive\(genotype\)"):
        transformers.pipeline(VQA, model=build_model(corpus, config, 0), processor=corpus.processor)


def test_a_network_without_a_processor_raises(vqa):
    with pytest.raises(InputError, match=f"{VQA} needs processor=, the MMnasProcessor"):
        PIPELINES[VQA](vqa.model)


def test_every_task_has_a_pipeline(made):
    assert sorted(TASK_OF.values()) == ["itm", "vgd", "vqa"]
    assert all(made[name].pipe.task_name == name for name in PIPELINES)
