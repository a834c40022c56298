"""LMDB, as Pythia, MMF, ViLBERT and VOLTA have it: a pickled dict an image, under its id."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError, first_line
from ...unpickling import NUMPY, unpickle
from ..image_ids import image_id_of
from .fields import BOXES, FEATURES, HEIGHT, IMAGE_IDS, UNREADABLE, WIDTH, decode, field, has, pixels, shape_regions
from .source import FileSource, ImageRegions, Part, Wanted, keyed_parts

if TYPE_CHECKING:
    import lmdb

DATA_FILE = "data.mdb"
KEYS = b"keys"
LOOSE = 2**20  # freed pages at the end may never have been written
MAGIC, MAGIC_AT = bytes.fromhex("dec0efbe"), 16


class LmdbSource(FileSource):
    """An LMDB folder or file; a part is some of its images."""

    description = "an .lmdb of one pickled dict an image"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        file = data_file(path)
        if not file.is_file():
            return False
        with file.open("rb") as data:
            return data.read(MAGIC_AT + len(MAGIC))[MAGIC_AT:] == MAGIC

    def parts(self, wanted: Wanted) -> list[Part]:
        with open_lmdb(self.path) as transaction:
            keys = [(key, image_id_of(text(key))) for key in keys_of(transaction, self.path)]
        return keyed_parts(self.path.name, [data_file(self.path)], keys, wanted)

    def read(self, part: Part) -> Iterator[ImageRegions]:
        with open_lmdb(self.path) as transaction:
            for key, image_id in part.content:
                yield parse(transaction.get(key), image_id, f"{self.path}, key {key!r}")


def data_file(path: Path) -> Path:
    return path / DATA_FILE if path.is_dir() else path


def keys_of(transaction: "lmdb.Transaction", path: Path) -> list[bytes]:
    """The keys of images: those that the file lists, or all."""
    listed = transaction.get(KEYS)
    if listed is None:
        return list(transaction.cursor().iternext(values=False))
    keys = unpickle(BytesIO(listed), f"{path}, key {KEYS!r}")
    if not isinstance(keys, list | tuple) or not all(isinstance(key, bytes | str) for key in keys):
        raise InputError(f"{path}, key {KEYS!r} must hold a list of keys")
    return [key.encode() if isinstance(key, str) else key for key in keys]


def parse(content: bytes | None, image_id: str, name: str) -> ImageRegions:
    """One image from a pickled dict; `name` is what messages call it."""
    if content is None:
        raise InputError(f"{name} is listed but not there; was the database copied whole?")
    item = unpickle(BytesIO(content), name, NUMPY)
    try:
        if has(item, IMAGE_IDS) and image_id_of(text(field(item, IMAGE_IDS))) != image_id:
            raise ValueError(f"it says that it is image {text(field(item, IMAGE_IDS))!r}")
        count = int(item["num_boxes"]) if "num_boxes" in item else None
        boxes, features = shape_regions(array(field(item, BOXES)), array(field(item, FEATURES)), count)
        return ImageRegions(image_id, pixels(field(item, WIDTH)), pixels(field(item, HEIGHT)), boxes, features)
    except UNREADABLE as error:
        raise InputError(f"{name} is no image's regions: {first_line(error)}") from None


def text(name: Any) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def array(value: Any) -> np.ndarray:
    return decode(value) if isinstance(value, str | bytes) else np.asarray(value, dtype=np.float32)


@contextmanager
def open_lmdb(path: Path) -> Iterator["lmdb.Transaction"]:
    try:
        import lmdb  # noqa: PLC0415 - an extra
    except ImportError:
        raise InputError("LMDB files need lmdb; pip install 'mmnas-hf[formats]'") from None
    options = {"readonly": True, "lock": False, "readahead": False}
    try:
        with lmdb.open(str(path), subdir=path.is_dir(), **options) as environment, environment.begin() as transaction:
            check_length(environment, path)
            yield transaction
    except lmdb.Error as error:
        raise InputError(f"{path} is no readable LMDB: {first_line(error)}") from None


def check_length(environment: "lmdb.Environment", path: Path) -> None:
    """Refuse half a file, for to read where it ends would kill the process."""
    there = data_file(path).stat().st_size
    whole = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if there + LOOSE < whole:
        raise InputError(f"{path} has {there} of its {whole} bytes; copy it again")
