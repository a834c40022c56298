"""Training and scoring one network with transformers' Trainer: arguments, schedule, and what ties them to a corpus."""

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from transformers import EvalPrediction, Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import IntervalStrategy

from .configuration_mmnas import MMnasConfig
from .corpus import Corpus
from .modeling_mmnas import MMnasForTask
from .tasks import Rows, Task


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
    remove_unused_columns: bool = field(default=False, metadata={"help": "Rows are collated whole; leave this off."})
    dataloader_pin_memory: bool = field(
        default_factory=torch.accelerator.is_available, metadata={"help": "Pin batches; on where there is a device."}
    )
    ramp_epochs: int = field(
        default=3, metadata={"help": "Epochs e in which the rate is only e / (ramp_epochs + 1) of the base rate."}
    )
    decay_epochs: list[int] = field(
        default_factory=list,
        metadata={"help": "Epochs, from 0, at whose start the rate is multiplied by decay_factor."},
    )
    decay_factor: float = field(default=0.2, metadata={"help": "What the rate is multiplied by at decay_epochs."})


def staircase(epoch: int, ramp_epochs: int, decay_epochs: list[int], decay_factor: float) -> float:
    """The factor of the learning rate in an epoch counted from 0: a linear ramp, then steps down."""
    ramp = min(1.0, (epoch + 1) / (ramp_epochs + 1))
    return ramp * decay_factor ** sum(epoch >= start for start in decay_epochs)


class StaircaseTrainer(Trainer):
    """A Trainer whose schedule is multiplied by the staircase of its `TrainArguments`."""

    args: TrainArguments

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

    @property
    def steps_per_epoch(self) -> int:
        batch = self.args.train_batch_size * self.args.world_size * self.args.gradient_accumulation_steps
        return max(1, math.ceil(len(self.train_dataset) / batch))


def score(prediction: EvalPrediction, task: Task, rows: Rows, corpus: Corpus, config: MMnasConfig) -> dict[str, float]:
    return task.evaluate(prediction.predictions, rows, corpus.store, config)


def trainer_inputs(corpus: Corpus, config: MMnasConfig, train: Rows | None, evaluation: Rows | None) -> dict[str, Any]:
    """What any Trainer needs to know of the data."""
    task = corpus.task
    scored = None if evaluation is None else task.evaluation_rows(evaluation)
    return {
        "data_collator": corpus.collator(config),
        "train_dataset": None if train is None else task.training_rows(train),
        "eval_dataset": scored,
        "compute_metrics": partial(score, task=task, rows=scored, corpus=corpus, config=config),
        "processing_class": corpus.processor,
    }


def evaluate(model: MMnasForTask, corpus: Corpus, rows: Rows, args: TrainingArguments) -> dict[str, float]:
    """Scores of a network on some rows, by plain metric names."""
    with tempfile.TemporaryDirectory() as folder:  # a Trainer makes itself one; nothing stays in it
        whole_rows = replace(args, remove_unused_columns=False, output_dir=folder)
        trainer = Trainer(model=model, args=whole_rows, **trainer_inputs(corpus, model.config, None, rows))
        trainer.remove_callback(PrinterCallback)  # the scores are returned
        metrics = trainer.evaluate(metric_key_prefix="test")
    return {name.removeprefix("test_"): value for name, value in metrics.items() if name not in RUNTIME_METRICS}


RUNTIME_METRICS = {
    "test_runtime",
    "test_samples_per_second",
    "test_steps_per_second",
    "test_model_preparation_time",
    "epoch",
}


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
    start = time.perf_counter()
    inputs = trainer_inputs(corpus, model.config, rows, scored)
    trainer = StaircaseTrainer(model=model, args=args, callbacks=list(callbacks), **inputs)
    if args.logging_strategy == IntervalStrategy.NO:
        trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    return Trained(model, evaluate(model, corpus, scored, args), time.perf_counter() - start)


def quiet(args: TrainArguments, **changes: Any) -> TrainArguments:
    """The same arguments for a network trained in passing: no evaluations, checkpoints or reports on the way."""
    silence = dict.fromkeys(("eval_strategy", "save_strategy", "logging_strategy"), "no")
    return replace(args, **silence, resume_from_checkpoint=None, report_to="none", disable_tqdm=True, **changes)
