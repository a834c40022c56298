"""The two steps of a search on random batches: supernets of any size, and any number of candidates a node.

Of 100 drawn paths one has 14 % fewer products than they have on average, and one 19 % more, so that any of them would
tell of its luck. Nodes take their candidates in turn instead, as often each, which has as many as the average.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from string import ascii_lowercase
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..configuration_mmnas import MMnasConfig
from ..genotype import DECODER_CANDIDATES, ENCODER_CANDIDATES, LETTERS, SearchSpace
from ..modeling_mmnas import MMnasForVisualQuestionAnswering, Path
from ..operations import OPERATIONS, operation
from ..search.proxyless import ProxylessStrategy
from ..speedups import frozen
from .floor import Step

ALIAS = ":"  # between an operation's name and a number in its further names

Batch = dict[str, Tensor]


class Sizes(NamedTuple):
    """Sizes of a supernet and of its batches.

    Paths are drawn from the first `kinds` of the published candidates; what a node has beyond them only lies beside.
    """

    hidden_size: int = 256
    batch: int = 32
    words: int = 14
    regions: int = 100
    encoder_nodes: int = 12
    decoder_nodes: int = 18
    encoder_candidates: int = 2
    decoder_candidates: int = 4
    kinds: int = 4
    feature_size: int = 2048
    vocabulary: int = 18_000
    answers: int = 3129

    @property
    def drawn_from(self) -> SearchSpace:
        """The space that paths are drawn from."""
        sides = (ENCODER_CANDIDATES[: self.kinds], DECODER_CANDIDATES[: self.kinds])
        return SearchSpace.chain(self.encoder_nodes, self.decoder_nodes, *sides)

    def config(self, **architecture: object) -> MMnasConfig:
        sizes = {"hidden_size": self.hidden_size, "region_size": self.feature_size, "vocab_size": self.vocabulary}
        return MMnasConfig(**sizes, num_labels=self.answers, **architecture)


PUBLISHED = Sizes()


class WeightStep:
    """Forward, backward, clipping, optimiser and zeroing on one path, as a search's Trainer runs them."""

    def __init__(self, model: nn.Module, path: Path):
        self.model, self.path, self.weights = model, path, list(model.parameters())
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=1e-4, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.0, fused=True
        )

    def __call__(self, batch: Batch) -> None:
        self.differentiate(batch)
        self.update()

    def differentiate(self, batch: Batch) -> None:
        """Forward and backward."""
        self.model(**batch, path=self.path).loss.backward()

    def update(self) -> None:
        """Clipping, optimiser and zeroing."""
        nn.utils.clip_grad_norm_(self.learnt, 1.0)
        self.optimizer.step()
        self.model.zero_grad()

    @property
    def learnt(self) -> list[nn.Parameter]:
        """The parameters that have a gradient."""
        return [weight for weight in self.weights if weight.grad is not None]


def make_weight_step(sizes: Sizes) -> WeightStep:
    return WeightStep(make_supernet(sizes), path_in_turn(sizes.drawn_from))


def weight_step(sizes: Sizes) -> Step:
    """A weight step on one batch, to be called again and again."""
    return partial(make_weight_step(sizes), random_batch(sizes))


def architecture_step(sizes: Sizes, gates: str) -> Step:
    """An architecture step on one batch, to be called again and again."""
    model, batch = make_supernet(sizes), random_batch(sizes)
    strategy = ProxylessStrategy(model.config.space, gates)

    def step() -> None:
        with frozen(model):
            strategy.update(model(**batch, path=gates_in_turn(strategy)).loss)

    return step


def path_in_turn(space: SearchSpace) -> Path:
    """Of each node one candidate, and of nodes with the same candidates each as often as any other."""
    return [{names[number % len(names)]: 1.0} for number, names in enumerate(space.nodes)]


def gates_in_turn(strategy: ProxylessStrategy) -> Path:
    """Binary gates of which those of `path_in_turn` are open; the others are all, or of each node another in turn."""
    rivals, actives = [], []
    nodes, path = strategy.space.nodes, path_in_turn(strategy.space)
    for number, (names, opened) in enumerate(zip(nodes, path, strict=True)):
        count, active = len(names), names.index(*opened)
        turn = 1 + number // count % max(1, count - 1)
        rival = sorted(range(count) if strategy.gates == "full" else {active, (active + turn) % count})
        rivals.append(torch.tensor(rival))
        actives.append(rival.index(active))
    return strategy.gated_path(rivals, actives)


def make_supernet(sizes: Sizes) -> MMnasForVisualQuestionAnswering:
    space = sizes.drawn_from
    encoder = widened(space.encoder[0], sizes.encoder_candidates)
    decoder = widened(space.decoder[0], sizes.decoder_candidates)
    with aliases(dict.fromkeys(name for name in encoder + decoder if ALIAS in name)):
        space = SearchSpace.chain(sizes.encoder_nodes, sizes.decoder_nodes, encoder, decoder)
        return MMnasForVisualQuestionAnswering(sizes.config(search_space=space)).train()


def widened(kinds: Sequence[str], count: int) -> tuple[str, ...]:
    """So many candidates: the first of some kinds, and then the kinds again under further names."""
    again = (f"{kind}{ALIAS}{number // len(kinds)}" for number, kind in enumerate(cycle(kinds)))
    return (*kinds[:count], *(name for name, _ in zip(again, range(count - len(kinds)), strict=False)))


@contextmanager
def aliases(names: Iterable[str]) -> Iterator[None]:
    """Operations under further names, as long as a supernet is built of them."""
    names = list(names)
    for name, letter in zip(names, ascii_lowercase, strict=False):
        operation(name, letter)(OPERATIONS[name.partition(ALIAS)[0]])
    try:
        yield
    finally:
        for name in names:
            del OPERATIONS[name], LETTERS[name]


def random_batch(sizes: Sizes, counts: Sequence[int] = ()) -> Batch:
    """Questions without padding about images that have so many regions, by default all that there may be."""
    counts = torch.tensor(counts or [sizes.regions] * sizes.batch)
    images, regions = len(counts), int(counts.max())
    mask = torch.arange(regions) < counts[:, None]
    corners = torch.rand(images, regions, 2) * 300
    boxes = torch.cat((corners, corners + 20 + torch.rand(images, regions, 2) * 150), -1)
    return {
        "input_ids": torch.randint(sizes.vocabulary, (images, sizes.words)),
        "region_features": torch.rand(images, regions, sizes.feature_size) * mask[..., None],
        "region_boxes": boxes * mask[..., None],
        "region_mask": mask,
        "labels": (torch.rand(images, sizes.answers) < 3 / sizes.answers).float(),
    }
