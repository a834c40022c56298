"""A handful of test pictures of `scenes`, each with texts to try."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from PIL import Image

from ..data.scenes import load_scenes

SHOWN = range(0, 40, 5)  # far enough apart that no two are near-duplicates
IMAGES = {"test": SHOWN.stop}
CAPTIONS = 5  # to rank for a picture: its own and some other pictures'
#: Kinds of texts in turn: with geometry and without, but none about direction, which no published network can see.
GROUPS = ("direction-free", "none")

Row = Mapping[str, Any]


class Example(NamedTuple):
    """A picture, a question and a referring expression about it, and captions, the first of which is its own."""

    picture: Image.Image
    question: str
    expression: str
    captions: list[str]


def load_examples() -> list[Example]:
    """The bundled pictures; the first call generates them in a few seconds, later ones read the cache."""
    data = {task: load_scenes(task, images=IMAGES, num_proc=1) for task in ("vqa", "vgd", "itm")}
    pictures = [data["vqa"].images[index] for index in SHOWN]
    names = [picture["image_id"] for picture in pictures]
    texts = {task: by_image(data[task].texts["test"], names) for task in data}
    captions = [shortest(texts["itm"][name]) for name in names]
    return [
        Example(
            picture["image"].convert("RGB"),
            first_of(texts["vqa"][name], number)["question"].replace(" ?", "?"),
            first_of(texts["vgd"][name], number)["expression"],
            [captions[(number + step) % len(names)] for step in range(CAPTIONS)],
        )
        for number, (name, picture) in enumerate(zip(names, pictures, strict=True))
    ]


def by_image(rows: Iterable[Row], names: Iterable[str]) -> dict[str, list[Row]]:
    """The rows about each of some images."""
    found = defaultdict(list)
    for row in rows:
        found[row["image_id"]].append(row)
    return {name: found[name] for name in names}


def first_of(rows: list[Row], number: int) -> Row:
    """The first text of the group whose turn it is, or of all."""
    return next((row for row in rows if row["group"] == GROUPS[number % len(GROUPS)]), rows[0])


def shortest(rows: list[Row]) -> str:
    return min((row["caption"] for row in rows), key=len)
