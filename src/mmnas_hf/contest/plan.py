"""Who takes part in a comparison, and which cells that makes."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ..comparison import CompareArguments, random_genotypes
from ..errors import InputError
from ..genotype import PUBLISHED, Genotype, SearchSpace, mcan
from ..search.arguments import SearchArguments
from ..search.strategies import STRATEGIES
from .budget import COUNTS, Budget
from .cells import Cell, Contender, Result, ScoringCell, SearchCell, TrainingCell

#: The contender whose cost is everybody's budget.
REFERENCE = Contender("proxyless", "proxyless", "full")
RANDOM_SEEDS = 3  # that random architectures take in turn, whatever the searches': more of those change nothing here
CONTENDERS = {
    contender.name: contender
    for contender in (
        REFERENCE,
        Contender("proxyless-two", "proxyless", "two"),
        *(Contender(name, name, SearchArguments.gates) for name in STRATEGIES if name != REFERENCE.strategy),
    )
}


@dataclass
class ContestArguments(CompareArguments):
    """Who is compared, with how many seeds, and at which budget."""

    strategies: list[str] = field(
        default_factory=lambda: list(CONTENDERS), metadata={"help": f"Who takes part: {', '.join(CONTENDERS)}."}
    )
    seeds: list[int] = field(
        default_factory=lambda: [0, 1, 2], metadata={"help": "Seeds of every search and of every training."}
    )
    equal: str = field(
        default="flops",
        metadata={
            "help": "What every search may spend as much of as proxyless does in max_steps, scoring in the end "
            "included: flops (floating-point operations) or examples."
        },
    )
    random_architectures: int = field(
        default=30, metadata={"help": f"Random architectures, trained with the seeds below {RANDOM_SEEDS} in turn."}
    )
    rank_correlation: bool = field(
        default=True,
        metadata={"help": "Score the random architectures with the weights of every supernet, too."},
    )

    _argument_group_name: ClassVar[str] = "comparison"

    def __post_init__(self) -> None:
        if unknown := [name for name in self.strategies if name not in CONTENDERS]:
            raise InputError(f"unknown strategy {unknown[0]!r}; known: {', '.join(CONTENDERS)}")
        if self.equal not in COUNTS:
            raise InputError(f"equal {self.equal!r} is nothing that is counted; known: {', '.join(COUNTS)}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"seeds {self.seeds}: give at least one, and each only once")


class Contest:
    """The cells of a comparison, and what follows when one of them is finished."""

    def __init__(
        self, args: ContestArguments, space: SearchSpace, task: str, budget: Budget, retraining_steps: int, seed: int
    ):
        self.args, self.retraining_steps = args, retraining_steps
        self.random = random_genotypes(space, args.random_architectures, random.Random(seed))
        pattern = mcan(len(space.encoder), len(space.decoder))
        self.baselines = {"mcan": pattern} | published(task, space)
        self.pattern = pattern
        self.steps = {
            name: budget.steps(CONTENDERS[name], REFERENCE, args.equal) for name in dict.fromkeys(args.strategies)
        }

    @property
    def cells(self) -> list[Cell]:
        """What is to be done from the start, the longest first."""
        baselines = [cell for name in self.baseline_cells for cell in self.baseline_cells[name]]
        return [*self.searches, *baselines, *self.random_cells]

    @property
    def searches(self) -> list[SearchCell]:
        return [
            SearchCell(CONTENDERS[name], seed, steps) for seed in self.args.seeds for name, steps in self.steps.items()
        ]

    @property
    def baseline_cells(self) -> dict[str, list[TrainingCell]]:
        cells = {
            name: [self.training(genotype, seed) for seed in self.args.seeds]
            for name, genotype in self.baselines.items()
        }
        if self.args.text_only:
            blind = [TrainingCell(self.pattern, seed, self.retraining_steps, True) for seed in self.args.seeds]
            cells["text only"] = blind
        return cells

    @property
    def random_cells(self) -> list[TrainingCell]:
        """Every architecture with one seed: the spread is that of architectures and of seeds together."""
        return [self.training(genotype, number % RANDOM_SEEDS) for number, genotype in enumerate(self.random)]

    @property
    def ranks(self) -> bool:
        """Whether supernets score the random architectures, too."""
        return self.args.rank_correlation and len(self.random) > 1

    def training(self, genotype: Genotype, seed: int) -> TrainingCell:
        return TrainingCell(genotype, seed, self.retraining_steps)

    def found(self, search: SearchCell, result: Result) -> TrainingCell:
        """The training of what a search found."""
        return self.training(Genotype.parse(result["genotype"]), search.seed)

    def scoring(self, search: SearchCell) -> ScoringCell:
        return ScoringCell(search, tuple(self.random))

    def follow(self, cell: Cell, result: Result) -> Sequence[Cell]:
        """What a finished search is followed by."""
        if not isinstance(cell, SearchCell):
            return []
        return [self.found(cell, result)] + [self.scoring(cell)] * self.ranks


def published(task: str, space: SearchSpace) -> dict[str, Genotype]:
    """The published architecture of a task by a name that says if it was thinned; none for deeper spaces."""
    name = f"mmnas-{task}"
    whole, depths = PUBLISHED.get(name), (len(space.encoder), len(space.decoder))
    if whole is None or depths[0] > len(whole.encoder) or depths[1] > len(whole.decoder):
        return {}
    thinned = Genotype(thin(whole.encoder, depths[0]), thin(whole.decoder, depths[1]))
    return {name if thinned == whole else f"{name} (thinned)": thinned}


def thin(operations: Sequence[str], count: int) -> tuple[str, ...]:
    """So many of the operations, evenly spaced."""
    return tuple(operations[int((position + 0.5) * len(operations) / count)] for position in range(count))
