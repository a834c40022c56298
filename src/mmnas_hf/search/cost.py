"""What a search costs: examples seen and floating-point operations, counted by what ran and priced once."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..flops import count_flops
from ..genotype import Genotype
from ..modeling_mmnas import MMnasForTask, MMnasModelOutput, Node, Path, Sublayer, additive_mask
from ..operations import OPERATIONS, Context
from ..sampling import some_batches
from ..tasks import Row, Rows

SAMPLED_BATCHES = 9  # of which the typical one is taken
MEASURED = 16  # prices that a process remembers
REST = "rest"  # what runs on every path: embeddings, head and loss


class Price(NamedTuple):
    """Floating-point operations an example: forward, and backward to the inputs alone or to the weights as well."""

    forward: float
    input_gradient: float
    gradient: float


Prices = Mapping[str, Price]  # of each part of a supernet that runs or does not


class Part(NamedTuple):
    """Something that a path runs, and whether gradients flow through it."""

    name: str
    is_open: bool


class SearchCost:
    """Counts the examples of a search, and how many went which way through each part of its supernet.

    An example is a pair of text and image that runs through the network. What only watches a search, and looking for
    hard negatives, is not counted. `measure` gives the parts' prices when they are first asked for; `processes` share
    the work equally.
    """

    def __init__(self, measure: Callable[[], Prices], processes: int = 1):
        self.measure, self.processes = measure, processes
        self.examples = 0
        self.counts: Counter[str] = Counter()  # examples by part and pass, as "part:pass"

    def add_weight_step(self, path: Path, examples: int) -> None:
        self.add(path, examples, "gradient")

    def add_architecture_step(self, path: Path, examples: int) -> None:
        self.add(path, examples, "input_gradient" if has_gradient(path) else None)

    def add_scoring(self, genotype: Genotype, examples: int) -> None:
        self.add(genotype.as_path(), examples, None, processes=1)

    def add(self, path: Path, examples: int, backward: str | None, processes: int | None = None) -> None:
        examples *= processes or self.processes
        self.examples += examples
        for name, is_open in parts_of(path):
            self.counts[f"{name}:forward"] += examples
            if backward is not None and is_open:
                self.counts[f"{name}:{backward}"] += examples

    @cached_property
    def prices(self) -> Prices:
        return self.measure()

    @property
    def flops(self) -> float:
        """Floating-point operations of all that was counted."""
        split = ((*key.rsplit(":", 1), count) for key, count in self.counts.items())
        return sum(getattr(self.prices[name], passed) * count for name, passed, count in split)

    def state_dict(self) -> dict[str, Any]:
        return {"examples": self.examples, "counts": dict(self.counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.examples, self.counts = state["examples"], Counter(state["counts"])


def has_gradient(path: Path) -> bool:
    """Whether any gate of a path learns from the loss."""
    return any(isinstance(weight, Tensor) and weight.requires_grad for gate in path for weight in gate.values())


def parts_of(path: Path) -> Iterator[Part]:
    """All that a path runs: the operations of its nodes, the geometries that they read, and the rest."""
    geometries = {}
    for number, gate in enumerate(path):
        for name, weight in gate.items():
            yield Part(f"{number}/{name}", bool(weight != 0))
            geometries[OPERATIONS[name].geometry] = None
    yield from (Part(geometry, True) for geometry in geometries if geometry)
    yield Part(REST, True)


def typical_batch(
    rows: Rows, collate: Callable[[list[Row]], Mapping[str, Tensor]], size: int, regions: Sequence[int] | None
) -> Mapping[str, Tensor]:
    """Of some drawn batches the one whose padded texts and images have the median length; as in `some_batches`."""
    drawn = some_batches(len(rows), size, regions, SAMPLED_BATCHES)
    batches = sorted((collate(rows.__getitems__(indices)) for indices in drawn), key=padded_length)
    return batches[len(batches) // 2]


def padded_length(batch: Mapping[str, Tensor]) -> int:
    return batch["input_ids"].shape[1] + batch["region_features"].shape[1]


def measure_prices(model: MMnasForTask, batch: Mapping[str, Tensor]) -> Prices:
    """Count a model's parts at the shapes of this batch; neither is touched, and nothing is really computed."""
    shapes = tuple((name, value.shape, value.dtype) for name, value in batch.items())
    return count_parts(type(model), model.config.to_json_string(use_diff=False), shapes)


