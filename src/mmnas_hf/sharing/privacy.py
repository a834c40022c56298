"""What must not leave a machine with a text: local paths, which are taken out and looked for, and tokens."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import InputError

# An absolute path of at least two parts, one below a home folder, or one of Windows; but no address, whose first
# slashes are two, and no end of something longer.
LOCAL_PATH = re.compile(
    r"""(?<![\w/.~*)\]}])(?:~|file://)?(?:/[\w@+.,=%-]+){2,}/?|~/[\w@+.,=%-]+|\b[A-Za-z]:\\[^\s"']+"""
)
TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{20,}")
TEXT_SUFFIXES = {".json", ".jsonl", ".md", ".py", ".txt"}


def without_paths(value: Any) -> Any:
    """Plain data whose absolute local paths have become the names of what they lead to."""
    if isinstance(value, dict):
        return {without_paths(name): without_paths(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    if not isinstance(value, str):
        return value
    if value.startswith("/") and Path(value).exists():
        return Path(value).name or value
    return LOCAL_PATH.sub(lambda found: re.split(r"[/\\]", found[0].rstrip("/\\"))[-1], value)


def check_texts(files: Iterable[Path]) -> None:
    """Raise `InputError` if a text file names an absolute local path, or a token of the Hub."""
    for file in files:
        text = file.read_text(errors="replace") if file.suffix in TEXT_SUFFIXES else ""
        if found := LOCAL_PATH.search(text):
            raise InputError(f"{file.name} names the local path {found[0]!r}; take it out, for others would see it")
        if TOKEN.search(text):
            raise InputError(f"{file.name} holds a token of the Hub; take it out, for others would see it")
