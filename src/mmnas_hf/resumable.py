"""A Trainer that may be killed at any moment: what it resumes from is whole, and it ends as if it had never stopped."""

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import DefaultFlowCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput, rotate_checkpoints

from .checkpoints import STAGING_FOLDER, publish, seal, what_is_safe, writing
from .errors import RunError

DIVERGED = "--resume would repeat it exactly: start again with a lower --learning_rate, or look at the data"


class ResumableTrainer(Trainer):
    """Writes checkpoints whole or not at all, stops before a loss that is no number does harm, and resumes exactly.

    Subclasses say how many steps an epoch and the whole training have, and which parts of theirs a checkpoint holds.
    """

    steps_per_epoch: int
    planned_steps: int
    parts: dict[str, Any]
    state_file = "training_state.pt"
    is_saving = False

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.remove_callback(DefaultFlowCallback)
        self.add_callback(EndEpochWithItsLastStep(self))

    def train(self, resume_from_checkpoint: str | None = None, **kwargs: Any) -> TrainOutput:
        """Trainer's; a run that had ended gets back what it ended with, and takes no further step."""
        if resume_from_checkpoint is not None and self.had_ended(resume_from_checkpoint):
            return self.restore(resume_from_checkpoint)
        if self.args.should_save:  # what a killed run was writing
            shutil.rmtree(Path(self.args.output_dir, STAGING_FOLDER), ignore_errors=True)
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
        for event in (self.callback_handler.on_train_begin, self.callback_handler.on_train_end):
            self.control = event(self.args, self.state, self.control)
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint is not None:
            self._load_best_model()
        return TrainOutput(self.state.global_step, 0.0, {})

    # Saving

    def _get_output_dir(self, trial: Any) -> str:
        folder = super()._get_output_dir(trial)
        return str(Path(folder, STAGING_FOLDER)) if self.is_saving else folder

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Trainer's, but written beside; it gets its name when every process has written, and older ones go after."""
        home, name = Path(self._get_output_dir(trial)), f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        staged = home / STAGING_FOLDER / name
        self.check_weights(home)
        with writing(home / name, home):
            self.stage(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            with writing(home / name, home):
                self.name_best(home, staged)
                seal(staged)
                publish(staged, home / name)
                best = self.state.best_model_checkpoint
                rotate_checkpoints(str(home), self.args.save_total_limit, best, use_mtime=True)
        self.accelerator.wait_for_everyone()

    def stage(self, model: nn.Module, trial: Any) -> None:
        self.is_saving = True
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.is_saving = False

    def name_best(self, home: Path, staged: Path) -> None:
        """Call the best checkpoint by the name that it gets, should it be the one that is staged."""
        if self.state.best_model_checkpoint == str(staged):
            self.state.best_model_checkpoint = str(home / staged.name)
            self.state.save_to_json(str(staged / TRAINER_STATE_NAME))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save and self.parts:
            state = {name: part.state_dict() for name, part in self.parts.items()}
            torch.save(state, Path(output_dir, self.state_file))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            self.load_parts(checkpoint)

    def load_parts(self, checkpoint: str) -> None:
        """Give the parts back their state."""
        if not self.parts:
            return
        state = torch.load(Path(checkpoint, self.state_file), map_location="cpu", weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])

    # Losses that are no numbers

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        loss = super().training_step(*args, **kwargs)
        self.check_loss(loss, f"the loss of weight step {self.state.global_step + 1}")
        return loss

    def check_loss(self, loss: Tensor, name: str) -> None:
        """Stop before an optimiser learns from a loss that is no finite number.

        A scaler of float16 losses skips such steps by itself.
        """
        if self.accelerator.scaler is None and not torch.isfinite(loss):
            safe = what_is_safe(Path(self.args.output_dir))
            raise RunError(f"{name} is {loss.item()}; nothing was learnt from it and {safe}; {DIVERGED}")

    def check_weights(self, folder: Path) -> None:
        """Stop before weights that are no finite numbers are saved: a finite loss may have had other gradients."""
        for name, parameter in self.model.named_parameters():
            if not torch.isfinite(parameter).all():
                step = self.state.global_step
                raise RunError(f"{name} is not finite after step {step}; {what_is_safe(folder)}; {DIVERGED}")


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
