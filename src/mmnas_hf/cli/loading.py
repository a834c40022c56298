"""What flags name: data, configurations, and what is saved of a network."""

import logging
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedTokenizerFast

from ..configuration_mmnas import MMnasConfig
from ..corpus import Corpus
from ..data import find_source, keep_groups
from ..errors import InputError, first_line
from ..modeling_mmnas import MMnasForTask
from ..processing_mmnas import MMnasProcessor
from ..tasks import Task, get_task
from ..word_vectors import initialise_embedding
from .arguments import DataArguments, ModelArguments

logger = logging.getLogger(__name__)


def load_corpus(args: DataArguments, tokenizer: PreTrainedTokenizerFast | None = None) -> Corpus:
    data = find_source(args.data).load(args.task, args.data_dir)
    if args.groups:
        data = data._replace(texts=keep_groups(data.texts, args.groups))
    return Corpus(get_task(args.task), data, tokenizer, args.roles)


def build_config(corpus: Corpus, args: ModelArguments, **architecture: Any) -> MMnasConfig:
    """The configuration that follows from the data, the flags and a genotype or a search space."""
    names = ("hidden_size", "word_size", "pooler_size", "relation_size", "dropout", "box_feature")
    try:
        return MMnasConfig(**corpus.settings(), **{name: getattr(args, name) for name in names}, **architecture)
    except StrictDataclassError as error:
        raise InputError(str(error.__cause__ or error)) from None


def load_model(task: Task, source: str) -> MMnasForTask:
    """A trained network or supernet from a folder or the Hub."""
    try:
        config = MMnasConfig.from_pretrained(source)
    except OSError as error:
        raise InputError(f"no model at {source!r}: {first_line(error)}") from None
    if config.architectures != [task.model_class.__name__]:
        raise InputError(f"{source!r} holds {config.architectures}, task {task.name} needs {task.model_class.__name__}")
    return task.model_class.from_pretrained(source)


def load_tokenizer(source: str | None) -> PreTrainedTokenizerFast | None:
    """The tokenizer that was saved beside a model; none if there is no model to begin with."""
    return None if source is None else load_processor(source).tokenizer


def load_processor(source: str) -> MMnasProcessor:
    """The processor that was saved beside a model."""
    try:
        return MMnasProcessor.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise InputError(f"no processor at {source!r}: {first_line(error)}") from None


def start_words(model: MMnasForTask, corpus: Corpus, path: str | None, seed: int) -> None:
    """Start the word embedding from a vector file, if one is given, and report how many words it has."""
    if path is None:
        return
    generator = torch.Generator().manual_seed(seed)
    vocabulary = corpus.processor.tokenizer.get_vocab()
    coverage = initialise_embedding(model.get_input_embeddings(), vocabulary, path, generator)
    logger.warning("%s: %s", path, coverage)
