"""Checkpoints are whole or recognised as damaged, and `--resume` finds the newest whole one by itself."""

import json
import shutil

import pytest

import runs
from mmnas_hf.checkpoints import MANIFEST_FILE, STAGING_FOLDER, fault, list_checkpoints, newest_good, publish, seal
from scripts import refusal
from tiny import save_tiny, search_arguments, search_trainer, tiny_corpus


@pytest.fixture
def folder(tmp_path):
    """A run's folder with three checkpoints."""
    for step in (2, 9, 10):
        make(tmp_path, step)
    return tmp_path


def make(folder, step, text="weights"):
    staged = folder / STAGING_FOLDER / f"checkpoint-{step}"
    (staged / "inner").mkdir(parents=True)
    (staged / "model.safetensors").write_text(text)
    (staged / "inner" / "shard").write_text(text)
    (staged / "trainer_state.json").write_text("{}")
    seal(staged)
    publish(staged, folder / staged.name)
    return folder / staged.name


def change_a_byte(checkpoint):
    (checkpoint / "inner" / "shard").write_text("Weights")


def cut_short(checkpoint):
    (checkpoint / "model.safetensors").write_text("weig")


def lose_a_file(checkpoint):
    (checkpoint / "model.safetensors").unlink()


def lose_the_manifest(checkpoint):
    (checkpoint / MANIFEST_FILE).unlink()


def cut_the_manifest_short(checkpoint):
    (checkpoint / MANIFEST_FILE).write_text('{"files": {"model')


def empty_the_manifest(checkpoint):
    (checkpoint / MANIFEST_FILE).write_text("{}")


DAMAGES = [change_a_byte, cut_short, lose_a_file, lose_the_manifest, cut_the_manifest_short, empty_the_manifest]
every_damage = pytest.mark.parametrize("damage", DAMAGES)


def test_a_sealed_checkpoint_is_whole(folder):
    assert [fault(checkpoint) for checkpoint in list_checkpoints(folder)] == [None, None, None]


def test_checkpoints_are_ordered_by_step(folder):
    (folder / "checkpoint-none").mkdir()
    assert [path.name for path in list_checkpoints(folder)] == ["checkpoint-2", "checkpoint-9", "checkpoint-10"]


@every_damage
def test_a_damaged_checkpoint_is_recognised_and_the_one_before_it_used(damage, folder, caplog):
    damage(folder / "checkpoint-10")
    assert newest_good(folder) == folder / "checkpoint-9"
    assert f"{folder / 'checkpoint-10'} is left out" in caplog.text


def test_a_checkpoint_takes_the_place_of_a_damaged_one(folder):
    cut_short(folder / "checkpoint-10")
    make(folder, 10, "new")
    assert fault(folder / "checkpoint-10") is None
    assert (folder / "checkpoint-10" / "model.safetensors").read_text() == "new"
    assert not (folder / STAGING_FOLDER).exists()


def test_what_a_killed_run_was_writing_is_no_checkpoint(folder):
    (folder / STAGING_FOLDER / "checkpoint-11").mkdir(parents=True)
    assert newest_good(folder) == folder / "checkpoint-10"


# The flag


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("data"), "vqa")


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "trained"
    assert runs.train(data, run).code == 0
    return run


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a finished run with two checkpoints."""
    return shutil.copytree(trained, tmp_path / "run")


def refused(ended):
    return refusal(ended.code, ended.err.splitlines(keepends=True)[-1], "train.py")


def test_resuming_replaces_a_damaged_checkpoint_on_the_way(data, run, trained):
    cut_short(run / "checkpoint-2")
    assert runs.train(data, run, "--resume").code == 0
    assert newest_good(run) == run / "checkpoint-2"
    assert (run / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


def test_resuming_where_nothing_is_yet_starts_from_the_beginning_and_says_so(data, tmp_path, trained):
    run = tmp_path / "run"
    ended = runs.train(data, run, "--resume")
    assert ended.code == 0
    assert f"no checkpoint in {run} yet: starting from the beginning" in ended.out
    assert (run / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


def test_resuming_a_run_without_a_whole_checkpoint_is_refused_and_deletes_nothing(data, run):
    for checkpoint in list_checkpoints(run):
        cut_short(checkpoint)
    assert "no checkpoint to resume from: none in" in refused(runs.train(data, run, "--resume"))
    assert len(list_checkpoints(run)) == 2


def test_a_finished_run_without_checkpoints_is_not_started_again_by_resuming(data, run):
    for checkpoint in list_checkpoints(run):
        shutil.rmtree(checkpoint)
    assert "already holds a run" in refused(runs.train(data, run, "--resume"))
    assert (run / "model.safetensors").exists()


def test_resuming_in_a_folder_that_is_no_runs_is_refused(data, tmp_path):
    (tmp_path / "letter.txt").touch()
    assert "holds files that are no run's" in refused(runs.train(data, tmp_path, "--resume"))


def test_resuming_and_overwriting_exclude_each_other(data, run):
    assert "give one of them" in refused(runs.train(data, run, "--resume --overwrite"))


def test_a_damaged_checkpoint_that_is_asked_for_is_refused(data, run):
    cut_short(run / "checkpoint-1")
    line = refused(runs.train(data, run, f"--resume_from_checkpoint {run / 'checkpoint-1'}"))
    assert f"{run / 'checkpoint-1'} is damaged: model.safetensors is not what was written" in line


# Trainer's own features


def searching(folder, **changes):
    settings = {"save_strategy": "steps", "save_steps": 4, "eval_strategy": "steps", "eval_steps": 4}
    return search_trainer(tiny_corpus("vqa"), search_arguments(folder, **settings | changes))


def test_the_best_checkpoint_is_kept_and_called_by_the_name_that_it_has(tmp_path):
    changes = {"metric_for_best_model": "loss", "greater_is_better": True, "save_total_limit": 1}
    trainer = searching(tmp_path, max_steps=12, save_steps=2, eval_steps=2, load_best_model_at_end=True, **changes)
    trainer.train()
    best = trainer.state.best_model_checkpoint
    assert best == str(tmp_path / f"checkpoint-{trainer.state.best_global_step}")
    assert fault(tmp_path / best) is None
    assert json.loads((tmp_path / best / "trainer_state.json").read_text())["best_model_checkpoint"] == best


def test_a_search_that_ended_early_takes_no_further_step_when_resumed(tmp_path):
    settings = {"max_steps": 40, "weight_steps": 100, "stable_epochs": 1}
    trainer = searching(tmp_path, **settings)
    trainer.train()
    ended = trainer.state.global_step
    assert ended == 16
    resumed = searching(tmp_path, **settings)
    resumed.training_step = None  # whoever calls it fails
    resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{ended}"))
    assert resumed.state.global_step == ended
    assert resumed.stability.state_dict() == trainer.stability.state_dict()


def test_a_run_whose_steps_are_raised_goes_on_from_its_end(tmp_path):
    searching(tmp_path, max_steps=4).train()
    resumed = searching(tmp_path, max_steps=6)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert resumed.state.global_step == 6


def test_what_belongs_to_an_epochs_end_is_done_before_the_checkpoint_of_its_last_step(tmp_path):
    trainer = searching(tmp_path, max_steps=12, save_steps=8, eval_strategy="epoch", save_total_limit=None)
    seen, stage = {}, trainer.stage

    def stage_and_look(*args):
        seen[trainer.state.global_step] = trainer.log_file.read_text().count("\n")
        stage(*args)

    trainer.stage = stage_and_look
    trainer.train()
    assert seen == {8: 1, 12: 2}
