"""HDF5: arrays over all images, fixed or adaptive, or one group an image."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError, first_line
from ...unpickling import NUMPY, unpickle_file
from ..image_ids import image_id_of
from .fields import BOXES, FEATURES, HEIGHT, IMAGE_IDS, UNREADABLE, WIDTH, field, has, pixels, shape_regions
from .source import FileSource, ImageRegions, Part, Wanted, keyed_parts

if TYPE_CHECKING:
    import h5py

SIGNATURE = b"\x89HDF\r\n\x1a\n"
ROW_OF_IDS = "_imgid2idx.pkl"
SAME_PIXEL = 0.5
SHOWN = 5  # names in a message


class Hdf5Source(FileSource):
    """An HDF5 file; a part is some of its images."""

    description = "an .hdf5 of arrays over all images, or of one group an image"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(SIGNATURE)) == SIGNATURE

    def parts(self, wanted: Wanted) -> list[Part]:
        with open_layout(self.path) as layout:
            keys = [(key, image_id_of(name)) for key, name in layout.entries()]
            return keyed_parts(self.path.name, layout.files, keys, wanted)

    def read(self, part: Part) -> Iterator[ImageRegions]:
        with open_layout(self.path) as layout:
            for key, image_id in part.content:
                try:
                    yield layout.image(key, image_id)
                except (*UNREADABLE, OSError) as error:
                    raise InputError(f"{self.path}, image {image_id!r} cannot be read: {first_line(error)}") from None


class Layout(ABC):
    """Where an open file has its images; `files` are those that tell it."""

    def __init__(self, file: "h5py.File", path: Path):
        self.file, self.path, self.files = file, path, [path]

    @abstractmethod
    def entries(self) -> Iterable[tuple[Any, str | int]]:
        """The images' keys and names."""

    @abstractmethod
    def image(self, key: Any, image_id: str) -> ImageRegions:
        """One image."""


class Groups(Layout):
    """One group an image with `features`, `boxes`, `img_h` and `img_w`, as VL-T5 and VOLTA have it."""

    def entries(self) -> Iterable[tuple[str, str]]:
        return ((name, name) for name in self.file)

    def image(self, key: str, image_id: str) -> ImageRegions:
        group = self.file[key]
        boxes, features = shape_regions(field(group, BOXES)[()], field(group, FEATURES)[()])
        width, height = (pixels(field(group, names)[()]) for names in (WIDTH, HEIGHT))
        return ImageRegions(image_id, width, height, boxes, features)


class Rows(Layout):
    """Arrays over all images: [images, regions, ...], or flat [all regions, ...] with row ranges in `pos_boxes`."""

    def __init__(self, file: "h5py.File", path: Path):
        super().__init__(file, path)
        self.features, self.boxes = field(file, FEATURES), field(file, BOXES)
        self.ranges = file["pos_boxes"][()] if "pos_boxes" in file else None
        self.images = len(self.features if self.ranges is None else self.ranges)
        if not has(file, IMAGE_IDS):
            self.files = [path, find_row_of_ids(path)]

    def entries(self) -> Iterable[tuple[int, str | int]]:
        if has(self.file, IMAGE_IDS):
            names = field(self.file, IMAGE_IDS)[()]
            if len(names) != self.images:
                raise InputError(f"{self.path} has {len(names)} image ids for {self.images} images")
            return enumerate(name.decode() if isinstance(name, bytes) else str(name) for name in names)
        row_of = unpickle_file(self.files[1], NUMPY)
        if not isinstance(row_of, dict) or not all(row in range(self.images) for row in row_of.values()):
            raise InputError(f"{self.files[1]} must be a dict from image ids to the {self.images} rows of {self.path}")
        return sorted(((int(row), name) for name, row in row_of.items()), key=itemgetter(0))

    def image(self, key: int, image_id: str) -> ImageRegions:
        rows = key if self.ranges is None else self.region_rows(key)
        boxes, features = shape_regions(self.boxes[rows], self.features[rows])
        return ImageRegions(image_id, *self.size(key, rows, boxes), boxes, features)

    def region_rows(self, key: int) -> slice:
        start, end = self.ranges[key].tolist()
        if not 0 <= start < end <= len(self.features):
            raise ValueError(f"pos_boxes says rows {start} to {end} of {len(self.features)}")
        return slice(start, end)

    def size(self, key: int, rows: int | slice, boxes: np.ndarray) -> tuple[int, int]:
        """Width and height."""
        if has(self.file, WIDTH) and has(self.file, HEIGHT):
            return pixels(field(self.file, WIDTH)[key]), pixels(field(self.file, HEIGHT)[key])
        size = size_from_shares(boxes, self.file["spatial_features"][rows]) if "spatial_features" in self.file else None
        if size is None:
            raise ValueError("its size is not known; add datasets image_w and image_h [images] to the file")
        return size


def size_from_shares(boxes: np.ndarray, shares: np.ndarray) -> tuple[int, int] | None:
    """Width and height of an image from the same boxes in pixels and as shares of it; None if both are shares."""
    with np.errstate(divide="ignore", invalid="ignore"):
        sizes = np.nan_to_num(boxes[:, 2:].max(0) / shares[:, 2:4].max(0), posinf=0).round()
    fits = np.abs(shares[:, :4] * np.tile(sizes, 2) - boxes).max() < SAME_PIXEL
    return (int(sizes[0]), int(sizes[1])) if fits and sizes.min() > 1 else None


def find_row_of_ids(path: Path) -> Path:
    """The pickle beside a file that tells its images' rows: of the same name, or the only one there."""
    own, others = path.with_name(path.stem + ROW_OF_IDS), sorted(path.parent.glob(f"*{ROW_OF_IDS}"))
    if own not in others and len(others) != 1:
        found = ", ".join(file.name for file in others) or "none"
        raise InputError(f"{path} has no image_ids; put {own.name} beside it (pickles found there: {found})")
    return own if own in others else others[0]


@contextmanager
def open_layout(path: Path) -> Iterator[Layout]:
    try:
        import h5py  # noqa: PLC0415 - an extra
    except ImportError:
        raise InputError("HDF5 files need h5py; pip install 'mmnas-hf[formats]'") from None
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path} is no readable HDF5 file: {first_line(error)}") from None
    with file:
        yield find_layout(file, path)


def find_layout(file: "h5py.File", path: Path) -> Layout:
    """What an open file holds."""
    try:
        if has(file, FEATURES):
            return Rows(file, path)
        first = next(iter(file.values()), None)
        if isinstance(first, Mapping) and has(first, FEATURES):
            return Groups(file, path)
    except KeyError as error:
        raise InputError(f"{path} is in no known layout: {first_line(error)}") from None
    names = ", ".join(islice(file, SHOWN)) or "nothing"
    raise InputError(f"{path} has no {' or '.join(FEATURES)}, nor groups that do; it has {names}")
