"""Pictures of a comparison: scores against the cost of the search, and trained against inherited scores."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from ..drawing import DOTS_PER_INCH, INK, PALE_INK
from .report import RANDOM

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Paul Tol's "bright" colours and one of "vibrant", which colour-blind readers can tell apart.
COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#EE7733")
LINES = ("--", ":", "-.")
COSTS = {"examples": "examples seen by the search", "flops": "FLOPs of the search"}
WIDE_BAND, NARROW_BAND = (10, 90), (25, 75)  # percentiles of the random architectures
PANEL_COLUMNS, PANEL_SIZE = 4, 2.4  # inches

Row = Mapping[str, Any]


def colours_of(names: Iterable[str]) -> dict[str, str]:
    return dict(zip(dict.fromkeys(names), cycle(COLOURS), strict=False))


def draw_comparison(result: Mapping[str, Any], path: Path) -> None:
    """Draw every search's trained score against its cost, a panel a kind of cost, over the band of chance."""
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import EngFormatter  # noqa: PLC0415

    figure = Figure(figsize=(10.5, 4.6), facecolor="white", layout="constrained")
    searched = [row for row in result["rows"] if row["searches"]]
    colours = colours_of(row["name"] for row in searched)
    panels = figure.subplots(1, len(COSTS), sharey=True)
    for axes, (cost, label) in zip(panels, COSTS.items(), strict=True):
        draw_baselines(axes, [row for row in result["rows"] if not row["searches"]])
        for row in searched:
            draw_searches(axes, row, cost, colours[row["name"]])
        axes.set_xlabel(f"{label} (meant to be equal)" if cost == result["equal"] else label, color=INK)
        axes.xaxis.set_major_formatter(EngFormatter())
        finish(axes)
    panels[0].set_ylabel(f"{result['metric']}, trained from scratch", color=INK)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9, labelcolor=INK)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def draw_searches(axes: "Axes", row: Row, cost: str, colour: str) -> None:
    """A point a seed, and a dash at their mean."""
    for search in row["searches"]:
        axes.scatter(search[cost], search["score"], s=26, color=colour, alpha=0.75, linewidths=0)
    axes.scatter(row[cost], row["mean"], s=160, marker="_", color=colour, label=row["name"])


def draw_baselines(axes: "Axes", rows: Sequence[Row]) -> None:
    """Random architectures as a band around their median, the other baselines as lines at their means."""
    styles = cycle(LINES)
    for row in rows:
        if row["name"] != RANDOM:
            axes.axhline(row["mean"], color=INK, linewidth=1, linestyle=next(styles), label=row["name"])
            continue
        for (low, high), colour in ((WIDE_BAND, "#F0F0F0"), (NARROW_BAND, "#DFDFDF")):
            limits = np.percentile(row["scores"], (low, high))
            axes.axhspan(*limits, color=colour, linewidth=0, zorder=0, label=f"random, {low} to {high} %")
        axes.axhline(np.median(row["scores"]), color=PALE_INK, linewidth=1, zorder=0, label="random, median")


def draw_correlation(entries: Sequence[Row], metric: str, path: Path) -> None:
    """Draw the random architectures by inherited and trained score, a panel a strategy and a colour a seed."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    names = list(dict.fromkeys(entry["strategy"] for entry in entries))
    colours = colours_of(f"seed {entry['seed']}" for entry in entries)
    columns = min(PANEL_COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(columns * PANEL_SIZE + 1, rows * PANEL_SIZE), facecolor="white", layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flat
    for axes, name in zip(panels, names, strict=False):
        draw_supernets(axes, name, [entry for entry in entries if entry["strategy"] == name], colours)
    for axes in figure.axes[len(names) :]:
        axes.set_axis_off()
    figure.supxlabel(f"{metric} with inherited weights", color=INK, fontsize=9)
    figure.supylabel(f"{metric} from scratch", color=INK, fontsize=9)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=8, labelcolor=INK)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def draw_supernets(axes: "Axes", name: str, entries: Sequence[Row], colours: Mapping[str, str]) -> None:
    for entry in entries:
        label = f"seed {entry['seed']}"
        axes.scatter(entry["inherited"], entry["from_scratch"], s=12, color=colours[label], alpha=0.7, label=label)
    taus = [entry["tau"] for entry in entries if entry["tau"] is not None]
    axes.set_title(f"{name}, tau {fmean(taus):.2f}" if taus else name, fontsize=9, color=INK)
    finish(axes)


def finish(axes: "Axes") -> None:
    axes.tick_params(labelsize=8, colors=PALE_INK, length=2.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE_INK)
