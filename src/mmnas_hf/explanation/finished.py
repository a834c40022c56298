"""A finished search, read back from the folder that it left."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..configuration_mmnas import MMnasConfig
from ..errors import InputError
from ..files import CONFIG_FILE, GENOTYPE_FILE, RECORD_FILE, SCORES_FILE, SEARCHES_FOLDER, SUPERNET_FOLDER, read_json
from ..genotype import Genotype, SearchSpace
from ..search.arguments import SearchArguments
from ..search.log import LOG_FILE, read_log
from .agreement import Found


@dataclass(frozen=True)
class Finished:
    """How a search was run, and what it found in which space."""

    folder: Path
    record: Mapping[str, Any]
    genotype: Genotype
    space: SearchSpace

    @property
    def supernet(self) -> Path:
        return self.folder / SUPERNET_FOLDER

    @property
    def chose_by_scores(self) -> bool:
        """Whether its choice was the best of networks that were scored with inherited weights."""
        return (self.folder / SCORES_FILE).is_file()

    @property
    def seed(self) -> int:
        return self.of("SearchArguments")["seed"]

    @property
    def log(self) -> list[dict[str, Any]]:
        """An entry for each of its evaluations."""
        return read_log(self.folder / LOG_FILE)

    def of(self, flags: str) -> Mapping[str, Any]:
        """The flags of one class, such as `SearchArguments`."""
        return self.record["arguments"][flags]

    @property
    def cut(self) -> list[str]:
        """Flags that named a folder of which only the name is known."""
        return self.record.get("cut", [])

    def found(self, name: str) -> Found:
        return Found(name, self.of("SearchArguments").get("strategy", SearchArguments.strategy), self.genotype)


def read_finished(folder: Path) -> Finished:
    """Raises `InputError` for a folder that no finished search has left, alone or in a comparison."""
    needed = (GENOTYPE_FILE, f"{SUPERNET_FOLDER}/{CONFIG_FILE}")
    if missing := [name for name in needed if not (folder / name).is_file()]:
        raise InputError(f"{folder} is no finished search, it has no {missing[0]}; give output folders of search.py")
    config = read_json(folder / SUPERNET_FOLDER / CONFIG_FILE)
    space = MMnasConfig.from_dict(config).space
    genotype = Genotype.load(folder / GENOTYPE_FILE)
    space.check(genotype)
    return Finished(folder, read_record(folder), genotype, space)


def read_record(folder: Path) -> Mapping[str, Any]:
    """How a search was run; one of a comparison has the comparison's record, and strategy and seed in its name."""
    path = folder.resolve()
    if path.parent.name != SEARCHES_FOLDER or (path / RECORD_FILE).is_file():
        return checked_record(path)
    record, (strategy, _, seed) = checked_record(path.parents[1]), path.name.rpartition("-seed")
    flags = record["arguments"]
    own = flags["SearchArguments"] | {"strategy": strategy, "seed": int(seed)}
    return record | {"arguments": flags | {"SearchArguments": own}}


def checked_record(folder: Path) -> dict[str, Any]:
    """The record in a folder, with the flags of a search."""
    path = folder / RECORD_FILE
    if not path.is_file():
        raise InputError(f"{folder} is no finished search, it has no {RECORD_FILE}; give output folders of search.py")
    record = read_json(path)
    if not {"SearchArguments", "DataArguments"} <= record.get("arguments", {}).keys():
        raise InputError(f"{folder} is no finished search: its {RECORD_FILE} tells no flags of one")
    return record


def names_of(searches: list[Finished]) -> list[str]:
    """Their folders' names, with those around them where needed to tell them apart.

    Raises `InputError` for a folder that is given twice.
    """
    paths = [search.folder.resolve() for search in searches]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise InputError(f"{twice} is given more than once; give each search once")
    depth = next(n for n in range(1, 100) if len({path.parts[-n:] for path in paths}) == len(paths))
    return ["-".join(path.parts[-depth:]) for path in paths]
