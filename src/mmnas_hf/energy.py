"""Energy in joules, where the machine counts it: processor packages by Linux' powercap, GPUs by NVIDIA's library."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

POWERCAP = Path("/sys/class/powercap")
DOMAINS = ("package", "dram")  # a package counts its cores too, and no memory
SECONDS_BETWEEN_READINGS = 60  # a counter starts again at zero after some 40 minutes at full load
MICRO, MILLI = 1e-6, 1e-3


class Counter(NamedTuple):
    """A growing number of joules; one that reaches `limit` starts again at zero."""

    name: str
    read: Callable[[], float]
    limit: float = float("inf")


class EnergyMeter:
    """Adds up what all counters of the machine gain, from its making until `stop`; others' work is in it too."""

    def __init__(self, powercap: Path = POWERCAP):
        self.counters = [*processor_counters(powercap), *gpu_counters()]
        self.last = [counter.read() for counter in self.counters]
        self.joules = {counter.name: 0.0 for counter in self.counters}
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        if self.counters:
            self.thread.start()

    def watch(self) -> None:
        while not self.ended.wait(SECONDS_BETWEEN_READINGS):
            self.update()

    def update(self) -> None:
        for number, counter in enumerate(self.counters):
            now, last = counter.read(), self.last[number]
            self.joules[counter.name] += now - last if now >= last else now - last + counter.limit
            self.last[number] = now

    def stop(self) -> dict[str, float]:
        """Joules by counter; nothing if there are none."""
        self.ended.set()
        if self.counters:
            self.thread.join()
            self.update()
        return self.joules


def processor_counters(powercap: Path) -> Iterator[Counter]:
    """The counters of packages and their memory that this user may read; on most machines only root may."""
    for zone in sorted(powercap.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text().strip()
            limit = joules_in(zone / "max_energy_range_uj")
            joules_in(zone / "energy_uj")
        except (OSError, ValueError):
            continue
        if name.startswith(DOMAINS):
            yield Counter(f"{zone.name} {name}", lambda file=zone / "energy_uj": joules_in(file), limit)


def joules_in(file: Path) -> float:
    return int(file.read_text()) * MICRO


def gpu_counters() -> Iterator[Counter]:
    """The counters of the GPUs that torch sees; none without the package nvidia-ml-py, or where GPUs do not count."""
    if not torch.cuda.is_available():
        return
    try:
        import pynvml  # noqa: PLC0415 - an extra that is only of use on NVIDIA's machines
    except ImportError:
        return
    try:
        pynvml.nvmlInit()
        for number in range(torch.cuda.device_count()):
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(number).uuid}")
            read = partial(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle)
            read()
            yield Counter(f"cuda:{number}", lambda read=read: read() * MILLI)
    except pynvml.NVMLError:
        return
