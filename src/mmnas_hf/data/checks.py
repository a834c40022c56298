"""Whether a table of images can be used: whole columns are looked at, a record batch at a time."""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import InputError
from .table import CORNERS, FEATURE_TYPE, box_values, feature_values

EXPONENT = 0x7C00  # the bits of a half-precision number that are all set in NaN and infinity


def check_structure(table: pa.Table) -> int:
    """The width of all images' features; raises `InputError` naming the first image that lacks or doubles something."""
    if not len(table):
        raise InputError("the image table is empty")
    for column in table.column_names:
        refuse(table, pc.is_null(table[column]), lambda row, name=column: f"has no {name}; give one")
    if pc.count_distinct(table["image_id"]).as_py() != len(table):
        refuse(table, repeated(table["image_id"]), lambda row: "occurs twice; image_id must be unique")
    for side in ("width", "height"):
        refuse(
            table,
            pc.less(table[side], 1),
            lambda row, side=side: f"is {row[side]} pixels in {side}; give its real size",
        )
    return check_lengths(table)


def repeated(column: pa.ChunkedArray) -> np.ndarray:
    """Where a value stands that stood before."""
    _, first = np.unique(column.to_numpy(), return_index=True)
    later = np.ones(len(column), dtype=bool)
    later[first] = False
    return later


def check_lengths(table: pa.Table) -> int:
    """The width of all images' features, from the number of boxes and of bytes of each image."""
    boxes = pc.list_value_length(table["boxes"]).to_numpy()
    refuse(table, boxes == 0, lambda row: "has 0 boxes; give boxes of 4 numbers, and features of each")
    corners = pc.list_value_length(pc.list_flatten(table["boxes"])).fill_null(0).to_numpy()
    fits = np.minimum.reduceat(corners == CORNERS, np.append(0, boxes.cumsum()[:-1]))
    refuse(table, ~fits, lambda row: f"has a box that is no list of {CORNERS} numbers; give x1, y1, x2, y2")
    sizes, rest = np.divmod(pc.binary_length(table["features"]).to_numpy(), FEATURE_TYPE().itemsize)
    uneven = (rest != 0) | (sizes % boxes != 0) | (sizes == 0)
    refuse(table, uneven, lambda row: f"has {len(row['features']) / 2:g} feature values for {len(row['boxes'])} boxes")
    widths = sizes // boxes
    refuse(
        table,
        widths != widths[0],
        lambda row: (
            f"has features of width {len(row['features']) // 2 // len(row['boxes'])}, "
            f"the images before have {widths[0]}"
        ),
    )
    return int(widths[0])


def refuse(table: pa.Table, wrong: pa.ChunkedArray | np.ndarray, reason: Callable[[dict], str]) -> None:
    """Raise `InputError` about the first row that is wrong."""
    wrong = np.asarray(wrong, dtype=bool)
    if wrong.any():
        row = table.slice(int(wrong.argmax()), 1).to_pylist()[0]
        raise InputError(f"image {row['image_id']!r} {reason(row)}")


def check_values(batch: pa.RecordBatch) -> None:
    """Raise `InputError` naming the first image whose features or boxes are not finite, or whose boxes are reversed."""
    for row, reason in wrong_values(batch):
        raise InputError(f"image {batch['image_id'][row].as_py()!r} {reason}")


def wrong_values(batch: pa.RecordBatch) -> Iterator[tuple[int, str]]:
    """Rows of a batch that cannot be used, and why."""
    last_boxes = np.cumsum(pc.list_value_length(batch["boxes"]).to_numpy(zero_copy_only=False))
    boxes = box_values(batch["boxes"])
    not_finite = "has features or boxes that are NaN or infinite; extract them again"
    for box in np.flatnonzero(~np.isfinite(boxes).all(1))[:1]:
        yield int(np.searchsorted(last_boxes, box, "right")), not_finite
    for box in np.flatnonzero((boxes[:, 2:] < boxes[:, :2]).any(1))[:1]:
        reason = f"has box {boxes[box].tolist()} with x2 < x1 or y2 < y1; give x1, y1, x2, y2 in pixels"
        yield int(np.searchsorted(last_boxes, box, "right")), reason
    last_values = (
        np.cumsum(pc.binary_length(batch["features"]).to_numpy(zero_copy_only=False)) // FEATURE_TYPE().itemsize
    )
    bits = feature_values(batch["features"]).view(np.uint16)
    for value in np.flatnonzero((bits & EXPONENT) == EXPONENT)[:1]:
        yield int(np.searchsorted(last_values, value, "right")), not_finite
