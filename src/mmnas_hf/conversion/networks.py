"""Turns tensors under another program's names into a network, and back."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor

from ..configuration_mmnas import HEAD_SIZE, MMnasConfig
from ..errors import InputError
from ..genotype import Genotype, SearchSpace
from ..modeling_mmnas import MMnasForTask
from ..operations import GEOMETRIES
from ..tasks import Task
from .dialects import (
    MCAN,
    RELATION,
    SEARCHED,
    Dialect,
    check_operations,
    choose_dialect,
    find_dialect,
    node_of,
    searched_space,
    translate,
)
from .openvqa import Architecture

#: The sizes of a network, and the dimension of a parameter that tells each.
SIZES = {
    "vocab_size": ("mmnas.words.weight", 0),
    "word_size": ("mmnas.words.weight", 1),
    "hidden_size": ("mmnas.lstm.weight_hh_l0", 1),
    "region_size": ("mmnas.regions.weight", 1),
    "relation_size": (f"{RELATION}.weight", 0),
    "pooler_size": ("head.words.hidden.weight", 0),
    "num_labels": ("head.classifier.weight", 0),
}
ALPHA, GATE = "alpha_prob", "alpha_gate"  # a supernet's architecture parameters, and the gates of its last step
WORD_RELATION = "linear_x_rel"  # the original's supernet also embeds how words relate, and uses it nowhere
WORD_RELATION_SIZE = 3
SHOWN = 20  # names of one kind of trouble, at most

Tensors = Mapping[str, Tensor]
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
    names = {name: translate(name, config.space, dialect) for name in model.state_dict()}
    besides = shapes_besides(dialect, config, names)
    shapes = {names[name]: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if trouble := compare(tensors, shapes | besides, {sizing_name(name, dialect) for name, _ in SIZES.values()}):
        raise InputError(f"the tensors do not fit {dialect.title} for task {task.name}; {trouble}")
    # Copies, since a checkpoint may share memory among tensors, or with its file.
    model.load_state_dict({name: tensors[theirs].clone() for name, theirs in names.items()}, assign=True)
    return Converted(model.eval(), {name: tensors[name].clone() for name in besides})


def to_original(model: MMnasForTask, besides: Tensors | None = None) -> tuple[Dialect, dict[str, Tensor]]:
    """The tensors with which the original, or openvqa, loads a network.

    What the network does not use and `besides` does not have is zero; a supernet's alphas are then uniform.
    """
    dialect, config, known = choose_dialect(model.config), model.config, besides or {}
    weights = model.state_dict()
    names = {name: translate(name, config.space, dialect) for name in weights}
    unused = {
        name: known[name] if name in known and known[name].shape == shape else torch.zeros(shape)
        for name, shape in shapes_besides(dialect, config, names).items()
    }
    return dialect, {theirs: weights[name] for name, theirs in names.items()} | unused


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


def build_config(tensors: Tensors, dialect: Dialect, architecture: Architecture | None) -> MMnasConfig:
    sizes = read_sizes(tensors, dialect)
    box_feature = f"{dialect.module('mmnas.boxes')}.weight" in tensors
    if box_feature and "region_size" in sizes:
        sizes["region_size"] //= 2  # features, and as many numbers from the box
    if dialect is SEARCHED:
        if architecture is not None:
            raise InputError("a supernet has all candidates and takes no genotype; train.py --inherit derives networks")
        kind = {"search_space": searched_space(tensors)}
    else:
        check_architecture(architecture, dialect, sizes, box_feature)
        kind = {"genotype": architecture.genotype, "dropout": architecture.dropout}
    try:
        return MMnasConfig(
            **sizes, **kind, box_feature=box_feature, attention_bias=dialect.attention_bias, pad_token_id=0
        )
    except StrictDataclassError as error:
        raise InputError(str(error.__cause__ or error)) from None


def read_sizes(tensors: Tensors, dialect: Dialect) -> dict[str, int]:
    """The sizes that tensors tell; those of missing or strangely shaped ones are left out."""
    sizes = {"num_labels": 1}
    for size, (name, dimension) in SIZES.items():
        tensor = tensors.get(sizing_name(name, dialect))
        if tensor is not None and tensor.ndim > dimension and tensor.numel():
            sizes[size] = tensor.shape[dimension]
    return sizes


def sizing_name(name: str, dialect: Dialect) -> str:
    module, _, parameter = name.rpartition(".")
    return f"{dialect.module(module)}.{parameter}"


def check_architecture(
    architecture: Architecture | None, dialect: Dialect, sizes: Mapping[str, int], box_feature: bool
) -> None:
    """Raise `InputError` if the architecture is missing, or if it is one that this package does not compute."""
    if architecture is None:
        raise InputError(f"the names in {dialect.title} do not tell its architecture: give --genotype")
    check_operations(architecture.genotype.as_space())
    if not dialect.attention_bias:
        return
    if architecture.heads is None:
        raise InputError(f"only its configuration tells the heads of {dialect.title}: give its .yml as --genotype")
    hidden = sizes.get("hidden_size", HEAD_SIZE * architecture.heads)
    if hidden != HEAD_SIZE * architecture.heads:
        raise InputError(f"{architecture.heads} heads of {hidden} numbers; only heads of {HEAD_SIZE} can be converted")
    if box_feature and not architecture.normalised_boxes:
        raise InputError("its box feature is in pixels (no BBOX_NORMALIZE), here it is in shares of the image")


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
