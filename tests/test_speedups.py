"""Faster ways compute what the plain ones do, take part where they can, and can be switched off."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmnas_hf import dropout, mixture, operations, products, region_pairs, speedups
from mmnas_hf.attention import Attention, attend
from mmnas_hf.dropout import Dropout
from mmnas_hf.errors import InputError
from mmnas_hf.modeling_mmnas import Node
from mmnas_hf.operations import OPERATIONS
from mmnas_hf.products import Linear, OneDNN
from mmnas_hf.speedups import SPEEDUPS, frozen, without
from mmnas_hf.tasks import TASKS
from scripts import call, refusal
from tiny import every_operation, random_batch, tiny_config

CLOSE = {"rtol": 1e-4, "atol": 1e-6}
#: What computes otherwise in a weight step without dropout, and what it computes with.
FUNCTIONS = {
    "attention": Attention,
    "feed_forward": dropout.ActivatedInPlace,
    "gates": mixture.Mixture,
    "products": products.Product,
    "relations": region_pairs.RelationShifts,
}


pytestmark = pytest.mark.usefixtures("nothing_is_too_small")


def supernet(task="vqa"):
    torch.manual_seed(0)
    model = TASKS[task].model_class(tiny_config(search_space=every_operation(), dropout=0.0)).train()
    for module in model.modules():
        if isinstance(module, operations.RelationSelfAttention):
            nn.init.constant_(module.relation.bias, 3.0)  # the logarithm magnifies rounding near zero
    return model


def labels(model):
    return torch.rand(3, model.config.num_labels)


def mixed_path(model):
    """Of each node, one candidate with an open gate and one with a closed one."""
    return [
        {first: torch.tensor(1.0, requires_grad=True), second: torch.tensor(0.0, requires_grad=True)}
        for first, second, *_ in (names * 2 for names in model.config.space.nodes)
    ]


def everything(model, path, *off):
    """Loss, and gradients of all weights and gates by name."""
    model.zero_grad()
    torch.manual_seed(1)
    batch = random_batch(model.config)
    with without(*off):
        loss = model(**batch, labels=labels(model), path=path).loss
        loss.backward()
    found = {"loss": loss.detach()}
    found |= {
        name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    for number, gate in enumerate(path):
        for name, weight in gate.items():
            if isinstance(weight, torch.Tensor):
                found[f"gate {number}/{name}"], weight.grad = weight.grad, None
    return found


def every_single_path(model):
    """Paths that run each candidate of each node."""
    most = max(map(len, model.config.space.nodes))
    return [[{names[number % len(names)]: 1.0} for names in model.config.space.nodes] for number in range(most)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_changes_no_loss_and_no_gradient(name, monkeypatch):
    model, used = supernet(), []
    forward = FUNCTIONS[name].forward
    monkeypatch.setattr(FUNCTIONS[name], "forward", staticmethod(lambda *given: used.append(name) or forward(*given)))
    paths = [*every_single_path(model), mixed_path(model)]
    fast = [everything(model, path) for path in paths]
    assert used
    used.clear()
    plain = [everything(model, path, name) for path in paths]
    assert not used
    for found, expected in zip(fast, plain, strict=True):
        assert found.keys() == expected.keys()
        for part, value in expected.items():
            torch.testing.assert_close(found[part], value, **CLOSE, msg=lambda message, part=part: f"{part}: {message}")


def test_frozen_weights_change_no_gradient_of_gates():
    model = supernet()
    with frozen(model):
        fast = everything(model, mixed_path(model))
    plain = everything(model, mixed_path(model))
    gates = {name for name in plain if name.startswith("gate")}
    assert fast.keys() == {"loss"} | gates
    for name in fast:
        torch.testing.assert_close(fast[name], plain[name], **CLOSE)


def test_weights_are_not_frozen_without_that_speedup():
    model = supernet()
    with without("frozen"), frozen(model):
        assert all(parameter.requires_grad for parameter in model.parameters())


def test_all_together_change_no_logits():
    model = supernet().eval()
    batch = random_batch(model.config)
    for path in every_single_path(model):
        with torch.no_grad():
            fast = model(**batch, path=path).logits
            with without(*SPEEDUPS):
                torch.testing.assert_close(fast, model(**batch, path=path).logits, **CLOSE)


def test_a_name_that_is_none_is_refused():
    with pytest.raises(InputError, match=r"unknown speed-up 'speed'; known: attention, "), without("speed"):
        pass


def test_off_inside_is_on_again_outside():
    with without("gates"):
        with without("gates", "dropout"):
            assert not speedups.is_on("dropout")
        assert speedups.is_on("dropout")
        assert not speedups.is_on("gates")
    assert speedups.is_on("gates")


def test_scripts_do_without_what_the_environment_says(monkeypatch):
    monkeypatch.setenv("MMNAS_WITHOUT", "gates,speed")
    ended = call("evaluate.py")
    assert "unknown speed-up 'speed'" in refusal(ended.code, ended.err, "evaluate.py")


# Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
def test_dropout_keeps_its_share_and_its_mean(p):
    torch.manual_seed(0)
    x = torch.ones(600, 700, requires_grad=True)
    dropped = Dropout(p)(x)
    assert (dropped == 0).float().mean().item() == pytest.approx(p, abs=0.004)
    assert dropped.mean().item() == pytest.approx(1.0 if p < 1 else 0.0, abs=0.01)
    dropped.sum().backward()
    assert x.grad.equal(dropped.detach())  # of ones, what is multiplied by is what comes out


def test_dropout_is_owned_by_pytorchs_generator():
    x = torch.ones(50, 50)
    torch.manual_seed(3)
    first, second = Dropout(0.3)(x), Dropout(0.3)(x)
    torch.manual_seed(3)
    assert Dropout(0.3)(x).equal(first)
    assert not first.equal(second)


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(1_000_000)) != 0).float() - 0.5
    for distance in (1, 2, 3, 4, 5, 64):
        assert abs((kept[distance:] * kept[:-distance]).mean().item()) < 0.001


def test_draws_begin_independently():
    torch.manual_seed(0)
    begun = torch.stack([dropout.draw(torch.empty(16)).float() for _ in range(20_000)])
    deviation = 2**16 / 12**0.5
    assert begun.mean(0).abs().max().item() < 4 * deviation / 20_000**0.5
    assert begun.std(0).div(deviation).sub(1).abs().max().item() < 0.02
    assert torch.corrcoef(begun.T).fill_diagonal_(0).abs().max().item() < 4 / 20_000**0.5


def test_dropout_of_what_does_not_train_is_nothing():
    x = torch.ones(5, 5)
    assert Dropout(0.5).eval()(x).equal(x)
    assert Dropout(0.0)(x).equal(x)


@pytest.mark.parametrize("fast", [True, False])
def test_a_feed_forward_operation_drops_inner_states_and_their_gradients(fast):
    operation = OPERATIONS["feed_forward"](tiny_config(dropout=0.5)).train()
    with torch.no_grad():
        for parameter in operation.parameters():
            parameter.fill_(0.01)
    x, inner = torch.ones(2, 50, 64, requires_grad=True), []
    operation.activation.register_forward_hook(lambda module, inputs, output: inner.append(output))
    with without(*[] if fast else SPEEDUPS):
        operation(x, None).sum().backward()
    (states,) = inner
    assert (states == 0).float().mean().item() == pytest.approx(0.5, abs=0.03)
    kept = (states != 0).sum(-1).view(2, 50).float()
    # Each inner state that stays passes on 0.01 * 64 outputs * 2 for dropout * 0.01, to each input.
    torch.testing.assert_close(x.grad, (kept * 0.01 * 64 * 2 * 0.01)[..., None].expand_as(x))


def attention(p, bias, fast=True):
    """States and what is attended to, with as many keys as the bias has."""
    torch.manual_seed(0)
    counts = (4, bias.shape[-1], bias.shape[-1])
    states = [torch.randn(2, count, HEADS * 64).requires_grad_() for count in counts]
    if fast:
        return states, attend(*states, bias, HEADS, 0.125, p)
    q, k, v = (x.unflatten(2, (HEADS, 64)).transpose(1, 2) for x in states)
    return states, F.scaled_dot_product_attention(q, k, v, bias, scale=0.125).transpose(1, 2).flatten(2)


HEADS = 3
KEYS = [1, 6, 16, 20]  # fewer than a vector has, as many, and more


@pytest.fixture(params=["head by head", "all heads", "written out"])
def way(request, monkeypatch):
    monkeypatch.setattr("mmnas_hf.attention.WEIGHTS_IN_CACHE", 0 if request.param == "head by head" else 10**6)
    monkeypatch.setattr("mmnas_hf.attention.MANY_WEIGHTS", 10**6 if request.param == "written out" else 0)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize("shape", [(2, 1, 1), (2, HEADS, 4)])
def test_attention_is_pytorchs(shape, keys):
    bias = torch.randn(*shape, keys)
    bias[0, ..., keys // 2 + 1 :] = torch.finfo(torch.float32).min / 2  # padding
    bias.requires_grad_()
    (inputs, fast), (others, plain) = attention(0.0, bias), attention(0.0, bias, fast=False)
    torch.testing.assert_close(fast, plain)
    weight = torch.randn_like(plain)
    found = torch.autograd.grad(fast, (*inputs, bias), weight)
    for one, other in zip(found, torch.autograd.grad(plain, (*others, bias), weight), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("keys", KEYS)
def test_attention_with_dropout_has_the_gradient_of_what_it_computed(keys):
    """Numerically: the same seed drops the same weights."""
    bias = torch.zeros(2, 1, 1, keys)
    inputs, attended = attention(0.4, bias)
    weight = torch.randn_like(attended)
    gradients = torch.autograd.grad((attended * weight).sum(), inputs)
    step = 1e-2
    for number, gradient in enumerate(gradients):
        direction = torch.randn_like(gradient)
        ends = []
        for sign in (1, -1):
            moved = [x.detach() + (sign * step * direction if place == number else 0) for place, x in enumerate(inputs)]
            attention(0.0, bias)  # draws as many numbers as before
            ends.append((attend(*moved, bias, HEADS, 0.125, 0.4) * weight).sum())
        expected = (gradient * direction).sum()
        assert ((ends[0] - ends[1]) / (2 * step)).item() == pytest.approx(expected.item(), rel=0.02, abs=0.02)


@pytest.mark.parametrize("block", [3, 8, 100])
def test_relations_do_not_depend_on_their_blocks(block, monkeypatch):
    torch.manual_seed(0)
    pairs, v, c = torch.randn(5, 16, 4), torch.randn(8, 4, requires_grad=True), torch.randn(8, requires_grad=True)
    w, b = torch.randn(2, 8, requires_grad=True), torch.full((2,), 0.5, requires_grad=True)
    weight = torch.randn(5, 2, 16)
    results = []
    for size in (16, block):
        monkeypatch.setattr(region_pairs, "PAIRS_OF_A_BLOCK", size)
        (shifts,) = region_pairs.RelationShifts.apply(pairs, v, c, w, b)
        results.append((shifts, *torch.autograd.grad((shifts * weight).sum(), (v, c, w, b))))
    assert results[0][0].shape == (5, 2, 16)
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


needs_onednn = pytest.mark.skipif(not products.keeps_precision(), reason="oneDNN is not here, or rounds to bfloat16")


@needs_onednn
@pytest.mark.parametrize("size", [16, 64, 256, 1024])
def test_products_with_onednn_are_of_single_precision(size):
    torch.manual_seed(0)
    x, y = torch.randn(size, 300), torch.randn(300, size)
    for product in (torch.matmul, lambda x, y: torch.bmm(x[None], y[None])[0], lambda x, y: F.linear(x, y.t())):
        found = products.with_onednn(product)(x, y)
        torch.testing.assert_close(found.double(), x.double() @ y.double(), rtol=1e-4, atol=1e-4)


@needs_onednn
def test_onednn_is_asked_only_while_it_is_entered():
    setting = torch.backends.mkldnn.matmul
    before, seen = setting.fp32_precision, []
    with OneDNN(), OneDNN():
        seen.append(setting.fp32_precision)
    with without("products"), OneDNN():
        seen.append(setting.fp32_precision)
    with pytest.raises(RuntimeError), OneDNN():
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert seen == ["bf16", before]
    assert setting.fp32_precision == before


@needs_onednn
def test_the_last_thread_that_leaves_sets_back_what_was():
    setting, first, second = torch.backends.mkldnn.matmul, OneDNN(), OneDNN()
    before = setting.fp32_precision
    first.__enter__()
    second.__enter__()
    first.__exit__()
    assert setting.fp32_precision == "bf16"
    second.__exit__()
    assert setting.fp32_precision == before


@needs_onednn
def test_a_library_that_rounds_is_not_asked(monkeypatch):
    monkeypatch.setattr(products, "error_of_product", lambda rows: 1e-2)
    products.keeps_precision.cache_clear()
    before = torch.backends.mkldnn.matmul.fp32_precision
    try:
        assert not products.keeps_precision()
        with OneDNN():
            assert torch.backends.mkldnn.matmul.fp32_precision == before
    finally:
        products.keeps_precision.cache_clear()


# Where they do not serve


@pytest.mark.skipif(not products.HAS_ONEDNN, reason="this PyTorch has no oneDNN, with which nothing is multiplied")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_types_are_computed_as_written_out(dtype, monkeypatch):
    monkeypatch.setattr(products, "multiply", None)
    assert Linear(4, 4).to(dtype)(torch.ones(2, 4, dtype=dtype)).dtype == dtype
    with pytest.raises(TypeError):
        Linear(4, 4)(torch.ones(2, 4))


@pytest.mark.parametrize("part", ["projection", "embedding"])
def test_adapted_layers_of_relations_are_called(part):
    """Adapters replace layers; a layer that is another class is never passed by."""
    model, called = supernet(), []
    node = next(node for node in model.mmnas.backbone.decoder if "rel_self_att_64" in node)
    projection, embedding = node["rel_self_att_64"].operation.relation, model.mmnas.relations["plain"].linear
    adapted = {"projection": projection, "embedding": embedding}[part]

    class Adapted(type(adapted)):
        def forward(self, x):
            called.append(self)
            return super().forward(x)

    adapted.__class__ = Adapted
    path = [{"rel_self_att_64" if "rel_self_att_64" in names else names[0]: 1.0} for names in model.config.space.nodes]
    model(**random_batch(model.config), path=path)
    assert called == [adapted]


def test_frozen_weights_learn_again_afterwards():
    model = supernet()
    fixed = next(model.parameters()).requires_grad_(False)
    with frozen(model):
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert [parameter for parameter in model.parameters() if not parameter.requires_grad] == [fixed]


def test_an_architecture_step_keeps_nothing_for_weights_and_inactive_candidates():
    """What autograd saves while weights are frozen: no input of a product, and nothing of a closed gate's operation."""
    names = ("feed_forward", "self_att_64")
    node = Node(names, tiny_config(dropout=0.0)).train()
    context = operations.Context(torch.zeros(1, 1, 1, 5))
    x = torch.randn(1, 5, 64)
    gates = dict(
        zip(names, (torch.tensor(1.0, requires_grad=True), torch.tensor(0.0, requires_grad=True)), strict=True)
    )
    saved = []
    with frozen(node), torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        mixed = node(x, context, gates)
    # The two gates and the two outputs that they weight; x depends on no gate, and needs no gradient.
    assert sorted(tensor.numel() for tensor in saved) == [1, 1, 320, 320]
    mixed.sum().backward()
    assert all(gate.grad is not None for gate in gates.values())
    assert all(parameter.grad is None for parameter in node.parameters())
