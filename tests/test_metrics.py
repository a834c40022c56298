"""The metrics agree with the official evaluators and with counting by hand."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from mmnas_hf import metrics
from mmnas_hf.metrics import (
    box_iou,
    grounding_accuracy,
    normalise_answer,
    recall_at_k,
    retrieval_ranks,
    soft_target,
    vqa_accuracy,
    vqa_score,
)
from mmnas_hf.metrics.hub import GroundingAccuracy, MatchingRecall, VQAAccuracy


def percent(share):
    return round(100 * share, 2)


@pytest.fixture(scope="module")
def official(golden):
    return json.loads((golden / "vqa_accuracy.json").read_text())


@pytest.fixture(scope="module")
def questions(official, real_data):
    """Columns of the official evaluator's questions: ids, predictions, references and both types."""
    path = real_data / "vqa_v2" / "v2_mscoco_val2014_annotations.json"
    annotations = {entry["question_id"]: entry for entry in json.loads(path.read_text())["annotations"]}
    rows = [annotations[entry["question_id"]] for entry in official["predictions"]]
    return {
        "ids": [row["question_id"] for row in rows],
        "predictions": [entry["answer"] for entry in official["predictions"]],
        "references": [[given["answer"] for given in row["answers"]] for row in rows],
        "answer_types": [row["answer_type"] for row in rows],
        "question_types": [row["question_type"] for row in rows],
    }


@pytest.fixture
def cache(tmp_path):
    """Where an `evaluate.Metric` keeps what it was fed."""
    return {"cache_dir": str(tmp_path)}


def test_exported_names_exist_and_are_sorted():
    assert metrics.__all__ == sorted(metrics.__all__)
    assert all(hasattr(metrics, name) for name in metrics.__all__)


def test_plain_functions_do_not_import_evaluate():
    code = "import sys, mmnas_hf.metrics.vqa; raise SystemExit('evaluate' in sys.modules or 'datasets' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": os.pathsep.join(sys.path)}, check=True)


def test_answers_are_normalised_as_the_official_evaluator_does(golden):
    expected = json.loads((golden / "answer_normalisation.json").read_text())
    assert {answer: normalise_answer(answer) for answer in expected} == expected


@pytest.mark.parametrize(
    ("answer", "normalised"),
    [
        ("couldnt've", "couldn't've"),
        ("yall'd've", "y'all'd've"),
        ("shes", "shes"),
        ("somebody'd", "somebodyd"),
        ("None\tof the\n2", "0 of 2"),
        ("1,000-2,000 b.c.", "10002000 bc"),
        ("ham , cheese/egg", "ham cheese egg"),
    ],
)
def test_answer_is_normalised(answer, normalised):
    assert normalise_answer(answer) == normalised


def test_every_vqa_score_is_the_official_one(official, questions):
    scores = map(vqa_score, questions["predictions"], questions["references"])
    found = {str(name): percent(score) for name, score in zip(questions["ids"], scores, strict=True)}
    assert found == official["per_question"]


def test_vqa_accuracy_is_the_official_one_overall_and_per_type(official, questions):
    columns = {name: column for name, column in questions.items() if name != "ids"}
    accuracy = vqa_accuracy(**columns)
    assert percent(accuracy["overall"]) == official["overall"]
    for kind in ("per_answer_type", "per_question_type"):
        assert {name: percent(share) for name, share in accuracy[kind].items()} == official[kind]


def test_vqa_accuracy_without_types_is_overall_only():
    assert vqa_accuracy(["yes"], [["yes"] * 10]) == {"overall": 1.0}


