"""The scripts do what they say from end to end, and answer wrong input with one line and nothing written."""

import json
import re
import shutil
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset, disable_progress_bars, enable_progress_bars

from mmnas_hf.data import IMAGE_FEATURES, image_row
from mmnas_hf.data.folder import save_folder, write_table
from mmnas_hf.genotype import Genotype, SearchSpace
from mmnas_hf.processing_mmnas import MMnasProcessor
from mmnas_hf.tasks import TASKS
from scripts import FAST, SCRIPTS, SIZES, SPACE, refusal, run_script, start
from tiny import FEATURE_SIZE, save_tiny, tiny_config, tiny_corpus, tiny_data

SEARCH = (
    f"--task vqa --max_steps 6 --save_steps 3 --weight_steps 1 --random_architectures 2 --jobs 1 {SIZES} {SPACE} {FAST}"
)
TRAIN = f"--task vqa --genotype S|RG --max_steps 3 {SIZES} {FAST}"

every_task = pytest.mark.parametrize("task", TASKS)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """An empty cache of data sets, for this process and those it starts, and no progress bars in this process."""
    folder = tmp_path_factory.mktemp("cache")
    disable_progress_bars()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", folder)
        patch.setenv("HF_DATASETS_CACHE", str(folder))
        yield
    enable_progress_bars()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folders with each task's tiny data."""
    return {task: save_tiny(tmp_path_factory.mktemp(f"data-{task}"), task) for task in TASKS}


@pytest.fixture
def call(capfd):
    """Run a script in this process and return its exit code."""

    def call_script(script, *arguments):
        capfd.readouterr()  # what the test itself has made the libraries write
        return run_script(script, *arguments)

    return call_script


def read(path):
    return json.loads(path.read_text())


# From end to end


@pytest.fixture(scope="module")
def searched(data, tmp_path_factory):
    """The folder of a finished search, run in a process of its own."""
    folder = tmp_path_factory.mktemp("runs") / "search"
    ended = start("search.py", "--data", data["vqa"], "--output_dir", folder, SEARCH)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.parametrize("name", ["genotype.json", "genotype.png", "probabilities.png", "supernet", "results.json"])
def test_a_search_leaves(searched, name):
    assert (searched / name).exists()


def test_a_searchs_results_have_the_found_network_beside_hand_made_and_random_ones(searched):
    names = [network["name"] for network in read(searched / "results.json")["networks"]]
    assert names == ["found", "mcan", "random 1", "random 2"]


def test_a_searchs_genotype_is_the_one_in_its_results(searched):
    results = read(searched / "results.json")
    assert str(Genotype.load(searched / "genotype.json")) == results["search"]["genotype"]
    assert results["networks"][0]["genotype"] == results["search"]["genotype"]


def test_a_searchs_supernet_loads_with_the_searched_space(searched):
    supernet = TASKS["vqa"].model_class.from_pretrained(searched / "supernet")
    assert supernet.config.space == SearchSpace.chain(1, 2)


def test_a_search_with_a_text_only_network_compares_five(data, tmp_path, call):
    arguments = SEARCH.replace("--max_steps 6", "--max_steps 1")
    assert call("search.py", "--data", data["vqa"], "--output_dir", tmp_path / "run", arguments, "--text_only") == 0
    networks = read(tmp_path / "run" / "results.json")["networks"]
    assert [network["name"] for network in networks] == ["found", "mcan", "random 1", "random 2", "text only"]


def test_a_searchs_supernet_scores_at_any_genotype(searched, data, tmp_path, call):
    model = f"--task vqa --genotype S|GR --output_file {tmp_path / 'scores.json'} --use_cpu --output_dir {tmp_path}"
    assert call("evaluate.py", "--model", searched / "supernet", "--data", data["vqa"], model) == 0
    assert 0 <= read(tmp_path / "scores.json")["accuracy"] <= 1


def test_an_interrupted_search_ends_equally_when_resumed(searched, data, tmp_path, call):
    run = tmp_path / "run"
    shutil.copytree(searched, run)
    shutil.rmtree(run / "checkpoint-6")
    resume = "--resume_from_checkpoint last"
    assert call("search.py", "--data", data["vqa"], "--output_dir", run, SEARCH, resume) == 0
    expected, results = read(searched / "results.json"), read(run / "results.json")
    assert [network["metrics"] for network in results["networks"]] == [
        network["metrics"] for network in expected["networks"]
    ]


