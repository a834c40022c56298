"""Drawings of an architecture and of its search, from plain lists and dictionaries."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle, pairwise
from math import ceil, log
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import InputError
from .genotype import LETTERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[float, float]

DOTS_PER_INCH = 150
LINE_WIDTH = 1.3  # points
INK, PALE_INK, INPUT_COLOUR = "#333333", "#8A8F98", "#ECEEF2"
DARK_TEXT_FROM = 0.62  # luminance, 0 to 1
GUIDED = "guided_att_64"

# Paul Tol's "bright" colours, which colour-blind readers can tell apart.
KNOWN_OPERATIONS = {
    "self_att_64": ("self attention", "#4477AA"),
    "rel_self_att_64": ("relation self attention", "#228833"),
    "guided_att_64": ("guided attention", "#EE6677"),
    "feed_forward": ("feed forward", "#CCBB44"),
    "identity": ("identity", "#BBBBBB"),
    "signed_rel_self_att_64": ("signed relation self attention", "#AA3377"),
}
OTHER_COLOURS = ("#66CCEE", "#EE7733", "#009988", "#997700", "#EEAABB", "#663333")

# Sizes of an architecture's drawing in inches.
NODE_SIZE, NODE_PITCH = 0.46, 0.64
INPUT_WIDTH, INPUT_X, FIRST_NODE_X = 0.74, 1.5, 2.4
HEAD_WIDTH, MARGIN = 0.46, 0.25
REGION_ROW, TEXT_ROW, RAIL = 0.82, 2.12, 1.5
LEGEND_ROW, LEGEND_GAP, CHARACTER_WIDTH = 0.34, 0.7, 0.068

# Sizes of a node in pictures that compare architectures, in inches.
CELL, PITCH = 0.3, 0.34

# Sizes of a search's drawing in inches.
PANEL_WIDTH, PANEL_HEIGHT, ENTROPY_HEIGHT = 1.9, 1.3, 2.3
MANY_NODES, MANY_COLUMNS, FEW_COLUMNS = 12, 6, 4
SIDE_COLOURS = {"text": "#33577B", "region": "#B5651D"}


class OperationStyle(NamedTuple):
    """How an operation looks in every drawing."""

    letter: str
    name: str
    colour: str


def operation_styles(operations: Iterable[str]) -> dict[str, OperationStyle]:
    """Styles of these operations, known ones first; unknown ones go by their own name and get a spare colour."""
    operations = set(operations)
    looks = {operation: look for operation, look in KNOWN_OPERATIONS.items() if operation in operations}
    unknown = sorted(operations - looks.keys())
    looks |= {operation: (operation, colour) for operation, colour in zip(unknown, cycle(OTHER_COLOURS), strict=False)}
    return {
        operation: OperationStyle(LETTERS.get(operation, operation[:1].upper()), name, colour)
        for operation, (name, colour) in looks.items()
    }


def draw_genotype(encoder: Sequence[str], decoder: Sequence[str], path: str | Path, title: str = "") -> None:
    """Draw an architecture: its text nodes above its region nodes, from the inputs to the task's head.

    `encoder` and `decoder` name the operation of each node; the suffix of `path` gives the format.
    """
    styles = operation_styles([*encoder, *decoder])
    text_nodes, region_nodes = _node_positions(encoder, TEXT_ROW), _node_positions(decoder, REGION_ROW)
    head = (FIRST_NODE_X + max(len(encoder), len(decoder)) * NODE_PITCH + 0.2, (TEXT_ROW + REGION_ROW) / 2)
    axes = _architecture_axes(head[0] + HEAD_WIDTH / 2 + MARGIN, styles, title)

    text_end = _draw_chain(axes, ("words", "LSTM"), text_nodes, head[0], TEXT_ROW)
    _draw_chain(axes, ("regions", "linear"), region_nodes, head[0], REGION_ROW)
    guided = [node for node, operation in zip(region_nodes, decoder, strict=True) if operation == GUIDED]
    _draw_guidance(axes, text_end, guided)
    _draw_nodes(axes, text_nodes, [styles[operation] for operation in encoder], number_offset=0.36)
    _draw_nodes(axes, region_nodes, [styles[operation] for operation in decoder], number_offset=-0.36)
    draw_box(axes, head, (HEAD_WIDTH, TEXT_ROW - REGION_ROW + NODE_SIZE), INPUT_COLOUR)
    axes.text(*head, "task head", rotation=90, ha="center", va="center", color=INK, fontsize=11)
    axes.figure.savefig(path, dpi=DOTS_PER_INCH)


def draw_probabilities(history: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw how the probability of each operation at each node changed in a search, and the nodes' entropy in nats.

    An entry is `{"step": int, "encoder": [{operation: probability}, ...], "decoder": [...]}`.
    """
    if not history:
        raise InputError("the history [] is empty; give at least one entry")
    history = _at_least_two(history)
    steps = [entry["step"] for entry in history]
    nodes = _named_nodes(history)
    styles = operation_styles(operation for node in nodes.values() for entry in node for operation in entry)
    figure, panels, entropy_panel = _probability_figure(len(nodes), styles)
    for axes, (name, node) in zip(panels, nodes.items(), strict=True):
        _draw_node_history(axes, name, steps, node, styles)
    _draw_entropy(entropy_panel, steps, nodes)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def _node_positions(operations: Sequence[str], row: float) -> list[Point]:
    return [(FIRST_NODE_X + index * NODE_PITCH, row) for index in range(len(operations))]


