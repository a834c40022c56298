"""A run that is killed by SIGKILL, whenever, ends bit for bit as one that never stopped, once it is resumed."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from killing import Chain, draw
from mmnas_hf.checkpoints import STAGING_FOLDER, fault, list_checkpoints
from mmnas_hf.resumable import ResumableTrainer
from mmnas_hf.search.arguments import SearchArguments
from mmnas_hf.search.log import without_timings
from mmnas_hf.search.strategies import STRATEGIES
from scripts import QUIET, SIZES, SPACE
from tiny import save_tiny

DRIVER = Path(__file__).with_name("killing.py")
TIMEOUT = 600  # seconds, on a machine that has much else to do
# Name the time or the command line, and the manifest those that do.
NOT_COMPARED = ("trainer_state.json", "training_args.bin", "manifest.json")

STEPS = f"--save_steps 2 --save_total_limit 2 --per_device_train_batch_size 8 {QUIET} --logging_steps 3"
SEARCH = f"{STEPS} --weight_steps 1 --warm_up 0 --random_architectures 0 --retrain_budget 0.01 --jobs 1 {SIZES} {SPACE}"
HARD = "--task itm --hard_negatives 6 --per_device_eval_batch_size 64"
COMPARED = 2  # networks that the search script trains after the search, one step each
RUNS = {
    "search": f"search.py --task vqa --max_steps 28 --eval_strategy steps --eval_steps 3 {SEARCH}",
    "search for matching": f"search.py --max_steps 14 {HARD} {SEARCH}",
    "training": f"train.py --max_steps 14 --genotype S|RG {HARD} {STEPS} {SIZES}",
}
TOGETHER = "search in two processes"
OTHER_STRATEGIES = [name for name in STRATEGIES if name != SearchArguments.strategy]  # which the runs above use

SEARCH_PARTS, RESUMABLE = "mmnas_hf.search", "mmnas_hf.resumable"
#: Function, when in it the process dies, and at which of its calls: all come after the next checkpoint and before the
#: end, so that every try but the first goes on from a checkpoint that the one before left.
SAVING = {
    "between a save's files": ("torch:save", "before", range(7, 11)),
    "in the middle of a file": ("torch:save", "torn", range(6, 11)),
    "before the manifest": (f"{RESUMABLE}:seal", "before", range(2, 3)),
    "before the rename": (f"{RESUMABLE}:publish", "before", range(2, 3)),
    "before older checkpoints go": (f"{RESUMABLE}:rotate_checkpoints", "before", range(1, 2)),
}
WEIGHTS = {"in a weight step": ("mmnas_hf.training:TaskTrainer.compute_loss", "after", range(3, 5))}
ARCHITECTURE = {
    "between the optimisers": (f"{SEARCH_PARTS}.trainer:SearchTrainer.architecture_step", "before", range(3, 5)),
    "in an architecture step": (f"{SEARCH_PARTS}.batches:BatchStream.next", "after", range(3, 5)),
}
LOG = {"in a line of the log": (f"{SEARCH_PARTS}.trainer:append_entry", "torn", range(2, 3))}
END = {"after the training": ("mmnas_hf.search.run:save", "before", range(1, 2))}
SCORING = {"when networks were scored": ("mmnas_hf.search.scoring:write_json", "before", range(2, 5))}
SAVING_TOGETHER = {"in a save": ("transformers:Trainer._save_rng_state", "before", range(2, 3))}
MOMENTS = {
    "search": WEIGHTS | ARCHITECTURE | SAVING | LOG | END,
    "search for matching": WEIGHTS | ARCHITECTURE | {"before the rename": SAVING["before the rename"]},
    "training": WEIGHTS | {name: SAVING[name] for name in ("in the middle of a file", "before the manifest")},
    TOGETHER: WEIGHTS | ARCHITECTURE | SAVING_TOGETHER,
    **{name: {"in an architecture step": ARCHITECTURE["in an architecture step"]} for name in OTHER_STRATEGIES},
    **{key: {"between steps": ARCHITECTURE["between the optimisers"], **SCORING} for key in ("uniform", "random")},
}


def whole_and_killed(name: str, command: list[str], home: Path, **changes: Any) -> list[Chain]:
    """A run without a break, and the same run killed at moments drawn from a generator."""
    processes = changes.pop("processes", 1)
    moments = draw(MOMENTS[name], len(name), processes)
    whole, killed = (Chain(f"{kind} {name}", command, str(home / f"{kind} {name}"), []) for kind in ("whole", "killed"))
    return [whole._replace(processes=processes), killed._replace(processes=processes, moments=moments, **changes)]


def of_scripts(home: Path) -> Iterator[Chain]:
    data = {task: save_tiny(home / f"data-{task}", task) for task in ("vqa", "itm")}
    for name, command in RUNS.items():
        script, *flags = command.split()
        folder = data[flags[flags.index("--task") + 1]]
        outside = {"outside": 0.1} if name == "search" else {}
        yield from whole_and_killed(name, [script, "--data", str(folder), *flags], home, **outside)


def of_strategies(home: Path) -> Iterator[Chain]:
    settings = {"evaluations": 6, "population": 3, "save_strategy": "steps", "save_steps": 2, "eval_steps": 3}
    settings |= {"logging_strategy": "steps", "logging_steps": 3}
    for name in OTHER_STRATEGIES:
        command = ["search", "vqa", json.dumps({**settings, "strategy": name, "eval_strategy": "steps"})]
        yield from whole_and_killed(name, command, home)
    half = {"max_steps": 14, "per_device_train_batch_size": 4, "eval_strategy": "epoch"}
    yield from whole_and_killed(TOGETHER, ["search", "vqa", json.dumps({**settings, **half})], home, processes=2)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """How every try of every chain ended, and the folder with all runs."""
    home = tmp_path_factory.mktemp("killed")
    plan, report = home / "plan.json", home / "report.json"
    plan.write_text(json.dumps([*of_scripts(home), *of_strategies(home)]))
    command = [sys.executable, str(DRIVER), str(plan), str(report)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(report.read_text()), home


def last_checkpoint(run: Path) -> Path:
    return list_checkpoints(run)[-1]


def contents(run: Path) -> dict[str, bytes | str]:
    """What two runs of one command have in common, by file: what they found, the log, and the last checkpoint."""
    files = [run / "genotype.json", run / "search_log.jsonl", run / "scores.json", run / "model.safetensors"]
    files += [run / "supernet" / "model.safetensors"]
    files += [path for path in last_checkpoint(run).iterdir() if path.name not in NOT_COMPARED]
    return {str(path.relative_to(run)): read(path) for path in files if path.is_file()}


def read(path: Path) -> bytes | str:
    """What a file holds; of pickled tensors, which may be stored in any order, all numbers in full."""
    if path.suffix not in (".pt", ".pth"):
        return path.read_bytes()
    state = torch.load(path, weights_only=False)
    if path.name == ResumableTrainer.state_file:
        del state["clock"]
    leaves, structure = tree_flatten(state, is_leaf=lambda leaf: isinstance(leaf, set))
    return repr([(structure, *map(plain, leaves))])


def plain(value: Any) -> Any:
    """The bits of a tensor or array, or a plain value as it is."""
    if isinstance(value, (Tensor, np.ndarray)):
        array = np.asarray(value)
        return str(array.dtype), array.shape, array.tobytes()
    return value


def state(run: Path) -> dict:
    """Trainer's state at the end, without the times of its logs."""
    saved = json.loads((last_checkpoint(run) / "trainer_state.json").read_text())
    return {**saved, "log_history": [without_timings(entry) for entry in saved["log_history"]]}


