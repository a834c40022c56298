"""A data set as a folder of Arrow files, which `datasets.load_dataset` reads too.

`images/*.arrow` are images with their regions, `TASK/SPLIT.arrow` a task's texts, `README.md` is the data card whose
header names them, and `dataset.json` tells which splits a run trains on and scores by default.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, concatenate_datasets

from ..errors import InputError, first_line
from .store import RegionStore
from .table import ImageTextData

IMAGES = "images"
SETTINGS_FILE = "dataset.json"
SUFFIX = ".arrow"
ROWS_A_BATCH = 32  # of an image table; small, so that neither writing nor reading holds much
TEXTS_A_BATCH = 1000


def load_folder(folder: Path, task: str) -> ImageTextData:
    """Open a folder that `save_folder` or `scripts/build_dataset.py` wrote; its files are memory-mapped."""
    texts = {path.stem: open_table([path]) for path in sorted((folder / task).glob(f"*{SUFFIX}"))}
    if not texts:
        raise InputError(f"no files {folder / task}/*{SUFFIX}: this folder has {tasks_of(folder) or 'no tasks'}")
    return ImageTextData(load_images(folder), texts)


def load_images(folder: Path) -> Dataset:
    """The table of images in a folder."""
    shards = sorted((folder / IMAGES).glob(f"*{SUFFIX}"))
    if not shards:
        raise InputError(f"no files {folder / IMAGES}/*{SUFFIX}; write the folder with mmnas_hf.data.save_folder")
    return open_table(shards)


def open_table(paths: list[Path]) -> Dataset:
    """Several Arrow files of the same columns as one table; whatever is wrong with one of them becomes one line."""
    return concatenate_datasets([open_file(path) for path in paths])


def open_file(path: Path) -> Dataset:
    try:
        return Dataset.from_file(str(path))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from error


def tasks_of(folder: Path) -> str:
    """The folders beside that of the images, as a list for a message."""
    return ", ".join(sorted({path.parent.name for path in folder.glob(f"*/*{SUFFIX}")} - {IMAGES}))


def load_settings(folder: Path) -> dict[str, Any]:
    """What `dataset.json` says: the name of the data set, its task, and the splits of each role."""
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from None


def save_folder(data: ImageTextData, folder: str | Path, task: str) -> None:
    """Write images and one task's texts where `--data FOLDER` finds them.

    Raises `InputError` for images that cannot be used, before anything is written.
    """
    RegionStore(data.images)
    write_table(data.images, Path(folder, IMAGES, f"{IMAGES}{SUFFIX}"), ROWS_A_BATCH)
    save_texts(data.texts, folder, task)


def save_texts(texts: Mapping[str, Dataset], folder: str | Path, task: str) -> None:
    """Write one task's texts; splits that were there before and are not now are removed."""
    for split, rows in texts.items():
        write_table(rows, Path(folder, task, f"{split}{SUFFIX}"), TEXTS_A_BATCH)
    for path in Path(folder, task).glob(f"*{SUFFIX}"):
        if path.stem not in texts:
            path.unlink()


def write_table(rows: Dataset, path: Path, batch_size: int) -> None:
    """Write an Arrow stream whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    try:
        with pa.OSFile(str(draft), "wb") as file, pa.ipc.new_stream(file, rows.features.arrow_schema) as writer:
            for batch in rows.with_format("arrow").iter(batch_size):
                writer.write_table(batch.cast(rows.features.arrow_schema))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
