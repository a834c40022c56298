"""Wrong partners that matching learns to tell from the right one."""

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data.table import column_of
from ..errors import InputError
from ..matching import PairScorer
from .task import Row, Rows

#: How many of the best-scored wrong partners are kept, to draw one from at every step (MMnas).
KEPT = 5


class HardNegatives(NamedTuple):
    """For one epoch, the best-scored wrong captions of each image and wrong images of each caption."""

    seed: int
    epoch: int
    captions: Tensor  # [images, kept], positions of rows
    images: Tensor  # [rows, kept], positions of images in order of appearance

    def draw(self, index: int, image: int) -> tuple[int, int]:
        """A wrong caption's row and a wrong image's position, the same whenever this row comes up in this epoch."""
        generator = random.Random(f"{self.seed}-{self.epoch}-{index}")
        return generator.choice(self.captions[image].tolist()), generator.choice(self.images[index].tolist())


class ContrastedRows:
    """Matching pairs; a batch also gets each image with a wrong caption and each caption with a wrong image.

    Without hard negatives, the wrong partner is the next pair of the batch that has another image: batches are drawn at
    random, so it is random too, and it depends on nothing but the batch. `refresh` finds hard ones.
    """

    def __init__(self, rows: Rows):
        self.rows = rows
        self.image_ids, self.image_of_row = np.unique(column_of(rows, "image_id").astype(str), return_inverse=True)
        self.hard: HardNegatives | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return {**self.rows[index], "matches": True}

    def __getitems__(self, indices: Sequence[int]) -> list[Row]:
        pairs = [{**row, "matches": True} for row in self.rows.__getitems__(list(indices))]
        wrong = next_in_batch(pairs) if self.hard is None else self.hard_ones(indices, pairs)
        return pairs + wrong

    def hard_ones(self, indices: Sequence[int], pairs: list[Row]) -> list[Row]:
        drawn = [self.hard.draw(int(index), self.image_of_row[index]) for index in indices]
        captions = self.rows.__getitems__([caption for caption, _ in drawn])
        return [
            wrong
            for own, caption, (_, image) in zip(pairs, captions, drawn, strict=True)
            for wrong in mismatch(own, {**caption, "image_id": str(self.image_ids[image])})
        ]

    def refresh(
        self, scorer: PairScorer, candidates: int, seed: int, epoch: int, report: Callable[[int], Any] = lambda n: None
    ) -> None:
        """Score random foreign partners with the current network and keep the best of them for an epoch."""
        if len(self.image_ids) <= KEPT or len(self.rows) <= 2 * KEPT:
            raise InputError(f"{len(self.image_ids)} images are too few for hard negatives; give more than {KEPT}")
        generator = random.Random(f"{seed}-{epoch}")
        captions = self.foreign_captions(candidates, generator)  # [images, candidates]
        images = self.foreign_images(candidates, generator)  # [rows, candidates]
        of_image = np.concatenate([np.repeat(np.arange(len(captions)), captions.shape[1]), images.ravel()])
        of_row = np.concatenate([captions.ravel(), np.repeat(np.arange(len(images)), images.shape[1])])
        order = np.argsort(of_image, kind="stable")
        cuts = np.searchsorted(of_image[order], np.arange(1, len(captions)))
        texts = column_of(self.rows, "caption")
        scores = np.empty(len(order), dtype=np.float32)
        scores[order] = np.concatenate(scorer(self.image_ids, texts, np.split(of_row[order], cuts), report))
        for_images, for_captions = np.split(scores, [captions.size])
        self.hard = HardNegatives(
            seed,
            epoch,
            torch.from_numpy(best(captions, for_images.reshape(captions.shape))),
            torch.from_numpy(best(images, for_captions.reshape(images.shape))),
        )

    def foreign_captions(self, count: int, generator: random.Random) -> np.ndarray:
        """Rows of captions of other images, for each image: [images, count]."""
        by_image = np.argsort(self.image_of_row, kind="stable")
        own = np.split(by_image, np.bincount(self.image_of_row).cumsum()[:-1])
        most = len(self.rows) - max(map(len, own))
        return np.array([sample_without(len(self.rows), rows, min(count, most), generator) for rows in own])

    def foreign_images(self, count: int, generator: random.Random) -> np.ndarray:
        """Positions of other images, for each row: [rows, count]."""
        size = len(self.image_ids)
        return np.array([sample_without(size, [own], min(count, size - 1), generator) for own in self.image_of_row])

    def state_dict(self) -> dict[str, Any]:
        return {} if self.hard is None else self.hard._asdict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.hard = HardNegatives(**state) if state else None


def next_in_batch(pairs: list[Row]) -> list[Row]:
    """Wrong rows from the other pairs of a batch; none if all share one image."""
    wrong = []
    for position, own in enumerate(pairs):
        others = pairs[position + 1 :] + pairs[:position]
        foreign = next((other for other in others if other["image_id"] != own["image_id"]), None)
        wrong += [] if foreign is None else mismatch(own, foreign)
    return wrong


def mismatch(own: Row, foreign: Row) -> list[Row]:
    """The pair's image with a foreign caption and its caption with a foreign image."""
    return [
        {**foreign, "image_id": own["image_id"], "matches": False},
        {**own, "image_id": foreign["image_id"], "matches": False},
    ]


def sample_without(size: int, left_out: Sequence[int], count: int, generator: random.Random) -> list[int]:
    """Different numbers below `size`, none of them among the sorted `left_out`."""
    drawn = generator.sample(range(size - len(left_out)), count)
    for skipped in left_out:
        drawn = [number + (number >= skipped) for number in drawn]
    return drawn


def best(candidates: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The candidates with the highest scores in each row."""
    return np.take_along_axis(candidates, np.argsort(-scores, axis=1, kind="stable")[:, :KEPT], axis=1)