def results(run: Path) -> dict:
    """What a run reports, without its times."""

    def timeless(value: Any) -> Any:
        if isinstance(value, list):
            return [timeless(item) for item in value]
        if isinstance(value, dict):
            return {name: timeless(item) for name, item in value.items() if name != "seconds"}
        return value

    return timeless(json.loads((run / "results.json").read_text()))


every_run = pytest.mark.parametrize("name", MOMENTS)


@every_run
def test_a_killed_and_resumed_run_ends_bit_for_bit_as_one_that_never_stopped(name, killed):
    _, home = killed
    whole, resumed = (contents(home / f"{kind} {name}") for kind in ("whole", "killed"))
    assert whole.keys() == resumed.keys()
    assert [file for file in whole if whole[file] != resumed[file]] == []


@every_run
def test_a_killed_and_resumed_run_ends_in_trainers_same_state(name, killed):
    _, home = killed
    assert state(home / f"killed {name}") == state(home / f"whole {name}")


@pytest.mark.parametrize("name", RUNS)
def test_a_killed_and_resumed_run_reports_the_same(name, killed):
    _, home = killed
    assert results(home / f"killed {name}") == results(home / f"whole {name}")


@every_run
def test_a_killed_and_resumed_run_leaves_only_whole_checkpoints_and_no_others(name, killed):
    _, home = killed
    run = home / f"killed {name}"
    assert all(fault(checkpoint) is None for checkpoint in list_checkpoints(run))
    assert len(list_checkpoints(run)) == len(list_checkpoints(home / f"whole {name}"))
    assert not (run / STAGING_FOLDER).exists()


@every_run
def test_every_try_but_the_last_was_killed(name, killed):
    report, home = killed
    plan = {chain[0]: chain[3] for chain in json.loads((home / "plan.json").read_text())}
    sys.stdout.write("\n".join(map(str, plan[f"killed {name}"])))  # shown with a failure
    *tries, last = [ended for ended, _ in report[f"killed {name}"]]
    assert all(signal.SIGKILL in ended for ended in tries)
    assert set(last) == {0}


@every_run
def test_every_try_goes_on_from_a_checkpoint_that_the_one_before_left(name, killed):
    report, _ = killed
    ((_, whole),) = report[f"whole {name}"]
    tries = report[f"killed {name}"]
    ended, last = tries[-1]
    assert last <= whole - 2 * len(ended) * (len(tries) - 1)


def test_a_search_killed_after_its_training_takes_no_further_step(killed):
    report, _ = killed
    assert report["killed search"][-1] == [[0], COMPARED]
