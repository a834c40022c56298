"""Files of runs, saved networks and repositories: their names, and text that is written whole or not at all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import InputError

CONFIG_FILE, PROCESSOR_FILE = "config.json", "processor_config.json"  # as transformers names them
CARD_FILE = "README.md"  # as the Hub names it
GENOTYPE_FILE, DRAWING_FILE = "genotype.json", "genotype.png"
RECORD_FILE, RESULTS_FILE = "run.json", "results.json"
PROBABILITIES_FILE = "probabilities.json"
SCORES_FILE = "scores.json"  # of networks with the weights that they inherit from a supernet
DRAFT_SUFFIX = ".tmp"  # of a file that is being written
SUPERNET_FOLDER = "supernet"  # in that of a search
SEARCHES_FOLDER = "searches"  # in that of a comparison of strategies


def read_json(path: Path) -> dict[str, Any]:
    """What a file says by name; one that holds anything else is refused, and never forced into names and values."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} cannot be read: it holds no names with values")
    return content


def write_json(path: Path, content: Any, default: Callable[[Any], Any] | None = None) -> None:
    """Write plain data, and what else there is as `default` makes it plain."""
    write_text(path, json.dumps(content, indent=1, default=default, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a small text file whole or not at all."""
    draft = path.with_suffix(DRAFT_SUFFIX)
    try:
        draft.write_text(text)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
