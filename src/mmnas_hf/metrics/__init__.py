"""Metrics of the three tasks as plain functions; `mmnas_hf.metrics.hub` has them as `evaluate.Metric` classes."""

from .grounding import IOU_THRESHOLD, box_iou, grounding_accuracy
from .recall import RetrievalRanks, recall_at_k, retrieval_ranks, retrieval_scores
from .vqa import normalise_answer, soft_target, vqa_accuracy, vqa_score

__all__ = [
    "IOU_THRESHOLD",
    "RetrievalRanks",
    "box_iou",
    "grounding_accuracy",
    "normalise_answer",
    "recall_at_k",
    "retrieval_ranks",
    "retrieval_scores",
    "soft_target",
    "vqa_accuracy",
    "vqa_score",
]
