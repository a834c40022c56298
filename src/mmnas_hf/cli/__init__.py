"""What the scripts share."""

from .arguments import DataArguments, ModelArguments, OutputArguments, SpaceArguments
from .folders import claim_folder, make_room
from .loading import build_config, load_corpus, load_model, load_tokenizer, start_words
from .parser import Parser
from .results import save_results, share, start_record
from .running import run
from .screen import say, show

__all__ = [
    "DataArguments",
    "ModelArguments",
    "SpaceArguments",
    "OutputArguments",
    "Parser",
    "run",
    "show",
    "say",
    "load_corpus",
    "build_config",
    "load_model",
    "load_tokenizer",
    "start_words",
    "claim_folder",
    "make_room",
    "start_record",
    "save_results",
    "share",
]
