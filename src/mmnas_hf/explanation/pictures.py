"""Pictures of what searches found, node by node: effects of single changes, and agreement."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from ..drawing import (
    CELL,
    DOTS_PER_INCH,
    INK,
    INPUT_COLOUR,
    MARGIN,
    PALE_INK,
    PITCH,
    SIDE_COLOURS,
    OperationStyle,
    draw_box,
    draw_cell,
    draw_legend,
    inch_axes,
    legend_height,
    operation_styles,
)
from .agreement import Agreement, Found
from .effects import LEFT_OUT, Effects

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Sizes in inches.
EFFECT, SIDE_GAP, HEADER, FOOT, SCALE_WIDTH = 0.46, 0.3, 1.0, 0.85, 3.0
CHARACTER = 0.088
BAR_HEIGHT, ROW = 1.2, 0.4
SMALLEST_WIDTH = 7.0
COLOURS = "RdBu"  # red where a change hurts
PERCENT = 100
STRONG = 0.6  # share of the largest effect from which on white text is read better
FAINT = 10  # points from which on decimals are left out
SCALE_STEPS = 60


class Grid(NamedTuple):
    """Where nodes stand in a picture: columns of this pitch from `left` on, with a gap between the sides."""

    left: float
    texts: int
    regions: int
    pitch: float

    def x(self, node: int) -> float:
        """The middle of a node's column."""
        return self.left + self.pitch * (node + 0.5) + SIDE_GAP * (node >= self.texts and self.texts > 0)

    @property
    def right(self) -> float:
        return self.x(self.texts + self.regions - 1) + self.pitch / 2

    def draw_header(self, axes: "Axes", y: float) -> None:
        """The sides' names, and below them the nodes' numbers."""
        for title, first, count in (("text nodes", 0, self.texts), ("region nodes", self.texts, self.regions)):
            if count:
                left, colour = self.x(first) - self.pitch / 2, SIDE_COLOURS[title.partition(" ")[0]]
                axes.text(left, y + 0.22, title, va="bottom", color=colour, fontsize=10, fontweight="bold")
            for number in range(count):
                label = str(number + 1)
                axes.text(self.x(first + number), y + 0.1, label, ha="center", va="center", color=PALE_INK, fontsize=8)


def draw_effects(effects: Effects, path: Path) -> None:
    """A heat map: operations and "left out" by nodes, the change of the metric as colour and number."""
    styles = operation_styles(name for node in effects.changes for name in node)
    rows = [name for name in styles if name != LEFT_OUT] + [LEFT_OUT]
    left = MARGIN + CHARACTER * max(len(label_of(name, styles)) for name in rows) + CELL + 0.3
    grid = Grid(left, len(effects.genotype.encoder), len(effects.genotype.decoder), EFFECT)
    height = EFFECT * len(rows)
    axes = new_axes(max(grid.right + MARGIN, SMALLEST_WIDTH), -FOOT, height + HEADER)
    title = f"{effects.genotype}: {effects.metric} {PERCENT * effects.score:.1f} ± {PERCENT * effects.error:.1f}"
    axes.text(MARGIN, height + HEADER - 0.25, title, va="center", color=INK, fontsize=12, fontweight="bold")
    grid.draw_header(axes, height)
    for number, name in enumerate(rows):
        y = height - EFFECT * (number + 0.5)
        draw_cell(axes, left - CELL / 2 - 0.1, y, styles[name])
        axes.text(left - CELL - 0.2, y, label_of(name, styles), ha="right", va="center", color=INK, fontsize=10)
        draw_effect_row(axes, effects, name, grid, y)
    draw_scale(axes, left, scale_of(effects), effects.noise)
    axes.figure.savefig(path, dpi=DOTS_PER_INCH)


def label_of(name: str, styles: Mapping[str, OperationStyle]) -> str:
    return "left out" if name == LEFT_OUT else styles[name].name


def scale_of(effects: Effects) -> float:
    """The change with the strongest colour: the largest, but at least what may be noise, which is to look like it."""
    return max(effects.noise, *(abs(change) for node in effects.changes for change in node.values())) or 1.0


def draw_effect_row(axes: "Axes", effects: Effects, name: str, grid: Grid, y: float) -> None:
    """One operation at every node that may have it; a frame marks where it was chosen."""
    from matplotlib import colormaps  # noqa: PLC0415 - slow to import

    scale = scale_of(effects)
    for node, (changes, chosen) in enumerate(zip(effects.changes, effects.chosen, strict=True)):
        if name not in changes:
            continue
        change, centre = changes[name], (grid.x(node), y)
        strength = change / scale
        draw_box(axes, centre, (EFFECT - 0.04,) * 2, colormaps[COLOURS]((strength + 1) / 2), radius=0.03)
        colour = "white" if abs(strength) > STRONG else INK
        axes.text(*centre, points(change), ha="center", va="center", color=colour, fontsize=8)
        if name == chosen:
            draw_frame(axes, centre)


