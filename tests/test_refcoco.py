"""Referring expressions are read with boxes that mean what MMnas takes them to mean."""

import json
import os
import pickle
from collections import Counter

import pytest
import torch

from mmnas_hf.boxes import encode_deltas, overlaps
from mmnas_hf.data.published import PUBLICATIONS, find_files
from mmnas_hf.data.published.refcoco import EXPRESSIONS
from mmnas_hf.errors import InputError
from mmnas_hf.modeling_mmnas import POSITIVE_OVERLAP
from mmnas_hf.tasks import TASKS

REFCOCO = PUBLICATIONS["refcoco"]
ANNOTATIONS = {
    31: {"id": 31, "image_id": 581857, "category_id": 1, "bbox": [103.5, 299.25, 134.0, 177.5], "segmentation": [[1]]},
    32: {"id": 32, "image_id": 7, "category_id": 18, "bbox": [0, 0, 20, 10], "segmentation": [[1]]},
}
BOTH_ANNOTATIONS = tuple(ANNOTATIONS.values())
CATEGORIES = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]


def reference(ref_id, ann_id, split, *sentences):
    """A reference of the shape of the `refer` project, with more in it than is read."""
    first = ref_id * 10
    image_id = ANNOTATIONS[ann_id]["image_id"]
    return {
        "ref_id": ref_id,
        "ann_id": ann_id,
        "category_id": ANNOTATIONS[ann_id]["category_id"],
        "image_id": image_id,
        "file_name": f"COCO_train2014_{image_id:012d}_{ann_id}.jpg",
        "split": split,
        "sent_ids": [first + number for number in range(len(sentences))],
        "sentences": [
            {"sent_id": first + number, "sent": text, "raw": text.upper(), "tokens": text.split()}
            for number, text in enumerate(sentences)
        ],
    }


REFERENCES = [
    reference(1, 31, "train", "the lady with the blue shirt", "lady in blue"),
    reference(2, 32, "testA", "small dog"),
    reference(3, 32, "train", "dog"),
]


def write(folder, references=REFERENCES, annotations=BOTH_ANNOTATIONS, split_by="unc"):
    folder.mkdir(exist_ok=True)
    (folder / f"refs({split_by}).p").write_bytes(pickle.dumps(references, protocol=2))
    instances = {"images": [], "annotations": list(annotations), "categories": CATEGORIES}
    (folder / "instances.json").write_text(json.dumps(instances))
    return folder


def read(folder, name="refcoco", **choice):
    publication = PUBLICATIONS[name]
    return publication.read(find_files(publication, folder), **choice)


def message(folder, **choice):
    with pytest.raises(InputError) as error:
        read(folder, **choice)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "refcoco")


# The real file's structure


def test_the_real_file_has_as_many_expressions_as_the_read_me_says(real_data):
    tables = read(real_data / "refcoco_format")
    assert {split: len(rows) for split, rows in tables.items()} == {"train": 60, "val": 20, "testA": 20, "testB": 20}


def test_the_real_boxes_lie_within_their_images(real_data):
    file = json.loads((real_data / "refcoco_format" / "refcoco" / "instances.json").read_text())
    sizes = {str(image["id"]): (image["width"], image["height"]) for image in file["images"]}
    for rows in read(real_data / "refcoco_format").values():
        for row in rows:
            (width, height), (x1, y1, x2, y2) = sizes[row["image_id"]], row["box"]
            assert 0 <= x1 < x2 <= width + 0.01
            assert 0 <= y1 < y2 <= height + 0.01


# Rows


def test_every_sentence_of_a_reference_is_a_row(folder):
    rows = read(folder)["train"]
    assert rows.features == EXPRESSIONS
    assert rows["expression"] == ["the lady with the blue shirt", "lady in blue", "dog"]
    assert (rows["ref_id"], rows["sent_id"]) == ([1, 1, 3], [10, 11, 30])
    assert Counter(rows["image_id"]) == {"581857": 2, "7": 1}


def test_a_row_has_its_objects_box_and_category(folder):
    (row,) = read(folder)["testA"]
    assert (row["ann_id"], row["category"], row["box"]) == (32, "dog", [0, 0, 20, 10])


def test_rows_have_what_the_task_reads(folder):
    assert set(TASKS["vgd"].columns) <= set(read(folder)["train"].column_names)


def test_only_splits_with_references_are_there_in_the_usual_order(tmp_path):
    references = [reference(number, 32, split, "dog") for number, split in enumerate(("testB", "test", "val", "train"))]
    assert list(read(write(tmp_path / "refcoco", references))) == ["train", "val", "testB", "test"]


# Boxes


def test_a_boxs_second_corner_is_its_first_and_its_size(folder):
    assert read(folder)["train"][0]["box"] == [103.5, 299.25, 237.5, 476.75]


