"""How much a found network owes to each of its nodes, measured on the supernet with inherited weights.

To leave a node out means that its operation adds nothing to its input, which the node's norm still normalises, because
what follows has only learnt from normalised states.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from ..genotype import Genotype, SearchSpace
from ..modeling_mmnas import MMnasForTask
from ..search.doubts import ERRORS, sampling_error
from ..search.scoring import SupernetScorer

LEFT_OUT = "identity"  # the operation that adds nothing
TOLD = 3  # nodes that are named as those that matter most
CHOSEN_HERE = (
    "the network was chosen as the best of many on these very texts, so that any change looks more harmful than it is"
)


class Effects(NamedTuple):
    """What a metric changes by when one node of a genotype is changed, in a network of inherited weights.

    `changes` has a mapping a node, encoder first: from each candidate, and `identity` for leaving the node out, to the
    changed network's score minus `score`. `error` is the standard error of `score` over the scored texts.
    """

    genotype: Genotype
    metric: str
    score: float
    error: float
    changes: list[dict[str, float]]

    @property
    def nodes(self) -> list[str]:
        return names_in(self.genotype)

    @property
    def chosen(self) -> tuple[str, ...]:
        return self.genotype.encoder + self.genotype.decoder

    @property
    def noise(self) -> float:
        """A change below this may be one of the sample of texts alone.

        It is that of a single score. Both networks answer the same texts, so that a change is mostly surer than that.
        """
        return ERRORS * self.error

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        rows = zip(self.nodes, self.chosen, self.changes, strict=True)
        nodes = [{"node": node, "chosen": chosen, "changes": changes} for node, chosen, changes in rows]
        return {**self._asdict(), "genotype": str(self.genotype), "changes": nodes}


def names_in(genotype: Genotype) -> list[str]:
    """How a genotype's nodes are called, encoder first: `text 1`, `region 5`."""
    sides = (("text", genotype.encoder), ("region", genotype.decoder))
    return [f"{side} {number}" for side, nodes in sides for number in range(1, len(nodes) + 1)]


def with_identity(supernet: MMnasForTask, genotype: Genotype) -> MMnasForTask:
    """The supernet with the identity as one more candidate wherever it is none, with the norm of the genotype's choice.

    So leaving a node out is one more network of a supernet, and is scored like any other.
    """
    space = widened(supernet.config.space)
    config = type(supernet.config).from_dict(supernet.config.to_dict() | {"search_space": space.to_dict()})
    with torch.device("meta"):
        model = type(supernet)(config)
    weights = dict(identity_norms(supernet, genotype)) | supernet.state_dict()
    model.load_state_dict({name: weights[name].clone() for name in model.state_dict()}, assign=True)
    return model.train(supernet.training)


def widened(space: SearchSpace) -> SearchSpace:
    """The space with the identity as a candidate of every node."""
    encoder, decoder = (
        tuple(tuple(dict.fromkeys([*node, LEFT_OUT])) for node in side) for side in (space.encoder, space.decoder)
    )
    return SearchSpace(encoder, decoder)


def identity_norms(supernet: MMnasForTask, genotype: Genotype) -> Iterator[tuple[str, torch.Tensor]]:
    """The norm of every chosen operation, by the names that the identity's would have."""
    backbone = supernet.mmnas.backbone
    for side, nodes, chosen in (
        ("encoder", backbone.encoder, genotype.encoder),
        ("decoder", backbone.decoder, genotype.decoder),
    ):
        for number, (node, name) in enumerate(zip(nodes, chosen, strict=True)):
            for part, value in node[name].norm.state_dict().items():
                yield f"mmnas.backbone.{side}.{number}.{LEFT_OUT}.norm.{part}", value


def neighbours(space: SearchSpace, genotype: Genotype) -> list[dict[str, Genotype]]:
    """For each node, encoder first, the genotypes that have another candidate there, and that itself."""
    names = genotype.encoder + genotype.decoder
    return [
        {other: space.genotype([*names[:node], other, *names[node + 1 :]]) for other in candidates}
        for node, candidates in enumerate(space.nodes)
    ]


def measure(scorer: SupernetScorer, genotype: Genotype) -> Effects:
    """The effects of changing a genotype; the scorer's supernet has the identity everywhere."""
    judge = scorer.judge
    around = neighbours(judge.supernet.config.space, genotype)
    score, *changed = scorer([genotype, *(other for node in around for other in node.values())])
    scores = iter(changed)
    changes = [{name: next(scores) - score for name in node} for node in around]
    return Effects(genotype, judge.corpus.task.metric, score, sampling_error(score, len(judge.rows)), changes)


def most_important(effects: Effects) -> list[int]:
    """Nodes by what leaving them out costs, the costliest first."""
    return sorted(range(len(effects.changes)), key=lambda node: effects.changes[node][LEFT_OUT])


def summary(effects: Effects) -> list[str]:
    """A few sentences on what matters in the network."""
    noise = effects.noise
    costs = [changes[LEFT_OUT] for changes in effects.changes]
    first = [describe(effects, node) for node in most_important(effects)[:TOLD] if costs[node] < -noise]
    idle = sum(cost >= -noise for cost in costs)
    return [
        f"{effects.genotype}: {effects.metric} {effects.score:.3f} with inherited weights; changes below {noise:.3f} "
        "may be noise (two standard errors of a single score; on the same texts, changes are mostly surer)",
        f"matter most: {', '.join(first) or 'no node by itself'}",
        f"{idle} of {len(costs)} nodes can each be left out within that noise",
        best_change(effects),
    ]


def describe(effects: Effects, node: int) -> str:
    return f"{effects.nodes[node]} {effects.chosen[node]} (left out: {effects.changes[node][LEFT_OUT]:+.3f})"


def best_change(effects: Effects) -> str:
    """The single change that would improve the network most, if any does."""
    others = [
        (gain, node, name)
        for node, (row, chosen) in enumerate(zip(effects.changes, effects.chosen, strict=True))
        for name, gain in row.items()
        if name != chosen
    ]
    gain, node, name = max(others)
    if gain <= 0:
        return "no single change improves it"
    # About what the largest of so many errors of chance would be.
    luck = effects.error * max(ERRORS, math.sqrt(2 * math.log(len(others))))
    trust = "more than" if gain > luck else "no more than"
    how = "leaving it out" if name == LEFT_OUT else name
    return (
        f"the best single change is {how} at {effects.nodes[node]} ({gain:+.3f}, {trust} chance gives the best of "
        f"{len(others)})"
    )
