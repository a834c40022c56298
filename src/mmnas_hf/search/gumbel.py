"""Straight-through Gumbel-softmax with a falling temperature (Dong and Yang, CVPR 2019; Xie et al., ICLR 2019)."""

import torch
from torch import Tensor

from ..genotype import SearchSpace
from ..modeling_mmnas import Path
from .parameterised import ARCHITECTURE_STREAM, WEIGHT_STREAM, ParameterisedStrategy, path_generator, straight_through

FIRST_TEMPERATURE, LAST_TEMPERATURE = 10.0, 0.1  # Dong and Yang, falling linearly


class GumbelStrategy(ParameterisedStrategy):
    """Runs the operation whose alpha plus Gumbel noise is largest, with the gradient of the tempered softmax.

    `alternation` are the steps among which the architecture is learnt, from the first to the last; over them the
    temperature falls.
    """

    def __init__(
        self,
        space: SearchSpace,
        alternation: range,
        learning_rate: float = 0.1,
        prior: str = "none",
        seed: int = 0,
    ):
        super().__init__(space, learning_rate, prior, seed)
        self.alternation = alternation

    def temperature(self, step: int) -> float:
        share = min(1.0, (step - self.alternation.start) / max(1, len(self.alternation)))
        return FIRST_TEMPERATURE + share * (LAST_TEMPERATURE - FIRST_TEMPERATURE)

    def weight_path(self, step: int) -> Path:
        return self.sampled_path(step, WEIGHT_STREAM)  # which is what the largest of alpha plus noise is drawn from

    def architecture_path(self, step: int) -> Path:
        generator, rivals = path_generator(self.seed, step, ARCHITECTURE_STREAM), self.rivals_left
        noisy = [alpha[left] + gumbel(len(left), generator) for alpha, left in zip(self.alphas, rivals, strict=True)]
        soft = [(values / self.temperature(step)).softmax(0) for values in noisy]
        return self.weighted_path(rivals, [straight_through(p, int(p.argmax())) for p in soft])

    def update(self, loss: Tensor) -> None:
        self.descend(loss)


def gumbel(count: int, generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise."""
    return -torch.empty(count).exponential_(generator=generator).log()
