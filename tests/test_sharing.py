"""Architectures as small repositories: what is in them, what comes back, and what is refused."""

import json

import numpy as np
import pytest

from hub_server import LocalHub, known_hub
from mmnas_hf import Genotype, InputError
from mmnas_hf.genotype import PUBLISHED, SearchSpace
from mmnas_hf.hub import Place
from mmnas_hf.privacy import check_texts, portable
from mmnas_hf.sharing.architectures import Architecture, push_architecture
from mmnas_hf.tasks import TASKS

GENOTYPE = Genotype.parse("SF|SGRF")
METRICS = {"accuracy": 0.75, "accuracy/number": 0.5}
SEARCH = {
    "space": SearchSpace.chain(2, 4),
    "strategy": "random",
    "seed": 3,
    "data": "scenes",
    "budget": {"steps": 40},
    "command": "python scripts/search.py --seed 3",
}
FILES = {"genotype.json", "genotype.png", "architecture.json", "README.md"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with LocalHub() as server, known_hub(server.endpoint, tmp_path_factory.mktemp("home")):
        yield server


@pytest.fixture(scope="module")
def pushed(hub):
    """The repository of an architecture."""
    GENOTYPE.push_to_hub("me/pushed", task="vqa", metrics=METRICS, search=SEARCH)
    return hub.repositories["models", "me/pushed"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of an architecture."""
    folder = tmp_path_factory.mktemp("saved") / "architecture"
    GENOTYPE.save_pretrained(folder, task="vqa", metrics=METRICS, search=SEARCH)
    return folder


# There and back


def test_an_architecture_comes_back_from_the_hub(pushed):
    assert Genotype.from_pretrained("me/pushed") == GENOTYPE


def test_an_architecture_comes_back_from_a_folder(saved):
    assert Genotype.from_pretrained(saved) == GENOTYPE


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_genotype_comes_back(name, tmp_path):
    PUBLISHED[name].save_pretrained(tmp_path, task="vqa")
    assert Genotype.from_pretrained(tmp_path) == PUBLISHED[name]


def test_wherever_a_genotype_is_named_a_repository_or_its_folder_will_do(pushed, saved):
    assert Genotype.load("me/pushed") == Genotype.load(saved) == GENOTYPE


def test_what_is_known_comes_back(pushed):
    known = Architecture.load("me/pushed")
    assert (known.genotype, known.task, known.metrics) == (GENOTYPE, "vqa", METRICS)
    assert SearchSpace.from_dict(known.search["space"]) == SEARCH["space"]
    assert {name: known.search[name] for name in SEARCH if name != "space"} == {
        name: SEARCH[name] for name in SEARCH if name != "space"
    }


def test_metrics_keep_their_order(tmp_path):
    GENOTYPE.save_pretrained(tmp_path, task="itm", metrics={"z": 1, "a": np.float32(0.5)})
    assert list(Architecture.load(tmp_path).metrics.items()) == [("z", 1), ("a", 0.5)]


# What a repository is


def test_a_repository_is_four_files_and_private(pushed):
    assert pushed.files.keys() - {".gitattributes"} == FILES
    assert pushed.private


def test_a_public_one_is_made_if_asked(hub):
    GENOTYPE.push_to_hub("me/public", task="vqa", private=False)
    assert not hub.repositories["models", "me/public"].private


def test_a_token_may_be_given(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "")
    GENOTYPE.push_to_hub("me/token", task="vqa", token="hf_tests")
    assert Genotype.from_pretrained("me/token", token="hf_tests") == GENOTYPE


def test_the_address_and_who_may_see_it_are_returned(hub):
    assert GENOTYPE.push_to_hub("me/address", task="vqa") == f"{hub.endpoint}/me/address (private)"


@pytest.mark.parametrize("task", TASKS)
def test_a_card_names_task_metrics_and_seed(task, tmp_path):
    GENOTYPE.save_pretrained(tmp_path, task=task, metrics=METRICS, search=SEARCH)
    card = (tmp_path / "README.md").read_text()
    assert TASKS[task].model_class.__name__ in card
    assert "value: 0.75" in card
    assert "with seed 3" in card
    assert SEARCH["command"] in card


def test_versions_are_recorded(saved):
    assert {"mmnas_hf", "torch", "transformers"} <= json.loads((saved / "architecture.json").read_text())[
        "versions"
    ].keys()


def test_a_saved_card_shows_how_to_load_from_where_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    GENOTYPE.save_pretrained("shared/found", task="vqa")
    card = (tmp_path / "shared" / "found" / "README.md").read_text()
    assert 'Genotype.from_pretrained("shared/found")' in card
    assert "# found\n" in card


def test_saving_again_replaces_an_architecture(tmp_path):
    for text in ("S|G", "S|R"):
        GENOTYPE.parse(text).save_pretrained(tmp_path, task="vqa")
    assert str(Genotype.from_pretrained(tmp_path)) == "S|R"


def test_pushing_again_replaces_an_architecture(hub):
    for text in ("S|G", "S|R"):
        GENOTYPE.parse(text).push_to_hub("me/twice", task="vqa")
    assert str(Genotype.from_pretrained("me/twice")) == "S|R"


# What is refused


def test_what_is_not_there_is_one_line(hub):
    with pytest.raises(InputError, match="'me/nothing' is no folder, and cannot be read from the Hub: no such"):
        Genotype.from_pretrained("me/nothing")


def test_a_revision_that_is_not_there_is_one_line(pushed):
    with pytest.raises(InputError, match="'me/pushed' is no folder, and cannot be read from the Hub: no such revision"):
        Genotype.from_pretrained("me/pushed", revision="v2")


def test_a_private_architecture_is_hidden_from_others(pushed, hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "")
    with known_hub(hub.endpoint, tmp_path, token=""), pytest.raises(InputError, match="a private one"):
        Genotype.from_pretrained("me/pushed")


def test_a_repository_without_a_genotype_is_refused(hub, pushed):
    files = {"config.json": b"{}"}
    hub.repositories["models", "me/other"] = type(pushed)(private=False)
    hub.repositories["models", "me/other"].files = files
    with pytest.raises(InputError, match=r"'me/other' has no genotype\.json"):
        Genotype.from_pretrained("me/other")
    with pytest.raises(InputError, match=r"'me/other' is taken: it holds config\.json"):
        GENOTYPE.push_to_hub("me/other", task="vqa")
    assert hub.repositories["models", "me/other"].files == {"config.json": b"{}"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "vqb"}, "unknown task 'vqb'"),
        ({"metrics": {"accuracy": float("nan")}}, "metric 'accuracy' is nan"),
        ({"metrics": {"accuracy": "high"}}, "metric 'accuracy' is 'high'"),
        ({"search": {"data": ["a", "b"]}}, "search names the data"),
        ({"search": {"strategy": object()}}, "search holds what JSON cannot"),
    ],
)
def test_what_cannot_be_recorded_is_refused_and_nothing_is_written(arguments, message, tmp_path):
    folder = tmp_path / "folder"
    with pytest.raises(InputError, match=message):
        GENOTYPE.save_pretrained(folder, **{"task": "vqa"} | arguments)
    assert not folder.exists()


def test_the_card_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(InputError, match=r"holds the README\.md of something else"):
        GENOTYPE.save_pretrained(tmp_path, task="vqa")
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


@pytest.mark.parametrize("damage", ["{", "[]", '{"task": "vqa"}'])
def test_a_damaged_record_is_one_line(saved, tmp_path, damage):
    (tmp_path / "genotype.json").write_bytes((saved / "genotype.json").read_bytes())
    (tmp_path / "architecture.json").write_text(damage)
    with pytest.raises(InputError, match=r"architecture\.json cannot be read"):
        Architecture.load(tmp_path)


def test_an_upload_that_the_hub_refuses_is_one_line(hub, monkeypatch):
    monkeypatch.setattr(hub, "read_only", True)
    with pytest.raises(InputError, match="'me/refused' was not uploaded to: this token has no right"):
        push_architecture(Architecture(GENOTYPE, "vqa"), Place("me/refused"))


# Privacy

PATHS = [
    ("/home/me/data", "data"),
    ("/usr", "usr"),
    ("--data /home/me/my_data --seed 3", "--data my_data --seed 3"),
    ("--data=/mnt/disk/data", "--data=data"),
    (r"C:\Users\me\data", "data"),
    ("file:///home/me/data", "data"),
    ("see (/home/me/data)", "see (data)"),
    ("~/data", "data"),
]
NO_PATHS = [
    "https://huggingface.co/me/data",
    "accuracy/yes/no",
    "runs/search",
    "../shared/data/a",
    "a / b",
    "SF|SG",
    "/",
]


@pytest.mark.parametrize(("text", "kept"), PATHS)
def test_of_a_local_path_only_the_last_name_is_kept(text, kept):
    assert portable({"a": [text]}) == {"a": [kept]}


@pytest.mark.parametrize("text", NO_PATHS)
def test_other_texts_are_kept(text):
    assert portable(text) == text


@pytest.mark.parametrize("text", NO_PATHS)
def test_other_texts_may_be_shared(text, tmp_path):
    (tmp_path / "README.md").write_text(text)
    check_texts(tmp_path.iterdir())


@pytest.mark.parametrize("text", [text for text, _ in PATHS if text != "/usr"])
def test_texts_with_local_paths_may_not_be_shared(text, tmp_path):
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(InputError, match=r"README\.md names the local path"):
        check_texts(tmp_path.iterdir())


def test_tokens_may_not_be_shared(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"token": "hf_" + 34 * "a"}))
    with pytest.raises(InputError, match=r"run\.json holds a token"):
        check_texts(tmp_path.iterdir())


def test_a_path_that_is_told_of_a_search_is_cut_to_its_name(tmp_path):
    GENOTYPE.save_pretrained(tmp_path, task="vqa", search={"data": "/home/me/my_data", "file": tmp_path / "x"})
    known = Architecture.load(tmp_path).search
    assert (known["data"], known["file"]) == ("my_data", "x")
