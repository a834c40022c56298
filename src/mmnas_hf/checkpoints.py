"""Checkpoints that are whole or not there: written beside, sealed by a manifest, then renamed, and found again.

A manifest lists what its folder holds. It is written last, once everything else has reached the disk, so that a folder
without one, or with other files than it lists, was cut short or damaged.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from .connections import is_lost_connection
from .errors import InputError, RunError, first_line
from .files import read_json, write_json

MANIFEST_FILE = "manifest.json"
MEGABYTE = 2**20
WRITE_ERRORS = (OSError, RuntimeError, SafetensorError)  # torch and safetensors have errors of their own
STAGING_FOLDER = ".saving"  # in a run's folder: a checkpoint that is being written

logger = logging.getLogger(__name__)


def seal(folder: Path) -> None:
    """Write the manifest of a folder whose files are complete, and bring all of it to the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST_FILE)
    for path in files:
        flush(path)
    write_json(folder / MANIFEST_FILE, {"files": {str(path.relative_to(folder)): describe(path) for path in files}})
    flush(folder / MANIFEST_FILE)
    flush(folder)


def describe(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def flush(path: Path) -> None:
    """Have the system write a file or folder to the disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(staged: Path, place: Path) -> None:
    """Give a sealed checkpoint its place; what is there already, a damaged one or one of an earlier try, goes."""
    if place.exists():
        place.replace(staged.with_name("replaced"))
    staged.replace(place)
    flush(place.parent)
    shutil.rmtree(staged.parent)


def fault(checkpoint: Path) -> str | None:
    """Why a checkpoint cannot be used; none if it is as it was written."""
    try:
        listed = read_json(checkpoint / MANIFEST_FILE)["files"]
        changed = [name for name, file in listed.items() if describe(checkpoint / name) != file]
    except (InputError, KeyError):
        return f"it has no {MANIFEST_FILE} that can be read"
    except OSError as error:
        return str(error)
    return f"{changed[0]} is not what was written" if changed else None


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, whole or not, by step."""
    steps = {path: path.name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-") for path in folder.glob("*-*") if path.is_dir()}
    return sorted((path for path, step in steps.items() if step.isdecimal()), key=lambda path: int(steps[path]))


def forget_later_checkpoints(folder: Path, checkpoint: Path) -> None:
    """Remove the checkpoints of a run after the one that it goes on from, which is its own."""
    own = list_checkpoints(folder)
    places = [path.resolve() for path in own]
    if checkpoint.resolve() in places:
        for later in reversed(own[places.index(checkpoint.resolve()) + 1 :]):
            shutil.rmtree(later)


def newest_good(folder: Path) -> Path | None:
    """The last checkpoint of a run that is whole; those after it are reported."""
    for checkpoint in reversed(list_checkpoints(folder)):
        problem = fault(checkpoint)
        if problem is None:
            return checkpoint
        logger.warning("%s is left out: %s", checkpoint, problem)
    return None


def check(checkpoint: Path) -> Path:
    """The same checkpoint, if it is one and whole."""
    if not (checkpoint / TRAINER_STATE_NAME).is_file():
        raise InputError(f"no checkpoint to resume from: {checkpoint}; give checkpoint-N's path, or last")
    problem = fault(checkpoint)
    if problem is not None:
        raise InputError(f"{checkpoint} is damaged: {problem}; --resume finds the newest whole checkpoint")
    return checkpoint


def what_is_safe(folder: Path) -> str:
    """Where a run that stops can go on from, in words."""
    checkpoint = newest_good(folder)
    return "there is no checkpoint yet" if checkpoint is None else f"{checkpoint} is whole"


@contextmanager
def writing(path: Path, folder: Path) -> Iterator[None]:
    """Turn what stops a write, such as a full disk, into a `RunError` that says what is safe in the run's folder."""
    try:
        yield
    except WRITE_ERRORS as error:
        if isinstance(error, (RunError, torch.OutOfMemoryError)) or is_lost_connection(error):
            raise
        free = shutil.disk_usage(folder).free / MEGABYTE  # torch does not say that a disk is full
        shutil.rmtree(folder / STAGING_FOLDER, ignore_errors=True)
        raise RunError(
            f"{path} cannot be written: {first_line(error)} ({free:.1f} MB free); {what_is_safe(folder)}; "
            "make room or make the folder writable, then go on with --resume"
        ) from error
