"""Architectures and search spaces as plain data: which operations may sit, or do sit, at each node. No torch here."""

import hashlib
import json
import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from .errors import InputError

# One letter an operation: the short form `SFSF|SGF` is made of them.
LETTERS: dict[str, str] = {
    "self_att_64": "S",
    "rel_self_att_64": "R",
    "guided_att_64": "G",
    "feed_forward": "F",
    "identity": "I",
    "signed_rel_self_att_64": "D",
}

# The published search space (MMnas, ACM MM 2020).
ENCODER_CANDIDATES = ("self_att_64", "feed_forward")
DECODER_CANDIDATES = ("self_att_64", "rel_self_att_64", "guided_att_64", "feed_forward")
ENCODER_NODES = 12
DECODER_NODES = 18
# OWNER/NAME, but no missing file.
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+(?<!\.json)")
# What they look at, the encoded words or the boxes of regions, is not there for the words themselves.
DECODER_ONLY = ("guided_att_64", "rel_self_att_64", "signed_rel_self_att_64")


def add_letter(name: str, letter: str) -> None:
    """Give an operation its letter in the short form; a letter or a name that is taken by another raises."""
    taken = {known: other for other, known in LETTERS.items()}
    if (
        LETTERS.get(name, letter) != letter
        or taken.get(letter, name) != name
        or len(letter) != 1
        or not letter.isalpha()
    ):
        raise InputError(f"letter {letter!r} for operation {name!r} is taken or not one letter; taken: {taken}")
    LETTERS[name] = letter


def operation_named(text: str) -> str:
    """The operation that a letter or a name means."""
    names = {letter: name for name, letter in LETTERS.items()}
    name = names.get(text, text)
    if name not in LETTERS:
        raise InputError(f"unknown operation {text!r}; known: {', '.join(f'{v}={k}' for k, v in LETTERS.items())}")
    return name


def sharing_module() -> ModuleType:
    """What speaks with the Hub; it is not part of the code that is shared beside a network."""
    try:
        from mmnas_hf.sharing import architectures  # noqa: PLC0415
    except ImportError:
        raise InputError("sharing architectures needs the package itself; install mmnas_hf") from None
    return architectures


def check_encoder(names: Iterable[str]) -> None:
    """Raise `InputError` for an operation that cannot work over words."""
    for name in names:
        if name in DECODER_ONLY:
            raise InputError(f"{name} in the encoder has nothing to look at; use it in the decoder")


@dataclass(frozen=True)
class Genotype:
    """One operation a node, text encoder and region decoder: a point of a `SearchSpace`."""

    encoder: tuple[str, ...]
    decoder: tuple[str, ...]

    def __post_init__(self) -> None:
        for side in ("encoder", "decoder"):
            object.__setattr__(self, side, tuple(operation_named(name) for name in getattr(self, side)))
        if not self.decoder:
            raise InputError("a genotype needs at least one decoder node, as in 'SF|SGF'")
        check_encoder(self.encoder)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the short form, encoder and decoder separated by a bar: `SFSF|SGF`."""
        encoder, bar, decoder = text.strip().partition("|")
        if not bar:
            raise InputError(f"genotype {text!r} has no '|' between encoder and decoder; write it like 'SFSF|SGF'")
        return cls(tuple(encoder), tuple(decoder))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read `{"encoder": [...], "decoder": [...]}` or the original's `{"epoch0": {"enc": ..., "dec": ...}, ...}`."""
        epochs = {int(key[5:]): key for key in data if key.startswith("epoch") and key[5:].isdigit()}
        try:
            if epochs:
                last = data[epochs[max(epochs)]]
                data = {side: [first for first, *_ in last[side[:3]]] for side in ("encoder", "decoder")}
            return cls(tuple(data["encoder"]), tuple(data["decoder"]))
        except KeyError as missing:
            raise InputError(f"no genotype in keys {sorted(data)}: {missing} is missing") from None

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """Read a published name, a short form, a JSON file (ours or the original's), or a Hub's OWNER/NAME."""
        text = str(source)
        if text in PUBLISHED:
            return cls(PUBLISHED[text].encoder, PUBLISHED[text].decoder)
        if "|" in text:
            return cls.parse(text)
        if Path(text).is_dir() or (HUB_NAME.fullmatch(text) and not Path(text).is_file()):
            return cls.from_pretrained(text)
        if not Path(text).is_file():
            raise InputError(
                f"no genotype {text!r}; give a file, a short form like 'SF|SGF', OWNER/NAME on the Hub, or: "
                f"{', '.join(PUBLISHED)}"
            )
        try:
            return cls.from_dict(json.loads(Path(text).read_text()))
        except (json.JSONDecodeError, AttributeError, TypeError, ValueError) as error:
            raise InputError(f"{text} holds no genotype: {error}") from None

    @classmethod
    def from_pretrained(cls, source: str | Path, token: str | None = None, revision: str | None = None) -> Self:
        """Read `genotype.json` of a folder, or of a repository of the Hub: an architecture's, or a network's."""
        return cls.from_dict(sharing_module().load_genotype(source, token=token, revision=revision).to_dict())

    def save_pretrained(
        self,
        folder: str | Path,
        task: str,
        metrics: Mapping[str, float] | None = None,
        search: Mapping[str, Any] | None = None,
    ) -> None:
        """Write what `push_to_hub` uploads into a folder."""
        sharing = sharing_module()
        known = sharing.Architecture(self, task, metrics or {}, search or {})
        sharing.save_architecture(known, folder)

    def push_to_hub(
        self,
        repo_id: str,
        task: str,
        metrics: Mapping[str, float] | None = None,
        search: Mapping[str, Any] | None = None,
        private: bool = True,
        token: str | None = None,
    ) -> str:
        """Upload this architecture as a small repository with a drawing and a card, and say where it is.

        `metrics` are its scores, the most important one first; `search` is plain data that tells how it was found, by
        convention under `space`, `strategy`, `seed`, `data` and `budget`. Raises `InputError` for what the Hub refuses.
        """
        sharing = sharing_module()
        known = sharing.Architecture(self, task, metrics or {}, search or {})
        return sharing.push_architecture(known, sharing.Place(repo_id, private, token))

    def to_dict(self) -> dict[str, list[str]]:
        return {"encoder": list(self.encoder), "decoder": list(self.decoder)}

    def save(self, path: str | Path) -> None:
        Path(path).write_text(json.dumps(self.to_dict(), indent=1) + "\n")

    def __str__(self) -> str:
        return "|".join("".join(LETTERS[name] for name in side) for side in (self.encoder, self.decoder))

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that depend on the operations' names alone."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]

    def as_space(self) -> "SearchSpace":
        """The space whose only point is this genotype: how a derived network is built."""
        return SearchSpace(tuple((name,) for name in self.encoder), tuple((name,) for name in self.decoder))

    def as_path(self) -> list[dict[str, float]]:
        """One gate a node, encoder first, each opening exactly one operation."""
        return [{name: 1.0} for name in self.encoder + self.decoder]


