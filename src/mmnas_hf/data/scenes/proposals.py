"""Boxes found in the pixels of a picture, with the loose, partial and empty ones a detector also gives."""

from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from .world import COLOURS

Boxes = NDArray[np.float32]

MIN_REGIONS = 10
MAX_REGIONS = 36
_MIN_SATURATION = 90
_MIN_PIXELS = 40
_JITTER = 0.06
_LOOSE_SHARE = 0.2
_PARTIAL_SHARE = 0.2
_BACKGROUND_BOXES = (1, 3)
_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


def propose(picture: Image.Image, rng: Generator) -> Boxes:
    """Return 10 to 36 boxes in random order, xyxy pixels [boxes, 4]."""
    found = _jittered(find_boxes(picture), rng)
    boxes = [
        found,
        _loose(_some(found, _LOOSE_SHARE, rng), rng),
        _partial(_some(found, _PARTIAL_SHARE, rng), rng),
    ]
    missing = MIN_REGIONS - sum(map(len, boxes))
    boxes.append(_random_boxes(max(missing, int(rng.integers(*_BACKGROUND_BOXES, endpoint=True))), picture.size, rng))
    kept = np.concatenate(boxes)[:MAX_REGIONS]
    width, height = picture.size
    return rng.permutation(kept).clip(0, [width, height, width, height]).astype(np.float32)


def find_boxes(picture: Image.Image) -> Boxes:
    """Return the boxes of connected pixels that are saturated and of about the same hue, [boxes, 4]."""
    hue, saturation, _ = np.asarray(picture.convert("HSV")).transpose(2, 0, 1)
    groups = np.where(saturation >= _MIN_SATURATION, _hue_groups()[hue], -1)
    boxes = [box for group in range(len(COLOURS)) for box in _component_boxes(groups == group)]
    return np.array(boxes, dtype=np.float32).reshape(-1, 4)


@cache
def _hue_groups() -> NDArray[np.int64]:
    """Return the nearest main hue of each hue; Pillow counts hues from 0 to 255."""
    return np.array([min(range(len(COLOURS)), key=lambda group: _hue_distance(value, group)) for value in range(256)])


def _hue_distance(value: int, group: int) -> float:
    difference = abs(value * 360 / 256 - list(COLOURS.values())[group]) % 360
    return min(difference, 360 - difference)


def _component_boxes(mask: NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    labels, count = ndimage.label(mask, structure=_EIGHT_NEIGHBOURS)
    pixels = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    slices = ndimage.find_objects(labels)
    return [
        (columns.start, rows.start, columns.stop, rows.stop)
        for (rows, columns), size in zip(slices, pixels, strict=True)
        if size >= _MIN_PIXELS
    ]


def _some(boxes: Boxes, share: float, rng: Generator) -> Boxes:
    return boxes[rng.random(len(boxes)) < share]


def _jittered(boxes: Boxes, rng: Generator) -> Boxes:
    """Move each edge a little; the share of the side is what blurs how large the box is in its resized crop."""
    return boxes + _sides(boxes) * rng.uniform(-_JITTER, _JITTER, boxes.shape)


def _sides(boxes: Boxes) -> Boxes:
    """Return width, height, width, height of each box."""
    return np.tile(boxes[:, 2:] - boxes[:, :2], 2)


def _loose(boxes: Boxes, rng: Generator) -> Boxes:
    """Grow each side by up to half of the box."""
    return boxes + _sides(boxes) * rng.uniform(0.1, 0.5, boxes.shape) * [-1, -1, 1, 1]


def _partial(boxes: Boxes, rng: Generator) -> Boxes:
    """Keep a random window of 40 to 75 percent of each side."""
    sides = boxes[:, 2:] - boxes[:, :2]
    kept = sides * rng.uniform(0.4, 0.75, sides.shape)
    corner = boxes[:, :2] + (sides - kept) * rng.random(sides.shape)
    return np.concatenate([corner, corner + kept], axis=1)


def _random_boxes(count: int, size: tuple[int, int], rng: Generator) -> Boxes:
    sides = rng.uniform(14, 44, (count, 2))
    corner = rng.random((count, 2)) * (size - sides)
    return np.concatenate([corner, corner + sides], axis=1)
