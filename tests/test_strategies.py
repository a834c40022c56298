"""Every strategy on the real supernet, with a planted answer: labels are what one network of it says."""

from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from transformers import set_seed

from mmnas_hf.errors import InputError
from mmnas_hf.genotype import Genotype, SearchSpace
from mmnas_hf.modeling_mmnas import MMnasForVisualQuestionAnswering
from mmnas_hf.search.arguments import check_progressive
from mmnas_hf.search.cost import has_gradient
from mmnas_hf.search.enas import LARGEST_ADVANTAGE
from mmnas_hf.search.gumbel import FIRST_TEMPERATURE, LAST_TEMPERATURE
from mmnas_hf.search.log import read_log
from mmnas_hf.search.parameterised import ParameterisedStrategy
from mmnas_hf.search.run import search
from mmnas_hf.search.scored import ScoredStrategy
from mmnas_hf.search.scoring import SupernetScorer
from mmnas_hf.search.strategies import STRATEGIES, build_strategy
from mmnas_hf.training import build_model, evaluate, quiet
from tiny import SIZES, random_batch, search_arguments, search_trainer, tiny_config, tiny_corpus

SPACE = SearchSpace.chain(2, 3)  # of 256 networks
PLANTED = Genotype.parse("FS|RGF")
STEPS = 120
POLICY_STEPS = 400  # a policy gradient learns from one number a step


class Toy:
    """A supernet with frozen weights, and a batch whose labels are the planted network's own answers."""

    def __init__(self):
        set_seed(0)
        self.supernet = MMnasForVisualQuestionAnswering(tiny_config(search_space=SPACE)).eval()
        self.supernet.requires_grad_(False)
        batch = random_batch(self.supernet.config)
        labels = self.supernet(**batch, path=PLANTED.as_path()).logits.sigmoid()
        self.batch = {**batch, "labels": labels}

    def loss(self, path):
        with torch.set_grad_enabled(has_gradient(path)):
            return self.supernet(**self.batch, path=path).loss

    def run(self, strategy, steps):
        """Architecture steps alone: the weights stay as they are."""
        for step in steps:
            path = strategy.architecture_path(step)
            if path is not None:
                strategy.update(self.loss(path))

    def search(self, strategy, steps=range(STEPS)):
        self.run(strategy, steps)
        while genotypes := strategy.propose():
            strategy.receive([-float(self.loss(genotype.as_path())) for genotype in genotypes])
        return strategy.genotype()


@pytest.fixture(scope="module")
def toy():
    return Toy()


def make(name, steps=STEPS, space=SPACE, **changes):
    return build_strategy(space, search_arguments("unused", strategy=name, **changes), steps)


def named(kind):
    return [name for name in STRATEGIES if isinstance(make(name), kind)]


every_strategy = pytest.mark.parametrize("name", STRATEGIES)
every_parameterised = pytest.mark.parametrize("name", named(ParameterisedStrategy))
every_scored = pytest.mark.parametrize("name", named(ScoredStrategy))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "random"])
def test_a_strategy_finds_the_planted_network(name, seed, toy):
    steps = POLICY_STEPS if name == "enas" else STEPS
    assert toy.search(make(name, steps, seed=seed, evaluations=100), range(steps)) == PLANTED


@pytest.mark.parametrize("seed", [0, 1])
def test_the_proxyless_search_of_two_gates_finds_the_planted_network(seed, toy):
    assert toy.search(make("proxyless", gates="two", seed=seed)) == PLANTED


def test_random_search_finds_the_planted_network_once_it_has_scored_all(toy):
    assert toy.search(make("random", evaluations=SPACE.size)) == PLANTED


@every_strategy
def test_no_strategy_knows_the_answer_before_it_has_searched(name):
    assert make(name).genotype() != PLANTED


@every_parameterised
@pytest.mark.parametrize("changes", [{}, {"prior": "random"}])
def test_a_resumed_strategy_ends_bit_for_bit_where_it_would_have(name, changes, toy):
    whole, first, second = (make(name, steps=60, **changes) for _ in range(3))
    toy.run(whole, range(60))
    toy.run(first, range(25))
    second.load_state_dict(first.state_dict())
    toy.run(second, range(25, 60))
    assert all(map(torch.equal, second.alphas, whole.alphas))
    assert str(second.state_dict()) == str(whole.state_dict())


@every_scored
def test_a_strategy_resumed_between_generations_scores_the_same_networks(name, toy):
    whole, first, second = (make(name, evaluations=60) for _ in range(3))
    toy.search(whole)
    first.receive([-float(toy.loss(genotype.as_path())) for genotype in first.propose()])
    second.load_state_dict(first.state_dict())
    toy.search(second)
    assert second.state_dict() == whole.state_dict()


@every_strategy
def test_paths_depend_on_seed_and_step_alone(name):
    first, second = make(name), make(name)
    first.weight_path(1)
    assert [first.weight_path(step) for step in (3, 2)] == [second.weight_path(step) for step in (2, 3)][::-1]


