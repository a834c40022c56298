"""Images or texts that are encoded once, to be scored against many of the others."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .modeling_mmnas import ImageStates, MMnasForImageTextMatching, TextStates


@dataclass(frozen=True)
class ImageGallery:
    """Images that a network has projected, in batches, on its device.

    Besides its regions an image keeps their relations, if the network has any: 64 numbers a pair of regions, 0.3 MB for
    36 regions in single precision.
    """

    batches: list[ImageStates]

    def __len__(self) -> int:
        return sum(len(batch.mask) for batch in self.batches)

    def logits(self, model: MMnasForImageTextMatching, text: TextStates) -> Tensor:
        """How well one text fits every image, [images]."""
        return torch.cat([model.score(repeat(text, len(batch.mask)), batch).logits for batch in self.batches]).flatten()

    def record(self, index: int) -> dict[str, Any]:
        return {"index": index}


@dataclass(frozen=True)
class TextGallery:
    """Texts that a network has encoded, in batches, on its device."""

    batches: list[TextStates]
    texts: list[str]

    def __len__(self) -> int:
        return len(self.texts)

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
