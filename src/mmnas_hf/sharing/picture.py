"""A picture that compares architectures node by node: one row an architecture, one colour an operation."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..drawing import (
    CELL,
    DOTS_PER_INCH,
    INK,
    INPUT_COLOUR,
    MARGIN,
    PALE_INK,
    PITCH,
    OperationStyle,
    draw_box,
    draw_cell,
    draw_legend,
    inch_axes,
    legend_height,
    operation_styles,
)
from ..errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Sizes in inches.
ROW, HEADER, LEGEND_GAP = 0.4, 0.7, 0.15
SIDE_GAP, SIDE_WIDTH = 0.45, 1.1
CHARACTER, LONGEST_NAME = 0.088, 40
SCORE_WIDTH, SCORE_TEXT, BAR = 1.3, 0.55, 0.18
SMALLEST_WIDTH = 7.0


class GalleryRow(NamedTuple):
    """An architecture as it is drawn: its name, the operation of every node, and its score by the measure's name."""

    name: str
    encoder: Sequence[str]
    decoder: Sequence[str]
    score: float | None = None
    measure: str = ""


class Columns(NamedTuple):
    """Where the parts of a row begin, from the left."""

    text: float
    regions: float
    score: float
    measure: float
    end: float


def draw_gallery(rows: Sequence[GalleryRow], path: str | Path) -> None:
    """Draw architectures of any depths below each other; the suffix of `path` gives the format."""
    if not rows:
        raise InputError("there is no architecture to draw; give at least one")
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import

    styles = operation_styles(operation for row in rows for operation in (*row.encoder, *row.decoder))
    columns = place_columns(rows)
    foot = -legend_height(styles, columns.end)
    top = LEGEND_GAP + HEADER + ROW * len(rows)
    axes = inch_axes(Figure(figsize=(columns.end, top - foot), facecolor="white"), foot, top)
    draw_legend(axes, styles, columns.end)
    draw_header(axes, rows, columns, top)
    scale = max(1.0, *(row.score or 0.0 for row in rows))
    for number, row in enumerate(rows):
        draw_row(axes, row, columns, top - HEADER - ROW * (number + 0.5), styles, scale)
    axes.figure.savefig(path, dpi=DOTS_PER_INCH)


def short(name: str) -> str:
    """A name that is too long loses its beginning."""
    return name if len(name) <= LONGEST_NAME else "…" + name[1 - LONGEST_NAME :]


def place_columns(rows: Sequence[GalleryRow]) -> Columns:
    text = MARGIN + CHARACTER * max(len(short(row.name)) for row in rows) + 0.2
    regions = text + max(SIDE_WIDTH, PITCH * max(len(row.encoder) for row in rows)) + SIDE_GAP
    score = regions + max(SIDE_WIDTH, PITCH * max(len(row.decoder) for row in rows)) + SIDE_GAP
    measure = score + SCORE_WIDTH + SCORE_TEXT
    end = measure + CHARACTER * max(len(row.measure) for row in rows) + MARGIN
    return Columns(text, regions, score, measure, max(end, SMALLEST_WIDTH))


def draw_header(axes: "Axes", rows: Sequence[GalleryRow], columns: Columns, top: float) -> None:
    """The sides' names and the nodes' numbers above the rows."""
    for title, left, depth in (
        ("text nodes", columns.text, max(len(row.encoder) for row in rows)),
        ("region nodes", columns.regions, max(len(row.decoder) for row in rows)),
    ):
        axes.text(left, top - 0.25, title, va="center", color=INK, fontsize=11, fontweight="bold")
        for number in range(depth):
            x = left + PITCH * number + CELL / 2
            axes.text(x, top - 0.55, str(number + 1), ha="center", va="center", color=PALE_INK, fontsize=8)
    axes.text(columns.score, top - 0.25, "score", va="center", color=INK, fontsize=11, fontweight="bold")


def draw_row(
    axes: "Axes", row: GalleryRow, columns: Columns, y: float, styles: dict[str, OperationStyle], scale: float
) -> None:
    """One architecture: its name, its nodes, and its score as a bar whose full length is `scale`."""
    axes.text(MARGIN, y, short(row.name), va="center", color=INK, fontsize=10, parse_math=False)
    for left, operations in ((columns.text, row.encoder), (columns.regions, row.decoder)):
        for number, operation in enumerate(operations):
            draw_cell(axes, left + PITCH * number + CELL / 2, y, styles[operation])
    if row.score is None:
        return
    for colour, length in ((INPUT_COLOUR, SCORE_WIDTH), (PALE_INK, SCORE_WIDTH * max(0.0, row.score) / scale)):
        draw_box(axes, (columns.score + length / 2, y), (length, BAR), colour, radius=0.0)
    axes.text(columns.score + SCORE_WIDTH + 0.06, y, f"{row.score:.3f}", va="center", color=INK, fontsize=10)
    axes.text(columns.measure, y, row.measure, va="center", color=PALE_INK, fontsize=9, parse_math=False)