def _architecture_axes(width: float, styles: Mapping[str, OperationStyle], title: str) -> "Axes":
    """Axes of a new figure in inches, the legend below zero and the title above the text row."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    foot = -legend_height(styles, width)
    top = TEXT_ROW + (0.95 if title else 0.55)
    axes = inch_axes(Figure(figsize=(width, top - foot), facecolor="white"), foot, top)
    axes.text(MARGIN, top - 0.28, title, va="center", color=INK, fontsize=13, fontweight="bold")
    draw_legend(axes, styles, width)
    return axes


def inch_axes(figure: "Figure", bottom: float, top: float) -> "Axes":
    """Bare axes in inches over the upper part of a figure, `bottom` and `top` being their y limits."""
    width, height = figure.get_size_inches()
    share = (top - bottom) / height
    axes = figure.add_axes((0, 1 - share, 1, share))
    axes.set(xlim=(0, width), ylim=(bottom, top))
    axes.axis("off")
    return axes


def _legend_positions(styles: Mapping[str, OperationStyle], width: float) -> list[tuple[float, int]]:
    """Left edge and line of each legend entry, broken into lines of this width."""
    positions, left, line = [], MARGIN, 0
    for style in styles.values():
        entry_width = LEGEND_GAP + CHARACTER_WIDTH * len(style.name)
        if positions and left + entry_width > width:
            left, line = MARGIN, line + 1
        positions.append((left, line))
        left += entry_width
    return positions


def legend_height(styles: Mapping[str, OperationStyle], width: float) -> float:
    return LEGEND_ROW * (1 + max(line for _, line in _legend_positions(styles, width))) + 0.1


def draw_legend(axes: "Axes", styles: Mapping[str, OperationStyle], width: float) -> None:
    """Draw the legend downwards from y = 0."""
    for style, (left, line) in zip(styles.values(), _legend_positions(styles, width), strict=True):
        x, y = left + 0.13, -LEGEND_ROW * (line + 0.5)
        draw_box(axes, (x, y), (0.26, 0.24), style.colour, radius=0.05)
        axes.text(x, y, style.letter, ha="center", va="center_baseline", color=text_colour(style), fontsize=9)
        axes.text(x + 0.2, y, style.name, va="center_baseline", color=INK, fontsize=10)


def _draw_chain(axes: "Axes", names: tuple[str, str], nodes: Sequence[Point], head_x: float, row: float) -> Point:
    """Draw a chain's input and arrows up to the head; returns the point where its output may branch off."""
    name, embedding = names
    axes.text(MARGIN, row, name, va="center", color=INK, fontsize=11)
    draw_box(axes, (INPUT_X, row), (INPUT_WIDTH, NODE_SIZE), INPUT_COLOUR)
    axes.text(INPUT_X, row, embedding, ha="center", va="center", color=INK, fontsize=11)
    input_left, input_right = INPUT_X - INPUT_WIDTH / 2, INPUT_X + INPUT_WIDTH / 2
    lefts = [input_left, *(x - NODE_SIZE / 2 for x, _ in nodes), head_x - HEAD_WIDTH / 2]
    rights = [input_left - 0.2, input_right, *(x + NODE_SIZE / 2 for x, _ in nodes)]
    for right, left in zip(rights, lefts, strict=True):
        _draw_arrow(axes, (right, row), (left, row), INK)
    return rights[-1] + (NODE_PITCH - NODE_SIZE) / 2, row