@lru_cache(maxsize=MEASURED)
def count_parts(
    model_class: type[MMnasForTask], config: str, shapes: tuple[tuple[str, torch.Size, torch.dtype], ...]
) -> Prices:
    """Prices depend on nothing else, so that searches of one comparison in one process share them."""
    with torch.device("meta"):
        model = model_class(model_class.config_class.from_dict(json.loads(config)))
        batch = {name: torch.empty(shape, dtype=dtype) for name, shape, dtype in shapes}
    examples = len(batch["input_ids"])
    counted = count_geometries(model, batch) | count_operations(model, batch)
    reference = [{names[0]: 1.0} for names in model.config.space.nodes]
    run = [counted[part.name] for part in parts_of(reference) if part.name != REST]
    whole = count(lambda: model(**batch, path=reference).loss, (), [*model.parameters()])
    rest = Price(
        whole.forward - sum(price.forward for price in run),
        count_head(model, batch).input_gradient,
        whole.gradient - sum(price.gradient for price in run),
    )
    return {name: Price(*(value / examples for value in price)) for name, price in {**counted, REST: rest}.items()}


def count_operations(model: MMnasForTask, batch: Mapping[str, Tensor]) -> dict[str, Price]:
    """Prices of all candidates of all nodes."""
    words, regions = states_like(model, batch)
    mask, region_mask = masks_of(batch)
    embedded = {name: embed(*boxes_of(batch)).detach() for name, embed in model.mmnas.relations.items()}
    pairs = {name: pairs.requires_grad_() for name, pairs in embedded.items()}
    alone = Context(additive_mask(mask, words))
    both = Context(additive_mask(region_mask, regions), words, additive_mask(mask, regions))
    backbone = model.mmnas.backbone
    encoder = count_chain(backbone.encoder, words, alone, {})
    decoder = count_chain(backbone.decoder, regions, both, pairs)
    return {f"{number}/{name}": price for number, node in enumerate(encoder + decoder) for name, price in node.items()}


def count_chain(
    nodes: Sequence[Node], states: Tensor, context: Context, pairs: Mapping[str, Tensor]
) -> list[dict[str, Price]]:
    """Prices of the candidates of nodes that differ in nothing but whether they are the first."""
    prices: dict[tuple[str, bool], Price] = {}
    for position, node in enumerate(nodes):
        for name, sublayer in node.items():
            kind = name, position == 0
            if kind not in prices:
                prices[kind] = count_operation(sublayer, states, context, pairs, is_first=position == 0)
    return [{name: prices[name, position == 0] for name in node} for position, node in enumerate(nodes)]


def count_operation(
    sublayer: Sublayer, states: Tensor, context: Context, pairs: Mapping[str, Tensor], is_first: bool
) -> Price:
    """Price of one candidate; before the first node nothing depends on the architecture, and needs a gradient."""
    operation = sublayer.operation
    memory = [] if context.memory is None else [context.memory]
    inputs = memory if is_first else [states, *memory]
    others = [states, *pairs.values(), *sublayer.parameters()]

    def run() -> Tensor:
        related = {} if operation.geometry is None else {operation: operation.relate(pairs[operation.geometry])}
        return sublayer(states, context._replace(relations=related))

    return count(run, inputs, others)


def count_geometries(model: MMnasForTask, batch: Mapping[str, Tensor]) -> dict[str, Price]:
    boxes = boxes_of(batch)
    return {
        name: count(partial(embed, *boxes), (), [*embed.parameters()]) for name, embed in model.mmnas.relations.items()
    }


def count_head(model: MMnasForTask, batch: Mapping[str, Tensor]) -> Price:
    words, regions = states_like(model, batch)
    mask, region_mask = masks_of(batch)

    def loss() -> Tensor:
        output = model.head(MMnasModelOutput(words, regions), mask, region_mask)
        return model.compute_loss(output, batch["labels"], batch["region_boxes"], region_mask)

    return count(loss, (words, regions), [*model.head.parameters()])


def count(function: Callable[[], Tensor], inputs: Sequence[Tensor], others: Sequence[Tensor]) -> Price:
    """Floating-point operations of a call, and of its gradients to the inputs, and to the others as well."""
    forward = count_flops(function)

    def backward(wanted: Sequence[Tensor]) -> float:
        if not wanted:
            return 0.0
        return count_flops(lambda: function().sum().backward(inputs=wanted)) - forward

    return Price(forward, backward(inputs), backward([*inputs, *others]))


def states_like(model: MMnasForTask, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """States of words and of regions that stand for those of this batch."""
    return tuple(
        torch.zeros(*batch[name].shape[:2], model.config.hidden_size, device="meta", requires_grad=True)
        for name in ("input_ids", "region_features")
    )


def masks_of(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    return batch["attention_mask"].bool(), batch["region_mask"].bool()


def boxes_of(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    return batch["region_boxes"], batch["region_mask"].bool()
