"""What strategies share whose belief is a vector of architecture parameters, alpha, for each node."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..genotype import Genotype, SearchSpace
from ..modeling_mmnas import Path
from .priors import initial_alphas
from .processes import mean_over_processes
from .strategy import Probabilities

ARCHITECTURE_BETAS = (0.0, 0.999)  # of Adam, SPEC of MMnas
WEIGHT_STREAM, ARCHITECTURE_STREAM = 0, 1  # paths of weight and architecture steps are drawn independently


class ParameterisedStrategy(ABC):
    """Candidates are as likely as softmax(alpha) says, and Adam moves alpha against a gradient.

    A candidate that was dropped has an alpha of minus infinity: its probability is zero, and stays so.
    """

    def __init__(self, space: SearchSpace, learning_rate: float = 0.1, prior: str = "none", seed: int = 0):
        self.space, self.seed = space, seed
        alphas = initial_alphas(prior, space, torch.Generator().manual_seed(seed))
        self.alphas = [alpha.requires_grad_() for alpha in alphas]
        self.optimizer = torch.optim.Adam(self.alphas, lr=learning_rate, betas=ARCHITECTURE_BETAS)

    @abstractmethod
    def weight_path(self, step: int) -> Path: ...

    @abstractmethod
    def architecture_path(self, step: int) -> Path: ...

    @abstractmethod
    def update(self, loss: Tensor) -> None: ...

    def sampled_path(self, step: int, stream: int) -> Path:
        """One operation a node, drawn by its probability."""
        generator = path_generator(self.seed, step, stream)
        chosen = (int(draw(alpha, 1, generator)) for alpha in self.alphas)
        return [{node[index]: 1.0} for node, index in zip(self.space.nodes, chosen, strict=True)]

    def weighted_path(self, rivals: Sequence[Tensor], gates: Sequence[Tensor]) -> Path:
        """A path that runs the candidates at the positions `rivals` of each node, multiplied by `gates`."""
        return [
            {node[index]: gate for index, gate in zip(indices.tolist(), weights, strict=True)}
            for node, indices, weights in zip(self.space.nodes, rivals, gates, strict=True)
        ]

    @property
    def rivals_left(self) -> list[Tensor]:
        """Positions of the candidates of each node that were not dropped."""
        return [alpha.isfinite().nonzero().flatten() for alpha in self.alphas]

    def gradients(self, loss: Tensor) -> list[Tensor]:
        """dL/dalpha of every node, averaged over processes."""
        # Nodes with a single candidate have no gradient to speak of: theirs is zero.
        grads = torch.autograd.grad(loss, self.alphas, allow_unused=True, materialize_grads=True)
        averaged = mean_over_processes(torch.cat(grads), loss.device)
        return list(averaged.split([len(alpha) for alpha in self.alphas]))

    def descend(self, loss: Tensor) -> None:
        """One step of the optimiser against the loss; raises `FloatingPointError` before a gradient that is none."""
        gradients = self.gradients(loss)
        if not all(gradient.isfinite().all() for gradient in gradients):
            raise FloatingPointError("the architecture's gradient is not finite")
        for alpha, gradient in zip(self.alphas, gradients, strict=True):
            alpha.grad = gradient.clone()
        self.optimizer.step()

    @torch.no_grad()
    def drop_least_likely(self) -> None:
        for alpha, left in zip(self.alphas, self.rivals_left, strict=True):
            remaining = alpha[left]
            if remaining.min() < remaining.max():  # as long as all are equal, none is the least likely
                alpha[left[remaining.argmin()]] = -torch.inf

    @torch.no_grad()
    def probabilities(self) -> Probabilities:
        return [
            dict(zip(node, alpha.softmax(0).tolist(), strict=True))
            for node, alpha in zip(self.space.nodes, self.alphas, strict=True)
        ]

    def genotype(self) -> Genotype:
        return self.space.genotype([max(node, key=node.get) for node in self.probabilities()])

    def propose(self) -> list[Genotype]:
        return []  # alpha has decided

    def receive(self, scores: list[float]) -> None:
        raise AssertionError("nothing was proposed")

    def state_dict(self) -> dict[str, Any]:
        return {"alphas": [alpha.detach().clone() for alpha in self.alphas], "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            for alpha, saved in zip(self.alphas, state["alphas"], strict=True):
                alpha.copy_(saved)
        self.optimizer.load_state_dict(state["optimizer"])


def path_generator(seed: int, step: int, stream: int) -> torch.Generator:
    """A generator that depends on its arguments alone."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) * 2 + stream)


def draw(alpha: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices drawn by softmax(alpha), without replacement."""
    return torch.multinomial(alpha.detach().softmax(0), count, generator=generator)


def straight_through(p: Tensor, active: int) -> Tensor:
    """Gates that are one for the active candidate and zero for its rivals, with the gradient of `p`."""
    return torch.zeros_like(p).index_fill(0, torch.tensor(active), 1.0) + (p - p.detach())
