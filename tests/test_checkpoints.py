"""Checkpoints are whole or recognised as damaged, and `--resume` finds the newest whole one by itself."""

import errno
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

import runs
from mmnas_hf.checkpoints import MANIFEST_FILE, STAGING_FOLDER, fault, list_checkpoints, newest_good, publish, seal
from mmnas_hf.cli.folders import claim, claim_folder
from mmnas_hf.errors import InputError
from mmnas_hf.genotype import SearchSpace
from scripts import refusal
from tiny import SPACE, save_tiny, search_arguments, search_trainer, tiny_corpus


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


# The folder


@pytest.fixture
def finished(tmp_path):
    """The folder of a finished run."""
    folder = tmp_path / "finished"
    folder.mkdir()
    for name in ("run.json", "results.json"):
        (folder / name).write_text("{}")
    return folder


@pytest.mark.parametrize("resume", [False, True])
def test_a_checkpoint_of_another_run_does_not_open_a_finished_runs_folder(resume, folder, finished):
    with pytest.raises(InputError, match="already holds a run"):
        claim(finished, str(folder / "checkpoint-9"), overwrite=False, resume=resume)
    assert claim(finished, str(folder / "checkpoint-9"), overwrite=True, resume=False)
    assert not list(finished.iterdir())


def test_a_checkpoint_in_the_runs_own_folder_goes_on_in_it(folder):
    assert claim(folder, str(folder / "checkpoint-9"), overwrite=False, resume=False) == str(folder / "checkpoint-9")


def test_a_run_behind_a_link_is_overwritten_and_the_link_stays(finished, tmp_path):
    (tmp_path / "link").symlink_to(finished)
    claim(tmp_path / "link", None, overwrite=True, resume=False)
    assert (tmp_path / "link").is_symlink()
    assert not list(finished.iterdir())


def test_what_the_system_refuses_while_a_folder_is_claimed_is_wrong_input(tmp_path, monkeypatch):
    refused = PermissionError(errno.EACCES, "Permission denied", "run")
    monkeypatch.setattr("mmnas_hf.cli.folders.claim", lambda *args: (_ for _ in ()).throw(refused))
    with pytest.raises(InputError, match="Permission denied: 'run'"):
        claim_folder(search_arguments(tmp_path), overwrite=True)


# Trainer's own features


def searching(folder, space=SPACE, **changes):
    settings = {"save_strategy": "steps", "save_steps": 4, "eval_strategy": "steps", "eval_steps": 4}
    return search_trainer(tiny_corpus("vqa"), search_arguments(folder, **settings | changes), space)


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


def test_a_run_that_goes_back_to_an_older_checkpoint_forgets_those_after_it(tmp_path):
    settings = {"save_total_limit": None, "save_steps": 2, "eval_strategy": "no"}
    searching(tmp_path, max_steps=6, **settings).train()
    again = searching(tmp_path, max_steps=8, **settings)
    there = []
    again.training_step = lambda *args: (there.extend(list_checkpoints(tmp_path)), 1 / 0)  # ends at once
    with pytest.raises(ZeroDivisionError):
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert there == [tmp_path / "checkpoint-2"]


def test_a_run_that_goes_on_from_anothers_checkpoint_leaves_that_run_as_it_is(tmp_path):
    searching(tmp_path / "first", max_steps=4, save_steps=2, eval_strategy="no").train()
    searching(tmp_path / "second", max_steps=4, save_steps=2, eval_strategy="no").train(
        resume_from_checkpoint=str(tmp_path / "first" / "checkpoint-2")
    )
    assert len(list_checkpoints(tmp_path / "first")) == 2


OTHER_RUNS = {
    "strategy is 'proxyless', and not 'darts'": {"strategy": "darts"},
    "gates is 'full', and not 'two'": {"gates": "two"},
    "search space is": {"space": SearchSpace.chain(1, 3)},
}


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A checkpoint of a search of two steps."""
    folder = tmp_path_factory.mktemp("short")
    searching(folder, max_steps=2, save_steps=2, eval_strategy="no").train()
    return folder / "checkpoint-2"


@pytest.mark.parametrize("said", OTHER_RUNS)
def test_the_checkpoint_of_another_kind_of_run_is_refused(said, short, tmp_path):
    with pytest.raises(InputError, match=said):
        searching(tmp_path, **OTHER_RUNS[said]).train(resume_from_checkpoint=str(short))


def test_another_number_of_processes_is_refused(short, tmp_path, monkeypatch):
    trainer = searching(tmp_path)
    monkeypatch.setattr(type(trainer.args), "world_size", 2)
    with pytest.raises(InputError, match="number of processes is 1, and not 2"):
        trainer.check_facts(str(short))


def test_an_ended_run_that_is_resumed_removes_what_its_killed_end_left(tmp_path, monkeypatch):
    settings = {"max_steps": 4, "save_steps": 2, "save_total_limit": 1, "eval_strategy": "no"}
    with monkeypatch.context() as patch:
        patch.setattr("mmnas_hf.resumable.rotate_checkpoints", lambda *args, **kwargs: None)
        searching(tmp_path, **settings).train()
    (tmp_path / STAGING_FOLDER / "checkpoint-5").mkdir(parents=True)
    assert len(list_checkpoints(tmp_path)) == 2
    searching(tmp_path, **settings).train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert list_checkpoints(tmp_path) == [tmp_path / "checkpoint-4"]
    assert not (tmp_path / STAGING_FOLDER).exists()


def test_a_resumed_run_counts_the_seconds_before_it_was_stopped(short, tmp_path):
    trainer = searching(tmp_path, max_steps=2)
    state = trainer.read_parts(str(short))
    trainer.clock.load_state_dict({"seconds": state["clock"]["seconds"] + 1000})
    assert 1000 < trainer.clock.seconds < 2000


def losses(trainer):
    return [(entry["step"], entry["loss"], entry["architecture_loss"]) for entry in trainer.state.log_history[:-1]]


def test_losses_are_averaged_over_the_steps_since_the_last_log_after_a_resumption_too(tmp_path):
    settings = {"max_steps": 4, "save_steps": 2, "eval_strategy": "no", "logging_strategy": "steps", "logging_steps": 3}
    whole, resumed = (searching(tmp_path, **settings) for _ in range(2))
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert losses(whole) == losses(resumed)
    assert len(losses(whole)) == 1


def test_what_happens_at_an_ended_runs_end_sees_its_best_weights_when_it_is_resumed(tmp_path):
    best = {"load_best_model_at_end": True, "greater_is_better": True}  # of the loss
    settings = {"max_steps": 4, "save_steps": 2, "eval_steps": 2, **best}
    searching(tmp_path, **settings).train()
    resumed, seen = searching(tmp_path, **settings), {}
    resumed.signs.on_train_end = lambda *args, **kwargs: seen.update(
        {name: value.clone() for name, value in resumed.model.state_dict().items()}
    )
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    wanted = load_file(tmp_path / "checkpoint-2" / "model.safetensors")
    assert resumed.state.best_global_step == 2
    assert all(torch.equal(seen[name], value) for name, value in wanted.items())


def test_what_belongs_to_an_epochs_end_is_done_before_the_checkpoint_of_its_last_step(tmp_path):
    trainer = searching(tmp_path, max_steps=12, save_steps=8, eval_strategy="epoch", save_total_limit=None)
    seen, stage = {}, trainer.stage

    def stage_and_look(*args):
        seen[trainer.state.global_step] = trainer.log_file.read_text().count("\n")
        stage(*args)

    trainer.stage = stage_and_look
    trainer.train()
    assert seen == {8: 1, 12: 2}
