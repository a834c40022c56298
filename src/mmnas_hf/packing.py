"""Networks that only answer, with weights laid out as a processor multiplies them fastest."""

from copy import deepcopy
from typing import NoReturn, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .errors import InputError
from .speedups import HAS_ONEDNN, Linear, multiply, serves

Network = TypeVar("Network", bound=PreTrainedModel)

SMALLEST = 2**16  # elements of a weight that is worth it: fewer stay in cache, however they lie
ROWS = 36  # that a layout is chosen for, which then is as good for any other number of them


def packed(model: Network) -> Network:
    """A copy that answers faster on CPUs, most of all few questions at a time.

    It computes what `model` does and shares nothing with it, so that weights that change later, as when an adapter is
    merged, ask for a new copy. It cannot be trained or saved. Layers that are adapted, small, on another device or not
    in single precision stay as they are.
    """
    network = deepcopy(model).eval().requires_grad_(False)
    for parent in list(network.modules()):
        for name, layer in parent.named_children():
            if gains(layer):
                setattr(parent, name, PackedLinear(layer).eval())
    return network


def gains(layer: nn.Module) -> bool:
    is_large = type(layer) is Linear and layer.weight.numel() >= SMALLEST
    return is_large and HAS_ONEDNN and serves("packing", layer.weight)


class PackedLinear(nn.Module):
    """A linear layer that has its weight in a layout of the processor's, and nowhere else."""

    def __init__(self, layer: Linear):
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        return multiply(x.contiguous(), self.weight, self.bias)

    def train(self, mode: bool = True) -> "PackedLinear":
        return self.refuse("trained") if mode else super().train(mode)

    def _save_to_state_dict(self, *_: object) -> None:
        self.refuse("saved")

    def refuse(self, what: str) -> NoReturn:
        raise InputError(f"a packed network only answers, and cannot be {what}: take the one that it was packed from")