def points(change: float) -> str:
    """A change of a share in percent points, as short as cells need it."""
    value = PERCENT * change
    text = f"{value:+.0f}" if abs(value) >= FAINT else f"{value:+.1f}"
    return "0" if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def draw_frame(axes: "Axes", centre: tuple[float, float]) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    side = EFFECT - 0.04
    corner = centre[0] - side / 2, centre[1] - side / 2
    axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=INK, linewidth=1.8, zorder=4))


def draw_scale(axes: "Axes", left: float, scale: float, noise: float) -> None:
    """What colours mean, below the map."""
    from matplotlib import colormaps  # noqa: PLC0415

    width, y = SCALE_WIDTH / SCALE_STEPS, -0.25
    for step in range(SCALE_STEPS):
        colour = colormaps[COLOURS](step / (SCALE_STEPS - 1))
        draw_box(axes, (left + width * (step + 0.5), y), (width * 1.1, 0.14), colour, radius=0.0)
    for share, change in ((0.0, -scale), (0.5, 0.0), (1.0, scale)):
        x = left + SCALE_WIDTH * share
        axes.text(x, y - 0.2, points(change), ha="center", va="center", color=PALE_INK, fontsize=8)
    note = f"change in percent points, below {PERCENT * noise:.1f} perhaps noise; framed: found"
    axes.text(left, y - 0.42, note, va="center", color=PALE_INK, fontsize=8)


def draw_agreement(agreed: Agreement, path: Path) -> None:
    """Draw what every search chose, node by node, and below it the share of pairs that agree, and what chance gives."""
    found, genotype = by_strategy(agreed.found), agreed.found[0].genotype
    styles = operation_styles(name for run in found for name in run.operations)
    left = MARGIN + CHARACTER * max(len(name_of(run)) for run in found) + 0.2
    grid = Grid(left, len(genotype.encoder), len(genotype.decoder), PITCH)
    width = max(grid.right + MARGIN + 0.3, SMALLEST_WIDTH)
    bottom, height = -legend_height(styles, width), ROW * len(found)
    base = 0.35
    rows = base + BAR_HEIGHT + 0.25
    axes = new_axes(width, bottom, rows + height + HEADER - 0.3)
    draw_legend(axes, styles, width)
    grid.draw_header(axes, rows + height)
    for number, run in enumerate(found):
        y = rows + height - ROW * (number + 0.5)
        axes.text(MARGIN, y, name_of(run), va="center", color=INK, fontsize=10, parse_math=False)
        for node, name in enumerate(run.operations):
            draw_cell(axes, grid.x(node), y, styles[name])
    draw_shares(axes, agreed, grid, base)
    axes.figure.savefig(path, dpi=DOTS_PER_INCH)


def by_strategy(found: Sequence[Found]) -> list[Found]:
    """Those of one strategy together, strategies in order of first appearance."""
    order = list(dict.fromkeys(run.strategy for run in found))
    return sorted(found, key=lambda run: order.index(run.strategy))


def name_of(run: Found) -> str:
    return f"{run.name} ({run.strategy})"


def draw_shares(axes: "Axes", agreed: Agreement, grid: Grid, base: float) -> None:
    """A bar a node from `base` upwards, full height where all pairs agree, and what chance would give as a line."""
    label = f"pairs that agree\n{fmean(agreed.nodes):.0%} on average\nchance: {fmean(agreed.chance):.0%} (line)"
    axes.text(MARGIN, base + BAR_HEIGHT / 2, label, va="center", color=INK, fontsize=9)
    for node, (share, chance) in enumerate(zip(agreed.nodes, agreed.chance, strict=True)):
        x, more = grid.x(node), share > chance
        draw_box(axes, (x, base + BAR_HEIGHT / 2), (CELL, BAR_HEIGHT), INPUT_COLOUR, radius=0.0)
        size = (CELL, BAR_HEIGHT * share)
        draw_box(axes, (x, base + size[1] / 2), size, INK if more else PALE_INK, radius=0.0)
        y = base + BAR_HEIGHT * chance
        axes.plot([x - PITCH / 2, x + PITCH / 2], [y, y], color="#EE6677", linewidth=1.6, zorder=3)
        axes.text(x, base - 0.12, f"{share:.0%}", ha="center", va="center", color=PALE_INK, fontsize=6)


def new_axes(width: float, bottom: float, top: float) -> "Axes":
    """Bare axes in inches of a new figure."""
    return inch_axes(new_figure(width, top - bottom), bottom, top)


def new_figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure  # noqa: PLC0415

    return Figure(figsize=(width, height), facecolor="white")
