"""The search strategies by name. To add one, write its file and name it here."""

from collections.abc import Callable

from ..errors import InputError
from ..genotype import SearchSpace
from .arguments import SearchArguments
from .darts import DartsStrategy
from .enas import EnasStrategy
from .gumbel import GumbelStrategy
from .proxyless import ProxylessStrategy
from .random_search import RandomStrategy
from .scored import ScoredStrategy
from .strategy import Strategy
from .uniform import EvolutionStrategy

#: Makes a strategy for a space from the arguments of a search of so many steps.
Build = Callable[[SearchSpace, SearchArguments, int], Strategy]

STRATEGIES: dict[str, Build] = {
    "proxyless": lambda space, args, _: ProxylessStrategy(
        space, args.gates, args.architecture_learning_rate, args.prior, args.seed
    ),
    "darts": lambda space, args, _: DartsStrategy(space, args.architecture_learning_rate, args.prior, args.seed),
    "gumbel": lambda space, args, steps: GumbelStrategy(
        space, range(int(args.warm_up * steps), steps), args.architecture_learning_rate, args.prior, args.seed
    ),
    "enas": lambda space, args, _: EnasStrategy(space, args.architecture_learning_rate, args.prior, args.seed),
    "uniform": lambda space, args, _: EvolutionStrategy(space, args.evaluations, args.population, args.seed),
    "random": lambda space, args, _: RandomStrategy(space, args.evaluations, args.seed),
}


def build_strategy(space: SearchSpace, args: SearchArguments, steps: int) -> Strategy:
    """The strategy that the arguments name, for a search of so many steps."""
    if args.strategy not in STRATEGIES:
        raise InputError(f"unknown strategy {args.strategy!r}; known: {', '.join(STRATEGIES)}")
    strategy = STRATEGIES[args.strategy](space, args, steps)
    if args.gates != SearchArguments.gates and args.strategy != "proxyless":
        raise InputError(f"gates {args.gates!r}: strategy {args.strategy!r} has none; only proxyless does")
    if args.progressive and isinstance(strategy, ScoredStrategy):
        raise InputError(
            f"progressive {args.progressive}: strategy {args.strategy!r} has no probabilities to drop candidates by; "
            "choose another or leave progressive out"
        )
    if args.stable_epochs and isinstance(strategy, ScoredStrategy):
        raise InputError(
            f"stable_epochs {args.stable_epochs}: strategy {args.strategy!r} chooses after training, so that nothing "
            "changes before; choose another or leave stable_epochs out"
        )
    return strategy
