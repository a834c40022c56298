"""Published data sets become table folders that every script takes."""

import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard

from mmnas_hf.data.image_ids import image_id_of

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
WIDTH, REGIONS = 16, 6
SMALL = [
    "--hidden_size",
    "64",
    "--word_size",
    "8",
    "--pooler_size",
    "16",
    "--relation_size",
    "16",
    "--use_cpu",
    "--disable_tqdm",
    "true",
]
STEPS = [
    "--per_device_train_batch_size",
    "8",
    "--logging_strategy",
    "no",
    "--eval_strategy",
    "no",
    "--save_strategy",
    "no",
]
TASKS = {"vqa-v2": "vqa", "refcoco": "vgd", "flickr30k": "itm"}


@pytest.fixture
def call(monkeypatch, capfd):
    """Run a script in this process and return its exit code and what it wrote."""

    def run(script, *arguments):
        monkeypatch.setattr(sys, "argv", [str(SCRIPTS / script), *map(str, arguments)])
        capfd.readouterr()
        try:
            runpy.run_path(str(SCRIPTS / script), run_name="__main__")
            code = 0
        except SystemExit as ending:
            code = ending.code
        return code, capfd.readouterr()

    return run


def write_features(folder, image_ids):
    """A file of made-up regions for each image, in the original's form."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for image_id in image_ids:
        corners = generator.uniform(0, 60, (REGIONS, 2))
        boxes = np.concatenate([corners, corners + generator.uniform(5, 40, (REGIONS, 2))], axis=1)
        features = generator.random((WIDTH, REGIONS), dtype=np.float32)
        np.savez(folder / f"{image_id}.npz", x=features, bbox=boxes, image_h=100, image_w=100)
    return folder


def write_questions(folder):
    """Twenty questions about as many images to train on and to score, and four without answers."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, start, count in (("train2014", 0, 20), ("val2014", 100, 20), ("test-dev2015", 200, 4)):
        asked = [
            {"question_id": n, "image_id": n, "question": f"is it thing {n}?"} for n in range(start, start + count)
        ]
        (folder / f"v2_OpenEnded_mscoco_{split}_questions.json").write_text(json.dumps({"questions": asked}))
        answered = [
            {
                "question_id": item["question_id"],
                "image_id": item["image_id"],
                "question_type": "is it",
                "answer_type": "yes/no",
                "multiple_choice_answer": "yes" if item["image_id"] % 2 else "no",
                "answers": [{"answer": "yes" if item["image_id"] % 2 else "no", "answer_id": n} for n in range(1, 11)],
            }
            for item in asked
        ]
        if not split.startswith("test"):
            (folder / f"v2_mscoco_{split}_annotations.json").write_text(json.dumps({"annotations": answered}))
    return folder


@pytest.fixture
def downloads(tmp_path):
    return write_questions(tmp_path / "downloads")


def build(call, publication, downloads, regions, folder, *more):
    return call(
        "build_dataset.py",
        *("--publication", publication, "--downloads", downloads, "--regions", regions),
        *("--output_dir", folder, "--num_proc", 1, *more),
    )


@pytest.fixture
def built(call, downloads, tmp_path):
    features = write_features(tmp_path / "features", [*range(20), *range(100, 120), *range(200, 204)])
    code, written = build(call, "vqa-v2", downloads, features, tmp_path / "tables")
    assert code == 0, written.err
    return tmp_path / "tables", written.out


def test_a_report_says_what_was_built(built):
    for line in (
        "44 images, 44 converted now, 0 before",
        "6 to 6 regions",
        "20 texts in train",
        "2 answers, which cover",
    ):
        assert line in built[1]


def test_datasets_loads_a_built_folder(built):
    folder = str(built[0])
    assert len(load_dataset(folder, "vqa", split="train")) == 20
    assert next(iter(load_dataset(folder, "vqa", split="testdev", streaming=True)))["answers"] is None
    assert len(load_dataset(folder, "images", split="train")) == 44


def test_the_card_names_the_tables(built):
    card = DatasetCard.load(built[0] / "README.md")
    assert [config["config_name"] for config in card.data.configs] == ["vqa", "images"]
    assert "| vqa, val | 20 |" in card.text


def test_building_again_converts_what_is_new_or_changed(built, call, downloads, tmp_path):
    write_features(tmp_path / "features", [3])
    code, written = build(call, "vqa-v2", downloads, tmp_path / "features", built[0])
    assert code == 0
    assert "44 images, 44 converted now" in written.out  # all are in one shard
    _, written = build(call, "vqa-v2", downloads, tmp_path / "features", built[0])
    assert "44 images, 0 converted now, 44 before" in written.out


def test_missing_images_are_one_line_and_the_build_goes_on(call, downloads, tmp_path):
    features = write_features(tmp_path / "features", [*range(20), *range(100, 120)])
    code, written = build(call, "vqa-v2", downloads, features, tmp_path / "tables")
    assert code == 2
    assert len(written.err.splitlines()) == 1 or "wanted images" in written.err.splitlines()[-1]
    assert "4 of 44 wanted images are not in" in written.err
    write_features(tmp_path / "more", range(200, 204))
    code, written = build(call, "vqa-v2", downloads, features, tmp_path / "tables", tmp_path / "more")
    assert code == 2  # what follows a flag's values must be said with the flag
    code, written = call(
        "build_dataset.py",
        *("--publication", "vqa-v2", "--downloads", downloads, "--num_proc", 1),
        *("--regions", features, tmp_path / "more", "--output_dir", tmp_path / "tables"),
    )
    assert code == 0
    assert "44 images, 4 converted now, 40 before" in written.out


