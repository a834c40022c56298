"""Faster ways to the same numbers on CPUs, each of which can be switched off: `with without("relations"): ...`.

GPUs have kernels of their own for most of this, and there everything runs as written out. So it does in other types
than single precision, under autocast and while a network is compiled. This module lists and switches; what computes
lies in `products`, `dropout`, `attention`, `region_pairs`, `mixture`, `packing` and `resources`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

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
