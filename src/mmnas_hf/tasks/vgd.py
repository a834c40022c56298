"""Visual grounding: the region, and then the box, that a phrase means."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..boxes import clip, decode_deltas
from ..configuration_mmnas import MMnasConfig
from ..data.store import RegionStore
from ..data.table import column_of
from ..metrics import IOU_THRESHOLD, box_iou
from ..modeling_mmnas import MMnasForVisualGrounding
from .task import Row, Rows, Task, mean_scores

#: Overlaps from which on a box counts as found, all reported.
THRESHOLDS = (0.25, 0.5, 0.75)


class VisualGrounding(Task):
    """Referring expressions: `expression` and `box` (pixels, xyxy)."""

    name = "vgd"
    model_class = MMnasForVisualGrounding
    metric = "accuracy"
    text_column = "expression"
    target_columns = ("box",)
    has_answers = True

    def labels(self, rows: Sequence[Row], config: MMnasConfig) -> np.ndarray:
        return np.array([row["box"] for row in rows], dtype=np.float32)

    def reduce(self, outputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The best-scored region and its correction; padding scores lowest."""
        scores, deltas = outputs
        best = scores.argmax(-1)
        return best, deltas.take_along_dim(best[:, None, None], 1).squeeze(1)

    def evaluate(self, predictions: Any, rows: Rows, store: RegionStore, config: MMnasConfig) -> dict[str, float]:
        overlap = box_iou(self.decode(predictions, rows, store), np.array(rows["box"]))
        at = {f"accuracy@{threshold}": float(np.mean(overlap >= threshold)) for threshold in THRESHOLDS}
        hits = mean_scores(self.metric, overlap >= IOU_THRESHOLD, rows)
        return {**hits, **at, "mean_iou": float(overlap.mean())}

    def answers(self, predictions: Any, rows: Rows, store: RegionStore, config: MMnasConfig) -> list[dict[str, Any]]:
        """Records of `image_id`, `expression` and `box`."""
        boxes = self.decode(predictions, rows, store)
        named = rows.select_columns(["image_id", self.text_column])
        return [{**row, "box": box.tolist()} for row, box in zip(named, boxes, strict=True)]

    def decode(self, predictions: Any, rows: Rows, store: RegionStore) -> np.ndarray:
        """The best-scored region of each row, moved by its correction and clipped to the image: [rows, 4]."""
        best, deltas = predictions
        images = store.rows_of(column_of(rows, "image_id"))
        boxes = np.stack([store.boxes_of(image)[region] for image, region in zip(images, best, strict=True)])
        moved = decode_deltas(torch.tensor(boxes), torch.tensor(deltas))
        return clip(moved, torch.tensor(store.sizes[images])).numpy()
