"""A search finds what is best, moves alphas as the original does, and continues exactly where it was interrupted."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback

import foreign
from mmnas_hf.errors import InputError
from mmnas_hf.genotype import Genotype, SearchSpace
from mmnas_hf.search.batches import BatchStream
from mmnas_hf.search.log import CHOSEN, LOG_FILE, forget_later_lines, read_log
from mmnas_hf.search.priors import PRIORS, initial_alphas
from mmnas_hf.search.proxyless import GATES, ProxylessStrategy
from mmnas_hf.search.run import changed_nodes, search, total_variation
from mmnas_hf.search.strategy import mean_entropy
from mmnas_hf.speedups import frozen
from mmnas_hf.tasks import TASKS
from tiny import (
    DECODER_OPERATIONS,
    SPACE,
    every_operation,
    search_arguments,
    search_trainer,
    tiny_corpus,
)

GOLDEN_TOLERANCE = {"rtol": 0, "atol": 1e-5}

every_mode = pytest.mark.parametrize("gates", GATES)
every_task = pytest.mark.parametrize("task", TASKS)
every_prior = pytest.mark.parametrize("prior", PRIORS)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def strategy_with(space=SPACE, seed=0, **changes):
    """A strategy whose alphas differ from each other."""
    strategy = ProxylessStrategy(space, seed=seed, **changes)
    with torch.no_grad():
        for number, alpha in enumerate(strategy.alphas):
            alpha.copy_(torch.randn(len(alpha), generator=generator(number)))
    return strategy


def names(path):
    return [tuple(gate) for gate in path]


# The original's numbers


@pytest.fixture(scope="module")
def recorded(golden):
    return foreign.recorded(golden / "supernet_vqa.safetensors")[0]


@pytest.fixture(params=GATES)
def repeated(request, recorded, golden, speed):
    """The recorded architecture step of one mode, done again: the mode, the strategy and the loss."""
    tensors, supernet = recorded, foreign.golden_network(golden / "supernet_vqa.safetensors").model
    mode, space = request.param, SearchSpace.chain(2, 3)
    nodes = range(len(space.nodes))
    strategy = ProxylessStrategy(space, gates=mode)
    with torch.no_grad():
        for node in nodes:
            strategy.alphas[node].copy_(tensors[f"{mode}.alpha_before.{node}"])
    active = tensors[f"{mode}.active"].tolist()
    if mode == "full":
        path = strategy.gated_path([torch.arange(len(node)) for node in space.nodes], active)
    else:
        rivals = [torch.tensor(pair) for pair in zip(active, tensors["two.inactive"].tolist(), strict=True)]
        path = strategy.gated_path(rivals, [0 for _ in nodes])
    with frozen(supernet):
        loss = supernet(**golden_batch(tensors), path=path).loss
        strategy.update(loss)
    return mode, strategy, loss


def golden_batch(tensors):
    return {
        "input_ids": tensors["inputs.input_ids"],
        "attention_mask": tensors["inputs.input_ids"] != 0,
        "region_features": tensors["inputs.region_features"],
        "region_boxes": tensors["inputs.region_boxes"],
        "region_mask": tensors["inputs.region_features"].abs().sum(-1) != 0,
        "labels": tensors["inputs.labels"],
    }


def test_an_architecture_steps_loss_is_the_originals(repeated, recorded):
    mode, _, loss = repeated
    expected = recorded[f"{mode}.loss"]
    torch.testing.assert_close(loss.detach(), expected.view(()), rtol=1e-6, atol=1e-5)


def test_alphas_gradients_are_the_originals(repeated, recorded):
    mode, strategy, _ = repeated
    for node, alpha in enumerate(strategy.alphas):
        torch.testing.assert_close(alpha.grad, recorded[f"{mode}.alpha_grad.{node}"], **GOLDEN_TOLERANCE)


def test_alphas_after_the_step_are_the_originals(repeated, recorded):
    mode, strategy, _ = repeated
    for node, alpha in enumerate(strategy.alphas):
        torch.testing.assert_close(alpha.detach(), recorded[f"{mode}.alpha_after.{node}"], **GOLDEN_TOLERANCE)


# Binary gates


def some_loss(gates):
    """A loss that depends on each gate in a way of its own."""
    return sum((number + 1) * gate + gate**2 for number, gate in enumerate(gates))


@every_mode
def test_gates_gradients_are_those_of_the_published_formula(gates):
    strategy = strategy_with(every_operation(), gates=gates)
    path = strategy.architecture_path(0)
    gradients = strategy.gradients(sum(some_loss(gate.values()) for gate in path))
    for gate, alpha, rivals, gradient in zip(path, strategy.alphas, strategy.rivals, gradients, strict=True):
        values = torch.stack([*gate.values()]).detach().requires_grad_()
        (dl_dg,) = torch.autograd.grad(some_loss(values), values)
        p = alpha[rivals].detach().softmax(0)
        expected = torch.zeros_like(alpha)
        for i, candidate in enumerate(rivals.tolist()):
            expected[candidate] = sum(dl_dg[j] * p[j] * (float(i == j) - p[i]) for j in range(len(p)))
        torch.testing.assert_close(gradient, expected)


@every_mode
def test_exactly_one_gate_a_node_is_open(gates):
    path = strategy_with(every_operation(), gates=gates).architecture_path(0)
    assert all(sorted(gate.values()) == [0.0] * (len(gate) - 1) + [1.0] for gate in path)


def test_with_full_gates_all_candidates_of_a_node_run():
    space = every_operation()
    assert names(strategy_with(space, gates="full").architecture_path(0)) == list(space.nodes)


def test_with_two_gates_two_different_candidates_of_a_node_run():
    path = strategy_with(every_operation(), gates="two").architecture_path(0)
    assert [len(gate) for gate in path] == [2, 2, 2]


def test_with_two_gates_the_other_candidates_probabilities_stay_what_they_were():
    strategy = strategy_with(every_operation(), gates="two")
    before, path = strategy.probabilities(), strategy.architecture_path(0)
    strategy.update(sum(some_loss(gate.values()) for gate in path))
    for old, new, gate in zip(before, strategy.probabilities(), path, strict=True):
        assert {name: new[name] for name in old if name not in gate} == pytest.approx(
            {name: old[name] for name in old if name not in gate}, abs=1e-6
        )


def test_with_two_gates_the_two_candidates_probabilities_move():
    strategy = strategy_with(every_operation(), gates="two")
    before, path = strategy.probabilities(), strategy.architecture_path(0)
    strategy.update(sum(some_loss(gate.values()) for gate in path))
    for old, new, gate in zip(before, strategy.probabilities(), path, strict=True):
        assert all(abs(new[name] - old[name]) > 1e-3 for name in gate)


@every_mode
def test_a_node_with_one_candidate_may_be_searched(gates):
    strategy = ProxylessStrategy(SearchSpace((("self_att_64",),), (("feed_forward", "identity"),)), gates=gates)
    path = strategy.architecture_path(0)
    strategy.update(sum(some_loss(gate.values()) for gate in path))
    assert strategy.probabilities()[0] == {"self_att_64": 1.0}


def test_unknown_gates_raise():
    with pytest.raises(InputError, match="unknown gates 'three'; known: full, two"):
        ProxylessStrategy(SPACE, gates="three")


# Paths


def test_weight_paths_are_drawn_by_the_probabilities():
    strategy = ProxylessStrategy(SearchSpace((), (("self_att_64", "feed_forward"),)))
    with torch.no_grad():
        strategy.alphas[0].copy_(torch.tensor([0.8, 0.2]).log())
    drawn = [names(strategy.weight_path(step)) for step in range(1000)]
    # Four standard deviations of a share of 1,000 draws.
    assert drawn.count([("self_att_64",)]) / 1000 == pytest.approx(0.8, abs=0.05)


@every_mode
@pytest.mark.parametrize("method", ["weight_path", "architecture_path"])
def test_paths_depend_on_seed_and_step_alone(method, gates):
    first = strategy_with(every_operation(), gates=gates)
    drawn = [getattr(first, method)(step) for step in range(5)]
    torch.manual_seed(123)
    second = strategy_with(every_operation(), gates=gates)
    assert [getattr(second, method)(step) for step in (4, 3, 2, 1, 0)][::-1] == drawn


@pytest.mark.parametrize("method", ["weight_path", "architecture_path"])
def test_drawing_paths_leaves_the_global_random_state_alone(method):
    before = torch.get_rng_state()
    getattr(strategy_with(), method)(0)
    assert torch.equal(torch.get_rng_state(), before)


def test_architecture_steps_do_not_open_what_the_weight_step_sampled():
    strategy = strategy_with(every_operation(), gates="full")
    opened = [
        [{name for name, value in gate.items() if value == 1} for gate in strategy.architecture_path(step)]
        for step in range(5)
    ]
    assert opened != [[set(gate) for gate in strategy.weight_path(step)] for step in range(5)]


def test_paths_of_different_seeds_and_steps_differ():
    space = SearchSpace.chain(12, 18)
    drawn = {str(strategy_with(space, seed).weight_path(step)) for seed in range(3) for step in range(3)}
    assert len(drawn) == 9


# Priors


@every_prior
def test_every_prior_gives_each_candidate_a_finite_start(prior):
    alphas = initial_alphas(prior, SPACE, generator())
    assert [len(alpha) for alpha in alphas] == [len(node) for node in SPACE.nodes]
    assert all(alpha.isfinite().all() for alpha in alphas)


@every_prior
def test_every_prior_starts_the_strategy_that_names_it(prior):
    strategy = ProxylessStrategy(SPACE, prior=prior, seed=3)
    expected = initial_alphas(prior, SPACE, generator(3))
    assert all(torch.equal(alpha, start) for alpha, start in zip(strategy.alphas, expected, strict=True))


def test_without_a_prior_all_candidates_are_equally_likely():
    probabilities = ProxylessStrategy(SPACE).probabilities()
    assert all(p == pytest.approx(1 / len(node)) for node in probabilities for p in node.values())


def test_the_random_prior_is_seeded():
    alphas = {seed: torch.cat(initial_alphas("random", SPACE, generator(seed))) for seed in (0, 1)}
    assert torch.equal(alphas[0], torch.cat(initial_alphas("random", SPACE, generator(0))))
    assert not torch.equal(alphas[0], alphas[1])


def test_the_hand_made_prior_has_the_original_programs_probabilities():
    encoder, decoder = ProxylessStrategy(SearchSpace.chain(2, 3), prior="hand-made").probabilities()[1:3]
    assert encoder == pytest.approx({"self_att_64": 0.12, "feed_forward": 0.88}, abs=0.001)
    rest = dict.fromkeys(("self_att_64", "guided_att_64", "feed_forward"), 0.096)
    assert decoder == pytest.approx({"rel_self_att_64": 0.711, **rest}, abs=0.001)


def test_the_hand_made_prior_already_is_a_network():
    strategy = ProxylessStrategy(SearchSpace.chain(4, 5), prior="hand-made")
    assert str(strategy.genotype()) == "SFSF|RGFRG"


def test_the_hand_made_prior_raises_where_its_pattern_is_no_candidate():
    space = SearchSpace.chain(1, 2, decoder_candidates=("self_att_64", "feed_forward"))
    with pytest.raises(InputError, match="no candidate"):
        initial_alphas("hand-made", space, generator())


def test_an_unknown_prior_raises():
    with pytest.raises(InputError, match="unknown prior 'wish'; known: none"):
        initial_alphas("wish", SPACE, generator())


# What a search measures


def test_entropy_is_that_of_a_uniform_choice():
    assert mean_entropy([{"a": 0.5, "b": 0.5}, dict.fromkeys("abcd", 0.25)]) == pytest.approx(math.log(2) * 1.5)


def test_a_decided_node_has_no_entropy():
    assert mean_entropy([{"a": 1.0, "b": 0.0}]) == 0


def test_total_variation_is_the_probability_that_moved():
    first, second = [{"a": 0.5, "b": 0.5}, {"a": 1.0, "b": 0.0}], [{"a": 0.8, "b": 0.2}, {"a": 0.0, "b": 1.0}]
    assert total_variation(first, second) == pytest.approx((0.3 + 1.0) / 2)


def test_changed_nodes_counts_nodes_with_another_favourite():
    first, second = [{"a": 0.6, "b": 0.4}, {"a": 0.6, "b": 0.4}], [{"a": 0.9, "b": 0.1}, {"a": 0.4, "b": 0.6}]
    assert changed_nodes(first, second) == 1


# Planted answers


@every_mode
@pytest.mark.parametrize("planted", DECODER_OPERATIONS)
def test_a_plainly_best_candidate_is_found(planted, gates):
    strategy = ProxylessStrategy(SearchSpace((), (tuple(DECODER_OPERATIONS),) * 2), gates=gates, seed=1)
    for step in range(60):
        path = strategy.architecture_path(step)
        strategy.update(sum(gate * (name != planted) for node in path for name, gate in node.items()))
    assert strategy.genotype() == Genotype((), (planted, planted))


@every_mode
def test_a_found_candidate_ends_likely(gates):
    strategy = ProxylessStrategy(SearchSpace((), (tuple(DECODER_OPERATIONS),)), gates=gates, seed=1)
    for step in range(120):
        path = strategy.architecture_path(step)
        strategy.update(sum(gate * (name != "feed_forward") for name, gate in path[0].items()))
    assert strategy.probabilities()[0]["feed_forward"] > 0.9


# Steps


def weights_of(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def all_equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@every_mode
@every_task
def test_an_architecture_step_leaves_weights_and_their_gradients_untouched(task, gates, tmp_path):
    trainer = search_trainer(tiny_corpus(task), search_arguments(tmp_path, gates=gates))
    for parameter in trainer.model.parameters():
        parameter.grad = torch.randn_like(parameter)
    gradients = {name: parameter.grad.clone() for name, parameter in trainer.model.named_parameters()}
    weights = weights_of(trainer)
    trainer.architecture_step()
    assert all_equal(weights_of(trainer), weights)
    assert all_equal({name: parameter.grad for name, parameter in trainer.model.named_parameters()}, gradients)


@every_mode
@every_task
def test_an_architecture_step_moves_every_nodes_alphas(task, gates, tmp_path):
    trainer = search_trainer(tiny_corpus(task), search_arguments(tmp_path, gates=gates))
    before = [alpha.detach().clone() for alpha in trainer.strategy.alphas]
    trainer.architecture_step()
    assert all(not torch.equal(old, new) for old, new in zip(before, trainer.strategy.alphas, strict=True))


@every_task
def test_a_weight_step_leaves_unsampled_operations_bit_for_bit(task, tmp_path):
    # Two steps, so that an optimiser with momentum would move what the first one sampled.
    corpus = tiny_corpus(task)
    trainer = search_trainer(corpus, search_arguments(tmp_path, max_steps=2, warm_up=1.0))
    before, paths = weights_of(trainer), [trainer.strategy.weight_path(step) for step in range(2)]
    sampled = {(node, name) for path in paths for node, gate in enumerate(path) for name in gate}
    trainer.train()
    after = weights_of(trainer)
    changed = set()
    for name in after:
        if name.startswith("mmnas.backbone.") and not torch.equal(before[name], after[name]):
            side, node, operation = name.split(".")[2:5]
            changed.add((int(node) + (side == "decoder") * len(SPACE.encoder), operation))
    assert changed == sampled


def test_the_second_weight_step_leaves_what_only_the_first_sampled(tmp_path):
    trainer = search_trainer(tiny_corpus("vqa"), search_arguments(tmp_path, max_steps=2, warm_up=1.0))
    first, second = (trainer.strategy.weight_path(step) for step in range(2))
    node = next(number for number, gate in enumerate(first) if names([gate]) != names([second[number]]))
    (only_first,) = first[node]
    nodes = [*trainer.model.mmnas.backbone.encoder, *trainer.model.mmnas.backbone.decoder]
    sublayer, seen = nodes[node][only_first], []

    class Watch(TrainerCallback):
        def on_step_end(self, *args, **kwargs):
            seen.append({name: value.clone() for name, value in sublayer.state_dict().items()})

    trainer.add_callback(Watch())
    trainer.train()
    assert all_equal(*seen)


def test_warm_up_takes_no_architecture_step(tmp_path):
    trainer = search_trainer(tiny_corpus("vqa"), search_arguments(tmp_path, warm_up=1.0, prior="random"))
    before = [alpha.detach().clone() for alpha in trainer.strategy.alphas]
    trainer.train()
    assert all(torch.equal(old, new) for old, new in zip(before, trainer.strategy.alphas, strict=True))


class CountSteps(TrainerCallback):
    """Notes at which steps the alphas have moved."""

    def __init__(self, strategy):
        self.strategy, self.moved_at = strategy, []
        self.last = torch.cat(strategy.alphas).detach()

    def on_step_end(self, args, state, control, **kwargs):
        now = torch.cat(self.strategy.alphas).detach()
        if not torch.equal(now, self.last):
            self.moved_at.append(state.global_step)
        self.last = now


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"weight_steps": 1}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"weight_steps": 3}, [3, 6]),
        ({"weight_steps": 2, "warm_up": 0.5}, [6, 8]),
        ({"gradient_accumulation_steps": 2, "weight_steps": 4}, [4, 8]),
    ],
)
def test_an_architecture_step_follows_every_few_weight_steps_after_warm_up(changes, expected, tmp_path):
    trainer = search_trainer(tiny_corpus("vqa"), search_arguments(tmp_path, **changes))
    counter = CountSteps(trainer.strategy)
    trainer.add_callback(counter)
    trainer.train()
    assert counter.moved_at == expected


def test_weight_and_architecture_steps_see_different_images(tmp_path):
    corpus = tiny_corpus("vqa")
    split = corpus.search_split(0)
    seen = [{row["image_id"] for row in rows} for rows in split]
    assert not seen[0] & seen[1]


# Stopping


def stopped_after(tmp_path, **changes):
    """Epochs (of 8 steps) that a search lasts whose architecture does not move."""
    args = search_arguments(tmp_path, max_steps=40, weight_steps=100, **changes)
    trainer = search_trainer(tiny_corpus("vqa"), args)
    trainer.train()
    return trainer.state.global_step / trainer.steps_per_epoch


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_search_stops_when_its_genotype_was_stable_for_so_many_epochs(epochs, tmp_path):
    assert stopped_after(tmp_path, stable_epochs=epochs) == 1 + epochs


def test_epochs_of_warm_up_do_not_count_as_stable(tmp_path):
    assert stopped_after(tmp_path, stable_epochs=1, warm_up=0.4) == 4


def test_a_search_that_is_not_to_stop_early_uses_all_its_steps(tmp_path):
    assert stopped_after(tmp_path, stable_epochs=0) == 5


# Interruption


def finish(trainer, **changes):
    trainer.train(**changes)
    return {
        "weights": weights_of(trainer),
        "alphas": dict(enumerate(alpha.detach() for alpha in trainer.strategy.alphas)),
        "log": trainer.log_file.read_text() if trainer.log_file.exists() else "",
    }


RESUMED = [
    *[pytest.param(task, {"gates": gates}, id=f"{task}-{gates}") for task in TASKS for gates in GATES],
    pytest.param("vqa", {"gradient_accumulation_steps": 2, "max_steps": 7, "save_steps": 3}, id="accumulation"),
    pytest.param("vqa", {"dataloader_num_workers": 1}, id="workers"),
    pytest.param("vgd", {"train_sampling_strategy": "group_by_length"}, id="grouped"),
]


@pytest.mark.parametrize(("task", "changes"), RESUMED)
def test_a_search_resumed_mid_epoch_ends_as_if_never_interrupted(task, changes, tmp_path):
    corpus = tiny_corpus(task)
    settings = {
        "max_steps": 14,
        "save_strategy": "steps",
        "save_steps": 5,
        "eval_strategy": "steps",
        "eval_steps": 3,
        "save_total_limit": None,
        **changes,
    }
    whole, part = tmp_path / "whole", tmp_path / "part"
    expected = finish(search_trainer(corpus, search_arguments(whole, **settings)))
    # What an interrupted run leaves: lines of steps after its last checkpoint among them.
    shutil.copytree(whole, part)
    checkpoint = part / f"checkpoint-{settings['save_steps']}"
    torch.manual_seed(999)
    resumed = search_trainer(corpus, search_arguments(part, **settings))
    result = finish(resumed, resume_from_checkpoint=str(checkpoint))
    assert result["log"] == expected["log"]
    assert all_equal(result["alphas"], expected["alphas"])
    assert all_equal(result["weights"], expected["weights"])


def test_a_resumed_search_counts_stable_epochs_on(tmp_path):
    corpus = tiny_corpus("vqa")
    settings = {"max_steps": 40, "weight_steps": 100, "stable_epochs": 2, "save_steps": 17}
    settings |= {"save_strategy": "steps", "save_total_limit": None}
    search_trainer(corpus, search_arguments(tmp_path, **settings)).train()
    resumed = search_trainer(corpus, search_arguments(tmp_path, **settings))
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-17"))
    assert resumed.state.global_step == 3 * resumed.steps_per_epoch


def test_two_searches_with_one_seed_are_equal(tmp_path):
    corpus = tiny_corpus("vqa")
    first, second = (finish(search_trainer(corpus, search_arguments(tmp_path / name))) for name in "ab")
    assert all_equal(first["weights"], second["weights"])
    assert all_equal(first["alphas"], second["alphas"])


def test_a_strategys_saved_state_restores_its_next_step(tmp_path):
    first, second = strategy_with(gates="two"), ProxylessStrategy(SPACE, gates="two")
    step(first, 0)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    step(first, 1)
    step(second, 1)
    assert all(torch.equal(one, other) for one, other in zip(first.alphas, second.alphas, strict=True))


def step(strategy, number):
    path = strategy.architecture_path(number)
    strategy.update(sum(some_loss(gate.values()) for gate in path))


def test_a_batch_stream_continues_where_its_state_was_taken(tmp_path):
    trainer = search_trainer(tiny_corpus("vqa"), search_arguments(tmp_path))
    stream = trainer.architecture_batches
    for _ in range(3):  # past the end of its first epoch of two batches
        stream.next()
    state = stream.state_dict()
    rest = [stream.next()["input_ids"] for _ in range(4)]
    again = BatchStream(trainer.make_architecture_loader)
    again.load_state_dict(state)
    assert all(torch.equal(again.next()["input_ids"], batch) for batch in rest)


def test_a_batch_stream_shuffles_each_epoch_anew(tmp_path):
    trainer = search_trainer(tiny_corpus("vqa"), search_arguments(tmp_path))
    stream = trainer.architecture_batches
    epochs = [torch.cat([stream.next()["region_features"].sum((1, 2)) for _ in range(2)]) for _ in range(2)]
    assert not torch.equal(*epochs)
    torch.testing.assert_close(*(epoch.sort().values for epoch in epochs))


def test_a_batch_stream_leaves_the_global_random_state_alone(tmp_path):
    trainer = search_trainer(tiny_corpus("vqa"), search_arguments(tmp_path))
    before = torch.get_rng_state()
    trainer.architecture_batches.next()
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_has_as_many_steps_as_trainer_takes(tmp_path):
    args = search_arguments(tmp_path, gradient_accumulation_steps=3, max_steps=-1, num_train_epochs=1)
    trainer = search_trainer(tiny_corpus("vqa"), args)
    trainer.train()
    assert trainer.steps_per_epoch == trainer.state.global_step


# The log


def test_later_lines_are_dropped_from_the_log(tmp_path):
    log = tmp_path / LOG_FILE
    log.write_text("".join(json.dumps({"step": number}) + "\n" for number in (2, 4, 6)))
    forget_later_lines(log, 4)
    assert read_log(log) == [{"step": 2}, {"step": 4}]


def test_a_choice_after_training_is_dropped_from_the_log_of_a_search_that_goes_on(tmp_path):
    log = tmp_path / LOG_FILE
    log.write_text(json.dumps({"step": 4}) + "\n" + json.dumps({"step": 4, CHOSEN: True}) + "\n")
    forget_later_lines(log, 4)
    assert read_log(log) == [{"step": 4}]


def test_a_last_line_that_was_cut_short_is_dropped_from_the_log(tmp_path):
    log = tmp_path / LOG_FILE
    log.write_text('{"step": 2}\n{"step": 4}\n{"st')
    assert read_log(log) == [{"step": 2}, {"step": 4}]
    forget_later_lines(log, 4)
    assert log.read_text() == '{"step": 2}\n{"step": 4}\n'


def test_a_log_that_is_not_there_has_no_entries(tmp_path):
    assert read_log(Path(tmp_path, LOG_FILE)) == []


@every_task
def test_a_search_leaves_its_files_and_says_how_far_it_moved(task, tmp_path):
    corpus = tiny_corpus(task)
    args = search_arguments(tmp_path, eval_strategy="steps", eval_steps=4)
    trainer = search_trainer(corpus, args)
    prior = trainer.strategy.probabilities()
    searched = search(
        trainer.model, trainer.strategy, corpus, args, corpus.search_split(args.seed), corpus.rows("validation")
    )
    assert {path.name for path in tmp_path.iterdir()} >= {
        "genotype.json",
        "genotype.png",
        "probabilities.png",
        "supernet",
        LOG_FILE,
    }
    assert Genotype.load(tmp_path / "genotype.json") == searched.genotype
    assert searched.moved == pytest.approx(total_variation(prior, trainer.strategy.probabilities()))
    assert searched.moved > 0
    assert [entry["step"] for entry in read_log(tmp_path / LOG_FILE)] == [4, 8]


def test_evaluation_scores_the_most_probable_network(tmp_path):
    corpus = tiny_corpus("vqa")
    trainer = search_trainer(corpus, search_arguments(tmp_path))
    sampled = trainer.strategy.weight_path(0)
    with torch.no_grad():  # make another network than the sampled one a little more probable
        for node, gate, alpha in zip(SPACE.nodes, sampled, trainer.strategy.alphas, strict=True):
            alpha[[name in gate for name in node].index(False)] = 1e-4
    assert trainer.strategy.weight_path(0) == sampled
    loss = trainer.evaluate()["eval_loss"]  # all rows are one batch
    derived = trainer.model.derive(trainer.strategy.genotype()).eval()
    batch = trainer.data_collator(corpus.rows("validation"))
    with torch.no_grad():
        expected = derived(**batch).loss.item()
    assert loss == pytest.approx(expected, rel=1e-6)
