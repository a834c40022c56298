"""Binary gates (ProxylessNAS; MMnas §3): one operation a node runs open, and its rivals' gates get gradients.

Straight-through gates `one_hot + (p - stop_gradient(p))` have exactly the published gradient
`dL/dalpha_i = sum_j dL/dg_j p_j (delta_ij - p_i)`, so autograd needs no help.
"""

import torch
from torch import Tensor

from ..errors import InputError
from ..genotype import SearchSpace
from ..modeling_mmnas import Path
from .parameterised import (
    ARCHITECTURE_STREAM,
    WEIGHT_STREAM,
    ParameterisedStrategy,
    draw,
    path_generator,
    straight_through,
)

GATES = ("full", "two")


class ProxylessStrategy(ParameterisedStrategy):
    """Samples paths from softmax(alpha) and moves alpha by the gates' gradients.

    With `gates="full"` all candidates of a node run in an architecture step; with `"two"`, two drawn by their
    probability, and both alphas are then shifted so that their summed exponential, and so every other probability,
    stays what it was.
    """

    def __init__(
        self, space: SearchSpace, gates: str = "full", learning_rate: float = 0.1, prior: str = "none", seed: int = 0
    ):
        if gates not in GATES:
            raise InputError(f"unknown gates {gates!r}; known: {', '.join(GATES)}")
        super().__init__(space, learning_rate, prior, seed)
        self.gates = gates
        self.rivals: list[Tensor] = []  # indices of the candidates in the last architecture path, node by node

    def weight_path(self, step: int) -> Path:
        return self.sampled_path(step, WEIGHT_STREAM)

    def architecture_path(self, step: int) -> Path:
        generator = path_generator(self.seed, step, ARCHITECTURE_STREAM)
        rivals = [
            left if self.gates == "full" else draw(alpha, min(2, len(left)), generator)
            for alpha, left in zip(self.alphas, self.rivals_left, strict=True)
        ]
        actives = [int(draw(alpha[indices], 1, generator)) for alpha, indices in zip(self.alphas, rivals, strict=True)]
        return self.gated_path(rivals, actives)

    def gated_path(self, rivals: list[Tensor], actives: list[int]) -> Path:
        """Binary gates of the given candidates; `actives` are positions within `rivals`."""
        self.rivals = rivals
        gates = [
            straight_through(alpha[indices].softmax(0), active)
            for alpha, indices, active in zip(self.alphas, rivals, actives, strict=True)
        ]
        return self.weighted_path(rivals, gates)

    def update(self, loss: Tensor) -> None:
        with torch.no_grad():
            masses = [alpha[rivals].logsumexp(0) for alpha, rivals in zip(self.alphas, self.rivals, strict=True)]
        self.descend(loss)
        if self.gates == "two":
            with torch.no_grad():
                for alpha, rivals, mass in zip(self.alphas, self.rivals, masses, strict=True):
                    alpha[rivals] += mass - alpha[rivals].logsumexp(0)
