"""Faster ways to the same numbers on CPUs, each of which can be switched off: `with without("relations"): ...`.

GPUs have kernels of their own for most of this, and there everything runs as written out. So it does in other types
than single precision, under autocast and while a network is compiled.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from itertools import islice
from threading import Lock, local
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .errors import InputError

SPEEDUPS = {
    "attention": "attention goes through its weights while they are in cache, and fills few keys up to a vector",
    "dropout": "four decisions are taken from one random number of 64 bits, and carried out in one pass",
    "feed_forward": "activation and dropout work in place and keep nothing but their output",
    "frozen": "in architecture steps the weights need no gradient, so that nothing is kept for one",
    "gates": "a closed gate's output is neither multiplied nor added",
    "kernels": "scripts keep the kernels that oneDNN makes for each shape, of which batches have many",
    "memory": "scripts keep memory that is freed, in huge pages, instead of asking for it again in every step",
    "packing": "networks that only answer hold their weights as the processor multiplies them fastest, if asked to",
    "products": "matrices are multiplied with oneDNN, which is faster than PyTorch's usual library on some processors",
    "relations": "all operations of a path project region pairs at once, a few images at a time, and keep no pair",
}

HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
MINIMAL_RELATION = 1e-6  # before the logarithm of a relation's weight
PAIRS_AT_A_TIME = 20_000  # whose hidden layers stay in a processor's cache
PAIRS_OF_A_BLOCK = 2048
ELEMENTS_AT_A_TIME = 2**18  # that dropout works on while they are in cache
STEPS_16_BITS = 2**16
WARM_UP = 12  # numbers, until each depends on all of a seed of SFC64: as many as its author leaves out
ROWS_TRIED, INNER = (32, 512), 512  # of products that tell how precise a library is
LARGEST_ERROR = 1e-4  # of an element; single precision errs by 1e-6, bfloat16 by 1e-2
SMALL_PRODUCT = 2**20  # multiplications, from which on a faster product is worth its call
LARGE_PRODUCT = 2**22  # where its gradient is called from Python, too
KEYS_OF_A_VECTOR = 16  # in single precision, and the widest vectors there are
MANY_WEIGHTS = 2**16  # of attention, which are worth a gradient that is called from Python
LARGE_STATES = 2**18  # elements, which are too many for the fastest caches: a pass over them less is worth it

_off: set[str] = set()


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Compute without some of `SPEEDUPS`, in all threads."""
    if unknown := [name for name in names if name not in SPEEDUPS]:
        raise InputError(f"unknown speed-up {unknown[0]!r}; known: {', '.join(SPEEDUPS)}")
    added = set(names) - _off
    _off.update(added)
    try:
        yield
    finally:
        _off.difference_update(added)


def is_on(name: str) -> bool:
    return name not in _off


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Weights that need no gradient, as in architecture steps: what one would be computed from is not kept."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad] if is_on("frozen") else []
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def serves(name: str, *tensors: Tensor) -> bool:
    """Whether a speed-up is on, and made for such tensors as these."""
    return (
        is_on(name)
        and all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
    )


# Products


class OneDNN:
    """While this is entered, PyTorch multiplies matrices with oneDNN, if that keeps single precision.

    PyTorch does so for those who allow that numbers are rounded to bfloat16. oneDNN takes that as leave, and makes use
    of it on processors with tiles for such numbers; there, PyTorch's usual library stays.
    """

    lock, entered, before = Lock(), 0, ""

    def __enter__(self) -> None:
        self.serves = is_on("products") and keeps_precision()
        if self.serves:
            with OneDNN.lock:
                if not OneDNN.entered:
                    OneDNN.before = torch.backends.mkldnn.matmul.fp32_precision
                    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
                OneDNN.entered += 1

    def __exit__(self, *_: object) -> None:
        if self.serves:
            with OneDNN.lock:
                OneDNN.entered -= 1
                if not OneDNN.entered:
                    torch.backends.mkldnn.matmul.fp32_precision = OneDNN.before


def with_onednn(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def run(*given: Any) -> Any:
        with OneDNN():
            return function(*given)

    return run


@cache
def keeps_precision() -> bool:
    """Whether oneDNN's products are of single precision even where less is allowed; from PyTorch 2.9 on one can ask."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.backends.mkldnn, "matmul"):
        return False
    with OneDNN.lock:
        before = torch.backends.mkldnn.matmul.fp32_precision
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
        try:
            return all(error_of_product(rows) < LARGEST_ERROR for rows in ROWS_TRIED)
        finally:
            torch.backends.mkldnn.matmul.fp32_precision = before


def error_of_product(rows: int) -> float:
    """The largest error of any element of a product, beside the deviation of its elements."""
    generator = torch.Generator().manual_seed(rows)
    x, y = (torch.randn(size, INNER, generator=generator, dtype=torch.float32, device="cpu") for size in (rows, INNER))
    with torch.inference_mode():
        return (x @ y.t() - x.double() @ y.double().t()).abs().max().item() / INNER**0.5


class Linear(nn.Linear):
    """PyTorch's, with the faster of its two libraries for matrix products."""

    def forward(self, x: Tensor) -> Tensor:
        has_graph = torch.is_grad_enabled()
        is_large = x.numel() * self.out_features >= (LARGE_PRODUCT if has_graph else SMALL_PRODUCT)
        if HAS_ONEDNN and is_large and serves("products", x, self.weight):
            return (Product.apply if has_graph else multiply)(x.contiguous(), self.weight, self.bias)
        return super().forward(x)


class Product(torch.autograd.Function):
    """x W' + b; what only one of the gradients needs is not kept if that one is not wanted."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        for_x, for_weight = ctx.needs_input_grad[:2]
        ctx.save_for_backward(x if for_weight else None, weight if for_x else None)
        return multiply(x, weight, bias)

    @staticmethod
    @once_differentiable
    @with_onednn
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        rows = gradient.flatten(0, -2)
        dx = (rows @ weight).view(*gradient.shape[:-1], -1) if for_x else None
        dweight = rows.t() @ x.flatten(0, -2) if for_weight else None
        return dx, dweight, rows.sum(0) if for_bias else None


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None, then: str = "none") -> Tensor:
    """x W' + b, and what comes then: nothing, or a function of the library's, as "relu"."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "")


# Dropout


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


# Attention


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
    size = heads if q.shape[:3].numel() * k.shape[1] < LARGE_STATES else 1
    return [slice(start, start + size) for start in range(0, heads, size)]


def rows_of(x: Tensor, part: slice, missing: int = 0) -> Tensor:
    """Some heads of x [batch, positions, heads, size] as [batch * some, positions, size], and so many rows of zeros."""
    x = x[:, :, part].transpose(1, 2)
    return (F.pad(x, (0, 0, 0, missing)) if missing else x).flatten(0, 1)


def put_rows(x: Tensor, part: slice, rows: Tensor) -> None:
    """Write into x what `rows_of` takes from it."""
    x[:, :, part] = rows.unflatten(0, (len(x), -1))[:, :, : x.shape[1]].transpose(1, 2)


# Gates


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


# Relations


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
