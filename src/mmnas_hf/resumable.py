"""A Trainer that may be killed at any moment: what it resumes from is whole, and it ends as if it had never stopped."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from transformers import Trainer, TrainerCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import DefaultFlowCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput, rotate_checkpoints

from .checkpoints import STAGING_FOLDER, WRITE_ERRORS, forget_later_checkpoints, publish, seal, what_is_safe, writing
from .errors import InputError, RunError

DIVERGED = "--resume would repeat it exactly: start again with a lower --learning_rate, or look at the data"


class ResumableTrainer(Trainer):
    """Writes checkpoints whole or not at all, stops before a loss that is no number does harm, and resumes exactly.

    Subclasses say how many steps an epoch and the whole training have, and which other parts a checkpoint holds.
    """

    steps_per_epoch: int
    planned_steps: int
    state_file = "training_state.pt"
    is_saving = False
    failure: Exception | None = None

    def __init__(self, *args: Any, **kwargs: Any):
        self.clock = Clock()
        super().__init__(*args, **kwargs)
        self.remove_callback(DefaultFlowCallback)
        self.add_callback(EndEpochWithItsLastStep(self))
        self.losses = LossesSinceLog(self)
        self.add_callback(self.losses)

    def train(self, resume_from_checkpoint: str | None = None, **kwargs: Any) -> TrainOutput:
        """Trainer's; a run that had ended gets back what it ended with, and takes no further step."""
        if self.args.should_save:  # what a killed run was writing
            shutil.rmtree(Path(self.args.output_dir, STAGING_FOLDER), ignore_errors=True)
        if resume_from_checkpoint is not None:
            self.check_facts(resume_from_checkpoint)
            if self.had_ended(resume_from_checkpoint):
                return self.restore(resume_from_checkpoint)
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def had_ended(self, checkpoint: str) -> bool:
        """Whether nothing was left to do: all steps that are planned now were taken, or a callback ended the run."""
        state = TrainerState.load_from_json(str(Path(checkpoint, TRAINER_STATE_NAME)))
        control = state.stateful_callbacks.get("TrainerControl", {}).get("args", {})
        stopped = control.get("should_training_stop", False) and state.global_step < state.max_steps
        return stopped or state.global_step >= self.planned_steps

    def restore(self, checkpoint: str) -> TrainOutput:
        """A training without steps."""
        self._load_from_checkpoint(checkpoint)
        self.state = TrainerState.load_from_json(str(Path(checkpoint, TRAINER_STATE_NAME)))
        self.state.is_local_process_zero = self.is_local_process_zero()
        self.state.is_world_process_zero = self.is_world_process_zero()
        self.load_parts(checkpoint)
        self.control = self.callback_handler.on_train_begin(self.args, self.state, self.control)
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint is not None:
            self._load_best_model()
        self.control = self.callback_handler.on_train_end(self.args, self.state, self.control)
        if self.args.should_save:
            self.rotate()  # which a run that was killed while it ended had no time for
        return TrainOutput(self.state.global_step, 0.0, {})

    # Saving

    def _get_output_dir(self, trial: Any) -> str:
        folder = super()._get_output_dir(trial)
        return str(Path(folder, STAGING_FOLDER)) if self.is_saving else folder

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Trainer's, but written beside; it gets its name when every process has written, and older ones go after."""
        home, name = Path(self._get_output_dir(trial)), f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        staged = home / STAGING_FOLDER / name
        self.losses.gather()
        self.check_state()
        with self.writing_together(home / name, home):
            self.stage(model, trial)
        self.name_best(home, staged)
        with self.writing_together(home / name, home):
            if self.args.should_save:
                self.state.save_to_json(str(staged / TRAINER_STATE_NAME))  # with the name that the best one has now
                seal(staged)
                publish(staged, home / name)
                self.rotate()

    @contextmanager
    def writing_together(self, place: Path, home: Path) -> Iterator[None]:
        """`writing` in all processes, which wait for each other, and all raise what one of them raises."""
        failed = None
        try:
            with writing(place, home):
                yield
        except RunError as error:
            failed = error
        said = next(filter(None, gather_object([failed and str(failed)])), None)
        if said is not None:
            raise RunError(said) from failed

    def stage(self, model: nn.Module, trial: Any) -> None:
        self.is_saving, self.failure = True, None
        try:
            super()._save_checkpoint(model, trial)
        except WRITE_ERRORS as error:
            self.failure = self.failure or error  # of which the first is the cause of the others
        finally:
            self.is_saving = False
        if self.failure is not None:
            raise self.failure

    def save_model(self, *args: Any, **kwargs: Any) -> None:
        """Trainer's, but in a checkpoint a failure is kept for later: the other processes wait for this one first."""
        try:
            super().save_model(*args, **kwargs)
        except WRITE_ERRORS as error:
            if not self.is_saving:
                raise
            self.failure = error

    def name_best(self, home: Path, staged: Path) -> None:
        """Call the best checkpoint by the name that it gets, in all processes, should it be the one that is staged."""
        if self.state.best_model_checkpoint == str(staged):
            self.state.best_model_checkpoint = str(home / staged.name)

    def rotate(self) -> None:
        """Remove older checkpoints than are to be kept."""
        limit, best = self.args.save_total_limit, self.state.best_model_checkpoint
        rotate_checkpoints(self.args.output_dir, limit, best, use_mtime=True)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            state = {name: part.state_dict() for name, part in self.parts.items()}
            torch.save({"facts": self.facts, **state}, Path(output_dir, self.state_file))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.load_parts(checkpoint)

    def load_parts(self, checkpoint: str) -> None:
        """Give the parts back their state; what the folder has of later steps belongs to a run that was given up."""
        state = self.read_parts(checkpoint)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        if self.args.should_save:
            forget_later_checkpoints(Path(self.args.output_dir), Path(checkpoint))

    @property
    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds besides Trainer's own state, by name."""
        return {"clock": self.clock, "losses": self.losses}

    def read_parts(self, checkpoint: str) -> dict[str, Any]:
        return torch.load(Path(checkpoint, self.state_file), map_location="cpu", weights_only=True)

    @property
    def facts(self) -> dict[str, Any]:
        """What must be the same, by name, when a run goes on, and is told to who changed it."""
        return {"number of processes": self.args.world_size}

    def check_facts(self, checkpoint: str) -> None:
        """Raise `InputError` for a checkpoint of another kind of run."""
        earlier = self.read_parts(checkpoint)["facts"]
        for name, value in self.facts.items():
            if earlier.get(name) != value:
                raise InputError(
                    f"{checkpoint} is of a run whose {name} is {earlier.get(name)!r}, and not {value!r}; resume it "
                    "with the flags that it began with, or start another run in another output_dir"
                )

    # Steps

    @cached_property
    def weights(self) -> list[nn.Parameter]:
        """All parameters, which take long to find: a supernet has thousands of modules, of which a path runs few."""
        return list(self.model.parameters())

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        """Trainer's, of the parameters that have a gradient."""
        learnt = [parameter for parameter in self.weights if parameter.grad is not None]
        return self.accelerator.clip_grad_norm_(learnt, self.args.max_grad_norm)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Trainer's estimate, of parameters that are counted once."""
        return 6 * inputs[self.model.main_input_name].numel() * self.dense_parameters

    @cached_property
    def dense_parameters(self) -> int:
        return self.model.num_parameters(exclude_embeddings=True)

    # Losses that are no numbers

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        loss = super().training_step(*args, **kwargs)
        if self.accelerator.scaler is None:  # which skips by itself the steps that float16 was too narrow for
            self.check_loss(loss, f"the loss of weight step {self.state.global_step + 1}")
        return loss

    def check_loss(self, loss: Tensor, name: str) -> None:
        """Stop, in all processes, before an optimiser learns from a loss that is no finite number in one of them."""
        losses = self.accelerator.gather(loss.detach().reshape(1))
        if not losses.isfinite().all():
            raise self.diverged(f"{name} is {losses[~losses.isfinite()][0].item()}; nothing was learnt from it and")

    def check_state(self) -> None:
        """Stop before weights or parts that are no numbers are saved: a finite loss may have had other gradients.

        An architecture parameter of minus infinity is that of a candidate that was dropped.
        """
        step = self.state.global_step
        for name, parameter in self.model.named_parameters():
            if not parameter.isfinite().all():
                raise self.diverged(f"{name} is not finite after step {step};")
        for name, part in self.parts.items():
            if any(isinstance(leaf, Tensor) and leaf.isnan().any() for leaf in tree_leaves(part.state_dict())):
                raise self.diverged(f"the state of the {name} is no number after step {step};")

    def diverged(self, what: str) -> RunError:
        """The error with which a run ends that has met what is no number."""
        return RunError(f"{what} {what_is_safe(Path(self.args.output_dir))}; {DIVERGED}")


