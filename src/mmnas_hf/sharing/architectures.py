"""Architectures as small repositories: a genotype, its drawing, how it was found, its scores, and a card."""

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from numbers import Real
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from ..drawing import draw_genotype
from ..errors import InputError, first_line
from ..files import CARD_FILE, CONFIG_FILE, DRAWING_FILE, GENOTYPE_FILE, write_json
from ..genotype import Genotype
from ..hub import Place, find_file, upload
from ..privacy import check_texts, portable

ARCHITECTURE_FILE = "architecture.json"  # what is known of the genotype
FILES = (GENOTYPE_FILE, DRAWING_FILE, ARCHITECTURE_FILE, CARD_FILE)
# What tells an architecture's repository from a network's, and both from others.
MARKS = frozenset({GENOTYPE_FILE, CONFIG_FILE})


@dataclass(frozen=True)
class Architecture:
    """A genotype and what is known of it.

    `metrics` are its scores, the most important one first. `search` tells how it was found: any plain data, by
    convention under `space`, `strategy`, `seed`, `data`, `budget` and `command`. Without `space` and `strategy` its
    card claims no search: `command` and `seed` are then of the run that scored it.
    """

    genotype: Genotype
    task: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.metrics.items():
            if not isinstance(value, Real) or not math.isfinite(value):
                raise InputError(f"metric {name!r} is {value!r}; give a finite number")
        if not isinstance(self.search.get("data", ""), str):
            raise InputError(f"search names the data {self.search['data']!r}; give the data set's name")

    def known(self) -> dict[str, Any]:
        """All but the genotype as plain data without local paths."""
        known = {name: value for name, value in asdict(self).items() if name != "genotype"}
        try:
            return portable(json.loads(json.dumps(known, default=plain)))
        except TypeError as error:
            raise InputError(f"search holds what JSON cannot: {error}") from None

    def save(self, folder: Path) -> None:
        """Write the genotype, its drawing and what is known of it into a folder."""
        known = self.known()
        self.genotype.save(folder / GENOTYPE_FILE)
        draw_genotype(self.genotype.encoder, self.genotype.decoder, folder / DRAWING_FILE, title=str(self.genotype))
        write_json(folder / ARCHITECTURE_FILE, known)

    @classmethod
    def load(cls, source: str | Path, **access: Any) -> Self:
        """Read a folder or a repository that holds an architecture; `access` may hold `token` and `revision`."""
        genotype, path = load_genotype(source, **access), find_file(source, ARCHITECTURE_FILE, **access)
        if path is None:
            raise InputError(f"{str(source)!r} has no {ARCHITECTURE_FILE}; give what push_to_hub or push.py made")
        try:
            known = json.loads(path.read_text())
            return cls(genotype, **{name: known[name] for name in ("task", "metrics", "search", "versions")})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{path} cannot be read: {first_line(error)}") from None


def plain(value: Any) -> Any:
    """What JSON can hold of a path or of a number of numpy's or torch's."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def load_genotype(source: str | Path, **access: Any) -> Genotype:
    """The genotype in a folder or a repository of an architecture or a network."""
    path = find_file(source, GENOTYPE_FILE, **access)
    if path is None:
        raise InputError(f"{str(source)!r} has no {GENOTYPE_FILE}; give a folder or a repository of an architecture")
    return Genotype.load(path)


def lay_out_architecture(architecture: Architecture, folder: Path, place: str) -> None:
    """Write all that a repository holds into a folder; `place` is what `from_pretrained` will take."""
    from ..cards import architecture_card  # noqa: PLC0415 - slow to import, and needed only here
    from ..runs import versions  # noqa: PLC0415
    from ..tasks import get_task  # noqa: PLC0415

    get_task(architecture.task)
    architecture = replace(architecture, versions=architecture.versions or versions())
    architecture.save(folder)
    known = architecture.known()
    told = known["search"] | {"versions": known["versions"]}
    card = architecture_card(architecture.genotype, place, architecture.task, known["metrics"], told)
    card.save(folder / CARD_FILE)
    check_texts(folder / file for file in FILES)


@contextmanager
def draft_of(folder: str | Path, mark: str) -> Iterator[Path]:
    """A temporary folder whose files take the place of those in `folder` once all of them are written.

    Raises `InputError` for a folder with a card that has no file named `mark`: the card is of something else.
    """
    if Path(folder, CARD_FILE).is_file() and not Path(folder, mark).is_file():
        raise InputError(f"{folder} holds the {CARD_FILE} of something else; give another folder")
    with TemporaryDirectory() as draft:
        yield Path(draft)
        try:
            shutil.copytree(draft, folder, dirs_exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder} cannot be written: {first_line(error)}; give a folder") from None


def save_architecture(architecture: Architecture, folder: str | Path) -> None:
    """Write all that a repository would hold into a folder, or nothing."""
    with draft_of(folder, ARCHITECTURE_FILE) as draft:
        lay_out_architecture(architecture, draft, portable(str(folder)))


def push_architecture(architecture: Architecture, place: Place) -> str:
    """Upload an architecture and say where it is."""
    place = place.in_full()
    with TemporaryDirectory() as folder:
        lay_out_architecture(architecture, Path(folder), place.name)
        return upload(Path(folder), place, MARKS, list(FILES))
