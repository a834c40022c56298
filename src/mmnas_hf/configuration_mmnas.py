"""MMnas configuration: everything needed to rebuild a supernet or a derived network."""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .errors import InputError
from .genotype import Genotype, SearchSpace

HEAD_SIZE = 64  # of every attention operation, as in its name


@strict
class MMnasConfig(PreTrainedConfig):
    """Sizes and architecture of a network; without a genotype it is the supernet over the search space.

    `genotype` and `search_space` are stored as dictionaries of lists; a `Genotype`, its short form or a `SearchSpace`
    may be given. With neither, the space is the published one: 12 text nodes and 18 region nodes.
    """

    model_type = "mmnas"

    vocab_size: int = 20573
    word_size: int = 300
    region_size: int = 2048
    hidden_size: int = 512
    relation_size: int = 64
    pooler_size: int = 512
    dropout: float | int = 0.1
    box_feature: bool = False
    attention_bias: bool = False
    genotype: Any = None
    search_space: Any = None

    def __post_init__(self, **kwargs: Any) -> None:
        if isinstance(self.genotype, str):
            self.genotype = Genotype.load(self.genotype)
        elif isinstance(self.genotype, dict):
            self.genotype = Genotype.from_dict(self.genotype)
        if isinstance(self.search_space, dict):
            self.search_space = SearchSpace.from_dict(self.search_space)
        if self.search_space is None and self.genotype is None:
            self.search_space = SearchSpace.chain()
        if self.genotype is not None and self.search_space is not None:
            raise InputError("give a genotype (derived network) or a search_space (supernet), not both")
        # Stored as JSON, and JSON is what a reloaded configuration is compared with.
        for name in ("genotype", "search_space"):
            value = getattr(self, name)
            setattr(self, name, value if value is None else value.to_dict())
        if not __name__.startswith("transformers_modules."):
            # Code beside the weights is for where this package is not; where it is, its own classes come first, and
            # what they save has no code beside it.
            kwargs = {name: value for name, value in kwargs.items() if name not in ("auto_map", "custom_pipelines")}
        super().__post_init__(**kwargs)

    def validate_hidden_size(self) -> None:
        if self.hidden_size % HEAD_SIZE:
            raise InputError(f"hidden_size {self.hidden_size} is no multiple of the head size {HEAD_SIZE}")

    def validate_dropout(self) -> None:
        if not 0 <= self.dropout <= 1:
            raise InputError(f"dropout {self.dropout} is no probability; give one from 0 to 1")

    @property
    def space(self) -> SearchSpace:
        """The candidates at every node; a derived network has one each."""
        if self.genotype is not None:
            return Genotype.from_dict(self.genotype).as_space()
        return SearchSpace.from_dict(self.search_space)

    def with_genotype(self, genotype: Genotype) -> "MMnasConfig":
        """The same sizes with any architecture."""
        return type(self).from_dict(self.to_dict() | {"genotype": genotype.to_dict(), "search_space": None})

    def derive(self, genotype: Genotype) -> "MMnasConfig":
        """The configuration of the network that `genotype` picks from this space."""
        self.space.check(genotype)
        return self.with_genotype(genotype)
