"""Plain arrays over all images, also under SCAN's names: one or several groups of .npy files and a list of ids.

`features.npy` [images, regions, feature size], `boxes.npy` [images, regions, 4], `sizes.npy` [images, 2] (height,
width), `ids.txt` or `ids.json`; or `train_ims.npy`, `train_boxes.npy`, `train_img_sizes.npy` (width, height) and
`train_ids.txt`, where train may be any name.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import InputError, first_line
from ..image_ids import image_id_of
from ..table import CORNERS
from .source import NUMBERS, PIXEL, FileSource, ImageRegions, Part, Wanted, keyed_parts

FEATURE_FILES = ("features.npy", "ims.npy")
AXES = 3  # of features: images, regions, numbers
IDS_FILES = ("ids.txt", "ids.json")
SIZE_FILES = {"sizes.npy": (1, 0), "img_sizes.npy": (0, 1)}  # where width and height stand
OUTSIDE = 1.05  # some detectors' boxes leave the image by a little


class Group(NamedTuple):
    """The files that belong together, and where a size has width and height."""

    features: Path
    boxes: Path
    sizes: Path
    ids: Path
    order: tuple[int, int]


class ArraySource(FileSource):
    """A folder of plain arrays; a part is some rows of one group."""

    description = "a folder of features.npy, boxes.npy, sizes.npy and ids.txt, or of SCAN's NAME_ims.npy and so on"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.is_dir() and bool(feature_files(path))

    def parts(self, wanted: Wanted) -> list[Part]:
        return [part for file in feature_files(self.path) for part in self.group_parts(find_group(file), wanted)]

    def group_parts(self, group: Group, wanted: Wanted) -> list[Part]:
        name = f"{self.path.resolve().name}/{group.features.name}"
        features, _, _ = open_arrays(group)
        keys = enumerate(map(image_id_of, once_an_image(read_ids(group.ids), len(features), group.ids)))
        return keyed_parts(name, group[:-1], keys, wanted)

    def read(self, part: Part) -> Iterator[ImageRegions]:
        group = find_group(self.path / Path(part.name).name)
        features, boxes, sizes = open_arrays(group)
        for row, image_id in part.content:
            size, corner = sizes[row][list(group.order)], boxes[row].reshape(-1, 2).max(0)
            if not (size >= 1).all() or (self.boxes == PIXEL and (corner > OUTSIDE * size).any()):
                order = "width, height" if group.order[0] == 0 else "height, width"
                seen = f"image {image_id!r} of {size[0]:g} x {size[1]:g} has boxes up to {corner.tolist()}"
                raise InputError(f"{group.sizes}: {seen}; give {order}")
            yield ImageRegions(image_id, int(size[0]), int(size[1]), np.array(boxes[row]), features[row])


def feature_files(folder: Path) -> list[Path]:
    """The feature files of all groups; a prefix ends in an underscore."""
    files = [path for name in FEATURE_FILES for path in folder.glob(f"*{name}")]
    return sorted(path for path in files if prefix_of(path).endswith("_") or path.name in FEATURE_FILES)


def prefix_of(features: Path) -> str:
    return next(features.name.removesuffix(name) for name in FEATURE_FILES if features.name.endswith(name))


def find_group(features: Path) -> Group:
    """The files that belong to a feature file."""
    prefix = prefix_of(features)

    def find(*names: str) -> Path:
        paths = [features.with_name(prefix + name) for name in names]
        if found := [path for path in paths if path.is_file()]:
            return found[0]
        raise InputError(f"{features} needs {' or '.join(path.name for path in paths)} beside it")

    sizes = find(*SIZE_FILES)
    order = SIZE_FILES[sizes.name.removeprefix(prefix)]
    return Group(features, find("boxes.npy"), sizes, find(*IDS_FILES), order)


def open_arrays(group: Group) -> list[np.ndarray]:
    """Features, boxes and sizes of a group, memory-mapped."""
    arrays = [open_array(file) for file in (group.features, group.boxes, group.sizes)]
    if arrays[0].ndim != AXES or not arrays[0].size:
        raise InputError(f"{group.features} is {list(arrays[0].shape)}; it must be [images, regions, feature size]")
    images, regions, _ = arrays[0].shape
    for file, array, shape in zip(group[1:3], arrays[1:], [(images, regions, CORNERS), (images, 2)], strict=True):
        if array.shape != shape or array.dtype.kind not in NUMBERS:
            wrong = f"{array.dtype} {list(array.shape)}"
            raise InputError(f"{file} is {wrong}; numbers {list(shape)} go with {group.features.name}")
    return arrays


def open_array(file: Path) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(file, mode="r")  # unlike np.load it knows no archives, and no pickles at all
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file} is no readable array: {first_line(error)}") from None


def read_ids(file: Path) -> list[str]:
    try:
        ids = json.loads(file.read_text()) if file.suffix == ".json" else file.read_text().splitlines()
    except ValueError as error:
        raise InputError(f"{file} cannot be read: {first_line(error)}") from None
    if not isinstance(ids, list):
        raise InputError(f"{file} must be a list of image ids")
    return [str(name).strip() for name in ids if str(name).strip()]


def once_an_image(ids: list[str], images: int, file: Path) -> list[str]:
    """One id an image, of a list that may have each as often as the image has captions."""
    times, rest = divmod(len(ids), max(images, 1))
    if rest or not times or any(ids[place] != ids[place - place % times] for place in range(len(ids))):
        raise InputError(f"{file} has {len(ids)} ids for {images} images; give one an image, or one a caption")
    return ids[::times]
