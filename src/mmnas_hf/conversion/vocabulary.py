"""Words and answers as the original and openvqa keep them: texts by number."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..configuration_mmnas import MMnasConfig
from ..errors import InputError, first_line
from ..processing_mmnas import MMnasProcessor, build_tokenizer
from ..tasks import Task
from ..unpickling import unpickle_file

PICKLES = (".pkl", ".pickle")
FORMS = 'a list of texts, {"text": number}, or a list that begins with the latter'


def read_entries(path: Path) -> list[str]:
    """The texts of a JSON or pickle file, by number: a list, a mapping, or openvqa's pair of mappings."""
    data = read_data(path)
    if isinstance(data, list) and data and isinstance(data[0], Mapping):
        data = data[0]  # the other one is its inverse
    if isinstance(data, Mapping):
        data = by_number(data, path)
    if not isinstance(data, list) or not data or not all(isinstance(text, str) for text in data):
        raise InputError(f"{path} holds no texts; it must be {FORMS}")
    if len(set(data)) < len(data):
        twice = next(text for position, text in enumerate(data) if text in data[:position])
        raise InputError(f"{path} has {twice!r} twice")
    return data


def read_data(path: Path) -> Any:
    try:
        return unpickle_file(path) if path.suffix in PICKLES else json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from None


def by_number(numbers: Mapping[str, Any], path: Path) -> list[str]:
    if not all(type(number) is int for number in numbers.values()):
        raise InputError(f"{path} does not give each text a number; it must be {FORMS}")
    texts = sorted(numbers, key=numbers.__getitem__)
    if [numbers[text] for text in texts] != list(range(len(texts))):
        raise InputError(f"the numbers in {path} are not 0 to {len(texts) - 1}, each once")
    return texts


def words_processor(words: list[str], config: MMnasConfig, task: Task) -> MMnasProcessor:
    """A processor with exactly these words' numbers; PAD, UNK and CLS may be left out."""
    tokenizer = build_tokenizer(words, task.max_words)
    numbers = tokenizer.get_vocab()
    if len(numbers) != config.vocab_size:
        raise InputError(f"the vocabulary has {len(numbers)} words with PAD, UNK, CLS; the network {config.vocab_size}")
    if len(words) == config.vocab_size and [numbers[word] for word in words] != list(range(len(words))):
        raise InputError(f"the vocabulary begins with {', '.join(words[:3])}; it must begin with PAD, UNK, CLS")
    return MMnasProcessor(tokenizer)


def label_answers(config: MMnasConfig, answers: list[str]) -> None:
    """Give a network's outputs their names."""
    if len(answers) != config.num_labels:
        raise InputError(f"{len(answers)} answers; the network has {config.num_labels} outputs to name")
    config.id2label = dict(enumerate(answers))
    config.label2id = {answer: number for number, answer in enumerate(answers)}
