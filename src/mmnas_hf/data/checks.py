"""Whether a table of images can be used: whole columns are looked at, a record batch at a time."""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import InputError
from .table import CORNERS, FEATURE_TYPE

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
    ends = np.cumsum(pc.list_value_length(batch["boxes"]).to_numpy(zero_copy_only=False))
    boxes = batch["boxes"].flatten().flatten().to_numpy(zero_copy_only=False).reshape(-1, CORNERS)
    not_finite = "has features or boxes that are NaN or infinite; extract them again"
    for box in np.flatnonzero(~np.isfinite(boxes).all(1))[:1]:
        yield int(np.searchsorted(ends, box, "right")), not_finite
    for box in np.flatnonzero((boxes[:, 2:] < boxes[:, :2]).any(1))[:1]:
        reason = f"has box {boxes[box].tolist()} with x2 < x1 or y2 < y1; give x1, y1, x2, y2 in pixels"
        yield int(np.searchsorted(ends, box, "right")), reason
    bits = np.frombuffer(batch["features"].buffers()[2] or b"", dtype=np.uint16)
    starts = np.frombuffer(batch["features"].buffers()[1], dtype=np.int32)[batch["features"].offset :][: len(batch) + 1]
    starts = starts // FEATURE_TYPE().itemsize
    used = bits[starts[0] : starts[-1]]
    for value in np.flatnonzero((used & EXPONENT) == EXPONENT)[:1]:
        yield int(np.searchsorted(starts[1:] - starts[0], value, "right")), not_finite
