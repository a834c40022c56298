"""A saved folder loads as the data that it was made from."""

import json
import shutil
from pathlib import Path

import pytest
from datasets import Dataset, load_dataset

from mmnas_hf.data import DATASETS, IMAGE_FEATURES, find_source
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
    assert (tmp_path / "new" / "folder" / "images" / "images.arrow").is_file()


def test_splits_that_are_gone_are_removed(tmp_path):
    save_tiny(tmp_path, "vqa")
    save_tiny(tmp_path, "vqa", images={"train": 2, "test": 1})
    assert sorted(load_folder(tmp_path, "vqa").texts) == ["test", "train"]


@every_task
def test_datasets_reads_a_folder_streaming_or_not(task, tmp_path):
    save_tiny(tmp_path, task)
    (tmp_path / "README.md").write_text(
        f"---\nconfigs:\n- config_name: {task}\n  data_files:\n  - split: train\n    path: {task}/train.arrow\n---\n"
    )
    expected = tiny_data(task).texts["train"].to_list()
    assert load_dataset(str(tmp_path), task, split="train").to_list() == expected
    assert list(load_dataset(str(tmp_path), task, split="train", streaming=True)) == expected


def test_tables_are_memory_mapped(tmp_path):
    data = load_folder(save_tiny(tmp_path, "vqa"), "vqa")
    files = {Path(file["filename"]) for table in (data.images, *data.texts.values()) for file in table.cache_files}
    assert files == set(tmp_path.rglob("*.arrow"))


def test_images_that_cannot_be_used_are_not_written(tmp_path):
    data = tiny_data("vqa")
    images = data.images.to_list()
    images[3]["boxes"][0] = [9.0, 0.0, 3.0, 5.0]
    with pytest.raises(InputError, match="'train-3' has box"):
        save_folder(data._replace(images=Dataset.from_list(images, features=IMAGE_FEATURES)), tmp_path / "new", "vqa")
    assert not (tmp_path / "new").exists()


def test_a_folders_settings_choose_task_and_splits(tmp_path):
    settings = {"task": "itm", "splits": {"train": "spring", "test": "autumn"}}
    (save_tiny(tmp_path, "itm") / "dataset.json").write_text(json.dumps(settings))
    source = find_source(str(tmp_path))
    assert source.task == "itm"
    assert source.settings_for("itm") == {"train_split": "spring", "test_split": "autumn"}


@pytest.mark.parametrize("training", [False, True])
def test_a_published_data_set_has_the_papers_settings(training, tmp_path):
    settings = {"publication": "vqa-v2", "task": "vqa", "splits": {}}
    (save_tiny(tmp_path, "vqa") / "dataset.json").write_text(json.dumps(settings))
    found = find_source(str(tmp_path)).settings_for("vqa", training)
    assert (found["hidden_size"], found["learning_rate"]) == ((512, 1.2e-4) if training else (256, 4e-4))


@pytest.mark.parametrize("content", ["{", "[1]", "3"])
def test_broken_settings_raise_one_line(content, tmp_path):
    (save_tiny(tmp_path, "vqa") / "dataset.json").write_text(content)
    with pytest.raises(InputError, match=r"dataset\.json cannot be read"):
        find_source(str(tmp_path))


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
    with pytest.raises(
        InputError, match="unknown data set 'nowhere'; known: scenes, nlvr, coco-objects, the path of a folder"
    ):
        find_source("nowhere")


@pytest.mark.parametrize("missing", ["images", "vqa"])
def test_missing_files_raise_and_are_named(missing, tmp_path):
    shutil.rmtree(save_tiny(tmp_path, "vqa") / missing)
    with pytest.raises(InputError, match=f"no files .*{missing}/"):
        load_folder(tmp_path, "vqa")


@pytest.mark.parametrize("broken", ["images/images.arrow", "vqa/train.arrow"])
@pytest.mark.parametrize("content", [b"", b'{"image_id": "a', b"\xff\xfe", None])
def test_a_broken_file_raises_one_line(broken, content, tmp_path):
    path = save_tiny(tmp_path, "vqa") / broken
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    with pytest.raises(InputError, match="cannot be read") as error:
        load_folder(tmp_path, "vqa")
    assert "\n" not in str(error.value)
