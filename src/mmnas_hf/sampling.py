"""Batches of images with about as many regions each, so that little is padded."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

GROUPED = "group_by_length"  # of Trainer's `train_sampling_strategy`


class GroupedByRegions(Sampler[int]):
    """Shuffles rows, then sorts each 50 batches of them by their number of regions, as Trainer does with texts.

    The order is a function of seed and epoch alone, so that a resumed run sees the rows that it would have seen.
    """

    def __init__(self, regions: Sequence[int], batch_size: int, seed: int):
        self.regions, self.batch_size, self.seed, self.epoch = list(regions), batch_size, seed, 0

    def __len__(self) -> int:
        return len(self.regions)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return iter(get_length_grouped_indices(self.regions, self.batch_size, generator=generator))

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
