"""Attention with dropout and a bias, whose weights are gone through while they are in cache."""

import math
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .dropout import draw, drop, dropped
from .products import with_onednn

WEIGHTS_IN_CACHE = 2**18  # of attention; where there are more, they are gone through head by head
KEYS_OF_A_VECTOR = 16  # in single precision, and the widest vectors there are
MANY_WEIGHTS = 2**16  # of attention, which are worth a gradient that is called from Python


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, heads: int, scaling: float, p: float) -> Tensor:
    """Attention of states [batch, positions, hidden] with dropout of its weights.

    The bias fits the weights [batch, heads, queries, keys]. Too few keys for a vector of the processor's are filled up,
    for PyTorch takes them one at a time.
    """
    missing = max(0, KEYS_OF_A_VECTOR - k.shape[1])
    if missing:
        bias = F.pad(bias, (0, missing), value=-math.inf)
    if q.shape[:2].numel() * heads * k.shape[1] >= MANY_WEIGHTS:
        return Attention.apply(q, k, v, bias, heads, scaling, p)
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    if missing:
        k, v = (F.pad(x, (0, 0, 0, missing)) for x in (k, v))
    weights = torch.add(bias, q @ k.mT, alpha=scaling).softmax(-1)
    return (drop(weights, p, training=True) @ v).transpose(1, 2).flatten(2)


class Attention(torch.autograd.Function):
    """Attention some heads at a time so that weights stay in cache, which keeps them and two bytes each for dropout.

    PyTorch's fused kernel for CPUs has no dropout and no gradient of a bias; what it does instead reads and writes
    weights nine times more. Keys and values are filled up to as many as the bias is for.
    """

    @staticmethod
    @with_onednn
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, heads: int, scaling: float, p: float
    ) -> Tensor:
        ctx.keys, ctx.bias_shape, ctx.scaling, ctx.p = k.shape[1], bias.shape, scaling, p
        q, k, v = (x.unflatten(2, (heads, -1)) for x in (q, k, v))
        biases, missing = bias.expand(-1, heads, -1, -1), bias.shape[-1] - ctx.keys
        attended, kept = q.new_empty(q.shape), []
        ctx.parts = heads_at_a_time(q, k)
        for part in ctx.parts:
            queries, keys, values = rows_of(q, part), rows_of(k, part, missing), rows_of(v, part, missing)
            scores = torch.baddbmm(biases[:, part].flatten(0, 1), queries, keys.mT, alpha=scaling)
            used = weights = scores.softmax(-1)
            draws = draw(weights) if p else None
            if draws is not None:
                used = dropped(weights, draws, p)
            put_rows(attended, part, used @ values)
            kept.extend((queries, keys, values, weights, draws))
        ctx.save_for_backward(*kept)
        return attended.flatten(2)

    @staticmethod
    @once_differentiable
    @with_onednn
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        heads = ctx.parts[-1].stop
        gradient = gradient.unflatten(2, (heads, -1))
        dq = gradient.new_empty(gradient.shape)
        dk, dv = (gradient.new_empty(len(gradient), ctx.keys, *gradient.shape[2:]) for _ in range(2))
        shape = (len(gradient), heads, gradient.shape[1], ctx.bias_shape[-1])
        dbiases = gradient.new_empty(shape) if ctx.needs_input_grad[3] else None
        kept = iter(ctx.saved_tensors)
        for part in ctx.parts:
            queries, keys, values, weights, draws = islice(kept, 5)
            dattended = rows_of(gradient, part)
            dweights, used = dattended @ values.mT, weights
            if draws is not None:
                dropped(dweights, draws, ctx.p, out=dweights)
                used = dropped(weights, draws, ctx.p)
            put_rows(dv, part, used.mT @ dattended)
            dscores = torch.ops.aten._softmax_backward_data(dweights, weights, -1, weights.dtype)
            if dbiases is not None:
                dbiases[:, part] = dscores.unflatten(0, (len(gradient), -1))
            dscores = dscores.mul_(ctx.scaling)
            put_rows(dq, part, dscores @ keys)
            put_rows(dk, part, dscores.mT @ queries)
        dbias = None if dbiases is None else dbiases.sum_to_size(ctx.bias_shape)
        return dq.flatten(2), dk.flatten(2), dv.flatten(2), dbias, None, None, None


def heads_at_a_time(q: Tensor, k: Tensor) -> list[slice]:
    """All heads of states [batch, positions, heads, size] whose weights are few, else one by one."""
    heads = q.shape[2]
    size = heads if q.shape[:3].numel() * k.shape[1] < WEIGHTS_IN_CACHE else 1
    return [slice(start, start + size) for start in range(0, heads, size)]


def rows_of(x: Tensor, part: slice, missing: int = 0) -> Tensor:
    """Some heads of x [batch, positions, heads, size] as [batch * some, positions, size], and so many rows of zeros."""
    x = x[:, :, part].transpose(1, 2)
    return (F.pad(x, (0, 0, 0, missing)) if missing else x).flatten(0, 1)


def put_rows(x: Tensor, part: slice, rows: Tensor) -> None:
    """Write into x what `rows_of` takes from it."""
    x[:, :, part] = rows.unflatten(0, (len(x), -1))[:, :, : x.shape[1]].transpose(1, 2)
