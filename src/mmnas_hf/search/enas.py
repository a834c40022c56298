"""Policy gradient with a moving baseline and an entropy term (REINFORCE, as in ENAS; Pham et al., ICML 2018)."""

from typing import Any

import torch
from torch import Tensor

from ..genotype import SearchSpace
from ..modeling_mmnas import Path
from .parameterised import ARCHITECTURE_STREAM, WEIGHT_STREAM, ParameterisedStrategy
from .processes import mean_over_processes

BASELINE_DECAY = 0.95  # of the moving mean and deviation of the losses
LARGEST_ADVANTAGE = 3.0  # one outlier would keep Adam's steps small for long
ENTROPY_WEIGHT = 0.1  # against an advantage in standard deviations; with less, nodes decide too early


class EnasStrategy(ParameterisedStrategy):
    """Scores one sampled path an architecture step, and makes it likelier if its loss was lower than usual.

    The policy is a product of softmax(alpha), not ENAS's recurrent controller. Advantages are measured in moving
    standard deviations of the loss, so that neither its scale nor its reduction matters.
    """

    def __init__(self, space: SearchSpace, learning_rate: float = 0.1, prior: str = "none", seed: int = 0):
        super().__init__(space, learning_rate, prior, seed)
        self.sampled: Path = []
        self.seen = 0
        self.mean, self.variance = 0.0, 0.0

    def weight_path(self, step: int) -> Path:
        return self.sampled_path(step, WEIGHT_STREAM)

    def architecture_path(self, step: int) -> Path:
        self.sampled = self.sampled_path(step, ARCHITECTURE_STREAM)
        return self.sampled

    def update(self, loss: Tensor) -> None:
        advantage = self.advantage(float(mean_over_processes(loss.detach(), loss.device)))
        self.descend(-advantage * self.log_likelihood() - ENTROPY_WEIGHT * self.entropy())

    def advantage(self, loss: float) -> float:
        """How much lower than usual the loss was, in standard deviations, within limits; it then counts as seen."""
        self.seen += 1
        # Early means lean on few losses: without its start at zero, the moving mean is the mean of all of them.
        rate = max(1 - BASELINE_DECAY, 1 / self.seen)
        surprise = loss - self.mean
        advantage = -surprise / self.variance**0.5 if self.variance > 0 else 0.0
        self.mean += rate * surprise
        self.variance = (1 - rate) * (self.variance + rate * surprise**2)
        return max(-LARGEST_ADVANTAGE, min(LARGEST_ADVANTAGE, advantage))

    def log_likelihood(self) -> Tensor:
        """Of the last sampled path."""
        chosen = [node.index(*gate) for node, gate in zip(self.space.nodes, self.sampled, strict=True)]
        logs = [alpha.log_softmax(0)[index] for alpha, index in zip(self.alphas, chosen, strict=True)]
        return torch.stack(logs).sum()

    def entropy(self) -> Tensor:
        """Of all nodes' choices together, in nats."""
        logs = [alpha[left].log_softmax(0) for alpha, left in zip(self.alphas, self.rivals_left, strict=True)]
        return -torch.stack([(log.exp() * log).sum() for log in logs]).sum()

    def gradients(self, loss: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(loss, self.alphas))  # the advantage is already what all processes saw

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "seen": self.seen, "mean": self.mean, "variance": self.variance}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.seen, self.mean, self.variance = state["seen"], state["mean"], state["variance"]
