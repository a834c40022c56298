"""Dropout whose random numbers are cheap to draw, and whose passes stay in cache."""

from collections.abc import Iterable
from threading import local
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .speedups import serves

ELEMENTS_AT_A_TIME = 2**18  # that dropout works on while they are in cache
STEPS_16_BITS = 2**16
LARGE_STATES = 2**18  # elements, which are too many for the fastest caches: a pass over them less is worth it
WARM_UP = 12  # numbers, until each depends on all of a seed of SFC64: as many as its author leaves out


def drop(x: Tensor, p: float, training: bool) -> Tensor:
    """Dropout with a mask that is cheap to draw; 1 / 65,536 is the smallest part of its probability."""
    if not training or not 0 < p < 1 or not serves("dropout", x):
        return F.dropout(x, p, training)
    return Dropped.apply(x.contiguous(), p)


class Dropout(nn.Dropout):
    """PyTorch's, by `drop`."""

    def forward(self, x: Tensor) -> Tensor:
        return drop(x, self.p, self.training)


class Dropped(torch.autograd.Function):
    """Dropout that keeps two bytes an element for its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        draws, ctx.p = draw(x), p
        ctx.save_for_backward(draws)
        return dropped(x, draws, p)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (draws,) = ctx.saved_tensors
        return dropped(gradient.contiguous(), draws, ctx.p), None


def draw(x: Tensor) -> Tensor:
    """A random number of 16 bits for each element, of a generator that begins where PyTorch's tells it to."""
    seed = torch.randint(-(2**63), 2**63 - 1, (3,), device="cpu").numpy().view(np.uint64)
    generator = generators.sfc64  # set anew, for to make one takes as long as many numbers
    generator.state = {**generator.state, "state": {"state": np.append(seed, np.uint64(1))}}
    words = generator.random_raw(WARM_UP + -(-x.numel() // 4))[WARM_UP:]
    return torch.from_numpy(words.view(np.int16)[: x.numel()]).view(x.shape)


class Generators(local):
    """One for each thread, so that none draws between another's seed and its numbers."""

    def __init__(self) -> None:
        self.sfc64 = np.random.SFC64()


generators = Generators()


def dropped(x: Tensor, draws: Tensor, p: float, out: Tensor | None = None) -> Tensor:
    """What stays of x, scaled, and zero elsewhere; `out` may be x."""
    out = torch.empty_like(x) if out is None else out
    threshold, scale = dropout_threshold(p)
    for elements, drawn, stay in parts_in_cache(x, draws, out):
        # As real numbers, for which alone there is a way to compare and to choose in one pass.
        torch.ops.aten.threshold_backward.grad_input(elements, drawn.to(x.dtype), threshold, grad_input=stay)
        stay.mul_(scale)
    return out


def parts_in_cache(*tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Tensors of one size, so many of their elements at a time; to cut a small one takes longer than to go through."""
    if tensors[0].numel() <= ELEMENTS_AT_A_TIME:
        return [tensors]
    return zip(*(tensor.view(-1).split(ELEMENTS_AT_A_TIME) for tensor in tensors), strict=True)


def dropout_threshold(p: float) -> tuple[int, float]:
    """The largest of the drawn numbers that are dropped, and the factor of what stays."""
    count = min(round(p * STEPS_16_BITS), STEPS_16_BITS - 1)
    return count - STEPS_16_BITS // 2 - 1, STEPS_16_BITS / (STEPS_16_BITS - count)


class Activation(Dropout):
    """ReLU, then dropout, of what nothing else reads."""

    def forward(self, x: Tensor) -> Tensor:
        p = self.p if self.training else 0.0
        if x.numel() >= LARGE_STATES and p < 1 and serves("feed_forward", x):
            return ActivatedInPlace.apply(x, p)
        return super().forward(F.relu(x))


class ActivatedInPlace(torch.autograd.Function):
    """ReLU and dropout in the place of x; where gradients pass is told by where the output is positive."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        x.relu_()
        ctx.scale = dropout_threshold(p)[1]
        if p:
            dropped(x, draw(x), p, out=x)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (output,) = ctx.saved_tensors
        passed = torch.ops.aten.threshold_backward(gradient, output, 0.0)
        return passed if ctx.scale == 1 else passed.mul_(ctx.scale), None
