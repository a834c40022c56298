"""Where the steps of a search spend their time, operator by operator."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch.profiler import ProfilerActivity, profile

from .floor import Step
from .supernets import PUBLISHED, architecture_step, weight_step
from .timing import PERCENT, alone, significant

SIZES = PUBLISHED
WARM_UP = 3  # steps
LARGEST = 10
PRODUCTS = "matrix products"
PRODUCT_OPERATORS = (
    "aten::mm",
    "aten::addmm",
    "aten::bmm",
    "aten::baddbmm",
    "mkldnn::_linear_pointwise",
    "aten::mkldnn_rnn_layer",
    "aten::mkldnn_rnn_layer_backward",
)


def measure_profile() -> Sequence[dict[str, Any]]:
    """The operators that take most of a weight step's and an architecture step's own processor time."""
    steps = {"weight": partial(weight_step, SIZES), "architecture, full": partial(architecture_step, SIZES, "full")}
    return [
        {"measurement": f"{name} step, hidden {SIZES.hidden_size}", "operator": operator, "percent": percent}
        for name, build in steps.items()
        for operator, percent in alone(profile_step, build)
    ]


def profile_step(build: Callable[[], Step]) -> list[tuple[str, float]]:
    """The largest operators and their percentages, matrix products first."""
    step = build()
    for _ in range(WARM_UP):
        step()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        step()
    times = Counter()
    for event in profiled.key_averages():
        times[PRODUCTS if event.key in PRODUCT_OPERATORS else event.key] += event.self_cpu_time_total
    total, products = times.total(), times.pop(PRODUCTS)
    largest = [(PRODUCTS, products), *times.most_common(LARGEST - 1)]
    return [(operator, significant(PERCENT * time / total, 3)) for operator, time in largest]