class EndEpochWithItsLastStep(DefaultFlowCallback):
    """Does what belongs to an epoch's end right after its last step, before the checkpoint of that step is written.

    Trainer does it after that checkpoint, and a run that is resumed from there would never do it.
    """

    def __init__(self, trainer: ResumableTrainer):
        self.trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_step_end(args, state, control, **kwargs)
        if state.global_step % self.trainer.steps_per_epoch == 0 or control.should_training_stop:
            super().on_epoch_end(args, state, control, **kwargs)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Nothing is left to do."""


class LossesSinceLog(TrainerCallback):
    """Keeps the losses that Trainer averages for its next log, which its own checkpoints leave out."""

    def __init__(self, trainer: ResumableTrainer):
        self.trainer = trainer
        self.sums = torch.zeros(1)  # one a process
        self.logged = 0  # the step of the last log
        self.carried: Tensor | None = None  # sums that came with a checkpoint

    def gather(self) -> None:
        """Ask all processes for their sums."""
        self.sums = self.trainer.accelerator.gather(self.trainer._tr_loss.reshape(1)).cpu().clone()
        self.logged = self.trainer._globalstep_last_logged

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Trainer has just set its own sums to zero."""
        if self.carried is None:
            return
        trainer, own = self.trainer, self.carried[args.process_index]
        trainer._tr_loss = own.to(args.device)
        trainer._globalstep_last_logged = self.logged
        trainer._total_loss_scalar = -own.item()  # the mean that Trainer tells at the end is over this call's steps
        self.carried = None

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self.sums, "logged": self.logged}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.carried, self.logged = state["sums"], state["logged"]


class Clock:
    """The seconds that a run has taken so far, with what earlier stretches took until they saved."""

    def __init__(self):
        self.start, self.before = time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        return self.before + time.perf_counter() - self.start

    def state_dict(self) -> dict[str, float]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.before = state["seconds"]
