"""Packed networks answer as the ones that they were packed from, and do nothing else."""

import copy

import pytest
import torch

from mmnas_hf import packed, packing
from mmnas_hf.errors import InputError
from mmnas_hf.modeling_mmnas import MMnasForVisualQuestionAnswering
from mmnas_hf.operations import MultiHeadAttention
from mmnas_hf.packing import Packed, PackedAttention, PackedLinear, PackedNorm
from mmnas_hf.pipeline_mmnas import PIPELINES
from mmnas_hf.products import HAS_ONEDNN, Linear
from mmnas_hf.speedups import without
from pipelines import make_pipeline, same, unlike_inputs
from tiny import random_batch, tiny_config

needs_onednn = pytest.mark.skipif(not HAS_ONEDNN, reason="this PyTorch has no oneDNN, with which weights are laid out")


@pytest.fixture(autouse=True)
def smallest(monkeypatch):
    monkeypatch.setattr(packing, "SMALLEST", 1)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MMnasForVisualQuestionAnswering(tiny_config(genotype="SF|RGF")).eval()


def layers(model):
    return [layer for layer in model.modules() if isinstance(layer, Packed)]


@torch.no_grad()
def answers(model):
    torch.manual_seed(1)
    return model(**random_batch(model.config)).logits


@needs_onednn
@pytest.mark.parametrize("attention_bias", [False, True])
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_packed_network_answers_alike(attention_bias, implementation):
    torch.manual_seed(0)
    model = MMnasForVisualQuestionAnswering(tiny_config(genotype="SF|RGF", attention_bias=attention_bias)).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    expected = answers(model)
    fast = packed(model)
    fast.set_attn_implementation(implementation)
    assert {type(layer) for layer in layers(fast)} == {PackedLinear, PackedNorm}
    assert sum(isinstance(module, PackedAttention) for module in fast.modules()) == len("SRG")
    assert sum(layer.then == "relu" for layer in layers(fast) if isinstance(layer, PackedLinear)) == len("FF")
    torch.testing.assert_close(answers(fast), expected, rtol=1e-4, atol=1e-5)


@needs_onednn
@pytest.mark.parametrize("rows", [1, 2, 14, 36, 37, 500, 3000])
@pytest.mark.parametrize(("inputs", "outputs"), [(512, 2048), (2048, 512), (300, 77)])
def test_a_layout_serves_any_number_of_rows(rows, inputs, outputs):
    torch.manual_seed(0)
    layer, x = Linear(inputs, outputs), torch.randn(rows, inputs)
    with torch.no_grad():
        torch.testing.assert_close(PackedLinear(layer)(x), layer(x), rtol=1e-4, atol=1e-5)


@needs_onednn
def test_the_network_that_was_packed_stays_what_it_was(model):
    fast, before = packed(model), answers(model)
    assert not layers(model)
    for parameter in model.parameters():
        assert parameter.requires_grad
        parameter.data.zero_()
    torch.testing.assert_close(answers(fast), before, rtol=1e-4, atol=1e-5)


@needs_onednn
def test_it_cannot_be_trained_or_saved(model, tmp_path):
    fast = packed(model)
    with pytest.raises(InputError, match="a packed network only answers, and cannot be trained"):
        fast.train()
    with pytest.raises(InputError, match="cannot be saved: take the one that it was packed from"):
        fast.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))
    assert not answers(fast).requires_grad
    batch = random_batch(model.config)
    with pytest.raises(RuntimeError, match="does not require grad"):
        fast.eval()(**batch).logits.sum().backward()


@needs_onednn
@pytest.mark.parametrize("place", [torch.float16, torch.bfloat16, torch.float64, "meta"])
def test_it_does_not_compute_elsewhere_than_it_was_packed_for(model, place):
    moved = packed(model).to(place)
    with pytest.raises((RuntimeError, NotImplementedError)):
        answers(moved)


def test_small_adapted_and_other_layers_stay_as_they_are(model, monkeypatch):
    class Adapted(type(model.head.classifier)):
        pass

    model.head.classifier.__class__ = Adapted
    assert type(packed(model).head.classifier) is Adapted
    with without("packing"):
        assert not layers(packed(model))
    assert not layers(packed(copy.deepcopy(model).to(torch.bfloat16)))
    monkeypatch.setattr(packing, "SMALLEST", 2**30)
    assert {type(layer) for layer in layers(packed(model))} == {PackedNorm}


@pytest.mark.parametrize("name", ["key", "value"])
def test_an_attention_with_an_adapted_layer_asks_it(model, name):
    class Adapted(Linear):
        def forward(self, x):
            return super().forward(x) + 1

    for attention in (module for module in list(model.modules()) if isinstance(module, MultiHeadAttention)):
        getattr(attention, name).__class__ = Adapted
    expected = answers(model)
    fast = packed(model)
    assert not any(isinstance(module, PackedAttention) for module in fast.modules())
    torch.testing.assert_close(answers(fast), expected, rtol=1e-4, atol=1e-5)


@needs_onednn
@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_says_the_same_with_a_packed_network(name):
    pipe = make_pipeline(name).pipe
    expected = [pipe(given) for given in unlike_inputs(pipe)]
    pipe.model = packed(pipe.model)
    assert layers(pipe.model)
    assert same([pipe(given) for given in unlike_inputs(pipe)], expected, 1e-4)
