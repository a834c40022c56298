"""How far the network that a search derives is from its floor when it answers."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from ..modeling_mmnas import MMnasForVisualQuestionAnswering
from ..packing import packed
from ..speedups import is_on
from . import inference
from .floor import Case, Step, measure_cases
from .supernets import Sizes, random_batch

SIZES = Sizes(hidden_size=512, regions=36)
ROUNDS = 5
CALLS = {64: 1, 1: 20}  # in a turn, by batch size: so many that one after a rest counts little


def measure_answering() -> Sequence[dict[str, Any]]:
    """Batches of questions, and one question alone."""
    return [row for questions in CALLS for row in measure_batch(questions)]


def measure_batch(questions: int) -> list[dict[str, Any]]:
    sizes = SIZES._replace(batch=questions)
    name = f"answering, {inference.GENOTYPE}, hidden {sizes.hidden_size}, batch {questions}, {sizes.regions} regions"
    calls = CALLS[questions]
    return measure_cases({name: Case(partial(answering, sizes, inference.GENOTYPE, calls), calls)}, ROUNDS)


def answering(sizes: Sizes, genotype: str, calls: int) -> Step:
    """So many forward passes of a derived network, packed, on one batch."""
    model = MMnasForVisualQuestionAnswering(sizes.config(genotype=genotype)).eval()
    fast, batch = packed(model), random_batch(sizes)
    del batch["labels"]

    def step() -> None:
        with torch.inference_mode():
            for _ in range(calls):
                (fast if is_on("packing") else model)(**batch)

    return step
