"""Region features of a detector, in every form in which they circulate, converted once to a table of images."""

from pathlib import Path

from ...errors import InputError
from .arrays import ArraySource
from .convert import Report, convert
from .hdf5 import Hdf5Source
from .lmdb import LmdbSource
from .npz import NpzSource
from .rows import NORMALISED_END
from .source import NORMALISED, PIXEL, FileSource, ImageRegions, Part, RegionSource
from .tsv import TsvSource

#: In the order in which a path is tried.
FORMS: dict[str, type[FileSource]] = {
    "tsv": TsvSource,
    "lmdb": LmdbSource,
    "hdf5": Hdf5Source,
    "arrays": ArraySource,
    "npz": NpzSource,
}


def open_regions(path: str | Path, form: str | None = None, boxes: str | None = None) -> FileSource:
    """The region features at a path, whose form is told by its content if it is not said.

    `boxes` is what their boxes are, "pixel" or "normalised"; the forms npz and tsv have pixels if it is not said.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"no file or folder {path}; give region features: {known_forms()}")
    if boxes not in (None, PIXEL, NORMALISED):
        raise InputError(f"unknown boxes {boxes!r}; known: {PIXEL}, {NORMALISED}")
    source = find_form(path, form)(path, boxes)
    if source.boxes is None:
        raise InputError(unsaid(source))
    return source


def find_form(path: Path, form: str | None) -> type[FileSource]:
    if form is not None and form not in FORMS:
        raise InputError(f"unknown form {form!r}; known: {known_forms()}")
    recognised = [FORMS[form]] if form else [kind for kind in FORMS.values() if kind.recognises(path)]
    if not recognised:
        raise InputError(f"{path} has region features in no known form; known: {known_forms()}")
    return recognised[0]


def known_forms() -> str:
    return "; ".join(f"{name} ({kind.description})" for name, kind in FORMS.items())


def unsaid(source: FileSource) -> str:
    """Why a source's boxes must be said, with what its first image looks like."""
    image = next((image for part in source.parts(None)[:1] for image in source.read(part)), None)
    if image is None:
        return f"no images in {source}"
    largest = image.boxes.max(initial=0)
    guess = PIXEL if largest > NORMALISED_END else NORMALISED
    return (
        f"{source} does not say what its boxes are; the first image, {image.image_id!r}, of {image.width} x "
        f"{image.height} has coordinates up to {largest:g}, which looks like {guess}: give --boxes {PIXEL}|{NORMALISED}"
    )


__all__ = [
    "FORMS",
    "ImageRegions",
    "Part",
    "RegionSource",
    "Report",
    "convert",
    "open_regions",
]
