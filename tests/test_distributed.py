"""Two processes search as one: the same paths, the same alphas, the same weights; and none waits for a dead one."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch

from distributed_search import OTHER_STRATEGIES, SCENARIOS, whole
from mmnas_hf.checkpoints import fault, list_checkpoints, writing
from mmnas_hf.data.scenes import load_scenes
from mmnas_hf.errors import InputError, RunError
from mmnas_hf.launches import ending_together, refuse_threads
from mmnas_hf.operations import OPERATIONS
from mmnas_hf.search.proxyless import GATES
from mmnas_hf.tasks import TASKS
from scripts import SCRIPTS, SIZES, SPACE, call, refusal, words
from tiny import save_tiny, search_arguments, search_trainer, tiny_corpus

SCRIPT = Path(__file__).with_name("distributed_search.py")
LAUNCHES = SCRIPTS / "launch"
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
TIMEOUT = 180
A_MINUTE = 60

every_mode = pytest.mark.parametrize("gates", GATES)
every_task = pytest.mark.parametrize("task", TASKS)


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """What each of two processes saw, by scenario."""
    folder = tmp_path_factory.mktemp("distributed")
    port = ["--main_process_port", "0"]
    with launcher([*ACCELERATE, LAUNCHES / "two_cpu_processes.yaml", *port, SCRIPT, folder], HF_HOME=folder) as running:
        _, errors = running.communicate(timeout=TIMEOUT)
    assert running.returncode == 0, errors[-3000:]
    return {name: [torch.load(folder / f"{name}-{rank}.pt") for rank in range(2)] for name in SCENARIOS}


@contextmanager
def launcher(command, **environment):
    """A running launcher; whatever happens, the processes that it started end too."""
    environment = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as running:
        try:
            yield running
        finally:
            end_group(running.pid)


def end_group(group):
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def test_the_launch_file_for_cpus_starts_two_processes_that_know_of_each_other(states):
    assert states["launched"] == [{"processes": 2, "rank": rank, "device": "cpu"} for rank in range(2)]


def test_a_script_that_ends_parts_from_the_other_process(states):
    assert states["leaving"] == [{"before": True, "after": False}] * 2


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


@every_task
def test_two_processes_with_half_the_batch_find_the_alphas_of_one_with_the_whole(states, tmp_path, task):
    alone = whole(tmp_path, task)
    assert [state["processes"] for state in (alone, *states[f"whole {task}"])] == [1, 2, 2]
    for state in states[f"whole {task}"]:
        for shared, single in zip(state["alphas"], alone["alphas"], strict=True):
            torch.testing.assert_close(shared, single, atol=1e-5, rtol=0)


@pytest.mark.parametrize("strategy", OTHER_STRATEGIES)
def test_every_other_strategy_finds_in_two_processes_what_it_finds_in_one(states, tmp_path, strategy):
    alone = whole(tmp_path, "vqa", strategy)
    for state in states[f"by {strategy}"]:
        assert state["genotype"] == alone["genotype"]
        for shared, single in zip(state["alphas"], alone["alphas"], strict=True):
            torch.testing.assert_close(shared, single, atol=1e-5, rtol=0)


def test_both_processes_step_along_the_same_gradients(states):
    first, second = (state["steps"][0]["gradients"] for state in states["sending"])
    assert first.keys() == second.keys()
    assert all(torch.equal(gradient, second[name]) for name, gradient in first.items())


# What crosses the network


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux counts the bytes of a connection")
@pytest.mark.parametrize("scenario", ["sending", "accumulating"])
def test_a_step_sends_no_more_than_the_gradients_of_its_path(states, scenario):
    for state in states[scenario]:
        for step in state["steps"]:
            active = sum(gradient.nbytes for gradient in step["gradients"].values())
            assert active <= step["sent"] <= 1.05 * active


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux counts the bytes of a connection")
def test_a_wrapped_supernet_would_send_all_of_it(states):
    largest = max(step["sent"] for step in states["sending"][0]["steps"])
    for state in states["sending all"]:
        assert state["sent"] >= state["supernet"] > 2 * largest


def test_only_operations_of_the_path_get_gradients(states):
    for scenario in ("sending", "accumulating"):
        for step in states[scenario][0]["steps"]:
            assert {len(names) for names in operations_by_node(step["gradients"]).values()} == {1}


def test_the_optimiser_moves_a_parameter_as_often_as_its_operation_was_sampled(states):
    for state in states["sending"]:
        sampled = [name for step in state["steps"] for name in step["gradients"]]
        assert state["optimised"] == {name: sampled.count(name) for name in sampled}


def operations_by_node(gradients):
    """The operations of each node that have gradients, from the names of their parameters."""
    found = {}
    for name in gradients:
        if match := re.search(rf"(\w+\.\d+)\.({'|'.join(OPERATIONS)})\.", name):
            found.setdefault(match[1], set()).add(match[2])
    return found


# Ways to train


def test_autocast_computes_in_half_precision_and_keeps_processes_equal(states):
    first, second = states["half precision"]
    assert first["types"] == second["types"] == {torch.bfloat16}
    assert all(torch.equal(one, other) for one, other in zip(first["alphas"], second["alphas"], strict=True))


def test_gradient_checkpointing_changes_nothing(states):
    for kept, again in zip(states["no checkpointing"], states["checkpointing"], strict=True):
        for one, other in zip(kept["alphas"], again["alphas"], strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_a_network_with_every_operation_trains_wrapped_without_looking_for_unused_parameters(states):
    first, second = (state["weights"] for state in states["derived"])
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("loader", ["weights", "architecture"])
def test_every_process_gets_as_many_batches_of_rows_that_do_not_divide(states, loader):
    first, second = (state["sizes"][loader] for state in states["uneven"])
    rows = states["uneven"][0]["rows"][loader]
    assert rows % (2 * 3)
    assert first == second
    assert sum(first + second) >= rows


def test_processes_that_generate_scenes_at_the_same_time_get_the_same(states):
    first, second = states["generating"]
    alone = load_scenes("vgd", seed=31, images={"train": 40, "validation": 10})
    assert first == second == {"texts": alone.texts["train"]["expression"][:], "images": len(alone.images)}


# Agreement


def test_what_the_first_process_refuses_stops_all(states):
    first, second = (state["error"] for state in states["claiming"])
    assert first == second
    assert "already holds a run" in first


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        ("other alphas", "at step 4 the processes of this search no longer have the same alphas"),
        ("other weights", "at step 4 the processes of this search no longer have the same weights"),
        ("other paths", "at step 3 the processes of this search no longer have the same path"),
    ],
)
def test_processes_that_differ_stop_with_one_message(states, scenario, said):
    first, second = (state["error"] for state in states[scenario])
    assert first == second
    assert first.startswith(f"{said}: rank 0 against rank 1; ")


def test_both_processes_end_with_the_weights_of_the_best_checkpoint(states):
    first, second = states["keeping the best"]
    assert first["best"] == second["best"] == "checkpoint-2"
    assert all(torch.equal(value, second["weights"][name]) for name, value in first["weights"].items())


def test_a_loss_that_is_no_number_in_one_process_ends_all_with_one_message(states):
    first, second = (state["error"] for state in states["one diverges"])
    assert first == second
    assert first.startswith("the loss of weight step 2 is nan; ")


def test_a_save_that_fails_in_one_process_ends_all_with_one_message(states):
    first, second = (state["error"] for state in states["one cannot save"])
    assert first == second
    assert "checkpoint-4 cannot be written: [Errno 28] No space left on device" in first
    assert "checkpoint-2 is whole" in first


# Matching: pairs are shared over processes


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process does."""
    return SCENARIOS["matching"](tmp_path_factory.mktemp("alone"))


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


