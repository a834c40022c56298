"""gensim's own files: a pickle of a `KeyedVectors`, with large arrays beside it; gensim is not needed."""

from collections.abc import Collection, Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, first_line
from ..unpickling import NUMPY, unpickle

WORDS = ("index_to_key", "index2word", "index2entity")  # of gensim 4, and before
VECTORS = ("vectors", "syn0")  # of gensim 3.3 and later, and before
STORED_BESIDE = "__numpys"


class State:
    """What a pickled object knew."""


ALLOWED = {
    **NUMPY,
    **{
        f"gensim.models.keyedvectors.{name}": State
        for name in (
            "KeyedVectors",
            "Word2VecKeyedVectors",
            "WordEmbeddingsKeyedVectors",
            "EuclideanKeyedVectors",
            "CompatVocab",
            "Vocab",
        )
    },
    "gensim.models.word2vec.Vocab": State,
}


def read_keyed_vectors(stream: BufferedReader, name: str, words: Collection[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Vectors from a file that `KeyedVectors.save` wrote."""
    saved = unpickle(stream, name, ALLOWED)
    state = vars(saved) if isinstance(saved, State) else {}
    keys = next((state[attribute] for attribute in WORDS if attribute in state), None)
    vectors = find_array(state, name)
    if not isinstance(keys, list) or vectors.shape[:-1] != (len(keys),) or vectors.dtype.kind != "f":
        raise InputError(f"{name} does not hold a vector for each word of a list; save gensim's KeyedVectors again")
    wanted = set(words)
    for row, word in enumerate(keys):
        if isinstance(word, str) and word in wanted:
            yield word, np.array(vectors[row], dtype=np.float32)


def find_array(state: Mapping[str, Any], name: str) -> np.ndarray:
    """The vectors [words, size], from the pickle or from the file beside it."""
    for attribute in VECTORS:
        if attribute in state.get(STORED_BESIDE, ()):
            return load_array(Path(f"{name}.{attribute}.npy"))
        if isinstance(state.get(attribute), np.ndarray):
            return state[attribute]
    raise InputError(f"{name} is a pickle without word vectors; give a file that gensim's KeyedVectors.save wrote")


def load_array(path: Path) -> np.ndarray:
    if not path.is_file():
        raise InputError(f"missing file {path}; gensim keeps vectors beside the file that it saves: copy both")
    try:
        return np.lib.format.open_memmap(path, mode="r")  # refuses arrays of objects, which would be pickles
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}; copy it again") from error
