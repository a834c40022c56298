"""What every form of region features offers: parts, each of which is read on its own, image by image."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ...cache import fingerprint

PIXEL, NORMALISED = "pixel", "normalised"
IMAGES_A_PART = 500  # with 36 regions of 2,048 numbers: a shard of 74 MB, converted in seconds

NUMBERS = "iuf"  # kinds of numpy types: integers and floats

Keys = tuple[tuple[Any, str], ...]  # where each image stands in its file, and its id
Wanted = frozenset[str] | None  # image ids, or all there are


class ImageRegions(NamedTuple):
    """One image as its source has it: boxes [regions, 4] x1, y1, x2, y2 and features [regions, feature size]."""

    image_id: str
    width: int
    height: int
    boxes: np.ndarray
    features: np.ndarray


class Part(NamedTuple):
    """A piece of a source that becomes one shard.

    `name` is what shards and messages call the file, `fingerprint` changes with the file and with what is taken of it,
    `content` is what the source needs to read the part; it may be sent to another process.
    """

    name: str
    fingerprint: str
    content: Any


class RegionSource(ABC):
    """Images' regions in some files, whose `boxes` are PIXEL, or NORMALISED to shares of width and height."""

    boxes: str | None = PIXEL

    def __str__(self) -> str:
        return type(self).__name__

    @abstractmethod
    def parts(self, wanted: Wanted) -> list[Part]:
        """The parts that hold wanted images; without `wanted`, all."""

    @abstractmethod
    def read(self, part: Part) -> Iterator[ImageRegions]:
        """The wanted images of a part."""


class FileSource(RegionSource):
    """A file or folder in one of the forms in circulation."""

    description: ClassVar[str]
    defined_boxes: ClassVar[str | None] = None  # what boxes are in every file of this form, if that is so

    def __init__(self, path: Path, boxes: str | None = None):
        self.path, self.boxes = path, boxes or self.defined_boxes

    def __str__(self) -> str:
        return str(self.path)

    @classmethod
    @abstractmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a file or folder looks like this form."""


def wanted_groups(keys: Iterable[tuple[Any, str]], wanted: Wanted) -> list[Keys]:
    """The keys of wanted images, so many at a time."""
    chosen = [(key, image_id) for key, image_id in keys if wanted is None or image_id in wanted]
    return [tuple(chosen[start : start + IMAGES_A_PART]) for start in range(0, len(chosen), IMAGES_A_PART)]


def keyed_parts(name: str, files: Iterable[Path], keys: Iterable[tuple[Any, str]], wanted: Wanted) -> list[Part]:
    """Parts of files in which an image is found by its key."""
    state = fingerprint(*files)
    return [Part(name, fingerprint(state, repr(group)), group) for group in wanted_groups(keys, wanted)]
