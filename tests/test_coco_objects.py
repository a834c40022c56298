"""COCO's objects become regions, and every image stays in one split whatever else the file holds."""

import json
from collections import Counter

import numpy as np
import pytest

from mmnas_hf.corpus import Corpus
from mmnas_hf.data import RegionStore
from mmnas_hf.data.coco_objects import FILE, load_coco_objects, split_of
from mmnas_hf.errors import InputError
from mmnas_hf.tasks import TASKS

every_task = pytest.mark.parametrize("task", TASKS)

CLASSES = ("dog", "red car", "tree")
SPLIT_OF = {"1": "test", "2": "train", "3": "train", "7": "test", "21": "validation"}


def image(number, **changes):
    """An image of 200 x 100 pixels with a tree on the left, and for odd numbers a dog on the right."""
    objects = [["tree", 0, 0.25, 0.5, 0.75], ["dog", 0.5, 0, 1, 1]][: 1 + number % 2]
    return {
        "width": 200,
        "height": 100,
        "objects": objects,
        "captions": [f"caption {index} of {number}" for index in range(6)],
        "vqa": [
            {
                "question_id": number * 10,
                "question": "What is this?",
                "answers": ["tree"] * 4 + ["dog"] * 6,
                "answer_type": "other",
                "split": "train",
            }
        ],
        "refs": [{"expr": "the left one", "bbox_xyxy": [0, 25, 100.5, 75], "w": 200, "h": 100}],
    } | changes


