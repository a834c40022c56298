"""Image-text matching: a score for every pair of image and caption."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm
from transformers.trainer_utils import EvalLoopOutput

from ..configuration_mmnas import MMnasConfig
from ..data.store import RegionStore
from ..data.table import column_of
from ..errors import InputError
from ..metrics import retrieval_scores
from ..modeling_mmnas import MMnasForImageTextMatching
from .negatives import ContrastedRows
from .task import Row, Rows, Task

if TYPE_CHECKING:
    from ..training import TaskTrainer

RECALLS_IN_SUM = 6  # at 1, 5 and 10, both ways


class ImageTextMatching(Task):
    """Captions of images: `caption`; several of them may share an image."""

    name = "itm"
    model_class = MMnasForImageTextMatching
    metric = "mean_recall"
    text_column = "caption"
    max_words = 50

    def training_rows(self, rows: Rows) -> ContrastedRows:
        return ContrastedRows(rows)

    def labels(self, rows: Sequence[Row], config: MMnasConfig) -> np.ndarray:
        return np.array([row["matches"] for row in rows], dtype=np.float32)

    def predict(self, row_by_row: Callable[[], EvalLoopOutput], trainer: "TaskTrainer", rows: Rows) -> EvalLoopOutput:
        """Scores of all pairs, a matrix [images, captions] for each fold of the images."""
        folds = image_folds(column_of(rows, "image_id"), trainer.args.folds)
        captions = column_of(rows, self.text_column)
        scorer, scores = trainer.pair_scorer(), []
        total = sum(len(images) * len(texts) for images, texts in folds) // trainer.args.world_size
        with tqdm(total=total, desc="Scoring pairs", unit="pair", leave=False, disable=trainer.hides_progress) as bar:
            for images, texts in folds:
                every = [np.arange(len(texts))] * len(images)
                scores.append(np.stack(scorer(images, captions[texts], every, bar.update)))
        return EvalLoopOutput(predictions=scores, label_ids=None, metrics={}, num_samples=len(rows))

    def scored_examples(self, rows: Rows) -> int:
        """Every image with every caption; what such pairs share is computed once, so their real cost is lower."""
        return len(np.unique(column_of(rows, "image_id"))) * len(rows)

    def evaluate(self, predictions: Any, rows: Rows, store: RegionStore, config: MMnasConfig) -> dict[str, float]:
        """Means over the folds, of which `predictions` has a matrix [images, captions] each."""
        image_ids = column_of(rows, "image_id")
        folds = image_folds(image_ids, len(predictions))
        scores = [
            retrieval_scores(matrix, image_of(image_ids[texts], images))
            for matrix, (images, texts) in zip(predictions, folds, strict=True)
        ]
        means = {name: float(np.mean([fold[name] for fold in scores])) for name in scores[0]}
        return {self.metric: means["rsum"] / RECALLS_IN_SUM, **means}


def image_folds(image_ids: np.ndarray, folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images in order of appearance cut into equal folds, each with the positions of the texts about them."""
    _, first = np.unique(image_ids, return_index=True)
    images = image_ids[np.sort(first)]
    if not 1 <= folds <= len(images):
        raise InputError(f"{folds} folds of {len(images)} images; give 1 to {len(images)}")
    return [(part, np.flatnonzero(np.isin(image_ids, part))) for part in np.array_split(images, folds)]


def image_of(image_ids: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The position of each text's image among the images."""
    order = np.argsort(images)
    return order[np.searchsorted(images[order], image_ids)]
