"""Word vectors as the start of a word embedding, from files of GloVe, word2vec and gensim."""

import json
from collections.abc import Mapping
from glob import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from .. import __version__
from ..cache import cached_arrays, fingerprint
from ..errors import InputError
from .reading import read_vectors


class Coverage(NamedTuple):
    """How many of a vocabulary's words had a vector."""

    found: int
    total: int

    def __str__(self) -> str:
        return f"{self.found} of {self.total} words have a vector ({self.found / max(self.total, 1):.1%})"


@torch.no_grad()
def initialise_embedding(
    embedding: nn.Embedding, vocabulary: Mapping[str, int], path: str | Path, generator: torch.Generator
) -> Coverage:
    """Fill an embedding from a vector file and tell how many words were found, spelled exactly as in the vocabulary.

    Words without a vector are drawn from a normal distribution with the mean and standard deviation that the found
    vectors have, number by number, so that they are as large as the others but resemble none. What is found is kept,
    and the next start with the same file and vocabulary does not read the file.
    """
    found = find_vectors(Path(path), vocabulary, embedding.embedding_dim)
    vectors = torch.tensor(found["vectors"])
    deviation = vectors.std(0) if len(vectors) > 1 else torch.zeros_like(vectors[0])
    noise = torch.randn(embedding.weight.shape, generator=generator)
    weight = vectors.mean(0) + deviation * noise
    weight[torch.tensor(found["rows"])] = vectors
    embedding.weight.copy_(weight)
    return Coverage(len(vectors), len(vocabulary))


def find_vectors(path: Path, vocabulary: Mapping[str, int], size: int) -> dict[str, np.ndarray]:
    """The vocabulary's rows [found] that have a vector in a file, and these vectors [found, size]."""
    if not path.is_file():
        raise InputError(f"no word vector file {path}; give one of GloVe, word2vec or gensim, as glove.6B.zip")

    def read() -> dict[str, np.ndarray]:
        vectors = read_vectors(path, vocabulary, size)
        rows = [vocabulary[word] for word in vectors]
        return {"rows": np.array(rows), "vectors": np.stack(list(vectors.values()))}

    files = [path, *sorted(path.parent.glob(f"{escape(path.name)}.*.npy"))]  # gensim puts large arrays beside
    key = fingerprint(__version__, *files, json.dumps([size, dict(vocabulary)], sort_keys=True))
    return cached_arrays("word_vectors", key, read)
