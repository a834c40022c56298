"""Two processes search as one: the same paths, the same alphas, the same weights."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from distributed_search import search_matching
from mmnas_hf.search.proxyless import GATES
from tiny import search_arguments, search_trainer, tiny_corpus

SCRIPT = Path(__file__).with_name("distributed_search.py")
TIMEOUT = 120

every_mode = pytest.mark.parametrize("gates", GATES)


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """What each of two processes ends with, by mode."""
    folder = tmp_path_factory.mktemp("distributed")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    run_whole_group([*launch, SCRIPT, folder, *GATES])
    return {name: [torch.load(folder / f"{name}-{rank}.pt") for rank in range(2)] for name in (*GATES, "matching")}


def run_whole_group(command):
    """Run a launcher; should it hang, end the processes that it started too."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as launcher:
        try:
            _, errors = launcher.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(launcher.pid, signal.SIGKILL)
            raise
    assert launcher.returncode == 0, errors[-3000:]


@every_mode
def test_there_are_two_processes(states, gates):
    assert [state["processes"] for state in states[gates]] == [2, 2]


@every_mode
def test_both_processes_end_with_equal_alphas(states, gates):
    first, second = (state["alphas"] for state in states[gates])
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@every_mode
def test_both_processes_end_with_equal_weights(states, gates):
    first, second = (state["weights"] for state in states[gates])
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@every_mode
def test_the_architecture_has_moved(states, gates):
    for alpha in states[gates][0]["alphas"]:
        assert alpha.abs().max() > 0.05


def test_weights_have_moved(states, tmp_path):
    untrained = search_trainer(tiny_corpus("vqa"), search_arguments(tmp_path)).model.state_dict()
    trained = states["full"][0]["weights"]
    assert not torch.equal(trained["mmnas.regions.weight"], untrained["mmnas.regions.weight"])


# Matching: pairs are shared over processes


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process does."""
    return search_matching(tmp_path_factory.mktemp("alone"))


def test_two_processes_score_the_pairs_of_one(states, alone):
    assert [state["processes"] for state in states["matching"]] == [2, 2]
    for state in states["matching"]:
        torch.testing.assert_close(state["scores"], alone["scores"], atol=1e-5, rtol=0)


def test_two_processes_find_the_hard_negatives_of_one(states, alone):
    for state in states["matching"]:
        assert torch.equal(state["negatives"]["captions"], alone["negatives"]["captions"])
        assert torch.equal(state["negatives"]["images"], alone["negatives"]["images"])


def test_matching_ends_with_equal_weights_in_both_processes(states):
    first, second = (state["weights"] for state in states["matching"])
    assert all(torch.equal(value, second[name]) for name, value in first.items())