@pytest.mark.parametrize(("agreeing", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_vqa_score_leaves_out_each_person_once(agreeing, score):
    assert vqa_score("red", ["red"] * agreeing + ["blue"] * (10 - agreeing)) == pytest.approx(score)


@pytest.mark.parametrize("count", range(11))
def test_soft_target_is_the_vqa_score_of_ten_answers(count):
    assert soft_target(count) == pytest.approx(vqa_score("red", ["red"] * count + ["blue"] * (10 - count)))


def test_more_predictions_than_references_raise():
    with pytest.raises(ValueError, match="zip"):
        vqa_accuracy(["yes", "no"], [["yes"] * 10])


def test_box_iou_is_the_recorded_one(golden):
    for case in json.loads((golden / "grounding_targets.json").read_text()):
        found = box_iou(case["region_boxes"], case["target_box_xyxy"])
        np.testing.assert_allclose(found, np.ravel(case["iou"]), rtol=1e-5, atol=1e-7)


def test_box_iou_counts_the_last_pixel():
    assert box_iou([0, 0, 9, 9], [5, 0, 14, 9]) == pytest.approx(50 / 150)


def test_box_iou_of_boxes_apart_or_empty_is_zero():
    assert box_iou([[0, 0, 1, 1], [5, 5, 4, 4]], [[8, 8, 9, 9], [5, 5, 4, 4]]).tolist() == [0, 0]


def test_grounding_accuracy_counts_boxes_that_just_reach_the_threshold():
    predictions = [[0, 0, 9, 9], [0, 0, 4, 9], [0, 0, 3, 9], [np.nan] * 4]  # IoU 1, 0.5, 0.4, none
    references = [[0, 0, 9, 9]] * 4
    assert grounding_accuracy(predictions, references) == 0.5
    assert grounding_accuracy(predictions, references, threshold=0.4) == 0.75


def test_grounding_accuracy_of_nothing_raises():
    with pytest.raises(ValueError, match="as many predicted"):
        grounding_accuracy(np.empty((0, 4)), np.empty((0, 4)))


def test_ranks_count_the_wrong_candidates_that_come_before():
    scores = [[0.9, 0.2, 0.8], [0.1, 0.7, 0.6]]  # images x texts
    ranks = retrieval_ranks(scores, [0, 0, 1])
    assert ranks.image_to_text.tolist() == [0, 1]
    assert ranks.text_to_image.tolist() == [0, 1, 1]


def test_recall_is_the_share_of_ranks_below_k():
    scores = [[0.9, 0.2, 0.8], [0.1, 0.7, 0.6]]
    assert recall_at_k(scores, [0, 0, 1], ks=(1, 2)) == {
        "image_to_text_recall@1": 0.5,
        "image_to_text_recall@2": 1.0,
        "text_to_image_recall@1": pytest.approx(1 / 3),
        "text_to_image_recall@2": 1.0,
    }


def test_recall_agrees_with_sorting_every_list():
    generator = np.random.default_rng(0)
    image_of_text = np.repeat(np.arange(20), 5)
    scores = generator.random((20, 100)) + 0.5 * (np.arange(20)[:, None] == image_of_text)
    texts = np.argsort(-scores, axis=1)[:, :5]
    images = np.argsort(-scores, axis=0)[:5]
    recall = recall_at_k(scores, image_of_text)
    assert recall["image_to_text_recall@5"] == np.mean((image_of_text[texts] == np.arange(20)[:, None]).any(axis=1))
    assert recall["text_to_image_recall@5"] == np.mean((images == image_of_text).any(axis=0))


@pytest.mark.parametrize("score", [0.0, np.nan, -np.inf])
def test_constant_scores_find_nothing(score):
    recall = recall_at_k(np.full((20, 100), score), np.repeat(np.arange(20), 5))
    assert set(recall.values()) == {0.0}


@pytest.mark.parametrize(
    ("shape", "image_of_text", "message"),
    [((2, 3), [0, 1], "ask for"), ((2, 2), [0, 2], "outside 0..1"), ((2, 2), [0, 0], r"images \[1\] have no text")],
)
def test_recall_names_what_does_not_fit(shape, image_of_text, message):
    with pytest.raises(ValueError, match=message):
        recall_at_k(np.zeros(shape), image_of_text)


def test_vqa_metric_class_gives_the_functions_numbers(questions, cache):
    columns = {name: column for name, column in questions.items() if name != "ids"}
    assert VQAAccuracy(**cache).compute(**columns) == vqa_accuracy(**columns)


def test_grounding_metric_class_can_be_fed_in_batches(cache):
    metric = GroundingAccuracy(**cache)
    metric.add_batch(predictions=np.array([[0.0, 0, 9, 9]]), references=np.array([[0.0, 0, 9, 9]]))
    metric.add_batch(predictions=np.array([[0.0, 0, 3, 9]]), references=np.array([[0.0, 0, 9, 9]]))
    assert metric.compute() == {"grounding_accuracy": 0.5}


def test_recall_metric_class_takes_a_row_of_image_scores_for_each_text(cache):
    scores = np.array([[0.9, 0.2, 0.8], [0.1, 0.7, 0.6]])
    found = MatchingRecall(**cache).compute(predictions=scores.T, references=[0, 0, 1], ks=(1,))
    assert found == recall_at_k(scores, [0, 0, 1], ks=(1,))
