"""The folder of a comparison: begun once, continued with the same settings only, and what the end leaves in it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..cli import make_room, try_folder
from ..errors import InputError
from ..files import RECORD_FILE, read_json, write_json, write_text
from ..privacy import portable
from ..training import TrainArguments
from .pictures import draw_comparison, draw_correlation
from .report import markdown

#: Flags that no cell's result depends on: more may be asked for later, or the same be run in another way.
FREE = {
    *("strategies", "seeds", "random_architectures", "rank_correlation", "text_only", "jobs", "strategy", "gates"),
    *("output_dir", "overwrite", "resume", "disable_tqdm", "data_dir", "run_name", "report_to", "push_to_hub"),
}
FREE_STARTS = ("ddp_", "fsdp", "hub_", "log", "save_", "eval_s", "dataloader_")
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


def claim_contest(folder: Path, overwrite: bool) -> None:
    """Make sure that a folder may be written: it is new, or holds a comparison that goes on."""
    if folder.exists() and (overwrite or not is_begun(folder)):
        make_room(folder, overwrite)
    try_folder(folder)


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
