"""How far the network that a search derives is from its floor when it answers."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from ..modeling_mmnas import MMnasForVisualQuestionAnswering
from . import inference
from .floor import Case, Step, measure_cases
from .supernets import Sizes, random_batch

SIZES = Sizes(hidden_size=512, regions=36)
ROUNDS = {64: 5, 1: 20}  # by batch size


def measure_answering() -> Sequence[dict[str, Any]]:
    """Batches of questions, and one question alone."""
    return [row for questions in ROUNDS for row in measure_batch(questions)]


def measure_batch(questions: int) -> list[dict[str, Any]]:
    sizes = SIZES._replace(batch=questions)
    name = f"answering, {inference.GENOTYPE}, hidden {sizes.hidden_size}, batch {questions}, {sizes.regions} regions"
    return measure_cases({name: Case(partial(answering, sizes, inference.GENOTYPE))}, ROUNDS[questions])


def answering(sizes: Sizes, genotype: str) -> Step:
    """The forward pass of a derived network on one batch, to be called again and again."""
    model = MMnasForVisualQuestionAnswering(sizes.config(genotype=genotype)).eval()
    batch = random_batch(sizes)
    del batch["labels"]

    def step() -> None:
        with torch.inference_mode():
            model(**batch)

    return step
