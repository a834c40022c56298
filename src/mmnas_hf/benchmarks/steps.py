"""How far the two steps of a search are from their floor: their matrix products at the machine's own rate."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..configuration_mmnas import MMnasConfig
from ..flops import count_flops
from ..modeling_mmnas import MMnasForVisualQuestionAnswering, Path
from ..search.proxyless import ProxylessStrategy
from ..speedups import frozen
from .tables import in_fresh_process, interleaved, peak_memory

BATCH, WORDS, REGIONS, FEATURE_SIZE = 32, 14, 100, 2048
VOCABULARY, ANSWERS = 18_000, 3129
PROBE_SIZE = 2048  # of the square matrices whose product tells the machine's rate
ROUNDS = 5
PATH_STEP = 0  # which of a strategy's paths is run


class Setting(NamedTuple):
    """A step of a search, at a hidden size."""

    step: str
    hidden_size: int


SETTINGS = (
    Setting("weight", 256),
    Setting("weight", 512),
    Setting("architecture, full", 256),
    Setting("architecture, two", 256),
)


def measure_steps() -> Sequence[dict[str, Any]]:
    """Weight and architecture steps of the published supernet on whole images, each in a process of its own."""
    return [in_fresh_process(measure_step, setting, torch.get_num_threads()) for setting in SETTINGS]


def measure_step(setting: Setting, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    step = make_step(setting)
    probe, probe_flops = torch.rand(PROBE_SIZE, PROBE_SIZE), 2 * PROBE_SIZE**3

    def square() -> None:
        probe @ probe

    seconds = interleaved(square, step, rounds=ROUNDS)
    peak = peak_memory()  # before counting, which keeps all attention weights
    flops, rate = count_flops(step), probe_flops / seconds["square"]
    floor = flops / rate
    return {
        "measurement": f"{setting.step} step, hidden {setting.hidden_size}, {threads} threads",
        "seconds": round(seconds["step"], 3),
        "GFLOPs": float(f"{flops / 1e9:.4g}"),
        "sgemm, GFLOP/s": round(rate / 1e9, 1),
        "floor, s": round(floor, 3),
        "times floor": round(seconds["step"] / floor, 2),
        "peak resident GB": round(peak / 1e9, 2),
    }


def make_step(setting: Setting) -> Callable[[], None]:
    """One step on the published supernet and a random batch, to be called again and again."""
    sizes = {"hidden_size": setting.hidden_size, "region_size": FEATURE_SIZE, "vocab_size": VOCABULARY}
    model = MMnasForVisualQuestionAnswering(MMnasConfig(**sizes, num_labels=ANSWERS)).train()
    kind, _, gates = setting.step.partition(", ")
    strategy = ProxylessStrategy(model.config.space, gates or "full")
    batch = random_batch()
    if kind == "weight":
        return weight_step(model, batch, strategy.weight_path(PATH_STEP))

    def step() -> None:
        with frozen(model):
            strategy.update(model(**batch, path=strategy.architecture_path(PATH_STEP)).loss)

    return step


def weight_step(model: nn.Module, batch: dict[str, Tensor], path: Path) -> Callable[[], None]:
    """Forward, backward, clipping and optimiser, as a search's Trainer runs them."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.0, fused=True
    )

    def step() -> None:
        model(**batch, path=path).loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.zero_grad()

    return step


def random_batch() -> dict[str, Tensor]:
    """Questions without padding about images of which each has all regions."""
    corners = torch.rand(BATCH, REGIONS, 2) * 300
    return {
        "input_ids": torch.randint(VOCABULARY, (BATCH, WORDS)),
        "region_features": torch.rand(BATCH, REGIONS, FEATURE_SIZE),
        "region_boxes": torch.cat((corners, corners + 20 + torch.rand(BATCH, REGIONS, 2) * 150), -1),
        "labels": (torch.rand(BATCH, ANSWERS) < 3 / ANSWERS).float(),
    }
