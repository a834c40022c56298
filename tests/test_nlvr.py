"""NLVR is read as its files have it, in every order of boxes where it trains."""

import json
from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from mmnas_hf.data import RegionStore, load_nlvr
from mmnas_hf.data.nlvr import VOCABULARIES, describe
from mmnas_hf.errors import InputError

COLOURS, SHAPES, SIZES = VOCABULARIES.values()

TASKS = ("vqa", "itm")

every_task = pytest.mark.parametrize("task", TASKS)
every_split = pytest.mark.parametrize(("split", "file"), [("train", "test.json"), ("test", "dev.json")])


def thing(x, y, size=20, colour="Black", shape="circle"):
    return {"x_loc": x, "y_loc": y, "size": size, "color": colour, "type": shape}


EXAMPLES = [
    {
        "identifier": "7-0",
        "sentence": "There is a yellow square.",
        "label": "true",
        "structured_rep": [[thing(1, 2)], [thing(3, 4, 10, "Yellow", "square"), thing(50, 60, 30)], [thing(5, 6)]],
    },
    {
        "identifier": "8-1",
        "sentence": "There is no circle.",
        "label": "false",
        "structured_rep": [[thing(1, 2)], [thing(3, 4)], [thing(5, 6, 20, "#0099ff", "triangle")]],
    },
]


@pytest.fixture
def folder(tmp_path):
    """Both files with two examples each."""
    for name in ("test.json", "dev.json"):
        (tmp_path / name).write_text("".join(json.dumps(example) + "\n" for example in EXAMPLES))
    return tmp_path


@pytest.fixture(scope="module")
def real(real_data):
    """The real data as each task sees it, and the files' lines."""
    path = real_data / "nlvr"
    lines = {
        name: [json.loads(line) for line in (path / name).read_text().splitlines()]
        for name in ("test.json", "dev.json")
    }
    return {task: load_nlvr(task, str(path)) for task in TASKS}, lines


# The real files


@every_split
def test_questions_have_the_files_labels(real, split, file):
    data, lines = real
    orders = 6 if split == "train" else 1
    expected = {label: orders * count for label, count in Counter(line["label"] for line in lines[file]).items()}
    assert Counter(data["vqa"].texts[split]["multiple_choice_answer"]) == expected


def test_the_files_have_as_many_examples_as_the_read_me_says(real):
    texts = real[0]["vqa"].texts
    assert (len(texts["train"]), len(texts["test"])) == (6 * 990, 989)


@every_task
def test_every_text_has_its_image(real, task):
    data = real[0][task]
    known = set(data.images["image_id"])
    assert all(set(texts["image_id"]) <= known for texts in data.texts.values())


def test_training_and_scored_texts_share_no_image(real):
    texts = real[0]["vqa"].texts
    assert not set(texts["train"]["image_id"]) & set(texts["test"]["image_id"])


def test_every_box_lies_inside_its_image(real):
    store = RegionStore(real[0]["vqa"].images)
    boxes = np.concatenate(store[store.ids].boxes)
    assert boxes.min() >= 0
    assert boxes[:, [0, 2]].max() <= 400
    assert boxes[:, [1, 3]].max() <= 100


def test_every_region_has_one_colour_one_shape_and_one_size(real):
    store = RegionStore(real[0]["vqa"].images)
    features = np.concatenate(store[store.ids].features).astype(float)
    assert set(np.unique(features)) == {0.0, 1.0}
    for start in (0, len(COLOURS), len(COLOURS) + len(SHAPES)):
        np.testing.assert_array_equal(features[:, start : start + 3].sum(1), 1)


def test_captions_are_the_true_sentences(real):
    data, lines = real
    true = {line["sentence"] for line in lines["dev.json"] if line["label"] == "true"}
    assert sorted(data["itm"].texts["test"]["caption"]) == sorted(true)


# Rows


@pytest.fixture
def three_objects(folder):
    """Examples with one object a box, so that boxes can be told apart."""
    example = EXAMPLES[0] | {"structured_rep": [[thing(1, 2)], [thing(3, 4)], [thing(5, 6)]]}
    for name in ("test.json", "dev.json"):
        (folder / name).write_text(json.dumps(example) + "\n")
    return folder


