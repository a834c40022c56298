"""A run that is killed by SIGKILL, whenever, ends bit for bit as one that never stopped, once it is resumed."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from killing import Chain, draw
from mmnas_hf.checkpoints import STAGING_FOLDER, fault, list_checkpoints
from mmnas_hf.search.strategies import STRATEGIES
from mmnas_hf.search.trainer import SearchArguments
from scripts import QUIET, SIZES, SPACE
from tiny import save_tiny

DRIVER = Path(__file__).with_name("killing.py")
TIMEOUT = 600  # seconds, on a machine that has much else to do
# Name the time or the command line, and the manifest those that do.
NOT_COMPARED = ("trainer_state.json", "training_args.bin", "manifest.json")

STEPS = (
    f"--max_steps 14 --save_steps 4 --save_total_limit 2 --per_device_train_batch_size 8 {QUIET} --logging_strategy no"
)
SEARCH = f"{STEPS} --weight_steps 1 --warm_up 0 --random_architectures 0 --retrain_budget 0.01 --jobs 1 {SIZES} {SPACE}"
HARD = "--task itm --hard_negatives 6 --per_device_eval_batch_size 64"
COMPARED = 2  # networks that the search script trains after the search, one step each
RUNS = {
    "search": f"search.py --task vqa --eval_strategy steps --eval_steps 3 {SEARCH}",
    "search for matching": f"search.py {HARD} {SEARCH}",
    "training": f"train.py --genotype S|RG {HARD} {STEPS} {SIZES}",
    "search in two processes": f"search.py --task vqa {SEARCH}",
}
TRAINER, RESUMABLE = "mmnas_hf.search.trainer", "mmnas_hf.resumable"
#: Function, when in it the process dies, and at which of its calls.
SAVING = {
    "between a save's files": ("torch:save", "before", range(2, 6)),
    "in the middle of a file": ("torch:save", "torn", range(1, 6)),
    "before the manifest": (f"{RESUMABLE}:seal", "before", range(1, 3)),
    "before the rename": (f"{RESUMABLE}:publish", "before", range(1, 2)),
    "before older checkpoints go": (f"{RESUMABLE}:rotate_checkpoints", "before", range(1, 2)),
}
WEIGHTS = {"in a weight step": ("mmnas_hf.training:TaskTrainer.compute_loss", "after", range(1, 4))}
ARCHITECTURE = {
    "between the optimisers": (f"{TRAINER}:SearchTrainer.architecture_step", "before", range(1, 4)),
    "in an architecture step": (f"{TRAINER}:BatchStream.next", "after", range(1, 4)),
}
LOG = {"in a line of the log": (f"{TRAINER}:append_entry", "torn", range(1, 2))}
END = {"after the training": ("mmnas_hf.search.run:save", "before", range(1, 2))}
SCORING = {"when networks were scored": ("mmnas_hf.search.scoring:write_json", "before", range(1, 2))}
RENAME = {"before the rename": SAVING["before the rename"]}
MOMENTS = {
    "search": WEIGHTS | ARCHITECTURE | SAVING | LOG | END,
    "search for matching": WEIGHTS | ARCHITECTURE | RENAME,
    "training": WEIGHTS | {name: SAVING[name] for name in ("in the middle of a file", "before the manifest")},
    "search in two processes": WEIGHTS
    | ARCHITECTURE
    | {"between a save's files": ("torch:save", "before", range(1, 2))},
}
OTHER_STRATEGIES = [name for name in STRATEGIES if name != SearchArguments.strategy]  # which the runs above use
LEARNING = {"in an architecture step": ARCHITECTURE["in an architecture step"], **RENAME}
SCORED = {"between the optimisers": ARCHITECTURE["between the optimisers"], **SCORING}


def chains(data: dict[str, Path], home: Path) -> list[Chain]:
    """Every run without a break, and the same run killed at moments drawn from a generator."""
    made = []
    for seed, (name, command) in enumerate(RUNS.items()):
        processes = 2 if "two" in name else 1
        script, *flags = command.split()
        task = flags[flags.index("--task") + 1]
        moments = draw(MOMENTS[name], seed, processes)
        outside = 0.1 if name == "search" else None
        start = [script, "--data", str(data[task]), *flags]
        made.append(Chain(f"whole {name}", start, str(home / f"whole {name}"), [], None, processes))
        made.append(Chain(f"killed {name}", start, str(home / f"killed {name}"), moments, outside, processes))
    return made


def of_strategies(home: Path) -> list[Chain]:
    made = []
    for name in OTHER_STRATEGIES:
        flags = {"strategy": name, "evaluations": 6, "population": 3, "save_strategy": "steps", "save_steps": 3}
        command = ["search", "vqa", json.dumps({**flags, "eval_strategy": "steps", "eval_steps": 2})]
        moments = draw(SCORED if name in ("uniform", "random") else LEARNING, len(name))
        made.append(Chain(f"whole {name}", command, str(home / f"whole {name}"), []))
        made.append(Chain(f"killed {name}", command, str(home / f"killed {name}"), moments))
    return made


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """How every try of every chain ended, and the folder with all runs."""
    home = tmp_path_factory.mktemp("killed")
    data = {task: save_tiny(home / f"data-{task}", task) for task in ("vqa", "itm")}
    plan, report = home / "plan.json", home / "report.json"
    plan.write_text(json.dumps([*chains(data, home), *of_strategies(home)]))
    command = [sys.executable, str(DRIVER), str(plan), str(report)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(report.read_text()), home


def last_checkpoint(run: Path) -> Path:
    return list_checkpoints(run)[-1]


def contents(run: Path) -> dict[str, bytes | str]:
    """What two runs of one command have in common, by file: what they found, the log, and the last checkpoint."""
    files = [run / "genotype.json", run / "search_log.jsonl", run / "scores.json", run / "model.safetensors"]
    files += [run / "supernet" / "model.safetensors", run / "probabilities.png"]
    files += [path for path in last_checkpoint(run).iterdir() if path.name not in NOT_COMPARED]
    return {str(path.relative_to(run)): read(path) for path in files if path.is_file()}


def read(path: Path) -> bytes | str:
    """What a file holds; of pickled tensors, which may be stored in any order, all numbers in full."""
    if path.suffix not in (".pt", ".pth"):
        return path.read_bytes()
    leaves, structure = tree_flatten(torch.load(path, weights_only=False), is_leaf=lambda leaf: isinstance(leaf, set))
    return repr([(structure, *map(plain, leaves))])


def plain(value: Any) -> Any:
    """The bits of a tensor or array, or a plain value as it is."""
    if isinstance(value, (Tensor, np.ndarray)):
        array = np.asarray(value)
        return str(array.dtype), array.shape, array.tobytes()
    return value


def state(run: Path) -> dict:
    """Trainer's state at the end, without its logs, which have times."""
    saved = json.loads((last_checkpoint(run) / "trainer_state.json").read_text())
    return {name: value for name, value in saved.items() if name != "log_history"}


def scores(run: Path) -> list[dict]:
    """What networks that were trained after a search, or the trained network, score."""
    results = json.loads((run / "results.json").read_text())
    return [network["metrics"] for network in results.get("networks", [results])]


every_run = pytest.mark.parametrize("name", [*RUNS, *OTHER_STRATEGIES])


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
def test_a_killed_and_resumed_run_has_the_same_scores(name, killed):
    _, home = killed
    assert scores(home / f"killed {name}") == scores(home / f"whole {name}")


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


def test_a_search_killed_after_its_training_takes_no_further_step(killed):
    report, _ = killed
    assert report["killed search"][-1] == [[0], COMPARED]
