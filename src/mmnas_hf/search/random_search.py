"""Random search over the trained supernet: the baseline of every strategy (Li and Talwalkar, UAI 2019)."""

import random

from ..genotype import Genotype
from .scored import ScoredStrategy


class RandomStrategy(ScoredStrategy):
    """Scores uniformly drawn networks, all different, and takes the best."""

    def draw(self, count: int, generator: random.Random) -> list[Genotype]:
        return self.sample_unseen(count, generator, {})
