"""A run leaves a record that tells how it came about and gives nothing private away, and by which it is repeated."""

import json
import os
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import Dataset, concatenate_datasets

import runs
from mmnas_hf.data import IMAGE_FEATURES
from mmnas_hf.data.fingerprint import data_fingerprint, texts_fingerprint
from mmnas_hf.data.folder import load_folder
from mmnas_hf.data.store import RegionStore
from mmnas_hf.energy import EnergyMeter
from mmnas_hf.errors import InputError
from mmnas_hf.privacy import check_texts
from mmnas_hf.runs import NO_ENERGY, RunRecord, git_state
from scripts import call, refusal, start
from tiny import save_tiny, tiny_data

SEARCH_MORE = "--eval_strategy steps --eval_steps 1 --warm_up 0 --seed 7 --dataloader_in_order false --text_only"
SPEEDS = {"eval_runtime", "eval_samples_per_second", "eval_steps_per_second"}


def read(path):
    return json.loads(path.read_text())


def change(path, **entries):
    path.write_text(json.dumps(read(path) | entries))
    return path


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A working folder for all runs of this file, with the data in it."""
    folder = tmp_path_factory.mktemp("work")
    save_tiny(folder / "data", "vqa")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def searched(workplace):
    assert runs.search(Path("data"), Path("first"), SEARCH_MORE).code == 0
    return workplace / "first"


@pytest.fixture(scope="module")
def repeated(searched):
    """The same search in a process whose strings have other hashes, which order sets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONHASHSEED", "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1")
        ended = start("search.py", "--repeat first/run.json --output_dir again")
    assert ended.returncode == 0, ended.stderr
    assert "than then" not in ended.stderr
    return searched.parent / "again"


@pytest.fixture(scope="module")
def trained(workplace):
    assert runs.train(Path("data"), Path("trained"), "--save_strategy no").code == 0
    return workplace / "trained"


@pytest.fixture
def record(trained, tmp_path):
    """A copy of a training's record, to be changed."""
    return shutil.copy(trained / "run.json", tmp_path / "run.json")


# What a record says


def test_a_record_has_versions_data_arguments_and_seed(searched):
    record = read(searched / "run.json")
    assert {"mmnas_hf", "python", "torch", "transformers", "datasets", "tokenizers", "numpy"} <= record[
        "versions"
    ].keys()
    assert record["fingerprint"].keys() == {"images", "train", "validation", "test"}
    assert record["seed"] == record["arguments"]["SearchArguments"]["seed"] == 7


def test_a_record_has_the_machine_and_what_the_run_took(searched):
    (stretch,) = read(searched / "run.json")["stretches"]
    machine = stretch["machine"]
    assert (machine["processes"], machine["threads"], machine["cores"]) == (1, torch.get_num_threads(), os.cpu_count())
    assert machine["memory"] > 0
    assert machine["processor"]
    assert stretch["start"] <= stretch["end"]
    assert min(stretch["seconds"], stretch["processor_seconds"]) > 0
    assert stretch["energy_joules"]


def test_a_record_has_neither_local_paths_nor_tokens(data_elsewhere):
    check_texts([data_elsewhere / "run.json"])


def test_a_record_that_is_not_finished_has_a_start_and_no_end(tmp_path):
    RunRecord(tmp_path, {})
    (stretch,) = read(tmp_path / "run.json")["stretches"]
    assert "start" in stretch
    assert "end" not in stretch


def test_a_resumed_run_tells_when_the_stretch_that_was_killed_saved_its_last_checkpoint(tmp_path):
    RunRecord(tmp_path, {})
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "checkpoint-1" / "manifest.json").touch()
    RunRecord(tmp_path, {}).finish()
    killed, last = read(tmp_path / "run.json")["stretches"]
    assert killed["start"] <= killed["last_save"] <= last["end"]
    assert "last_save" not in last


def test_a_resumed_run_keeps_its_first_command_and_lists_another_stretch(tmp_path, monkeypatch):
    for flags in ([], ["--resume"]):
        monkeypatch.setattr("sys.argv", ["search.py", *flags])
        RunRecord(tmp_path, {}).finish()
    record = read(tmp_path / "run.json")
    assert record["command"] == "python scripts/search.py"
    assert [stretch["command"].endswith("--resume") for stretch in record["stretches"]] == [False, True]
    assert all("end" in stretch for stretch in record["stretches"])


def test_only_the_writing_process_touches_the_folder(tmp_path):
    RunRecord(tmp_path / "run", {}, writes=False).finish()
    assert not (tmp_path / "run").exists()


# Repeating a run


def test_a_repeated_search_finds_the_same_genotype(searched, repeated):
    assert (repeated / "genotype.json").read_bytes() == (searched / "genotype.json").read_bytes()


def test_a_repeated_search_has_the_same_weights(searched, repeated):
    first, again = ((folder / "supernet" / "model.safetensors").read_bytes() for folder in (searched, repeated))
    assert first == again


