"""The configuration of a network of which there are only tensors, under another program's names."""

from collections.abc import Mapping

from huggingface_hub.errors import StrictDataclassError
from torch import Tensor

from ..configuration_mmnas import HEAD_SIZE, MMnasConfig
from ..errors import InputError
from .dialects import RELATION, SEARCHED, Dialect, check_operations, searched_space
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

Tensors = Mapping[str, Tensor]


def build_config(tensors: Tensors, dialect: Dialect, architecture: Architecture | None) -> MMnasConfig:
    """The configuration of the network that has these tensors.

    Raises `InputError` if an architecture is missing, given to a supernet, or none that this package computes.
    """
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


def sizing_names(dialect: Dialect) -> set[str]:
    """The other program's names of the parameters that tell sizes."""
    return {sizing_name(name, dialect) for name, _ in SIZES.values()}


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
