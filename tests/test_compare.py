"""Comparisons at an equal budget: cells that run once, what stops and goes on, statistics, and what is written."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from mmnas_hf.configuration_mmnas import MMnasConfig
from mmnas_hf.contest.budget import COUNTS, Budget, architecture_steps
from mmnas_hf.contest.cells import Report, Result, ScoringCell, SearchCell, Setting, TrainingCell
from mmnas_hf.contest.folder import check_data, claimed
from mmnas_hf.contest.plan import CONTENDERS, REFERENCE, Contest, ContestArguments, published, thin
from mmnas_hf.contest.report import RANDOM, grid, markdown
from mmnas_hf.contest.running import Finished, run_cells
from mmnas_hf.contest.statistics import (
    holm,
    permutation_p,
    rank_correlation,
    share_beaten,
    smallest_permutation_p,
    tau_error,
    welch_p,
)
from mmnas_hf.data.fingerprint import data_fingerprint
from mmnas_hf.errors import InputError
from mmnas_hf.files import write_json
from mmnas_hf.genotype import PUBLISHED, SearchSpace
from scripts import FAST, SIZES, SPACE, Ended, call, refusal
from tiny import SIZES as TINY_SIZES
from tiny import SPACE as TINY_SPACE
from tiny import save_tiny, search_arguments, tiny_corpus

BATCH = 8
STEPS, SAVED, STOPPED = 8, 4, 5
FLAGS = (
    f"--task vqa {SIZES} {SPACE} {FAST} --max_steps {STEPS} --warm_up 0 --weight_steps 2",
    f"--save_strategy steps --save_steps {SAVED}",
    "--strategies proxyless random --seeds 0 1 --random_architectures 3 --evaluations 2 --equal examples --jobs 1",
)


class Told(NamedTuple):
    """How often each cell was run by each call of the script, and how the calls ended."""

    data: Path
    folder: Path
    runs: list[Counter]
    ends: list[Ended]

    @property
    def result(self) -> dict:
        return json.loads((self.folder / "comparison.json").read_text())


class Watch:
    """Counts the runs of cells, and stops or spoils one of them."""

    def __init__(self, patch: pytest.MonkeyPatch):
        self.counts: Counter = Counter()
        self.stopped: str | None = None
        self.spoilt: str | None = None
        for kind in (SearchCell, TrainingCell, ScoringCell):
            patch.setattr(kind, "run", self.watched(kind.run))

    def watched(self, run):
        def counted(cell, setting: Setting, report: Report) -> Result:
            self.counts[cell.name] += 1
            if cell.name == self.spoilt:
                raise ValueError("spoilt")
            return run(cell, setting, self.stopping if cell.name == self.stopped else report)

        return counted

    def stopping(self, steps: int, seen: Counter = Counter()) -> None:  # noqa: B006 - one comparison is stopped
        seen["steps"] += steps
        if seen["steps"] == STOPPED:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Told:
    """A comparison that is stopped in its second search, fails in a cell, is finished, and is called again."""
    data = save_tiny(tmp_path_factory.mktemp("data"), "vqa")
    folder = tmp_path_factory.mktemp("comparison") / "run"
    arguments = (*FLAGS, "--data", data, "--output_dir", folder)
    runs, ends = [], []
    with pytest.MonkeyPatch.context() as patch:
        watch = Watch(patch)
        watch.stopped = "search-random-seed0"
        with pytest.raises(KeyboardInterrupt):
            call("compare.py", *arguments)
        runs.append(watch.counts)
        watch.stopped, watch.spoilt = None, "scoring-random-seed1-networks3"
        for _ in range(3):
            watch.counts = Counter()
            ends.append(call("compare.py", *arguments))
            runs.append(watch.counts)
            watch.spoilt = None
    return Told(data, folder, runs, ends)


def test_finished_cells_never_run_again(told):
    stopped, second, third, fourth = told.runs
    assert set(stopped) == {"search-proxyless-seed0", "search-random-seed0"}
    assert "search-proxyless-seed0" not in second
    assert set(third) == {"scoring-random-seed1-networks3"}
    assert not fourth
    assert set(second.values()) == {1}


def test_a_stopped_search_goes_on_from_its_checkpoint_and_costs_what_a_whole_one_does(told):
    searches = {name: json.loads((told.folder / "cells" / f"{name}.json").read_text()) for name in told.runs[1]}
    stopped, whole = searches["search-random-seed0"], searches["search-random-seed1"]
    assert (stopped["continued"], whole["continued"]) == (True, False)
    assert stopped["steps"] == whole["steps"]
    assert stopped["examples"] == whole["examples"]


def test_a_cell_that_fails_is_reported_and_loses_no_other(told):
    failed, complete, _ = told.ends
    assert (failed.code, complete.code) == (1, 0)
    assert failed.err.splitlines()[-1].startswith("compare.py: error: 1 cells failed (scoring-random-seed1-networks3)")
    assert "ValueError: spoilt" in failed.out
    assert not told.result["failed"]


def test_calling_it_again_reports_the_same(told):
    assert told.ends[2].out == told.ends[1].out


def test_the_same_network_is_trained_once_with_each_seed_whoever_asks_for_it(told):
    trained = [path.stem for path in (told.folder / "cells").glob("training-*")]
    rows = {row["name"]: row for row in told.result["rows"]}
    asked = [search for row in rows.values() for search in row["searches"]]
    assert len(asked) == 4
    assert len(trained) <= 4 + 3 + 2 * 2  # found, random, and both baselines with both seeds
    assert len(trained) == len(set(trained)) == sum(name.startswith("training") for name in told.runs[1])


def test_real_costs_are_equal_within_a_step(told):
    examples = {row["name"]: row["examples"] for row in told.result["rows"] if row["searches"]}
    assert set(examples) == {"proxyless", "random"}
    assert 0 <= examples["proxyless"] - examples["random"] <= 2 * BATCH


def test_the_report_has_scores_tests_costs_and_pictures(told):
    rows = {row["name"]: row for row in told.result["rows"]}
    assert set(rows) == {"proxyless", "random", "mcan", "mmnas-vqa (thinned)", "random architectures"}
    assert len(rows["random architectures"]["scores"]) == 3
    for name in ("proxyless", "random"):
        assert len(rows[name]["scores"]) == 2
        assert 0 < rows[name]["p_random"] <= 1
        assert 0 <= rows[name]["beats_random"] <= 1
        assert min(rows[name][cost] for cost in ("flops", "processor_seconds", "seconds")) > 0
    supernets = [(entry["strategy"], entry["seed"]) for entry in told.result["rank_correlation"]]
    assert supernets == [("proxyless", 0), ("random", 0), ("proxyless", 1), ("random", 1)]
    assert all(len(entry["inherited"]) == 3 for entry in told.result["rank_correlation"])
    for name in ("comparison.png", "rank_correlation.png"):
        assert (told.folder / name).read_bytes().startswith(b"\x89PNG")
    assert (told.folder / "comparison.md").read_text() in told.ends[1].out


@pytest.mark.parametrize("changed", ["--learning_rate 0.5", "--hidden_size 128", "--decoder_nodes 3"])
def test_other_settings_than_the_folder_was_begun_with_are_refused(told, changed):
    ended = call("compare.py", *FLAGS, "--data", told.data, "--output_dir", told.folder, changed)
    flag, value = changed.removeprefix("--").split()
    line = refusal(ended.code, ended.err, "compare.py")
    assert line.startswith(f"compare.py: error: {flag} {value}: ")
    assert "was begun with" in line


def begun(folder, **record):
    write_json(folder / "run.json", record)


def test_a_comparison_goes_on_with_the_data_that_it_was_begun_with_or_those_that_nothing_is_known_of(tmp_path):
    corpus = tiny_corpus("vqa")
    check_data(tmp_path, corpus)
    fingerprint = data_fingerprint(corpus.splits, corpus.store)
    for known in ({}, {"fingerprint": {}}, {"fingerprint": fingerprint}):
        begun(tmp_path, **known)
        check_data(tmp_path, corpus)
    begun(tmp_path, fingerprint=fingerprint | {"test": "other"})
    with pytest.raises(InputError, match="test differ"):
        check_data(tmp_path, corpus)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_in_which_a_comparison_runs_is_refused_and_left_alone(tmp_path, overwrite):
    folder = tmp_path / "run"
    with claimed(folder, overwrite=False):
        begun(folder)
        with pytest.raises(InputError, match="another comparison is running"), claimed(folder, overwrite):
            pass
        assert (folder / "run.json").is_file()
    with claimed(folder, overwrite):
        assert (folder / "run.json").is_file() != overwrite


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ("--strategies darts magic", "unknown strategy 'magic'"),
        ("--equal minutes", "equal 'minutes'"),
        ("--seeds 1 1", "seeds [1, 1]"),
        ("--evaluations 200", "random spends more examples"),
    ],
)
def test_what_cannot_be_compared_is_refused(told, tmp_path, flags, complaint):
    ended = call("compare.py", *FLAGS, "--encoder_nodes 4", "--data", told.data, "--output_dir", tmp_path, flags)
    assert complaint in refusal(ended.code, ended.err, "compare.py")


@pytest.mark.parametrize("flag", [{"stable_epochs": 2}, {"progressive": [1]}])
def test_flags_that_make_some_searches_cheaper_are_refused(tmp_path, flag):
    with pytest.raises(InputError, match=f"{next(iter(flag))} .*cost the same"):
        Budget(None, None, search_arguments(tmp_path, **flag), scored=1)


@pytest.fixture(scope="module")
def budget(tmp_path_factory) -> Budget:
    corpus = tiny_corpus("vqa")
    config = MMnasConfig(**corpus.settings(), **TINY_SIZES, search_space=TINY_SPACE)
    args = search_arguments(
        tmp_path_factory.mktemp("budget"), max_steps=200, evaluations=5, weight_steps=5, warm_up=0.2
    )
    return Budget(corpus, config, args, scored=20)


@pytest.mark.parametrize("equal", COUNTS)
@pytest.mark.parametrize("name", CONTENDERS)
def test_one_step_more_would_go_beyond_the_equal_budget(budget, name, equal):
    steps, whole = budget.steps(CONTENDERS[name], REFERENCE, equal), budget.cost(REFERENCE, 200, equal)
    assert budget.cost(CONTENDERS[name], steps, equal) <= whole < budget.cost(CONTENDERS[name], steps + 1, equal)


def test_the_reference_gets_its_own_steps(budget):
    assert all(budget.steps(REFERENCE, REFERENCE, equal) == 200 for equal in COUNTS)


@pytest.mark.parametrize(("warm_up", "every"), [(0.0, 1), (0.2, 5), (0.5, 3), (1.0, 2)])
def test_architecture_steps_are_counted_as_the_search_makes_them(tmp_path, warm_up, every):
    args = search_arguments(tmp_path, warm_up=warm_up, weight_steps=every)
    made = sum(step > warm_up * 20 and step % every == 0 for step in range(1, 21))
    assert architecture_steps(args, 20) == made


@dataclass(frozen=True)
class Sum:
    """A cell of arithmetic; it fails below zero."""

    value: int
    units = 1

    @property
    def name(self) -> str:
        return f"sum-{self.value}"

    def run(self, setting: Setting, report: Report) -> Result:
        report(1)
        if self.value < 0:
            raise ValueError(f"{self.value} is negative")
        return {"value": self.value + 1}


def up_to_three_then_below_zero(cell: Sum, result: Result) -> list[Sum]:
    return [Sum(result["value"] if result["value"] < 3 else -1)]


def test_workers_run_cells_and_what_follows_and_keep_all_but_the_failed(tmp_path):
    setting = Setting(tmp_path, None, None, None, None, None, None)
    failed = run_cells([Sum(0)], up_to_three_then_below_zero, setting, jobs=2)  # one at a time: one process starts
    assert failed == {"sum--1": "ValueError: -1 is negative"}
    finished = Finished(tmp_path)
    assert [finished[Sum(value)]["value"] for value in (0, 1, 2)] == [1, 2, 3]
    assert Sum(-1) not in finished


def test_a_permutation_test_of_three_against_three_cannot_fall_below_a_tenth():
    assert permutation_p([5, 6, 7], [1, 2, 3]) == pytest.approx(0.1) == smallest_permutation_p(3, 3)
    assert permutation_p([0.2, 0.3, 0.4], [0.2, 0.3, 0.4]) == 1
    assert permutation_p([5], [1, 2, 3]) is None


def test_three_scores_above_thirty_reach_the_smallest_p():
    assert permutation_p([40, 41, 42], range(30)) == pytest.approx(2 / 5456)
    assert smallest_permutation_p(3, 30) == pytest.approx(2 / 5456)


def test_welchs_test_is_that_of_the_text_book():
    # t = 2 / sqrt(1 / 3 + 1 / 3) = 2.449 with 4 degrees of freedom
    assert welch_p([3, 4, 5], [1, 2, 3]) == pytest.approx(0.0705, abs=1e-4)
    assert welch_p([1], [1, 2]) is None
    assert welch_p([1, 1], [1, 1]) is None
    assert 0 < welch_p([0.4, 0.4], [0.3, 0.45]) < 1


def test_p_values_are_corrected_in_order():
    assert holm([0.01, 0.04, None, 0.03]) == pytest.approx([0.03, 0.06, None, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_equal_scores_count_half_as_beaten():
    assert share_beaten([2.0], [1.0, 2.0, 3.0, 1.5]) == pytest.approx(2.5 / 4)


def test_rank_correlation_is_kendalls():
    assert rank_correlation([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)
    assert rank_correlation([1, 2, 3], [5, 5, 5]) is None


def test_the_error_of_tau_is_that_of_independent_orders():
    assert tau_error(30) == pytest.approx(0.129, abs=5e-4)
    assert tau_error(2) == pytest.approx(1)  # plus or minus one


def searched(name, mean, p, *searches, flops=1e12):
    told = [{"seed": seed, "warnings": warnings} for seed, warnings in enumerate(searches)]
    costs = {"examples": 1, "flops": flops, "processor_seconds": 1, "seconds": 1}
    return {"name": name, "mean": mean, "deviation": None, "scores": [mean], "searches": told, "p_random": p, **costs}


def reported(*rows, inherited_on="validation texts"):
    entry = {"strategy": "darts", "seed": 0, "tau": 0.3, "networks": ["S"] * 30}
    chance = {"name": RANDOM, "mean": 0.5, "deviation": None, "scores": [0.5], "searches": []}
    return markdown(
        {
            "metric": "accuracy",
            "equal": "flops",
            "steps": {},
            "retraining_steps": 1,
            "rows": [*rows, chance],
            "rank_correlation": [entry],
            "inherited_on": inherited_on,
            "failed": {},
        }
    )


def test_equal_warnings_of_a_strategy_are_told_together():
    text = reported(searched("darts", 0.9, 0.01, ["blind"], ["blind", "early"], []), searched("enas", 0.9, 0.01, []))
    assert "- darts, seeds 0, 1: blind\n- darts, seed 1: early\n" in text
    assert "enas:" not in text
    assert "## Warnings" not in reported(searched("enas", 0.9, 0.01, []))


@pytest.mark.parametrize(
    ("mean", "p", "told"),
    [
        (0.5, 0.01, "its mean 0.500 is not above that of random architectures, 0.500"),
        (0.9, 0.05, "its p, 0.0500, is not below 0.05"),
        (0.9, None, "a single score has no p"),
    ],
)
def test_what_is_not_shown_to_be_better_than_random_is_told(mean, p, told):
    line = f"- darts: {told}: these runs do not show that it is better than random"
    assert line in reported(searched("darts", mean, p, [])).splitlines()


def test_a_report_says_how_equal_budgets_came_out_and_on_what_inherited_scores_are_measured():
    rows = searched("darts", 0.9, 0.01, []), searched("enas", 0.9, 0.01, [], flops=0.9e12)
    text = reported(*rows, inherited_on="held-out training texts")
    assert "came out within 10.0% of each other" in text
    assert "score on held-out training texts with inherited weights" in text
    assert "standard error of 0.13" in text


def test_more_seeds_change_no_training_of_random_architectures():
    class NoBudget:
        def steps(self, *_):
            return 1

    few, more = (
        Contest(ContestArguments(seeds=seeds), SearchSpace.chain(2, 6), "vgd", NoBudget(), 1, 42)
        for seeds in ([0, 1, 2], [0, 1, 2, 3, 4])
    )
    assert few.random_cells == more.random_cells
    assert [cell.seed for cell in few.random_cells] == [0, 1, 2] * 10


def test_published_architectures_are_thinned_evenly_and_labelled_so():
    assert thin("abcdefghij", 5) == tuple("bdfhj")
    assert thin("abc", 3) == tuple("abc")
    assert published("vqa", SearchSpace.chain()) == {"mmnas-vqa": PUBLISHED["mmnas-vqa"]}
    (name,) = published("vgd", SearchSpace.chain(2, 6))
    assert name == "mmnas-vgd (thinned)"
    assert published("vgd", SearchSpace.chain(13, 6)) == {}


def test_a_table_is_markdown():
    assert grid(("name", "n"), [("a", "10")]).splitlines() == ["| name |   n |", "| ---- | --: |", "| a    |  10 |"]
