"""Scores of many pairs of images and texts.

Each text is encoded once, each image is projected once and runs up to the first node that needs a text; only what
needs both is computed for every pair.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from .configuration_mmnas import HEAD_SIZE, MMnasConfig
from .data.store import RegionStore
from .modeling_mmnas import ImageStates, MMnasForImageTextMatching, Path, TextStates
from .processing_mmnas import MMnasProcessor

GIB = 1 << 30
#: Memory of the encoded texts that are held at a time, and of the pairs that are scored at a time: what a processor's
#: cache holds, or what keeps an accelerator busy.
TEXT_MEMORY, CPU_PAIR_MEMORY, PAIR_MEMORY = 2 * GIB, GIB // 128, GIB // 2
ENCODE_BATCH = 256
IMAGE_BATCH = 32
FLOAT_BYTES = 4


class PairScorer:
    """Scores pairs of images and texts with one network, at one path if it is a supernet.

    `text_memory` and `pair_memory` are bytes. Every process of `accelerator` scores its share of the images, and all
    get all scores.
    """

    def __init__(
        self,
        model: MMnasForImageTextMatching,
        processor: MMnasProcessor,
        store: RegionStore,
        accelerator: Accelerator,
        path: Path | None = None,
        text_memory: int = TEXT_MEMORY,
        pair_memory: int | None = None,
    ):
        self.model, self.processor, self.store, self.accelerator = model, processor, store, accelerator
        self.path, self.text_memory = path, text_memory
        self.pair_memory = pair_memory or (CPU_PAIR_MEMORY if accelerator.device.type == "cpu" else PAIR_MEMORY)

    @torch.no_grad()
    def __call__(
        self,
        image_ids: Sequence[str],
        texts: Sequence[str],
        texts_of: Sequence[np.ndarray],
        report: Callable[[int], Any] = lambda pairs: None,
    ) -> list[np.ndarray]:
        """The scores of each image's texts, whose positions are `texts_of[image]`; `report` hears how many are done."""
        ends = np.cumsum([len(chosen) for chosen in texts_of])
        scores = torch.zeros(int(ends[-1]), device=self.accelerator.device)
        own = range(self.accelerator.process_index, len(image_ids), self.accelerator.num_processes)
        training = self.model.training
        self.model.eval()
        for block in self.text_blocks(texts):
            cache = TextCache(self.encode(texts, block), block, len(texts))
            for start in range(0, len(own), IMAGE_BATCH):
                batch = list(own[start : start + IMAGE_BATCH])
                images = self.look([image_ids[image] for image in batch])
                for part, positions, chosen in self.tiles(batch, texts_of, ends, cache):
                    scores[torch.from_numpy(positions)] = self.score(cache, images, part, chosen)
                    report(len(positions))
        self.model.train(training)
        return np.split(self.accelerator.reduce(scores, "sum").cpu().numpy(), ends[:-1])

    def text_blocks(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Positions of texts from short to long, in blocks whose encoded words fit into the memory for them."""
        words = np.array([len(ids) for ids in self.processor.tokenizer(list(texts), truncation=True)["input_ids"]])
        order = np.argsort(words, kind="stable")
        used = words[order].cumsum() * self.model.config.hidden_size * FLOAT_BYTES
        return np.split(order, np.flatnonzero(np.diff(used // self.text_memory)) + 1)

    def encode(self, texts: Sequence[str], block: np.ndarray) -> Iterator[TextStates]:
        for start in range(0, len(block), ENCODE_BATCH):
            batch = [texts[text] for text in block[start : start + ENCODE_BATCH]]
            words = self.processor.process_texts(batch).to(self.accelerator.device)
            with self.accelerator.autocast():
                yield self.model.mmnas.encode_text(**words, path=self.path)

    def look(self, image_ids: Sequence[str]) -> ImageStates:
        regions = self.store[image_ids]
        inputs = self.processor.process_regions(*regions).to(self.accelerator.device)
        with self.accelerator.autocast():
            return self.model.mmnas.encode_image(**inputs, path=self.path)

    def tiles(
        self, batch: list[int], texts_of: Sequence[np.ndarray], ends: np.ndarray, cache: "TextCache"
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Pairs that are scored together: places of the image in the batch, the score, and the text in the cache."""
        places = [np.flatnonzero(cache.place[texts_of[image]] >= 0) for image in batch]
        part = np.repeat(np.arange(len(batch)), [len(place) for place in places])
        positions = np.concatenate(
            [ends[image] - len(texts_of[image]) + place for image, place in zip(batch, places, strict=True)]
        )
        chosen = np.concatenate(
            [cache.place[texts_of[image][place]] for image, place in zip(batch, places, strict=True)]
        )
        order = np.lexsort((chosen, part))  # texts of one image from short to long, so that little is padded
        size = self.tile_size(self.model.config)
        for start in range(0, len(order), size):
            tile = order[start : start + size]
            yield part[tile], positions[tile], chosen[tile]

    def tile_size(self, config: MMnasConfig) -> int:
        """How many pairs fit into the memory for them: states, inner states and attention weights of their regions."""
        regions = self.store.most_regions
        states = 8 * regions * config.hidden_size
        attention = 3 * regions**2 * config.hidden_size // HEAD_SIZE
        return max(1, self.pair_memory // (FLOAT_BYTES * (states + attention)))

    def score(self, cache: "TextCache", images: ImageStates, part: np.ndarray, chosen: np.ndarray) -> Tensor:
        first, last = part[0], part[-1] + 1
        shown = ImageStates(
            images.regions[first:last],
            images.mask[first:last],
            {name: relations[first:last] for name, relations in images.relations.items()},
        )
        image = torch.from_numpy(part - first).to(images.regions.device)
        with self.accelerator.autocast():
            return self.model.score(cache[chosen], shown, image, self.path).logits.squeeze(-1).float()


class TextCache:
    """Encoded texts without their padding, in one array; texts are found by their place in the block."""

    def __init__(self, encoded: Iterator[TextStates], block: np.ndarray, texts: int):
        words, lengths = zip(*((states.words[states.mask], states.mask.sum(1)) for states in encoded), strict=True)
        self.words, self.lengths = torch.cat(words), torch.cat(lengths)
        self.starts = self.lengths.cumsum(0) - self.lengths
        self.place = np.full(texts, -1)  # of every text in this block; -1 where it is not in it
        self.place[block] = np.arange(len(block))

    def __getitem__(self, chosen: np.ndarray) -> TextStates:
        chosen = torch.from_numpy(chosen).to(self.words.device)
        lengths = self.lengths[chosen]
        steps = torch.arange(int(lengths.max()), device=self.words.device)
        mask = steps < lengths[:, None]
        return TextStates(self.words[(self.starts[chosen][:, None] + steps) * mask] * mask[..., None], mask)
