"""Data sets on the Hub: table folders that are downloaded file by file, and uploaded whole."""

import re
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download

from ..hub import hub_errors
from .folder import IMAGES, SETTINGS_FILE, SUFFIX, load_settings

NAME = re.compile(r"[\w.-]+/[\w.-]+")


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


def upload_folder(folder: Path, name: str, private: bool) -> str:
    """Upload a table folder as a data set, making the repository if there is none, and return its address."""
    api = HfApi()
    with hub_errors(f"{folder} is complete but could not be uploaded to {name!r}"):
        api.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name,
            folder_path=folder,
            repo_type="dataset",
            allow_patterns=[f"*/*{SUFFIX}", SETTINGS_FILE, "README.md"],
            commit_message="Upload tables",
        )
    return str(commit.repo_url)
