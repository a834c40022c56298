"""Computations against their floor, which is their matrix products at the machine's own rate, and written out."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..flops import count_flops
from ..products import HAS_ONEDNN, multiply
from ..speedups import SPEEDUPS, without
from .timing import PERCENT, alone, in_turns, medians, peak_memory, significant

PROBE_SIZE = 2048  # of the square matrices whose product tells the machine's rate
PROBE, ONEDNN_PROBE = "square product", "square product with oneDNN"
CALLS = 2  # until memory is at its peak: the first one's optimiser makes the moments that the second one has beside it

Step = Callable[[], None]


class Case(NamedTuple):
    """What builds a computation, in whichever process it is measured, and how many steps a call of it takes."""

    build: Callable[[], Step]
    steps: int = 1


class Timing(NamedTuple):
    """Seconds of one step in both forms, its floating-point operations, and how many the machine does in a second.

    `rate` is that of PyTorch's usual library for products, `best_rate` that of its faster one.
    """

    seconds: float
    straightforward: float
    flops: float
    rate: float
    best_rate: float

    @property
    def floor(self) -> float:
        return self.flops / self.rate

    def columns(self) -> dict[str, float]:
        numbers = {
            "seconds": self.seconds,
            "GFLOPs": self.flops / 1e9,
            "sgemm, GFLOP/s": self.rate / 1e9,
            "floor, s": self.floor,
            "times floor": self.seconds / self.floor,
            "above floor, ms": (self.seconds - self.floor) * 1e3,
            "best sgemm, GFLOP/s": self.best_rate / 1e9,
            "times floor at best": self.seconds * self.best_rate / self.flops,
            "straightforward, s": self.straightforward,
            "straightforward, times floor": self.straightforward / self.floor,
        }
        return {name: significant(number) for name, number in numbers.items()}


def measure_cases(cases: Mapping[str, Case], rounds: int) -> list[dict[str, Any]]:
    """A row each, timed in turns in one process, with shares of the first; memory in processes of their own."""
    timings = alone(time_cases, cases, rounds)
    reference = next(iter(cases))
    rows = []
    for name, case in cases.items():
        share = timings[name].seconds / timings[reference].seconds
        compared = {} if name == reference else {"share, %": significant(PERCENT * share, 3), "of": reference}
        peaks = {
            "peak resident GB": alone(peak_of, case),
            "straightforward, peak resident GB": alone(peak_of, case, off=tuple(SPEEDUPS)),
        }
        columns = timings[name].columns() | {column: round(peak / 1e9, 2) for column, peak in peaks.items()}
        rows.append({"measurement": name, "threads": torch.get_num_threads(), **columns, **compared})
    return rows


def time_cases(cases: Mapping[str, Case], rounds: int) -> dict[str, Timing]:
    steps = {name: case.build() for name, case in cases.items()}
    slow = {f"{name}, straightforward": straightforward(step) for name, step in steps.items()}
    probes = make_probes()
    seconds = medians(in_turns({**probes, **steps, **slow}, rounds))
    rates = {name: probe_flops() / seconds[name] for name in probes}
    return {
        name: Timing(
            seconds[name] / case.steps,
            seconds[f"{name}, straightforward"] / case.steps,
            count_flops(steps[name]) / case.steps,
            rates[PROBE],
            max(rates.values()),
        )
        for name, case in cases.items()
    }


def straightforward(step: Step) -> Step:
    """The same step without speed-ups, but for what a process keeps: both forms run in it."""

    def run() -> None:
        with without(*SPEEDUPS):
            step()

    return run


def make_probes() -> dict[str, Step]:
    """A probe for each of PyTorch's libraries, the usual one first."""
    return {PROBE: make_probe(), **({ONEDNN_PROBE: make_probe(onednn_product)} if HAS_ONEDNN else {})}


def make_probe(product: Callable[[Tensor, Tensor], Tensor] = torch.matmul) -> Step:
    """A product of two square matrices."""
    square = torch.rand(PROBE_SIZE, PROBE_SIZE)
    return partial(product, square, square)


def onednn_product(x: Tensor, y: Tensor) -> Tensor:
    return multiply(x, y.t(), None)


def probe_flops() -> int:
    return 2 * PROBE_SIZE**3


def peak_of(case: Case) -> int:
    step = case.build()
    for _ in range(CALLS):
        step()
    return peak_memory()
