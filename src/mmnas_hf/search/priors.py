"""Where a search starts: the initial architecture parameters, by name."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import InputError
from ..genotype import SearchSpace, repeat_pattern

Prior = Callable[[SearchSpace, torch.Generator], list[Tensor]]

HAND_MADE_ALPHA = 1.0  # of the pattern's operation; its rivals start at minus this (the original program)
RANDOM_DEVIATION = 1e-3


def uniform(space: SearchSpace, generator: torch.Generator) -> list[Tensor]:  # noqa: ARG001
    """All candidates equally likely."""
    return [torch.zeros(len(node)) for node in space.nodes]


def random(space: SearchSpace, generator: torch.Generator) -> list[Tensor]:
    """Small random parameters, as the patent has it."""
    return [torch.randn(len(node), generator=generator) * RANDOM_DEVIATION for node in space.nodes]


def hand_made(space: SearchSpace, generator: torch.Generator) -> list[Tensor]:  # noqa: ARG001
    """The original program's start: SA, FFN repeated over words, RSA, GA, FFN repeated over regions."""
    pattern = repeat_pattern("SF", "RGF", len(space.encoder), len(space.decoder))
    space.check(pattern)
    return [
        torch.tensor([HAND_MADE_ALPHA if name == chosen else -HAND_MADE_ALPHA for name in node])
        for node, chosen in zip(space.nodes, pattern.encoder + pattern.decoder, strict=True)
    ]


PRIORS: dict[str, Prior] = {"none": uniform, "random": random, "hand-made": hand_made}


def initial_alphas(name: str, space: SearchSpace, generator: torch.Generator) -> list[Tensor]:
    if name not in PRIORS:
        raise InputError(f"unknown prior {name!r}; known: {', '.join(PRIORS)}")
    return PRIORS[name](space, generator)
