"""The networks behind the page."""

from collections.abc import Mapping
from pathlib import Path

from ..cli.loading import load_model, load_processor
from ..data.scenes import FEATURE_SIZE
from ..detection import ScenesDetector
from ..errors import InputError
from ..pipeline_mmnas import PIPELINES, MMnasPipeline
from ..tasks import TASKS

KINDS = {kind.network: kind for kind in PIPELINES.values()}


def default_folder(task: str) -> str:
    """Where `scripts/train.py` leaves a network for `scenes`."""
    return f"runs/train-scenes-{task}"


def load_networks(sources: Mapping[str, str]) -> dict[str, MMnasPipeline]:
    """A pipeline for each task whose network, in a folder or on the Hub, is there.

    A default folder may be missing, if not all of them are; a network that was named may not.
    """
    there = {
        task: source for task, source in sources.items() if source != default_folder(task) or Path(source).is_dir()
    }
    if not there:
        places = " nor ".join(sources.values())
        raise InputError(f"no network at {places}; train one: python scripts/train.py --task {next(iter(sources))}")
    return {task: load_pipeline(task, source) for task, source in there.items()}


def load_pipeline(task: str, source: str) -> MMnasPipeline:
    """A pipeline that takes pictures, for a network that was trained on `scenes`."""
    model = load_model(TASKS[task], source)
    if model.config.region_size != FEATURE_SIZE:
        widths = f"regions of width {model.config.region_size}, those of the page's pictures have {FEATURE_SIZE}"
        raise InputError(f"{source!r} reads {widths}; give a network that was trained on scenes")
    return KINDS[type(model).__name__](model, load_processor(source), detector=ScenesDetector())
