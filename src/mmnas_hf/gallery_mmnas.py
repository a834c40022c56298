"""Images or texts that are encoded once, to be scored against many of the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .modeling_mmnas import ImageStates, MMnasForImageTextMatching, TextStates


class EncodedImages(NamedTuple):
    """A batch of projected images [images, regions, hidden], which of their regions are no padding, and all boxes.

    What operations make of the regions' relations is left out and computed anew for every text: it grows with the
    square of the regions and with the number of operations that read it, and can be larger than all the rest.
    """

    regions: Tensor
    mask: Tensor
    boxes: Tensor

    def states(self, model: MMnasForImageTextMatching) -> ImageStates:
        relations = model.mmnas.relate(self.boxes, self.mask)
        return ImageStates(self.regions, self.mask, relations)


@dataclass(frozen=True)
class ImageGallery:
    """Images that a network has projected, in batches, on its device."""

    batches: list[EncodedImages]

    def __len__(self) -> int:
        return sum(len(batch.mask) for batch in self.batches)

    def states(self, model: MMnasForImageTextMatching) -> Iterator[ImageStates]:
        return (batch.states(model) for batch in self.batches)

    def logits(self, model: MMnasForImageTextMatching, text: TextStates) -> Tensor:
        """How well one text fits every image, [images]."""
        scored = [model.score(repeat(text, len(batch.mask)), batch).logits for batch in self.states(model)]
        return torch.cat(scored).flatten()

    def record(self, index: int) -> dict[str, Any]:
        return {"index": index}


@dataclass(frozen=True)
class TextGallery:
    """Texts that a network has encoded, in batches, on its device."""

    batches: list[TextStates]
    texts: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def states(self, model: MMnasForImageTextMatching) -> Iterator[TextStates]:
        return iter(self.batches)

    def logits(self, model: MMnasForImageTextMatching, image: ImageStates) -> Tensor:
        """How well every text fits one image, [texts]."""
        places = (torch.zeros(len(batch.mask), dtype=torch.long, device=batch.mask.device) for batch in self.batches)
        scored = [model.score(batch, image, place).logits for batch, place in zip(self.batches, places, strict=True)]
        return torch.cat(scored).flatten()

    def record(self, index: int) -> dict[str, Any]:
        return {"index": index, "caption": self.texts[index]}


Gallery = ImageGallery | TextGallery


def repeat(text: TextStates, times: int) -> TextStates:
    """One text as often as it is needed, without a copy."""
    return TextStates(*(states.expand(times, *states.shape[1:]) for states in text))
