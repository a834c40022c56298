"""A saved folder loads as the data that it was made from."""

import pytest

from mmnas_hf.data import DATASETS, find_source
from mmnas_hf.data.folder import load_folder, save_folder
from mmnas_hf.errors import InputError
from mmnas_hf.tasks import TASKS
from tiny import save_tiny, tiny_data

every_task = pytest.mark.parametrize("task", TASKS)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """An empty cache of data sets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


@every_task
def test_texts_load_as_they_were_saved(task, tmp_path):
    data = tiny_data(task)
    loaded = load_folder(save_tiny(tmp_path, task), task)
    assert {split: rows.to_list() for split, rows in loaded.texts.items()} == {
        split: rows.to_list() for split, rows in data.texts.items()
    }


@every_task
def test_images_load_as_they_were_saved(task, tmp_path):
    loaded = load_folder(save_tiny(tmp_path, task), task)
    assert loaded.images.to_list() == tiny_data(task).images.to_list()


def test_one_folder_holds_the_texts_of_several_tasks(tmp_path):
    for task in TASKS:
        save_tiny(tmp_path, task)
    assert all(load_folder(tmp_path, task).texts["test"].column_names[0] == "image_id" for task in TASKS)
    assert "box" in load_folder(tmp_path, "vgd").texts["test"].column_names


def test_a_folder_that_changed_is_read_anew(tmp_path):
    load_folder(save_tiny(tmp_path, "vqa"), "vqa")
    changed = load_folder(save_tiny(tmp_path, "vqa", images={"train": 20, "test": 10}), "vqa")
    assert len(changed.texts["train"]) == 40


def test_a_validation_split_is_not_needed(tmp_path):
    assert sorted(load_folder(save_tiny(tmp_path, "vqa", images={"train": 2, "test": 1}), "vqa").texts) == [
        "test",
        "train",
    ]


def test_a_folder_is_made_with_those_above_it(tmp_path):
    save_folder(tiny_data("vqa"), tmp_path / "new" / "folder", "vqa")
    assert (tmp_path / "new" / "folder" / "images.parquet").is_file()


def test_a_path_finds_its_folder(tmp_path):
    data = find_source(str(save_tiny(tmp_path, "vqa"))).load("vqa", None)
    assert len(data.images) == len(tiny_data("vqa").images)


@pytest.mark.parametrize("name", DATASETS)
def test_data_sets_are_found_by_name(name):
    assert find_source(name) is DATASETS[name]


@every_task
@pytest.mark.parametrize("name", DATASETS)
def test_settings_of_a_task_come_before_the_data_sets(name, task):
    source = DATASETS[name]
    settings = source.settings_for(task)
    assert settings == dict(source.settings) | dict(source.task_settings.get(task, {}))


def test_an_unknown_data_set_raises():
    with pytest.raises(InputError, match="unknown data set 'nowhere'; known: scenes, nlvr, or the path of a folder"):
        find_source("nowhere")


@pytest.mark.parametrize("missing", ["images.parquet", "vqa-train.jsonl", "vqa-test.jsonl"])
def test_a_missing_file_raises_and_is_named(missing, tmp_path):
    (save_tiny(tmp_path, "vqa") / missing).unlink()
    with pytest.raises(InputError, match=f"missing .*{missing}"):
        load_folder(tmp_path, "vqa")


@pytest.mark.parametrize("broken", ["images.parquet", "vqa-train.jsonl"])
@pytest.mark.parametrize("content", [b"", b'{"image_id": "a', b"\xff\xfe"])
def test_a_broken_file_raises_one_line(broken, content, tmp_path):
    (save_tiny(tmp_path, "vqa") / broken).write_bytes(content)
    with pytest.raises(InputError) as error:
        load_folder(tmp_path, "vqa")
    assert "\n" not in str(error.value)
