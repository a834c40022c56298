"""Small helpers around a numpy Generator."""

from collections.abc import Sequence
from typing import TypeVar

from numpy.random import Generator

T = TypeVar("T")


def pick(rng: Generator, items: Sequence[T]) -> T:
    """Return one item, all equally likely."""
    return items[int(rng.integers(len(items)))]


def shuffled(rng: Generator, items: Sequence[T]) -> list[T]:
    """Return the items in random order."""
    return [items[i] for i in rng.permutation(len(items))]


def random_round(rng: Generator, number: float) -> int:
    """Round up or down so that the mean is `number`."""
    return int(number + rng.random())
