"""Runs in several processes: launches that cannot work are refused, and nobody waits for a process that is gone."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
from accelerate.utils import broadcast_object_list, parse_flag_from_env
from torch import distributed
from transformers import TrainingArguments

from .checkpoints import what_is_safe
from .connections import cause, is_connected, is_lost_connection, lost_peer
from .errors import InputError, RunError

Decision = TypeVar("Decision")

# Where accelerate's launcher leaves what it was configured for, and the arguments that ask for the same.
SHARDED = {
    "FSDP": ("ACCELERATE_USE_FSDP", "fsdp"),
    "DeepSpeed": ("ACCELERATE_USE_DEEPSPEED", "deepspeed"),
    "Megatron-LM": ("ACCELERATE_USE_MEGATRON_LM", None),
    "tensor or context parallelism": ("ACCELERATE_USE_PARALLELISM_CONFIG", "parallelism_config"),
}
WORKING_LAUNCH = "accelerate launch --config_file scripts/launch/one_machine.yaml --num_processes GPUS"


def only_cpus() -> bool:
    """Whether a run has no device to use, or was launched to use none."""
    return parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()


def leave() -> None:
    """Part from a launch's other processes; one that ends without may abort, for threads that serve them go on."""
    if is_connected():
        distributed.destroy_process_group()


def refuse_sharding(args: TrainingArguments) -> None:
    """Raise `InputError` for launches that cut a network into pieces."""
    for name, (variable, flag) in SHARDED.items():
        if parse_flag_from_env(variable) or (flag and getattr(args, flag, None)):
            raise InputError(
                f"{name} cuts a network into pieces, but a path that is sampled leaves most pieces out, and runs save "
                f"whole networks; give every process the whole network: {WORKING_LAUNCH}"
            )


def refuse_threads(args: TrainingArguments) -> None:
    """Raise `InputError` for a search that would run on several GPUs from one process."""
    if args.n_gpu > 1:
        raise InputError(
            f"one process cannot search on {args.n_gpu} GPUs; start one for each, {WORKING_LAUNCH}, "
            "or choose one with CUDA_VISIBLE_DEVICES=0"
        )


def first_decides(args: TrainingArguments, decide: Callable[[], Decision]) -> Decision:
    """What the first process decides, in all processes; all of them raise what it raises for the user.

    What the system refuses it is wrong input.
    """
    decision, error = None, None
    if args.process_index == 0:
        try:
            decision = decide()
        except (InputError, RunError) as raised:
            error = raised
        except OSError as raised:
            error = InputError(str(raised))
    decision, error = broadcast_object_list([decision, error])
    if error is not None:
        raise error
    return decision


@contextmanager
def ending_together(folder: str | Path) -> Iterator[None]:
    """Raise `RunError` when another process of the run is gone, or when this one is told to end by SIGTERM.

    Launchers send SIGTERM to what is left of a run. `folder` is the run's, where its checkpoints are.
    """
    with on_sigterm(partial(told_to_end, Path(folder))):
        try:
            yield
        except RuntimeError as error:
            if not is_lost_connection(error):
                raise
            raise RunError(f"{lost_peer()} ({cause(error)}); {way_on(Path(folder))}") from None


@contextmanager
def on_sigterm(handle: Callable[[int, Any], NoReturn]) -> Iterator[None]:
    """Call `handle` when SIGTERM comes, wherever the process is then."""
    if threading.current_thread() is not threading.main_thread():  # which alone may handle signals
        yield
        return
    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def told_to_end(folder: Path, *_: Any) -> NoReturn:
    raise RunError(f"told to end by SIGTERM, as launchers do when another process has ended; {way_on(folder)}")


def way_on(folder: Path) -> str:
    """How a run continues whose folder this is."""
    return f"{what_is_safe(folder)}, and --resume goes on"
