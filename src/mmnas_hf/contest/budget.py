"""An equal budget: how many steps of each strategy cost what a given number of another's do."""

import random
from collections.abc import Callable
from typing import NamedTuple

from ..configuration_mmnas import MMnasConfig
from ..corpus import Corpus
from ..errors import InputError
from ..search.arguments import SearchArguments
from ..search.cost import Prices, SearchCost, measure_prices, typical_batch
from ..search.strategies import build_strategy
from ..search.strategy import Strategy
from ..training import epoch_steps, grouping
from .cells import Contender, contender_arguments

SAMPLED_STEPS = 64  # whose paths are averaged over
COUNTS = ("examples", "flops")


class StepCosts(NamedTuple):
    """What one kind of step costs on average."""

    examples: float
    flops: float


class Budget:
    """Expected costs of searches, from the paths that fresh strategies would choose.

    `examples` is the mean number of pairs of text and image in a batch of weight steps and of architecture steps.
    Raises `InputError` for flags that make costs differ however many steps there are.
    """

    def __init__(self, corpus: Corpus, config: MMnasConfig, args: SearchArguments, scored: int):
        refuse_unequal(args)
        split = corpus.search_split(args.seed)
        self.config, self.args, self.scored = config, args, scored
        rows = corpus.task.training_rows(split.weights)
        regions = grouping(rows, corpus, args)
        batch = typical_batch(rows, corpus.collator(config), args.train_batch_size, regions)
        self.prices: Prices = measure_prices(corpus.task.model_class(config), batch)
        spread = len(batch["input_ids"]) / min(args.train_batch_size, len(rows))  # matching adds wrong pairs
        self.examples = tuple(spread * len(part) / epoch_steps(args, len(part)) for part in split)

    def steps(self, contender: Contender, reference: Contender, equal: str) -> int:
        """The contender's steps that cost as much as `max_steps` of the reference."""
        budget = self.cost(reference, self.args.max_steps, equal)
        cost = self.costs(contender, equal)
        if cost(1) > budget:
            raise InputError(
                f"max_steps {self.args.max_steps}: {contender.name} spends more {equal} on its evaluations alone than "
                f"{reference.name} on all its steps; give more steps or fewer --evaluations"
            )
        low, high = 1, 2
        while cost(high) <= budget:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if cost(middle) <= budget else (low, middle)
        return low

    def cost(self, contender: Contender, steps: int, equal: str) -> float:
        return self.costs(contender, equal)(steps)

    def costs(self, contender: Contender, equal: str) -> Callable[[int], float]:
        """The expected cost of a contender's search by its number of steps."""
        args = contender_arguments(self.args, contender)
        weight, architecture, scoring = (getattr(part, equal) for part in self.parts(args))
        return lambda steps: steps * weight + architecture_steps(args, steps) * architecture + scoring

    def parts(self, args: SearchArguments) -> tuple[StepCosts, StepCosts, StepCosts]:
        """Costs of a weight step, of an architecture step, and of all that is scored in the end."""
        strategy = build_strategy(self.config.space, args, args.max_steps)
        weights, architecture, scoring = (SearchCost(lambda: self.prices) for _ in range(3))
        for step in range(SAMPLED_STEPS):
            weights.add_weight_step(strategy.weight_path(step), 1)
            if (path := strategy.architecture_path(step)) is not None:
                architecture.add_architecture_step(path, 1)
        add_scoring(strategy, scoring, self.scored)
        sizes = (*self.examples, SAMPLED_STEPS)
        return tuple(
            StepCosts(cost.examples * size / SAMPLED_STEPS, cost.flops * size / SAMPLED_STEPS)
            for cost, size in zip((weights, architecture, scoring), sizes, strict=True)
        )


def refuse_unequal(args: SearchArguments) -> None:
    """Raise `InputError` for flags by which some searches would end early or have fewer candidates than others."""
    for name in ("stable_epochs", "progressive"):
        if value := getattr(args, name):
            raise InputError(f"{name} {value}: searches would no longer cost the same; leave {name} out")


def add_scoring(strategy: Strategy, cost: SearchCost, examples: int) -> None:
    """Let a strategy choose by scores that mean nothing, and count what it wants scored."""
    generator = random.Random(0)
    while genotypes := strategy.propose():
        strategy.receive([generator.random() for _ in genotypes])
        for genotype in genotypes:
            cost.add_scoring(genotype, examples)


def architecture_steps(args: SearchArguments, steps: int) -> int:
    """How many of a search's steps are followed by one of the architecture."""
    return steps // args.weight_steps - int(args.warm_up * steps) // args.weight_steps
