"""Pipelines: answers to questions about images, boxes that phrases mean, and scores of captions.

>>> ask = transformers.pipeline("mmnas-vqa", model=folder)
>>> ask({"question": "Is something red?", "regions": "image.npz"})
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from .base_pipeline_mmnas import TOP_K, MMnasPipeline, Record, check_count
from .boxes import clip, decode_deltas
from .errors import InputError
from .gallery_mmnas import EncodedImages, Gallery, ImageGallery, TextGallery
from .modeling_mmnas import TextStates
from .regions_mmnas import Detection, GivenImage

GALLERY_BATCH = 32  # images or texts that are encoded, and later scored, at a time
ONE_IMAGE = (str, Path, Mapping, Detection, Image.Image)


class VisualQuestionAnsweringPipeline(MMnasPipeline):
    """Answers questions about images: `[{"answer", "score"}, ...]`, each score being its answer's alone."""

    task_name, text_key = "mmnas-vqa", "question"
    network = "MMnasForVisualQuestionAnswering"

    def records(self, outputs: dict[str, Tensor], top_k: int) -> list[Record]:
        labels = self.model.config.id2label
        return [
            {"answer": labels[index], "score": score}
            for index, score in best(outputs["logits"].float().sigmoid(), top_k)
        ]


class VisualGroundingPipeline(MMnasPipeline):
    """Finds what phrases mean in images: `[{"box": [x1, y1, x2, y2], "score"}, ...]` in pixels; scores sum to one."""

    task_name, text_key = "mmnas-visual-grounding", "expression"
    network = "MMnasForVisualGrounding"

    def records(self, outputs: dict[str, Tensor], top_k: int) -> list[Record]:
        mask = outputs["region_mask"]
        moved = decode_deltas(outputs["region_boxes"][mask].float(), outputs["box_deltas"][mask].float())
        boxes = clip(moved, outputs["image_sizes"]).tolist()
        scores = outputs["logits"][mask].float().softmax(-1)
        return [{"box": boxes[index], "score": score} for index, score in best(scores, top_k)]


class ImageTextMatchingPipeline(MMnasPipeline):
    """Tells how well captions and images fit: `{"score"}` of a pair; and ranks either for one of the other."""

    task_name, text_key = "mmnas-image-text-matching", "caption"
    network = "MMnasForImageTextMatching"

    def _sanitize_parameters(self, **settings: Any) -> tuple[dict, dict, dict]:
        if "top_k" in settings:
            raise InputError("top_k says nothing of a pair's score; give it to rank")
        return super()._sanitize_parameters(**settings)

    def postprocess(self, outputs: dict[str, Tensor]) -> Record:
        return super().postprocess(outputs)[0]

    def records(self, outputs: dict[str, Tensor], top_k: int) -> list[Record]:
        return [{"score": outputs["logits"].float().sigmoid().item()}]

    def encode_images(self, images: Iterable[GivenImage], batch_size: int = GALLERY_BATCH) -> ImageGallery:
        """Project images once; each is what `read_regions` takes, and no more than a batch is read at a time."""
        images = [images] if isinstance(images, ONE_IMAGE) else images
        batches = batched(map(self.read_image, images), batch_size)
        return ImageGallery(at_least_one([self.look(batch) for batch in batches], "images"))

    def encode_texts(self, texts: Iterable[str], batch_size: int = GALLERY_BATCH) -> TextGallery:
        """Encode captions once."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        return TextGallery(at_least_one([self.listen(batch) for batch in batched(texts, batch_size)], "texts"), texts)

    def rank(self, query: str | GivenImage, gallery: Gallery, top_k: int = TOP_K) -> list[Record]:
        """The images that fit a caption best, or the captions that fit an image best.

        An image is a record of its `index` and `score`, a caption of `index`, `caption` and `score`.
        """
        if not isinstance(gallery, Gallery):
            raise InputError(f"a {type(gallery).__name__} is no gallery; make one with encode_images or encode_texts")
        encode = self.encode_texts if isinstance(gallery, ImageGallery) else self.encode_images
        asked = encode([query])
        with self.device_placement(), torch.no_grad():
            (states,) = asked.states(self.model)
            scores = gallery.logits(self.model, states).float().sigmoid()
        chosen = best(scores, check_count("top_k", top_k))
        return [{**gallery.record(index), "score": score} for index, score in chosen]

    def look(self, images: list[Detection]) -> EncodedImages:
        inputs = self.ensure_tensor_on_device(**self.process(images))
        with self.device_placement(), torch.no_grad():
            states = self.model.mmnas.encode_image(**inputs)
        return EncodedImages(states.regions, states.mask, inputs["region_boxes"])

    def listen(self, texts: list[str]) -> TextStates:
        inputs = self.ensure_tensor_on_device(**self.read_words(texts))
        with self.device_placement(), torch.no_grad():
            return self.model.mmnas.encode_text(**inputs)


PIPELINES: dict[str, type[MMnasPipeline]] = {
    kind.task_name: kind
    for kind in (VisualQuestionAnsweringPipeline, VisualGroundingPipeline, ImageTextMatchingPipeline)
}


def best(scores: Tensor, top_k: int) -> list[tuple[int, float]]:
    """Positions and values of the highest scores."""
    values, positions = scores.topk(min(top_k, len(scores)))
    return list(zip(positions.tolist(), values.tolist(), strict=True))


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    items, size = iter(items), check_count("batch_size", size)
    return iter(lambda: list(islice(items, size)), [])


def at_least_one(batches: list[Any], name: str) -> list[Any]:
    if not batches:
        raise InputError(f"a gallery of no {name}; give at least one")
    return batches
