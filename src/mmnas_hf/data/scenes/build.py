"""Generate the tables of `scenes` once and keep them in the cache of `datasets`."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from types import MappingProxyType

from datasets import Dataset

from ..table import ImageTextData
from .tables import COLUMNS, ROWS, Row
from .world import SPLITS, sample_scenes

#: Part of the cache's key, which does not see the code: count it up when what is generated changes.
VERSION = 6
DEFAULT_SIZES: Mapping[str, int] = MappingProxyType({"train": 4000, "validation": 400, "test": 400})
_IMAGES = "images"
#: Answers are balanced within so many images; fixed, so that the number of processes changes nothing.
_BLOCK_SIZE = 500

#: Split, start and stop.
Block = tuple[str, int, int]


def load_scenes(
    task: str, seed: int = 0, images: Mapping[str, int] = DEFAULT_SIZES, num_proc: int = 2
) -> ImageTextData:
    """Return the pictures, the same for all tasks, and the texts for one task.

    `images` gives the number of images of each split. The first call generates, later ones read the cache.
    Raises ValueError for an unknown task or split.
    """
    _check("task", [task], [name for name in ROWS if name != _IMAGES])
    _check("split", images, SPLITS)
    blocks = {split: _blocks(split, images[split]) for split in SPLITS if images.get(split)}
    return ImageTextData(
        images=_generate(_IMAGES, seed, list(chain(*blocks.values())), num_proc),
        texts={split: _generate(task, seed, own, num_proc) for split, own in blocks.items()},
    )


def generate_rows(table: str, seed: int, blocks: list[Block], version: int) -> Iterator[Row]:  # noqa: ARG001
    """Yield the rows of a table about the scenes of all blocks; `version` only tells caches apart."""
    for block in blocks:
        yield from ROWS[table](sample_scenes(seed, *block))


def _generate(table: str, seed: int, blocks: list[Block], num_proc: int) -> Dataset:
    processes = min(num_proc, len(blocks))
    return Dataset.from_generator(
        generate_rows,
        features=COLUMNS[table],
        gen_kwargs={"table": table, "seed": seed, "blocks": blocks, "version": VERSION},
        num_proc=processes if processes > 1 else None,
    )


def _blocks(split: str, size: int) -> list[Block]:
    return [(split, start, min(start + _BLOCK_SIZE, size)) for start in range(0, size, _BLOCK_SIZE)]


def _check(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(f"unknown {what} {unknown[0]!r}; known: {', '.join(known)}")
