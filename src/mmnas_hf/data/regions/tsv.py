"""Bottom-up-attention's TSV: one line an image, arrays as base64 of float32; also LXMERT's, with more columns."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...cache import fingerprint
from ...errors import InputError, first_line
from ..image_ids import image_id_of
from .fields import decode, shape_regions
from .source import PIXEL, FileSource, ImageRegions, Part, Wanted

PART_BYTES = 128 * 2**20
# By the number of columns, since the files have no header.
COLUMNS = {
    len(names): names
    for names in (
        ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features"),
        (
            "image_id",
            "image_h",
            "image_w",
            "objects_id",
            "objects_conf",
            "attrs_id",
            "attrs_conf",
            "num_boxes",
            "boxes",
            "features",
        ),
    )
}


class Lines(NamedTuple):
    """The lines of a file that begin from one byte up to another."""

    file: Path
    start: int
    end: int
    wanted: Wanted


class TsvSource(FileSource):
    """A TSV file, or a folder of them (`*.tsv`, and `*.tsv.0` as they are published); a part is a range of bytes."""

    description = "a .tsv of bottom-up attention or LXMERT, or a folder of them"
    defined_boxes = PIXEL

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return any(is_tsv(file) for file in files_of(path))

    def parts(self, wanted: Wanted) -> list[Part]:
        chosen = "all" if wanted is None else fingerprint(*sorted(wanted))
        ranges = [
            Lines(file, start, start + PART_BYTES, wanted)
            for file in files_of(self.path)
            for start in range(0, file.stat().st_size, PART_BYTES)
        ]
        return [Part(one.file.name, fingerprint(one.file, f"{one.start}-{one.end}", chosen), one) for one in ranges]

    def read(self, part: Part) -> Iterator[ImageRegions]:
        lines: Lines = part.content
        with lines.file.open("rb") as file:
            if lines.start:  # the line that holds the byte before begins in the range before
                file.seek(lines.start - 1)
                file.readline()
            while (start := file.tell()) < lines.end and (line := file.readline()):
                image_id = image_id_of(line.partition(b"\t")[0].decode(errors="replace"))
                if line.strip() and (lines.wanted is None or image_id in lines.wanted):
                    yield parse(line, image_id, lines.file, start)


def files_of(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(filter(is_tsv, path.iterdir()))


def is_tsv(path: Path) -> bool:
    return ".tsv" in path.suffixes[-2:] and path.is_file()


def parse(line: bytes, image_id: str, file: Path, start: int) -> ImageRegions:
    """One image of a line that begins at byte `start`."""
    try:
        values = line.rstrip(b"\r\n").split(b"\t")
        if len(values) not in COLUMNS:
            raise ValueError(f"{len(values)} columns; known: {' or '.join(map(str, COLUMNS))}")
        row = dict(zip(COLUMNS[len(values)], values, strict=True))
        boxes, features = shape_regions(decode(row["boxes"]), decode(row["features"]))
        if len(boxes) != int(row["num_boxes"]):
            raise ValueError(f"{len(boxes)} boxes, where num_boxes is {int(row['num_boxes'])}")
        return ImageRegions(image_id, int(row["image_w"]), int(row["image_h"]), boxes, features)
    except ValueError as error:
        reason = f"is no image: {first_line(error)}; was the file copied whole?"
        raise InputError(f"{file}, line {line_number(file, start)} {reason}") from None


def line_number(file: Path, start: int) -> int:
    """The number, from 1, of the line that begins at a byte."""
    number = 1
    with file.open("rb") as lines:
        while lines.tell() < start:
            lines.readline()
            number += 1
    return number
