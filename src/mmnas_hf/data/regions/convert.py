"""Converts region features once: every part of every source becomes a shard of a folder's image table."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from multiprocessing import get_context, parent_process
from pathlib import Path
from signal import SIG_IGN, SIGINT, signal
from threading import Thread
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ...cache import fingerprint
from ...errors import InputError
from ..folder import IMAGES, SUFFIX
from .rows import part_rows
from .shards import DRAFT, Origin, Shard, read_shard, write_shard
from .source import Part, RegionSource, Wanted

VERSION = "1"  # of what is written; another one makes every shard anew
SHOWN_IDS = 5


class Task(NamedTuple):
    """A part, and the shard that it becomes."""

    source: RegionSource
    part: Part
    path: Path
    origin: Origin

    def finished(self) -> Shard | None:
        """The shard, if it is there and stands for the part as it is now."""
        shard = read_shard(self.path)
        return shard if shard and shard.origin == self.origin else None

    def run(self) -> Shard | None:
        write_shard(self.path, self.origin, part_rows(self.source, self.part))
        return self.finished()


class Spread(NamedTuple):
    """The smallest, the mean and the largest of some numbers."""

    smallest: int
    mean: float
    largest: int


class Report(NamedTuple):
    """Numbers of images, how many of them were converted now or before, their regions, and the features' width."""

    images: int
    converted: int
    reused: int
    regions: Spread
    feature_size: int


def convert(
    sources: RegionSource | Iterable[RegionSource], folder: Path, wanted: Wanted = None, num_proc: int = 1
) -> Report:
    """Make `folder/images` the table of the sources' images, or of the wanted ones, and nothing else.

    Shards of parts that did not change are kept; those that no part stands for any more are removed. Whatever stops
    the conversion, finished shards are whole, and the next run goes on from them. Raises `InputError` for images that
    cannot be used or occur twice, and, after all others are converted, for wanted images that no source has.
    """
    if num_proc < 1:
        raise InputError(f"num_proc {num_proc} does nothing; give at least 1")
    sources = [sources] if isinstance(sources, RegionSource) else list(sources)
    images = Path(folder, IMAGES)
    tasks = plan(sources, images, wanted)
    finished = [shard for task in tasks if (shard := task.finished())]
    remove_others(images, keep={shard.path for shard in finished})
    census = Census()
    for shard in finished:
        census.add(shard)
    reused = len(census.source_of)
    todo = [task for task in tasks if not task.path.exists()]
    with closing(run(todo, num_proc)) as shards:  # an error must not leave it to work on until the traceback is dropped
        for shard in tqdm(shards, desc=IMAGES, total=len(todo), unit="shard", disable=None):
            census.add(shard)
    return census.report(reused, wanted, ", ".join(map(str, sources)))


def plan(sources: list[RegionSource], images: Path, wanted: Wanted) -> list[Task]:
    """All parts, with shards numbered by the name of their file."""
    numbers: Counter[str] = Counter()
    tasks = []
    for source in sources:
        for part in parts_of(source, wanted):
            name = part.name.replace("/", "-")
            path = images / f"{name}-{numbers[name]:05d}{SUFFIX}"
            numbers[name] += 1
            state = fingerprint(VERSION, part.fingerprint, str(source.boxes))
            tasks.append(Task(source, part, path, Origin(part.name, state)))
    return tasks


def parts_of(source: RegionSource, wanted: Wanted) -> list[Part]:
    try:
        return source.parts(wanted)
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error}") from None


def remove_others(images: Path, keep: set[Path]) -> None:
    """Remove shards that stand for no part, and drafts that a killed run left."""
    try:
        images.mkdir(parents=True, exist_ok=True)
        for path in set(images.glob(f"*{SUFFIX}")) - keep | set(images.glob(f"*{DRAFT}")):
            path.unlink()
    except OSError as error:
        raise InputError(f"{images} cannot be written: {error}") from None


def run(tasks: list[Task], num_proc: int) -> Iterator[Shard]:
    """Run tasks in so many processes, and give each one's shard as it is finished."""
    if num_proc == 1 or len(tasks) <= 1:
        yield from (task.run() for task in tasks)
        return
    pool = ProcessPoolExecutor(min(num_proc, len(tasks)), get_context("spawn"), follow_parent)
    try:
        for future in as_completed([pool.submit(Task.run, task) for task in tasks]):
            yield future.result()
    except BrokenProcessPool:
        raise InputError(
            "a process was killed, perhaps for its memory; run the same again with fewer to continue"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)  # those that run finish their shards first
        for task in tasks:  # of a process that was killed
            task.path.with_suffix(DRAFT).unlink(missing_ok=True)


def follow_parent() -> None:
    """Let only the first process hear of Ctrl-C, and do not outlive it if it is killed."""
    signal(SIGINT, SIG_IGN)
    Thread(target=lambda: parent_process().join() or os._exit(1), daemon=True).start()


class Census:
    """Counts the images of shards, and makes sure that they go together."""

    def __init__(self) -> None:
        self.source_of: dict[str, str] = {}
        self.regions: list[np.ndarray] = []
        self.size: tuple[int, str] | None = None  # of the features, and a source that has them

    def add(self, shard: Shard) -> None:
        source = shard.origin.source
        for image_id in shard.ids:
            if image_id in self.source_of:
                places = f"in {self.source_of[image_id]} and in {source}"
                raise InputError(f"image {image_id!r} occurs twice, {places}; leave one of them out")
            self.source_of[image_id] = source
        self.regions.append(shard.regions)
        if shard.ids and self.size is None:
            self.size = shard.feature_size, source
        if shard.ids and shard.feature_size != self.size[0]:
            widths = f"{self.size[1]} has features of width {self.size[0]}, {source} of {shard.feature_size}"
            raise InputError(f"{widths}; take them from one detector")

    def report(self, reused: int, wanted: Wanted, sources: str) -> Report:
        if missing := sorted((wanted or frozenset()) - self.source_of.keys()):
            shown = ", ".join(missing[:SHOWN_IDS]) + (", ..." if len(missing) > SHOWN_IDS else "")
            raise InputError(f"{len(missing)} of {len(wanted)} wanted images are not in {sources}: {shown}")
        if self.size is None:
            raise InputError(f"no images in {sources}")
        images, regions = len(self.source_of), np.concatenate(self.regions)
        spread = Spread(int(regions.min()), float(regions.mean()), int(regions.max()))
        return Report(images, images - reused, reused, spread, self.size[0])
