"""Rows of the image table out of images as their sources have them, each looked at before it is written."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...errors import InputError
from ..table import CORNERS, FEATURE_TYPE, image_row
from .source import NORMALISED, NUMBERS, PIXEL, ImageRegions, Part, RegionSource

LONGEST = np.iinfo(np.int32).max  # side that the table can hold
NORMALISED_END = 1.01  # rounding may take a box at the image's edge over 1


def part_rows(source: RegionSource, part: Part) -> Iterator[dict[str, Any]]:
    """The rows of one part, all with features of one width."""
    size = None
    try:
        for image in source.read(part):
            row = table_row(image, source.boxes, part.name)
            size = size or image.features.shape[1]
            if image.features.shape[1] != size:
                raise refusal(image, part.name, f"has features of width {image.features.shape[1]}, not {size}")
            yield row
    except OSError as error:
        raise InputError(f"{part.name} cannot be read: {error}") from None


def table_row(image: ImageRegions, convention: str | None, name: str) -> dict[str, Any]:
    """A row of the image table; `name` is the source in messages."""
    check_shape(image, name)
    boxes = pixel_boxes(image, convention, name)
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        features = image.features.astype(FEATURE_TYPE)
    if not np.isfinite(boxes).all() or not np.isfinite(features).all():
        raise refusal(image, name, "has features or boxes that are NaN, infinite or beyond half precision")
    if reversed_boxes := boxes[(boxes[:, 2:] < boxes[:, :2]).any(1)].tolist():
        raise refusal(image, name, f"has box {reversed_boxes[0]} with x2 < x1 or y2 < y1")
    return image_row(image.image_id, image.width, image.height, boxes, features)


def check_shape(image: ImageRegions, name: str) -> None:
    if not (1 <= image.width <= LONGEST and 1 <= image.height <= LONGEST):
        raise refusal(image, name, f"is {image.width} pixels wide and {image.height} high")
    boxes, features = image.boxes, image.features
    fit = boxes.shape[1:] == (CORNERS,) and features.shape[:-1] == boxes.shape[:1] and features.size
    if not fit or boxes.dtype.kind not in NUMBERS or features.dtype.kind not in NUMBERS:
        shapes = f"boxes {boxes.dtype} {list(boxes.shape)} and features {features.dtype} {list(features.shape)}"
        raise refusal(image, name, f"has {shapes}; give numbers [regions, {CORNERS}] and [regions, feature size]")


def pixel_boxes(image: ImageRegions, convention: str | None, name: str) -> np.ndarray:
    """Boxes in pixels, unless the numbers contradict what the source says they are."""
    largest, sides, normalised = image.boxes.max(), (image.width, image.height), convention == NORMALISED
    seen = f"of {image.width} x {image.height} has boxes up to {largest:g}; they"
    if not normalised and largest <= 1 < max(sides):
        raise refusal(image, name, f"{seen} are not pixels: --boxes {NORMALISED}")
    if normalised and largest > NORMALISED_END:
        raise refusal(image, name, f"{seen} are not normalised: --boxes {PIXEL}")
    return image.boxes * np.tile(sides, 2) if normalised else image.boxes


def refusal(image: ImageRegions, name: str, reason: str) -> InputError:
    return InputError(f"{name}: image {image.image_id!r} {reason}")
