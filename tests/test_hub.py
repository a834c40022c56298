"""Data sets go to a Hub and come back, through the real client."""

import json
from pathlib import Path

import pytest

from hub_server import LocalHub, Repository, known_hub, python
from mmnas_hf.data.hub import upload_tables
from mmnas_hf.errors import InputError
from mmnas_hf.hub import Place
from test_build import write_features, write_questions

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
SIZES = "--hidden_size 64 --word_size 8 --pooler_size 16 --relation_size 16 --genotype S|RG --max_steps 2 --use_cpu"
QUIET = "--disable_tqdm true --eval_strategy no --save_strategy no --logging_strategy no"
LOAD = """
import json, sys
from datasets import load_dataset
whole = load_dataset("me/tiny", "vqa", split="train")
stream = load_dataset("me/tiny", "vqa", split="train", streaming=True)
images = load_dataset("me/tiny", "images", split="train", streaming=True)
questions = [row["question"] for row in stream]
print(json.dumps({"same": questions == whole["question"][:], "texts": len(questions), "images": len(list(images))}))
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def hub():
    with LocalHub() as server:
        yield server


@pytest.fixture(scope="module")
def call(hub, workplace):
    """Run Python in a process of its own that knows no other Hub."""

    def run(*arguments):
        return python(hub.endpoint, workplace / "home", *arguments)

    return run


@pytest.fixture(scope="module")
def build(call, workplace):
    """Build a table folder and upload it under a name."""
    downloads = write_questions(workplace / "downloads")
    features = write_features(workplace / "features", [*range(20), *range(100, 120), *range(200, 204)])

    def run(name):
        given = ("--publication", "vqa-v2", "--downloads", downloads, "--regions", features, "--num_proc", 1)
        output = workplace / name.replace("/", "-")
        return call(SCRIPTS / "build_dataset.py", *given, "--output_dir", output, "--push_to_hub", name)

    return run


@pytest.fixture(scope="module")
def uploaded(build, hub):
    result = build("me/tiny")
    assert result.returncode == 0, result.stderr
    return hub.repositories["datasets", "me/tiny"]


def test_an_upload_is_the_tables_their_settings_and_the_card(uploaded):
    tables = {"images/features-00000.arrow", "vqa/train.arrow", "vqa/val.arrow", "vqa/testdev.arrow"}
    assert uploaded.files.keys() - {".gitattributes"} == tables | {"dataset.json", "README.md"}


def test_an_uploads_card_shows_how_to_load_it_from_the_hub(uploaded):
    assert 'load_dataset("me/tiny", "vqa"' in uploaded.files["README.md"].decode()


def test_an_upload_is_private(uploaded):
    assert uploaded.private


@pytest.fixture
def upload_to(uploaded, hub, workplace):
    """Upload the same tables from this process to a repository that holds some files."""

    def run(name, files):
        hub.repositories["datasets", name] = Repository(private=True)
        hub.repositories["datasets", name].files.update(files)
        with known_hub(hub.endpoint, workplace / "home"):
            upload_tables(workplace / "me-tiny", Place(name, kind="dataset"))
        return hub.repositories["datasets", name].files

    return run


def test_another_data_set_of_the_same_name_stays_as_it_is(upload_to, hub):
    with pytest.raises(InputError, match=r"'me/taken' is taken: it holds rows\.csv"):
        upload_to("me/taken", {"rows.csv": b"theirs"})
    assert hub.repositories["datasets", "me/taken"].files == {"rows.csv": b"theirs"}


def test_an_upload_replaces_the_tables_of_an_earlier_one(upload_to, uploaded):
    files = upload_to("me/earlier", {"dataset.json": b"{}", "images/old.arrow": b"old", "notes.txt": b"mine"})
    assert files.keys() == (uploaded.files.keys() - {".gitattributes"}) | {"notes.txt"}


def test_datasets_loads_and_streams_it(uploaded, call):
    result = call("-c", LOAD)
    assert result.returncode == 0, result.stderr[-2000:]
    assert json.loads(result.stdout.splitlines()[-1]) == {"same": True, "texts": 20, "images": 44}


def test_a_script_trains_on_it_with_its_own_task_and_splits(uploaded, call, workplace):
    output = workplace / "run"
    result = call(SCRIPTS / "train.py", "--data", "me/tiny", "--output_dir", output, *SIZES.split(), *QUIET.split())
    assert result.returncode == 0, result.stderr[-2000:]
    arguments = json.loads((output / "run.json").read_text())["arguments"]["DataArguments"]
    assert (arguments["task"], arguments["test_split"]) == ("vqa", "val")


def test_an_unknown_name_is_one_line(uploaded, call):
    result = call(SCRIPTS / "train.py", "--data", "me/unknown")
    assert result.returncode == 2
    assert "no folder 'me/unknown', and no data set of this name" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_a_refused_upload_says_that_the_folder_is_complete(build, hub, monkeypatch):
    monkeypatch.setattr(hub, "read_only", True)
    result = build("me/other")
    assert result.returncode == 2
    assert "'me/other' was not uploaded to" in result.stderr.splitlines()[-1]
    assert "me-other is complete" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
