"""The data sets, by name, each with the settings that suit it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..sampling import GROUPED
from .coco_objects import load_coco_objects
from .folder import load_folder, load_settings, save_folder
from .hub import download_data, download_settings, is_hub_name
from .nlvr import load_nlvr
from .published.settings import published_settings
from .scenes import load_scenes
from .store import RegionStore
from .table import IMAGE_FEATURES, ImageTextData, image_row, keep_groups

Settings = Mapping[str, Any]  # values of script flags


@dataclass(frozen=True)
class DataSource:
    """How a data set is loaded, for a task and from a folder, and which flags suit it.

    `task` is its usual one; `task_settings` are by task, and `training_settings` of these only concern `train.py`.
    """

    load: Callable[[str, str | None], ImageTextData]
    settings: Settings = field(default_factory=dict)
    task_settings: Mapping[str, Settings] = field(default_factory=dict)
    training_settings: Mapping[str, Settings] = field(default_factory=dict)
    task: str = "vgd"

    def settings_for(self, task: str, training: bool = False) -> dict[str, Any]:
        own = self.training_settings.get(task, {}) if training else {}
        return {**self.settings, **self.task_settings.get(task, {}), **own}


# Small networks that learn these small data sets in minutes on two CPU cores.
SMALL = {
    "hidden_size": 64,
    "word_size": 64,
    "pooler_size": 64,
    "encoder_nodes": 2,
    "decoder_nodes": 4,
    "dropout": 0.0,
    "ramp_epochs": 0,
    "learning_rate": 1e-3,
    "logging_steps": 50,
    "eval_strategy": "steps",
    "save_strategy": "steps",
}

DATASETS: dict[str, DataSource] = {
    "scenes": DataSource(
        lambda task, _: load_scenes(task),
        {**SMALL, "max_steps": 2000, "warm_up": 0.5, "eval_steps": 1000, "save_steps": 1000, "retrain_budget": 0.4},
        # No published candidate sees direction, so texts about it would only get in the way of the others.
        {
            "vqa": {
                "groups": ["none", "direction-free"],
                "train_sampling_strategy": GROUPED,
                "max_steps": 9600,
                "warm_up": 5 / 6,
                "eval_steps": 400,
                "retrain_budget": 0.2,
            },
            "vgd": {
                "groups": ["none", "direction-free"],
                "train_sampling_strategy": GROUPED,
                "decoder_nodes": 6,
                "max_steps": 5000,
                "warm_up": 0.75,
                "eval_steps": 250,
                "retrain_budget": 0.18,
            },
            "itm": {
                "decoder_nodes": 6,
                "eval_images": 100,
                "per_device_train_batch_size": 32,
                # From random paths alone a supernet may not learn to match within 6,000 steps; from the original
                # program's start it does within 500.
                "prior": "hand-made",
                "max_steps": 4500,
                "warm_up": 2 / 3,
                # With 900 steps, what is trained says how soon a network starts to learn, not how far.
                "retrain_budget": 0.4,
            },
        },
        # One network alone is trained in minutes: what searches with the settings above found for questions and
        # expressions, and for captions the best of several that were tried. Their batches are as those of the networks
        # in model_cards were.
        {
            "vqa": {
                "genotype": "SS|GGRR",
                "train_sampling_strategy": "random",
                "max_steps": 3000,
                "eval_steps": 1000,
            },
            "vgd": {
                "genotype": "SS|GGGGRR",
                "train_sampling_strategy": "random",
                "max_steps": 2000,
                "eval_steps": 1000,
            },
            "itm": {"genotype": "SS|GGGRGR", "max_steps": 2500, "eval_steps": 2500},
        },
    ),
    "nlvr": DataSource(
        load_nlvr,
        {**SMALL, "max_steps": 2000, "warm_up": 0.5, "eval_steps": 200, "save_steps": 500, "retrain_budget": 0.5},
        task="vqa",
    ),
    "coco-objects": DataSource(
        load_coco_objects,
        {**SMALL, "max_steps": 2000, "warm_up": 0.5, "eval_steps": 500, "save_steps": 500, "retrain_budget": 0.25},
        {"itm": {"per_device_train_batch_size": 32}},
        task="itm",
    ),
}


def find_source(name: str) -> DataSource:
    """The data set of this name, the folder of this path, or the repository of this name on the Hub."""
    if name in DATASETS:
        return DATASETS[name]
    if Path(name).is_dir():
        return table_source(load_settings(Path(name)), lambda task, _: load_folder(Path(name), task))
    if is_hub_name(name):
        return table_source(download_settings(name), lambda task, _: load_folder(download_data(name, task), task))
    raise InputError(
        f"unknown data set {name!r}; known: {', '.join(DATASETS)}, the path of a folder, or OWNER/NAME on the Hub"
    )


def facts_name(name: str) -> str:
    """What `data.facts` knows a data set by: its own name, or that of the publication that a folder was built from."""
    if name in DATASETS:
        return name
    if Path(name).is_dir():
        return load_settings(Path(name)).get("publication", Path(name).name)
    return download_settings(name).get("publication", name)


def table_source(settings: Mapping[str, Any], load: Callable[[str, str | None], ImageTextData]) -> DataSource:
    """A folder of tables with what its `dataset.json` says."""
    splits = {f"{role}_split": split for role, split in settings.get("splits", {}).items()}
    published = partial(published_settings, settings.get("publication"))
    task = settings.get("task", DataSource.task)
    return DataSource(load, splits, {task: published(task, "search")}, {task: published(task, "train")}, task)


__all__ = [
    "DATASETS",
    "IMAGE_FEATURES",
    "DataSource",
    "ImageTextData",
    "RegionStore",
    "facts_name",
    "find_source",
    "image_row",
    "keep_groups",
    "load_nlvr",
    "load_scenes",
    "save_folder",
]
