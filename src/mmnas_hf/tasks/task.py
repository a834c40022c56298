"""What a task is: which texts it reads, what its labels are, and how its predictions are scored."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from datasets import Dataset
from transformers.trainer_utils import EvalLoopOutput

from ..configuration_mmnas import MMnasConfig
from ..data.store import RegionStore
from ..data.table import column_of
from ..modeling_mmnas import MMnasForTask
from ..processing_mmnas import MAX_WORDS

if TYPE_CHECKING:
    from ..training import TaskTrainer

Row = Mapping[str, Any]  # one text with its `image_id` and its targets
Rows = Dataset  # of such texts

# Columns that sort rows into groups whose scores are told apart.
GROUP_COLUMNS = ("answer_type", "question_type", "group")


class Task(ABC):
    """One task: a model class and everything that is not the same for all tasks."""

    name: ClassVar[str]
    model_class: ClassVar[type[MMnasForTask]]
    metric: ClassVar[str]  # the headline among the names that `evaluate` returns; higher is better
    text_column: ClassVar[str]
    target_columns: ClassVar[tuple[str, ...]] = ()
    max_words: ClassVar[int] = MAX_WORDS
    has_answers: ClassVar[bool] = False  # whether `answers` makes something of predictions

    @property
    def columns(self) -> tuple[str, ...]:
        """What a text needs to have besides its image."""
        return (self.text_column, *self.target_columns)

    def model_settings(self, rows: Rows) -> dict[str, Any]:
        """Configuration that follows from the labelled rows, such as the answer vocabulary."""
        return {}

    def report(self, rows: Rows) -> list[str]:
        """What the labelled rows are like, for a person to read."""
        return []

    def training_rows(self, rows: Rows) -> Rows:
        """What the trainer draws batches from; a class with `__getitems__` may add rows to each batch."""
        return rows

    @abstractmethod
    def labels(self, rows: Sequence[Row], config: MMnasConfig) -> np.ndarray:
        """The model's labels for a batch."""

    def reduce(self, outputs: Any) -> Any:
        """What of a batch's outputs is kept for `evaluate`."""
        return outputs

    def predict(self, row_by_row: Callable[[], EvalLoopOutput], trainer: "TaskTrainer", rows: Rows) -> EvalLoopOutput:
        """How outputs for these rows come about: by Trainer's own loop, unless a task knows a faster way."""
        return row_by_row()

    def scored_examples(self, rows: Rows) -> int:
        """How many pairs of text and image a network sees to be scored on these rows."""
        return len(rows)

    @abstractmethod
    def evaluate(self, predictions: Any, rows: Rows, store: RegionStore, config: MMnasConfig) -> dict[str, float]:
        """Scores of the kept outputs for these rows."""

    def answers(self, predictions: Any, rows: Rows, store: RegionStore, config: MMnasConfig) -> list[dict[str, Any]]:
        """The kept outputs as people read them, and as evaluation servers take them: one record a row."""
        raise NotImplementedError(f"task {self.name} has no answers")


def mean_scores(name: str, scores: np.ndarray, rows: Rows) -> dict[str, float]:
    """The scores' mean as `name`, and the mean of each group of rows as `name/group`."""
    means = {name: float(np.mean(scores))}
    for column in (column for column in GROUP_COLUMNS if column in rows.column_names):
        groups, of_row = np.unique(column_of(rows, column).astype(str), return_inverse=True)
        sums = np.bincount(of_row, scores) / np.bincount(of_row)
        means |= {f"{name}/{group}": float(mean) for group, mean in zip(groups, sums, strict=True)}
    return means
