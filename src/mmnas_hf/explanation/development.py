"""How a search's choice developed: the entropy of every node from its log, and a picture of it."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ..drawing import DOTS_PER_INCH, INK, PALE_INK, SIDE_COLOURS, plain_axes
from ..search.strategy import Probabilities, mean_entropy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_WIDTH, MEAN_HEIGHT, NODE_HEIGHT = 8.0, 2.0, 0.2  # inches


def draw_entropy(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the mean entropy of the choices over a search, and below it every node's as a share of an even choice.

    `history` is that of a search's log.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415

    steps = [entry["step"] for entry in history]
    entries, sides = nodes_of(history), (("text", "encoder"), ("region", "decoder"))
    names = [f"{side} {number}" for side, key in sides for number in range(1, len(history[0][key]) + 1)]
    heights = [MEAN_HEIGHT, 0.5 + NODE_HEIGHT * len(names)]
    figure = Figure(figsize=(PANEL_WIDTH, sum(heights) + 0.5), facecolor="white", layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=heights, sharex=True)
    draw_mean(upper, steps, [mean_entropy(entry) for entry in entries])
    draw_node_entropies(lower, steps, entropy_shares(entries), names)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def nodes_of(history: Sequence[Mapping[str, Any]]) -> list[Probabilities]:
    """The probabilities of all nodes at every entry, encoder first."""
    return [[*entry["encoder"], *entry["decoder"]] for entry in history]


def entropy_shares(entries: Sequence[Probabilities]) -> list[list[float]]:
    """Each node's entropy over time as a share of that of an even choice; 0 for nodes with nothing to choose."""
    even = [mean_entropy([dict.fromkeys(node, 1 / len(node))]) for node in entries[0]]
    return [[mean_entropy([entry[node]]) / (most or 1.0) for entry in entries] for node, most in enumerate(even)]


def draw_mean(axes: "Axes", steps: Sequence[int], means: Sequence[float]) -> None:
    axes.plot(steps, means, color=INK, linewidth=2.2, marker="o", markersize=3)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("mean entropy [nats]", color=INK)
    plain_axes(axes, tick_count=8)


def draw_node_entropies(
    axes: "Axes", steps: Sequence[int], shares: Sequence[Sequence[float]], names: Sequence[str]
) -> None:
    """A row a node and a column an evaluation, dark where nothing is decided."""
    edges = [steps[0] - 0.5, *(fmean(pair) for pair in pairwise(steps)), steps[-1] + 0.5]
    mesh = axes.pcolormesh(edges, range(len(names) + 1), shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_yticks([number + 0.5 for number in range(len(names))], names)
    axes.invert_yaxis()
    axes.set_xlabel("step", color=INK)
    plain_axes(axes, tick_count=8)
    for label in axes.get_yticklabels():
        label.set_color(SIDE_COLOURS[label.get_text().partition(" ")[0]])
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.01, aspect=30)
    bar.set_label("entropy, share of an even choice", color=INK, fontsize=8)
    bar.ax.tick_params(labelsize=8, colors=PALE_INK)
