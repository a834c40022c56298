"""What a search notes of itself on the way, by which its result is doubted at the end."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import TrainerCallback

from ..corpus import first_images
from ..modeling_mmnas import Path
from .doubts import SATURATED, Sight, at_chance, left_entropy, saturated_early

if TYPE_CHECKING:
    from .trainer import SearchTrainer

# What is scored with and without images: as many paths of weight steps, on texts about so many images.
LOOKED_AT, IMAGES = 2, 250

logger = logging.getLogger(__name__)


class Signs(TrainerCallback):
    """Notes when architecture steps began, when they had decided, and whether the weights saw anything by then.

    A strategy without architecture steps looks at its weights when they are trained. Looking changes nothing of the
    search, no random state either.
    """

    def __init__(self, trainer: "SearchTrainer"):
        self.trainer = trainer
        self.started: int | None = None  # the first architecture step
        self.saturated: int | None = None  # the first after which hardly any entropy was left
        self.sight: Sight | None = None

    def before_architecture_step(self) -> None:
        if self.started is None:
            self.started = self.trainer.state.global_step
            self.look()

    def after_architecture_step(self) -> None:
        if self.saturated is None and left_entropy(self.trainer.strategy.probabilities()) < SATURATED:
            self.saturated = self.trainer.state.global_step

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.sight is None:
            self.look()

    def look(self) -> None:
        """Score what weight steps train with images and without, and warn if it is all the same."""
        trainer, paths = self.trainer, self.some_paths()
        rows = first_images(trainer.eval_dataset, IMAGES)
        with undisturbed(trainer.args.device):
            seen, blind = (
                fmean(trainer.score(path, corpus, rows) for path in paths)
                for corpus in (trainer.corpus, trainer.corpus.blind())
            )
        self.sight = Sight(seen, blind, len(rows))
        if (doubt := at_chance(self.sight)) and trainer.is_world_process_zero():
            logger.warning("step %d: %s", trainer.state.global_step, doubt)

    def some_paths(self) -> list[Path]:
        """The paths of the next weight steps that differ: single networks, or the one mixture that is trained."""
        step = self.trainer.state.global_step
        paths = [self.trainer.strategy.weight_path(later) for later in range(step, step + LOOKED_AT)]
        return [path for number, path in enumerate(paths) if path not in paths[:number]]

    def doubts(self) -> list[str | None]:
        """What is doubtful at the end of the search."""
        doubts = [] if self.sight is None else [at_chance(self.sight)]
        if self.started is not None:
            doubts.append(saturated_early(self.started, self.saturated, self.trainer.state.global_step))
        return doubts

    def state_dict(self) -> dict[str, Any]:
        sight = None if self.sight is None else self.sight._asdict()
        return {"started": self.started, "saturated": self.saturated, "sight": sight}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.started, self.saturated = state["started"], state["saturated"]
        self.sight = None if state["sight"] is None else Sight(**state["sight"])


@contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """Leaves every global random state, and that of the device, as it was."""
    states = random.getstate(), np.random.get_state()
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices, device_type="cuda" if device.type == "cpu" else device.type):
        yield
    random.setstate(states[0])
    np.random.set_state(states[1])
