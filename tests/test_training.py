"""Training follows the staircase of learning rates, and networks are compared at one budget."""

import pytest
import torch
from transformers import TrainerCallback

from mmnas_hf.comparison import (
    Candidate,
    CompareArguments,
    Plan,
    candidates,
    compare,
    retraining_arguments,
    summary,
    table,
)
from mmnas_hf.configuration_mmnas import MMnasConfig
from mmnas_hf.data.store import BlankRegionStore, RegionStore
from mmnas_hf.errors import InputError
from mmnas_hf.genotype import Genotype, SearchSpace
from mmnas_hf.tasks import TASKS
from mmnas_hf.training import BROKEN_BY, TaskTrainer, build_model, evaluate, staircase, train
from tiny import SIZES, search_arguments, tiny_corpus

SPACE = SearchSpace.chain(1, 2)

every_task = pytest.mark.parametrize("task", TASKS)


def config_of(corpus, **changes):
    return MMnasConfig(**corpus.settings(), **SIZES, genotype="S|RG", **changes)


# The staircase


def test_the_rate_starts_as_a_quarter_a_half_and_three_quarters():
    assert [staircase(epoch, 3, [], 0.2) for epoch in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_the_rate_falls_to_a_fifth_at_each_decay_epoch():
    rates = [staircase(epoch, 3, [10, 12], 0.2) for epoch in (9, 10, 11, 12)]
    assert rates == pytest.approx([1, 0.2, 0.2, 0.04])


def test_without_a_ramp_the_rate_is_the_base_rate_at_once():
    assert staircase(0, 0, [], 0.2) == 1.0


class Rates(TrainerCallback):
    """Notes the rate of every step."""

    def __init__(self):
        self.seen = []

    def on_step_begin(self, args, state, control, optimizer=None, **kwargs):
        self.seen.append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_trainer_climbs_the_staircase_epoch_by_epoch(accumulation, tmp_path):
    corpus, rates = tiny_corpus("vqa"), Rates()
    args = search_arguments(
        tmp_path,
        max_steps=-1,
        num_train_epochs=5,
        per_device_train_batch_size=20,
        gradient_accumulation_steps=accumulation,
        learning_rate=1.0,
        decay_epochs=[4],
    )
    model = build_model(corpus, config_of(corpus), 0)
    TaskTrainer(model, args, corpus, corpus.rows("train"), callbacks=[rates]).train()
    steps = 4 // accumulation
    assert rates.seen == pytest.approx([rate for rate in (0.25, 0.5, 0.75, 1.0, 0.2) for _ in range(steps)])


# Flags that are refused


@pytest.mark.parametrize("flag", BROKEN_BY)
def test_a_flag_that_would_break_what_a_run_promises_is_refused(flag, tmp_path):
    with pytest.raises(InputError, match=f"^{flag}: "):
        search_arguments(tmp_path, **{flag: True})


# Networks


@every_task
def test_a_network_is_made_anew_from_its_seed(task):
    corpus = tiny_corpus(task)
    first, again, other = (build_model(corpus, config_of(corpus), seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(again[name], value) for name, value in first.items())
    assert not torch.equal(other["mmnas.regions.weight"], first["mmnas.regions.weight"])


@torch.no_grad()
def loss_of(model, corpus, rows):
    return model.eval()(**corpus.collator(model.config)(rows)).loss


@every_task
def test_training_lowers_the_loss(task, tmp_path):
    corpus = tiny_corpus(task)
    model, rows = build_model(corpus, config_of(corpus), 0), corpus.rows("train")
    pairs = corpus.task.training_rows(rows).__getitems__(list(range(40)))
    args = search_arguments(tmp_path, max_steps=200, ramp_epochs=0, learning_rate=1e-3)
    before = loss_of(model, corpus, pairs)
    train(model, corpus, rows, corpus.rows("test"), args)
    assert loss_of(model, corpus, pairs) < 0.9 * before


@every_task
def test_scores_have_the_tasks_headline_and_no_run_times(task, tmp_path):
    corpus = tiny_corpus(task)
    args = search_arguments(tmp_path)
    scores = evaluate(build_model(corpus, config_of(corpus), 0), corpus, corpus.rows("test"), args)
    assert 0 <= scores[corpus.task.metric] <= 1
    assert not [name for name in scores if "second" in name or "runtime" in name]


@every_task
def test_scores_do_not_depend_on_the_batch_size(task, tmp_path):
    corpus = tiny_corpus(task)
    # Without boxes' places, pictures of the same colours tie, and rounding decides which is ranked first.
    model = build_model(corpus, config_of(corpus, box_feature=True), 0)
    scores = [
        evaluate(model, corpus, corpus.rows("test"), search_arguments(tmp_path, per_device_eval_batch_size=size))
        for size in (3, 256)
    ]
    assert scores[0] == pytest.approx(scores[1])


# The comparison


def names_of(**changes):
    settings = CompareArguments(**changes)
    return [candidate.name for candidate in candidates(Genotype.parse("S|RG"), SPACE, settings, seed=0)]


def test_found_hand_made_and_random_networks_are_compared():
    assert names_of(random_architectures=2) == ["found", "mcan", "random 1", "random 2"]


def test_a_text_only_network_may_be_compared():
    assert names_of(random_architectures=0, text_only=True) == ["found", "mcan", "text only"]


def test_only_the_text_only_network_is_blind():
    named = candidates(Genotype.parse("S|RG"), SPACE, CompareArguments(text_only=True), seed=0)
    assert [candidate.name for candidate in named if candidate.blind] == ["text only"]


def test_random_networks_are_seeded_and_differ():
    settings = CompareArguments(random_architectures=5)
    drawn = [candidates(Genotype.parse("S|RG"), SPACE, settings, seed)[2:] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len({candidate.genotype for candidate in drawn[0]}) == 5


def test_a_small_space_has_no_more_random_networks_than_it_has_points():
    space = Genotype.parse("S|RG").as_space()
    assert len(candidates(Genotype.parse("S|RG"), space, CompareArguments(random_architectures=3), 0)) == 3


@pytest.mark.parametrize(("budget", "steps"), [(1.0, 100), (0.4, 40), (0.001, 1)])
def test_every_network_trains_for_a_share_of_the_searchs_steps(budget, steps, tmp_path):
    args = retraining_arguments(search_arguments(tmp_path), CompareArguments(retrain_budget=budget), 100)
    assert args.max_steps == steps


@pytest.mark.parametrize(("rate", "expected"), [(None, 1e-3), (0.5, 0.5)])
def test_retraining_has_the_searchs_rate_or_its_own(rate, expected, tmp_path):
    args = retraining_arguments(search_arguments(tmp_path), CompareArguments(retrain_learning_rate=rate), 100)
    assert args.learning_rate == expected


@pytest.fixture
def plan(tmp_path):
    corpus = tiny_corpus("vqa")
    config = MMnasConfig(**corpus.settings(), **SIZES, search_space=SPACE)
    return Plan(
        corpus, config, retraining_arguments(search_arguments(tmp_path), CompareArguments(), 3), corpus.rows("test")
    )


NAMED = [
    Candidate("found", Genotype.parse("S|RG")),
    Candidate("same", Genotype.parse("S|RG")),
    Candidate("blind", Genotype.parse("S|RG"), blind=True),
]


def test_equal_networks_score_equally_whatever_came_before(plan):
    rows = compare(NAMED, plan, jobs=1)
    assert [row["name"] for row in rows] == ["found", "same", "blind"]
    assert rows[0]["metrics"] == rows[1]["metrics"]


def test_only_a_blind_network_trains_on_hidden_images(plan, monkeypatch):
    stores = []
    monkeypatch.setattr(
        "mmnas_hf.comparison.train",
        lambda model, corpus, *rest: stores.append(type(corpus.store)) or train(model, corpus, *rest),
    )
    compare(NAMED[1:], plan, jobs=1)
    assert stores == [RegionStore, BlankRegionStore]


def test_a_row_tells_name_genotype_score_and_parameters(plan):
    (row,) = compare(NAMED[:1], plan, jobs=1)
    assert (row["name"], row["genotype"], row["accuracy"]) == ("found", "S|RG", row["metrics"]["accuracy"])
    assert row["parameters"] == build_model(plan.corpus, plan.config.derive(NAMED[0].genotype), 0).num_parameters()


def test_a_table_shows_every_network(plan):
    shown = table(compare(NAMED[:2], plan, jobs=1))
    assert "found" in shown
    assert "same" in shown


def test_a_summary_counts_a_runs_random_networks_as_their_mean():
    def result(found, *randoms):
        scores = {"found": found} | {f"random {number}": score for number, score in enumerate(randoms, start=1)}
        return {
            "metric": "accuracy",
            "networks": [{"name": name, "metrics": {"accuracy": score}} for name, score in scores.items()],
        }

    lines = summary([result(0.8, 0.2, 0.4), result(0.6, 0.5, 0.7)]).splitlines()
    assert next(line.split()[1] for line in lines if line.startswith("found")) == "0.700"
    assert next(line.split()[1] for line in lines if line.startswith("random")) == "0.450"
