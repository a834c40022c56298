"""What a search does between weight steps."""

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback
from transformers.trainer_callback import ProgressCallback
from transformers.trainer_utils import SaveStrategy

from .arguments import SearchArguments
from .strategy import Strategy

if TYPE_CHECKING:
    from .trainer import SearchTrainer


class ArchitectureSteps(TrainerCallback):
    """Runs an architecture step after every few weight steps: gradients are clean then, and nothing is saved yet."""

    def __init__(self, trainer: "SearchTrainer"):
        self.trainer = trainer

    def on_step_end(self, args: SearchArguments, state: Any, control: Any, **kwargs: Any) -> None:
        step = state.global_step
        if step > args.warm_up * state.max_steps and step % args.weight_steps == 0:
            self.trainer.architecture_step()

    def state_dict(self) -> dict[str, Any]:
        return {"loss": self.trainer.architecture_loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.trainer.architecture_loss = state["loss"]


class DropCandidates(TrainerCallback):
    """Narrows the search at the end of chosen epochs, before the checkpoint of that step is written."""

    def __init__(self, trainer: "SearchTrainer"):
        self.trainer = trainer

    def on_step_end(self, args: SearchArguments, state: Any, control: Any, **kwargs: Any) -> None:
        epoch, rest = divmod(state.global_step, self.trainer.steps_per_epoch)
        if not rest and epoch in args.progressive:
            self.trainer.strategy.drop_least_likely()


class StopWhenStable(TrainerCallback):
    """Ends the search when the genotype has been the same at the end of so many epochs."""

    def __init__(self, trainer: "SearchTrainer", epochs: int):
        self.trainer, self.epochs = trainer, epochs
        self.genotype: str | None = None
        self.stable = 0

    def on_step_end(self, args: SearchArguments, state: Any, control: Any, **kwargs: Any) -> None:
        ends_epoch = state.global_step % self.trainer.steps_per_epoch == 0
        if not self.epochs or not ends_epoch or state.global_step <= args.warm_up * state.max_steps:
            return
        genotype = str(self.trainer.strategy.genotype())
        self.stable = self.stable + 1 if genotype == self.genotype else 0
        self.genotype = genotype
        if self.stable >= self.epochs:
            control.should_training_stop = True
            control.should_save |= args.save_strategy != SaveStrategy.NO

    def state_dict(self) -> dict[str, Any]:
        return {"genotype": self.genotype, "stable": self.stable}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.genotype, self.stable = state["genotype"], state["stable"]


class SearchProgress(ProgressCallback):
    """A progress bar that shows losses, the architecture's entropy and the current genotype."""

    def __init__(self, strategy: Strategy):
        super().__init__()
        self.strategy = strategy

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or self.training_bar is None or "loss" not in (logs or {}):
            return
        shown = [f"{name} {logs[name]:.3g}" for name in ("loss", "architecture_loss", "entropy") if name in logs]
        genotype = self.strategy.genotype()
        self.training_bar.set_postfix_str(", ".join([*shown, *([] if genotype is None else [str(genotype)])]))
