"""Detectors: an image's regions with their features, found in its pixels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .data.scenes.descriptors import describe
from .data.scenes.proposals import propose
from .data.scenes.world import IMAGE_SIZE
from .errors import InputError
from .regions_mmnas import Detection

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel

# Bottom-up attention's rule (MMnas): detections above this confidence, but so many at least and at most.
CONFIDENCE = 0.2
MIN_REGIONS, MAX_REGIONS = 10, 100


class ScenesDetector:
    """What finds and describes regions in the data set `scenes`; the same picture always has the same regions.

    Pictures of another size than those of the data set are looked at in that size.
    """

    def __init__(self, seed: int | Sequence[int] = 0):
        self.seed = seed

    def __call__(self, picture: Image.Image) -> Detection:
        scale = IMAGE_SIZE / max(picture.size)
        small = picture.resize(tuple(max(1, round(side * scale)) for side in picture.size))
        boxes = propose(small, np.random.default_rng(self.seed))
        pixels = boxes * np.tile(np.divide(picture.size, small.size, dtype=np.float32), 2)
        return Detection(describe(small, boxes), pixels, (picture.height, picture.width))


class TransformersDetector:
    """Any `AutoModelForObjectDetection` whose queries each have a box, with its processor.

    A region's feature is its query's last hidden state. Regions come most confident first: those above `confidence`,
    but at least `min_regions` and at most `max_regions` if the detector has so many queries.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        processor: "BaseImageProcessor",
        confidence: float = CONFIDENCE,
        min_regions: int = MIN_REGIONS,
        max_regions: int = MAX_REGIONS,
    ):
        if not 1 <= min_regions <= max_regions:
            raise InputError(f"{min_regions} to {max_regions} regions are no range; give 1 <= min <= max")
        self.model, self.processor, self.confidence = model.eval(), processor, confidence
        self.min_regions, self.max_regions = min_regions, max_regions

    @torch.no_grad()
    def __call__(self, picture: Image.Image) -> Detection:
        size = (picture.height, picture.width)
        inputs = self.processor(images=picture, return_tensors="pt").to(self.model.device, self.model.dtype)
        outputs = self.model(**inputs)
        check_queries(outputs, self.model)
        outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
        (found,) = self.processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=[size])
        boxes = pixel_corners(outputs.pred_boxes[0], size)
        confidence = query_confidence(found["boxes"], found["scores"], boxes)
        chosen = self.choose(confidence)
        features = outputs.last_hidden_state[0, -len(boxes) :][chosen]  # some models have states of pixels before them
        limits = boxes.new_tensor([size[1], size[0], size[1], size[0]])
        kept = torch.minimum(boxes[chosen].clamp(min=0), limits)
        return Detection(features.float().cpu().numpy(), kept.cpu().numpy(), size)

    def choose(self, confidence: Tensor) -> Tensor:
        """The queries that become regions."""
        count = min(max(int((confidence > self.confidence).sum()), self.min_regions), self.max_regions)
        return confidence.argsort(descending=True, stable=True)[:count]


def check_queries(outputs: Any, model: "PreTrainedModel") -> None:
    if any(getattr(outputs, name, None) is None for name in ("logits", "pred_boxes", "last_hidden_state")):
        name = type(model).__name__
        raise InputError(f"{name} gives no queries with boxes and states; give a detector such as DETR or RT-DETR")


def pixel_corners(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Corners [queries, 4] in pixels of centres and sizes that are shares of the image's (height, width)."""
    centres, halves = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat((centres - halves, centres + halves), -1) * boxes.new_tensor([size[1], size[0]] * 2)


def query_confidence(found: Tensor, scores: Tensor, boxes: Tensor) -> Tensor:
    """The highest score of each query [queries], from found boxes [found, 4] in any order, several a query or none.

    Processors differ in what they rank, but all leave a query's box as it is.
    """
    query = torch.cdist(found, boxes, p=1).argmin(1)
    return torch.zeros(len(boxes), device=boxes.device).scatter_reduce(0, query, scores, "amax")
