"""Data sets on the Hub: table folders that are downloaded file by file, and uploaded whole."""

import re
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download

from ..errors import InputError
from ..files import CARD_FILE
from ..hub import Place, hub_errors, upload
from .folder import IMAGES, SETTINGS_FILE, SUFFIX, load_settings

NAME = re.compile(r"[\w.-]+/[\w.-]+")
TABLES = f"*/*{SUFFIX}"
MARKS = frozenset({SETTINGS_FILE})  # what tells a table folder's repository from other data sets


def is_hub_name(name: str) -> bool:
    return bool(NAME.fullmatch(name)) and not name.startswith(".")


def download_settings(name: str) -> dict[str, Any]:
    """What the `dataset.json` of a repository says."""
    return load_settings(download(name, [SETTINGS_FILE]))


def download_data(name: str, task: str) -> Path:
    """The folder with a repository's images and one task's texts, in the Hub's own cache."""
    return download(name, [f"{IMAGES}/*{SUFFIX}", f"{task}/*{SUFFIX}", SETTINGS_FILE])


def download(name: str, patterns: list[str]) -> Path:
    with hub_errors(f"no folder {name!r}, and no data set of this name from the Hub"):
        return Path(snapshot_download(name, repo_type="dataset", allow_patterns=patterns))


def upload_tables(folder: Path, place: Place) -> str:
    """Upload a table folder as a data set and say where it is; tables of an earlier upload are replaced."""
    try:
        return upload(folder, place, MARKS, [TABLES], only=[TABLES, SETTINGS_FILE, CARD_FILE])
    except InputError as error:
        raise InputError(f"{error}; {folder} is complete") from None