@every_strategy
def test_probabilities_of_a_node_sum_to_one(name, toy):
    strategy = make(name, evaluations=30)
    toy.search(strategy, range(10))
    for node in strategy.probabilities():
        assert sum(node.values()) == pytest.approx(1)


# Dropping candidates


@every_parameterised
def test_dropping_leaves_one_candidate_fewer_at_each_node(name, toy):
    strategy = make(name)
    toy.run(strategy, range(20))
    least = [min(node, key=node.get) for node in strategy.probabilities()]
    strategy.drop_least_likely()
    for node, dropped in zip(strategy.probabilities(), least, strict=True):
        assert node[dropped] == 0
        assert sum(p == 0 for p in node.values()) == 1


@every_parameterised
def test_a_search_goes_on_without_what_was_dropped(name, toy):
    strategy = make(name, gates="two" if name == "proxyless" else "full")
    toy.run(strategy, range(20))
    dropped = set()
    for start in (20, 40, 60):
        strategy.drop_least_likely()
        dropped |= {(n, k) for n, node in enumerate(strategy.probabilities()) for k, p in node.items() if p == 0}
        toy.run(strategy, range(start, start + 10))
        runs = [strategy.weight_path(start), strategy.architecture_path(start)]
        assert not dropped & {(n, k) for path in runs for n, gate in enumerate(path) for k in gate}
    assert [sum(p > 0 for p in node.values()) for node in strategy.probabilities()] == [1] * len(SPACE.nodes)


@every_parameterised
def test_nothing_is_dropped_while_all_candidates_are_equally_likely(name):
    strategy = make(name)
    strategy.drop_least_likely()
    assert all(p > 0 for node in strategy.probabilities() for p in node.values())


@every_scored
def test_a_strategy_without_probabilities_refuses_to_drop_candidates(name):
    with pytest.raises(InputError, match="progressive"):
        make(name, progressive=[1])


@every_scored
def test_a_strategy_that_chooses_after_training_is_never_stable_before(name):
    with pytest.raises(InputError, match="stable_epochs"):
        make(name, stable_epochs=1)


@pytest.mark.parametrize(("epoch", "allowed"), [(1, False), (2, True), (4, True), (5, False)])
def test_candidates_may_leave_once_something_was_learnt_and_until_the_end(tmp_path, epoch, allowed):
    # Ten steps an epoch, of 40; the first architecture step is at 15.
    args = search_arguments(tmp_path, progressive=[epoch], max_steps=40, warm_up=0.25, weight_steps=5)
    with nullcontext() if allowed else pytest.raises(InputError, match="architecture steps begin at 15"):
        check_progressive(args, 80)


# One strategy's own


def test_the_temperature_falls_linearly_over_the_alternation():
    strategy = make("gumbel", steps=40, warm_up=0.75)
    temperatures = [strategy.temperature(step) for step in range(30, 41)]
    assert temperatures[0] == FIRST_TEMPERATURE
    assert temperatures[-1] == pytest.approx(LAST_TEMPERATURE)
    falls = [first - second for first, second in pairwise(temperatures)]
    assert falls == pytest.approx([falls[0]] * 10)


def test_a_policy_gradient_needs_no_graph():
    assert not has_gradient(make("enas").architecture_path(0))


def test_a_lower_loss_than_usual_makes_a_path_likelier():
    strategy = make("enas")
    for step, loss in enumerate((5.0, 6.0, 5.5, 1.0)):
        path = strategy.architecture_path(step)
        before = strategy.probabilities()
        strategy.update(torch.tensor(loss))
    for gate, old, new in zip(path, before, strategy.probabilities(), strict=True):
        (name,) = gate
        assert new[name] > old[name]


def test_an_outlier_is_no_larger_an_advantage_than_the_largest():
    strategy = make("enas")
    advantages = [strategy.advantage(loss) for loss in (5.0, 5.001, -1000.0, 1000.0)]
    assert [abs(advantage) <= LARGEST_ADVANTAGE for advantage in advantages] == [True] * 4
    assert advantages[2] == LARGEST_ADVANTAGE


@every_scored
def test_no_network_is_scored_twice(name):
    strategy, scored = make(name, evaluations=120), []
    while genotypes := strategy.propose():
        scored += genotypes
        strategy.receive([float(len(str(genotype).replace("R", ""))) for genotype in genotypes])
    assert len(scored) == len(set(scored)) == 120


@every_scored
def test_a_space_smaller_than_the_budget_is_scored_whole(name):
    strategy = make(name, space=SearchSpace.chain(1, 1), evaluations=100)
    while genotypes := strategy.propose():
        strategy.receive([0.0] * len(genotypes))
    assert len(strategy.scores) == SearchSpace.chain(1, 1).size


def test_evolution_scores_better_networks_than_random_search(toy):
    strategies = [make(name, evaluations=100, seed=3) for name in ("uniform", "random")]
    evolved, drawn = (torch.tensor(list((toy.search(s), s.scores)[1].values())[50:]) for s in strategies)
    assert evolved.mean() > drawn.mean() + 3 * drawn.std() / len(drawn) ** 0.5


