"""The sizes and schedules of MMnas for the published data sets, as values of script flags."""

from collections.abc import Mapping
from typing import Any

from . import PUBLICATIONS

Settings = Mapping[str, Any]

EPOCHS = {"eval_strategy": "epoch", "save_strategy": "epoch", "per_device_train_batch_size": 64, "pooler_size": 512}
SEARCH = {**EPOCHS, "hidden_size": 256, "learning_rate": 4e-4, "num_train_epochs": 100, "warm_up": 0.2}
TRAINING = {**EPOCHS, "hidden_size": 512, "num_train_epochs": 13, "decay_epochs": [10, 12]}
# A network found in 100 epochs is trained for 13, and one found in 200 for 100.
RETRAINING = {"retrain_budget": 0.13}

SETTINGS: Mapping[str, Mapping[str, Settings]] = {
    "vqa": {
        "search": {**SEARCH, **RETRAINING, "retrain_learning_rate": 1.2e-4},
        "train": {**TRAINING, "learning_rate": 1.2e-4, "genotype": "mmnas-vqa"},
    },
    "vgd": {
        "search": {**SEARCH, **RETRAINING, "retrain_learning_rate": 1.4e-4},
        "train": {**TRAINING, "learning_rate": 1.4e-4, "genotype": "mmnas-vgd"},
    },
    "itm": {
        "search": {
            **SEARCH,
            "learning_rate": 1e-4,
            "num_train_epochs": 200,
            "warm_up": 0.1,
            "retrain_budget": 0.5,
            "retrain_learning_rate": 1.5e-4,
            "hard_negatives": 32,
            "hard_negatives_from": 10,
        },
        "train": {
            **TRAINING,
            "learning_rate": 1.5e-4,
            "num_train_epochs": 100,
            "decay_epochs": [36],
            "hard_negatives": 64,
            "genotype": "mmnas-itm",
        },
    },
}


def published_settings(publication: str | None, task: str, what: str) -> Settings:
    """The flags for one of the published data sets, and none for any other; `what` is "search" or "train"."""
    known = publication in PUBLICATIONS and PUBLICATIONS[publication].task == task
    return SETTINGS[task][what] if known else {}
