"""What a search strategy is: it chooses paths, learns from losses or scores, and names the best genotype."""

import math
from typing import Any, Protocol

from torch import Tensor

from ..genotype import Genotype, SearchSpace
from ..modeling_mmnas import Path

Probabilities = list[dict[str, float]]  # one mapping a node, encoder first, from operation to probability
STILL = 0.02  # mean total variation between two choices of a node that are taken for the same


class Strategy(Protocol):
    """Owns whatever a search learns about the architecture; the model knows nothing of it.

    Paths depend on the seed and the step alone, so that every process draws the same one and a resumed run draws it
    again.
    """

    space: SearchSpace

    def weight_path(self, step: int) -> Path:
        """The path whose weights are trained at this step."""

    def architecture_path(self, step: int) -> Path | None:
        """The path that the architecture step after this step runs; none if the strategy makes no such steps.

        Gates that are tensors carry gradients; a path of plain numbers is only scored.
        """

    def update(self, loss: Tensor) -> None:
        """Learn from the loss of the last architecture path."""

    def drop_least_likely(self) -> None:
        """Take the least likely candidate of each node out of the search, the last one excepted."""

    def propose(self) -> list[Genotype]:
        """What is to be scored next with the trained supernet's weights; nothing once the strategy has decided."""

    def receive(self, scores: list[float]) -> None:
        """Learn from the scores of what was last proposed; higher is better."""

    def probabilities(self) -> Probabilities:
        """How likely each candidate of each node is now."""

    def genotype(self) -> Genotype | None:
        """The most probable network; none as long as a strategy that waits for scores has not got any."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed search needs."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""


def mean_entropy(probabilities: Probabilities) -> float:
    """Entropy in nats of the nodes' choices, averaged; zero once every node has decided."""
    entropies = [-sum(p * math.log(p) for p in node.values() if p > 0) for node in probabilities]
    return sum(entropies) / len(entropies)


def total_variation(first: Probabilities, second: Probabilities) -> float:
    """Half the summed difference of two choices, averaged over nodes."""
    distances = [sum(abs(p[name] - q[name]) for name in p) / 2 for p, q in zip(first, second, strict=True)]
    return sum(distances) / len(distances)


def prefers(probabilities: Probabilities) -> bool:
    """Whether some candidate of a node is likelier than another."""
    even = [dict.fromkeys(node, 1 / len(node)) for node in probabilities]
    return total_variation(probabilities, even) >= STILL


def changed_nodes(first: Probabilities, second: Probabilities) -> int:
    """Nodes whose most probable operation differs."""
    return sum(max(p, key=p.get) != max(q, key=q.get) for p, q in zip(first, second, strict=True))
