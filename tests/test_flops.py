"""Floating-point operations: what the counter would miss on CPUs, and the prices that a search's cost is made of."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmnas_hf.flops import count_flops
from mmnas_hf.modeling_mmnas import MMnasForTask
from mmnas_hf.search.cost import Prices, SearchCost, has_gradient, measure_prices
from mmnas_hf.search.run import search
from mmnas_hf.search.strategies import STRATEGIES, build_strategy
from mmnas_hf.search.strategy import Strategy
from mmnas_hf.tasks import TASKS
from mmnas_hf.training import build_model
from tiny import SIZES, SPACE, MMnasConfig, every_operation, search_arguments, search_trainer, tiny_corpus

EXAMPLES = 8
CLOSE = 0.03  # of the operations really counted
FIRST = SPACE.genotype([node[0] for node in SPACE.nodes])


@pytest.fixture(scope="module", params=TASKS)
def priced(request) -> tuple[MMnasForTask, dict, Prices]:
    """A supernet with every operation, a batch, and the prices measured from them."""
    corpus = tiny_corpus(request.param)
    config = MMnasConfig(**corpus.settings(), **SIZES, search_space=every_operation())
    model = build_model(corpus, config, seed=0)
    rows = corpus.task.training_rows(corpus.rows("train"))
    batch = dict(corpus.collator(config)(rows.__getitems__(range(EXAMPLES))))
    return model, batch, measure_prices(model, batch)


def strategies() -> list[Strategy]:
    return [build_strategy(every_operation(), search_arguments("unused", strategy=name), 8) for name in STRATEGIES]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_an_lstm_is_counted_forward_and_backward(device):
    lstm, x = nn.LSTM(8, 16, batch_first=True, device=device), torch.zeros(4, 5, 8, device=device, requires_grad=True)
    products = 2 * 4 * 5 * (4 * 16) * (8 + 16)
    assert count_flops(lambda: lstm(x)) == products
    # The first step's state is no leaf that a gradient flows to, which only the written-out products leave out.
    assert count_flops(lambda: lstm(x)[0].sum().backward()) == pytest.approx(3 * products, rel=0.05)


def test_attention_is_counted_as_its_two_products():
    q = torch.zeros(2, 1, 5, 64, requires_grad=True)
    products = 2 * (2 * 2 * 5 * 5 * 64)
    assert count_flops(lambda: F.scaled_dot_product_attention(q, q, q)) == products
    assert count_flops(lambda: F.scaled_dot_product_attention(q, q, q).sum().backward()) == 3 * products


def test_a_weight_step_costs_what_its_parts_cost(priced):
    model, batch, prices = priced
    for strategy in strategies():
        path, cost = strategy.weight_path(0), SearchCost(lambda: prices)
        cost.add_weight_step(path, len(batch["input_ids"]))
        counted = count_flops(lambda path=path: model(**batch, path=path).loss.backward())
        assert cost.flops == pytest.approx(counted, rel=CLOSE)


def test_an_architecture_step_costs_what_its_parts_cost(priced):
    model, batch, prices = priced
    for strategy in strategies():
        if (path := strategy.architecture_path(0)) is None:
            continue
        cost = SearchCost(lambda: prices)
        cost.add_architecture_step(path, len(batch["input_ids"]))

        def step(strategy=strategy, path=path):
            with torch.set_grad_enabled(has_gradient(path)):
                loss = model(**batch, path=path).loss
            strategy.update(loss)

        assert cost.flops == pytest.approx(count_flops(step), rel=CLOSE)


def test_scoring_costs_a_forward_pass_of_one_network(priced):
    model, batch, prices = priced
    genotype = every_operation().genotype([node[-1] for node in every_operation().nodes])
    cost = SearchCost(lambda: prices)
    cost.add_scoring(genotype, len(batch["input_ids"]))
    with torch.no_grad():
        counted = count_flops(lambda: model(**batch, path=genotype.as_path()))
    assert cost.flops == pytest.approx(counted, rel=CLOSE)


def test_a_search_reports_the_examples_of_both_kinds_of_steps_and_of_scoring(tmp_path):
    corpus = tiny_corpus("vqa")
    args = search_arguments(tmp_path, max_steps=4, strategy="random", evaluations=3)
    trainer, split = search_trainer(corpus, args), corpus.search_split(args.seed)
    validation = corpus.rows("validation")
    searched = search(trainer.model, trainer.strategy, corpus, args, split, validation)
    assert searched.examples == 4 * EXAMPLES + 3 * len(validation)
    args = search_arguments(tmp_path, max_steps=4, weight_steps=2)
    trainer = search_trainer(corpus, args)
    trainer.train()
    assert trainer.cost.examples == (4 + 2) * EXAMPLES
    assert trainer.cost.flops > 0


def test_a_cost_goes_on_from_its_saved_state(priced):
    _, _, prices = priced
    path = every_operation().genotype([node[0] for node in every_operation().nodes]).as_path()
    cost, resumed = SearchCost(lambda: prices), SearchCost(lambda: prices)
    cost.add_weight_step(path, EXAMPLES)
    resumed.load_state_dict(cost.state_dict())
    for each in (cost, resumed):
        each.add_weight_step(path, EXAMPLES)
    assert (resumed.examples, resumed.flops) == (cost.examples, cost.flops)
    assert cost.examples == 2 * EXAMPLES


def test_processes_share_the_examples_of_steps_but_not_of_scoring():
    cost = SearchCost(dict, processes=2)
    cost.add_weight_step(FIRST.as_path(), EXAMPLES)
    cost.add_scoring(FIRST, EXAMPLES)
    assert cost.examples == 3 * EXAMPLES
