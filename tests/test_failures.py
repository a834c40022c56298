"""A full disk, a folder that cannot be written, a loss that is no number: a run ends with one line, and can go on."""

import errno
import importlib
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import TrainerCallback

import runs
from mmnas_hf.checkpoints import STAGING_FOLDER, fault, list_checkpoints
from mmnas_hf.cli import run
from mmnas_hf.errors import RunError
from mmnas_hf.resumable import ResumableTrainer
from mmnas_hf.search.batches import BatchStream
from mmnas_hf.search.trainer import SearchTrainer
from scripts import Ended, refusal
from tiny import save_tiny, search_arguments, search_trainer, tiny_corpus

ROOM = "2m"  # for one checkpoint of the tiny network, and not for two


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("data"), "vqa")


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own that is soon full."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)


def failure(ended: Ended, script: str = "train.py") -> str:
    """The one line with which a run that could not go on ended."""
    assert ended.code == 1
    assert "Traceback" not in ended.err
    (line,) = [line for line in ended.err.splitlines() if "error: " in line]
    assert line.startswith(f"{script}: error: ")
    return line


def weights(run: Path) -> bytes:
    return (run / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A run that nothing stopped."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert runs.train(data, run).code == 0
    return run


def goes_on(data: Path, run: Path, whole: Path) -> bool:
    """Whether a stopped run ends as one that nothing stopped, once it is resumed."""
    assert runs.train(data, run, "--resume").code == 0
    return weights(run) == weights(whole)


# A disk that fills up


def test_a_disk_that_fills_up_leaves_the_last_checkpoint_and_the_run_goes_on_when_there_is_room(
    data, small_disk, whole
):
    run = small_disk / "run"
    line = failure(runs.train(data, run))
    assert f"{run / 'checkpoint-2'} cannot be written" in line
    assert "MB free" in line
    assert f"{run / 'checkpoint-1'} is whole" in line
    assert "--resume" in line
    assert [path.name for path in list_checkpoints(run)] == ["checkpoint-1"]
    assert fault(run / "checkpoint-1") is None
    assert not (run / STAGING_FOLDER).exists()
    remount(small_disk, "size=50m")
    assert goes_on(data, run, whole)


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
#: What finds no room, at which call of the second save, and how it says so.
PLACES = {
    "the weights": (
        "transformers.modeling_utils.safe_save_file",
        2,
        SafetensorError("I/O error: No space left on device"),
    ),
    "the optimiser's state": ("torch.save", 6, RuntimeError("[enforce fail] . unexpected pos 576 vs 534")),
    "the manifest": ("mmnas_hf.checkpoints.write_json", 2, FULL),
    "the disk's own buffers": ("os.fsync", 20, FULL),
    "the name": ("mmnas_hf.resumable.publish", 2, FULL),
}


def failing_at(original, count, error):
    """The same function, which fails from its `count`-th call on."""
    calls = iter(range(1, count))

    def call(*args, **kwargs):
        if next(calls, None) is None:
            raise error
        return original(*args, **kwargs)

    return call


@pytest.mark.parametrize("place", PLACES)
def test_wherever_a_save_finds_no_room_the_checkpoint_before_is_kept(place, data, tmp_path, monkeypatch):
    target, count, error = PLACES[place]
    module, _, name = target.rpartition(".")
    run = tmp_path / "run"
    owner = importlib.import_module(module)
    monkeypatch.setattr(owner, name, failing_at(getattr(owner, name), count, error))
    line = failure(runs.train(data, run))
    assert f"{run / 'checkpoint-1'} is whole" in line
    assert [path.name for path in list_checkpoints(run)] == ["checkpoint-1"]
    assert fault(run / "checkpoint-1") is None
    assert not (run / STAGING_FOLDER).exists()


def test_a_first_save_that_finds_no_room_says_that_there_is_no_checkpoint_yet(data, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "save", failing_at(torch.save, 1, FULL))
    assert "there is no checkpoint yet" in failure(runs.train(data, tmp_path / "run"))


#: What a search writes beside its checkpoints, and what is safe by then.
ELSEWHERE = {
    "the log": ("mmnas_hf.search.log.json", "there is no checkpoint yet"),
    "the scores' curve": ("mmnas_hf.search.run.draw_probabilities", "checkpoint-2 is whole"),
    "the results": ("mmnas_hf.cli.results.write_json", "what was complete is kept"),
}


@pytest.mark.parametrize("place", ELSEWHERE)
def test_a_search_that_finds_no_room_for_something_else_keeps_its_checkpoints(place, data, tmp_path, monkeypatch):
    target, safe = ELSEWHERE[place]
    run = tmp_path / "run"
    fails = failing_at(None, 1, FULL)
    monkeypatch.setattr(target, SimpleNamespace(dumps=fails) if target.endswith(".json") else fails)
    line = failure(
        runs.search(data, run, "--eval_strategy steps --eval_steps 1 --random_architectures 0 --retrain_budget 0.1"),
        "search.py",
    )
    assert "No space left on device" in line
    assert safe in line
    assert all(fault(path) is None for path in list_checkpoints(run))


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
def test_a_file_that_may_not_be_written_is_one_line(code, capsys):
    def main():
        raise OSError(code, os.strerror(code), "results.json")

    with pytest.raises(SystemExit) as ended:
        run(main)
    assert ended.value.code == 1
    assert f"a file cannot be written: [Errno {code}]" in capsys.readouterr().err


# A folder that cannot be written


def test_an_output_folder_below_a_file_is_refused(data, tmp_path):
    (tmp_path / "file").touch()
    ended = runs.train(data, tmp_path / "file" / "run")
    line = refusal(ended.code, ended.err, "train.py")
    assert f"output_dir {tmp_path / 'file' / 'run'} cannot be written: Not a directory; give another folder" in line


def test_a_read_only_output_folder_is_refused(data, small_disk):
    remount(small_disk, "ro")
    ended = runs.train(data, small_disk / "run")
    assert "cannot be written: Read-only file system" in refusal(ended.code, ended.err, "train.py")


def test_an_output_folder_that_becomes_read_only_leaves_the_last_checkpoint(data, small_disk, monkeypatch, whole):
    run = small_disk / "run"
    remount(small_disk, "size=50m")
    stage = ResumableTrainer.stage

    def close_folder(trainer, *args):
        if trainer.state.global_step == 2:
            remount(small_disk, "ro")
        stage(trainer, *args)

    with monkeypatch.context() as patch:
        patch.setattr(ResumableTrainer, "stage", close_folder)
        line = failure(runs.train(data, run))
    assert "Read-only file system" in line
    assert f"{run / 'checkpoint-1'} is whole" in line
    remount(small_disk, "rw,size=50m")
    assert goes_on(data, run, whole)


# Losses that are no numbers


def test_a_training_that_diverges_ends_before_it_saves_what_is_no_number(data, tmp_path):
    run = tmp_path / "run"
    line = failure(runs.train(data, run, "--learning_rate 1e30 --max_steps 5"))
    assert "the loss of weight step 2 is" in line
    assert f"{run / 'checkpoint-1'} is whole" in line
    assert "start again with a lower --learning_rate" in line
    assert [path.name for path in list_checkpoints(run)] == ["checkpoint-1"]


def searching(folder, **changes):
    args = search_arguments(folder, save_strategy="steps", save_steps=1, save_total_limit=None, **changes)
    return search_trainer(tiny_corpus("vqa"), args)


def state_of(trainer):
    """Copies of the weights and of the alphas."""
    weights = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    return {**weights, **{str(node): alpha.clone() for node, alpha in enumerate(trainer.strategy.alphas)}}


def saved(checkpoint):
    state = torch.load(checkpoint / "training_state.pt", weights_only=True)["strategy"]
    return {**load_file(checkpoint / "model.safetensors"), **dict(zip("012", state["alphas"], strict=True))}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def nan_batches(monkeypatch, target, count):
    """From the `count`-th batch on, the regions of what a loader gives are no numbers."""
    original, calls = target.next, iter(range(1, count))

    def next_batch(stream):
        batch = original(stream)
        spoilt = next(calls, None) is None
        return {**batch, "region_features": batch["region_features"] * torch.nan} if spoilt else batch

    monkeypatch.setattr(target, "next", next_batch)


def test_a_weight_steps_nan_loss_is_not_learnt_from(tmp_path, monkeypatch):
    trainer, compute_loss = searching(tmp_path), SearchTrainer.compute_loss

    def spoilt_loss(trainer, *args, **kwargs):
        loss = compute_loss(trainer, *args, **kwargs)
        return loss * torch.nan if trainer.state.global_step == 3 else loss

    monkeypatch.setattr(SearchTrainer, "compute_loss", spoilt_loss)
    with pytest.raises(RunError, match=r"the loss of weight step 4 is nan; .*checkpoint-3 is whole"):
        trainer.train()
    assert same(state_of(trainer), saved(tmp_path / "checkpoint-3"))


def test_an_architecture_steps_nan_loss_is_not_learnt_from(tmp_path, monkeypatch):
    trainer = searching(tmp_path)
    nan_batches(monkeypatch, BatchStream, 3)
    with pytest.raises(RunError, match=r"architecture step after weight step 3 is nan; .*checkpoint-2 is whole"):
        trainer.train()
    alphas = {name: value for name, value in state_of(trainer).items() if name.isdecimal()}
    assert same(alphas, {name: value for name, value in saved(tmp_path / "checkpoint-2").items() if name.isdecimal()})
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-1", "checkpoint-2"]


def test_an_architectures_nan_gradient_is_not_learnt_from(tmp_path):
    trainer = searching(tmp_path)
    gradients = trainer.strategy.gradients
    trainer.strategy.gradients = lambda loss: [
        gradient * (torch.nan if trainer.state.global_step == 2 else 1) for gradient in gradients(loss)
    ]
    with pytest.raises(RunError, match=r"gradient is not finite in the architecture step after weight step 2; .*-1 is"):
        trainer.train()
    alphas = torch.load(tmp_path / "checkpoint-1" / "training_state.pt")["strategy"]["alphas"]
    assert all(torch.equal(*pair) for pair in zip(trainer.strategy.alphas, alphas, strict=True))


def test_an_architecture_that_is_no_number_is_never_saved(tmp_path):
    trainer = searching(tmp_path)
    update = trainer.strategy.update

    def update_and_spoil(loss):
        update(loss)
        if trainer.state.global_step == 2:
            trainer.strategy.alphas[0].data.fill_(torch.nan)

    trainer.strategy.update = update_and_spoil
    with pytest.raises(RunError, match=r"state of the strategy is no number after step 2; .*checkpoint-1 is whole"):
        trainer.train()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-1"]


def test_an_architecture_step_under_a_scaler_of_float16_refuses_a_nan_loss_too(tmp_path, monkeypatch):
    trainer = searching(tmp_path)
    nan_batches(monkeypatch, BatchStream, 1)
    monkeypatch.setattr(trainer.accelerator, "scaler", object())
    with pytest.raises(RunError, match="the loss of the architecture step after weight step 0 is nan"):
        trainer.architecture_step()


def test_weights_that_are_no_numbers_are_never_saved(tmp_path):
    trainer = searching(tmp_path)

    class Spoil(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            if state.global_step == 3:
                model.mmnas.regions.weight.data.fill_(torch.inf)

    trainer.add_callback(Spoil())
    with pytest.raises(RunError, match=r"mmnas.regions.weight is not finite after step 3; .*checkpoint-2 is whole"):
        trainer.train()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-1", "checkpoint-2"]
