"""The original MMnas' features: a folder of one .npz an image.

`x` [feature size, regions], `bbox` [regions, 4] in pixels, `image_h`, `image_w`.
"""

import zlib
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ...cache import fingerprint
from ...errors import InputError, first_line
from ..image_ids import image_id_of
from ..table import CORNERS
from .fields import UNREADABLE, pixels
from .source import PIXEL, FileSource, ImageRegions, Part, Wanted, wanted_groups

DAMAGED = (*UNREADABLE, OSError, EOFError, BadZipFile, zlib.error)


class NpzSource(FileSource):
    """A folder of .npz files, also in folders below it; a part is some files of one folder."""

    description = "a folder of one .npz an image"
    defined_boxes = PIXEL

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.is_dir() and next(path.rglob("*.npz"), None) is not None

    def parts(self, wanted: Wanted) -> list[Part]:
        files = groupby(sorted(self.path.rglob("*.npz")), key=lambda file: file.parent)
        return [part for folder, members in files for part in self.folder_parts(folder, members, wanted)]

    def folder_parts(self, folder: Path, files: Iterator[Path], wanted: Wanted) -> Iterator[Part]:
        name = str(self.path.resolve().name / folder.relative_to(self.path))
        for group in wanted_groups(((file, image_id_of(file.name)) for file in files), wanted):
            yield Part(name, fingerprint(*(file for file, _ in group)), group)

    def read(self, part: Part) -> Iterator[ImageRegions]:
        for file, image_id in part.content:
            yield read_image(file, image_id)


def read_image(file: Path, image_id: str) -> ImageRegions:
    try:
        with file.open("rb") as content, np.load(content, allow_pickle=False) as arrays:
            boxes, features = arrays["bbox"], arrays["x"]
            width, height = pixels(arrays["image_w"]), pixels(arrays["image_h"])
    except DAMAGED as error:
        raise InputError(f"{file} cannot be read: {first_line(error)}; give x, bbox, image_h, image_w") from None
    columns = features.shape[1:] == boxes.shape[:1]  # the original's order, also where both would fit
    if boxes.shape[1:] != (CORNERS,) or not (columns or features.shape[:1] == boxes.shape[:1]):
        shapes = f"x {list(features.shape)} and bbox {list(boxes.shape)}"
        raise InputError(f"{file} has {shapes}; give x [feature size, regions] and bbox [regions, {CORNERS}]")
    return ImageRegions(image_id, width, height, boxes, features.T if columns else features)
