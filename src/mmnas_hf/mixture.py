"""What a node makes of its candidates' outputs."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .speedups import serves


def mix(outputs: Sequence[Tensor], weights: Sequence[float | Tensor]) -> Tensor:
    """The sum of outputs by weight."""
    if serves("gates", *outputs):
        return Mixture.apply(len(weights), *(torch.as_tensor(weight) for weight in weights), *outputs)
    terms = [weight * output for weight, output in zip(weights, outputs, strict=True)]
    return sum(terms[1:], start=terms[0])


class Mixture(torch.autograd.Function):
    """The sum of outputs by weight, of which a closed gate's, whose weight is zero, only serves the gate's gradient."""

    @staticmethod
    def forward(ctx: Any, count: int, *weights_and_outputs: Tensor) -> Tensor:
        weights, outputs = weights_and_outputs[:count], weights_and_outputs[count:]
        ctx.save_for_backward(*weights_and_outputs)
        ctx.is_open = [bool(weight != 0) for weight in weights]
        mixed = None
        for weight, output, is_open in zip(weights, outputs, ctx.is_open, strict=True):
            if is_open:
                mixed = weight * output if mixed is None else mixed.add_(weight * output)
        return torch.zeros_like(outputs[0]) if mixed is None else mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        count = len(ctx.is_open)
        weights, outputs = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        wanted = ctx.needs_input_grad[1:]
        dweights = [(gradient * output).sum() if want else None for output, want in zip(outputs, wanted, strict=False)]
        doutputs = [weight * gradient if want else None for weight, want in zip(weights, wanted[count:], strict=True)]
        return None, *dweights, *doutputs
