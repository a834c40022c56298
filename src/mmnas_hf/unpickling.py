"""Reads pickles as data: containers, text and numbers come out; nothing else is looked up, and nothing is run."""

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .errors import InputError, first_line

Allowed = Mapping[str, Any]  # full name in the pickle -> what stands for it

PLAIN: Allowed = {
    **{f"{module}.{kind.__name__}": kind for module in ("builtins", "__builtin__") for kind in (set, frozenset)},
    "collections.OrderedDict": OrderedDict,
}


def _encode(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes; no other codec than this one is needed, or looked up."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"codec {encoding!r}")
    return text.encode("latin1")


def _empty_array(kind: type, shape: tuple[int, ...], code: bytes) -> np.ndarray:  # noqa: ARG001 - numpy writes it
    return np.ndarray.__new__(kind, shape, "b")


def _array(data: bytes, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _scalar(dtype: np.dtype, data: bytes) -> np.generic:
    return np.frombuffer(data, dtype)[0]


#: Arrays and numbers of numpy; arrays of objects hold only what else is allowed.
NUMPY: Allowed = {
    **PLAIN,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "_codecs.encode": _encode,
    **{
        f"numpy.{core}.{name}": function
        for core in ("core", "_core")
        for name, function in {
            "multiarray._reconstruct": _empty_array,
            "multiarray.scalar": _scalar,
            "numeric._frombuffer": _array,
        }.items()
    },
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, allowed: Allowed):
        super().__init__(file, encoding="latin1")  # what Python 2 and numpy wrote
        self.allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in self.allowed:
            raise InputError(f"it asks for {module}.{name}, which is not plain data; do not trust this file")
        return self.allowed[f"{module}.{name}"]


def unpickle(file: BinaryIO, name: str | Path, allowed: Allowed = PLAIN) -> Any:
    """The data in an open pickle; `name` is what messages call it.

    Raises `InputError` for a pickle that asks for anything but `allowed`, naming it, and for one that is damaged.
    """
    try:
        return _Unpickler(file, allowed).load()
    except InputError as error:
        raise InputError(f"{name} is refused: {error}") from None
    except Exception as error:  # damaged pickles raise whatever the opcode at the damage happens to raise
        raise InputError(f"{name} is no readable pickle: {first_line(error)}") from error


def unpickle_file(path: str | Path, allowed: Allowed = PLAIN) -> Any:
    """`unpickle` of a file."""
    with Path(path).open("rb") as file:
        return unpickle(file, path, allowed)
