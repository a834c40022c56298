"""The folder of a run: made, found to be one, gone on with or deleted."""

import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile

from ..checkpoints import check as check_checkpoint
from ..checkpoints import list_checkpoints, newest_good
from ..errors import InputError
from ..files import DRAFT_SUFFIX, RECORD_FILE, RESULTS_FILE
from ..launches import first_decides
from ..training import TrainArguments
from .screen import show


def claim_folder(args: TrainArguments, overwrite: bool, resume: bool = False) -> None:
    """Make sure that `args.output_dir` may be written, and find the checkpoint that is asked to be resumed from.

    A folder with files in it is refused unless resuming or overwriting is asked; overwriting deletes the run it holds.
    The first process does it for all.
    """
    folder, asked = Path(args.output_dir), args.resume_from_checkpoint
    args.resume_from_checkpoint = first_decides(args, partial(claim, folder, asked, overwrite, resume))


def claim(folder: Path, asked: str | None, overwrite: bool, resume: bool) -> str | None:
    """Make a folder ready for a run, and return the checkpoint that the run goes on from, if any."""
    chosen = choose_checkpoint(folder, asked, resume)
    if resume and chosen is None:
        show(f"no checkpoint in {folder} yet: starting from the beginning")
    goes_on = chosen is not None and Path(chosen).resolve().parent == folder.resolve()
    if not goes_on and folder.exists():
        make_room(folder, overwrite or (resume and chosen is None and not (folder / RESULTS_FILE).exists()))
    try_folder(folder)
    return chosen


def choose_checkpoint(folder: Path, asked: str | None, resume: bool) -> str | None:
    """The checkpoint to go on from, which must be there if it is asked for; `resume` takes the newest whole one."""
    if asked is not None and asked.lower() not in ("last", "true"):
        return str(check_checkpoint(Path(asked)))
    if asked is None and not resume:
        return None
    newest = newest_good(folder)
    if newest is None and (asked is not None or list_checkpoints(folder)):
        raise InputError(f"no checkpoint to resume from: none in {folder} is whole; give a path, or --overwrite")
    return None if newest is None else str(newest)


def make_room(folder: Path, overwrite: bool) -> None:
    if not folder.is_dir():
        raise InputError(f"output_dir {folder} is a file; give a folder")
    if all(path.suffix == DRAFT_SUFFIX for path in folder.iterdir()):
        return
    if not overwrite:
        raise InputError(f"output_dir {folder} already holds a run; give another folder, --resume, or --overwrite")
    if not (folder / RECORD_FILE).is_file():
        raise InputError(f"output_dir {folder} holds files that are no run's; give another folder")
    delete_run(folder)


def delete_run(folder: Path) -> None:
    """Empty a run's folder, last of what says that it is one: a deletion that was cut short can be taken up.

    The folder stays, which may be a link or the place of a disk.
    """
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != RECORD_FILE:
            path.unlink()
    (folder / RECORD_FILE).unlink()


def try_folder(folder: Path) -> None:
    """Make a run's folder and see that files can be made in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"output_dir {folder} cannot be written: {error.strerror}; give another folder") from None
