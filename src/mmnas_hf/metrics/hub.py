"""The metrics as `evaluate.Metric` classes, to be instantiated directly."""

import numpy as np
from datasets import Features, Sequence, Value

import evaluate

from .grounding import IOU_THRESHOLD, grounding_accuracy
from .recall import recall_at_k
from .vqa import vqa_accuracy

VQA_CITATION = """@inproceedings{goyal2017making,
  title = {Making the {V} in {VQA} matter: Elevating the role of image understanding in visual question answering},
  author = {Goyal, Yash and Khot, Tejas and Summers-Stay, Douglas and Batra, Dhruv and Parikh, Devi},
  booktitle = {CVPR},
  year = {2017},
}"""


class VQAAccuracy(evaluate.Metric):
    """Accuracy of answers; `compute` also takes `answer_types` and `question_types`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=vqa_accuracy.__doc__,
            citation=VQA_CITATION,
            inputs_description="predictions: one answer a question; references: all people's answers to it.",
            features=Features({"predictions": Value("string"), "references": Sequence(Value("string"))}),
        )

    def _compute(self, predictions, references, answer_types=None, question_types=None) -> dict:
        return vqa_accuracy(predictions, references, answer_types, question_types)


class GroundingAccuracy(evaluate.Metric):
    """Accuracy of boxes; `compute` also takes `threshold`."""

    def _info(self) -> evaluate.MetricInfo:
        box = Sequence(Value("float64"), length=4)
        return evaluate.MetricInfo(
            description=grounding_accuracy.__doc__,
            citation="",
            inputs_description="predictions, references: one box a text, xyxy pixels.",
            features=Features({"predictions": box, "references": box}),
        )

    def _compute(self, predictions, references, threshold=IOU_THRESHOLD) -> dict[str, float]:
        return {"grounding_accuracy": grounding_accuracy(predictions, references, threshold)}


class MatchingRecall(evaluate.Metric):
    """Recall at k, fed text by text: a prediction is a text's scores for all images; `compute` also takes `ks`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=recall_at_k.__doc__,
            citation="",
            inputs_description="predictions: a text's scores [images]; references: the index of the text's image.",
            features=Features({"predictions": Sequence(Value("float64")), "references": Value("int64")}),
        )

    def _compute(self, predictions, references, ks=(1, 5, 10)) -> dict[str, float]:
        return recall_at_k(np.transpose(predictions), references, ks)
