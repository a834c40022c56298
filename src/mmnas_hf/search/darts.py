"""A mixture of all candidates, first order (DARTS; Liu et al., ICLR 2019)."""

from torch import Tensor

from ..modeling_mmnas import Path
from .parameterised import ParameterisedStrategy


class DartsStrategy(ParameterisedStrategy):
    """Every candidate of every node runs, weighted by softmax(alpha), in weight steps too.

    An architecture step follows the gradient at the weights as they are: the first-order variant.
    """

    def weight_path(self, step: int) -> Path:
        return [{name: p for name, p in node.items() if p > 0} for node in self.probabilities()]

    def architecture_path(self, step: int) -> Path:
        rivals = self.rivals_left
        gates = [alpha[indices].softmax(0) for alpha, indices in zip(self.alphas, rivals, strict=True)]
        return self.weighted_path(rivals, gates)

    def update(self, loss: Tensor) -> None:
        self.descend(loss)
