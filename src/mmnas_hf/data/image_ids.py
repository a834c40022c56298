"""One name for an image, whichever file speaks of it."""

import re
from pathlib import PurePath

SUFFIXES = (".npz", ".npy", ".jpg", ".jpeg", ".png")
NUMBERED = re.compile(r"(?:COCO_\w+?_)?0*(\d+)")


def image_id_of(name: str | int) -> str:
    """The image's id in a table, from its number or the name of its file.

    `COCO_train2014_000000458752.jpg.npz`, `000000458752.jpg` and `458752` are the same image, "458752"; a name that is
    no number stays, without its folder and suffixes.
    """
    stem = PurePath(str(name)).name
    while stem.lower().endswith(SUFFIXES):
        stem = PurePath(stem).stem
    numbered = NUMBERED.fullmatch(stem)
    return numbered[1] if numbered else stem
