"""Word vectors from a GloVe text file as the start of a word embedding."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from .errors import InputError


class Coverage(NamedTuple):
    """How many of a vocabulary's words had a vector."""

    found: int
    total: int

    def __str__(self) -> str:
        return f"{self.found} of {self.total} words have a vector ({self.found / max(self.total, 1):.1%})"


def read_glove(path: str | Path, words: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The vectors of `words` in a GloVe text file: a word and its numbers a line, separated by spaces."""
    path, vectors, size = Path(path), {}, None
    if not path.is_file():
        raise InputError(f"no word vector file {path}; give a GloVe text file such as glove.6B.300d.txt")
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            word, *values = line.rstrip().split(" ")
            size = size or len(values)
            if len(values) != size:
                raise InputError(f"{path}, line {number}: {len(values)} numbers, the lines before have {size}")
            if word in words:
                vectors[word] = parse_numbers(values, path, number)
    return vectors


def parse_numbers(values: list[str], path: Path, line: int) -> np.ndarray:
    try:
        vector = np.array(values, dtype=np.float32)
    except ValueError as error:
        raise InputError(f"{path}, line {line}: {error}") from None
    if not np.isfinite(vector).all():
        raise InputError(f"{path}, line {line}: a number is NaN or infinite")
    return vector


@torch.no_grad()
def initialise_embedding(
    embedding: nn.Embedding, vocabulary: Mapping[str, int], path: str | Path, generator: torch.Generator
) -> Coverage:
    """Fill an embedding from a vector file and tell how many words were found.

    Words without a vector are drawn from a normal distribution with the mean and standard deviation that the found
    vectors have, number by number, so that they are as large as the others but resemble none.
    """
    vectors = read_glove(path, vocabulary)
    if not vectors:
        raise InputError(f"{path} has a vector for none of the {len(vocabulary)} words; is it lower-case GloVe text?")
    rows = torch.tensor(np.stack(list(vectors.values())))
    if rows.shape[1] != embedding.embedding_dim:
        raise InputError(
            f"{path} has {rows.shape[1]}-d vectors; word_size is {embedding.embedding_dim}: make them equal"
        )
    deviation = rows.std(0) if len(rows) > 1 else torch.zeros_like(rows[0])
    noise = torch.randn(embedding.weight.shape, generator=generator)
    weight = rows.mean(0) + deviation * noise
    weight[[vocabulary[word] for word in vectors]] = rows
    embedding.weight.copy_(weight)
    return Coverage(len(vectors), len(vocabulary))
