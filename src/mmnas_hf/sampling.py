"""Batches of images with about as many regions each, so that little is padded."""

import random
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

GROUPED = "group_by_length"  # of Trainer's `train_sampling_strategy`
BATCHES_SORTED = 100  # together: so many that their rows fit each other, and so few that they differ


class GroupedByRegions(Sampler[int]):
    """Shuffles rows, sorts them by their number of regions, many batches at a time, and shuffles the batches.

    Trainer leaves batches sorted, so that a network would see images with more and more regions, and then fewer again.
    The order is a function of seed and epoch alone, so that a resumed run sees the rows that it would have seen.
    """

    def __init__(self, regions: Sequence[int], batch_size: int, seed: int):
        self.regions, self.batch_size, self.seed, self.epoch = torch.tensor(regions), batch_size, seed, 0

    def __len__(self) -> int:
        return len(self.regions)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        parts = torch.randperm(len(self.regions), generator=generator).split(BATCHES_SORTED * self.batch_size)
        ordered = (part[self.regions[part].argsort(stable=True)] for part in parts)
        batches = [batch for part in ordered for batch in part.split(self.batch_size)]
        short = batches[len(self.regions) // self.batch_size :]  # which may only come last, or batches would mix
        whole = batches[: len(batches) - len(short)]
        shuffled = [whole[number] for number in torch.randperm(len(whole), generator=generator)]
        return iter(torch.cat([*shuffled, *short]).tolist())

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


def some_batches(rows: int, batch_size: int, regions: Sequence[int] | None, count: int) -> list[list[int]]:
    """So many whole batches, as training draws them: grouped by the rows' `regions`, or of any rows without."""
    generator, batch_size = random.Random(0), min(batch_size, rows)
    if regions is None:
        return [generator.sample(range(rows), batch_size) for _ in range(count)]
    order = list(GroupedByRegions(regions, batch_size, seed=0))
    batches = [order[start : start + batch_size] for start in range(0, rows - batch_size + 1, batch_size)]
    return generator.sample(batches, min(count, len(batches)))
