"""Reads JSON files whose shape is known; whatever is wrong with one becomes one line that names it."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, Features

from ...errors import InputError, first_line

Row = dict[str, Any]


def read_json(path: Path, hook: Callable[[Row], Any] | None = None) -> Row:
    """The object in a JSON file; `hook` may put something smaller in the place of each object within."""
    try:
        with path.open(encoding="utf-8") as file:
            document = json.load(file, object_hook=hook)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is no readable JSON: {first_line(error)}; download it again") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} holds a {type(document).__name__}; it should hold an object with named lists")
    return document


def entries_of(document: Mapping[str, Any], key: str, path: Path) -> list[Row]:
    """The objects that a file lists under a key."""
    entries = document.get(key)
    if not isinstance(entries, list):
        raise InputError(f"{path} has no list {key!r}; it has: {', '.join(map(str, document)) or 'nothing'}")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise InputError(f"{path}: number {number} of {key!r} is {entry!r:.80}, which is no object")
    return entries


def column(entries: Sequence[Row], key: str, kind: type | tuple[type, ...], path: Path) -> list[Any]:
    """One value of every entry, in order."""
    values = [entry.get(key) for entry in entries]
    for value, entry in zip(values, entries, strict=True):
        if not isinstance(value, kind):
            raise InputError(f"{path}: {key!r} is {value!r:.80} in {entry!s:.200}; download the file again")
    return values


def build_table(columns: Mapping[str, Sequence[Any]], features: Features, path: Path) -> Dataset:
    """The table of these columns, which were read from a file."""
    try:
        # Dataset.from_dict looks at every value in Python first, which takes longer than reading the file.
        return Dataset(pa.Table.from_pydict(dict(columns), schema=features.arrow_schema))
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise InputError(f"{path} holds a value that no table takes: {first_line(error)}") from error


def tables_by_split(
    items: Sequence[Row], rows_of: Callable[[Row], list[Row]], splits: Mapping[str, str], features: Features, path: Path
) -> dict[str, Dataset]:
    """A table a split of the rows that each item of a file makes; `splits` are ours by the file's own names."""
    rows: dict[str, list[Row]] = {split: [] for split in splits.values()}
    for number, item in enumerate(items):
        try:
            if item["split"] not in splits:
                raise ValueError(f"unknown split {item['split']!r}; known: {', '.join(splits)}")
            rows[splits[item["split"]]] += rows_of(item)
        except KeyError as missing:
            raise InputError(f"{path}: number {number} lacks {missing}: {item!s:.200}") from None
        except (AttributeError, TypeError, ValueError) as error:
            raise InputError(f"{path}: number {number} is not usable: {first_line(error)}: {item!s:.200}") from None
    return {split: table_of(found, features, path) for split, found in rows.items() if found}


def table_of(rows: Sequence[Row], features: Features, path: Path) -> Dataset:
    """The table of these rows, which were read from a file."""
    return build_table({name: [row[name] for row in rows] for name in features}, features, path)
