"""Recall of matching images and texts, over all pairs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class RetrievalRanks(NamedTuple):
    """How many wrong candidates come before the right one; 0 is best."""

    image_to_text: np.ndarray  # [images], of each image's best text
    text_to_image: np.ndarray  # [texts]


def retrieval_ranks(scores: ArrayLike, image_of_text: ArrayLike) -> RetrievalRanks:
    """Ranks both ways from scores [images, texts] and the index of each text's image [texts].

    Wrong candidates with the same score, or compared with a score that is no number, count as coming before.
    """
    scores, image_of_text = np.asarray(scores), np.asarray(image_of_text)
    own = np.arange(len(scores))[:, None] == image_of_text  # [images, texts]
    _check_pairs(scores, own)
    best_text = np.max(scores, axis=1, where=own, initial=-np.inf, keepdims=True)  # [images, 1]
    own_image = scores[image_of_text, np.arange(scores.shape[1])]  # [texts]
    # Not "wrong >= own": a comparison with a score that is no number is false.
    return RetrievalRanks(
        image_to_text=np.sum(~own & ~(scores < best_text), axis=1),
        text_to_image=np.sum(~own & ~(scores < own_image), axis=0),
    )


def recall_at_k(scores: ArrayLike, image_of_text: ArrayLike, ks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """Share of queries with a right candidate among the first k, such as `image_to_text_recall@1`, in [0, 1].

    `scores` is [images, texts], `image_of_text` the index of each text's image [texts]; ties count against the model.
    """
    return {name: value for name, value in retrieval_scores(scores, image_of_text, ks).items() if "recall@" in name}


def retrieval_scores(scores: ArrayLike, image_of_text: ArrayLike, ks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """Recall at k, median and mean rank both ways, and `rsum`, the sum of all recalls; arguments as of `recall_at_k`.

    Recalls are shares in [0, 1], so that `rsum` is at most 6 for three values of k; ranks count from 1.
    """
    ranks = retrieval_ranks(scores, image_of_text)._asdict()
    recalls = {f"{way}_recall@{k}": float(np.mean(rank < k)) for way, rank in ranks.items() for k in ks}
    medians = {f"{way}_median_rank": float(np.median(rank) + 1) for way, rank in ranks.items()}
    means = {f"{way}_mean_rank": float(np.mean(rank) + 1) for way, rank in ranks.items()}
    return {**recalls, "rsum": sum(recalls.values()), **medians, **means}


def _check_pairs(scores: np.ndarray, own: np.ndarray) -> None:
    if scores.shape != own.shape:
        raise ValueError(f"scores are {scores.shape}, but the texts' images ask for [images, texts] = {own.shape}")
    if not own.any(axis=0).all():
        raise ValueError(f"texts {np.flatnonzero(~own.any(axis=0))} name an image outside 0..{len(scores) - 1}")
    if not own.any(axis=1).all():
        raise ValueError(f"images {np.flatnonzero(~own.any(axis=1))} have no text; leave them out")