def test_a_repeated_search_has_the_same_probabilities_and_scores_at_every_step(searched, repeated):
    def log(folder):
        entries = [json.loads(line) for line in (folder / "search_log.jsonl").read_text().splitlines()]
        for entry in entries:
            entry["metrics"] = {name: value for name, value in entry["metrics"].items() if name not in SPEEDS}
        return entries

    assert len(log(searched)) == 2
    assert log(repeated) == log(searched)


def test_a_repeated_search_trains_networks_to_the_same_scores(searched, repeated):
    first, again = (read(folder / "results.json")["networks"] for folder in (searched, repeated))
    assert [row["metrics"] for row in again] == [row["metrics"] for row in first]


def test_a_repeated_search_records_the_same_arguments_and_data(searched, repeated):
    first, again = read(searched / "run.json"), read(repeated / "run.json")
    assert not first["arguments"]["SearchArguments"]["dataloader_in_order"]  # which is on by default
    first["arguments"]["SearchArguments"]["output_dir"] = "again"
    assert again["arguments"] == first["arguments"]
    assert again["fingerprint"] == first["fingerprint"]


def test_flags_win_over_the_record(trained, workplace):
    assert (
        call("train.py", "--repeat trained/run.json --output_dir other --genotype S|GG --save_strategy steps").code == 0
    )
    arguments = read(workplace / "other" / "run.json")["arguments"]
    assert arguments["ArchitectureArguments"]["genotype"] == "S|GG"
    assert arguments["TrainArguments"]["save_strategy"] == "steps"
    assert arguments["TrainArguments"]["max_steps"] == 2


def test_what_a_repeated_run_has_other_than_then_is_one_line_each(trained, record, workplace, caplog):
    fingerprint, versions, launch = (read(record)[name] for name in ("fingerprint", "versions", "launch"))
    now = {"fingerprint": fingerprint | {"train": "0"}, "versions": versions | {"torch": "1.0"}}
    change(record, **now, launch=launch | {"processes": 2, "mixed_precision": "bf16"})
    assert call("train.py", "--repeat", record, "--output_dir differs").code == 0
    data, libraries, launched = (message for message in caplog.messages if "than then" in message)
    assert f"other data than then, so results may differ: train 0 is now {fingerprint['train']}" in data
    assert f"other versions than then, so results may differ: torch 1.0 is now {versions['torch']}" in libraries
    assert "other launch than then, so results may differ: processes 2 is now 1, mixed_precision bf16" in launched


def refused(*arguments):
    ended = call("train.py", *arguments, "--output_dir refused")
    assert not Path("refused").exists()
    return refusal(ended.code, ended.err, "train.py")


def test_arguments_that_are_not_known_are_one_line(record):
    arguments = read(record)["arguments"]
    arguments["TrainArguments"] |= {"old_name": 3, "also_old": None}
    change(record, arguments=arguments)
    assert "has arguments that train.py does not know: old_name; repeat it with" in refused("--repeat", record)


def test_the_record_of_another_script_is_one_line(searched):
    assert "python scripts/search.py" in refused("--repeat", searched / "run.json")


@pytest.mark.parametrize("content", ["[]", "{}", '{"arguments": 3}', "no JSON"])
def test_a_file_that_is_no_record_is_one_line(content, tmp_path):
    (tmp_path / "run.json").write_text(content)
    assert "run.json" in refused("--repeat", tmp_path / "run.json")


