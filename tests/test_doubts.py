"""A search says when its result is not to be trusted, and is not changed by having looked."""

import json
import logging
import random

import numpy as np
import pytest
import torch

from mmnas_hf.files import RESULTS_FILE
from mmnas_hf.genotype import SearchSpace
from mmnas_hf.records import read_record
from mmnas_hf.search.doubts import (
    Sight,
    at_chance,
    chosen_by_chance,
    left_entropy,
    never_left_prior,
    no_better_than_random,
    sampling_error,
    saturated_early,
)
from mmnas_hf.search.run import search
from mmnas_hf.search.signs import LOOKED_AT, Signs, undisturbed
from mmnas_hf.search.strategies import STRATEGIES
from mmnas_hf.tasks import TASKS
from runs import SEARCH
from scripts import call
from tiny import SPACE, save_tiny, search_arguments, search_trainer, tiny_corpus

EVEN, LEANING = {"a": 0.5, "b": 0.5}, {"a": 0.8, "b": 0.2}
every_task = pytest.mark.parametrize("task", TASKS)


# Left its prior


def test_a_search_that_hardly_moved_is_doubted():
    assert "hardly moved" in never_left_prior([EVEN], [{"a": 0.51, "b": 0.49}])


def test_a_search_that_kept_every_choice_of_its_prior_is_doubted():
    assert "still is the prior's" in never_left_prior([LEANING, LEANING], [{"a": 0.95, "b": 0.05}, LEANING])


def test_a_search_that_left_its_prior_at_one_node_is_not_doubted():
    assert never_left_prior([LEANING, LEANING], [{"a": 0.3, "b": 0.7}, LEANING]) is None


def test_without_a_prior_the_first_candidates_may_win():
    assert never_left_prior([EVEN, EVEN], [LEANING, LEANING]) is None


@pytest.mark.parametrize("scores", [[0.5], [0.5, 0.5], [0.55, 0.5, 0.45]])
def test_a_network_that_scores_like_its_rivals_is_doubted(scores):
    assert "chance may have chosen" in chosen_by_chance(scores, 100)


def test_a_network_that_scores_clearly_better_than_its_rivals_is_not_doubted():
    assert chosen_by_chance([0.7, 0.5, 0.3], 100) is None


# Saturated early


def test_entropy_is_a_share_of_that_of_an_even_choice():
    assert left_entropy([EVEN, dict.fromkeys("abcd", 0.25)]) == pytest.approx(1)
    assert left_entropy([EVEN, {"a": 1.0, "b": 0.0}]) == pytest.approx(0.5)


def test_nodes_with_a_single_candidate_do_not_count():
    assert left_entropy([{"a": 1.0}, EVEN]) == pytest.approx(1)
    assert left_entropy([{"a": 1.0}]) == 1


@pytest.mark.parametrize("saturated", [100, 150, 190])
def test_a_choice_within_the_first_tenth_of_the_alternation_is_doubted(saturated):
    assert f"by step {saturated}," in saturated_early(100, saturated, 1000)


@pytest.mark.parametrize("saturated", [191, 1000, None])
def test_a_later_choice_or_none_is_not_doubted(saturated):
    assert saturated_early(100, saturated, 1000) is None


# Better than random


def rows(found, *chance):
    named = [("found", found), ("mcan", 0.99), *((f"random {number}", score) for number, score in enumerate(chance, 1))]
    return [{"name": name, "accuracy": score} for name, score in named]


@pytest.mark.parametrize(
    ("found", "chance", "told"),
    [
        (0.4, (0.3, 0.6), "(accuracy 0.400) is no better than 2 random architectures (mean 0.450)"),
        (0.5, (0.3, 0.6), "(accuracy 0.500) is within the spread of 2 random architectures (0.300 to 0.600)"),
        (0.3, (0.3,), "(accuracy 0.300) is no better than one random architecture (mean 0.300)"),
    ],
)
def test_a_result_that_random_ones_reach_is_doubted(found, chance, told):
    assert told in no_better_than_random(rows(found, *chance), "accuracy")


@pytest.mark.parametrize("chance", [(0.3, 0.6), ()])
def test_a_result_above_all_random_ones_is_not_doubted(chance):
    assert no_better_than_random(rows(0.7, *chance), "accuracy") is None


# Learnt to see


def test_the_sampling_error_is_that_of_a_share():
    assert sampling_error(0.5, 100) == pytest.approx(0.05)
    assert sampling_error(1.0, 100) == 0


@pytest.mark.parametrize("sight", [Sight(0.5, 0.5, 1000), Sight(0.4, 0.5, 1000), Sight(0.6, 0.5, 50), Sight(0, 0, 100)])
def test_networks_that_see_no_better_than_blind_ones_are_doubted(sight):
    assert f"{sight.texts} texts do not tell apart" in at_chance(sight)


@pytest.mark.parametrize("sight", [Sight(0.6, 0.5, 1000), Sight(0.9, 0.5, 50)])
def test_networks_that_see_more_than_blind_ones_are_not_doubted(sight):
    assert at_chance(sight) is None


# In a search


