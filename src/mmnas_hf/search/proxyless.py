"""Binary gates (ProxylessNAS; MMnas §3): one operation a node runs open, and its rivals' gates get gradients.

Straight-through gates `one_hot + (p - stop_gradient(p))` have exactly the published gradient
`dL/dalpha_i = sum_j dL/dg_j p_j (delta_ij - p_i)`, so autograd needs no help.
"""

from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..genotype import Genotype, SearchSpace
from ..modeling_mmnas import Path
from .priors import initial_alphas
from .strategy import Probabilities

ARCHITECTURE_BETAS = (0.0, 0.999)  # of Adam, SPEC of MMnas
GATES = ("full", "two")
WEIGHT_STREAM, ARCHITECTURE_STREAM = 0, 1  # paths of weight and architecture steps are drawn independently


def path_generator(seed: int, step: int, stream: int) -> torch.Generator:
    """A generator that depends on its arguments alone."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) * 2 + stream)


class ProxylessStrategy:
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
        self.space, self.gates, self.seed = space, gates, seed
        alphas = initial_alphas(prior, space, torch.Generator().manual_seed(seed))
        self.alphas = [alpha.requires_grad_() for alpha in alphas]
        self.optimizer = torch.optim.Adam(self.alphas, lr=learning_rate, betas=ARCHITECTURE_BETAS)
        self.rivals: list[Tensor] = []  # indices of the candidates in the last architecture path, node by node

    def weight_path(self, step: int) -> Path:
        generator = path_generator(self.seed, step, WEIGHT_STREAM)
        chosen = (int(draw(alpha, 1, generator)) for alpha in self.alphas)
        return [{node[index]: 1.0} for node, index in zip(self.space.nodes, chosen, strict=True)]

    def architecture_path(self, step: int) -> Path:
        generator = path_generator(self.seed, step, ARCHITECTURE_STREAM)
        self.rivals = [self.draw_rivals(alpha, generator) for alpha in self.alphas]
        actives = [
            int(draw(alpha[rivals], 1, generator)) for alpha, rivals in zip(self.alphas, self.rivals, strict=True)
        ]
        return self.gated_path(self.rivals, actives)

    def gated_path(self, rivals: list[Tensor], actives: list[int]) -> Path:
        """Gates of the given candidates; `actives` are positions within `rivals`."""
        self.rivals = rivals
        path = []
        for node, alpha, indices, active in zip(self.space.nodes, self.alphas, rivals, actives, strict=True):
            p = alpha[indices].softmax(0)
            gates = torch.zeros_like(p).index_fill(0, torch.tensor(active), 1.0) + (p - p.detach())
            path.append({node[index]: gate for index, gate in zip(indices.tolist(), gates, strict=True)})
        return path

    def draw_rivals(self, alpha: Tensor, generator: torch.Generator) -> Tensor:
        if self.gates == "full":
            return torch.arange(len(alpha))
        return draw(alpha, min(2, len(alpha)), generator)

    def gradients(self, loss: Tensor) -> list[Tensor]:
        """dL/dalpha of every node, averaged over processes."""
        # Nodes with a single candidate have no gradient to speak of: theirs is zero.
        grads = torch.autograd.grad(loss, self.alphas, allow_unused=True, materialize_grads=True)
        flat = torch.cat(grads)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            flat = flat.to(loss.device)
            torch.distributed.all_reduce(flat)
            flat = flat.cpu() / torch.distributed.get_world_size()
        return list(flat.split([len(alpha) for alpha in self.alphas]))

    def update(self, loss: Tensor) -> None:
        for alpha, gradient in zip(self.alphas, self.gradients(loss), strict=True):
            alpha.grad = gradient.clone()
        with torch.no_grad():
            masses = [alpha[rivals].logsumexp(0) for alpha, rivals in zip(self.alphas, self.rivals, strict=True)]
            self.optimizer.step()
            if self.gates == "two":
                for alpha, rivals, mass in zip(self.alphas, self.rivals, masses, strict=True):
                    alpha[rivals] += mass - alpha[rivals].logsumexp(0)

    @torch.no_grad()
    def probabilities(self) -> Probabilities:
        return [
            dict(zip(node, alpha.softmax(0).tolist(), strict=True))
            for node, alpha in zip(self.space.nodes, self.alphas, strict=True)
        ]

    def genotype(self) -> Genotype:
        return self.space.genotype([max(node, key=node.get) for node in self.probabilities()])

    def state_dict(self) -> dict[str, Any]:
        return {"alphas": [alpha.detach().clone() for alpha in self.alphas], "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            for alpha, saved in zip(self.alphas, state["alphas"], strict=True):
                alpha.copy_(saved)
        self.optimizer.load_state_dict(state["optimizer"])


def draw(alpha: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Indices drawn by softmax(alpha), without replacement."""
    return torch.multinomial(alpha.detach().softmax(0), count, generator=generator)
