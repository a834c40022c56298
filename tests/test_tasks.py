"""Tasks make labels and score predictions as their definitions say."""

import numpy as np
import pytest
import torch
from datasets import Dataset

from mmnas_hf.boxes import encode_deltas
from mmnas_hf.configuration_mmnas import MMnasConfig
from mmnas_hf.errors import InputError
from mmnas_hf.tasks import TASKS, get_task
from mmnas_hf.tasks.itm import image_folds
from mmnas_hf.tasks.negatives import ContrastedRows
from mmnas_hf.tasks.task import mean_scores
from tiny import SIZES, tiny_corpus

every_task = pytest.mark.parametrize("task", TASKS)


@pytest.fixture(scope="module")
def corpora():
    return {name: tiny_corpus(name) for name in TASKS}


def config_of(corpus):
    return MMnasConfig(**corpus.settings(), **SIZES, genotype="S|G")


# All tasks


@every_task
def test_a_tasks_name_is_its_key(task):
    assert TASKS[task].name == task


@every_task
def test_a_task_is_found_by_its_name(task):
    assert get_task(task) is TASKS[task]


def test_an_unknown_task_raises():
    with pytest.raises(InputError, match="unknown task 'juggling'; known: vqa, vgd, itm"):
        get_task("juggling")


@every_task
def test_a_tasks_loss_takes_its_labels(task, corpora):
    corpus = corpora[task]
    config = config_of(corpus)
    rows = corpus.task.training_rows(corpus.rows("train"))
    batch = corpus.collator(config)([rows[index] for index in range(4)])
    TASKS[task].model_class(config)(**batch).loss.backward()


@every_task
def test_perfect_predictions_score_one(task, corpora):
    corpus = corpora[task]
    rows = corpus.rows("test")
    config = config_of(corpus)
    scores = corpus.task.evaluate(PERFECT[task](rows, corpus, config), rows, corpus.store, config)
    assert scores[corpus.task.metric] == 1.0


@every_task
def test_wrong_predictions_score_less(task, corpora):
    corpus = corpora[task]
    rows = corpus.rows("test")
    config = config_of(corpus)
    predictions = PERFECT[task](rows, corpus, config)
    assert corpus.task.evaluate(WRONG[task](predictions), rows, corpus.store, config)[corpus.task.metric] < 0.5


def perfect_answers(rows, corpus, config):
    return np.array([config.label2id[answer] for answer in rows["multiple_choice_answer"]])


def perfect_boxes(rows, corpus, config):
    """An arbitrary region of each image, and the deltas that move it onto the target."""
    best, deltas = [], []
    for row, text in enumerate(rows):
        boxes = torch.tensor(corpus.store[[text["image_id"]]].boxes[0])
        best.append(row % len(boxes))
        deltas.append(encode_deltas(boxes[best[-1]], torch.tensor(text["box"])).numpy())
    return np.array(best), np.array(deltas)


def perfect_matches(rows, corpus, config):
    image_ids = np.array(rows["image_id"])
    images = list(dict.fromkeys(image_ids))
    return [np.array([[1.0 if image == own else -1.0 for own in image_ids] for image in images])]


PERFECT = {"vqa": perfect_answers, "vgd": perfect_boxes, "itm": perfect_matches}
WRONG = {
    "vqa": lambda answers: 1 - answers,
    "vgd": lambda predictions: (predictions[0], -predictions[1] - 3),
    "itm": lambda folds: [-matrix for matrix in folds],
}


# Groups of scores


def test_scores_are_told_apart_by_group():
    rows = Dataset.from_dict({"group": ["near", "far", "near", "far"], "answer_type": ["a", "a", "a", "b"]})
    scores = mean_scores("accuracy", np.array([1.0, 0.0, 0.0, 1.0]), rows)
    groups = {"accuracy/far": 0.5, "accuracy/near": 0.5, "accuracy/a": pytest.approx(1 / 3), "accuracy/b": 1.0}
    assert scores == {"accuracy": 0.5, **groups}


# Questions


def test_answers_that_occur_more_than_eight_times_are_the_vocabulary():
    counts = {"yes": 9, "no": 8, "Two": 5, "2": 4}
    rows = Dataset.from_dict({"multiple_choice_answer": [a for a, count in counts.items() for _ in range(count)]})
    assert TASKS["vqa"].model_settings(rows)["id2label"] == {0: "yes", 1: "2"}


def test_the_vocabulary_reads_both_ways(corpora):
    settings = TASKS["vqa"].model_settings(corpora["vqa"].rows("train"))
    assert settings["label2id"] == {answer: index for index, answer in settings["id2label"].items()}


def test_answers_that_are_all_rare_raise():
    with pytest.raises(InputError, match="1 questions have no answer that occurs more than 8 times"):
        TASKS["vqa"].model_settings(Dataset.from_dict({"multiple_choice_answer": ["yes"]}))