@every_task
def test_looking_scores_the_networks_of_the_supernet_with_images_and_without(task, tmp_path):
    corpus = tiny_corpus(task)
    trainer = search_trainer(corpus, search_arguments(tmp_path))
    path, scored = trainer.evaluation_path, corpus.rows("validation")
    trainer.model.eval()
    seen, again = trainer.score(path, corpus, scored), trainer.score(path, corpus, scored)
    assert seen == again == pytest.approx(trainer.evaluate()[f"eval_{corpus.task.metric}"])
    assert trainer.corpus is corpus
    assert trainer.data_collator.store is corpus.store
    with torch.no_grad():
        trainer.model.mmnas.regions.weight.zero_()  # what is then left of an image is what a blind network is shown
    assert trainer.score(path, corpus, scored) == trainer.score(path, corpus.blind(), scored)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_looking_takes_what_weight_steps_train_which_of_darts_is_the_mixture(strategy, tmp_path):
    trainer = search_trainer(corpus := tiny_corpus("vqa"), search_arguments(tmp_path, strategy=strategy))
    paths = trainer.signs.some_paths()
    assert paths[0] == trainer.strategy.weight_path(0)
    assert [len(gates) for gates in paths[0]] == [len(node) if strategy == "darts" else 1 for node in SPACE.nodes]
    assert len(paths) == (1 if strategy == "darts" else LOOKED_AT)
    assert 0 <= trainer.score(paths[0], corpus, corpus.rows("validation")) <= 1


def test_looking_leaves_all_random_states_alone(tmp_path):
    trainer = search_trainer(tiny_corpus("vqa"), search_arguments(tmp_path))
    before = random.getstate(), str(np.random.get_state()), torch.get_rng_state()
    trainer.signs.look()
    assert (random.getstate(), str(np.random.get_state())) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])


def test_random_states_come_back_whatever_was_drawn():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    with undisturbed(torch.device("cpu")):
        random.random(), np.random.rand(), torch.rand(3)
    drawn = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    assert drawn == (random.random(), np.random.rand(), torch.rand(1).item())


class Blindfolded(Signs):
    """Notes nothing."""

    def look(self):
        pass


def ended(folder, signs, corpus):
    trainer = search_trainer(corpus, search_arguments(folder, weight_steps=2, max_steps=4))
    trainer.remove_callback(trainer.signs)
    trainer.signs = signs(trainer)
    trainer.train()
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}, trainer.strategy.alphas


@every_task
def test_looking_does_not_change_a_search(task, tmp_path):
    corpus = tiny_corpus(task)
    (weights, alphas), (others, other_alphas) = (
        ended(tmp_path / signs.__name__, signs, corpus) for signs in (Signs, Blindfolded)
    )
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert all(torch.equal(one, other) for one, other in zip(alphas, other_alphas, strict=True))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_search_looks_when_alternation_starts_or_training_ends(strategy, tmp_path):
    args = search_arguments(tmp_path, strategy=strategy, warm_up=0.5, weight_steps=3, evaluations=2)
    trainer = search_trainer(tiny_corpus("vqa"), args)
    looked, look = [], trainer.signs.look
    trainer.signs.look = lambda: (looked.append(trainer.state.global_step), look())
    trainer.train()
    alternates = trainer.strategy.architecture_path(0) is not None
    assert looked == [6 if alternates else 8]
    assert trainer.signs.started == (6 if alternates else None)


def test_what_was_noted_comes_back_with_a_checkpoint(tmp_path):
    corpus = tiny_corpus("vqa")
    settings = {"architecture_learning_rate": 50.0, "save_strategy": "steps", "save_steps": 2, "max_steps": 4}
    trainer = search_trainer(corpus, search_arguments(tmp_path, **settings))
    trainer.train()
    resumed = search_trainer(corpus, search_arguments(tmp_path, **settings))
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert resumed.signs.saturated is not None
    assert resumed.signs.state_dict() == trainer.signs.state_dict()


def test_a_search_without_warm_up_warns_at_once_that_its_weights_see_nothing(tmp_path, caplog):
    corpus, args = tiny_corpus("vqa"), search_arguments(tmp_path, max_steps=1)
    trainer = search_trainer(corpus, args)
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert "step 1: before the architecture was learnt" in caplog.text


def test_a_search_that_decides_at_once_is_doubted_for_it(tmp_path):
    corpus, args = tiny_corpus("vqa"), search_arguments(tmp_path, max_steps=11, architecture_learning_rate=100.0)
    trainer = search_trainer(corpus, args, SearchSpace((), (("self_att_64", "feed_forward"),) * 2))
    searched = search(
        trainer.model, trainer.strategy, corpus, args, corpus.search_split(args.seed), corpus.rows("validation")
    )
    assert any("the choice was made by step 1," in warning for warning in searched.warnings)


def test_a_searchs_doubts_are_shown_kept_and_told_in_its_card(tmp_path):
    data = save_tiny(tmp_path / "data", "vqa")
    run = tmp_path / "run"
    result = call("search.py", "--data", data, "--output_dir", run, SEARCH)
    assert result.code == 0, result.err
    warnings = json.loads((run / RESULTS_FILE).read_text())["warnings"]
    assert any("do not tell apart" in warning for warning in warnings)
    assert all(f"warning: {warning}" in result.out.splitlines() for warning in warnings)
    notes = read_record(run / "supernet").notes
    assert all(any(warning in note for note in notes) for warning in warnings)
    assert all(warning in (run / "supernet" / "README.md").read_text() for warning in warnings)
