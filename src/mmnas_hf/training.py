"""Training and scoring one network with transformers' Trainer: arguments, schedule, and what ties them to a corpus."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from datasets import Dataset
from huggingface_hub.utils import validate_repo_id
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler, SequentialSampler
from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import EvalLoopOutput, HubStrategy, IntervalStrategy

from .configuration_mmnas import MMnasConfig
from .corpus import Corpus
from .data.table import column_of
from .errors import InputError
from .launches import ending_together, only_cpus, refuse_sharding
from .matching import GIB, PairScorer
from .modeling_mmnas import MMnasForTask, MMnasOutput, Path
from .resumable import ResumableTrainer
from .sampling import GROUPED, GroupedByRegions
from .tasks import Rows, Task
from .tasks.negatives import ContrastedRows

#: Flags of Trainer, and what of a run's promises each would break.
BROKEN_BY = {
    "save_only_model": "a checkpoint holds all that a run needs to go on",
    "ignore_data_skip": "a resumed run sees the rows that one which never stopped would see",
    "dataloader_drop_last": "an epoch has all rows",
}


@dataclass
class TrainArguments(TrainingArguments):
    """Transformers' arguments with the optimiser of MMnas as defaults, and its staircase of learning rates."""

    _argument_group_name: ClassVar[str] = "training"

    per_device_train_batch_size: int = field(default=64, metadata={"help": "Texts a process and step."})
    per_device_eval_batch_size: int = field(default=256, metadata={"help": "Texts a process and evaluation step."})
    learning_rate: float = field(default=1e-4, metadata={"help": "Adam's base rate for the weights."})
    adam_beta2: float = field(default=0.98, metadata={"help": "Adam's second beta."})
    adam_epsilon: float = field(default=1e-9, metadata={"help": "Adam's epsilon."})
    lr_scheduler_type: str = field(default="constant", metadata={"help": "Schedule that the staircase multiplies."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate: no, steps or epoch."})
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints kept."})
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Leave this off: a loss that is no finite number ends the run."}
    )
    remove_unused_columns: bool = field(default=False, metadata={"help": "Rows are collated whole; leave this off."})
    # Trainer would take the processes of a launcher on a machine without a device for independent ones.
    use_cpu: bool = field(default=only_cpus(), metadata={"help": "Use no device; on where there is none."})
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "Allow parameters that a step does not use; networks trained whole have none."}
    )
    dataloader_pin_memory: bool = field(
        default=torch.accelerator.is_available(), metadata={"help": "Pin batches; on where there is a device."}
    )
    push_to_hub: bool = field(
        default=False,
        metadata={
            "help": "Upload the finished run, as scripts/push.py does: a search as its supernet and, beside it, the "
            "architecture that was found. Checkpoints are never uploaded."
        },
    )
    hub_model_id: str | None = field(
        default=None, metadata={"help": "OWNER/NAME to upload to; default: output_dir's name, under your own."}
    )
    hub_private_repo: bool = field(default=True, metadata={"help": "Make a repository that is new a private one."})
    ramp_epochs: int = field(
        default=3, metadata={"help": "Epochs e in which the rate is only e / (ramp_epochs + 1) of the base rate."}
    )
    decay_epochs: list[int] = field(
        default_factory=list,
        metadata={"help": "Epochs, from 0, at whose start the rate is multiplied by decay_factor."},
    )
    decay_factor: float = field(default=0.2, metadata={"help": "What the rate is multiplied by at decay_epochs."})
    hard_negatives: int = field(
        default=0,
        metadata={
            "help": "Matching: random wrong partners of each image and caption that are scored once an epoch, to train "
            "on the hardest 5; 0: on random ones."
        },
    )
    hard_negatives_from: int = field(default=0, metadata={"help": "First epoch, from 0, with hard negatives."})
    folds: int = field(
        default=1, metadata={"help": "Matching: score so many equal parts of the images apart, and report their mean."}
    )
    pair_memory: float | None = field(
        default=None,
        metadata={
            "help": "Matching: GiB for the pairs of image and caption that are scored at a time; default: what suits "
            "the device, 1/128 on CPUs and 1/2 elsewhere."
        },
    )

    def __post_init__(self) -> None:
        refuse_sharding(self)
        super().__post_init__()
        if self.hub_model_id is not None:
            validate_repo_id(self.hub_model_id)
        if self.hub_always_push or self.hub_revision or self.hub_strategy != HubStrategy.EVERY_SAVE:
            raise InputError("hub_strategy, hub_always_push and hub_revision: only finished runs are uploaded, to main")
        for name, broken in BROKEN_BY.items():
            if getattr(self, name):
                raise InputError(f"{name}: {broken}; leave it out")


def staircase(epoch: int, ramp_epochs: int, decay_epochs: list[int], decay_factor: float) -> float:
    """The factor of the learning rate in an epoch counted from 0: a linear ramp, then steps down."""
    ramp = min(1.0, (epoch + 1) / (ramp_epochs + 1))
    return ramp * decay_factor ** sum(epoch >= start for start in decay_epochs)


