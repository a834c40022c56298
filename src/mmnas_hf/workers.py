"""Worker processes of one thread each, none of which outlives the process that started it."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import torch

from .errors import RunError

# Forking a process that already runs threads of torch can hang; a fresh one cannot.
FRESH = multiprocessing.get_context("spawn")


@contextmanager
def worker_pool(count: int, prepare: Callable[..., Any], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """So many processes, each of which first calls `prepare(*arguments)`.

    Raises `RunError` if one of them dies. Those that still work when this process is stopped are ended.
    """
    pool = ProcessPoolExecutor(count, FRESH, start_worker, (prepare, *arguments))
    try:
        yield pool
    except BrokenProcessPool:
        raise RunError(
            "a worker process died, perhaps for want of memory; what was finished before is kept: go on with fewer "
            "--jobs"
        ) from None
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def start_worker(prepare: Callable[..., Any], *arguments: Any) -> None:
    torch.set_num_threads(1)
    threading.Thread(target=end_with_parent, daemon=True).start()
    prepare(*arguments)


def end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
