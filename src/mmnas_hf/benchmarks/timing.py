"""Seconds and memory of functions, measured in turns and in fresh processes."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..resources import keep_resources
from ..speedups import without

Clock = Callable[[], float]
PERCENT = 100


def in_turns(
    functions: Mapping[str, Callable[[], Any]], rounds: int, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each function in each round; in a round all are called in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds + 1):
        for name, function in functions.items():
            start = clock()
            function()
            seconds[name].append(clock() - start)
    return {name: values[1:] for name, values in seconds.items()}  # the first round warms caches up


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: float(np.median(values)) for name, values in seconds.items()}


def interleaved(*functions: Any, rounds: int, clock: Clock = time.perf_counter) -> dict[str, float]:
    """Median seconds of each function, measured in turns."""
    return medians(in_turns({function.__name__: function for function in functions}, rounds, clock))


def in_fresh_process(function: Any, *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def alone(function: Any, *arguments: Any, off: Sequence[str] = ()) -> Any:
    """What a function returns in a fresh process, with this one's threads and without some speed-ups."""
    return in_fresh_process(prepared, torch.get_num_threads(), off, function, arguments)


def prepared(threads: int, off: Sequence[str], function: Any, arguments: Sequence[Any]) -> Any:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    with without(*off):
        keep_resources()  # as scripts do, but for what is off
        return function(*arguments)


def peak_memory() -> int:
    """The most bytes that were resident in this process so far."""
    # Not `getrusage`, whose maximum a process takes over from the one that started it.
    status = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in status if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024


def significant(number: float, digits: int = 4) -> float:
    return float(f"{number:.{digits}g}")
