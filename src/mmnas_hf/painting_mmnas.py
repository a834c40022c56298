"""Paints what a pipeline found onto its image."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageColor, ImageDraw, ImageEnhance, ImageFont

from .errors import InputError
from .regions_mmnas import open_picture

Record = Mapping[str, Any]
Box = Sequence[float]

SMALLEST = 480  # pixels of the longer side; smaller pictures are enlarged, or text would find no room
LINE_LETTERS = 24  # a letter is as high as the text is wide, divided by this
LINE_HEIGHT, MARGIN, GAP, THIN, BOLD = 1.4, 0.5, 0.35, 0.1, 0.2  # in letters
DIMMED = 0.45  # brightness of what is not attended to at all
WORD_COLOUR, HALO, INK, PAPER = "#ffb347", "white", "#222222", "white"
BOX_COLOURS = ("#d6006e", "#4477aa", "#228833", "#aa6600", "#66ccee", "#777777")


class Piece(NamedTuple):
    """Text in a row, from `x` on, over a colour."""

    x: float
    text: str
    colour: str | tuple[int, ...] = PAPER


Row = list[Piece]
Font = ImageFont.FreeTypeFont


def draw(image: Image.Image | Path | str, result: Record | Sequence[Record]) -> Image.Image:
    """A pipeline's result on its image: boxes outlined, answers or captions and scores written below.

    With attention, regions are the brighter and words the more coloured, the more they are attended to. `result` is
    what a pipeline returned for one input. Small images are enlarged.
    """
    records = [result] if isinstance(result, Mapping) else list(result)
    if not records or not all(isinstance(record, Mapping) for record in records):
        raise InputError("nothing to draw; give the records that a pipeline returned for one input")
    picture = open_picture(image)
    scale = max(1.0, SMALLEST / max(picture.size))
    canvas = picture.resize(tuple(round(side * scale) for side in picture.size), Image.Resampling.LANCZOS)
    font = ImageFont.load_default(max(canvas.width, SMALLEST) / LINE_LETTERS)
    if regions := records[0].get("regions"):
        canvas = dim(canvas, regions, scale)
    outline(canvas, [record["box"] for record in records if "box" in record], scale, font.size)
    return write_below(canvas, records, font)


def dim(canvas: Image.Image, regions: Sequence[Record], scale: float) -> Image.Image:
    """The canvas, dark where it is little attended to; where regions overlap, the larger weight counts."""
    light = Image.new("L", canvas.size)
    pen = ImageDraw.Draw(light)
    for share, box in sorted(zip(shares(regions), (region["box"] for region in regions), strict=True)):
        pen.rectangle(scaled(box, scale), fill=round(255 * share))
    return Image.composite(canvas, ImageEnhance.Brightness(canvas).enhance(DIMMED), light)


def shares(weighted: Sequence[Record]) -> list[float]:
    """Weights as shares of the largest."""
    largest = max(one["weight"] for one in weighted)
    return [one["weight"] / largest if largest else 0.0 for one in weighted]


def outline(canvas: Image.Image, boxes: Sequence[Box], scale: float, letter: float) -> None:
    """Outline boxes, the first one boldly and above the others."""
    pen, halo = ImageDraw.Draw(canvas), max(1, round(THIN * letter))
    for number, (box, colour) in reversed(list(enumerate(zip(boxes, cycle(BOX_COLOURS), strict=False)))):
        left, top, right, bottom = scaled(box, scale)
        width = round((THIN if number else BOLD) * letter)
        around = (left - halo, top - halo, right + halo, bottom + halo)
        pen.rectangle(around, outline=HALO, width=width + 2 * halo)
        pen.rectangle((left, top, right, bottom), outline=colour, width=width)


def scaled(box: Box, scale: float) -> tuple[float, ...]:
    return tuple(corner * scale for corner in box)


def write_below(canvas: Image.Image, records: Sequence[Record], font: Font) -> Image.Image:
    """The canvas on paper with the words, and a row or more a record, under it."""
    width, height, margin = max(canvas.width, SMALLEST), LINE_HEIGHT * font.size, MARGIN * font.size
    rows = list(word_rows(records[0].get("words", []), font, width - 2 * margin))
    for record, colour in zip(records, cycle(BOX_COLOURS), strict=False):
        rows += record_rows(record, colour, font, width - 2 * margin)
    paper = Image.new("RGB", (width, round(canvas.height + 2 * margin + height * len(rows))), PAPER)
    paper.paste(canvas, ((width - canvas.width) // 2, 0))
    pen = ImageDraw.Draw(paper)
    for number, row in enumerate(rows):
        for x, text, colour in row:
            corner = (margin + x, canvas.height + margin + number * height)
            end = (corner[0] + font.getlength(text), corner[1] + font.size * (LINE_HEIGHT - THIN))
            pen.rectangle((corner, end), fill=colour)
            pen.text((corner[0], corner[1] + THIN * font.size), text, fill=INK, font=font)
    return paper


def word_rows(words: Sequence[Record], font: Font, width: float) -> Iterator[Row]:
    """Words side by side, the more coloured the more weight they have."""
    row, x = [], 0.0
    for word, share in zip(words, shares(words) if words else [], strict=True):
        for part in split_word(f" {word['word']} ", font, width):
            if row and x + font.getlength(part) > width:
                yield row
                row, x = [], 0.0
            row.append(Piece(x, part, mix(PAPER, WORD_COLOUR, share)))
            x += font.getlength(part)
    yield from [row] if row else []


def mix(first: str, second: str, share: float) -> tuple[int, ...]:
    ends = zip(ImageColor.getrgb(first), ImageColor.getrgb(second), strict=True)
    return tuple(round(start + share * (end - start)) for start, end in ends)


def record_rows(record: Record, colour: str, font: Font, width: float) -> Iterator[Row]:
    """A record's score, after its box's colour, and what it says, in lines that fit."""
    row = [Piece(0.0, "   ", colour)] if "box" in record else []
    left = font.getlength("    ") if row else 0.0
    row.append(Piece(left, f"{record['score']:.2f}"))
    left += font.getlength("0.00") + GAP * font.size
    first, *others = wrap(str(record.get("answer", record.get("caption", ""))), font, width - left)
    yield [*row, Piece(left, first)]
    yield from ([Piece(left, line)] for line in others)


def wrap(text: str, font: Font, width: float) -> list[str]:
    """Lines, at least one, that are not wider than `width` pixels."""
    lines = [""]
    for part in (part for word in text.split() for part in split_word(word, font, width)):
        longer = f"{lines[-1]} {part}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


def split_word(word: str, font: Font, width: float) -> Iterator[str]:
    """A word, in parts if it is wider than `width` pixels."""
    while font.getlength(word) > width and len(word) > 1:
        letters = next((n for n in range(len(word), 1, -1) if font.getlength(word[:n]) <= width), 1)
        yield word[:letters]
        word = word[letters:]
    yield word