@every_task
def test_a_trained_network_scores_the_same_once_loaded(task, data, tmp_path, call):
    run, scores = tmp_path / "run", tmp_path / "scores.json"
    common = f"--task {task} --data {data[task]}"
    assert call("train.py", "--output_dir", run, TRAIN, common) == 0
    scoring = f"--output_file {scores} --use_cpu --output_dir {tmp_path / 'unused'}"
    assert call("evaluate.py", common, "--model", run, scoring) == 0
    assert read(scores) == pytest.approx(read(run / "results.json")["metrics"], abs=1e-6)


def test_evaluation_writes_nothing_but_its_output_file(searched, data, tmp_path, call, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = "--task vqa --genotype S|GR --output_file scores.json --use_cpu"
    assert call("evaluate.py", "--model", searched / "supernet", "--data", data["vqa"], model) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]


def test_training_inherits_the_supernets_weights(searched, data, tmp_path, call):
    # At a rate of zero nothing else can have made the weights what they are.
    arguments = ["--task vqa --genotype S|RG --learning_rate 0 --max_steps 1", FAST]
    output = ["--output_dir", tmp_path / "run"]
    assert call("train.py", "--data", data["vqa"], "--inherit", searched / "supernet", *output, *arguments) == 0
    model_class = TASKS["vqa"].model_class
    derived = model_class.from_pretrained(searched / "supernet").derive("S|RG").state_dict()
    trained = model_class.from_pretrained(tmp_path / "run").state_dict()
    assert all(torch.equal(trained[name], value) for name, value in derived.items())


def test_a_trained_folder_has_the_tokenizer_it_was_trained_with(searched, data):
    tokenizer = MMnasProcessor.from_pretrained(searched / "supernet").tokenizer
    assert tokenizer("Is something red?")["input_ids"] == [3, 4, 5]


def test_overwriting_replaces_a_run(searched, data, tmp_path, call):
    run = tmp_path / "run"
    shutil.copytree(searched, run)
    assert call("train.py", "--data", data["vqa"], "--output_dir", run, TRAIN, "--overwrite") == 0
    assert not (run / "supernet").exists()


def test_a_finished_search_can_be_summarised(searched, call, capfd):
    assert call("summarise.py", searched) == 0
    assert "mcan" in capfd.readouterr().out


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.py")))
def test_every_script_has_help(script, call, capfd):
    assert call(script, "--help") == 0
    assert "usage" in capfd.readouterr().out


# Wrong input


@pytest.fixture
def broken(tmp_path):
    """Make a folder of VQA data whose image rows have been changed by a function."""

    def save(change, task="vqa"):
        data = tiny_data(task)
        images = data.images.to_list()
        change(images)
        folder = tmp_path / "broken"
        save_folder(data, folder, task)
        write_table(Dataset.from_list(images, features=IMAGE_FEATURES), folder / "images" / "images.arrow", 100)
        return folder

    return save


def refused(code, capfd, script, output=None):
    """The one line that a script wrote about its input."""
    line = refusal(code, capfd.readouterr().err, script)
    assert output is None or not output.exists()
    return line


