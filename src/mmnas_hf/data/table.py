"""What every data set is turned into: one table of images with their regions, one table of texts a split."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
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


class Regions(NamedTuple):
    """Regions of a batch of images, one array an image, and the images' sizes (height, width)."""

    features: list[np.ndarray]
    boxes: list[np.ndarray]
    image_sizes: np.ndarray


class RegionStore:
    """Finds images' regions by image id in a memory-mapped table; nothing is copied before a batch needs it.

    Raises `InputError` for an image whose regions cannot be used: boxes with x2 < x1, features that are not numbers or
    of another width than the others.
    """

    def __init__(self, images: Dataset):
        columns = ["image_id", "width", "height", "boxes", "features"]
        if missing := set(columns) - set(images.column_names):
            raise InputError(f"the image table lacks columns {sorted(missing)}; it has {images.column_names}")
        table: pa.Table = images.select_columns(columns).with_format("arrow")[:]
        self.ids: list[str] = table["image_id"].to_pylist()
        self.row_of = {image_id: row for row, image_id in enumerate(self.ids)}
        self.sizes = np.stack([table["height"].to_numpy(), table["width"].to_numpy()], axis=1)
        self.boxes, self.features = table["boxes"], table["features"]
        if not self.ids:
            raise InputError("the image table is empty")
        self.feature_size = self.size_of(0)
        for row in range(len(self.ids)):
            self.check(row)

    def __getitem__(self, image_ids: Sequence[str]) -> Regions:
        rows = self.rows_of(image_ids)
        boxes = [self.boxes_of(row) for row in rows]
        return Regions(
            [self.features_of(row, len(b)) for row, b in zip(rows, boxes, strict=True)], boxes, self.sizes[rows]
        )

    def rows_of(self, image_ids: Iterable[str]) -> list[int]:
        try:
            return [self.row_of[image_id] for image_id in image_ids]
        except KeyError as missing:
            raise InputError(f"no image {missing} among the {len(self.ids)} images of the table") from None

    def blank(self) -> "RegionStore":
        """The same regions with all features zero: what a text-only model sees."""
        blank = copy(self)
        blank.features = pa.array([bytes(len(self.features[row].as_buffer())) for row in range(len(self.ids))])
        return blank

    def boxes_of(self, row: int) -> np.ndarray:
        return self.boxes[row].values.flatten().to_numpy(zero_copy_only=False).reshape(-1, CORNERS)

    def features_of(self, row: int, regions: int) -> np.ndarray:
        return np.frombuffer(self.features[row].as_buffer(), dtype=FEATURE_TYPE).reshape(regions, -1)

    def size_of(self, row: int) -> int:
        """The width of an image's features, after making sure that it has some for each of its boxes."""
        name, boxes, features = self.ids[row], self.boxes[row].as_py(), self.features[row]
        if not boxes or any(box is None or len(box) != CORNERS for box in boxes) or not features.is_valid:
            raise InputError(
                f"image {name!r} has {len(boxes or [])} boxes; give boxes of 4 numbers, and features of each"
            )
        values, rest = divmod(features.as_buffer().size, FEATURE_TYPE().itemsize)
        if rest or values % len(boxes) or not values:
            raise InputError(f"image {name!r} has {values} feature values for {len(boxes)} boxes")
        return values // len(boxes)

    def check(self, row: int) -> None:
        name, size = self.ids[row], self.size_of(row)
        if self.row_of[name] != row:
            raise InputError(f"image {name!r} occurs twice; image_id must be unique")
        if not (self.sizes[row] >= 1).all():
            raise InputError(f"image {name!r} is {self.sizes[row].tolist()} pixels high and wide; give its real size")
        if size != self.feature_size:
            raise InputError(f"image {name!r} has features of width {size}, the images before have {self.feature_size}")
        boxes = self.boxes_of(row)
        if not np.isfinite(self.features_of(row, len(boxes))).all() or not np.isfinite(boxes).all():
            raise InputError(f"image {name!r} has features or boxes that are NaN or infinite; extract them again")
        if (boxes[:, 2:] < boxes[:, :2]).any():
            wrong = boxes[(boxes[:, 2:] < boxes[:, :2]).any(1)][0].tolist()
            raise InputError(f"image {name!r} has box {wrong} with x2 < x1 or y2 < y1; give x1, y1, x2, y2 in pixels")


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
    return {
        split: rows.select([index for index, group in enumerate(rows["group"]) if group in groups])
        for split, rows in texts.items()
    }
