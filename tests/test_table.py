"""The table of images gives regions as they were stored, and refuses images that cannot be used."""

import numpy as np
import pytest
from datasets import Dataset, concatenate_datasets

from mmnas_hf.data import IMAGE_FEATURES, RegionStore, image_row, keep_groups
from mmnas_hf.errors import InputError
from tiny import FEATURE_SIZE, HEIGHT, WIDTH

COUNTS = {"first": 3, "second": 1, "third": 5}


def boxes(count):
    corners = np.arange(count)[:, None] * 3.0
    return np.concatenate([corners, corners, corners + 10, corners + 20], axis=1)


def features(count, seed=0, width=FEATURE_SIZE):
    return np.random.default_rng(seed).normal(size=(count, width))


def rows(**changes):
    """Rows of three images; `changes` replace columns of the second."""
    made = [image_row(name, WIDTH, HEIGHT, boxes(count), features(count, count)) for name, count in COUNTS.items()]
    made[1] |= changes
    return made


def store(**changes):
    return RegionStore(Dataset.from_list(rows(**changes), features=IMAGE_FEATURES))


# Reading


def test_regions_come_in_the_order_asked_for():
    regions = store()[["third", "first", "third"]]
    assert [len(box) for box in regions.boxes] == [5, 3, 5]


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_regions_are_what_was_stored_in_half_precision(name, count):
    regions = store()[[name]]
    np.testing.assert_array_equal(regions.features[0], features(count, count).astype(np.float16))
    np.testing.assert_array_equal(regions.boxes[0], boxes(count))


def test_sizes_are_height_and_width():
    assert store()[["first", "second"]].image_sizes.tolist() == [[HEIGHT, WIDTH]] * 2


def test_regions_survive_rows_in_several_chunks():
    parts = [Dataset.from_list([row], features=IMAGE_FEATURES) for row in rows()]
    whole, chunked = store(), RegionStore(concatenate_datasets(parts))
    for name in COUNTS:
        np.testing.assert_array_equal(chunked[[name]].features[0], whole[[name]].features[0])
        np.testing.assert_array_equal(chunked[[name]].boxes[0], whole[[name]].boxes[0])


@pytest.mark.parametrize("chosen", [[2, 0], [1, 2]], ids=["anywhere", "a slice"])
def test_a_selection_of_rows_has_only_those(chosen):
    selected = RegionStore(Dataset.from_list(rows(), features=IMAGE_FEATURES).select(chosen))
    assert selected.ids == [[*COUNTS][row] for row in chosen]
    for name in selected.ids:
        np.testing.assert_array_equal(selected[[name]].boxes[0], boxes(COUNTS[name]))
        expected = features(COUNTS[name], COUNTS[name]).astype(np.float16)
        np.testing.assert_array_equal(selected[[name]].features[0], expected)


def test_the_feature_size_is_that_of_the_images():
    assert store().feature_size == FEATURE_SIZE


# Hidden images


def test_hidden_images_have_the_same_boxes_and_no_features():
    shown, hidden = store()[[*COUNTS]], store().blank()[[*COUNTS]]
    for name in range(3):
        np.testing.assert_array_equal(hidden.boxes[name], shown.boxes[name])
        np.testing.assert_array_equal(hidden.features[name], np.zeros_like(shown.features[name]))


def test_hiding_images_leaves_the_shown_ones():
    shown = store()
    shown.blank()
    assert shown[["first"]].features[0].any()


# Wrong images

WRONG = {
    "features that are NaN": ({"features": np.full((1, FEATURE_SIZE), np.nan, np.float16).tobytes()}, "NaN"),
    "features that are infinite": ({"features": np.full((1, FEATURE_SIZE), np.inf, np.float16).tobytes()}, "infinite"),
    "features of another width": ({"features": np.ones((1, 7), np.float16).tobytes()}, "width 7, .* before have 8"),
    "features that are no multiple": ({"boxes": boxes(3).tolist()}, "8 feature values for 3 boxes"),
    "half a feature": ({"features": bytes(2 * FEATURE_SIZE + 1)}, "feature"),
    "no features": ({"features": None}, "second"),
    "no boxes": ({"boxes": [], "features": b""}, "0 boxes"),
    "no list of boxes": ({"boxes": None}, "second"),
    "three-cornered boxes": ({"boxes": [[0.0, 0.0, 10.0]]}, "second"),
    "a box that is NaN": ({"boxes": [[0.0, 0.0, float("nan"), 10.0]]}, "NaN"),
    "x2 < x1": ({"boxes": [[10.0, 0.0, 5.0, 10.0]]}, r"\[10.0, 0.0, 5.0, 10.0\] with x2 < x1"),
    "y2 < y1": ({"boxes": [[0.0, 10.0, 5.0, 5.0]]}, r"\[0.0, 10.0, 5.0, 5.0\] with x2 < x1 or y2 < y1"),
    "no width": ({"width": None}, "second"),
    "no area": ({"height": 0}, "second"),
    "another's name": ({"image_id": "first"}, "first"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_a_table_is_refused_for(changes, message):
    with pytest.raises(InputError, match=f"image .*{message}"):
        store(**changes)


def test_an_unknown_image_raises():
    with pytest.raises(InputError, match="no image 'fourth' among the 3 images"):
        store()[["fourth"]]


def test_an_empty_table_raises():
    with pytest.raises(InputError, match="empty"):
        RegionStore(Dataset.from_list(rows(), features=IMAGE_FEATURES).select([]))


@pytest.mark.parametrize("column", IMAGE_FEATURES)
def test_a_table_without_a_column_raises(column):
    table = Dataset.from_list(rows(), features=IMAGE_FEATURES).remove_columns(column)
    with pytest.raises(InputError, match=f"lacks columns .*{column}"):
        RegionStore(table)


def test_features_too_large_for_half_precision_raise():
    with pytest.raises(InputError, match="infinite"), np.errstate(over="ignore"):
        store(features=(1e9 * features(1)).astype(np.float16).tobytes())


# Groups


TEXTS = {
    "train": Dataset.from_list([{"group": "easy", "n": 0}, {"group": "hard", "n": 1}, {"group": "easy", "n": 2}]),
    "test": Dataset.from_list([{"group": "hard", "n": 3}]),
}


def test_texts_of_some_groups_are_kept_in_order():
    kept = keep_groups(TEXTS, ["easy"])
    assert {split: texts["n"][:] for split, texts in kept.items()} == {"train": [0, 2], "test": []}


def test_an_unknown_group_raises():
    with pytest.raises(InputError, match="unknown group 'odd'; this data set has: easy, hard"):
        keep_groups(TEXTS, ["easy", "odd"])


def test_asking_for_a_group_of_texts_without_groups_raises():
    with pytest.raises(InputError, match="this data set has: no groups"):
        keep_groups({"train": TEXTS["train"].remove_columns("group")}, ["easy"])
