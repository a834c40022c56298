"""The log of a search, a line an evaluation."""

import json
from pathlib import Path as FilePath
from typing import Any

from ..checkpoints import flush, writing
from ..files import write_text

LOG_FILE = "search_log.jsonl"
CHOSEN = "chosen"  # marks the entry of what was chosen after training


def append_entry(log: FilePath, entry: dict[str, Any]) -> None:
    """Add a line to a log, on the disk before any checkpoint that comes after it."""
    with writing(log, log.parent):
        with log.open("a") as lines:
            lines.write(json.dumps(entry) + "\n")
        flush(log)


def read_log(log: FilePath) -> list[dict[str, Any]]:
    """The entries of a search log, one an evaluation."""
    return [json.loads(line) for line in whole_lines(log)]


def whole_lines(log: FilePath) -> list[str]:
    """The lines of a log with their ends; a last one that was cut short has none, and is left out."""
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    return [line for line in lines if line.endswith("\n")]


def forget_later_lines(log: FilePath, step: int) -> None:
    """Drop what an interrupted run wrote after the checkpoint that it now continues from, such as its choice."""
    if log.exists():
        entries = ((line, json.loads(line)) for line in whole_lines(log))
        kept = [line for line, entry in entries if entry["step"] <= step and CHOSEN not in entry]
        write_text(log, "".join(kept))


def without_timings(metrics: dict[str, float]) -> dict[str, float]:
    """What two runs of one seed have in common."""
    return {name: value for name, value in metrics.items() if not name.endswith(("time", "_per_second"))}
