"""Images' regions by image id, out of a memory-mapped table."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from ..cache import cached_json, fingerprint
from ..errors import InputError
from .checks import check_structure, check_values
from .table import CORNERS, FEATURE_TYPE, IMAGE_FEATURES


class Regions(NamedTuple):
    """Regions of a batch of images, one array an image, and the images' sizes (height, width)."""

    features: list[np.ndarray]
    boxes: list[np.ndarray]
    image_sizes: np.ndarray


class RegionStore:
    """Finds images' regions by image id; nothing is copied before a batch needs it.

    Raises `InputError` for an image whose regions cannot be used: boxes with x2 < x1, features that are not numbers or
    of another width than the others.
    """

    def __init__(self, images: Dataset):
        if missing := set(IMAGE_FEATURES) - set(images.column_names):
            raise InputError(f"the image table lacks columns {sorted(missing)}; it has {images.column_names}")
        table: pa.Table = images.select_columns(list(IMAGE_FEATURES)).with_format("arrow")[:]
        self.images = images
        self.feature_size = check_structure(table)
        check_once(images, table)
        self.ids: list[str] = table["image_id"].to_pylist()
        self.row_of = {image_id: row for row, image_id in enumerate(self.ids)}
        self.sizes = np.stack([table["height"].to_numpy(), table["width"].to_numpy()], axis=1)
        self.boxes, self.features = table["boxes"], table["features"]
        self.most_regions: int = pc.max(pc.list_value_length(self.boxes)).as_py()

    def __getitem__(self, image_ids: Sequence[str]) -> Regions:
        rows = self.rows_of(image_ids)
        return Regions([self.features_of(row) for row in rows], [self.boxes_of(row) for row in rows], self.sizes[rows])

    def rows_of(self, image_ids: Iterable[str]) -> list[int]:
        try:
            return [self.row_of[image_id] for image_id in image_ids]
        except KeyError as missing:
            raise InputError(f"no image {missing} among the {len(self.ids)} images of the table") from None

    def blank(self) -> "RegionStore":
        """The same regions with all features zero: what a text-only model sees."""
        return BlankRegionStore(self.images)

    def __reduce__(self) -> tuple:  # a memory-mapped table travels to another process as the names of its files
        return type(self), (self.images,)

    def boxes_of(self, row: int) -> np.ndarray:
        return self.boxes[row].values.flatten().to_numpy(zero_copy_only=False).reshape(-1, CORNERS)

    def features_of(self, row: int) -> np.ndarray:
        return np.frombuffer(self.features[row].as_buffer(), dtype=FEATURE_TYPE).reshape(-1, self.feature_size)


class BlankRegionStore(RegionStore):
    """Regions without features."""

    def features_of(self, row: int) -> np.ndarray:
        return np.zeros_like(super().features_of(row))


def check_once(images: Dataset, table: pa.Table) -> None:
    """Look at every number, unless it is known that these very files were found good before."""
    files = [Path(file["filename"]) for file in images.cache_files]
    if not files or len(table) != images.data.num_rows:  # in memory, or a selection of rows
        check_values(table)
        return
    cached_json("checked-images", fingerprint(*files), lambda: check_values(table) or len(table))
