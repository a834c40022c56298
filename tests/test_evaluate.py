"""Every script takes a built folder as it is, and scores and predictions are what they should be."""

import json
from itertools import pairwise

import numpy as np
import pytest

from mmnas_hf.data import find_source
from mmnas_hf.data.folder import load_folder
from mmnas_hf.data.published import PUBLICATIONS, find_files
from mmnas_hf.data.published.settings import SETTINGS
from mmnas_hf.genotype import Genotype
from mmnas_hf.metrics import box_iou, vqa_accuracy
from mmnas_hf.tasks import TASKS
from published_files import PICTURES, WRITERS, write_downloads
from region_files import make_image, write_npz, write_tsv
from scripts import FAST, QUIET, SIZES, SPACE, build_flags, call, refusal

SEARCH = f"--max_steps 3 --weight_steps 1 --random_architectures 1 --jobs 1 {SIZES} {SPACE} {FAST}"
TRAIN = f"--genotype S|RG --max_steps 3 {SIZES} {FAST}"
RANKS = {f"{way}_{kind}_rank" for way in ("image_to_text", "text_to_image") for kind in ("median", "mean")}
RECALLS = {f"{way}_recall@{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)}
SCORES = {
    "vqa": {f"accuracy{group}" for group in ("", "/yes/no", "/number", "/other")},
    "vgd": {"accuracy", "accuracy@0.25", "accuracy@0.5", "accuracy@0.75", "mean_iou"},
    "itm": {"mean_recall", "rsum"} | RECALLS | RANKS,
}
QUESTION_TYPES = {"accuracy/is the", "accuracy/how many", "accuracy/what color is the"}
every_publication = pytest.mark.parametrize("publication", WRITERS)


def read(path):
    return json.loads(path.read_text())


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Every publication's folder."""
    made, place = {}, tmp_path_factory.mktemp("tables")
    regions = write_npz(tmp_path_factory.mktemp("features"), PICTURES)
    for publication in WRITERS:
        downloads = write_downloads(publication, tmp_path_factory.mktemp(publication))
        made[publication] = place / publication
        ended = call("build_dataset.py", *build_flags(publication, downloads, regions, made[publication]))
        assert ended.code == 0, ended.err
    return made


def run(script, arguments, folder, output):
    """Run a search or a training with no word about task and splits, and return where it is."""
    ended = call(script, "--data", folder, "--output_dir", output, arguments)
    assert ended.code == 0, ended.err
    return output


@pytest.fixture(scope="session")
def searched(folders, tmp_path_factory):
    place = tmp_path_factory.mktemp("searched")
    return {name: run("search.py", SEARCH, folder, place / name) for name, folder in folders.items()}


@pytest.fixture(scope="session")
def trained(folders, tmp_path_factory):
    place = tmp_path_factory.mktemp("trained")
    return {name: run("train.py", TRAIN, folder, place / name) for name, folder in folders.items()}


@pytest.fixture
def evaluate(folders, trained):
    """Score a publication's trained network with these flags."""

    def evaluate_with(publication, *flags):
        return call("evaluate.py", "--model", trained[publication], "--data", folders[publication], QUIET, *flags)

    return evaluate_with


def scores_of(ended, path):
    assert ended.code == 0, ended.err
    return read(path)


# Task and splits


@pytest.mark.parametrize("runs", ["searched", "trained"])
@every_publication
def test_task_and_splits_are_the_folders(publication, runs, request):
    used = read(request.getfixturevalue(runs)[publication] / "run.json")["arguments"]["DataArguments"]
    expected = {f"{role}_split": split for role, split in PUBLICATIONS[publication].splits.items()}
    assert used["task"] == PUBLICATIONS[publication].task
    assert {name: split for name, split in used.items() if name.endswith("_split") and split} == expected


@pytest.mark.parametrize(("runs", "what"), [("searched", "search"), ("trained", "train")])
@every_publication
def test_what_no_flag_says_is_the_papers(publication, runs, what, request):
    arguments = read(request.getfixturevalue(runs)[publication] / "run.json")["arguments"]
    used = {name: value for group in arguments.values() for name, value in group.items()}
    said = {flag.removeprefix("--") for flag in f"{SEARCH} {TRAIN}".split() if flag.startswith("--")}
    settings = SETTINGS[PUBLICATIONS[publication].task][what]
    unsaid = {name: value for name, value in settings.items() if name not in said}
    assert "learning_rate" in unsaid
    assert {name: used[name] for name in unsaid} == unsaid


# Hidden size, learning rate and epochs of the search and of the training after it, and where its rate falls.
PAPER = {
    "vqa": ((256, 4e-4, 100), (512, 1.2e-4, 13), [10, 12]),
    "vgd": ((256, 4e-4, 100), (512, 1.4e-4, 13), [10, 12]),
    "itm": ((256, 1e-4, 200), (512, 1.5e-4, 100), [36]),
}


@pytest.mark.parametrize("task", TASKS)
def test_the_papers_settings(task):
    names = ("hidden_size", "learning_rate", "num_train_epochs")
    search, train, decay = PAPER[task]
    assert tuple(SETTINGS[task]["search"][name] for name in names) == search
    assert tuple(SETTINGS[task]["train"][name] for name in names) == train
    assert SETTINGS[task]["train"]["decay_epochs"] == decay
    assert SETTINGS[task]["search"]["retrain_learning_rate"] == SETTINGS[task]["train"]["learning_rate"]
    assert SETTINGS[task]["train"]["genotype"] == f"mmnas-{task}"


@every_publication
def test_a_search_compares_by_the_tasks_metric(publication, searched):
    results = read(searched[publication] / "results.json")
    assert results["metric"] == TASKS[PUBLICATIONS[publication].task].metric
    assert [network["name"] for network in results["networks"]] == ["found", "mcan", "random 1"]


@every_publication
def test_a_found_network_trains_and_scores(publication, searched, folders, tmp_path):
    genotype = searched[publication] / "genotype.json"
    arguments = f"--genotype {genotype} --max_steps 1 {SIZES} {FAST}"
    model = run("train.py", arguments, folders[publication], tmp_path / "run")
    assert read(model / "results.json")["genotype"] == str(Genotype.load(genotype))
    ended = call("evaluate.py", "--model", model, "--data", folders[publication], QUIET)
    assert TASKS[PUBLICATIONS[publication].task].metric in ended.out


@pytest.mark.parametrize(("splits", "steps"), [("train", 3), ("val", 1), ("train+val", 4)])
def test_several_splits_are_trained_on_as_one(splits, steps, folders, tmp_path):
    """60 and 20 questions in batches of 20."""
    flags = f"--genotype S|RG --num_train_epochs 1 --train_split {splits} {SIZES} {QUIET}"
    batches = "--per_device_train_batch_size 20 --logging_strategy no --eval_strategy no"
    run("train.py", f"{flags} {batches}", folders["vqa-v2"], tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == [f"checkpoint-{steps}"]


# Scores


@every_publication
def test_scores_are_those_of_the_task(publication, evaluate, tmp_path):
    path, task = tmp_path / "scores.json", PUBLICATIONS[publication].task
    scores = scores_of(evaluate(publication, "--output_file", path), path)
    assert scores.keys() == SCORES[task] | (QUESTION_TYPES if task == "vqa" else set())


@every_publication
def test_scores_are_on_the_screen_and_those_of_the_training(publication, evaluate, trained):
    shown = dict(line.rsplit(maxsplit=1) for line in evaluate(publication).out.splitlines())
    expected = read(trained[publication] / "results.json")["metrics"]
    assert {name: float(value) for name, value in shown.items()} == pytest.approx(expected, abs=1e-4)


def check_answers(folder, answers, scores):
    """Compute the accuracies of some answers from the folder's texts."""
    rows = load_folder(folder, "vqa").texts["val"].to_list()
    assert [answer["question_id"] for answer in answers] == [row["question_id"] for row in rows]
    types = ([row[name] for row in rows] for name in ("answer_type", "question_type"))
    accuracy = vqa_accuracy([answer["answer"] for answer in answers], [row["answers"] for row in rows], *types)
    groups = accuracy["per_answer_type"] | accuracy["per_question_type"]
    named = {"accuracy": accuracy["overall"], **{f"accuracy/{name}": value for name, value in groups.items()}}
    assert scores == pytest.approx(named)


def test_accuracies_are_those_of_the_written_answers(evaluate, folders, tmp_path):
    answers, scores = tmp_path / "answers.json", tmp_path / "scores.json"
    ended = evaluate("vqa-v2", "--predictions_file", answers, "--output_file", scores)
    assert f"20 predictions; see {answers}" in ended.out
    check_answers(folders["vqa-v2"], read(answers), scores_of(ended, scores))


def test_overlaps_are_those_of_the_written_boxes(evaluate, folders, tmp_path):
    boxes, path = tmp_path / "boxes.json", tmp_path / "scores.json"
    scores = scores_of(evaluate("refcoco", "--predictions_file", boxes, "--output_file", path), path)
    rows = load_folder(folders["refcoco"], "vgd").texts["testA"].to_list()
    written = read(boxes)
    assert [(box["image_id"], box["expression"]) for box in written] == [
        (row["image_id"], row["expression"]) for row in rows
    ]
    overlap = box_iou(np.array([box["box"] for box in written]), np.array([row["box"] for row in rows]))
    expected = {f"accuracy@{least}": np.mean(overlap >= least) for least in (0.25, 0.5, 0.75)}
    expected |= {"mean_iou": np.mean(overlap), "accuracy": np.mean(overlap >= 0.5)}
    assert scores == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("publication", ["flickr30k", "coco-captions"])
def test_recalls_sum_up_and_grow(publication, evaluate, tmp_path):
    path = tmp_path / "scores.json"
    scores = scores_of(evaluate(publication, "--output_file", path), path)
    assert scores["rsum"] == pytest.approx(sum(scores[name] for name in RECALLS))
    assert scores["mean_recall"] == pytest.approx(scores["rsum"] / 6)
    for way in ("image_to_text", "text_to_image"):
        assert all(fewer <= more for fewer, more in pairwise(scores[f"{way}_recall@{k}"] for k in (1, 5, 10)))


def test_folds_have_fewer_candidates(evaluate, tmp_path):
    """All 5 images against folds of 3 and 2, so that the mean of the largest ranks is 5 or 2.5."""
    paths = {folds: tmp_path / f"{folds}.json" for folds in (1, 2)}
    whole, folded = (
        scores_of(evaluate("flickr30k", f"--folds {folds} --output_file", path), path) for folds, path in paths.items()
    )
    assert all(1 <= folded[name] < whole[name] for name in RANKS)
    assert folded["text_to_image_mean_rank"] <= 2.5


# Texts without answers


def test_questions_without_answers_are_answered_and_not_scored(evaluate, folders, tmp_path):
    answers, scores = tmp_path / "answers.json", tmp_path / "scores.json"
    ended = evaluate("vqa-v2", "--test_split testdev --predictions_file", answers, "--output_file", scores)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [f"10 predictions; see {answers}", "no scores: not all texts are labelled"]
    asked = load_folder(folders["vqa-v2"], "vqa").texts["testdev"]
    assert [answer["question_id"] for answer in read(answers)] == asked["question_id"]
    assert {frozenset(answer) for answer in read(answers)} == {frozenset({"question_id", "answer"})}
    assert {answer["answer"] for answer in read(answers)} <= {"yes", "no", "1", "2", "red", "blue"}
    assert not scores.exists()


def test_questions_are_answered_alike_whether_they_have_answers_or_not(evaluate, tmp_path):
    answers = {splits: tmp_path / f"{splits}.json" for splits in ("val", "testdev", "val+testdev")}
    for splits, path in answers.items():
        evaluate("vqa-v2", f"--test_split {splits} --predictions_file", path)
    assert read(answers["val+testdev"]) == read(answers["val"]) + read(answers["testdev"])


def test_scoring_questions_without_answers_is_refused(evaluate, tmp_path):
    ended = evaluate("vqa-v2", "--test_split testdev --output_file", tmp_path / "scores.json")
    assert "10 texts of split 'testdev' have no answers" in refusal(ended.code, ended.err, "evaluate.py")


# Wrong flags


WRONG_FLAGS = [
    ("flickr30k", "--predictions_file answers.json", "task itm has no predictions to write"),
    ("flickr30k", "--folds 6", "6 folds of 5 images; give 1 to 5"),
    ("flickr30k", "--folds 0", "0 folds of 5 images; give 1 to 5"),
    ("vqa-v2", "--output_file nowhere/scores.json", "output_file nowhere/scores.json cannot be written"),
    ("vqa-v2", "--predictions_file .", "predictions_file . cannot be written"),
    ("refcoco", "--test_split testB", "no split 'testB'; this data set has: testA, train, val"),
    ("refcoco", "--task vqa", "vqa/*.arrow: this folder has vgd"),
]


@pytest.mark.parametrize(("publication", "flags", "message"), WRONG_FLAGS)
def test_a_wrong_flag_is_one_line_and_nothing_is_written(publication, flags, message, evaluate, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = evaluate(publication, flags)
    assert message in refusal(ended.code, ended.err, "evaluate.py")
    assert not list(tmp_path.iterdir())


# Real texts, with made regions

REAL = {"vqa-v2": "vqa_v2", "refcoco": "refcoco_format", "flickr30k": "flickr30k_format"}


@pytest.mark.parametrize("publication", REAL)
def test_real_texts_build_train_and_score(publication, real_data, tmp_path):
    downloads = real_data / REAL[publication]
    tables = PUBLICATIONS[publication].read(find_files(PUBLICATIONS[publication], downloads))
    pictures = [make_image(name, 4) for name in sorted({name for rows in tables.values() for name in rows["image_id"]})]
    features, folder = write_tsv(tmp_path / "made.tsv", pictures), tmp_path / "tables"
    ended = call("build_dataset.py", *build_flags(publication, downloads, features, folder))
    assert ended.code == 0, ended.err
    model = run("train.py", TRAIN, folder, tmp_path / "run")
    answers, path, task = tmp_path / "answers.json", tmp_path / "scores.json", find_source(str(folder)).task
    written = ("--predictions_file", answers) if task != "itm" else ()
    ended = call("evaluate.py", "--model", model, "--data", folder, QUIET, "--output_file", path, *written)
    scores = scores_of(ended, path)
    assert scores.keys() >= SCORES[task]
    if task == "vqa":
        check_answers(folder, read(answers), scores)
