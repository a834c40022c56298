"""What a path's operations make of region pairs, all at once and without keeping anything of a pair."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .products import with_onednn

MINIMAL_RELATION = 1e-6  # before the logarithm of a relation's weight
PAIRS_AT_A_TIME = 20_000  # whose hidden layers stay in a processor's cache
PAIRS_OF_A_BLOCK = 2048


class RelationShifts(torch.autograd.Function):
    """log(max(W relu(V x + c) + b, 1e-6)) of region pairs x, what several operations shift attention scores by.

    Pairs [images, pairs, size] become [images, heads, pairs] for each of the operations, whose W and b follow c in
    turn. Images are taken so few at a time that hidden layers stay in cache, and these are computed again for the
    gradient instead of kept: they are several times larger than all else that a step keeps. An image's pairs are cut
    into blocks, for a library shares products of many small matrices out to threads better than those of one long one.
    """

    @staticmethod
    @with_onednn
    def forward(ctx: Any, pairs: Tensor, v: Tensor, c: Tensor, *projections: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(pairs, v, c, *projections)
        ctx.set_materialize_grads(False)  # an operation behind a closed gate asks for none, and gets none
        count = pairs.shape[1]
        heads, blocks = [len(w) for w in projections[::2]], block_shape(count)
        embed, w, b = torch.cat((v, c[:, None]), 1), torch.cat(projections[::2]), torch.cat(projections[1::2])
        shifts = [pairs.new_empty(len(pairs), number, *blocks) for number in heads]
        for images in few_at_a_time(pairs):
            hidden = (embed @ in_blocks(described(pairs[images]), blocks)).relu_()
            weights = affine(w, hidden, b).clamp_(min=MINIMAL_RELATION).unflatten(0, (-1, blocks[0]))
            for shift, weight in zip(shifts, weights.split(heads, 2), strict=True):
                torch.log(weight, out=shift[images].transpose(1, 2))
        return tuple(shift.flatten(2)[..., :count] for shift in shifts)

    @staticmethod
    @once_differentiable
    @with_onednn
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        pairs, v, c, *projections = ctx.saved_tensors
        blocks = block_shape(pairs.shape[1])
        asked = [number for number, gradient in enumerate(gradients) if gradient is not None]
        weights, biases = ([projections[2 * number + kind] for number in asked] for kind in (0, 1))
        heads, w, b = [len(weight) for weight in weights], torch.cat(weights), torch.cat(biases)
        embed = torch.cat((v, c[:, None]), 1)
        dembed, dw, db = (torch.zeros_like(parameter) for parameter in (embed, w, b))
        for images in few_at_a_time(pairs):
            columns = in_blocks(described(pairs[images]), blocks)
            hidden = (embed @ columns).relu_()
            related = affine(w, hidden, b)
            gradient = torch.cat([in_blocks(gradients[number][images], blocks) for number in asked], 1)
            drelated = clear_below_(gradient.div_(related), related, MINIMAL_RELATION)  # where the clamp passes nothing
            dhidden = clear_below_(w.t() @ drelated, hidden, 0.0)
            dw += (drelated @ hidden.mT).sum(0)
            db += drelated.sum((0, 2))
            dembed += (dhidden @ columns.mT).sum(0)
        dprojections: list[Tensor | None] = [None] * len(projections)
        for number, *parts in zip(asked, dw.split(heads), db.split(heads), strict=True):
            dprojections[2 * number : 2 * number + 2] = parts
        return None, dembed[:, :-1], dembed[:, -1], *dprojections


def described(pairs: Tensor) -> Tensor:
    """Pairs [images, pairs, size] as [images, size + 1, pairs]; the last row is what a bias is multiplied by."""
    return F.pad(pairs.mT, (0, 0, 0, 1), value=1.0)


def block_shape(pairs: int) -> tuple[int, int]:
    """Into how many blocks an image's pairs are cut, and how many are in each; the last may have some for nothing."""
    blocks = max(1, -(-pairs // PAIRS_OF_A_BLOCK))
    return blocks, -(-pairs // blocks)


def in_blocks(rows: Tensor, blocks: tuple[int, int]) -> Tensor:
    """[images, size, pairs] cut into [images * blocks, size, pairs of a block]; what is added for nothing is zero."""
    if missing := math.prod(blocks) - rows.shape[2]:
        rows = F.pad(rows, (0, missing))
    return rows.unflatten(2, blocks).transpose(1, 2).flatten(0, 1)


def affine(weight: Tensor, columns: Tensor, bias: Tensor) -> Tensor:
    """weight @ column + bias for each column: [blocks, size, columns] to [blocks, rows of weight, columns]."""
    return torch.baddbmm(bias[:, None], weight.expand(len(columns), -1, -1), columns)


def clear_below_(gradient: Tensor, x: Tensor, threshold: float) -> Tensor:
    """Make zero what belongs to an x that is not above a threshold, in one pass and in place."""
    return torch.ops.aten.threshold_backward.grad_input(gradient, x, threshold, grad_input=gradient)


def few_at_a_time(pairs: Tensor) -> Iterator[slice]:
    """Images of which there are pairs enough to be worth the calls."""
    count = max(1, PAIRS_AT_A_TIME // max(1, pairs.shape[1]))
    return (slice(start, start + count) for start in range(0, len(pairs), count))
