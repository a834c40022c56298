"""What a published data set is: files that its publisher offers, and how their texts are read."""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

from datasets import Dataset

from ...errors import InputError

Files = Mapping[str, Path]  # name as published -> where it is


class Expected(NamedTuple):
    """A file by the end of its path as published, where to get it, and whether the data set can do without it.

    A needed file is not missed if all those in `instead` are there.
    """

    name: str
    url: str
    needed: bool = True
    instead: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A data set as its authors publish it.

    `read` makes a table of texts a split from the files that were found. `splits` says which of them is "train", which
    is "validation" during a search and which is scored as "test" unless something else is asked for, and, where not all
    that is trained on makes the answer vocabulary, whose "labels" do. `region_count` is
    how many regions an image has in the features that MMnas uses. `citation` is BibTeX.
    """

    name: str
    title: str
    task: str
    files: tuple[Expected, ...]
    read: Callable[..., dict[str, Dataset]]
    splits: Mapping[str, str]
    region_count: str
    licence: str
    homepage: str
    citation: str


def find_files(publication: Publication, downloads: str | Path) -> dict[str, Path]:
    """Where the publication's files are, anywhere below a folder; optional ones that are missing are left out.

    Raises one `InputError` that names all needed files that are missing, each with its publisher's address.
    """
    downloads = Path(downloads)
    if not downloads.is_dir():
        raise InputError(f"no folder {downloads}; give the folder with the files of {publication.title}")
    names = [name for file in publication.files for name in (file.name, archive_of(file))]
    places = look_for({PurePath(name).name for name in names}, downloads)
    matches = {file.name: matching(file.name, places) for file in publication.files}
    if missing := [file for file in publication.files if is_missed(file, matches)]:
        lines = "; ".join(how_to_get(file, publication, places) for file in missing)
        raise InputError(f"missing below {downloads} for {publication.title}: {lines}")
    return {name: only(name, paths) for name, paths in matches.items() if paths}


def look_for(names: set[str], folder: Path) -> dict[str, list[Path]]:
    """All files below a folder that have one of these names, by name."""
    places = defaultdict(list)
    for parent, _, files in os.walk(folder):
        for name in names.intersection(files):
            places[name].append(Path(parent, name))
    return places


def matching(name: str, places: Mapping[str, list[Path]]) -> list[Path]:
    """The files whose path ends as published: several data sets have files of the same name, each in its folder."""
    found = places.get(PurePath(name).name, [])
    return sorted(path for path in found if path.absolute().match(name))


def only(name: str, paths: Sequence[Path]) -> Path:
    if len(paths) > 1:
        raise InputError(f"{name} was found {len(paths)} times: {', '.join(map(str, paths))}; keep one of them")
    return paths[0]


def is_missed(file: Expected, matches: Mapping[str, Sequence[Path]]) -> bool:
    replaced = bool(file.instead) and all(matches[name] for name in file.instead)
    return file.needed and not matches[file.name] and not replaced


def how_to_get(file: Expected, publication: Publication, places: Mapping[str, list[Path]]) -> str:
    """A missing file and those that would do instead, with their sources."""
    sources = {known.name: source_of(known, places) for known in publication.files}
    instead = f" or instead {' and '.join(file.instead)} ({sources[file.instead[0]]})" if file.instead else ""
    return f"{file.name} ({sources[file.name]}){instead}"


def source_of(file: Expected, places: Mapping[str, list[Path]]) -> str:
    """The file's address, or the archive if that has been downloaded already."""
    archives = places.get(archive_of(file), [])
    return f"unzip {archives[0]}" if archives else file.url


def archive_of(file: Expected) -> str:
    return PurePath(file.url).name


def by_file_name(files: Files) -> dict[str, Path]:
    """The files without their folders, which only tell one publication's from another's."""
    return {PurePath(name).name: path for name, path in files.items()}


def together(files: Files, names: Sequence[str]) -> list[Path]:
    """Files that are of use only together; none if none was found."""
    found = [files[name] for name in names if name in files]
    if found and len(found) < len(names):
        missing = ", ".join(name for name in names if name not in files)
        raise InputError(f"{found[0]} is there without {missing}; put both into the folder, or neither")
    return found
