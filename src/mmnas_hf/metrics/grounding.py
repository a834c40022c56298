"""Accuracy of boxes that a text refers to."""

import numpy as np
from numpy.typing import ArrayLike

#: A box counts as found from this intersection over union on.
IOU_THRESHOLD = 0.5


def box_iou(boxes: ArrayLike, others: ArrayLike) -> np.ndarray:
    """Intersection over union of each box with the other box of the same row.

    Boxes are xyxy pixels [..., 4] and broadcast; a width is x2 - x1 + 1, as in Fast R-CNN.
    """
    boxes, others = np.asarray(boxes, dtype=float), np.asarray(others, dtype=float)
    top_left = np.maximum(boxes[..., :2], others[..., :2])
    bottom_right = np.minimum(boxes[..., 2:], others[..., 2:])
    intersection = _area(top_left, bottom_right)
    union = _area(boxes[..., :2], boxes[..., 2:]) + _area(others[..., :2], others[..., 2:]) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union != 0)


def grounding_accuracy(predictions: ArrayLike, references: ArrayLike, threshold: float = IOU_THRESHOLD) -> float:
    """Share of the predicted boxes [texts, 4] whose IoU with their reference box reaches the threshold."""
    predictions, references = np.asarray(predictions, dtype=float), np.asarray(references, dtype=float)
    if predictions.shape != references.shape or predictions.size == 0:
        raise ValueError(f"need as many predicted as reference boxes, got {predictions.shape} and {references.shape}")
    return float(np.mean(box_iou(predictions, references) >= threshold))


def _area(top_left: np.ndarray, bottom_right: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(bottom_right - top_left + 1, 0), axis=-1)
