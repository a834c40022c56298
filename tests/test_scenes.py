"""The embedded data set keeps what it promises about its regions, features and texts."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch

from mmnas_hf.boxes import overlaps
from mmnas_hf.data.scenes import FEATURE_SIZE, load_scenes
from mmnas_hf.data.scenes.asking import Balance, ask
from mmnas_hf.data.scenes.captions import caption
from mmnas_hf.data.scenes.descriptors import describe
from mmnas_hf.data.scenes.expressions import refer
from mmnas_hf.data.scenes.proposals import propose
from mmnas_hf.data.scenes.render import render
from mmnas_hf.data.scenes.world import ATTRIBUTES, SPLITS, sample_scenes

SIZES = {"train": 20, "validation": 10, "test": 10}
TASKS = ("vqa", "vgd", "itm")
PROBED_IMAGES = 300
TIGHT = 0.75  # IoU of a proposal that shows its object whole
GROUPS = {"none", "direction-free", "directional"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """An empty cache, so that the tests generate what they look at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


@pytest.fixture(scope="module")
def data():
    return {task: load_scenes(task, images=SIZES, num_proc=1) for task in TASKS}


@pytest.fixture(scope="module")
def seen():
    """Scenes with their pictures' proposals, features and the overlap [objects, regions] of both."""
    return [look(scene) for scene in sample_scenes(0, "train", 0, PROBED_IMAGES)]


@pytest.fixture(scope="module")
def asked():
    return {split: questions(split, number) for split, number in (("train", 500), ("validation", 200))}


def look(scene):
    picture = render(scene, scene.generator(0))
    boxes = propose(picture, scene.generator(1))
    true = torch.tensor([item.box for item in scene.objects])
    shared = overlaps(torch.tensor(boxes).expand(len(true), -1, -1), true).numpy()
    return scene, boxes, describe(picture, boxes).astype(np.float64), shared


def questions(split, number):
    balance = Balance()
    return [
        (scene, question)
        for scene in sample_scenes(0, split, 0, number)
        for question in ask(scene, balance, scene.generator(2))
    ]


def matched(seen):
    """Features and objects of the proposals that fit an object tightly."""
    pairs = [
        (features[shared[number].argmax()], item)
        for scene, _, features, shared in seen
        for number, item in enumerate(scene.objects)
        if shared[number].max() >= TIGHT
    ]
    features, objects = zip(*pairs, strict=True)
    return np.array(features), objects


def probe(features, targets, penalty=3.0):
    """Predictions for the last third by ridge regression on the first two, and the number of the first."""
    inputs = np.c_[features, np.ones(len(features))]
    first = len(inputs) * 2 // 3
    known = inputs[:first]
    weights = np.linalg.solve(known.T @ known + penalty * np.eye(inputs.shape[1]), known.T @ targets[:first])
    return inputs[first:] @ weights, first


def fits(item, words):
    """Whether an object is what words such as "striped circle" or "object" say."""
    return all(word in ("object", item.shape, item.colour, item.texture) for word in words.split())


def test_tables_have_the_promised_columns(data):
    assert {"image_id", "width", "height", "boxes", "features", "image"} == set(data["vqa"].images.column_names)
    expected = {
        "vqa": "question_id image_id question question_type answer_type answers multiple_choice_answer group",
        "vgd": "ref_id image_id expression box group",
        "itm": "caption_id image_id caption",
    }
    for task, columns in expected.items():
        assert data[task].texts["test"].column_names == columns.split()


def test_every_task_has_the_same_images(data):
    ids = data["vqa"].images["image_id"][:]
    assert len(ids) == len(set(ids)) == sum(SIZES.values())
    for task in TASKS:
        assert data[task].images["features"][:] == data["vqa"].images["features"][:]


@pytest.mark.parametrize("task", TASKS)
def test_texts_name_images_of_their_own_split(data, task):
    for split, texts in data[task].texts.items():
        named = set(texts["image_id"])
        assert named <= set(data[task].images["image_id"])
        assert {image_id.split("-")[0] for image_id in named} == {split}
        assert len(named) == SIZES[split]


@pytest.mark.parametrize("task", TASKS)
def test_text_ids_are_unique_over_all_splits(data, task):
    tables = data[task].texts.values()
    ids = [number for texts in tables for number in texts[texts.column_names[0]]]
    assert len(ids) == len(set(ids))


def test_features_are_one_row_a_box(data):
    for row in data["vqa"].images.select_columns(["boxes", "features"]):
        features = np.frombuffer(row["features"], dtype=np.float16).reshape(-1, FEATURE_SIZE)
        assert len(features) == len(row["boxes"])
        assert np.isfinite(features).all()


