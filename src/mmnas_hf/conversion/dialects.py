"""What other programs call the parameters of these networks: one table, read in both directions."""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..configuration_mmnas import MMnasConfig
from ..errors import InputError
from ..genotype import DECODER_CANDIDATES, Genotype, SearchSpace, mcan

RELATION = "mmnas.relations.plain.linear"

#: Modules outside the nodes: this package's, the original's, and openvqa's, which only answers questions.
MODULES: dict[str, tuple[str, str | None]] = {
    "mmnas.words": ("embedding", "embedding"),
    "mmnas.lstm": ("lstm", "lstm"),
    "mmnas.boxes": ("bboxfeat_linear", "adapter.bbox_linear"),
    "mmnas.regions": ("imgfeat_linear", "adapter.frcn_linear"),
    RELATION: ("linear_y_rel", "linear_rel"),
    "head.words.hidden": ("attflat_x.mlp.fc.linear", "attflat_lang.mlp.fc.linear"),
    "head.words.score": ("attflat_x.mlp.linear", "attflat_lang.mlp.linear"),
    "head.words.merge": ("attflat_x.linear_merge", "attflat_lang.linear_merge"),
    "head.regions.hidden": ("attflat_y.mlp.fc.linear", "attflat_img.mlp.fc.linear"),
    "head.regions.score": ("attflat_y.mlp.linear", "attflat_img.mlp.linear"),
    "head.regions.merge": ("attflat_y.linear_merge", "attflat_img.linear_merge"),
    "head.regions": ("attfc_y", None),
    "head.norm": ("proj_norm", "proj_norm"),
    "head.classifier": ("proj", "proj"),
    "head.score": ("proj_scores", None),
    "head.box": ("proj_reg", None),
}
#: Modules inside a node's operation, in the same columns.
NODE_MODULES: dict[str, tuple[str, str]] = {
    "operation.attention.query": ("mhatt.linear_q", "mhatt.linear_q"),
    "operation.attention.key": ("mhatt.linear_k", "mhatt.linear_k"),
    "operation.attention.value": ("mhatt.linear_v", "mhatt.linear_v"),
    "operation.attention.merge": ("mhatt.linear_merge", "mhatt.linear_merge"),
    "operation.relation": ("mhatt.linear_r", "mhatt.linear_r"),
    "operation.expand": ("mlp.fc.linear", "mlp.fc.linear"),
    "operation.contract": ("mlp.linear", "mlp.linear"),
    "norm": ("ln", "norm"),
}
NORM_PARAMETERS = {"weight": "a_2", "bias": "b_2"}
ORIGINAL, OPENVQA = 0, 1  # the columns

NODE = re.compile(r"mmnas\.backbone\.(encoder|decoder)\.(\d+)\.(\w+)\.(.+)")
SEARCHED_NODE = re.compile(r"backnone\.cells_(enc|dec)\.0\.dag\.(\d+)\.")
MCAN_LAYER = {"enc": 2, "dec": 3}  # nodes: SA, FFN over words; SA, GA, FFN over regions


def node_of(side: str, node: int) -> str:
    """Where the original keeps a node; `side` is `enc` or `dec`."""
    return f"backnone.cells_{side}.0.dag.{node}.0"


def in_searched(side: str, node: int, candidate: int, module: str) -> str:
    return f"{node_of(side, node)}.candidate_ops.{candidate}.{module}"


def in_derived(side: str, node: int, candidate: int, module: str) -> str:  # noqa: ARG001 - there is only one
    return f"{node_of(side, node)}.{module}"


def in_mmnasnet(side: str, node: int, candidate: int, module: str) -> str:  # noqa: ARG001
    return f"backbone.{side}_list.{node}.{module}"


def in_mcan(side: str, node: int, candidate: int, module: str) -> str:  # noqa: ARG001
    """MCAN keeps two or three operations in a layer and numbers what a layer has several of."""
    layer, position = divmod(node, MCAN_LAYER[side])
    kind, dot, rest = module.partition(".")
    attention = "mhatt" if side == "enc" else f"mhatt{position + 1}"
    inside = {"mhatt": attention, "mlp": "ffn.mlp", "norm": f"norm{position + 1}"}[kind]
    return f"backbone.{side}_list.{layer}.{inside}{dot}{rest}"


