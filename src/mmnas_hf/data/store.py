"""Images' regions by image id, out of a memory-mapped table."""

import mmap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from tqdm.auto import tqdm

from ..cache import cached_json, fingerprint
from ..errors import InputError
from .checks import check_structure, check_values
from .table import IMAGE_FEATURES, box_values, feature_values

# Bytes of features that were read; several times as many become resident, for a page is mapped with those around it.
RELEASED_AFTER = 1 << 26


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
        table, self.maps = open_table(images)
        self.images, self.table, self.read = images, table, 0
        self.feature_size = check_structure(table)
        self.check_once(table)
        self.ids: list[str] = table["image_id"].to_pylist()
        self.row_of = {image_id: row for row, image_id in enumerate(self.ids)}
        self.sizes = np.stack([table["height"].to_numpy(), table["width"].to_numpy()], axis=1)
        # Whole arrays and where in them a row's regions are: Arrow takes long to be asked for one row after the other.
        batches = table.to_batches()
        self.boxes = [box_values(batch["boxes"]) for batch in batches]
        self.features = [feature_values(batch["features"]).reshape(-1, self.feature_size) for batch in batches]
        self.places = [place for number, batch in enumerate(batches) for place in places_in(batch, number)]
        self.regions_of_row: np.ndarray = pc.list_value_length(table["boxes"]).to_numpy()
        self.most_regions = int(self.regions_of_row.max())

    def __getitem__(self, image_ids: Sequence[str]) -> Regions:
        rows = self.rows_of(image_ids)
        features, boxes = [self.features_of(row) for row in rows], [self.boxes_of(row) for row in rows]
        self.release_after(sum(part.nbytes for part in features))
        return Regions(features, boxes, self.sizes[rows])

    def counts(self, image_ids: Iterable[str]) -> list[int]:
        """How many regions images have."""
        return self.regions_of_row[self.rows_of(map(str, image_ids))].tolist()

    def release_after(self, read: int) -> None:
        """Give pages back from time to time, or the whole table would become resident; they can be read anew."""
        self.read += read
        if self.read > RELEASED_AFTER and hasattr(mmap, "MADV_DONTNEED"):  # Windows has no such thing
            self.read = 0
            for file in self.maps:
                file.madvise(mmap.MADV_DONTNEED)

    def check_once(self, table: pa.Table) -> None:
        """Look at every number, unless it is known that these very files were found good before."""
        if is_whole(self.images):
            files = [Path(file["filename"]) for file in self.images.cache_files]
            cached_json("checked-images", fingerprint(*files), lambda: self.check(table))
        else:
            self.check(table)

    def check(self, table: pa.Table) -> int:
        for batch in tqdm(table.to_batches(), desc="Checking regions", unit="batch", leave=False, delay=2):
            check_values(batch)
            self.release_after(batch.nbytes)
        return len(table)

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
        batch, regions = self.places[row]
        return self.boxes[batch][regions]

    def features_of(self, row: int) -> np.ndarray:
        batch, regions = self.places[row]
        return self.features[batch][regions]


class BlankRegionStore(RegionStore):
    """Regions without features."""

    def features_of(self, row: int) -> np.ndarray:
        return np.zeros_like(super().features_of(row))


def places_in(batch: pa.RecordBatch, number: int) -> list[tuple[int, slice]]:
    """For each row the number of its batch, and which of that batch's regions are its own."""
    ends = pc.list_value_length(batch["boxes"]).to_numpy().cumsum().tolist()
    return [(number, slice(start, end)) for start, end in zip([0, *ends], ends, strict=False)]


def open_table(images: Dataset) -> tuple[pa.Table, list[mmap.mmap]]:
    """The table's columns that a store reads, and the files that were mapped for it."""
    columns, files = list(IMAGE_FEATURES), [Path(file["filename"]) for file in images.cache_files]
    if not is_whole(images):
        return images.select_columns(columns).with_format("arrow")[:], []
    maps = [map_file(path) for path in files]
    tables = [pa.ipc.open_stream(pa.py_buffer(file)).read_all().select(columns) for file in maps]
    return pa.concat_tables(tables), maps


def map_file(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def is_whole(images: Dataset) -> bool:
    """Whether these are all rows of some files, and not a selection of them or rows in memory."""
    return bool(images.cache_files) and images._indices is None and images.data.num_rows == len(images)
