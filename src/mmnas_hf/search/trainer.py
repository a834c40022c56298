"""The search: Trainer's own steps train sampled paths' weights, a callback adds architecture steps."""

from functools import partial
from pathlib import Path as FilePath
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from ..corpus import Corpus
from ..modeling_mmnas import MMnasForTask, Path
from ..speedups import frozen
from ..tasks import Rows
from ..tasks.negatives import ContrastedRows
from ..training import TaskTrainer, grouping, training_rows
from .arguments import SearchArguments
from .batches import BatchStream
from .callbacks import ArchitectureSteps, DropCandidates, SearchProgress, StopWhenStable
from .cost import Prices, SearchCost, has_gradient, measure_prices, typical_batch
from .log import CHOSEN, LOG_FILE, append_entry, forget_later_lines, without_timings
from .processes import average_gradients, check_agreement, mean_over_processes
from .signs import Signs
from .strategy import Strategy, mean_entropy


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