class Dialect(NamedTuple):
    """How one program names parameters, and how to tell its checkpoints."""

    title: str
    mark: str  # a pattern that some name of its checkpoints begins with, and no name of those before it in `DIALECTS`
    column: int
    locate: Callable[[str, int, int, str], str]

    @property
    def attention_bias(self) -> bool:
        """Whether the projections of its attention have one."""
        return self.column == OPENVQA

    def module(self, module: str) -> str | None:
        """A module outside the nodes; none if the program has no such thing."""
        return MODULES[module][self.column]


SEARCHED = Dialect("a supernet of MMnas", r"backnone\..*\.candidate_ops\.", ORIGINAL, in_searched)
DERIVED = Dialect("a network of MMnas", r"backnone\.", ORIGINAL, in_derived)
MCAN = Dialect("an MCAN of openvqa", r"backbone\.\w+_list\.\d+\.ffn\.", OPENVQA, in_mcan)
MMNASNET = Dialect("an MMNasNet of openvqa", r"backbone\.\w+_list\.", OPENVQA, in_mmnasnet)
DIALECTS = (SEARCHED, DERIVED, MCAN, MMNASNET)


def find_dialect(names: Iterable[str]) -> Dialect:
    """Whose names these are."""
    names = list(names)
    for dialect in DIALECTS:
        if any(re.match(dialect.mark, name) for name in names):
            return dialect
    raise InputError(
        f"no network of the original MMnas (backnone.*) nor of openvqa's mmnasnet and mcan (backbone.*_list.*): "
        f"the file's names begin with {', '.join(sorted(names)[:3]) or 'nothing'}"
    )


def choose_dialect(config: MMnasConfig) -> Dialect:
    """The names by which another program can load this network; raises `InputError` if none can."""
    space = config.space
    check_operations(space)
    if config.genotype is not None:
        if not config.attention_bias:
            return DERIVED
        if config.box_feature and "rel_self_att_64" in space.operations:
            raise InputError("openvqa normalises the boxes of a box feature, and then those of relations too")
        return MCAN if is_mcan(Genotype.from_dict(config.genotype)) else MMNASNET
    if config.attention_bias or space != SearchSpace.chain(len(space.encoder), len(space.decoder)):
        raise InputError("the original's supernet has its published candidates at every node, and no attention bias")
    return SEARCHED


def check_operations(space: SearchSpace) -> None:
    """Raise `InputError` for operations that only this package has."""
    if unknown := [name for name in space.operations if name not in DECODER_CANDIDATES]:
        raise InputError(f"the original has no {', '.join(unknown)}; it has: {', '.join(DECODER_CANDIDATES)}")


def is_mcan(genotype: Genotype) -> bool:
    """Whether a genotype consists of whole layers of MCAN, as many over words as over regions."""
    layers = len(genotype.decoder) // MCAN_LAYER["dec"]
    return layers > 0 and genotype == mcan(layers * MCAN_LAYER["enc"], layers * MCAN_LAYER["dec"])


def searched_space(names: Iterable[str]) -> SearchSpace:
    """The space of a supernet of the original: its published candidates at as many nodes as occur."""
    nodes = {match.groups() for match in map(SEARCHED_NODE.match, names) if match}
    counts = [sum(side == wanted for side, _ in nodes) for wanted in ("enc", "dec")]
    return SearchSpace.chain(*counts)


def translate(name: str, space: SearchSpace, dialect: Dialect) -> str:
    """The other program's name of a parameter of ours."""
    module, _, parameter = name.rpartition(".")
    if module.endswith("norm"):
        parameter = NORM_PARAMETERS[parameter]
    if match := NODE.fullmatch(module):
        side, node, operation, inside = match[1], int(match[2]), match[3], match[4]
        candidate = getattr(space, side)[node].index(operation)
        theirs = dialect.locate(side[:3], node, candidate, NODE_MODULES[inside][dialect.column])
    else:
        theirs = dialect.module(module)
    if theirs is None:
        raise InputError(f"{dialect.title} answers questions: use task vqa")
    return f"{theirs}.{parameter}"
