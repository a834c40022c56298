"""Regularised evolution over the trained supernet's scores (Real et al., AAAI 2019; Guo et al., ECCV 2020)."""

import random
from collections.abc import Callable

from ..errors import InputError
from ..genotype import Genotype, SearchSpace
from .scored import ScoredStrategy

TOURNAMENT = 5  # networks drawn from the population; the best of them becomes a parent
MUTATION = 0.1  # probability that a node's operation is drawn anew (Guo et al.)
PATIENCE = 100  # parents tried before a child is drawn at random, in a neighbourhood that is all scored


class EvolutionStrategy(ScoredStrategy):
    """Breeds half a population at a time, by mutation and by crossover; the oldest networks make room.

    The first population is drawn uniformly, and no network is scored twice.
    """

    def __init__(self, space: SearchSpace, evaluations: int = 100, population: int = 20, seed: int = 0):
        if population < 2:  # noqa: PLR2004
            raise InputError(f"population {population} has no two parents; give at least 2")
        super().__init__(space, evaluations, seed)
        self.population = population

    def draw(self, count: int, generator: random.Random) -> list[Genotype]:
        if not self.scores:
            return self.sample_unseen(min(count, self.population), generator, {})
        children: dict[Genotype, None] = {}
        for number in range(min(count, self.population // 2)):
            breed = self.mutated if number % 2 else self.crossed
            children[self.unseen_child(breed, children, generator)] = None
        return list(children)

    def unseen_child(
        self, breed: Callable[[random.Random], Genotype], others: dict[Genotype, None], generator: random.Random
    ) -> Genotype:
        for _ in range(PATIENCE):
            child = breed(generator)
            if child not in self.scores and child not in others:
                return child
        (child,) = self.sample_unseen(1, generator, others)
        return child

    def mutated(self, generator: random.Random) -> Genotype:
        """A parent with some operations drawn anew, at least one."""
        parent, nodes = self.parent(generator), self.space.nodes
        redrawn = [generator.random() < MUTATION for _ in nodes]
        redrawn[generator.randrange(len(nodes))] = True
        return self.space.genotype(
            [
                generator.choice(node) if new else name
                for node, new, name in zip(nodes, redrawn, parent.encoder + parent.decoder, strict=True)
            ]
        )

    def crossed(self, generator: random.Random) -> Genotype:
        """Node by node the operation of one of two parents."""
        first, second = self.parent(generator), self.parent(generator)
        pairs = zip(first.encoder + first.decoder, second.encoder + second.decoder, strict=True)
        return self.space.genotype([generator.choice(pair) for pair in pairs])

    def parent(self, generator: random.Random) -> Genotype:
        living = list(self.scores)[-self.population :]
        return max(generator.sample(living, min(TOURNAMENT, len(living))), key=self.scores.get)