def test_missing_files_are_named_with_their_addresses(call, tmp_path):
    (tmp_path / "empty").mkdir()
    code, written = build(call, "vqa-v2", tmp_path / "empty", tmp_path / "empty", tmp_path / "tables")
    assert code == 2
    assert len(written.err.splitlines()) == 1
    assert re.search(
        r"v2_OpenEnded_mscoco_train2014_questions\.json \(https://.*annotations\.json \(https://", written.err
    )
    assert not (tmp_path / "tables").exists()


def test_another_publications_folder_is_refused(built, call, downloads, tmp_path):
    code, written = build(call, "refcoco", downloads, tmp_path / "features", built[0])
    assert code == 2
    assert "holds vqa-v2; give another folder for refcoco" in written.err


def test_a_limit_keeps_the_first_texts_and_their_images(call, downloads, tmp_path):
    features = write_features(tmp_path / "features", [*range(20), *range(100, 120), *range(200, 204)])
    code, written = build(call, "vqa-v2", downloads, features, tmp_path / "tables", "--limit", 12)
    assert code == 0
    assert "28 images" in written.out


def test_questions_without_answers_are_answered_for_the_server(built, call, tmp_path):
    model = tmp_path / "model"
    train = ("--data", built[0], "--genotype", "S|RG", "--max_steps", 2, "--output_dir", model, *SMALL, *STEPS)
    assert call("train.py", *train, "--train_split", "train+val")[0] == 0
    answers, scores = tmp_path / "answers.json", tmp_path / "scores.json"
    score = ("--model", model, "--data", built[0], "--use_cpu", "--disable_tqdm", "true", "--predictions_file", answers)
    assert call("evaluate.py", *score, "--test_split", "testdev", "--output_file", scores)[0] == 0
    written = json.loads(answers.read_text())
    assert [row["question_id"] for row in written] == [200, 201, 202, 203]
    assert {row["answer"] for row in written} <= {"yes", "no"}
    assert not scores.exists()
    assert call("evaluate.py", *score, "--output_file", scores)[0] == 0
    assert {"accuracy", "accuracy/yes/no", "accuracy/is it"} <= json.loads(scores.read_text()).keys()


# Real texts, with made-up regions


def real_downloads(publication, real_data):
    names = {"vqa-v2": "vqa_v2", "refcoco": "refcoco_format", "flickr30k": "flickr30k_format"}
    return real_data / names[publication]


def real_images(publication, folder):
    if publication == "vqa-v2":
        files = folder.glob("*questions.json")
        return {item["image_id"] for file in files for item in json.loads(file.read_text())["questions"]}
    if publication == "refcoco":
        return {item["id"] for item in json.loads((folder / "refcoco" / "instances.json").read_text())["images"]}
    return {image_id_of(item["filename"]) for item in json.loads(next(folder.glob("*.json")).read_text())["images"]}


SCORES = {
    "vqa": {"accuracy", "accuracy/number"},
    "vgd": {"accuracy", "accuracy@0.25", "accuracy@0.5", "accuracy@0.75", "mean_iou"},
    "itm": {"mean_recall", "rsum", "image_to_text_median_rank", "text_to_image_mean_rank"},
}


@pytest.mark.parametrize("publication", TASKS)
def test_real_texts_build_search_train_and_score(publication, real_data, call, tmp_path):
    downloads = real_downloads(publication, real_data)
    features = write_features(tmp_path / "features", real_images(publication, downloads))
    code, written = build(call, publication, downloads, features, tmp_path / "tables", "--limit", 300)
    assert code == 0, written.err
    data = ("--data", tmp_path / "tables", "--max_steps", 2, *SMALL, *STEPS)
    space = ("--encoder_nodes", 1, "--decoder_nodes", 2, "--random_architectures", 1, "--jobs", 1)
    search = (*data, *space, "--weight_steps", 1, "--hard_negatives", 0, "--output_dir", tmp_path / "search")
    code, written = call("search.py", *search, "--retrain_budget", 1, "--eval_images", 10)
    assert code == 0, written.err
    model = tmp_path / "model"
    train = ("--genotype", "S|RG", "--hard_negatives", 0, "--output_dir", model, "--eval_images", 10)
    code, written = call("train.py", *data, *train)
    assert code == 0, written.err
    scores = tmp_path / "scores.json"
    score = (
        "--model",
        model,
        "--data",
        tmp_path / "tables",
        "--use_cpu",
        "--disable_tqdm",
        "true",
        "--eval_images",
        10,
    )
    code, written = call("evaluate.py", *score, "--output_file", scores)
    assert code == 0, written.err
    assert json.loads(scores.read_text()).keys() >= SCORES[TASKS[publication]]


def test_a_real_feature_file_and_its_questions_build(real_data, call, tmp_path):
    source, downloads = real_data / "bottom_up_features", tmp_path / "downloads"
    downloads.mkdir()
    names = {"questions": "v2_OpenEnded_mscoco_train2014_questions", "annotations": "v2_mscoco_train2014_annotations"}
    for kind, name in names.items():
        (downloads / f"{name}.json").write_bytes((source / f"{kind}.json").read_bytes())
    code, written = build(call, "vqa-v2", downloads, source / "train2014", tmp_path / "tables")
    assert code == 2  # no answer of three questions is frequent enough, but all is built
    assert "no answer that occurs more than" in written.err
    image = load_dataset(str(tmp_path / "tables"), "images", split="train")[0]
    assert (len(image["boxes"]), len(image["features"])) == (36, 36 * 2048 * 2)
