"""Results that are kept between runs, by a fingerprint of what they were made from."""

import json
import logging
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import safetensors.numpy
from huggingface_hub import constants
from safetensors import SafetensorError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


def fingerprint(*parts: str | bytes | Path) -> str:
    """A file name that tells these parts from others; a path counts as its file's name, size and time of change."""
    digest = blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, Path):
            state = part.stat()
            content = f"{part.name}/{state.st_size}/{state.st_mtime_ns}".encode()
        else:
            content = part.encode() if isinstance(part, str) else part
        digest.update(f"{type(part).__name__} {len(content)} ".encode() + content)
    return digest.hexdigest()


def cached_arrays(kind: str, key: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The named arrays that were kept under this key, else those of `make`, which are kept for the next time."""
    return cached(f"{kind}/{key}.safetensors", make, encode_arrays, safetensors.numpy.load)


def cached_json(kind: str, key: str, make: Callable[[], Any]) -> Any:
    """`cached_arrays` for what JSON can hold."""
    return cached(f"{kind}/{key}.json", make, lambda value: json.dumps(value).encode(), json.loads)


def encode_arrays(arrays: dict[str, np.ndarray]) -> bytes:  # safetensors takes the memory of a view for its numbers
    return safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in arrays.items()})


def cached(
    name: str, make: Callable[[], Result], encode: Callable[[Result], bytes], decode: Callable[[bytes], Result]
) -> Result:
    """A file's content, or what `make` makes if there is no such file or it is damaged; `name` is below our cache."""
    path = Path(constants.HF_HOME, "mmnas_hf", name)
    try:
        return decode(path.read_bytes())
    except (SafetensorError, ValueError) as error:
        logger.warning("%s is damaged (%s) and is made anew", path, error)
    except OSError:  # not there, or not ours to read
        pass
    result = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent) as folder:  # so that nobody ever sees half a file
            draft = Path(folder, path.name)
            draft.write_bytes(encode(result))
            draft.replace(path)
    except OSError as error:
        logger.warning("%s cannot be kept and will be made again: %s", path, error)
    return result
