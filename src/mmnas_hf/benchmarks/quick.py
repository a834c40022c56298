"""A check that takes seconds: whether the steps of a search are as fast beside their written-out form as recorded."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from ..errors import RunError
from ..flops import count_flops
from .floor import Step, make_probes, probe_flops, straightforward
from .supernets import Sizes, architecture_step, weight_step
from .timing import alone, in_turns, significant

# Many region pairs: what is faster for them is slower to lose.
SIZES = Sizes(hidden_size=128, batch=8, encoder_nodes=2, decoder_nodes=6, vocabulary=500, answers=500)
ROUNDS = 7
WORST = 1.5  # times what was recorded


class Ratios(NamedTuple):
    """Seconds of a step divided by those of its written-out form, and by its floor at the faster library's rate."""

    to_straightforward: float
    to_floor: float


#: On one thread of an AMD EPYC.
RECORDED = {"weight step": Ratios(0.66, 3.1), "architecture step": Ratios(0.54, 3.1)}

BUILDERS = {
    "weight step": weight_step,
    "architecture step": partial(architecture_step, gates="full"),
}


def measure_quick() -> Sequence[dict[str, Any]]:
    """Small weight and architecture steps; raises `RunError` if one is much slower than recorded."""
    measured = {name: alone(measure_ratios, partial(build, SIZES)) for name, build in BUILDERS.items()}
    refuse_worse(measured)
    return [
        {
            "measurement": f"{name}, hidden {SIZES.hidden_size}",
            "times straightforward": significant(ratios.to_straightforward, 3),
            "recorded times straightforward": RECORDED[name].to_straightforward,
            "times floor": significant(ratios.to_floor, 3),
            "recorded times floor": RECORDED[name].to_floor,
        }
        for name, ratios in measured.items()
    ]


def measure_ratios(build: Callable[[], Step]) -> Ratios:
    """Medians of processor time over rounds, in each of which all ran within a moment and met the same machine."""
    torch.set_num_threads(1)  # threads that wait for each other on a busy machine would spend processor time
    step = build()
    timed = {"step": step, "slow": straightforward(step), **make_probes()}
    fast, slow, *probes = (np.array(values) for values in in_turns(timed, ROUNDS, time.process_time).values())
    floor = np.minimum.reduce(probes) * count_flops(step) / probe_flops()
    return Ratios(float(np.median(fast / slow)), float(np.median(fast / floor)))


def refuse_worse(measured: Mapping[str, Ratios]) -> None:
    """Raise `RunError` for a ratio that is much worse than the recorded one."""
    for name, ratios in measured.items():
        for kind, ratio, recorded in zip(Ratios._fields, ratios, RECORDED[name], strict=True):
            if ratio > WORST * recorded:
                raise RunError(
                    f"{name}: {kind.replace('_', ' ')} {ratio:.2f} is more than {WORST} times the recorded "
                    f"{recorded}; nothing was changed; find what made it slower, or record the ratio in quick.py"
                )
