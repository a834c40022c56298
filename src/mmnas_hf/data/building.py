"""Builds a table folder from a folder of downloads: texts, regions, settings and a data card."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset

from ..errors import InputError, first_line
from ..files import write_json
from .card import write_card
from .folder import IMAGES, SETTINGS_FILE, load_settings, save_texts
from .published import Publication, find_files
from .regions import Report, convert, open_regions
from .regions.shards import DRAFT, read_shard
from .table import column_of


class Built(NamedTuple):
    """What a build made: the texts of every split, and numbers about the images."""

    texts: Mapping[str, Dataset]
    images: Report


def build(
    publication: Publication,
    downloads: Path,
    regions: Sequence[Path],
    folder: Path,
    form: str | None = None,
    boxes: str | None = None,
    limit: int | None = None,
    num_proc: int = 1,
    place: str | None = None,
) -> Built:
    """Read a publication's texts, convert the regions of all images they speak of, and write both as a table folder.

    `regions` are files or folders of region features; `form` and `boxes` as of `open_regions`. `limit` keeps so many
    texts of each split. `place` is the name on the Hub that the card shows, by default it shows the folder's. Running
    again continues an interrupted conversion and notices changed sources.
    """
    check_folder(folder, publication)
    texts = publication.read(find_files(publication, downloads))
    if limit is not None:
        texts = {split: rows.select(range(min(limit, len(rows)))) for split, rows in texts.items()}
    sources = [open_regions(path, form, boxes) for path in regions]
    wanted = frozenset(image for rows in texts.values() for image in np.unique(column_of(rows, "image_id").astype(str)))
    settings = {"publication": publication.name, "task": publication.task, "splits": roles(publication, texts)}
    images = convert(sources, folder, wanted, num_proc)
    try:
        write_json(folder / SETTINGS_FILE, settings)  # from now on it is a build's
        save_texts(texts, folder, publication.task)
        write_card(folder, publication, texts, images, place)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written: {first_line(error)}; images are kept, so make room and run the same again"
        ) from None
    return Built(texts, images)


def check_folder(folder: Path, publication: Publication) -> None:
    """Raise `InputError` if the folder holds anything but an earlier build of this publication."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"output_dir {folder} is a file; give a folder")
    there = load_settings(folder).get("publication")
    if there is None and not is_unfinished(folder):
        raise InputError(f"output_dir {folder} holds files that are no build's; give another folder")
    if there not in (None, publication.name):
        raise InputError(f"output_dir {folder} holds {there}; give another folder for {publication.name}")


def is_unfinished(folder: Path) -> bool:
    """Whether a folder holds nothing but what a build leaves that is stopped while it converts images."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return all(path.suffix == DRAFT or (path.parent == folder / IMAGES and read_shard(path)) for path in files)


def roles(publication: Publication, texts: Mapping[str, Any]) -> dict[str, str]:
    """Which split is for what, as far as they are there; several may be joined, as in train+val."""
    chosen = {
        role: "+".join(split for split in splits.split("+") if split in texts)
        for role, splits in publication.splits.items()
    }
    return {role: splits for role, splits in chosen.items() if splits}
