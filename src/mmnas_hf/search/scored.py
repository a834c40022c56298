"""What strategies share that train random paths alike and then decide by scores of whole networks."""

import math
import random
from abc import ABC, abstractmethod
from collections import Counter
from typing import Any

from torch import Tensor

from ..errors import InputError
from ..genotype import Genotype, SearchSpace
from ..modeling_mmnas import Path
from .strategy import Probabilities

BEST_SHARE = 0.1  # of all scored networks: among these, an operation is as likely as it is frequent


class ScoredStrategy(ABC):
    """Draws every weight path uniformly (Guo et al., ECCV 2020), then scores `evaluations` different networks."""

    def __init__(self, space: SearchSpace, evaluations: int = 100, seed: int = 0):
        if evaluations < 1:
            raise InputError(f"evaluations {evaluations} leaves nothing to choose from; give at least 1")
        self.space, self.seed = space, seed
        self.evaluations = min(evaluations, space.size)
        self.scores: dict[Genotype, float] = {}  # in the order in which they came
        self.proposed: list[Genotype] = []

    @abstractmethod
    def draw(self, count: int, generator: random.Random) -> list[Genotype]:
        """At most `count` different networks that have no score yet, at least one."""

    def weight_path(self, step: int) -> Path:
        return self.space.sample(random.Random(f"{self.seed}-{step}")).as_path()

    def architecture_path(self, step: int) -> None:
        return None

    def update(self, loss: Tensor) -> None:
        raise AssertionError("no architecture step was wanted")

    def drop_least_likely(self) -> None:
        raise AssertionError("before training has ended, all candidates are equally likely")

    def propose(self) -> list[Genotype]:
        left = self.evaluations - len(self.scores)
        self.proposed = self.draw(left, random.Random(f"{self.seed}-{len(self.scores)}")) if left else []
        return self.proposed

    def receive(self, scores: list[float]) -> None:
        self.scores.update(zip(self.proposed, scores, strict=True))

    def sample_unseen(self, count: int, generator: random.Random, others: dict[Genotype, Any]) -> list[Genotype]:
        """Uniformly drawn networks that are neither scored nor among others."""
        drawn: dict[Genotype, None] = {}
        while len(drawn) < count:
            genotype = self.space.sample(generator)
            if genotype not in self.scores and genotype not in others:
                drawn[genotype] = None
        return list(drawn)

    @property
    def ranking(self) -> list[Genotype]:
        """Scored networks, best first; of equals the one that came first."""
        return sorted(self.scores, key=self.scores.get, reverse=True)

    def probabilities(self) -> Probabilities:
        best = self.ranking[: math.ceil(BEST_SHARE * len(self.scores))]
        if not best:
            return [{name: 1 / len(node) for name in node} for node in self.space.nodes]
        columns = zip(*(genotype.encoder + genotype.decoder for genotype in best), strict=True)
        counts = [Counter(column) for column in columns]
        return [
            {name: count[name] / len(best) for name in node}
            for node, count in zip(self.space.nodes, counts, strict=True)
        ]

    def genotype(self) -> Genotype | None:
        return self.ranking[0] if self.scores else None

    def state_dict(self) -> dict[str, Any]:
        return {"scores": {str(genotype): score for genotype, score in self.scores.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scores = {Genotype.parse(text): score for text, score in state["scores"].items()}
