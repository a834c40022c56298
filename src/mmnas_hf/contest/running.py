"""Runs cells, several at a time, and keeps what finished ones found, so that none ever runs twice."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..errors import first_line
from ..files import read_json, write_json
from ..workers import FRESH, worker_pool
from .cells import Cell, Report, Result, Setting, timed

REFRESH_SECONDS = 0.5

Follow = Callable[[Cell, Result], Iterable[Cell]]  # what is to be run once a cell is finished


class Finished:
    """The results of finished cells, one file each."""

    def __init__(self, folder: Path):
        self.folder = folder / "cells"
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, cell: Cell) -> Path:
        return self.folder / f"{cell.name}.json"

    def __contains__(self, cell: Cell) -> bool:
        return self.path(cell).is_file()

    def __getitem__(self, cell: Cell) -> Result:
        return read_json(self.path(cell))

    def __setitem__(self, cell: Cell, result: Result) -> None:
        write_json(self.path(cell), result)


class Agenda:
    """Cells that wait, in order; finished ones are passed over, and what follows from them is added."""

    def __init__(self, cells: Iterable[Cell], finished: Finished, follow: Follow, bar: tqdm):
        self.finished, self.follow, self.bar = finished, follow, bar
        self.known: set[str] = set()
        self.waiting: deque[Cell] = deque()
        self.failed: dict[str, str] = {}
        self.add(cells)

    def add(self, cells: Iterable[Cell]) -> None:
        for cell in cells:
            if cell.name in self.known:
                continue
            self.known.add(cell.name)
            if cell in self.finished:
                self.add(self.follow(cell, self.finished[cell]))
                continue
            self.waiting.append(cell)
            self.bar.total += cell.units
            self.bar.refresh()

    def finish(self, cell: Cell, outcome: Callable[[], Result]) -> None:
        """Keep a cell's result, or that it failed."""
        try:
            result = outcome()
        except BrokenProcessPool:
            raise
        except Exception as error:
            self.failed[cell.name] = f"{type(error).__name__}: {first_line(error)}"
            tqdm.write(f"{cell.name} failed: {self.failed[cell.name]}")
            return
        self.finished[cell] = result
        self.add(self.follow(cell, result))


def run_cells(cells: Iterable[Cell], follow: Follow, setting: Setting, jobs: int) -> dict[str, str]:
    """Run cells and whatever follows from them, `jobs` at a time; returns the errors of those that failed."""
    with tqdm(total=0, desc="Comparing", unit="step", smoothing=0) as bar:
        agenda = Agenda(cells, Finished(setting.folder), follow, bar)
        if jobs == 1 or not agenda.waiting:
            run_here(agenda, setting)
        else:
            run_in_workers(agenda, setting, jobs)
        return agenda.failed


def run_here(agenda: Agenda, setting: Setting) -> None:
    while agenda.waiting:
        cell = agenda.waiting.popleft()
        agenda.finish(cell, lambda cell=cell: timed(cell, setting, agenda.bar.update))


def run_in_workers(agenda: Agenda, setting: Setting, jobs: int) -> None:
    progress, running = FRESH.Queue(), {}
    with worker_pool(jobs, keep_setting, setting, progress) as pool:
        while agenda.waiting or running:
            while agenda.waiting and len(running) < jobs:  # so that nothing but this loop decides what runs next
                cell = agenda.waiting.popleft()
                running[pool.submit(run_in_worker, cell)] = cell
            done, _ = wait(running, timeout=REFRESH_SECONDS, return_when=FIRST_COMPLETED)
            while not progress.empty():
                agenda.bar.update(progress.get())
            for future in done:
                agenda.finish(running.pop(future), future.result)


def keep_setting(setting: Setting, progress: Any) -> None:
    """Prepare a worker process for many cells."""
    keep_setting.kept, keep_setting.report = setting, progress.put


def run_in_worker(cell: Cell) -> Result:
    setting: Setting = keep_setting.kept
    report: Report = keep_setting.report
    return timed(cell, setting, report)
