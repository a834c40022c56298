"""What a run leaves about itself, so that others can judge it and it can be repeated."""

import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

from . import __version__
from .checkpoints import MANIFEST_FILE
from .energy import EnergyMeter
from .errors import InputError
from .files import RECORD_FILE, read_json, write_json
from .privacy import is_cut, portable, takes_token, without_tokens

LIBRARIES = ("torch", "transformers", "datasets", "accelerate", "tokenizers", "numpy")
NO_ENERGY = "not measured: this machine offers no reading"
COMPARED = {"fingerprint": "data", "versions": "versions", "launch": "launch"}  # entries, and what they are called
#: Arguments that a repeated run does not take over: where results go, and whether they leave the machine.
OWN = {"output_dir", "overwrite", "resume", "resume_from_checkpoint", "push_to_hub", "hub_model_id", "local_rank"}

logger = logging.getLogger(__name__)


class RunRecord:
    """The record of the running script in its output folder: written when it starts, and completed by `finish`.

    `arguments` are those of each group of flags. A folder that has a record is that of a run that is resumed: the
    command stays the one that began it, and another stretch is listed. `repeats` is the record of a run that this one
    repeats. Another launch, data or versions than those of an earlier record are warned of. Only a process that
    `writes` touches the folder.
    """

    def __init__(
        self,
        folder: Path,
        arguments: Mapping[str, Mapping[str, Any]],
        processes: int = 1,
        writes: bool = True,
        repeats: Path | None = None,
        **entries: Any,
    ):
        self.folder, self.writes = folder, writes
        self.meter, self.start, self.processor_start = EnergyMeter(), time.perf_counter(), processor_seconds()
        self.stretch: dict[str, Any] = {
            "command": command_line(processes),
            "start": now(),
            "machine": machine(processes),
            "git": git_state(Path(__file__).parent),
        }
        earlier = read_json(folder / RECORD_FILE) if (folder / RECORD_FILE).is_file() else {}
        self.content: dict[str, Any] = {
            "command": earlier.get("command", self.stretch["command"]),
            **entries,
            "arguments": portable(arguments),
            "cut": [name for part in arguments.values() for name in part if is_cut(part[name])],
            "versions": versions(),
            "stretches": [*ended(earlier.get("stretches", []), folder), self.stretch],
        }
        if writes:
            for path, before in ((folder / RECORD_FILE, earlier), (repeats, read_json(repeats) if repeats else {})):
                warn_of_changes(before, self.content, path)
        self.write()

    def write(self) -> None:
        if self.writes:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / RECORD_FILE, self.content, default=str)

    def finish(self) -> None:
        """Add when this stretch ended, and what it took; processor seconds are those of this process and its own."""
        self.stretch |= {
            "end": now(),
            "seconds": round(time.perf_counter() - self.start, 3),
            "processor_seconds": round(processor_seconds() - self.processor_start, 3),
            "energy_joules": self.meter.stop() or NO_ENERGY,
        }
        self.write()


def read_arguments(path: Path) -> dict[str, Any]:
    """The arguments that a record gives to a run that repeats it, by the names of their flags.

    Raises `InputError` for a file that is no record.
    """
    parts = read_json(path).get("arguments")
    if not isinstance(parts, dict) or not all(isinstance(part, dict) for part in parts.values()):
        raise InputError(f"{path} holds no arguments; give the {RECORD_FILE} of a run")
    given = {name: value for part in parts.values() for name, value in part.items()}
    return {name: value for name, value in given.items() if name not in OWN and not takes_token(f"--{name}")}


def warn_of_changes(before: Mapping[str, Any], after: Mapping[str, Any], path: Path | None) -> None:
    """Warn, one line each, of what is not as in an earlier record, so that results may differ."""
    for name, kind in COMPARED.items():
        old, new = before.get(name) or {}, after.get(name) or {}
        changed = [key for key in old | new if old.get(key) != new.get(key)]
        if old and changed:
            what = ", ".join(f"{key} {old.get(key, 'none')} is now {new.get(key, 'none')}" for key in changed)
            logger.warning("%s: other %s than then, so results may differ: %s", path, kind, what)


def ended(stretches: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """A run's stretches; of a last one that was killed, it is noted when it saved its last checkpoint."""
    saves = [moment(datetime.fromtimestamp(path.stat().st_mtime, UTC)) for path in folder.glob(f"*/{MANIFEST_FILE}")]
    if stretches and "end" not in stretches[-1] and saves and max(saves) >= stretches[-1]["start"]:
        return [*stretches[:-1], stretches[-1] | {"last_save": max(saves)}]
    return stretches


def now() -> str:
    return moment(datetime.now(UTC))


def moment(time: datetime) -> str:
    return time.isoformat(timespec="seconds")


def processor_seconds() -> float:
    """What this process and the ended ones that it started have had of the processor so far."""
    times = psutil.Process().cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def machine(processes: int) -> dict[str, Any]:
    """What a run's time, and the last bits of its sums, depend on; memory is in bytes."""
    return {
        "platform": platform.platform(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "memory": psutil.virtual_memory().total,
        "accelerators": accelerators(),
        "processes": processes,
        "threads": torch.get_num_threads(),
    }


def processor_name() -> str:
    """The processor's model, which Linux tells only in a file."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def accelerators() -> list[str]:
    """The devices beside the processor, by name where they have one."""
    if not torch.accelerator.is_available():
        return []
    kind = torch.accelerator.current_accelerator().type
    name_of = getattr(torch.get_device_module(kind), "get_device_name", lambda number: f"{kind}:{number}")
    return [name_of(number) for number in range(torch.accelerator.device_count())]


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit, branch and whether files that git knows have changed; nothing for a folder that is no part of a checkout.

    An installed package may lie within somebody's checkout, and is no part of it.
    """
    program = shutil.which("git")
    if program is None:
        return None

    def ask(*words: str) -> str | None:
        answer = subprocess.run([program, "-C", folder, *words], capture_output=True, text=True, check=False)
        return answer.stdout.strip() if answer.returncode == 0 else None

    if not ask("ls-files", "."):
        return None
    return {
        "commit": ask("rev-parse", "HEAD"),
        "branch": ask("rev-parse", "--abbrev-ref", "HEAD"),
        "changed": bool(ask("status", "--porcelain", "--untracked-files=no")),
    }


def versions() -> dict[str, str]:
    """The versions of this package, of Python and of what computes."""
    libraries = {name: version(name) for name in LIBRARIES}
    return {"mmnas_hf": __version__, "python": platform.python_version(), **libraries}


def command_line(processes: int = 1) -> str:
    """How the running script was called, without the folders of this machine."""
    start = "python" if processes == 1 else f"torchrun --nproc_per_node {processes}"
    script, *flags = sys.argv
    return f"{start} scripts/{Path(script).name} {shlex.join(portable(without_tokens(flags)))}".strip()
