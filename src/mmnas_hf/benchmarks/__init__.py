"""Measurements of speed and memory, by name; each gives rows of a table, and some have a picture."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .growth import draw_growth, measure_growth
from .inference import measure_gallery, measure_inference
from .matching import measure_matching
from .profiling import measure_profile
from .quick import measure_quick
from .steps import measure_steps
from .tables import measure_conversion, measure_reading
from .waiting import measure_waiting

MEASUREMENTS: dict[str, Callable[[], Sequence[dict[str, Any]]]] = {
    "reading": measure_reading,
    "waiting": measure_waiting,
    "steps": measure_steps,
    "growth": measure_growth,
    "profile": measure_profile,
    "quick": measure_quick,
    "matching": measure_matching,
    "conversion": measure_conversion,
    "inference": measure_inference,
    "gallery": measure_gallery,
}
CHECKS = ("quick",)  # measured only when asked for: they measure nothing that the others do not

PICTURES: dict[str, Callable[[Sequence[Mapping[str, Any]], Path], None]] = {"growth": draw_growth}