def test_targets_of_the_boxes_are_the_originals(golden, tmp_path):
    """The original's tables hold COCO's x, y, width, height too, and what it makes of them was recorded."""
    recorded = json.loads((golden / "grounding_targets.json").read_text())
    corners = [case["target_box_xyxy"] for case in recorded]
    annotations = [
        {"id": number, "bbox": [x1, y1, x2 - x1, y2 - y1]} for number, (x1, y1, x2, y2) in enumerate(corners)
    ]
    references = [{**REFERENCES[0], "ann_id": number, "ref_id": number} for number in range(len(recorded))]
    for reference in references:
        reference["sentences"] = reference["sentences"][:1]
    rows = read(write(tmp_path / "refcoco", references, annotations))["train"]
    for row, case in zip(rows, recorded, strict=True):
        boxes, target = torch.tensor(case["region_boxes"]), torch.tensor([row["box"]])
        shared = overlaps(boxes[None], target)[0]
        relevance = shared * (shared >= POSITIVE_OVERLAP)
        ranking = relevance / relevance.sum().clamp(min=1e-8)
        torch.testing.assert_close(ranking, torch.tensor(case["ranking_target"]), rtol=0, atol=1e-5)
        positive, expected = torch.tensor(case["positive"]), torch.tensor(case["box_target_normalised"])
        deltas = encode_deltas(boxes, target)
        torch.testing.assert_close(deltas[positive], expected[positive], rtol=0, atol=1e-5)


# Cuts into splits


@pytest.fixture
def two_cuts(tmp_path):
    folder = write(tmp_path / "refcocog", [reference(1, 32, "test", "dog")], split_by="umd")
    return write(folder, [reference(1, 32, "val", "dog")], split_by="google")


def test_refcocog_is_cut_as_umd_did_by_default(two_cuts):
    assert list(read(two_cuts, "refcocog")) == ["test"]


def test_refcocog_is_cut_as_google_did_if_only_that_is_there(two_cuts):
    (two_cuts / "refs(umd).p").unlink()
    assert list(read(two_cuts, "refcocog")) == ["val"]


def test_a_cut_may_be_chosen(two_cuts):
    assert list(read(two_cuts, "refcocog", split_by="google")) == ["val"]


def test_a_cut_that_is_not_there_raises(folder):
    assert message(folder, split_by="umd") == "no file refs(umd).p for split_by 'umd'; there is: refs(unc).p"


# Wrong files


class Hostile:
    """Unpickled blindly, it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_hostile_pickle_is_refused_by_name_and_not_run(folder, tmp_path):
    (folder / "refs(unc).p").write_bytes(pickle.dumps([Hostile(tmp_path / "made")], protocol=2))
    assert f"refs(unc).p is refused: it asks for {os.mkdir.__module__}.mkdir" in message(folder)
    assert not (tmp_path / "made").exists()


def test_a_truncated_pickle_raises(folder):
    path = folder / "refs(unc).p"
    path.write_bytes(path.read_bytes()[:-30])
    assert message(folder).startswith(f"{path} is no readable pickle")


def test_truncated_annotations_raise(folder):
    path = folder / "instances.json"
    path.write_text(path.read_text()[:-20])
    assert message(folder).startswith(f"{path} is no readable JSON")


def test_a_reference_without_annotation_raises_and_both_are_named(folder):
    write(folder, annotations=[ANNOTATIONS[32]])
    assert "instances.json lacks ann_id 31 of ref_id 1" in message(folder)


def test_a_reference_of_an_unknown_category_raises(folder):
    write(folder, [REFERENCES[0] | {"category_id": 5}])
    assert "instances.json lacks category_id 5 of ref_id 1" in message(folder)


@pytest.mark.parametrize("box", [[1, 2, 3], [1, 2, 3, -4], [1, 2, 3, float("nan")], [1, 2, 3, "four"], [1, 2, 3, None]])
def test_a_wrong_box_raises(folder, box):
    write(folder, annotations=[ANNOTATIONS[31] | {"bbox": box}, ANNOTATIONS[32]])
    assert "refs(unc).p: number 0 is not usable" in message(folder)


WRONG_REFERENCES = {
    "no box": {name: value for name, value in REFERENCES[0].items() if name != "ann_id"},
    "no sentences": REFERENCES[0] | {"sentences": None},
    "a sentence without words": REFERENCES[0] | {"sentences": [{"sent_id": 1}]},
    "a number for words": REFERENCES[0] | {"sentences": [{"sent_id": 1, "sent": 5}]},
    "an unknown split": REFERENCES[0] | {"split": "spring"},
    "a list for an annotation": REFERENCES[0] | {"ann_id": [1]},
    "a number": 3,
}


@pytest.mark.parametrize("wrong", WRONG_REFERENCES.values(), ids=WRONG_REFERENCES)
def test_a_wrong_reference_raises(folder, wrong):
    write(folder, [REFERENCES[1], wrong])
    assert message(folder).startswith(str(folder / "refs(unc).p"))


def test_an_unknown_split_is_told_which_there_are(folder):
    write(folder, [REFERENCES[0] | {"split": "spring"}])
    assert "unknown split 'spring'; known: train, val, testA, testB, test" in message(folder)


def test_a_pickle_of_something_else_raises(folder):
    write(folder, {"refs": REFERENCES})
    assert message(folder).endswith("refs(unc).p holds a dict; it should hold a list of references")
