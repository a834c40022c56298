"""Image-text matching: a score for every pair of image and caption."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..configuration_mmnas import MMnasConfig
from ..data.table import RegionStore
from ..metrics import recall_at_k
from ..modeling_mmnas import MMnasForImageTextMatching
from .task import Row, Rows, Task


class ImageTextMatching(Task):
    """Captions of images: `caption`; several of them may share an image."""

    name = "itm"
    model_class = MMnasForImageTextMatching
    metric = "mean_recall"
    text_column = "caption"
    max_words = 50

    def training_rows(self, rows: Rows) -> "ContrastedRows":
        return ContrastedRows(rows)

    def evaluation_rows(self, rows: Rows) -> "AllPairs":
        return AllPairs(rows)

    def labels(self, rows: Rows, config: MMnasConfig) -> np.ndarray:
        return np.array([row["matches"] for row in rows], dtype=np.float32)

    def evaluate(self, predictions: Any, rows: "AllPairs", store: RegionStore, config: MMnasConfig) -> dict[str, float]:
        scores = predictions.reshape(len(rows.image_ids), len(rows.rows))
        recalls = recall_at_k(scores, np.array(rows.image_of_text))
        return {"mean_recall": float(np.mean(list(recalls.values()))), **recalls}


class ContrastedRows:
    """Matching pairs; a batch also gets each image with a wrong caption and each caption with a wrong image.

    The wrong partner is the next pair of the batch that has another image: batches are drawn at random, so it is random
    too, and it depends on nothing but the batch.
    """

    def __init__(self, rows: Rows):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return {**self.rows[index], "matches": True}

    def __getitems__(self, indices: Sequence[int]) -> list[Row]:
        pairs = [self[index] for index in indices]
        return pairs + [wrong for position in range(len(pairs)) for wrong in contrast(pairs, position)]


def contrast(pairs: list[Row], position: int) -> list[Row]:
    """The pair's image with a foreign caption and its caption with a foreign image; none if all share one image."""
    own = pairs[position]
    for other in pairs[position + 1 :] + pairs[:position]:
        if other["image_id"] != own["image_id"]:
            return [
                {**other, "image_id": own["image_id"], "matches": False},
                {**own, "image_id": other["image_id"], "matches": False},
            ]
    return []


class AllPairs:
    """Every image of the rows with every caption, image by image."""

    def __init__(self, rows: Rows):
        self.rows = rows
        self.image_ids = list(dict.fromkeys(row["image_id"] for row in rows))
        position = {image_id: index for index, image_id in enumerate(self.image_ids)}
        self.image_of_text = [position[row["image_id"]] for row in rows]

    def __len__(self) -> int:
        return len(self.image_ids) * len(self.rows)

    def __getitem__(self, index: int) -> Row:
        image, text = divmod(index, len(self.rows))
        matches = self.image_of_text[text] == image
        return {**self.rows[text], "image_id": self.image_ids[image], "matches": matches}