def test_orders_move_boxes_side_by_side(three_objects):
    store = RegionStore(load_nlvr("vqa", str(three_objects)).images)
    orders = {name[-3:]: store[[name]].boxes[0] for name in store.ids if name.startswith("train")}
    assert orders.keys() == {"".join(map(str, order)) for order in permutations(range(3))}
    for name, boxes in orders.items():
        expected = [[150 * place + 1 + 2 * int(box), 2 + 2 * int(box)] for place, box in enumerate(name)]
        assert boxes[:, :2].tolist() == expected


def test_a_scored_image_keeps_its_order(three_objects):
    store = RegionStore(load_nlvr("vqa", str(three_objects)).images)
    (scored,) = (name for name in store.ids if name.startswith("test"))
    assert store[[scored]].boxes[0].tolist() == [[1, 2, 21, 22], [153, 4, 173, 24], [305, 6, 325, 26]]


@every_task
def test_texts_of_all_orders_are_the_same(folder, task):
    texts = load_nlvr(task, str(folder)).texts["train"]
    assert len(texts) == 6 * (2 if task == "vqa" else 1)
    assert len(set(texts["image_id"])) == len(texts)


def test_questions_have_ten_equal_answers(folder):
    for row in load_nlvr("vqa", str(folder)).texts["test"]:
        assert row["answers"] == [row["multiple_choice_answer"]] * 10


def test_a_descriptor_does_not_depend_on_the_place():
    np.testing.assert_array_equal(describe(thing(0, 0)), describe(thing(77, 33)))


def test_descriptors_tell_every_colour_shape_and_size_apart():
    things = [thing(0, 0, size, colour, shape) for size in SIZES for colour in COLOURS for shape in SHAPES]
    assert len({tuple(describe(item)) for item in things}) == len(things) == 27


# Wrong files


def test_a_missing_folder_raises():
    with pytest.raises(InputError, match="needs --data_dir"):
        load_nlvr("vqa", None)


def test_grounding_raises(folder):
    with pytest.raises(InputError, match="nlvr has no rows for task 'vgd'; it has: vqa, itm"):
        load_nlvr("vgd", str(folder))


@pytest.mark.parametrize("name", ["test.json", "dev.json"])
def test_a_missing_file_raises_and_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"missing file .*{name}"):
        load_nlvr("vqa", str(folder))


def without(column):
    return json.dumps({name: value for name, value in EXAMPLES[0].items() if name != column})


def changed(**changes):
    return json.dumps(EXAMPLES[0] | changes)


def with_thing(**changes):
    return changed(structured_rep=[[thing(1, 2) | changes], [thing(3, 4)], [thing(5, 6)]])


BROKEN_LINES = {
    "half a line": without("nothing")[:40],
    "a list": "[1, 2]",
    "a number": "3",
    "an empty line": "",
    "no sentence": without("sentence"),
    "no label": without("label"),
    "no objects": without("structured_rep"),
    "two boxes": changed(structured_rep=[[thing(1, 2)], [thing(3, 4)]]),
    "empty boxes": changed(structured_rep=[[], [], []]),
    "an object without a place": changed(structured_rep=[[{"size": 10, "color": "Black", "type": "circle"}], [], []]),
    "a place in words": with_thing(x_loc="left"),
    "an unknown colour": with_thing(color="Pink"),
    "an unknown label": changed(label="maybe"),
}


@pytest.mark.parametrize("line", BROKEN_LINES.values(), ids=BROKEN_LINES)
def test_a_broken_line_raises_one_line_with_its_number(folder, line):
    path = folder / "test.json"
    path.write_text(json.dumps(EXAMPLES[0]) + "\n" + line + "\n" + json.dumps(EXAMPLES[1]) + "\n")
    with pytest.raises(InputError, match=r"test\.json, line 2") as error:
        load_nlvr("vqa", str(folder))
    assert "\n" not in str(error.value)