def _draw_guidance(axes: "Axes", text_end: Point, guided: Sequence[Point]) -> None:
    """Draw the encoder's output down to a rail above the region nodes, and from there to each guided attention."""
    if not guided:
        return
    colour = KNOWN_OPERATIONS[GUIDED][1]
    ends = [text_end[0], *(x for x, _ in guided)]
    path = [text_end, (text_end[0], RAIL), (min(ends), RAIL), (max(ends), RAIL)]
    for (start_x, start_y), (end_x, end_y) in pairwise(path):
        axes.plot(
            [start_x, end_x], [start_y, end_y], color=colour, linewidth=LINE_WIDTH, solid_capstyle="round", zorder=1
        )
    axes.plot(*text_end, marker="o", markersize=5, color=colour, zorder=3)
    for x, row in guided:
        _draw_arrow(axes, (x, RAIL), (x, row + NODE_SIZE / 2), colour)


def _draw_nodes(axes: "Axes", centres: Sequence[Point], styles: Sequence[OperationStyle], number_offset: float) -> None:
    for number, ((x, y), style) in enumerate(zip(centres, styles, strict=True), start=1):
        draw_box(axes, (x, y), (NODE_SIZE, NODE_SIZE), style.colour)
        axes.text(
            x, y, style.letter, ha="center", va="center_baseline", color=text_colour(style), fontsize=15, weight="bold"
        )
        axes.text(x, y + number_offset, str(number), ha="center", va="center", color=PALE_INK, fontsize=8)


def draw_box(axes: "Axes", centre: Point, size: Point, colour: str, radius: float = 0.09) -> None:
    from matplotlib.patches import FancyBboxPatch  # noqa: PLC0415

    corner = centre[0] - size[0] / 2, centre[1] - size[1] / 2
    shape = f"round,pad=0,rounding_size={radius}"
    axes.add_patch(FancyBboxPatch(corner, *size, boxstyle=shape, facecolor=colour, edgecolor="none", zorder=2))


def draw_cell(axes: "Axes", x: float, y: float, style: OperationStyle) -> None:
    """Draw a node of a picture that compares architectures."""
    draw_box(axes, (x, y), (CELL, CELL), style.colour, radius=0.05)
    colour = text_colour(style)
    axes.text(x, y, style.letter, ha="center", va="center_baseline", color=colour, fontsize=10, weight="bold")


