"""How the weight step grows with what it works on, beside its floor."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..drawing import DOTS_PER_INCH, INK, PALE_INK, plain_axes
from ..flops import count_flops
from .floor import PROBE, make_probe, probe_flops
from .supernets import Sizes, weight_step
from .timing import alone, in_turns, medians, significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROUNDS = 3
SIZES = Sizes(batch=8, regions=40)
PICTURE = "growth.png"
PANEL_WIDTH, PANEL_HEIGHT = 2.5, 2.6  # inches
COLOURS = {"seconds": "#4477AA", "floor, s": PALE_INK}


class Curve(NamedTuple):
    """What is counted on its axis, and the sizes at each point."""

    unit: str
    points: Mapping[int, Sizes]


def curves(sizes: Sizes) -> dict[str, Curve]:
    few = sizes._replace(kinds=2)
    return {
        "regions": Curve("regions an image", {n: sizes._replace(regions=n) for n in (10, 20, 40, 60, 80, 100)}),
        "words": Curve("words a question", {n: sizes._replace(words=n) for n in (4, 8, 14, 20, 28)}),
        "candidates": Curve(
            "candidates a node",
            {n: few._replace(encoder_candidates=n, decoder_candidates=n) for n in (2, 4, 8, 16)},
        ),
        "nodes": Curve(
            "nodes", {5 * n: sizes._replace(encoder_nodes=2 * n, decoder_nodes=3 * n) for n in (1, 3, 6, 9, 12)}
        ),
        "batch": Curve("questions a batch", {n: sizes._replace(batch=n) for n in (4, 8, 16, 32, 64)}),
    }


def measure_growth() -> Sequence[dict[str, Any]]:
    """Seconds of the weight step at each point of five curves, whose points are measured in turns."""
    return [row for name, curve in curves(SIZES).items() for row in alone(measure_curve, name, curve)]


def measure_curve(name: str, curve: Curve) -> list[dict[str, Any]]:
    steps = {str(value): weight_step(sizes) for value, sizes in curve.points.items()}
    seconds = medians(in_turns({PROBE: make_probe(), **steps}, ROUNDS))
    rows = []
    for value, step in steps.items():
        floor = count_flops(step) * seconds[PROBE] / probe_flops()
        columns = {"seconds": seconds[value], "floor, s": floor, "times floor": seconds[value] / floor}
        numbers = {column: significant(number) for column, number in columns.items()}
        rows.append({"curve": name, "unit": curve.unit, "size": int(value), **numbers})
    return rows


def draw_growth(rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Draw a panel a curve, what was measured and its floor, in `growth.png`."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    names = list(dict.fromkeys(row["curve"] for row in rows))
    figure = Figure(figsize=(PANEL_WIDTH * len(names), PANEL_HEIGHT), facecolor="white", layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        draw_curve(axes, [row for row in rows if row["curve"] == name])
    panels[0].set_ylabel("weight step [s]", color=INK)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=9, labelcolor=INK)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / PICTURE, dpi=DOTS_PER_INCH)


def draw_curve(axes: "Axes", rows: Sequence[Mapping[str, Any]]) -> None:
    sizes = [row["size"] for row in rows]
    for column, label, line in (("seconds", "measured", "o-"), ("floor, s", "floor: its matrix products alone", "--")):
        axes.plot(sizes, [row[column] for row in rows], line, color=COLOURS[column], markersize=4, label=label)
    axes.set_xlabel(rows[0]["unit"], color=INK)
    axes.set(xlim=(0, None), ylim=(0, None))
    plain_axes(axes, tick_count=6)
