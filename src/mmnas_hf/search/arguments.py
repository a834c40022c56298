"""The flags of a search."""

from dataclasses import dataclass, field
from typing import ClassVar

from ..errors import InputError
from ..launches import refuse_threads
from ..training import TrainArguments, epoch_steps, planned_steps


@dataclass
class SearchArguments(TrainArguments):
    """Training arguments and those of the search (MMnas §4)."""

    _argument_group_name: ClassVar[str] = "search and training"

    warm_up: float = field(
        default=0.2,
        metadata={"help": "Share of the steps that only train weights, before the first architecture step."},
    )
    weight_steps: int = field(default=5, metadata={"help": "Weight steps for each architecture step."})
    strategy: str = field(
        default="proxyless",
        metadata={
            "help": "How the architecture is found: proxyless (binary gates), darts (a mixture of all candidates), "
            "gumbel (straight-through Gumbel-softmax), enas (policy gradient), uniform (uniform paths, then "
            "evolution), random (uniform paths, then random search)."
        },
    )
    gates: str = field(
        default="full",
        metadata={"help": "Proxyless: candidates that run in an architecture step, full (all) or two (a node)."},
    )
    evaluations: int = field(
        default=100, metadata={"help": "Uniform, random: networks scored with the supernet's weights after training."}
    )
    population: int = field(default=20, metadata={"help": "Uniform: networks that evolution breeds from."})
    progressive: list[int] = field(
        default_factory=list,
        metadata={"help": "Epochs, from 1, at whose end each node's least likely candidate leaves the search."},
    )
    architecture_learning_rate: float = field(default=0.1, metadata={"help": "Adam's rate for the architecture."})
    prior: str = field(
        default="none", metadata={"help": "Where the architecture starts: none (uniform), random, or hand-made."}
    )
    stable_epochs: int = field(
        default=0, metadata={"help": "Stop once the genotype has not changed for so many epochs; 0: never stop early."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_threads(self)
        if not 0 <= self.warm_up <= 1:
            raise InputError(f"warm_up {self.warm_up} is no share of the steps; give one from 0 to 1")
        if self.weight_steps < 1:
            raise InputError(f"weight_steps {self.weight_steps} leaves no weight step; give at least 1")


def check_progressive(args: SearchArguments, texts: int) -> None:
    """Raise `InputError` for an epoch of so many texts that ends before anything is learnt, or never."""
    steps, epoch = planned_steps(args, texts), epoch_steps(args, texts)
    first = (int(args.warm_up * steps) // args.weight_steps + 1) * args.weight_steps
    for number in args.progressive:
        if not first <= number * epoch <= steps:
            raise InputError(
                f"progressive {number}: that epoch ends at step {number * epoch}, but architecture steps begin at "
                f"{first} and the search ends at {steps}; give epochs that end in between"
            )
