"""The names that the forms have for the same things, and arrays written as text."""

from base64 import b64decode
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..table import CORNERS

FEATURES = ("features", "image_features")
BOXES = ("boxes", "bbox", "bboxes", "image_bb")
WIDTH = ("image_w", "img_w", "image_width")
HEIGHT = ("image_h", "img_h", "image_height")
IMAGE_IDS = ("image_ids", "image_id", "img_id")

#: What reading a record raises that is not what it should be.
UNREADABLE = (ArithmeticError, LookupError, TypeError, ValueError)


def field(record: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """What a record has under one of these names; raises `KeyError` with all of them."""
    for name in names:
        if name in record:
            return record[name]
    raise KeyError(f"no {' or '.join(names)} among {', '.join(map(str, record)) or 'nothing'}")


def has(record: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    return any(name in record for name in names)


def pixels(value: Any) -> int:
    """A side of an image, from a number, a text or an array of one."""
    return int(np.asarray(value).item())


def decode(text: str | bytes) -> np.ndarray:
    """The float32 numbers in base64; writers in Python 3 left some files with b'...' around it."""
    text = text.encode() if isinstance(text, str) else text
    return np.frombuffer(b64decode(text.removeprefix(b"b'").removesuffix(b"'"), validate=True), dtype=np.float32)


def shape_regions(boxes: np.ndarray, features: np.ndarray, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [regions, 4] and features [regions, feature size] of flat or shaped arrays; of the first `count`, if given.

    Raises `ValueError` where they do not fit each other.
    """
    flat = boxes.reshape(-1, CORNERS)
    if flat.shape != boxes.shape and boxes.ndim > 1:
        raise ValueError(f"boxes {list(boxes.shape)} must be [regions, {CORNERS}]")
    if features.size == 0 or features.size % max(len(flat), 1) or (features.ndim > 1 and len(features) != len(flat)):
        raise ValueError(f"features {list(features.shape)} for {len(flat)} boxes")
    if count is not None and not 1 <= count <= len(flat):
        raise ValueError(f"{len(flat)} boxes, where num_boxes is {count}")
    return flat[:count], features.reshape(len(flat), -1)[:count]
