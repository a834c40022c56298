"""Tasks make labels and score predictions as their definitions say."""

import numpy as np
import pytest
import torch

from mmnas_hf.boxes import encode_deltas
from mmnas_hf.configuration_mmnas import MMnasConfig
from mmnas_hf.errors import InputError
from mmnas_hf.tasks import TASKS, get_task
from mmnas_hf.tasks.itm import AllPairs, ContrastedRows
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
    rows = corpus.task.evaluation_rows(corpus.rows("test"))
    config = config_of(corpus)
    scores = corpus.task.evaluate(PERFECT[task](rows, corpus, config), rows, corpus.store, config)
    assert scores[corpus.task.metric] == 1.0


@every_task
def test_wrong_predictions_score_less(task, corpora):
    corpus = corpora[task]
    rows = corpus.task.evaluation_rows(corpus.rows("test"))
    config = config_of(corpus)
    predictions = PERFECT[task](rows, corpus, config)
    wrong = tuple(-part for part in predictions) if isinstance(predictions, tuple) else -predictions
    assert corpus.task.evaluate(wrong, rows, corpus.store, config)[corpus.task.metric] < 0.5


def perfect_answers(rows, corpus, config):
    answers = np.full((len(rows), config.num_labels), -1.0)
    for row, text in enumerate(rows):
        answers[row, config.label2id[text["multiple_choice_answer"]]] = 1.0
    return answers


def perfect_boxes(rows, corpus, config):
    """Scores and deltas that move an arbitrary region onto the target; padding is marked as Trainer marks it."""
    scores, deltas = np.full((len(rows), 9), -100.0), np.full((len(rows), 9, 4), -100.0)
    for row, text in enumerate(rows):
        boxes = torch.tensor(corpus.store[[text["image_id"]]].boxes[0])
        scores[row, : len(boxes)] = -200.0
        scores[row, row % len(boxes)] = -150.0
        deltas[row, : len(boxes)] = encode_deltas(boxes, torch.tensor(text["box"])).numpy()
    return scores, deltas


def perfect_matches(rows, corpus, config):
    return np.array([[1.0 if rows[index]["matches"] else -1.0] for index in range(len(rows))])


PERFECT = {"vqa": perfect_answers, "vgd": perfect_boxes, "itm": perfect_matches}


# Groups of scores


def test_scores_are_told_apart_by_group():
    rows = [{"group": "near"}, {"group": "far"}, {"group": "near"}, {}]
    scores = mean_scores("accuracy", [1.0, 0.0, 0.0, 1.0], rows)
    assert scores == {"accuracy": 0.5, "accuracy/far": 0.0, "accuracy/near": 0.5}


# Questions


def test_answers_that_occur_more_than_eight_times_are_the_vocabulary():
    counts = {"yes": 9, "no": 8, "Two": 5, "2": 4}
    rows = [{"multiple_choice_answer": answer} for answer, count in counts.items() for _ in range(count)]
    assert TASKS["vqa"].model_settings(rows)["id2label"] == {0: "yes", 1: "2"}


def test_the_vocabulary_reads_both_ways(corpora):
    settings = TASKS["vqa"].model_settings(corpora["vqa"].rows("train"))
    assert settings["label2id"] == {answer: index for index, answer in settings["id2label"].items()}


def test_answers_that_are_all_rare_raise():
    with pytest.raises(InputError, match="1 questions have no answer that occurs more than 8 times"):
        TASKS["vqa"].model_settings([{"multiple_choice_answer": "yes"}])


def test_the_answer_vocabulary_knows_nothing_of_the_test_texts():
    corpus = tiny_corpus("vqa")
    corpus.splits["test"] = [row | {"multiple_choice_answer": "purple"} for row in corpus.rows("test")]
    assert "purple" not in corpus.settings()["label2id"]


def test_labels_are_soft_targets():
    config = MMnasConfig(id2label=dict(enumerate(["yes", "no", "2", "red"])), genotype="S|G")
    config.label2id = {answer: index for index, answer in config.id2label.items()}
    answers = ["Yes!", "yes", "no", "two", "2", "2.", "mauve", "mauve", "mauve", "mauve"]
    labels = TASKS["vqa"].labels([{"answers": answers}, {"answers": ["red"] * 10}], config)
    np.testing.assert_allclose(labels, [[0.6, 0.3, 0.9, 0.0], [0.0, 0.0, 0.0, 1.0]])


# Boxes


def test_grounding_labels_are_the_boxes(corpora):
    rows = corpora["vgd"].rows("test")[:3]
    assert TASKS["vgd"].labels(rows, None).tolist() == [row["box"] for row in rows]


def test_predicted_boxes_are_clipped_to_the_image(corpora):
    corpus = corpora["vgd"]
    rows = corpus.rows("test")[:1]
    scores, deltas = np.zeros((1, 5)), np.full((1, 5, 4), [1e4, 1e4, 0.0, 0.0])
    assert corpus.task.decode((scores, deltas), rows, corpus.store).tolist() == [[199.0, 99.0, 199.0, 99.0]]


# Matching


@pytest.fixture
def pairs():
    """Captions of four images, three of them about the first."""
    return [{"image_id": image, "caption": f"caption {number}"} for number, image in enumerate("aaabcd")]


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


def test_every_image_meets_every_caption_image_by_image(pairs):
    every = AllPairs(pairs)
    met = [(every[index]["image_id"], every[index]["caption"]) for index in range(len(every))]
    assert met == [(image, pair["caption"]) for image in "abcd" for pair in pairs]


def test_of_all_pairs_those_match_that_were_given(pairs):
    every = AllPairs(pairs)
    matching = [every[index] for index in range(len(every)) if every[index]["matches"]]
    assert [(row["image_id"], row["caption"]) for row in matching] == [
        (pair["image_id"], pair["caption"]) for pair in pairs
    ]


def test_mean_recall_is_the_mean_of_all_recalls(corpora):
    corpus = corpora["itm"]
    rows = corpus.task.evaluation_rows(corpus.rows("test"))
    scores = corpus.task.evaluate(np.random.default_rng(0).normal(size=(len(rows), 1)), rows, corpus.store, None)
    recalls = {name: value for name, value in scores.items() if "@" in name}
    assert len(recalls) == 6
    assert scores["mean_recall"] == pytest.approx(sum(recalls.values()) / 6)