WRONG_FLAGS = [
    ("search.py", "--task juggling", "unknown task 'juggling'; known: vqa, vgd, itm"),
    ("train.py", "--task juggling", "unknown task 'juggling'; known: vqa, vgd, itm"),
    ("search.py", "--data nowhere", "unknown data set 'nowhere'; known: scenes, nlvr, coco-objects"),
    ("train.py", "--data nowhere", "unknown data set 'nowhere'; known: scenes, nlvr, coco-objects"),
    ("search.py", "--data nlvr", "needs --data_dir"),
    ("search.py", "--data nlvr --task vgd", "nlvr has no rows for task 'vgd'; it has: vqa, itm"),
    ("search.py", "--data nlvr --data_dir nowhere", "missing file nowhere/test.json"),
    ("search.py", "--decoder_candidates magic self_att_64", "unknown operation 'magic'; known: S="),
    ("search.py", "--encoder_candidates guided_att_64", "guided_att_64 in the encoder"),
    ("search.py", "--decoder_nodes 0", "at least one decoder node"),
    ("search.py", "--prior wish", "unknown prior 'wish'; known: none, random, hand-made"),
    ("search.py", "--gates three", "unknown gates 'three'; known: full, two"),
    ("search.py", "--hidden_size 65", "hidden_size 65 is no multiple"),
    ("train.py", "--hidden_size 65", "hidden_size 65 is no multiple"),
    ("search.py", "--word_vectors nowhere.txt", "no word vector file nowhere.txt"),
    ("search.py", "--resume_from_checkpoint last", "no checkpoint to resume from"),
    ("search.py", "--resume_from_checkpoint nowhere", "no checkpoint to resume from"),
    ("search.py", f"--resume_from_checkpoint {Path(__file__).parent}", "no checkpoint to resume from"),
    ("search.py", "--groups some", "unknown group 'some'"),
    ("search.py", "--weight_steps 0", "weight_steps"),
    ("search.py", "--warm_up 20", "warm_up"),  # a share, not epochs: no architecture step would ever come
    ("search.py", "--dropout 2", "dropout"),
    ("search.py", "--eval_images 0", "eval_images"),
    ("search.py", "--learning_rate fast", "invalid float value: 'fast'"),
    ("search.py", "--eval_images many", "invalid int value: 'many'"),
    ("search.py", "--no_such_flag 1", "no_such_flag"),
    ("search.py", "--task", "expected one argument"),
    ("search.py", "--eval_strategy sometimes", "sometimes"),
    ("train.py", "--genotype SF", "no genotype 'SF'"),
    ("train.py", "--genotype S|Q", "unknown operation 'Q'"),
    ("train.py", "--genotype G|S", "guided_att_64 in the encoder"),
    ("train.py", "--genotype S|", "at least one decoder node"),
    ("train.py", "--inherit nowhere", "at 'nowhere'"),
    ("evaluate.py", "--model nowhere", "at 'nowhere'"),
    ("evaluate.py", "", "--model"),
]


def arguments_for(script):
    return {"search.py": SEARCH, "train.py": TRAIN, "evaluate.py": "--task vqa --use_cpu"}[script]


@pytest.mark.parametrize(("script", "flags", "message"), WRONG_FLAGS)
def test_a_wrong_flag_is_one_line_and_nothing_written(script, flags, message, data, tmp_path, call, capfd):
    output = tmp_path / "run"
    code = call(script, "--data", data["vqa"], "--output_dir", output, arguments_for(script), flags)
    assert message in refused(code, capfd, script, output)


def nan_feature(images):
    images[3] = images[3] | {"features": np.full((len(images[3]["boxes"]), 8), np.nan, np.float16).tobytes()}


def infinite_box(images):
    images[3]["boxes"][0][2] = float("inf")


def narrow_features(images):
    images[3] = images[3] | {"features": np.ones((len(images[3]["boxes"]), 7), np.float16).tobytes()}


def odd_features(images):
    images[3] = images[3] | {"features": images[3]["features"][:-1]}


def reversed_box(images):
    images[3]["boxes"][0] = [50.0, 10, 40, 20]


def three_cornered_boxes(images):
    images[3]["boxes"] = [box[:3] for box in images[3]["boxes"]]


def no_boxes(images):
    images[3] = images[3] | {"boxes": [], "features": b""}


def missing_image(images):
    del images[3]


def repeated_image(images):
    images.append(images[3])


def no_features(images):
    images[3]["features"] = None


def no_size(images):
    images[3]["width"] = None


