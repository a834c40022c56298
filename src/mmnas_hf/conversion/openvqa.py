"""The architecture of a checkpoint: a genotype, or openvqa's configuration in YAML."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ..configuration_mmnas import HEAD_SIZE, MMnasConfig
from ..errors import InputError, first_line
from ..genotype import Genotype, mcan
from ..operations import EXPANSION

#: Operations in openvqa's configurations.
OPERATIONS = {"SA": "self_att_64", "RSA": "rel_self_att_64", "GA": "guided_att_64", "FFN": "feed_forward"}
SETTINGS_FILES = (".yml", ".yaml")
# What openvqa takes where its configuration is silent.
HEADS = 8
DROPOUT = 0.1


class Architecture(NamedTuple):
    """A genotype and, from openvqa, what a network's tensors do not tell."""

    genotype: Genotype
    heads: int | None = None  # of each attention; none where all are of size 64 anyway
    dropout: float = DROPOUT
    normalised_boxes: bool = False


def read_architecture(source: str) -> Architecture:
    """Read openvqa's YAML file, or whatever `Genotype.load` reads."""
    if Path(source).suffix not in SETTINGS_FILES:
        return Architecture(Genotype.load(source))
    try:
        settings = yaml.safe_load(Path(source).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{source} cannot be read as YAML: {first_line(error)}") from None
    if not isinstance(settings, Mapping):
        raise InputError(f"{source} holds no settings; give a configuration of openvqa such as mmnasnet_small.yml")
    try:
        return from_settings(settings)
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{source} describes no MMNasNet or MCAN: {error}") from None


def from_settings(settings: Mapping[str, Any]) -> Architecture:
    genotype = genotype_in(settings)
    normalised = bool(settings.get("BBOX_NORMALIZE", False))
    if normalised and OPERATIONS["RSA"] in genotype.decoder:
        raise InputError("its relations are between normalised boxes (BBOX_NORMALIZE), here they are between pixels")
    return Architecture(
        genotype, int(settings.get("MULTI_HEAD", HEADS)), float(settings.get("DROPOUT_R", DROPOUT)), normalised
    )


def genotype_in(settings: Mapping[str, Any]) -> Genotype:
    """`ARCH: {enc: [SA, ...], dec: [GA, ...]}` of an MMNasNet, or `LAYER: 6` of an MCAN."""
    if "ARCH" in settings:
        encoder, decoder = (
            tuple(OPERATIONS.get(name, name) for name in settings["ARCH"][side]) for side in ("enc", "dec")
        )
        return Genotype(encoder, decoder)
    if "LAYER" in settings:
        return mcan(2 * int(settings["LAYER"]), 3 * int(settings["LAYER"]))
    raise InputError(f"neither ARCH nor LAYER among {', '.join(map(str, settings))}")


def to_settings(config: MMnasConfig, is_mcan: bool) -> str:
    """The YAML with which openvqa builds this network."""
    genotype = Genotype.from_dict(config.genotype)
    names = {name: short for short, name in OPERATIONS.items()}
    arch = {side[:3]: [names[name] for name in getattr(genotype, side)] for side in ("encoder", "decoder")}
    settings = {
        "MODEL_USE": "mcan" if is_mcan else "mmnasnet",
        **({"LAYER": len(genotype.encoder) // 2} if is_mcan else {"ARCH": arch}),
        "HIDDEN_SIZE": config.hidden_size,
        "FF_SIZE": EXPANSION * config.hidden_size,
        "MULTI_HEAD": config.hidden_size // HEAD_SIZE,
        "REL_HBASE": HEAD_SIZE,
        "REL_SIZE": config.relation_size,
        "DROPOUT_R": config.dropout,
        "FLAT_MLP_SIZE": config.pooler_size,
        "FLAT_GLIMPSES": 1,
        "FLAT_OUT_SIZE": 2 * config.hidden_size,
        "USE_BBOX_FEAT": config.box_feature,
        "BBOXFEAT_EMB_SIZE": config.region_size,
        "BBOX_NORMALIZE": config.box_feature,
        "WORD_EMBED_SIZE": config.word_size,
    }
    return yaml.safe_dump(settings, sort_keys=False, default_flow_style=None)
