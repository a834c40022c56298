"""Visual question answering: classification over the answer vocabulary with soft targets."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor

from ..configuration_mmnas import MMnasConfig
from ..data.store import RegionStore
from ..data.table import column_of
from ..errors import InputError
from ..metrics import normalise_answer, soft_target, vqa_score
from ..modeling_mmnas import MMnasForVisualQuestionAnswering
from .task import Row, Rows, Task, mean_scores

# An answer joins the vocabulary when it occurs more often than this (MMnas: 3,129 answers on VQA v2).
RARE = 8

normalised = lru_cache(maxsize=1 << 16)(normalise_answer)


class VisualQuestionAnswering(Task):
    """Questions in VQA v2's schema: `question`, `answers` (ten), `multiple_choice_answer`."""

    name = "vqa"
    model_class = MMnasForVisualQuestionAnswering
    metric = "accuracy"
    text_column = "question"
    target_columns = ("answers", "multiple_choice_answer")
    has_answers = True

    def model_settings(self, rows: Rows) -> dict[str, Any]:
        answers = list(frequent_answers(rows))
        if not answers:
            raise InputError(f"{len(rows)} questions have no answer that occurs more than {RARE} times; give more data")
        return {"id2label": dict(enumerate(answers)), "label2id": {answer: i for i, answer in enumerate(answers)}}

    def report(self, rows: Rows) -> list[str]:
        counts = frequent_answers(rows)
        return [f"{len(counts)} answers, which cover {sum(counts.values()) / len(rows):.1%} of {len(rows)} questions"]

    def labels(self, rows: Sequence[Row], config: MMnasConfig) -> np.ndarray:
        targets = np.zeros((len(rows), config.num_labels), dtype=np.float32)
        for target, row in zip(targets, rows, strict=True):
            for answer, count in Counter(map(normalised, row["answers"])).items():
                if answer in config.label2id:
                    target[config.label2id[answer]] = soft_target(count)
        return targets

    def reduce(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(-1)

    def evaluate(self, predictions: Any, rows: Rows, store: RegionStore, config: MMnasConfig) -> dict[str, float]:
        answers = [config.id2label[int(index)] for index in predictions]
        scores = [vqa_score(answer, people) for answer, people in zip(answers, rows["answers"], strict=True)]
        return mean_scores(self.metric, np.array(scores), rows)

    def answers(self, predictions: Any, rows: Rows, store: RegionStore, config: MMnasConfig) -> list[dict[str, Any]]:
        """Records of `question_id` and `answer`, as the evaluation server of VQA v2 takes them."""
        numbers = column_of(rows, "question_id") if "question_id" in rows.column_names else range(len(rows))
        return [
            {"question_id": int(number), "answer": config.id2label[int(index)]}
            for number, index in zip(numbers, predictions, strict=True)
        ]


def frequent_answers(rows: Rows) -> dict[str, int]:
    """The answers that are chosen often enough to be learnt, by first appearance, and how often."""
    counts = Counter(map(normalised, column_of(rows, "multiple_choice_answer")))
    return {answer: count for answer, count in counts.items() if count > RARE}
