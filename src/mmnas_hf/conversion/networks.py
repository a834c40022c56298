"""Turns tensors under another program's names into a network, and back."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ..configuration_mmnas import MMnasConfig
from ..errors import InputError
from ..genotype import Genotype, SearchSpace
from ..modeling_mmnas import MMnasForTask
from ..operations import GEOMETRIES
from ..tasks import Task
from .dialects import MCAN, RELATION, SEARCHED, Dialect, choose_dialect, find_dialect, node_of, translate
from .openvqa import Architecture
from .sizes import Tensors, build_config, sizing_names

ALPHA, GATE = "alpha_prob", "alpha_gate"  # a supernet's architecture parameters, and the gates of its last step
WORD_RELATION = "linear_x_rel"  # the original's supernet also embeds how words relate, and uses it nowhere
WORD_RELATION_SIZE = 3
SHOWN = 20  # names of one kind of trouble, at most

Shapes = dict[str, tuple[int, ...]]


class Converted(NamedTuple):
    """A converted network and what the other program's checkpoint holds besides, under its names there.

    Besides the weights that it uses, the original keeps the architecture's parameters of a supernet, and embeddings of
    relations that no operation of the network reads.
    """

    model: MMnasForTask
    besides: dict[str, Tensor]


def from_original(tensors: Tensors, task: Task, architecture: Architecture | None = None) -> Converted:
    """The network whose parameters these are; a supernet needs no architecture.

    Raises `InputError` where the names or shapes are not those of such a network, naming all that are not.
    """
    dialect = find_dialect(tensors)
    config = build_config(tensors, dialect, architecture)
    with torch.device("meta"):
        model = task.model_class(config)
    names = translate_all(model, dialect)
    besides = shapes_besides(dialect, config, names)
    shapes = {names[name]: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if trouble := compare(tensors, shapes | besides, sizing_names(dialect)):
        raise InputError(f"the tensors do not fit {dialect.title} for task {task.name}; {trouble}")
    # Copies, since a checkpoint may share memory among tensors, or with its file.
    model.load_state_dict({name: tensors[theirs].clone() for name, theirs in names.items()}, assign=True)
    return Converted(model.eval(), {name: tensors[name].clone() for name in besides})


def to_original(model: MMnasForTask, besides: Tensors | None = None) -> tuple[Dialect, dict[str, Tensor]]:
    """The tensors with which the original, or openvqa, loads a network.

    What the network does not use and `besides` does not have is zero; a supernet's alphas are then uniform.
    """
    dialect, config, known = choose_dialect(model.config), model.config, besides or {}
    weights, names = model.state_dict(), translate_all(model, dialect)
    unused = {
        name: known[name] if name in known and known[name].shape == shape else torch.zeros(shape)
        for name, shape in shapes_besides(dialect, config, names).items()
    }
    return dialect, {theirs: weights[name] for name, theirs in names.items()} | unused


def translate_all(model: MMnasForTask, dialect: Dialect) -> dict[str, str]:
    """The other program's names of a network's parameters, by those that they have here."""
    space = model.config.space
    return {name: translate(name, space, dialect) for name in model.state_dict()}


def genotype_of(converted: Converted) -> Genotype:
    """The network's genotype, or a supernet's most probable one."""
    config = converted.model.config
    if config.genotype is not None:
        return Genotype.from_dict(config.genotype)
    return config.space.genotype([max(node, key=node.get) for node in probabilities_of(converted)])


def probabilities_of(converted: Converted) -> list[dict[str, float]]:
    """How probable a supernet's search found each candidate of each node, encoder first."""
    space = converted.model.config.space
    alphas = [converted.besides[name].softmax(0).tolist() for name in node_parameters(space, ALPHA)]
    return [dict(zip(node, alpha, strict=True)) for node, alpha in zip(space.nodes, alphas, strict=True)]


def shapes_besides(dialect: Dialect, config: MMnasConfig, names: Iterable[str]) -> Shapes:
    """What the other program's checkpoint has and the network, whose own names are given, does not."""
    shapes: Shapes = {}
    if dialect is not MCAN and f"{RELATION}.weight" not in names:
        shapes |= linear(dialect.module(RELATION), GEOMETRIES["plain"].size, config.relation_size)
    if dialect is SEARCHED:
        for kind in (ALPHA, GATE):
            counts = map(len, config.space.nodes)
            shapes |= {name: (count,) for name, count in zip(node_parameters(config.space, kind), counts, strict=True)}
        if "head.classifier.weight" in names:
            shapes |= linear(WORD_RELATION, WORD_RELATION_SIZE, config.relation_size)
    return shapes


def linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def node_parameters(space: SearchSpace, kind: str) -> list[str]:
    """The names of something that each node of the original's supernet has, encoder first."""
    sides = {"enc": space.encoder, "dec": space.decoder}
    return [f"{node_of(side, node)}.{kind}" for side, nodes in sides.items() for node in range(len(nodes))]


def compare(tensors: Tensors, shapes: Shapes, sizing: set[str]) -> str:
    """How the tensors' names and shapes differ from what is expected; empty if they do not.

    While one of `sizing` is missing, the sizes are not known, and shapes are not compared.
    """
    missing, known = sorted(shapes.keys() - tensors.keys()), sorted(shapes.keys() & tensors.keys())
    differing = [name for name in known if tuple(tensors[name].shape) != shapes[name] and sizing.isdisjoint(missing)]
    troubles = {
        "missing": missing,
        "left over": sorted(tensors.keys() - shapes.keys()),
        "of wrong shape": [f"{name} {list(tensors[name].shape)} instead of {list(shapes[name])}" for name in differing],
    }
    return "; ".join(f"{kind}: {shorten(names)}" for kind, names in troubles.items() if names)


def shorten(names: list[str]) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
