"""The search: Trainer's own steps train sampled paths' weights, a callback adds architecture steps."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path as FilePath
from typing import Any, ClassVar

import torch
from accelerate import skip_first_batches
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_utils import SaveStrategy

from ..checkpoints import flush, writing
from ..corpus import Corpus
from ..errors import InputError
from ..files import write_text
from ..launches import refuse_threads
from ..modeling_mmnas import MMnasForTask, Path
from ..speedups import frozen
from ..tasks import Rows
from ..tasks.negatives import ContrastedRows
from ..training import TaskTrainer, TrainArguments, epoch_steps, grouping, planned_steps, training_rows
from .cost import Prices, SearchCost, has_gradient, measure_prices, typical_batch
from .processes import average_gradients, check_agreement, mean_over_processes
from .signs import Signs
from .strategy import Strategy, mean_entropy

LOG_FILE = "search_log.jsonl"
CHOSEN = "chosen"  # marks the entry of what was chosen after training


@dataclass
class SearchArguments(TrainArguments):
    """Training arguments and those of the search (MMnas §4)."""

    _argument_group_name: ClassVar[str] = "search and training"

    warm_up: float = field(
        default=0.2,
        metadata={"help": "Share of the steps that only train weights, before the first architecture step."},
    )
    weight_steps: int = field(default=5, metadata={"help": "Weight steps for each architecture step."})
    strategy: str = field(
        default="proxyless",
        metadata={
            "help": "How the architecture is found: proxyless (binary gates), darts (a mixture of all candidates), "
            "gumbel (straight-through Gumbel-softmax), enas (policy gradient), uniform (uniform paths, then "
            "evolution), random (uniform paths, then random search)."
        },
    )
    gates: str = field(
        default="full",
        metadata={"help": "Proxyless: candidates that run in an architecture step, full (all) or two (a node)."},
    )
    evaluations: int = field(
        default=100, metadata={"help": "Uniform, random: networks scored with the supernet's weights after training."}
    )
    population: int = field(default=20, metadata={"help": "Uniform: networks that evolution breeds from."})
    progressive: list[int] = field(
        default_factory=list,
        metadata={"help": "Epochs, from 1, at whose end each node's least likely candidate leaves the search."},
    )
    architecture_learning_rate: float = field(default=0.1, metadata={"help": "Adam's rate for the architecture."})
    prior: str = field(
        default="none", metadata={"help": "Where the architecture starts: none (uniform), random, or hand-made."}
    )
    stable_epochs: int = field(
        default=0, metadata={"help": "Stop once the genotype has not changed for so many epochs; 0: never stop early."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_threads(self)
        if not 0 <= self.warm_up <= 1:
            raise InputError(f"warm_up {self.warm_up} is no share of the steps; give one from 0 to 1")
        if self.weight_steps < 1:
            raise InputError(f"weight_steps {self.weight_steps} leaves no weight step; give at least 1")


class SearchTrainer(TaskTrainer):
    """Alternates weight steps on `rows` with architecture steps on `architecture_rows`, and evaluates on `scored`.

    The strategy owns the architecture and samples the paths.
    """

    args: SearchArguments

    def __init__(
        self,
        model: MMnasForTask,
        args: SearchArguments,
        strategy: Strategy,
        corpus: Corpus,
        rows: Rows,
        architecture_rows: Rows,
        scored: Rows,
    ):
        self.strategy = strategy
        self.architecture_batches = BatchStream(self.make_architecture_loader)
        self.architecture_dataset = training_rows(architecture_rows, corpus.task)
        self.architecture_loss: float | None = None  # the last one, averaged over processes
        self.scored_alone: Path | None = None
        self.cost = SearchCost(self.measure_prices, args.world_size)
        super().__init__(model, args, corpus, rows, scored)
        for replaced in (ProgressCallback, PrinterCallback):
            self.remove_callback(replaced)
        self.architecture_steps = ArchitectureSteps(self)
        self.add_callback(self.architecture_steps)
        self.add_callback(DropCandidates(self))
        self.stability = StopWhenStable(self, self.args.stable_epochs)
        self.add_callback(self.stability)
        self.signs = Signs(self)
        self.add_callback(self.signs)
        if not self.args.disable_tqdm:
            self.add_callback(SearchProgress(strategy))

    def create_accelerator_and_postprocess(self) -> None:
        """Trainer's, but the network is not wrapped: `DistributedDataParallel` sends zeros for what no path runs."""
        super().create_accelerator_and_postprocess()
        self.accelerator.prepare_model = partial(self.accelerator.prepare_model, evaluation_mode=True)

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        prepared = super()._prepare_for_training(*args, **kwargs)
        self.check_agreement()
        return prepared

    def check_agreement(self) -> None:
        """Raise `RunError` in all processes if they no longer search as one."""
        step, strategy = self.state.global_step, self.strategy
        states = {
            "alphas": strategy.state_dict(),
            "path": (strategy.weight_path(step), self.evaluation_path),
            "weights": self.model.state_dict(),
        }
        check_agreement(self.accelerator, step, states)

    def measure_prices(self) -> Prices:
        rows, size = self.train_dataset, self._train_batch_size
        regions = grouping(rows, self.corpus, self.args)
        return measure_prices(self.model, typical_batch(rows, self.data_collator, size, regions))

    def make_architecture_loader(self) -> DataLoader:
        return self._get_dataloader(
            self.architecture_dataset,
            description="Architecture",
            batch_size=self._train_batch_size,
            sampler_fn=self._get_train_sampler,
            is_training=True,
        )

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Tensor | tuple[Tensor, Any]:
        """The loss of this step's sampled path or, in evaluation, of the most probable network."""
        path = self.strategy.weight_path(self.state.global_step) if model.training else self.evaluation_path
        if model.training:
            self.cost.add_weight_step(path, len(inputs["input_ids"]))
        return super().compute_loss(model, {**inputs, "path": path}, return_outputs=return_outputs, **kwargs)

    def training_step(self, model: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        """Trainer's, and after the last batch of an optimiser step the gradients of the path's parameters averaged."""
        loss = super().training_step(model, *args, **kwargs)
        if self.accelerator.sync_gradients and self.accelerator.num_processes > 1:
            learnt = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
            # Processes that averaged different parameters would wait for each other, or mix them up.
            check_agreement(self.accelerator, self.state.global_step, {"path": learnt})
            average_gradients(model.parameters())
        return loss

    @property
    def evaluation_path(self) -> Path:
        """What is scored alone, the most probable network or, as long as none is, one that weight steps may train."""
        if self.scored_alone is not None:
            return self.scored_alone
        genotype = self.strategy.genotype()
        return self.strategy.weight_path(self.state.global_step) if genotype is None else genotype.as_path()

    def score(self, path: Path, corpus: Corpus, rows: Rows) -> float:
        """The metric of one path of the supernet on some rows, as a corpus shows them."""
        own = self.corpus, self.data_collator
        self.scored_alone = path
        self.corpus, self.data_collator = corpus, corpus.collator(self.model.config)
        try:
            predictions = self.predictions(rows)
            self.control = self.callback_handler.on_predict(self.args, self.state, self.control, {})  # closes its bar
        finally:
            self.scored_alone = None
            self.corpus, self.data_collator = own
        return self.task.evaluate(predictions, rows, corpus.store, self.model.config)[self.task.metric]

    @property
    def contrasted(self) -> list[ContrastedRows]:
        own = [self.architecture_dataset] if isinstance(self.architecture_dataset, ContrastedRows) else []
        return [*super().contrasted, *own]

    def refresh_negatives(self, epoch: int) -> None:
        super().refresh_negatives(epoch)
        self.architecture_batches.rewind()

    def architecture_step(self) -> None:
        path = self.strategy.architecture_path(self.state.global_step)
        if path is None:
            return
        self.signs.before_architecture_step()
        model = self.model_wrapped
        model.train()
        inputs = self._prepare_inputs(self.architecture_batches.next())
        name = f"architecture step after weight step {self.state.global_step}"
        with frozen(model):
            with self.compute_loss_context_manager(), torch.set_grad_enabled(has_gradient(path)):
                loss = self.joint_loss(model(**inputs, path=path), inputs)
            self.check_loss(loss, f"the loss of the {name}")
            try:
                self.strategy.update(loss)
            except FloatingPointError as error:
                raise self.diverged(f"{error} in the {name};") from None
        self.cost.add_architecture_step(path, len(inputs["input_ids"]))
        self.architecture_loss = mean_over_processes(loss, loss.device).item()
        self.signs.after_architecture_step()

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:
            logs["entropy"] = mean_entropy(self.strategy.probabilities())
            if self.architecture_loss is not None:
                logs["architecture_loss"] = self.architecture_loss
        super().log(logs, *args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Score the most probable network and add a line to the search log."""
        self.check_agreement()
        metrics = super().evaluate(*args, **kwargs)
        if self.is_world_process_zero():
            append_entry(self.log_file, self.log_entry(without_timings(metrics)))
        return metrics

    def note_choice(self) -> None:
        """Add what was chosen after training to the search log."""
        if self.is_world_process_zero():
            append_entry(self.log_file, {**self.log_entry({}), CHOSEN: True})

    @property
    def log_file(self) -> FilePath:
        return FilePath(self.args.output_dir, LOG_FILE)

    def log_entry(self, metrics: dict[str, float]) -> dict[str, Any]:
        probabilities, nodes = self.strategy.probabilities(), len(self.strategy.space.encoder)
        genotype = self.strategy.genotype()
        return {
            "step": self.state.global_step,
            "genotype": None if genotype is None else str(genotype),
            "entropy": mean_entropy(probabilities),
            "metrics": metrics,
            "encoder": probabilities[:nodes],
            "decoder": probabilities[nodes:],
        }

    @property
    def parts(self) -> dict[str, Any]:
        own = {"strategy": self.strategy, "batches": self.architecture_batches, "steps": self.architecture_steps}
        return {**super().parts, **own, "stability": self.stability, "signs": self.signs, "cost": self.cost}

    @property
    def facts(self) -> dict[str, Any]:
        own = {"strategy": self.args.strategy, "gates": self.args.gates, "search space": str(self.strategy.space)}
        return {**super().facts, **own}

    def load_parts(self, checkpoint: str) -> None:
        super().load_parts(checkpoint)
        if self.is_world_process_zero():
            forget_later_lines(self.log_file, self.state.global_step)


class BatchStream:
    """Endless batches of a shuffled loader, whose position can be saved and found again.

    The order is a function of the epoch alone, and drawing it leaves the global random state untouched.
    """

    def __init__(self, make_loader: Callable[[], DataLoader]):
        self.make_loader = make_loader
        self.epoch, self.seen = 0, 0
        self.loader: DataLoader | None = None
        self.batches = None

    def next(self) -> dict[str, Tensor]:
        if self.batches is None:
            self.batches = self.start_epoch()
        try:
            batch = next(self.batches)
        except StopIteration:
            self.epoch, self.seen, self.batches = self.epoch + 1, 0, None
            return self.next()
        self.seen += 1
        return batch

    def start_epoch(self) -> Any:
        self.loader = self.loader or self.make_loader()
        self.loader.set_epoch(self.epoch)
        loader = skip_first_batches(self.loader, self.seen) if self.seen else self.loader
        # A loader draws a seed for its workers when it starts; from a generator of its own it disturbs nobody.
        loader.base_dataloader.generator = torch.Generator().manual_seed(self.epoch)
        return iter(loader)

    def rewind(self) -> None:
        """Forget what was read ahead, so that the next batch is made of the rows as they are now."""
        self.batches = None

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "seen": self.seen}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.seen = state["epoch"], state["seen"]
        self.rewind()


class ArchitectureSteps(TrainerCallback):
    """Runs an architecture step after every few weight steps: gradients are clean then, and nothing is saved yet."""

    def __init__(self, trainer: SearchTrainer):
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

    def __init__(self, trainer: SearchTrainer):
        self.trainer = trainer

    def on_step_end(self, args: SearchArguments, state: Any, control: Any, **kwargs: Any) -> None:
        epoch, rest = divmod(state.global_step, self.trainer.steps_per_epoch)
        if not rest and epoch in args.progressive:
            self.trainer.strategy.drop_least_likely()


def check_progressive(args: SearchArguments, texts: int) -> None:
    """Raise `InputError` for an epoch of so many texts that ends before anything is learnt, or never."""
    steps, epoch = planned_steps(args, texts), epoch_steps(args, texts)
    first = (int(args.warm_up * steps) // args.weight_steps + 1) * args.weight_steps
    for number in args.progressive:
        if not first <= number * epoch <= steps:
            raise InputError(
                f"progressive {number}: that epoch ends at step {number * epoch}, but architecture steps begin at "
                f"{first} and the search ends at {steps}; give epochs that end in between"
            )


class StopWhenStable(TrainerCallback):
    """Ends the search when the genotype has been the same at the end of so many epochs."""

    def __init__(self, trainer: SearchTrainer, epochs: int):
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


def without_timings(metrics: dict[str, float]) -> dict[str, float]:
    """What two runs of one seed have in common."""
    return {name: value for name, value in metrics.items() if not name.endswith(("time", "_per_second"))}


def append_entry(log: FilePath, entry: dict[str, Any]) -> None:
    """Add a line to a log, on the disk before any checkpoint that comes after it."""
    with writing(log, log.parent):
        with log.open("a") as lines:
            lines.write(json.dumps(entry) + "\n")
        flush(log)


def read_log(log: FilePath) -> list[dict[str, Any]]:
    """The entries of a search log, one an evaluation."""
    return [json.loads(line) for line in whole_lines(log)]


def whole_lines(log: FilePath) -> list[str]:
    """The lines of a log with their ends; a last one that was cut short has none, and is left out."""
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    return [line for line in lines if line.endswith("\n")]


def forget_later_lines(log: FilePath, step: int) -> None:
    """Drop what an interrupted run wrote after the checkpoint that it now continues from, such as its choice."""
    if log.exists():
        entries = ((line, json.loads(line)) for line in whole_lines(log))
        kept = [line for line, entry in entries if entry["step"] <= step and CHOSEN not in entry]
        write_text(log, "".join(kept))