@dataclass(frozen=True)
class SearchSpace:
    """Candidate operation names, node by node, for the text encoder and the region decoder."""

    encoder: tuple[tuple[str, ...], ...]
    decoder: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for side in ("encoder", "decoder"):
            nodes = tuple(tuple(operation_named(name) for name in node) for node in getattr(self, side))
            for node in nodes:
                if not node or len(set(node)) < len(node):
                    raise InputError(f"candidates {list(node)} of {side} node: at least one, and each only once")
            object.__setattr__(self, side, nodes)
        if not self.decoder:
            raise InputError("a search space needs at least one decoder node")
        for node in self.encoder:
            check_encoder(node)

    @classmethod
    def chain(
        cls,
        encoder_nodes: int = ENCODER_NODES,
        decoder_nodes: int = DECODER_NODES,
        encoder_candidates: Sequence[str] = ENCODER_CANDIDATES,
        decoder_candidates: Sequence[str] = DECODER_CANDIDATES,
    ) -> Self:
        """The same candidates at every node of a side; defaults are the published space."""
        return cls((tuple(encoder_candidates),) * encoder_nodes, (tuple(decoder_candidates),) * decoder_nodes)

    @classmethod
    def from_dict(cls, data: Mapping[str, Iterable[Iterable[str]]]) -> Self:
        return cls(tuple(map(tuple, data["encoder"])), tuple(map(tuple, data["decoder"])))

    def to_dict(self) -> dict[str, list[list[str]]]:
        return {"encoder": [list(node) for node in self.encoder], "decoder": [list(node) for node in self.decoder]}

    @property
    def nodes(self) -> tuple[tuple[str, ...], ...]:
        """All nodes' candidates, encoder first: the order of a path."""
        return self.encoder + self.decoder

    @property
    def operations(self) -> tuple[str, ...]:
        """Every operation that occurs, in order of first appearance."""
        return tuple(dict.fromkeys(name for node in self.nodes for name in node))

    @property
    def size(self) -> int:
        """Number of genotypes."""
        return math.prod(map(len, self.nodes))

    def check(self, genotype: Genotype) -> None:
        """Raise `InputError` unless the genotype is a point of this space."""
        for side in ("encoder", "decoder"):
            names, nodes = getattr(genotype, side), getattr(self, side)
            if len(names) != len(nodes):
                raise InputError(f"genotype {genotype} has {len(names)} {side} nodes; the space has {len(nodes)}")
            for position, (name, node) in enumerate(zip(names, nodes, strict=True)):
                if name not in node:
                    raise InputError(
                        f"genotype {genotype}: {name!r} is no candidate of {side} node {position}; "
                        f"valid: {', '.join(node)}"
                    )

    def genotype(self, names: Sequence[str]) -> Genotype:
        """The genotype with these operations, encoder first."""
        return Genotype(tuple(names[: len(self.encoder)]), tuple(names[len(self.encoder) :]))

    def sample(self, generator: random.Random) -> Genotype:
        """A uniformly random genotype."""
        return self.genotype([generator.choice(node) for node in self.nodes])


def repeat_pattern(encoder: str, decoder: str, encoder_nodes: int, decoder_nodes: int) -> Genotype:
    """A hand-made genotype: a pattern of letters repeated over each side."""
    return Genotype(tuple(islice(cycle(encoder), encoder_nodes)), tuple(islice(cycle(decoder), decoder_nodes)))


def mcan(encoder_nodes: int = ENCODER_NODES, decoder_nodes: int = DECODER_NODES) -> Genotype:
    """MCAN's hand-made pattern (Yu et al., CVPR 2019) at any depth."""
    return repeat_pattern("SF", "SGF", encoder_nodes, decoder_nodes)


# Published genotypes (MMnas, ACM MM 2020, and MCAN in the same notation).
PUBLISHED: dict[str, Genotype] = {
    "mmnas-vqa": Genotype.parse("SSSSFFFFSFFF|GGFFGFRGFGRFRSFRGF"),
    "mmnas-vgd": Genotype.parse("SFFSFFFFFFFS|GGGGGGFGRRGFRGGRGR"),
    "mmnas-itm": Genotype.parse("SSFFFSFSFFFF|SGGRSGRGGGGFGGRSGR"),
    "mcan": mcan(),
}
