"""What every data set is turned into: one table of images with their regions, one table of texts a split."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, List, Value

from ..errors import InputError

#: One row an image. `features` holds float16 bytes, row-major [regions, feature size]; `boxes` are xyxy pixels.
IMAGE_FEATURES = Features(
    {
        "image_id": Value("string"),
        "width": Value("int32"),
        "height": Value("int32"),
        "boxes": List(List(Value("float32"))),
        "features": Value("binary"),
    }
)
FEATURE_TYPE = np.float16
CORNERS = 4  # numbers of a box


class ImageTextData(NamedTuple):
    """Images and, by split, the texts about them; each row of `texts` names its image by `image_id`."""

    images: Dataset
    texts: Mapping[str, Dataset]


def image_row(image_id: str, width: int, height: int, boxes: np.ndarray, features: np.ndarray) -> dict[str, Any]:
    """A row of the image table from arrays [regions, 4] and [regions, feature size]."""
    return {
        "image_id": image_id,
        "width": width,
        "height": height,
        "boxes": np.asarray(boxes, dtype=np.float32).tolist(),
        "features": np.ascontiguousarray(features, dtype=FEATURE_TYPE).tobytes(),
    }


def keep_groups(texts: Mapping[str, Dataset], groups: Sequence[str]) -> dict[str, Dataset]:
    """The texts whose `group` is one of these."""
    known = {
        group for rows in texts.values() for group in (rows.unique("group") if "group" in rows.column_names else [])
    }
    if unknown := [group for group in groups if group not in known]:
        raise InputError(f"unknown group {unknown[0]!r}; this data set has: {', '.join(sorted(known)) or 'no groups'}")
    return {split: keep_rows(rows, "group", groups) for split, rows in texts.items()}


def keep_rows(rows: Dataset, column: str, values: Collection[str]) -> Dataset:
    """The rows whose value in a column is one of these."""
    wanted = set(values)  # numpy's own test would sort a million strings
    return rows.select([row for row, value in enumerate(column_of(rows, column)) if value in wanted])


def column_of(rows: Dataset, name: str) -> np.ndarray:
    """A whole column as an array, read from the table at once."""
    return rows.select_columns([name]).with_format("arrow")[:][name].to_numpy()


def box_values(column: pa.ListArray) -> np.ndarray:
    """All boxes of some rows, one after the other: [boxes, 4]."""
    return column.flatten().flatten().to_numpy(zero_copy_only=False).reshape(-1, CORNERS)


def feature_values(column: pa.BinaryArray) -> np.ndarray:
    """All numbers of the features of some rows, one after the other, where they are mapped."""
    _, offsets, values = column.buffers()
    first, last = np.frombuffer(offsets, dtype=np.int32)[column.offset :][[0, len(column)]]
    return np.frombuffer(values or b"", dtype=np.uint8)[first:last].view(FEATURE_TYPE)