def epoch_steps(args: TrainingArguments, texts: int) -> int:
    """Optimiser steps that one pass over so many texts takes."""
    batch = args.train_batch_size * args.world_size * args.gradient_accumulation_steps
    return max(1, math.ceil(texts / batch))


def planned_steps(args: TrainingArguments, texts: int) -> int:
    """Optimiser steps of a whole training on so many texts."""
    if args.max_steps > 0:
        return args.max_steps
    return math.ceil(args.num_train_epochs * epoch_steps(args, texts))


def training_rows(rows: Rows, task: Task) -> Rows:
    """What batches are drawn from: columns that they need, copied so that no row has to be looked up in a selection.

    They are copied into memory: `flatten_indices` would write a file beside the data.
    """
    needed = rows.select_columns(["image_id", *task.columns]).with_format("arrow")
    return task.training_rows(Dataset(needed[:].combine_chunks()))


def grouping(rows: Rows, corpus: Corpus, args: TrainingArguments) -> list[int] | None:
    """The numbers of regions by which rows are grouped into batches, if they are."""
    if args.train_sampling_strategy != GROUPED:
        return None
    return corpus.store.counts(column_of(rows, "image_id"))


class TaskTrainer(ResumableTrainer):
    """A Trainer for one task's corpus: with the staircase of its `TrainArguments`, the task's scores, and negatives.

    `rows` are trained on and `scored` are evaluated; either may be left out.
    """

    args: TrainArguments

    def __init__(
        self,
        model: MMnasForTask,
        args: TrainArguments,
        corpus: Corpus,
        rows: Rows | None = None,
        scored: Rows | None = None,
        callbacks: Sequence[TrainerCallback] = (),
    ):
        self.task, self.corpus = corpus.task, corpus
        super().__init__(
            model=model,
            args=replace(args, push_to_hub=False),  # a Trainer would upload its checkpoints; the finished run is shared
            data_collator=corpus.collator(model.config),
            train_dataset=None if rows is None else training_rows(rows, corpus.task),
            eval_dataset=scored,
            processing_class=corpus.processor,
            callbacks=list(callbacks),
        )
        if args.train_sampling_strategy == GROUPED and self.contrasted:
            raise InputError(
                f"train_sampling_strategy {GROUPED}: wrong partners come from a batch of any images; use random"
            )
        if args.hard_negatives and rows is not None:
            self.add_callback(RefreshNegatives(self))

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        created = self.lr_scheduler is None
        scheduler = super().create_scheduler(num_training_steps, optimizer)
        if created:
            schedules = [partial(self.scale, schedule=schedule) for schedule in scheduler.lr_lambdas]
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(scheduler.optimizer, schedules)
        return self.lr_scheduler

    def scale(self, step: int, schedule: Any) -> float:
        args = self.args
        epoch = step // self.steps_per_epoch
        return schedule(step) * staircase(epoch, args.ramp_epochs, args.decay_epochs, args.decay_factor)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler | None:
        """Trainer's, but lengths are those that cost most: numbers of regions."""
        regions = grouping(self.train_dataset if train_dataset is None else train_dataset, self.corpus, self.args)
        if regions is None:
            return super()._get_train_sampler(train_dataset)
        return GroupedByRegions(regions, self.args.train_batch_size, self.args.seed)

    def _get_eval_sampler(self, eval_dataset: Any) -> Sampler | None:
        """Rows in their order, which Trainer would change where it groups: scores are found by it."""
        return SequentialSampler(eval_dataset)

    @property
    def steps_per_epoch(self) -> int:
        return epoch_steps(self.args, len(self.train_dataset))

    @property
    def planned_steps(self) -> int:
        return planned_steps(self.args, len(self.train_dataset))

    @property
    def evaluation_path(self) -> Path | None:
        """Which network of a supernet is evaluated."""
        return None

    @property
    def hides_progress(self) -> bool:
        return self.args.disable_tqdm or not self.is_world_process_zero()

    def pair_scorer(self) -> PairScorer:
        """What scores pairs of images and texts with the current network."""
        model = self.accelerator.unwrap_model(self.model)
        memory = None if self.args.pair_memory is None else round(self.args.pair_memory * GIB)
        place = (self.corpus.processor, self.corpus.store, self.accelerator, self.evaluation_path)
        return PairScorer(model.to(self.args.device), *place, pair_memory=memory)

    @property
    def contrasted(self) -> list[ContrastedRows]:
        """The rows whose negatives are refreshed."""
        return [self.train_dataset] if isinstance(self.train_dataset, ContrastedRows) else []

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Tensor | tuple[Tensor, Any]:
        """Trainer's; in training, the process' part of what the loss of all processes' batches together would be."""
        loss, output = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        loss = self.joint_loss(output, inputs) if model.training else loss
        return (loss, output) if return_outputs else loss

    def joint_loss(self, output: MMnasOutput, inputs: dict[str, Any]) -> Tensor:
        """A loss whose mean over processes is that of their batches as one: what it is divided by is counted in all."""
        processes = self.accelerator.num_processes
        if processes == 1:
            return output.loss
        model, mask = self.accelerator.unwrap_model(self.model), inputs["region_mask"].bool()
        terms = model.loss_terms(output, inputs["labels"], inputs["region_boxes"], mask)
        counts = self.accelerator.reduce(torch.stack([term.count for term in terms]), "sum").clamp(min=1) / processes
        return (torch.stack([term.total for term in terms]) / counts).sum()

    def refresh_negatives(self, epoch: int) -> None:
        """Look for hard negatives, unless those of this epoch came back with a checkpoint from its middle."""
        scorer = self.pair_scorer()
        with tqdm(desc="Looking for hard negatives", unit="pair", leave=False, disable=self.hides_progress) as bar:
            for rows in self.contrasted:
                if rows.hard is None or rows.hard.epoch != epoch:
                    rows.refresh(scorer, self.args.hard_negatives, self.args.seed, epoch, bar.update)

    def prediction_step(self, *args: Any, **kwargs: Any) -> tuple[Tensor | None, Any, Tensor | None]:
        """Trainer's, with only what the task's score needs: the targets of 200,000 questions alone would be 3 GB."""
        loss, outputs, _ = super().prediction_step(*args, **kwargs)
        return loss, self.task.reduce(outputs), None

    def predictions(self, rows: Rows) -> Any:
        """What the task keeps of the outputs for some rows."""
        row_by_row = partial(super().evaluation_loop, self.get_test_dataloader(rows), "Prediction", False)
        return self.task.predict(row_by_row, self, rows).predictions

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        row_by_row = partial(super().evaluation_loop, dataloader, description, False, ignore_keys, metric_key_prefix)
        output = self.task.predict(row_by_row, self, dataloader.dataset)
        scores = self.task.evaluate(output.predictions, dataloader.dataset, self.corpus.store, self.model.config)
        named = {f"{metric_key_prefix}_{name}": value for name, value in scores.items()}
        return output._replace(metrics={**output.metrics, **named})

    @property
    def parts(self) -> dict[str, Any]:
        return {**super().parts, **{f"negatives-{number}": rows for number, rows in enumerate(self.contrasted)}}