@pytest.fixture(scope="module")
def data_elsewhere(workplace, tmp_path_factory):
    """A training on data that are not below the working folder."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree("data", elsewhere / "tables")
    assert runs.train(elsewhere / "tables", Path("trained-elsewhere"), "--save_strategy no").code == 0
    return workplace / "trained-elsewhere"


def test_data_whose_folder_a_record_leaves_out_has_to_be_given(data_elsewhere):
    line = refused("--repeat", data_elsewhere / "run.json")
    assert "does not tell in which folder they were: give --data" in line


def test_a_run_is_repeated_on_data_that_were_moved(data_elsewhere, caplog):
    given = ("--repeat", data_elsewhere / "run.json", "--data data --output_dir moved")
    assert call("train.py", *given).code == 0
    assert not caplog.messages
    first, again = (read(folder / "results.json")["metrics"] for folder in (data_elsewhere, Path("moved")))
    assert again == first


# The data's fingerprint


def fingerprint(data):
    return data_fingerprint(data.texts, RegionStore(data.images))


def test_the_fingerprint_is_the_same_however_the_data_lie_in_memory_and_files(tmp_path):
    data = tiny_data("vqa")
    folder = load_folder(save_tiny(tmp_path, "vqa"), "vqa")
    halves = {
        split: concatenate_datasets([rows.select(range(3)), rows.select(range(3, len(rows)))])
        for split, rows in data.texts.items()
    }
    assert fingerprint(folder) == fingerprint(data) == fingerprint(data._replace(texts=halves))


def test_a_later_version_computes_the_same_fingerprint_of_the_same_data():
    """Or records of earlier runs would seem to be of other data."""
    assert fingerprint(tiny_data("vgd", images={"train": 2})) == {
        "images": "aa7b1447d3ff17153b7f3311fce8ae63",
        "train": "0fada54f639a2b656e84c2eb39385096",
    }


@pytest.mark.parametrize("column", [pa.array(["a", None, "bc"]), pa.array([b"a", b"", b"\0"])], ids=["text", "bytes"])
def test_the_fingerprint_is_the_same_for_columns_of_large_values(column):
    kinds = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}
    tables = (Dataset(pa.table({"column": column.cast(kind)})) for kind in (column.type, kinds[column.type]))
    assert len({texts_fingerprint(table) for table in tables}) == 1


def test_a_column_that_is_neither_text_nor_numbers_is_refused():
    table = Dataset(pa.table({"column": pa.array([Decimal("1.5")])}))
    with pytest.raises(InputError, match=r"a column of type decimal128\(2, 1\) has no fingerprint"):
        texts_fingerprint(table)


def test_the_fingerprint_knows_lists_of_a_fixed_length_and_columns_of_nothing():
    lists = pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2))
    first, again, other = (
        texts_fingerprint(Dataset(pa.table({"lists": rows, "nothing": pa.nulls(2)})))
        for rows in (lists, lists.take([0, 1]), lists.take([1, 0]))
    )
    assert first == again != other


def changed_row(rows, **values):
    first, *others = rows.to_list()
    return Dataset.from_list([first | values, *others], features=rows.features)


def test_the_fingerprint_tells_which_texts_are_others():
    data = tiny_data("vqa")
    texts = {**data.texts, "test": changed_row(data.texts["test"], multiple_choice_answer=None)}
    before, after = fingerprint(data), fingerprint(data._replace(texts=texts))
    assert [name for name in before if before[name] != after[name]] == ["test"]


@pytest.mark.parametrize("column", IMAGE_FEATURES)
def test_the_fingerprint_notices_any_change_of_an_image(column):
    data = tiny_data("vqa", images={"train": 2})
    value = data.images[0][column]
    others = {
        "image_id": "other",
        "boxes": (np.array(value) + 1).tolist() if column == "boxes" else None,
        "features": bytes(len(value)) if column == "features" else None,
    }
    images = changed_row(data.images, **{column: others.get(column, 1)})
    before, after = fingerprint(data), fingerprint(data._replace(images=images))
    assert [name for name in before if before[name] != after[name]] == ["images"]


# Git


@pytest.fixture
def checkout(tmp_path):
    for name in ("package", "installed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.py").write_text("")
    (tmp_path / ".gitignore").write_text("installed\n")
    author = "-c user.name=me -c user.email=me@localhost"
    for words in ("init -q -b trunk", "add .", f"{author} commit -q -m first"):
        subprocess.run(["git", "-C", tmp_path, *words.split()], check=True)
    return tmp_path


def test_a_checkout_is_recorded_with_commit_branch_and_changes(checkout):
    state = git_state(checkout / "package")
    assert (len(state["commit"]), state["branch"], state["changed"]) == (40, "trunk", False)
    (checkout / "package" / "file.py").write_text("changed")
    assert git_state(checkout / "package") == state | {"changed": True}


def test_a_package_that_is_installed_within_a_checkout_is_no_part_of_it(checkout):
    assert git_state(checkout / "installed") is None


# Energy


@pytest.fixture
def powercap(tmp_path):
    """Counters of a package, its cores and its memory, which start again at 1000 J."""
    for zone, name in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core"), ("intel-rapl:0:1", "dram")):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "name").write_text(f"{name}\n")
        (tmp_path / zone / "max_energy_range_uj").write_text("1000000000\n")
    read_at(tmp_path, 990, 5)
    return tmp_path


def read_at(powercap, package, memory):
    for zone, joules in (("intel-rapl:0", package), ("intel-rapl:0:0", package), ("intel-rapl:0:1", memory)):
        (powercap / zone / "energy_uj").write_text(f"{joules}000000\n")


def test_energy_is_that_of_packages_and_memory_over_the_counters_ends(powercap):
    meter = EnergyMeter(powercap)
    read_at(powercap, 10, 6)
    meter.update()
    read_at(powercap, 15, 9)
    assert meter.stop() == pytest.approx({"intel-rapl:0 package-0": 25, "intel-rapl:0:1 dram": 4})


def test_without_counters_a_record_says_that_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setattr("mmnas_hf.runs.EnergyMeter", lambda: EnergyMeter(tmp_path / "nowhere"))
    RunRecord(tmp_path, {}).finish()
    assert read(tmp_path / "run.json")["stretches"][0]["energy_joules"] == NO_ENERGY


def test_counters_that_cannot_be_read_are_left_out(powercap):
    (powercap / "intel-rapl:0" / "energy_uj").unlink()
    assert EnergyMeter(powercap).stop().keys() == {"intel-rapl:0:1 dram"}


def test_the_energy_of_gpus_is_read_by_nvidias_library(tmp_path, monkeypatch):
    readings = iter([5000, 5000, 7500])  # millijoules: to see whether it works, at the start and at the end
    library = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID={"GPU-12ab": "handle"}.__getitem__,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: next(readings),
        NVMLError=RuntimeError,
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid="12ab"))
    assert EnergyMeter(tmp_path).stop() == {"cuda:0": 2.5}
