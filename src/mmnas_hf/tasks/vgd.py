"""Visual grounding: the region, and then the box, that a phrase means."""

from typing import Any

import numpy as np
import torch

from ..boxes import clip, decode_deltas
from ..configuration_mmnas import MMnasConfig
from ..data.table import RegionStore
from ..metrics import IOU_THRESHOLD, box_iou
from ..modeling_mmnas import MMnasForVisualGrounding
from .task import Rows, Task, mean_scores


class VisualGrounding(Task):
    """Referring expressions: `expression` and `box` (pixels, xyxy)."""

    name = "vgd"
    model_class = MMnasForVisualGrounding
    metric = "accuracy"
    text_column = "expression"
    target_columns = ("box",)

    def labels(self, rows: Rows, config: MMnasConfig) -> np.ndarray:
        return np.array([row["box"] for row in rows], dtype=np.float32)

    def evaluate(self, predictions: Any, rows: Rows, store: RegionStore, config: MMnasConfig) -> dict[str, float]:
        boxes = self.decode(predictions, rows, store)
        targets = np.array([row["box"] for row in rows])
        hits = box_iou(boxes, targets) >= IOU_THRESHOLD
        return mean_scores(self.metric, hits, rows)

    def decode(self, predictions: Any, rows: Rows, store: RegionStore) -> np.ndarray:
        """The best-scored region of each row, moved by its correction and clipped to the image: [rows, 4]."""
        scores, deltas = predictions
        boxes, best, sizes = [], [], []
        for index, row in enumerate(rows):
            regions = store[[row["image_id"]]]
            chosen = int(scores[index, : len(regions.boxes[0])].argmax())
            boxes.append(regions.boxes[0][chosen])
            best.append(deltas[index, chosen])
            sizes.append(regions.image_sizes[0])
        moved = decode_deltas(torch.tensor(np.stack(boxes)), torch.tensor(np.stack(best)))
        return clip(moved, torch.tensor(np.stack(sizes))).numpy()