# What cannot be


def test_an_unknown_strategy_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"unknown strategy 'wish'; known: proxyless, .*random"):
        make("wish")


def test_only_proxyless_has_gates():
    with pytest.raises(InputError, match="only proxyless"):
        make("darts", gates="two")


@pytest.mark.parametrize("changes", [{"evaluations": 0}, {"population": 1}])
def test_a_budget_that_leaves_no_choice_is_refused(changes):
    with pytest.raises(InputError, match=str(*changes)):
        make("uniform", **changes)


# On data


@pytest.fixture(scope="module")
def corpus():
    return tiny_corpus("vqa")


@every_strategy
def test_a_search_ends_with_a_network_of_the_space(name, corpus, tmp_path):
    args = search_arguments(tmp_path, strategy=name, max_steps=3, evaluations=6, eval_strategy="steps", eval_steps=3)
    trainer = search_trainer(corpus, args)
    split, scored = corpus.search_split(args.seed), corpus.rows("validation")
    found = search(trainer.model, trainer.strategy, corpus, args, split, scored)
    trainer.strategy.space.check(found.genotype)
    assert (tmp_path / "genotype.json").is_file()
    evaluated, *chosen = [entry["genotype"] for entry in read_log(trainer.log_file)]
    waits = isinstance(trainer.strategy, ScoredStrategy)
    assert (evaluated is None) == waits
    assert chosen == [str(found.genotype)] * waits


def test_candidates_are_dropped_at_the_end_of_chosen_epochs(corpus, tmp_path):
    trainer = search_trainer(corpus, search_arguments(tmp_path, progressive=[1], max_steps=40))
    dropped, drop = [], trainer.strategy.drop_least_likely
    trainer.strategy.drop_least_likely = lambda: (dropped.append(trainer.state.global_step), drop())
    trainer.train()
    assert dropped == [trainer.steps_per_epoch]
    for node in trainer.strategy.probabilities():
        assert sum(p == 0 for p in node.values()) == 1


# Scores of whole networks


@pytest.fixture(scope="module")
def judged(corpus):
    """A supernet, its corpus, rows to score and arguments."""
    config = tiny_config(**corpus.settings(), **SIZES, search_space=SPACE)
    return build_model(corpus, config, 0), corpus, corpus.rows("validation"), search_arguments("unused")


def genotypes_of(*texts):
    return [Genotype.parse(text) for text in texts]


def test_a_score_is_that_of_the_derived_network(judged):
    supernet, corpus, rows, args = judged
    with SupernetScorer(*judged) as scorer:
        (score,) = scorer([PLANTED])
    assert score == evaluate(supernet.derive(PLANTED), corpus, rows, quiet(args))[corpus.task.metric]


def test_worker_processes_give_the_scores_of_one(judged):
    genotypes = genotypes_of("SS|GGG", "FS|RGF", "SF|FFF", "SS|RRG", "FF|SGS", "SS|GGG")
    with SupernetScorer(*judged) as alone, SupernetScorer(*judged, jobs=2) as shared:
        assert shared(genotypes) == alone(genotypes)
        assert shared.workers is not None


def test_no_network_is_scored_again(judged, tmp_path, monkeypatch):
    file = tmp_path / "scores.json"
    with SupernetScorer(*judged, file=file) as scorer:
        scores = scorer(genotypes_of("SS|GGG", "FS|RGF"))
    again = SupernetScorer(*judged, file=file)
    monkeypatch.setattr(again, "scores", lambda new: iter([1.0 for _ in new]))
    assert again(genotypes_of("FS|RGF", "SS|GGG", "SS|SSS")) == [scores[1], scores[0], 1.0]


def test_scores_of_other_weights_rows_or_folds_are_not_remembered(judged, tmp_path):
    supernet, corpus, rows, args = judged
    others = [
        (build_model(corpus, supernet.config, 1), corpus, rows, args),
        (supernet, corpus, corpus.rows("validation", 4), args),
        (supernet, corpus, rows, replace(args, folds=2)),
    ]
    SupernetScorer(*judged, file=tmp_path / "scores.json")(genotypes_of("SS|GGG"))
    assert SupernetScorer(*judged, file=tmp_path / "scores.json").known
    assert not [judge for judge in others if SupernetScorer(*judge, file=tmp_path / "scores.json").known]


def test_a_scorer_that_stops_on_the_way_keeps_the_scores_that_it_has(judged, tmp_path, monkeypatch):
    scorer = SupernetScorer(*judged, file=tmp_path / "scores.json")
    monkeypatch.setattr(scorer, "scores", lambda new: (1 / left for left in (1, 0)))
    with pytest.raises(ZeroDivisionError):
        scorer(genotypes_of("SS|GGG", "FS|RGF"))
    assert SupernetScorer(*judged, file=tmp_path / "scores.json").known == {"SS|GGG": 1.0}
