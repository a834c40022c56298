"""What must not leave a machine with a text: local paths, which are taken out and looked for, and tokens."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from .errors import InputError

# An absolute path of at least two parts, one below a home folder, or one of Windows; but no address, whose first
# slashes are two, and no end of something longer.
LOCAL_PATH = re.compile(
    r"""(?<![\w/.~*)\]}])(?:~|file://)?(?:/[\w@+.,=%-]+){2,}/?|~/[\w@+.,=%-]+|\b[A-Za-z]:\\[^\s"']+"""
)
# A value that is one path, which may have spaces, perhaps after a flag.
PATH_ALONE = re.compile(r"(--[\w-]+=)?(.*)", re.DOTALL)
TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{20,}")
HIDDEN = "TOKEN"
TEXT_SUFFIXES = {".json", ".jsonl", ".md", ".py", ".txt"}


def portable(value: Any) -> Any:
    """Plain data whose absolute local paths are cut to the part below the working folder, or else to the last name."""
    if isinstance(value, Mapping):
        return {portable(name): portable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [portable(item) for item in value]
    if not isinstance(value, str | Path):
        return value
    value = str(value)
    flag, path = PATH_ALONE.fullmatch(value).groups()
    if Path(path).is_absolute() and Path(path).exists():
        return (flag or "") + cut(path)
    return LOCAL_PATH.sub(lambda found: cut(found[0]), value)


def cut(path: str) -> str:
    if Path(path).is_relative_to(Path.cwd()):
        return str(Path(path).relative_to(Path.cwd()))
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or path


def is_cut(value: Any) -> bool:
    """Whether `portable` leaves of a path, or of one in a list, only a name that no longer leads there."""
    values = value if isinstance(value, list | tuple) else [value]
    paths = [Path(item) for item in values if isinstance(item, str | Path)]
    return any(path.is_absolute() and not path.is_relative_to(Path.cwd()) for path in paths)


def without_tokens(flags: Sequence[str]) -> list[str]:
    """The words of a command without the values of flags such as `--hub_token`."""
    shown = []
    for before, word in pairwise(["", *flags]):
        flag, equals, _ = word.partition("=")
        is_value = takes_token(before) and not word.startswith("--")
        shown.append(HIDDEN if is_value else f"{flag}={HIDDEN}" if takes_token(flag) and equals else word)
    return shown


def takes_token(flag: str) -> bool:
    """Whether a token follows: flags may also be written with hyphens, and cut as long as they are told apart."""
    name = flag.replace("-", "_")
    return name.startswith("__") and (name.endswith("_token") or name.startswith("__hub_t"))


def check_texts(files: Iterable[Path]) -> None:
    """Raise `InputError` if a text file names an absolute local path, or a token of the Hub."""
    for file in files:
        text = file.read_text(errors="replace") if file.suffix in TEXT_SUFFIXES else ""
        if found := LOCAL_PATH.search(text):
            raise InputError(f"{file.name} names the local path {found[0]!r}; take it out, for others would see it")
        if TOKEN.search(text):
            raise InputError(f"{file.name} holds a token of the Hub; take it out, for others would see it")