IMAGES = {
    **{str(number): image(number) for number in (1, 2, 3, 21)},
    "5": image(5, objects=[]),
    "000007": image(7, objects=[["red car", 0.1, 0.1, 0.2, 0.2]]),
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / FILE
    path.write_text(json.dumps(IMAGES))
    return path


@pytest.fixture(scope="module")
def real(real_data):
    """The real file's images, and the data as each task sees it."""
    images = json.loads((real_data / FILE).read_text())
    return images, {task: load_coco_objects(task, str(real_data)) for task in TASKS}


# The real file


def test_every_real_image_is_read_with_all_its_objects(real):
    images, data = real
    store = RegionStore(data["itm"].images)
    assert set(store.ids) == set(images)
    counts = [len(boxes) for boxes in store[store.ids].boxes]
    assert counts == [len(images[image_id]["objects"]) for image_id in store.ids]
    assert store.feature_size == 80 + 1


def test_every_real_box_lies_inside_its_image(real):
    store = RegionStore(real[1]["itm"].images)
    regions = store[store.ids]
    for boxes, (height, width) in zip(regions.boxes, regions.image_sizes, strict=True):
        assert boxes.min() >= 0
        assert boxes[:, [0, 2]].max() <= width
        assert boxes[:, [1, 3]].max() <= height


def test_real_splits_are_about_as_large_as_they_say(real):
    counts = Counter(map(split_of, real[0]))
    for split, share in {"train": 0.7, "validation": 0.1, "test": 0.2}.items():
        assert abs(counts[split] / len(real[0]) - share) < 0.05


def test_each_real_image_has_five_captions(real):
    for texts in real[1]["itm"].texts.values():
        assert set(Counter(texts["image_id"]).values()) == {5}


@pytest.mark.parametrize(("task", "entries"), [("vqa", "vqa"), ("vgd", "refs")])
def test_every_real_question_and_expression_is_read(real, task, entries):
    images, data = real
    assert sum(map(len, data[task].texts.values())) == sum(len(entry[entries]) for entry in images.values())


@every_task
def test_a_task_reads_the_real_texts(real, task):
    corpus = Corpus(TASKS[task], real[1][task])
    assert set(corpus.splits) == {"train", "validation", "test"}


# Regions


def test_boxes_are_in_pixels(file):
    store = RegionStore(load_coco_objects("itm", str(file)).images)
    assert store[["3"]].boxes[0].tolist() == [[0, 25, 100, 75], [100, 0, 200, 100]]
    assert store[["3"]].image_sizes.tolist() == [[100, 200]]


def test_features_are_the_class_and_the_share_of_the_image(file):
    store = RegionStore(load_coco_objects("itm", str(file)).images)
    assert store[["3"]].features[0].tolist() == [[0, 0, 1, 0.25], [1, 0, 0, 0.5]]
    np.testing.assert_allclose(store[["7"]].features[0], [[0, 1, 0, 0.01]], rtol=1e-3)


def test_features_do_not_tell_the_place(file):
    file.write_text(json.dumps(IMAGES | {"9": image(9, objects=[["dog", 0, 0, 0.5, 1], ["dog", 0.5, 0, 1, 1]])}))
    left, right = RegionStore(load_coco_objects("itm", str(file)).images)[["9"]].features[0]
    np.testing.assert_array_equal(left, right)


def test_images_without_objects_are_left_out_with_their_texts(file):
    data = load_coco_objects("itm", str(file))
    assert data.images["image_id"][:] == ["1", "2", "3", "21", "7"]
    assert "5" not in {name for texts in data.texts.values() for name in texts["image_id"]}


# Splits


def test_images_are_in_the_splits_they_have_always_been_in(file):
    texts = load_coco_objects("itm", str(file)).texts
    assert {name: split for split, rows in texts.items() for name in rows["image_id"]} == SPLIT_OF


def test_an_image_stays_in_its_split_whatever_else_the_file_holds(file):
    file.write_text(json.dumps({name: IMAGES[name] for name in ("3", "1")}))
    texts = load_coco_objects("itm", str(file)).texts
    assert {split: set(rows["image_id"]) for split, rows in texts.items()} == {"train": {"3"}, "test": {"1"}}


def test_many_images_are_split_as_70_10_and_20_of_100():
    counts = Counter(split_of(str(number)) for number in range(20_000))
    assert [round(counts[split] / 20_000, 2) for split in ("train", "validation", "test")] == [0.7, 0.1, 0.2]


# Texts


def rows_of(task, path, image_id):
    return [
        row for rows in load_coco_objects(task, str(path)).texts.values() for row in rows if row["image_id"] == image_id
    ]


def test_an_image_gives_its_first_five_captions(file):
    captions = [row["caption"] for row in rows_of("itm", file, "2")]
    assert captions == [f"caption {index} of 2" for index in range(5)]


def test_questions_have_all_answers_and_the_most_common_one(file):
    assert rows_of("vqa", file, "3") == [
        {
            "image_id": "3",
            "question_id": 30,
            "question": "What is this?",
            "answers": ["tree"] * 4 + ["dog"] * 6,
            "multiple_choice_answer": "dog",
            "answer_type": "other",
        }
    ]


def test_expressions_have_their_box_in_pixels(file):
    row = {"image_id": "3", "expression": "the left one", "box": [0, 25, 100.5, 75]}
    assert rows_of("vgd", file, "3") == [row]


@every_task
def test_the_folder_and_the_file_are_the_same_data(file, task):
    by_folder, by_file = (load_coco_objects(task, str(path)) for path in (file.parent, file))
    assert by_folder.images.to_list() == by_file.images.to_list()
    assert {split: rows.to_list() for split, rows in by_folder.texts.items()} == {
        split: rows.to_list() for split, rows in by_file.texts.items()
    }


# Wrong files


def raises(path, message, task="itm"):
    with pytest.raises(InputError, match=message) as error:
        load_coco_objects(task, None if path is None else str(path))
    assert "\n" not in str(error.value)


def test_no_folder_raises():
    raises(None, "needs --data_dir")


def test_an_unknown_task_raises(file):
    raises(file, "no rows for task 'captioning'; it has: itm, vqa, vgd", "captioning")


def test_a_missing_file_raises_and_is_named(tmp_path):
    raises(tmp_path, f"missing file .*{FILE}")
    raises(tmp_path / "other.json", r"missing file .*other\.json")


@pytest.mark.parametrize("content", [b"", b'{"3": ', b"\xff\xfe", b"[]", b"3"])
def test_a_file_that_holds_no_images_raises_and_is_named(file, content):
    file.write_bytes(content)
    raises(file, f"{FILE} (is no JSON|holds a (list|int))")


@pytest.mark.parametrize(("task", "entries"), [("itm", "captions"), ("vqa", "vqa"), ("vgd", "refs")])
def test_a_task_without_rows_raises(file, task, entries):
    file.write_text(json.dumps({name: entry | {entries: []} for name, entry in IMAGES.items()}))
    raises(file, f"has no texts for task '{task}' in test and train; ", task)


def test_a_split_without_rows_raises_unless_it_is_validation(file):
    file.write_text(json.dumps({name: IMAGES[name] for name in ("21", "3")}))
    raises(file, "has no texts for task 'itm' in test; ")


def test_images_without_any_objects_raise(file):
    file.write_text(json.dumps({name: entry | {"objects": []} for name, entry in IMAGES.items()}))
    raises(file, "has no texts for task 'itm'")


def with_object(*parts):
    return image(3, objects=[list(parts)])


def with_question(**changes):
    return image(3, vqa=[image(3)["vqa"][0] | changes])


def with_box(*box):
    return image(3, refs=[{"expr": "the left one", "bbox_xyxy": list(box)}])


BROKEN = {
    "a list": ("itm", [], "cannot be used"),
    "nothing": ("itm", None, "cannot be used"),
    "no width": ("itm", {key: value for key, value in image(3).items() if key != "width"}, "lacks 'width'"),
    "no captions": ("itm", {key: value for key, value in image(3).items() if key != "captions"}, "lacks 'captions'"),
    "no height": ("itm", image(3, height=0), "200 x 0 pixels"),
    "a width in words": ("itm", image(3, width="wide"), "wide x 100 pixels"),
    "one caption": ("itm", image(3, captions="a dog"), "captions is no list"),
    "a caption that is a number": ("itm", image(3, captions=[3]), "3 is no text"),
    "objects by name": ("itm", image(3, objects={"dog": [0, 0, 1, 1]}), "objects is no list"),
    "an empty object": ("itm", image(3, objects=[[]]), "object"),
    "an object that is a name": ("itm", image(3, objects=["dog"]), "object dog"),
    "a class that is a number": ("itm", with_object(18, 0, 0, 1, 1), r"object \[18"),
    "three corners": ("itm", with_object("dog", 0, 0, 1), "object"),
    "five corners": ("itm", with_object("dog", 0, 0, 1, 1, 1), "object"),
    "corners in pixels": ("itm", with_object("dog", 0, 0, 100, 50), r"object .* with 0 <= x1 < x2 <= 1"),
    "corners turned round": ("itm", with_object("dog", 0.5, 0, 0.2, 1), "object"),
    "a corner that is no number": ("itm", with_object("dog", float("nan"), 0, 1, 1), "object"),
    "a corner in words": ("itm", with_object("dog", "left", 0, 1, 1), "cannot be used"),
    "a question without text": ("vqa", image(3, vqa=[{"question_id": 3}]), "lacks 'question'"),
    "a question without answers": ("vqa", with_question(answers=[]), "a question without answers"),
    "an answer that is a number": ("vqa", with_question(answers=[3] * 10), "3 is no text"),
    "a question that is text alone": ("vqa", image(3, vqa=["What is this?"]), "cannot be used"),
    "an expression without a box": ("vgd", image(3, refs=[{"expr": "the left one"}]), "lacks 'bbox_xyxy'"),
    "a box beyond the image": ("vgd", with_box(0, 0, 201, 50), r"expression in \[0, 0, 201, 50\]"),
    "a box of three numbers": ("vgd", with_box(0, 0, 50), "expression in"),
}


@pytest.mark.parametrize(("task", "broken", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_image_raises_one_line_with_its_name(file, task, broken, message):
    file.write_text(json.dumps(IMAGES | {"3": broken}))
    raises(file, f"{FILE}, image '3' .*{message}", task)