def _draw_arrow(axes: "Axes", start: Point, end: Point, colour: str) -> None:
    look = {"arrowstyle": "-|>,head_length=0.35,head_width=0.18", "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=look | {"color": colour, "linewidth": LINE_WIDTH}, zorder=1)


def text_colour(style: OperationStyle) -> str:
    red, green, blue = (int(style.colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
    return INK if luminance > DARK_TEXT_FROM else "white"


def _at_least_two(history: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The history; that of a single step is drawn out by half a step each way, so that there is something to see."""
    if len({entry["step"] for entry in history}) > 1:
        return history
    return [{**entry, "step": entry["step"] + shift} for entry, shift in ((history[0], -0.5), (history[-1], 0.5))]


def _named_nodes(history: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, float]]]:
    """Each node's probabilities over time, by names such as "text 1" and "region 5"."""
    return {
        f"{side} {number}": list(over_time)
        for side, key in (("text", "encoder"), ("region", "decoder"))
        for number, over_time in enumerate(zip(*(entry[key] for entry in history), strict=True), start=1)
    }


def _probability_figure(node_count: int, styles: Mapping[str, OperationStyle]) -> tuple["Figure", list["Axes"], "Axes"]:
    """A figure with a legend, a grid of panels for the nodes below it, and a wide panel below them."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    columns = MANY_COLUMNS if node_count > MANY_NODES else FEW_COLUMNS
    rows = ceil(node_count / columns)
    width = columns * PANEL_WIDTH
    legend_space = legend_height(styles, width) + 0.1
    height = rows * PANEL_HEIGHT + ENTROPY_HEIGHT + legend_space
    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - legend_space / height))
    draw_legend(inch_axes(figure, -legend_space, 0.05), styles, width)
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[PANEL_HEIGHT] * rows + [ENTROPY_HEIGHT])
    panels = [figure.add_subplot(grid[divmod(index, columns)]) for index in range(node_count)]
    for index, axes in enumerate(panels):
        axes.tick_params(labelleft=index % columns == 0, labelbottom=index + columns >= node_count)
    return figure, panels, figure.add_subplot(grid[rows, :])


def _draw_node_history(
    axes: "Axes",
    name: str,
    steps: Sequence[float],
    over_time: Sequence[Mapping[str, float]],
    styles: Mapping[str, OperationStyle],
) -> None:
    """Stack the probabilities of a node's operations, the first style at the bottom."""
    present = [operation for operation in styles if any(operation in entry for entry in over_time)]
    curves = [[entry.get(operation, 0.0) for entry in over_time] for operation in present]
    colours = [styles[operation].colour for operation in present]
    axes.stackplot(steps, curves, colors=colours, edgecolor="white", linewidth=0.6)
    axes.set_title(name, fontsize=9, color=SIDE_COLOURS[name.partition(" ")[0]], pad=3)
    axes.set(xlim=(steps[0], steps[-1]), ylim=(0, 1), yticks=(0, 0.5, 1))
    plain_axes(axes, tick_count=2)


def _draw_entropy(axes: "Axes", steps: Sequence[float], nodes: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Draw each node's entropy thinly and the mean of each side boldly."""
    for side, colour in SIDE_COLOURS.items():
        curves = [[_entropy(entry) for entry in node] for name, node in nodes.items() if name.startswith(side)]
        for curve in curves:
            axes.plot(steps, curve, color=colour, linewidth=0.7, alpha=0.35)
        if curves:
            mean = [fmean(values) for values in zip(*curves, strict=True)]
            axes.plot(steps, mean, color=colour, linewidth=2.2, label=f"{side} nodes, mean")
    axes.set_xlim(steps[0], steps[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("step", color=INK)
    axes.set_ylabel("entropy [nats]", color=INK)
    axes.legend(frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, labelcolor=INK)
    plain_axes(axes, tick_count=8)


def _entropy(probabilities: Mapping[str, float]) -> float:
    return -sum(value * log(value) for value in probabilities.values() if value > 0)


def plain_axes(axes: "Axes", tick_count: int) -> None:
    axes.locator_params(axis="x", nbins=tick_count, integer=True, min_n_ticks=1)
    axes.tick_params(labelsize=8, colors=PALE_INK, length=2.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE_INK)
