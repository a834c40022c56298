"""The folder of a comparison: begun once, continued by one at a time with the same settings and data, and reported."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..cli.folders import make_room, try_folder
from ..corpus import Corpus
from ..data.fingerprint import data_fingerprint
from ..errors import InputError
from ..files import DRAFT_SUFFIX, RECORD_FILE, read_json, write_json, write_text
from ..privacy import portable
from ..training import TrainArguments
from .pictures import draw_comparison, draw_correlation
from .report import markdown

#: Flags that no cell's result depends on: more may be asked for later, or the same be run in another way.
FREE = {
    *("strategies", "seeds", "random_architectures", "rank_correlation", "text_only", "jobs", "strategy", "gates"),
    *("output_dir", "overwrite", "resume", "disable_tqdm", "data_dir", "run_name", "report_to", "push_to_hub"),
    *("dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers"),
    *("dataloader_prefetch_factor", "dataloader_multiprocessing_context"),
}
FREE_STARTS = ("ddp_", "fsdp", "hub_", "log", "save_", "eval_s")
LOCK_FILE = f"lock{DRAFT_SUFFIX}"  # a folder with nothing but drafts counts as empty
RESULT_FILE, TABLE_FILE = "comparison.json", "comparison.md"
PICTURE_FILE, CORRELATION_FILE = "comparison.png", "rank_correlation.png"


def check_settings(folder: Path, args: TrainArguments, *others: Any) -> None:
    """Raise `InputError` if a folder holds a comparison that was begun with other settings."""
    if not is_begun(folder):
        return
    began = flat(read_json(folder / RECORD_FILE).get("arguments", {}))
    asked = {type(part).__name__: asdict(part) for part in others} | {type(args).__name__: args.to_dict()}
    for name, value in flat(portable(json.loads(json.dumps(asked, default=str)))).items():
        if name not in FREE and not name.startswith(FREE_STARTS) and began.get(name, value) != value:
            raise InputError(
                f"{name} {value!r}: output_dir {folder} was begun with {began[name]!r}; "
                "give that, another folder, or --overwrite"
            )


def check_data(folder: Path, corpus: Corpus) -> None:
    """Raise `InputError` if a folder holds a comparison that was begun with other data, of which cells are results."""
    began = (read_json(folder / RECORD_FILE).get("fingerprint") if is_begun(folder) else None) or {}
    now = data_fingerprint(corpus.splits, corpus.store) if began else {}
    if changed := [name for name in began | now if began.get(name) != now.get(name)]:
        raise InputError(
            f"data: output_dir {folder} was begun with others ({', '.join(changed)} differ); "
            "give those, another folder, or --overwrite"
        )


@contextmanager
def claimed(folder: Path, overwrite: bool) -> Iterator[None]:
    """Keep a folder for this process alone, which is new or holds a comparison that goes on.

    Raises `InputError` if another process has it.
    """
    if (folder / LOCK_FILE).exists():  # whoever has it is not to lose what is deleted next
        with locked(folder):
            pass
    if folder.exists() and (overwrite or not is_begun(folder)):
        make_room(folder, overwrite)
    try_folder(folder)
    with locked(folder):
        yield


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which is free again when this process ends, however it ends."""
    with (folder / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"output_dir {folder}: another comparison is running there; wait for it, or give another folder"
            ) from None
        yield


def is_begun(folder: Path) -> bool:
    return (folder / RECORD_FILE).is_file()


def flat(arguments: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: value for part in arguments.values() for name, value in part.items()}


def write_report(folder: Path, result: dict[str, Any]) -> None:
    """Write the report as data, as a table and as pictures."""
    write_json(folder / RESULT_FILE, result)
    write_text(folder / TABLE_FILE, markdown(result))
    draw_comparison(result, folder / PICTURE_FILE)
    if result["rank_correlation"]:
        draw_correlation(result["rank_correlation"], result["metric"], folder / CORRELATION_FILE)