# A process that dies, on another machine


@pytest.fixture(scope="module")
def bereaved(tmp_path_factory):
    """How two launchers ended, with a process each as if on two machines, after the second process was killed."""
    folder = tmp_path_factory.mktemp("killed")
    data, run = save_tiny(folder / "data", "vqa"), folder / "run"
    with launcher(machine(0, port := free_port(), data, run)) as first, launcher(machine(1, port, data, run)) as second:
        wait_for(lambda: list_checkpoints(run) or first.poll() is not None)
        children = [child_of(running.pid) for running in (first, second)]
        os.kill(children[1], signal.SIGKILL)
        start = time.monotonic()
        _, errors = first.communicate(timeout=TIMEOUT)
        second.wait(timeout=TIMEOUT)
        return {
            "codes": (first.returncode, second.returncode),
            "errors": errors,
            "seconds": time.monotonic() - start,
            "run": run,
            "children": children,
            "left": [child for child in children if Path(f"/proc/{child}").exists()],
        }


def machine(rank, port, data, run):
    """The command of one machine."""
    place = f"--num_machines 2 --num_processes 2 --main_process_ip 127.0.0.1 --main_process_port {port}"
    flags = f"--use_cpu --task vqa {SIZES} {SPACE} --disable_tqdm true --eval_strategy no --save_strategy steps"
    start = [*ACCELERATE, LAUNCHES / "several_machines.yaml", *words(place), "--machine_rank", str(rank)]
    steps = words("--per_device_train_batch_size 4 --max_steps 100000 --save_steps 10")
    return [*start, SCRIPTS / "search.py", *words(flags), *steps, "--data", data, "--output_dir", run]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition):
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def child_of(launcher):
    """The process that a launcher started, if it still runs."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children")
    return next(map(int, children.read_text().split()), None) if children.exists() else None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
class TestADeadProcess:
    def test_ends_all_others_within_a_minute(self, bereaved):
        assert bereaved["seconds"] < A_MINUTE
        assert all(bereaved["codes"])
        assert all(bereaved["children"])
        assert bereaved["left"] == []

    def test_is_named_in_one_line_that_says_how_to_go_on(self, bereaved):
        (said,) = [line for line in bereaved["errors"].splitlines() if line.startswith("search.py: error: ")]
        assert "rank 0 of 2 lost its connection to rank 1" in said
        assert re.search(r"checkpoint-\d+ is whole, and --resume goes on$", said)

    def test_leaves_whole_checkpoints(self, bereaved):
        checkpoints = list_checkpoints(bereaved["run"])
        assert checkpoints
        assert not any(map(fault, checkpoints))


def test_sigterm_ends_a_run_with_one_line(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(RunError, match=r"told to end by SIGTERM.*there is no checkpoint yet"),
        ending_together(tmp_path),
    ):
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


GLOO = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4")
OTHERS = [RuntimeError("of another kind"), RunError("gloo/checkpoint-1 is whole"), torch.OutOfMemoryError("no memory")]


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_other_errors_stay_what_they_are(error, tmp_path):
    with pytest.raises(type(error)) as raised, ending_together(tmp_path):
        raise error
    assert raised.value is error


@pytest.mark.parametrize("error", [GLOO, *OTHERS[1:]], ids=str)
def test_what_is_no_failed_write_stays_what_it_is_while_something_is_written(error, tmp_path):
    with pytest.raises(type(error)) as raised, writing(tmp_path / "file", tmp_path):
        raise error
    assert raised.value is error


def test_a_lost_connection_is_named_without_the_place_in_a_librarys_source(tmp_path):
    with (
        pytest.raises(RunError, match=r"was lost \(Connection closed by peer \[127.0.0.1\]:4\); "),
        ending_together(tmp_path),
    ):
        raise GLOO


# Launches that cannot work


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("ACCELERATE_USE_FSDP", "FSDP"),
        ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed"),
        ("ACCELERATE_USE_MEGATRON_LM", "Megatron-LM"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "tensor or context parallelism"),
    ],
)
@pytest.mark.parametrize("script", ["search.py", "train.py"])
def test_a_launch_that_cuts_networks_is_refused_and_nothing_written(monkeypatch, tmp_path, script, variable, name):
    monkeypatch.setenv(variable, "true")
    ended = call(script, "--output_dir", tmp_path / "run")
    said = refusal(ended.code, ended.err, script)
    assert name in said
    assert "scripts/launch/one_machine.yaml" in said
    assert not (tmp_path / "run").exists()


def test_the_flag_for_fsdp_is_refused_like_its_launch(tmp_path):
    ended = call("search.py", "--fsdp", "--output_dir", tmp_path / "run")
    assert "FSDP" in refusal(ended.code, ended.err, "search.py")


def test_a_search_on_several_devices_from_one_process_is_refused(monkeypatch, tmp_path):
    args = search_arguments(tmp_path)
    monkeypatch.setattr(type(args), "n_gpu", 2)
    with pytest.raises(InputError, match="one process cannot search on 2 GPUs"):
        refuse_threads(args)


# Launch files


@pytest.mark.parametrize("file", sorted(LAUNCHES.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_launch_file_starts_several_processes(file):
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser  # noqa: PLC0415

    args = launch_command_parser().parse_args(
        ["--config_file", str(file), "--num_processes", "4", "--machine_rank", "0", "script.py"]
    )
    chosen, _, _ = _validate_launch_command(args)
    assert chosen.multi_gpu
    assert chosen.num_processes == 4
    assert chosen.use_cpu == (file.stem == "two_cpu_processes")
