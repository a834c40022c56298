"""Paints what a pipeline found onto its image."""

import textwrap
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops, ImageDraw, ImageFont

from .errors import InputError
from .regions_mmnas import open_picture

Record = Mapping[str, Any]
Box = Sequence[float]

SHORTEST_SIDE = 480  # smaller pictures are enlarged, or texts would not fit beside them
FONT_SIZE, LINE_HEIGHT, MARGIN = 20, 28, 10
CHARACTER_WIDTH = 0.55  # of the font's size, on average
ATTENTION_COLOUR, STRONGEST = "#ff9f1c", 150  # of 255, how much the most attended region is covered
BOX_COLOUR, OTHER_COLOUR, HALO, INK, PAPER = "#d6006e", "#7a7a7a", "white", "#222222", "white"
WIDE, NARROW, HALO_WIDTH = 4, 2, 2


def draw(image: Image.Image | Path | str, result: Record | Sequence[Record]) -> Image.Image:
    """A pipeline's result on its image: attended regions tinted, boxes outlined, the best in colour; texts below.

    `result` is what a pipeline returned for one input. Small images are enlarged.
    """
    records = [result] if isinstance(result, Mapping) else list(result)
    if not records or not all(isinstance(record, Mapping) for record in records):
        raise InputError("nothing to draw; give the records that a pipeline returned for one input")
    picture = open_picture(image)
    scale = ceil(SHORTEST_SIDE / min(picture.size)) if min(picture.size) < SHORTEST_SIDE else 1
    canvas = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.LANCZOS)
    tint_regions(canvas, records[0].get("regions", []), scale)
    outline_boxes(canvas, [record["box"] for record in records if "box" in record], scale)
    return write_below(canvas, [line for record in records for line in lines_of(record, canvas.width)])


def tint_regions(canvas: Image.Image, regions: Sequence[Record], scale: int) -> None:
    """Tint each region by its weight; where regions overlap, the larger weight counts."""
    strongest = max((region["weight"] for region in regions), default=0.0)
    if not strongest:
        return
    cover = Image.new("L", canvas.size)
    for region in regions:
        layer = Image.new("L", canvas.size)
        ImageDraw.Draw(layer).rectangle(
            scaled(region["box"], scale), fill=round(STRONGEST * region["weight"] / strongest)
        )
        cover = ImageChops.lighter(cover, layer)
    canvas.paste(ATTENTION_COLOUR, mask=cover)


def outline_boxes(canvas: Image.Image, boxes: Sequence[Box], scale: int) -> None:
    """Outline boxes, the first one boldly and above the others."""
    pen = ImageDraw.Draw(canvas)
    for box in boxes[:0:-1]:
        pen.rectangle(scaled(box, scale), outline=OTHER_COLOUR, width=NARROW)
    for box in boxes[:1]:
        left, top, right, bottom = scaled(box, scale)
        around = (left - HALO_WIDTH, top - HALO_WIDTH, right + HALO_WIDTH, bottom + HALO_WIDTH)
        pen.rectangle(around, outline=HALO, width=WIDE + 2 * HALO_WIDTH)
        pen.rectangle((left, top, right, bottom), outline=BOX_COLOUR, width=WIDE)


def scaled(box: Box, scale: int) -> tuple[float, float, float, float]:
    left, top, right, bottom = (corner * scale for corner in box)
    return left, top, right, bottom


def lines_of(record: Record, width: int) -> list[str]:
    """What a record says in words, in lines that fit."""
    text = next((str(record[name]) for name in ("answer", "caption", "expression") if name in record), "")
    score = f"{record['score']:.2f}" if "score" in record else ""
    return textwrap.wrap(f"{text}  {score}".strip(), int((width - 2 * MARGIN) / (CHARACTER_WIDTH * FONT_SIZE)))


def write_below(canvas: Image.Image, lines: Sequence[str]) -> Image.Image:
    """The canvas on paper with lines of text under it."""
    paper = Image.new("RGB", (canvas.width, canvas.height + 2 * MARGIN + LINE_HEIGHT * len(lines)), PAPER)
    paper.paste(canvas)
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(FONT_SIZE)
    for number, line in enumerate(lines):
        pen.text((MARGIN, canvas.height + MARGIN + number * LINE_HEIGHT), line, fill=INK, font=font)
    return paper
