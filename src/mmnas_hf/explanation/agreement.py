"""Where the genotypes that several searches found agree, and what chance alone would give."""

import math
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean
from typing import Any, NamedTuple

from ..errors import InputError
from ..genotype import Genotype, SearchSpace
from ..search.doubts import ERRORS
from .effects import names_in


class Found(NamedTuple):
    """What one search found."""

    name: str
    strategy: str
    genotype: Genotype

    @property
    def operations(self) -> tuple[str, ...]:
        return self.genotype.encoder + self.genotype.decoder


class Agreement(NamedTuple):
    """Shares of pairs of searches that chose the same, in [0, 1].

    `nodes` and `chance` have a share a node, encoder first; chance is that of independent uniform choices. `within` and
    `between` are means over pairs of one strategy and of two, none where there is no such pair. `error` is the standard
    deviation that chance gives the mean over all pairs.
    """

    found: list[Found]
    nodes: list[float]
    chance: list[float]
    within: float | None
    between: float | None
    error: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        rows = zip(names_in(self.found[0].genotype), self.nodes, self.chance, strict=True)
        return {
            "runs": [{**found._asdict(), "genotype": str(found.genotype)} for found in self.found],
            "nodes": [{"node": node, "agreement": share, "chance": chance} for node, share, chance in rows],
            "mean": fmean(self.nodes),
            "chance": fmean(self.chance),
            "chance_deviation": self.error,
            "within_strategies": self.within,
            "between_strategies": self.between,
        }


def agreement(found: Sequence[Found], space: SearchSpace) -> Agreement:
    """How far searches of one space agree; raises `InputError` for a single one and for genotypes of other spaces."""
    if len(found) < 2:  # noqa: PLR2004
        raise InputError(f"{len(found)} search agrees with itself; give at least two")
    for run in found:
        space.check(run.genotype)
    pairs = [Pair(*pair) for pair in combinations(found, 2)]
    chance = [1 / len(node) for node in space.nodes]
    # Uniform choices of pairs that share a search are independent of each other all the same.
    variances = [p * (1 - p) / len(pairs) for p in chance]
    return Agreement(
        list(found),
        [fmean(pair.same[node] for pair in pairs) for node in range(len(chance))],
        chance,
        mean_of([pair for pair in pairs if pair.one_strategy]),
        mean_of([pair for pair in pairs if not pair.one_strategy]),
        math.sqrt(sum(variances)) / len(chance),
    )


class Pair(NamedTuple):
    """Two searches."""

    first: Found
    second: Found

    @property
    def same(self) -> list[bool]:
        """Whether they chose alike, node by node."""
        return [one == other for one, other in zip(self.first.operations, self.second.operations, strict=True)]

    @property
    def one_strategy(self) -> bool:
        return self.first.strategy == self.second.strategy


def mean_of(pairs: Sequence[Pair]) -> float | None:
    return fmean(fmean(pair.same) for pair in pairs) if pairs else None


def summary(agreed: Agreement) -> list[str]:
    """A few sentences on how far the searches agree."""
    mean, chance = fmean(agreed.nodes), fmean(agreed.chance)
    verdict = "more than" if mean > chance + ERRORS * agreed.error else "no more than"
    kinds = {"of one strategy": agreed.within, "of two strategies": agreed.between}
    return [
        f"two of {len(agreed.found)} searches chose the same operation at {mean:.0%} of the nodes, {verdict} chance "
        f"({chance:.0%}, give or take {agreed.error:.0%})",
        *(f"pairs {kind}: {share:.0%}" for kind, share in kinds.items() if share is not None),
    ]