def test_the_picture_is_the_one_the_features_describe(data):
    row = data["vqa"].images[3]
    again = describe(row["image"], np.array(row["boxes"], dtype=np.float32))
    assert again.tobytes() == row["features"]


def test_the_number_of_processes_changes_nothing(data, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    again = load_scenes("vqa", images=SIZES, num_proc=2)
    assert again.images.to_dict() == data["vqa"].images.to_dict()
    assert again.texts["train"].to_dict() == data["vqa"].texts["train"].to_dict()


def test_a_second_load_reads_the_cache(data, monkeypatch):
    def fail(*_):
        raise AssertionError("generated again")

    monkeypatch.setattr("datasets.packaged_modules.generator.generator.Generator._generate_examples", fail)
    assert load_scenes("vqa", images=SIZES, num_proc=2).images["image_id"][:] == data["vqa"].images["image_id"][:]


def test_seeds_give_different_scenes():
    first, other = (list(sample_scenes(seed, "test", 0, 10)) for seed in (0, 1))
    assert all(one.objects != two.objects for one, two in zip(first, other, strict=True))


def test_splits_are_different_scenes():
    scenes = [scene.objects for split in SPLITS for scene in sample_scenes(0, split, 0, 50)]
    assert len(set(scenes)) == 150


def test_an_unknown_task_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown task 'vqb'; known: vqa, vgd, itm"):
        load_scenes("vqb")


def test_an_unknown_split_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown split 'val'; known: train, validation, test"):
        load_scenes("vqa", images={"val": 10})


def test_proposals_find_the_objects(seen):
    best = np.concatenate([shared.max(axis=1) for *_, shared in seen])
    assert (best >= 0.5).mean() >= 0.98


def test_there_are_10_to_36_regions_about_12_on_average(seen):
    numbers = [len(boxes) for _, boxes, _, _ in seen]
    assert min(numbers) >= 10
    assert max(numbers) <= 36
    assert 11 <= np.mean(numbers) <= 14


def test_some_proposals_are_loose_partial_or_empty(seen):
    best = np.concatenate([shared.max(axis=0) for *_, shared in seen])
    assert 0.3 <= (best < 0.5).mean() <= 0.6


@pytest.mark.parametrize(("attribute", "least"), [("colour", 0.97), ("shape", 0.93), ("texture", 0.9)])
def test_a_linear_probe_reads_an_attribute_from_the_features(seen, attribute, least):
    features, objects = matched(seen)
    labels = np.array([ATTRIBUTES[attribute].index(getattr(item, attribute)) for item in objects])
    predicted, first = probe(features, np.eye(len(ATTRIBUTES[attribute]))[labels])
    assert (predicted.argmax(axis=1) == labels[first:]).mean() >= least


@pytest.mark.parametrize(("measure", "most"), [("x", 0.05), ("y", 0.05), ("half_width", 0.3)])
def test_a_linear_probe_reads_little_of_place_and_size_from_the_features(seen, measure, most):
    features, objects = matched(seen)
    values = np.array([getattr(item, measure) for item in objects])
    predicted, first = probe(features, values - values.mean(), penalty=30.0)
    rest = values[first:] - values.mean()
    assert 1 - ((predicted - rest) ** 2).mean() / rest.var() <= most


def test_features_do_not_change_when_the_picture_is_moved(seen):
    picture = render(seen[0][0], np.random.default_rng(0))
    moved = picture.crop((-20, -30, 160, 160))
    box = np.array([[40, 50, 80, 100]], dtype=np.float32)
    assert (describe(picture, box) == describe(moved, box + np.array([20, 30, 20, 30], dtype=np.float32))).all()


def test_text_alone_does_not_give_the_answer(asked):
    """Guess the commonest answer to the text in training, or else to the form of the question."""
    by_text, by_form = defaultdict(Counter), defaultdict(Counter)
    for _, question in asked["train"]:
        by_text[question.text][question.answer] += 1
        by_form[question.pattern][question.answer] += 1
    right, chance = [], []
    for _, question in asked["validation"]:
        seen_answers = by_text.get(question.text) or by_form.get(question.pattern) or Counter(question.valid)
        right.append(seen_answers.most_common(1)[0][0] == question.answer)
        chance.append(1 / len(question.valid))
    assert np.mean(right) <= np.mean(chance) + 0.05


def test_yes_and_no_are_equally_common_for_each_type(asked):
    by_type = defaultdict(list)
    for _, question in asked["train"]:
        if question.answer_type == "yes/no":
            by_type[question.question_type].append(question.answer == "yes")
    assert set(by_type) == {"exist", "compare", "larger", "next_to", "left_of", "above"}
    assert all(0.45 <= np.mean(answers) <= 0.55 for answers in by_type.values())


def test_groups_of_questions_have_their_shares(asked):
    shares = Counter(question.group for _, question in asked["train"])
    total = shares.total()
    assert set(shares) == GROUPS
    assert 0.32 <= shares["direction-free"] / total <= 0.42
    assert 0.18 <= shares["directional"] / total <= 0.26
    assert 9 <= total / 500 <= 11


def test_every_question_has_at_most_14_words_and_a_valid_answer(asked):
    for _, question in asked["train"]:
        assert len(question.text.removesuffix(" ?").split()) <= 14
        assert question.answer in question.valid


def test_seven_to_ten_people_agree_on_the_answer(data):
    for row in data["vqa"].texts["train"]:
        assert len(row["answers"]) == 10
        assert row["answers"].count(row["multiple_choice_answer"]) >= 7


def test_counts_are_right(asked):
    counted = [(scene, question) for scene, question in asked["train"] if question.question_type == "count"]
    assert counted
    for scene, question in counted:
        words = question.text.removeprefix("how many ").removesuffix(" are there ?")
        singular = words.removesuffix("es") if words.endswith("sses") else words.removesuffix("s")
        assert sum(fits(item, singular) for item in scene.objects) == int(question.answer)


@pytest.mark.parametrize(
    ("kind", "phrase", "best"), [("nearest", "nearest to", min), ("farthest", "farthest from", max)]
)
def test_nearest_and_farthest_are_right(asked, kind, phrase, best):
    related = [(scene, question) for scene, question in asked["train"] if question.question_type == kind]
    assert related
    for scene, question in related:
        attribute, words = question.text.removeprefix("what ").removesuffix(" ?").split(" is the ", 1)
        target, anchor = words.split(f" {phrase} the ")
        (centre,) = [item for item in scene.objects if fits(item, anchor)]
        others = [item for item in scene.objects if item is not centre and fits(item, target)]
        answer = best(others, key=lambda item: math.dist((item.x, item.y), (centre.x, centre.y)))
        assert len(others) >= 2
        assert getattr(answer, attribute) == question.answer


def test_expressions_by_attributes_fit_only_their_object_and_others_more():
    for scene in sample_scenes(0, "test", 0, 50):
        for expression in refer(scene, scene.generator(3)):
            words = expression.text.removeprefix("the ")
            for phrase in (" nearest to ", " farthest from ", " larger than ", " next to ", " left of ", " above "):
                words = words.split(phrase)[0]
            number = sum(fits(item, words) for item in scene.objects)
            assert fits(expression.target, words)
            assert number == 1 if expression.group == "none" else number >= 2


def test_groups_of_expressions_have_their_shares():
    scenes = list(sample_scenes(0, "train", 0, 200))
    expressions = [item for scene in scenes for item in refer(scene, scene.generator(3))]
    shares = Counter(item.group for item in expressions)
    assert 3.5 <= len(expressions) / len(scenes) <= 4.5
    assert 0.5 <= shares["direction-free"] / shares.total() <= 0.6
    assert 0.15 <= shares["directional"] / shares.total() <= 0.25
    assert set(shares) == GROUPS
    assert max(len(item.text.split()) for item in expressions) <= 14


def test_boxes_of_expressions_lie_in_the_image(data):
    for row in data["vgd"].texts["train"]:
        left, top, right, bottom = row["box"]
        assert 0 <= left < right <= 160
        assert 0 <= top < bottom <= 160


def test_an_image_has_five_different_captions(data):
    by_image = defaultdict(set)
    for row in data["itm"].texts["test"]:
        by_image[row["image_id"]].add(row["caption"])
    assert {len(captions) for captions in by_image.values()} == {5}


def test_captions_have_at_most_50_plain_words():
    for scene in sample_scenes(0, "test", 0, 100):
        for text in caption(scene, scene.generator(4)):
            assert len(text.split()) <= 50
            assert text.replace(" ", "").isalpha()
            assert text.islower()


def test_half_of_the_images_have_a_near_duplicate_that_differs_in_one_object():
    scenes = list(sample_scenes(0, "train", 0, 100))
    assert sum(bool(scene.telling) for scene in scenes) == 50
    for original, copy in zip(scenes[::10], scenes[1::10], strict=True):
        assert sum(a != b for a, b in zip(original.objects, copy.objects, strict=True)) == 1