def test_the_answer_vocabulary_knows_nothing_of_the_test_texts():
    corpus = tiny_corpus("vqa")
    corpus.splits["test"] = corpus.rows("test").map(lambda row: row | {"multiple_choice_answer": "purple"})
    assert "purple" not in corpus.settings()["label2id"]


def test_labels_are_soft_targets():
    config = MMnasConfig(id2label=dict(enumerate(["yes", "no", "2", "red"])), genotype="S|G")
    config.label2id = {answer: index for index, answer in config.id2label.items()}
    answers = ["Yes!", "yes", "no", "two", "2", "2.", "mauve", "mauve", "mauve", "mauve"]
    labels = TASKS["vqa"].labels([{"answers": answers}, {"answers": ["red"] * 10}], config)
    np.testing.assert_allclose(labels, [[0.6, 0.3, 0.9, 0.0], [0.0, 0.0, 0.0, 1.0]])


# Boxes


def test_grounding_labels_are_the_boxes(corpora):
    rows = corpora["vgd"].rows("test").to_list()[:3]
    assert TASKS["vgd"].labels(rows, None).tolist() == [row["box"] for row in rows]


def test_predicted_boxes_are_clipped_to_the_image(corpora):
    corpus = corpora["vgd"]
    rows = corpus.rows("test").select([0])
    assert corpus.task.decode((np.array([0]), np.array([[1e4, 1e4, 0.0, 0.0]])), rows, corpus.store).tolist() == [
        [199.0, 99.0, 199.0, 99.0]
    ]


# Matching


@pytest.fixture
def pairs():
    """Captions of four images, three of them about the first."""
    return Dataset.from_list(
        [{"image_id": image, "caption": f"caption {number}"} for number, image in enumerate("aaabcd")]
    )


def test_a_batch_has_every_pair_first_and_right(pairs):
    batch = ContrastedRows(pairs).__getitems__([5, 0, 2])
    assert batch[:3] == [pairs[index] | {"matches": True} for index in (5, 0, 2)]


@pytest.mark.parametrize("indices", [[0, 3, 4, 5], [0, 1, 2, 3], [3, 0], [1, 5, 2, 4, 0, 3]])
def test_a_wrong_pair_never_is_an_image_with_a_caption_of_its_own(pairs, indices):
    own = {(pair["image_id"], pair["caption"]) for pair in pairs}
    for row in ContrastedRows(pairs).__getitems__(indices):
        assert ((row["image_id"], row["caption"]) in own) == row["matches"]


@pytest.mark.parametrize("indices", [[0, 3, 4, 5], [0, 1, 2, 3], [3, 0], [1, 5, 2, 4, 0, 3]])
def test_each_pair_meets_one_wrong_caption_and_one_wrong_image(pairs, indices):
    batch = ContrastedRows(pairs).__getitems__(indices)
    right, wrong = batch[: len(indices)], batch[len(indices) :]
    assert len(wrong) == 2 * len(right)
    for pair, caption, image in zip(right, wrong[::2], wrong[1::2], strict=True):
        assert (caption["image_id"], image["caption"]) == (pair["image_id"], pair["caption"])


def test_a_batch_about_one_image_has_no_wrong_pair(pairs):
    assert [row["matches"] for row in ContrastedRows(pairs).__getitems__([0, 1, 2])] == [True] * 3


def test_folds_are_equal_parts_of_the_images_in_order(pairs):
    folds = image_folds(np.array(pairs["image_id"]), 2)
    assert [(images.tolist(), texts.tolist()) for images, texts in folds] == [
        (["a", "b"], [0, 1, 2, 3]),
        (["c", "d"], [4, 5]),
    ]


def test_more_folds_than_images_raise(pairs):
    with pytest.raises(InputError, match="5 folds of 4 images"):
        image_folds(np.array(pairs["image_id"]), 5)


def test_the_scores_of_folds_are_their_mean(corpora):
    corpus = corpora["itm"]
    rows = corpus.rows("test")
    matrices = [np.random.default_rng(seed).normal(size=(5, 10)) for seed in (0, 1)]
    whole = corpus.task.evaluate(matrices, rows, corpus.store, None)
    halves = [rows.select(range(start, start + 10)) for start in (0, 10)]
    parts = [
        corpus.task.evaluate([matrix], half, corpus.store, None) for matrix, half in zip(matrices, halves, strict=True)
    ]
    assert whole == pytest.approx({name: (parts[0][name] + parts[1][name]) / 2 for name in whole})


def test_mean_recall_is_the_mean_of_all_recalls(corpora):
    corpus = corpora["itm"]
    rows = corpus.rows("test")
    scores = corpus.task.evaluate([np.random.default_rng(0).normal(size=(10, 20))], rows, corpus.store, None)
    recalls = {name: value for name, value in scores.items() if "@" in name}
    assert len(recalls) == 6
    assert scores["mean_recall"] == pytest.approx(sum(recalls.values()) / 6)
