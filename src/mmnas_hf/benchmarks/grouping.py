"""Weight steps on images with as many regions as detectors find, in batches of similar images and in any."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from ..sampling import BATCHES_SORTED, GroupedByRegions
from .floor import Step
from .supernets import Batch, Sizes, WeightStep, make_weight_step, random_batch

LARGEST_TO_SMALLEST = 10


def region_counts(images: int, largest: int) -> list[int]:
    """Quantiles of Beta(1, 2), whose mean is 40 if counts are 10 to 100."""
    smallest = largest // LARGEST_TO_SMALLEST
    shares = 1 - np.sqrt(1 - (np.arange(images) + 0.5) / images)
    return [round(count) for count in smallest + (largest - smallest) * shares]


def batches_of_counts(sizes: Sizes, grouped: bool) -> list[list[int]]:
    """The region counts of as many batches as are sorted together, as `--train_sampling_strategy` makes them."""
    counts = region_counts(BATCHES_SORTED * sizes.batch, sizes.regions)
    if grouped:
        order = list(GroupedByRegions(counts, sizes.batch, seed=0))
    else:
        order = torch.randperm(len(counts), generator=torch.Generator().manual_seed(0)).tolist()
    starts = range(0, len(counts), sizes.batch)
    return [[counts[image] for image in order[start : start + sizes.batch]] for start in starts]


def typical(batches: list[list[int]], count: int) -> list[list[int]]:
    """So many of the batches that stand for all: the middles of equal parts, from few regions to many."""
    ordered = sorted(batches, key=max)
    return [ordered[(2 * number + 1) * len(batches) // (2 * count)] for number in range(count)]


def counted_steps(sizes: Sizes, grouped: bool, count: int) -> Step:
    """So many weight steps, each on a batch of its own."""
    step = make_weight_step(sizes)
    batches = [random_batch(sizes, counts) for counts in typical(batches_of_counts(sizes, grouped), count)]
    return partial(run_all, step, batches)


def run_all(step: WeightStep, batches: Sequence[Batch]) -> None:
    for batch in batches:
        step(batch)
