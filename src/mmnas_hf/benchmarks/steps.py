"""How far the two steps of a search are from their floor, and what they cost when one thing about them changes."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from .answering import measure_answering
from .floor import Case, measure_cases
from .grouping import counted_steps
from .supernets import PUBLISHED, Sizes, architecture_step, make_weight_step, random_batch, weight_step
from .timing import PERCENT, alone, in_turns, medians, significant

SIZES, WIDE, MANY = PUBLISHED, 512, 16  # sizes, the larger hidden size, and the larger number of candidates
ROUNDS = 5
GROUPED, UNGROUPED = 8, 2  # batches: those of similar images differ from each other


def measure_steps() -> Sequence[dict[str, Any]]:
    """Weight and architecture steps of the published supernet, what changes them, and the derived network's answers."""
    groups = (weight_steps(SIZES), wide_steps(SIZES), architecture_steps(SIZES))
    rows = [row for cases in groups for row in measure_cases(cases, ROUNDS)]
    return [*rows, measure_update(SIZES), *measure_answering()]


def weight_steps(sizes: Sizes) -> dict[str, Case]:
    """A weight step, and others that are told as shares of it."""
    name = f"weight step, hidden {sizes.hidden_size}"
    many = sizes._replace(encoder_candidates=MANY, decoder_candidates=MANY)
    return {
        f"{name}, {sizes.regions} regions": Case(partial(weight_step, sizes)),
        f"{name}, {MANY} candidates a node": Case(partial(weight_step, many)),
        f"{name}, real region counts, grouped": Case(partial(counted_steps, sizes, True, GROUPED), GROUPED),
        f"{name}, real region counts, not grouped": Case(partial(counted_steps, sizes, False, UNGROUPED), UNGROUPED),
    }


def wide_steps(sizes: Sizes) -> dict[str, Case]:
    wide = sizes._replace(hidden_size=WIDE)
    return {f"weight step, hidden {WIDE}, {sizes.regions} regions": Case(partial(weight_step, wide))}


def architecture_steps(sizes: Sizes) -> dict[str, Case]:
    return {
        f"architecture step, {gates}, hidden {sizes.hidden_size}": Case(partial(architecture_step, sizes, gates))
        for gates in ("full", "two")
    }


def measure_update(sizes: Sizes) -> dict[str, Any]:
    """Clipping, optimiser and zeroing as a part of the weight step, and the parameters that they have to do with."""
    seconds, touched, parameters = alone(time_update, sizes)
    return {
        "measurement": f"clipping, optimiser and zeroing, hidden {sizes.hidden_size}",
        "threads": torch.get_num_threads(),
        "seconds": significant(seconds["update"]),
        "share, %": significant(PERCENT * seconds["update"] / sum(seconds.values()), 3),
        "of": "its weight step",
        "parameters with a gradient": touched,
        "parameters": parameters,
    }


def time_update(sizes: Sizes) -> tuple[dict[str, float], int, int]:
    """Median seconds of both parts of a weight step; its parameters that get a gradient, and all."""
    step, batch = make_weight_step(sizes), random_batch(sizes)
    seconds = medians(in_turns({"passes": partial(step.differentiate, batch), "update": step.update}, ROUNDS))
    step.differentiate(batch)
    touched = sum(parameter.numel() for parameter in step.learnt)
    return seconds, touched, step.model.num_parameters()
