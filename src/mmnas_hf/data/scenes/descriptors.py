"""Describe what is inside a box by its pixels alone, blind to where the box is and how large."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .proposals import Boxes

_SIDE = 16
_THUMBNAIL = 4
_CELLS = 4
_ORIENTATIONS = 8
_HUES = 12
_LEVELS = 6
#: Fixed factors that bring each part to about unit variance.
_THUMBNAIL_SCALE = 5.0
_HISTOGRAM_SCALE = 5.0
_GRADIENT_SCALE = 14.0

FEATURE_SIZE = 3 * _THUMBNAIL**2 + _HUES + 2 * _LEVELS + _ORIENTATIONS * _CELLS**2

Floats = NDArray[np.float32]


def describe(picture: Image.Image, boxes: Boxes) -> NDArray[np.float16]:
    """Return one descriptor a box, [boxes, FEATURE_SIZE]."""
    crops = [picture.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, box=tuple(box)) for box in boxes.tolist()]
    rgb = np.stack([np.asarray(crop, dtype=np.float32) for crop in crops]) / 255  # [boxes, side, side, 3]
    hsv = np.stack([np.asarray(crop.convert("HSV"), dtype=np.float32) for crop in crops]) / 256
    parts = [
        _THUMBNAIL_SCALE * _thumbnails(rgb),
        _HISTOGRAM_SCALE * _histograms(hsv[..., 0], _HUES, hsv[..., 1]),
        _HISTOGRAM_SCALE * _histograms(hsv[..., 1], _LEVELS),
        _HISTOGRAM_SCALE * _histograms(hsv[..., 2], _LEVELS),
        _GRADIENT_SCALE * _oriented_gradients(rgb.max(axis=-1)),
    ]
    return np.concatenate(parts, axis=1).astype(np.float16)


def _thumbnails(rgb: Floats) -> Floats:
    """Return small pictures centred at grey."""
    step = _SIDE // _THUMBNAIL
    small = rgb.reshape(-1, _THUMBNAIL, step, _THUMBNAIL, step, 3).mean(axis=(2, 4))
    return small.reshape(len(rgb), -1) - 0.5


def _histograms(values: Floats, bins: int, weights: Floats | None = None) -> Floats:
    """Return the mean weight of the pixels in each bin of [0, 1), [boxes, bins]."""
    index = (values * bins).astype(np.int64).reshape(len(values), -1)
    weight = np.ones_like(index, dtype=np.float32) if weights is None else weights.reshape(index.shape)
    return np.stack([(weight * (index == number)).mean(axis=1) for number in range(bins)], axis=1)


def _oriented_gradients(grey: Floats) -> Floats:
    """Return histograms of gradient orientation on a grid of cells, as HOG (Dalal and Triggs, 2005) in one block."""
    vertical, horizontal = np.gradient(grey, axis=(1, 2))
    strength = np.hypot(vertical, horizontal)
    angle = np.arctan2(vertical, horizontal) % np.pi
    index = (angle * _ORIENTATIONS / np.pi + 0.5).astype(np.int64) % _ORIENTATIONS
    step = _SIDE // _CELLS
    binned = strength[..., None] * (index[..., None] == np.arange(_ORIENTATIONS))
    cells = binned.reshape(-1, _CELLS, step, _CELLS, step, _ORIENTATIONS).sum(axis=(2, 4)).reshape(len(grey), -1)
    return np.sqrt(cells / (cells.sum(axis=1, keepdims=True) + 1e-3)) - 1 / (_CELLS * np.sqrt(_ORIENTATIONS))
