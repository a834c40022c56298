"""What a task is: which texts it reads, what its labels are, and how its predictions are scored."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ..configuration_mmnas import MMnasConfig
from ..data.table import RegionStore
from ..modeling_mmnas import MMnasForTask
from ..processing_mmnas import MAX_WORDS

Row = Mapping[str, Any]  # one text with its `image_id` and its targets
Rows = Sequence[Row]

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

    @property
    def columns(self) -> tuple[str, ...]:
        """What a text needs to have besides its image."""
        return (self.text_column, *self.target_columns)

    def model_settings(self, rows: Rows) -> dict[str, Any]:
        """Configuration that follows from the training rows, such as the answer vocabulary."""
        return {}

    def training_rows(self, rows: Rows) -> Rows:
        """What the trainer draws batches from; a class with `__getitems__` may add rows to each batch."""
        return rows

    def evaluation_rows(self, rows: Rows) -> Rows:
        """What is scored, in this order."""
        return rows

    @abstractmethod
    def labels(self, rows: Rows, config: MMnasConfig) -> np.ndarray:
        """The model's labels for a batch."""

    @abstractmethod
    def evaluate(self, predictions: Any, rows: Rows, store: RegionStore, config: MMnasConfig) -> dict[str, float]:
        """Scores of the model's outputs for `evaluation_rows`."""


def mean_scores(name: str, scores: Sequence[float], rows: Rows) -> dict[str, float]:
    """The scores' mean as `name`, and the mean of each group of rows as `name/group`."""
    members = defaultdict(list)
    for score, row in zip(scores, rows, strict=True):
        for column in GROUP_COLUMNS:
            if column in row:
                members[f"{name}/{row[column]}"].append(score)
    return {
        name: float(np.mean(scores)),
        **{group: float(np.mean(values)) for group, values in sorted(members.items())},
    }
