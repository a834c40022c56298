"""Flags about data, networks, spaces and folders, which several scripts have."""

from dataclasses import dataclass, field
from typing import ClassVar

from ..corpus import ROLES
from ..data import DATASETS
from ..errors import InputError
from ..genotype import DECODER_CANDIDATES, DECODER_NODES, ENCODER_CANDIDATES, ENCODER_NODES, SearchSpace
from ..operations import OPERATIONS
from ..tasks import TASKS


@dataclass
class DataArguments:
    """Which task, on which data."""

    _argument_group_name: ClassVar[str] = "task and data"

    task: str = field(default="vgd", metadata={"help": f"Task: {', '.join(TASKS)}."})
    data: str = field(
        default="scenes",
        metadata={"help": f"Data set: {', '.join(DATASETS)}, a folder of tables, or OWNER/NAME of one on the Hub."},
    )
    data_dir: str | None = field(default=None, metadata={"help": "Folder with the data set's downloaded files."})
    groups: list[str] | None = field(
        default=None,
        metadata={
            "help": "Use only texts of these groups, where texts have one; scenes: none, direction-free, directional."
        },
    )
    train_split: str | None = field(
        default=None, metadata={"help": "Split to train on, or several as in train+val+vg; default: the data set's."}
    )
    validation_split: str | None = field(
        default=None, metadata={"help": "Split that a search is watched on; default: the data set's."}
    )
    test_split: str | None = field(default=None, metadata={"help": "Split that is scored; default: the data set's."})
    labels_split: str | None = field(
        default=None, metadata={"help": "Splits whose labels make the answer vocabulary; default: the data set's."}
    )
    eval_images: int | None = field(
        default=None, metadata={"help": "Score only texts about so many images of a split; matching scores all pairs."}
    )

    @property
    def roles(self) -> dict[str, str]:
        """The splits that were chosen for something."""
        chosen = {role: getattr(self, f"{role}_split") for role in ROLES}
        return {role: split for role, split in chosen.items() if split}

    def __post_init__(self) -> None:
        if self.eval_images is not None and self.eval_images < 1:
            raise InputError(f"eval_images {self.eval_images} leaves nothing to score; give at least 1")


@dataclass
class ModelArguments:
    """Sizes and options of the network."""

    _argument_group_name: ClassVar[str] = "network"

    hidden_size: int = field(default=512, metadata={"help": "Width of all states; a multiple of 64."})
    word_size: int = field(default=300, metadata={"help": "Width of the word embedding."})
    pooler_size: int = field(default=512, metadata={"help": "Hidden width of the attention pooling."})
    relation_size: int = field(default=64, metadata={"help": "Width of an embedded pair of regions."})
    dropout: float = field(default=0.1, metadata={"help": "Dropout everywhere."})
    box_feature: bool = field(default=False, metadata={"help": "Give regions their place as an extra feature."})
    word_vectors: str | None = field(
        default=None, metadata={"help": "Word vectors that start the embedding: GloVe, word2vec or gensim's own file."}
    )


@dataclass
class SpaceArguments:
    """What is searched."""

    _argument_group_name: ClassVar[str] = "search space"

    encoder_nodes: int = field(default=ENCODER_NODES, metadata={"help": "Text nodes."})
    decoder_nodes: int = field(default=DECODER_NODES, metadata={"help": "Region nodes."})
    encoder_candidates: list[str] = field(
        default_factory=lambda: list(ENCODER_CANDIDATES),
        metadata={"help": f"Operations a text node may have: {', '.join(OPERATIONS)}."},
    )
    decoder_candidates: list[str] = field(
        default_factory=lambda: list(DECODER_CANDIDATES),
        metadata={"help": f"Operations a region node may have: {', '.join(OPERATIONS)}."},
    )

    @property
    def space(self) -> SearchSpace:
        return SearchSpace.chain(
            self.encoder_nodes, self.decoder_nodes, self.encoder_candidates, self.decoder_candidates
        )


@dataclass
class OutputArguments:
    """Where results go."""

    _argument_group_name: ClassVar[str] = "output"

    overwrite: bool = field(default=False, metadata={"help": "Replace the run that output_dir already holds."})
    resume: bool = field(
        default=False,
        metadata={"help": "Go on from the newest whole checkpoint in output_dir, or start if there is none yet."},
    )

    def __post_init__(self) -> None:
        if self.overwrite and self.resume:
            raise InputError("--resume goes on with the run that --overwrite deletes; give one of them")