class RefreshNegatives(TrainerCallback):
    """Looks for hard negatives at the start of an epoch, with the network as it is then."""

    def __init__(self, trainer: TaskTrainer):
        self.trainer = trainer
        if not trainer.contrasted:
            raise InputError(f"hard_negatives {trainer.args.hard_negatives}: task {trainer.task.name} has no negatives")

    def on_epoch_begin(self, args: TrainArguments, state: Any, control: Any, **kwargs: Any) -> None:
        epoch = int(round(state.epoch, 6))
        if epoch >= args.hard_negatives_from:
            self.trainer.refresh_negatives(epoch)


def predict(model: MMnasForTask, corpus: Corpus, rows: Rows, args: TrainArguments) -> Any:
    """What the corpus' task keeps of a network's outputs for some rows."""
    with tempfile.TemporaryDirectory() as folder:  # a Trainer makes itself one; nothing stays in it
        trainer = TaskTrainer(model, replace(args, output_dir=folder, eval_strategy="no"), corpus)
        trainer.remove_callback(PrinterCallback)  # the scores are returned
        return trainer.predictions(rows)


def evaluate(model: MMnasForTask, corpus: Corpus, rows: Rows, args: TrainArguments) -> dict[str, float]:
    """Scores of a network on some rows, by plain metric names."""
    return corpus.task.evaluate(predict(model, corpus, rows, args), rows, corpus.store, model.config)


class Trained(NamedTuple):
    """A network trained from scratch and what it scored."""

    model: MMnasForTask
    metrics: dict[str, float]
    seconds: float

    @property
    def parameters(self) -> int:
        return self.model.num_parameters()


def build_model(corpus: Corpus, config: MMnasConfig, seed: int) -> MMnasForTask:
    """A freshly initialised network of the corpus' task."""
    set_seed(seed)
    return corpus.task.model_class(config)


def train(
    model: MMnasForTask,
    corpus: Corpus,
    rows: Rows,
    scored: Rows,
    args: TrainArguments,
    callbacks: Sequence[TrainerCallback] = (),
) -> Trained:
    """Train a network on `rows`, then score it on `scored`; checkpoints and evaluations follow `args`."""
    trainer = TaskTrainer(model, args, corpus, rows, scored, callbacks)
    if args.logging_strategy == IntervalStrategy.NO:
        trainer.remove_callback(PrinterCallback)
    with ending_together(args.output_dir):
        trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
        metrics = evaluate(model, corpus, scored, args)
    return Trained(model, metrics, trainer.clock.seconds)


def quiet(args: TrainArguments, **changes: Any) -> TrainArguments:
    """The same arguments for a network trained in passing: no evaluations, checkpoints or reports on the way."""
    silence = dict.fromkeys(("eval_strategy", "save_strategy", "logging_strategy"), "no")
    return replace(args, **silence, resume_from_checkpoint=None, report_to="none", disable_tqdm=True, **changes)