WRONG_IMAGES = [
    (nan_feature, "'train-3' has features or boxes that are NaN or infinite"),
    (infinite_box, "'train-3' has features or boxes that are NaN or infinite"),
    (narrow_features, "'train-3' has features of width 7, the images before have 8"),
    (odd_features, "'train-3'"),
    (reversed_box, "'train-3' has box [50.0, 10.0, 40.0, 20.0] with x2 < x1"),
    (three_cornered_boxes, "'train-3'"),
    (no_boxes, "'train-3'"),
    (missing_image, "no image 'train-3'"),
    (repeated_image, "'train-3'"),
    (no_features, "'train-3'"),
    (no_size, "'train-3'"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_IMAGES)
def test_a_wrong_image_is_one_line_and_nothing_written(change, message, broken, tmp_path, call, capfd):
    output = tmp_path / "run"
    code = call("train.py", "--data", broken(change), "--output_dir", output, TRAIN)
    assert message in refused(code, capfd, "train.py", output)


def change_texts(folder, change):
    """Write the training texts anew, as the columns that `change` makes of them."""
    path = folder / "vqa" / "train.arrow"
    write_table(change(Dataset.from_file(str(path))), path, 100)


def without_images(folder):
    shutil.rmtree(folder / "images")


def without_test(folder):
    (folder / "vqa" / "test.arrow").unlink()


def cut_images(folder):
    path = folder / "images" / "images.arrow"
    path.write_bytes(path.read_bytes()[:100])


def cut_texts(folder):
    path = folder / "vqa" / "train.arrow"
    path.write_bytes(path.read_bytes()[:-100])


def without_questions(folder):
    change_texts(folder, lambda texts: texts.remove_columns("question"))


def with_a_missing_question(folder):
    change_texts(folder, lambda texts: Dataset.from_list([*texts.to_list()[:-1], {"image_id": "train-0"}]))


def without_image_ids(folder):
    change_texts(folder, lambda texts: texts.rename_column("image_id", "picture"))


def without_rows(folder):
    change_texts(folder, lambda texts: texts.select([]))


def with_rare_answers(folder):
    names = [f"answer {number}" for number in range(80)]
    change_texts(
        folder,
        lambda texts: texts.remove_columns("multiple_choice_answer").add_column("multiple_choice_answer", names),
    )


WRONG_FILES = [
    (without_images, "no files .*images/.*arrow"),
    (without_test, "no split 'test'; this data set has: train, validation; choose with .*--test_split"),
    (cut_images, "images.arrow cannot be read"),
    (cut_texts, "train.arrow cannot be read"),
    (without_questions, "split 'train' lacks column 'question'"),
    (with_a_missing_question, "1 texts of split 'train' have no question, the first is row 39"),
    (without_image_ids, "image_id"),
    (without_rows, "split 'train' has no texts"),
    (with_rare_answers, "no answer that occurs more than"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_FILES)
def test_a_wrong_file_is_one_line_and_nothing_written(change, message, tmp_path, call, capfd):
    images = {"train": 40 if change is with_rare_answers else 20, "validation": 2, "test": 10}
    folder, output = save_tiny(tmp_path / "broken", "vqa", images=images), tmp_path / "run"
    change(folder)
    code = call("train.py", "--data", folder, "--output_dir", output, TRAIN)
    assert re.search(message, refused(code, capfd, "train.py", output))


def test_a_folder_without_the_tasks_texts_is_one_line(data, tmp_path, call, capfd):
    code = call("train.py", "--data", data["vqa"], "--output_dir", tmp_path / "run", TRAIN, "--task itm")
    assert "itm/*.arrow: this folder has vqa" in refused(code, capfd, "train.py", tmp_path / "run")


def test_data_too_small_to_split_is_one_line_and_nothing_written(tmp_path, call, capfd):
    folder = save_tiny(tmp_path / "small", "vqa", images={"train": 10, "test": 10})
    code = call("search.py", "--data", folder, "--output_dir", tmp_path / "run", SEARCH)
    assert "too few to split" in refused(code, capfd, "search.py", tmp_path / "run")


@pytest.mark.parametrize(("script", "arguments"), [("search.py", SEARCH), ("train.py", TRAIN)])
def test_a_folder_that_holds_a_run_is_refused_and_left_as_it_is(script, arguments, searched, data, call, capfd):
    before = sorted((path, path.stat().st_mtime_ns) for path in searched.rglob("*"))
    code = call(script, "--data", data["vqa"], "--output_dir", searched, arguments)
    assert "already holds a run" in refused(code, capfd, script)
    assert sorted((path, path.stat().st_mtime_ns) for path in searched.rglob("*")) == before


def test_overwriting_refuses_to_delete_what_is_no_run(data, tmp_path, call, capfd):
    (tmp_path / "thesis.tex").write_text("years of work")
    code = call("train.py", "--data", data["vqa"], "--output_dir", tmp_path, TRAIN, "--overwrite")
    assert "no run" in refused(code, capfd, "train.py")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_file_as_output_folder_is_refused(data, tmp_path, call, capfd):
    (tmp_path / "file").write_text("")
    code = call("train.py", "--data", data["vqa"], "--output_dir", tmp_path / "file", TRAIN)
    assert "is a file" in refused(code, capfd, "train.py")


def test_a_genotype_of_another_depth_than_the_supernet_is_refused(searched, data, tmp_path, call, capfd):
    inherit = ["--inherit", searched / "supernet", "--task vqa --genotype S|RGF"]
    code = call("train.py", "--data", data["vqa"], "--output_dir", tmp_path / "run", FAST, *inherit)
    assert "has 3 decoder nodes; the space has 2" in refused(code, capfd, "train.py", tmp_path / "run")


def test_a_genotype_with_an_operation_that_is_no_candidate_is_refused(searched, data, tmp_path, call, capfd):
    inherit = ["--inherit", searched / "supernet", "--task vqa --genotype S|DG"]
    code = call("train.py", "--data", data["vqa"], "--output_dir", tmp_path / "run", FAST, *inherit)
    assert "is no candidate of decoder node 0" in refused(code, capfd, "train.py", tmp_path / "run")


@pytest.mark.parametrize("content", ["{}", "[]", "no JSON", '{"epoch0": {}}', '{"encoder": ["S"]}', "\xff"])
def test_a_file_without_a_genotype_is_refused(content, data, tmp_path, call, capfd):
    (tmp_path / "genotype.json").write_bytes(content.encode("latin-1"))
    wrong = ["--genotype", tmp_path / "genotype.json"]
    code = call("train.py", "--data", data["vqa"], "--output_dir", tmp_path / "run", TRAIN, *wrong)
    assert "genotype" in refused(code, capfd, "train.py", tmp_path / "run")


def test_scoring_a_supernet_without_a_genotype_is_refused(searched, data, tmp_path, call, capfd):
    common = ["--data", data["vqa"], "--task vqa --use_cpu --output_dir", tmp_path / "run"]
    code = call("evaluate.py", "--model", searched / "supernet", *common)
    assert "supernet" in refused(code, capfd, "evaluate.py", tmp_path / "run")


def test_scoring_an_unknown_split_is_refused(searched, data, tmp_path, call, capfd):
    common = [
        "--data",
        data["vqa"],
        "--task vqa --use_cpu --genotype S|RG --test_split spring --output_dir",
        tmp_path / "run",
    ]
    code = call("evaluate.py", "--model", searched / "supernet", *common)
    assert "no split 'spring'; this data set has" in refused(code, capfd, "evaluate.py", tmp_path / "run")


@pytest.mark.parametrize(("trained", "scored"), permutations(TASKS, 2))
def test_scoring_a_network_of_another_task_is_refused(trained, scored, data, tmp_path, call, capfd):
    corpus = tiny_corpus(trained)
    model = TASKS[trained].model_class(tiny_config(genotype="S|RG", vocab_size=len(corpus.processor.tokenizer)))
    for part in (model, corpus.processor):
        part.save_pretrained(tmp_path / "model")
    common = [f"--task {scored} --data", data[scored], "--use_cpu --output_dir", tmp_path / "run"]
    code = call("evaluate.py", "--model", tmp_path / "model", *common)
    assert TASKS[trained].model_class.__name__ in refused(code, capfd, "evaluate.py", tmp_path / "run")


def wider(images):
    for number, image in enumerate(images):
        boxes = np.array(image["boxes"])
        images[number] = image_row(image["image_id"], 200, 100, boxes, np.ones((len(boxes), FEATURE_SIZE + 1)))


def test_scoring_features_of_another_width_than_the_networks_is_refused(searched, broken, tmp_path, call, capfd):
    common = ["--data", broken(wider), "--task vqa --use_cpu --genotype S|RG --output_dir", tmp_path / "run"]
    code = call("evaluate.py", "--model", searched / "supernet", *common)
    assert "width 8, the data has 9" in refused(code, capfd, "evaluate.py", tmp_path / "run")


def test_summarising_a_folder_without_results_is_refused(tmp_path, call, capfd):
    assert "results.json" in refused(call("summarise.py", tmp_path), capfd, "summarise.py")


def test_summarising_by_an_unknown_metric_is_refused(searched, call, capfd):
    line = refused(call("summarise.py", searched, "--metric charm"), capfd, "summarise.py")
    assert "charm" in line


@pytest.mark.parametrize("change", [reversed_box, cut_texts])
def test_in_a_process_of_its_own_wrong_input_is_one_line_too(change, broken, tmp_path):
    folder = broken(reversed_box)
    if change is cut_texts:
        cut_texts(folder)
    ended = start("search.py", "--data", folder, "--output_dir", tmp_path / "run", SEARCH)
    assert ended.returncode == 2
    assert re.fullmatch(r"search\.py: error: [^\n]*\n", ended.stderr)
    assert not (tmp_path / "run").exists()


def test_a_model_without_its_processor_is_refused(data, tmp_path, call, capfd):
    TASKS["vqa"].model_class(tiny_config(genotype="S|G")).save_pretrained(tmp_path / "model")
    code = call("evaluate.py", "--model", tmp_path / "model", "--data", data["vqa"], "--task vqa --use_cpu")
    assert "no processor" in refused(code, capfd, "evaluate.py")
