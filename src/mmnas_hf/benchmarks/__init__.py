"""Measurements of speed and memory, by name; each gives rows of a table."""

from collections.abc import Callable, Sequence
from typing import Any

from .inference import measure_gallery, measure_inference
from .matching import measure_matching
from .steps import measure_steps
from .tables import measure_conversion, measure_reading
from .waiting import measure_waiting

MEASUREMENTS: dict[str, Callable[[], Sequence[dict[str, Any]]]] = {
    "reading": measure_reading,
    "waiting": measure_waiting,
    "steps": measure_steps,
    "matching": measure_matching,
    "conversion": measure_conversion,
    "inference": measure_inference,
    "gallery": measure_gallery,
}
