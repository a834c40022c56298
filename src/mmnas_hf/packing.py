"""Networks that only answer, with weights laid out as a processor multiplies them fastest."""

from copy import deepcopy
from typing import NoReturn, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .errors import InputError
from .operations import FeedForward, LayerNorm, MultiHeadAttention
from .products import HAS_ONEDNN, Linear, multiply
from .speedups import serves

Network = TypeVar("Network", bound=PreTrainedModel)

SMALLEST = 2**16  # elements of a weight that is worth it: fewer stay in cache, however they lie
ROWS = 36  # that a layout is chosen for, which then is as good for any other number of them


def packed(model: Network) -> Network:
    """A copy that answers faster on CPUs, most of all few questions at a time.

    It computes what `model` does and shares nothing with it, so that weights that change later, as when an adapter is
    merged, ask for a new copy. It cannot be trained or saved. Layers that are adapted, small, on another device or not
    in single precision stay as they are.
    """
    return pack(deepcopy(model).eval().requires_grad_(False))


def pack(module: nn.Module) -> nn.Module:
    """A module in its packed form if it has one, with what it consists of packed as well."""
    if type(module) is Linear and gains(module):
        module = PackedLinear(module)
    elif type(module) is LayerNorm and serves("packing", module.weight):
        module = PackedNorm(module)
    elif type(module) is MultiHeadAttention and gains(module.key) and gains(module.value):
        module = PackedAttention(module)
    elif type(module) is FeedForward and gains(module.expand):
        module.expand, module.activation = PackedLinear(module.expand, "relu"), nn.Identity()
    for name, part in module.named_children():
        setattr(module, name, pack(part))
    return module.eval()


def gains(layer: nn.Module) -> bool:
    is_large = type(layer) is Linear and layer.weight.numel() >= SMALLEST
    return is_large and HAS_ONEDNN and serves("packing", layer.weight)


class Packed(nn.Module):
    """A module that holds something else than the parameters of the one that it was made of."""

    def train(self, mode: bool = True) -> "Packed":
        return self.refuse("trained") if mode else super().train(mode)

    def _save_to_state_dict(self, *_: object) -> None:
        self.refuse("saved")

    def refuse(self, what: str) -> NoReturn:
        raise InputError(f"a packed network only answers, and cannot be {what}: take the one that it was packed from")


class PackedLinear(Packed):
    """A linear layer that has its weight in a layout of the processor's; what comes `then` is "none" or "relu"."""

    def __init__(self, layer: Linear, then: str = "none"):
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS)
        self.bias, self.then = layer.bias, then

    def forward(self, x: Tensor) -> Tensor:
        return multiply(x.contiguous(), self.weight, self.bias, self.then)


class PackedNorm(Packed, nn.LayerNorm):
    """A layer norm whose weight is corrected once."""

    def __init__(self, norm: LayerNorm):
        super().__init__(norm.normalized_shape, norm.eps)
        self.weight, self.bias = nn.Parameter(norm.weight * norm.correction, requires_grad=False), norm.bias


class PackedAttention(MultiHeadAttention):
    """Attention with keys and values in one product."""

    def __init__(self, attention: MultiHeadAttention):
        nn.Module.__init__(self)
        self.config, self.query, self.merge = attention.config, attention.query, attention.merge
        self.key_and_value = side_by_side(attention.key, attention.value)

    def keys_and_values(self, memory: Tensor) -> tuple[Tensor, ...]:
        return self.key_and_value(memory).chunk(2, -1)


def side_by_side(*layers: Linear) -> Linear:
    """One layer that has the outputs of several."""
    joined = Linear(layers[0].in_features, sum(layer.out_features for layer in layers), device="meta")
    joined.weight = nn.Parameter(torch.cat([layer.weight for layer in layers]), requires_grad=False)
    biases = [layer.bias for layer in layers if layer.bias is not None]
    joined.bias = nn.Parameter(torch.cat(biases), requires_grad=False) if biases else None
    return joined
