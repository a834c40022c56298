"""A word embedding starts from a vector file of any form; words without a vector resemble those that have one."""

import gzip
import io
import pickle
import random
import sys
import tracemalloc
import types
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from torch import nn

from mmnas_hf import word_vectors
from mmnas_hf.errors import InputError
from mmnas_hf.word_vectors import Coverage, initialise_embedding
from mmnas_hf.word_vectors.reading import read_vectors

VOCABULARY = {"PAD": 0, "UNK": 1, "CLS": 2, "red": 3, "unheard": 4, "dog": 5}
VECTORS = {"dog": [0.5, -1.0, 2.0], "cat": [7.0, 7.0, 7.0], "red": [1.5, 0.0, 0.0], "naïve": [1e-3, 1e-4, 0.1]}
WANTED = ("dog", "red", "naïve")
LITTLE = 3 << 20  # bytes


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))


def text(vectors=VECTORS, end="\n"):
    return "".join(f"{word} {' '.join(map(str, numbers))}{end}" for word, numbers in vectors.items()).encode()


def header(vectors=VECTORS):
    return f"{len(vectors)} {len(next(iter(vectors.values())))}\n".encode()


def binary(vectors=VECTORS, end=b""):
    entries = (word.encode() + b" " + np.array(numbers, "<f4").tobytes() + end for word, numbers in vectors.items())
    return header(vectors) + b"".join(entries)


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def vector_file(tmp_path):
    path = tmp_path / "vectors"
    path.write_bytes(text())
    return path


def start(path, vocabulary=None, size=3, seed=0):
    vocabulary = VOCABULARY if vocabulary is None else vocabulary
    embedding = nn.Embedding(len(vocabulary), size)
    coverage = initialise_embedding(embedding, vocabulary, path, torch.Generator().manual_seed(seed))
    return embedding.weight.detach(), coverage


def check_found(path, expected=VECTORS, wanted=WANTED):
    size = len(next(iter(expected.values())))
    found = read_vectors(path, wanted, size)
    assert list(found) == [word for word in expected if word in wanted]
    for word, vector in found.items():
        assert vector.dtype == np.float32
        np.testing.assert_array_equal(vector, np.array(expected[word], dtype=np.float32))


# Forms of files


OTHER_WIDTH = {word: numbers * 5 for word, numbers in VECTORS.items()}

FORMS = {
    "GloVe": text(),
    "GloVe with line ends of Windows": text(end="\r\n"),
    "text as word2vec writes it": header() + text(end=" \n"),
    "binary": binary(),
    "binary as word2vec writes it": binary(end=b"\n"),
    "binary in gzip": gzip.compress(binary()),
    "GloVe in gzip": gzip.compress(text()),
    "one file in zip": zipped({"vectors.txt": text()}),
    "binary in zip": zipped({"vectors.bin": binary()}),
    "one file in zip, as a Mac packs it": zipped({"a.txt": text(), "__MACOSX/._a.txt": b"\0"}),
    "files of several sizes in zip": zipped({"a.15d.txt": text(OTHER_WIDTH), "a.3d.txt": text(), "a.13d.txt": b"?"}),
}

every_form = pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)


@every_form
def test_only_vectors_of_wanted_words_are_read_from_every_form(vector_file, content):
    vector_file.write_bytes(content)
    check_found(vector_file)


@every_form
def test_every_form_starts_the_same_embedding(tmp_path, vector_file, content):
    other = tmp_path / "other"
    other.write_bytes(content)
    assert torch.equal(start(other)[0], start(vector_file)[0])


def test_the_file_of_the_wanted_size_is_taken_out_of_a_zip_file(vector_file):
    vector_file.write_bytes(FORMS["files of several sizes in zip"])
    check_found(vector_file, OTHER_WIDTH)


@pytest.mark.parametrize("number", [b"\xe9\xd6\xfc\x3d", b"1\x00\x80?"])  # without control characters, like a digit
def test_binary_numbers_that_resemble_text_are_not_taken_for_it(vector_file, number):
    vectors = {word: [np.frombuffer(number, "<f4")[0]] * 3 for word in VECTORS}
    vector_file.write_bytes(binary(vectors))
    check_found(vector_file, vectors)


def test_words_with_spaces_are_not_mistaken_for_their_first_word(vector_file):
    vector_file.write_bytes(text() + b"dog . . 9 9 9\n. . . 1 2 3\nred name@domain.com 8 8 8\n")
    check_found(vector_file)


def test_a_first_word_that_begins_like_an_archive_is_a_word(vector_file):
    vector_file.write_bytes(text({"PK": [9, 9, 9]} | VECTORS))
    check_found(vector_file)


def test_a_word_is_looked_up_as_it_is_spelled(vector_file):
    vector_file.write_bytes(text({"Dog": [9, 9, 9]} | VECTORS | {"DOG": [8, 8, 8]}))
    check_found(vector_file)


def test_words_across_the_ends_of_chunks_are_read(vector_file):
    generator = np.random.default_rng(0)
    vectors = {f"{'w' * (number % 17)}{number}": generator.normal(size=100) for number in range(6000)}  # 2.4 MB
    vector_file.write_bytes(binary(vectors))
    check_found(vector_file, vectors, tuple(vectors))


@contextmanager
def little_memory():
    """Fails what needs more than a few chunks of a file at a time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < LITTLE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", [text, binary])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda content: zipped({"a.txt": content})])
def test_memory_does_not_grow_with_the_file(vector_file, form, pack):
    numbers = [0.123456789] * 1000
    content = form({f"word{number}": numbers for number in range(1500)} | {"dog": numbers})
    assert len(content) > 5 << 20 > LITTLE
    vector_file.write_bytes(pack(content))
    with little_memory():
        assert list(read_vectors(vector_file, WANTED, 1000)) == ["dog"]


# gensim's files


@pytest.fixture(scope="module")
def gensim_vectors():
    """400 words of 30 numbers as gensim holds them, among them those of `WANTED`."""
    keyed_vectors = pytest.importorskip("gensim.models.keyedvectors")
    words = [*WANTED, "Café", *(f"word{number}" for number in range(396))]
    vectors = keyed_vectors.KeyedVectors(30)
    vectors.add_vectors(words, np.random.default_rng(0).normal(size=(400, 30)).astype(np.float32))
    for number, word in enumerate(words):
        vectors.set_vecattr(word, "count", 400 - number)
    return vectors


SAVERS = {
    "save": lambda vectors, path: vectors.save(path),
    "save with arrays beside": lambda vectors, path: vectors.save(path, sep_limit=1),
    "save with vectors beside": lambda vectors, path: vectors.save(path, separately=["vectors"]),
    "save in protocol 2": lambda vectors, path: vectors.save(path, pickle_protocol=2),
    "save in protocol 5": lambda vectors, path: vectors.save(path, pickle_protocol=5),
    "text": lambda vectors, path: vectors.save_word2vec_format(path),
    "text without header": lambda vectors, path: vectors.save_word2vec_format(path, write_header=False),
    "binary": lambda vectors, path: vectors.save_word2vec_format(path, binary=True),
    "binary in gzip": lambda vectors, path: vectors.save_word2vec_format(path + ".gz", binary=True),
}


@pytest.mark.parametrize("save", SAVERS.values(), ids=SAVERS)
def test_vectors_that_gensim_saved_are_those_it_holds(tmp_path, gensim_vectors, save):
    save(gensim_vectors, str(tmp_path / "vectors"))
    path = next(path for path in tmp_path.glob("vectors*") if path.suffix != ".npy")
    check_found(path, {word: gensim_vectors[word] for word in gensim_vectors.index_to_key})


@pytest.fixture
def old_gensim(monkeypatch):
    """Makes and pickles objects as gensim before 4.0 had them, by class and attributes."""
    module = types.ModuleType("gensim.models.keyedvectors")
    for name in ("gensim", "gensim.models"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def make(name, **attributes):
        kind = vars(module).setdefault(name, type(name, (), {"__module__": module.__name__}))
        made = kind()
        vars(made).update(attributes)
        return made

    return make


OLD_ATTRIBUTES = [
    ("Word2VecKeyedVectors", "index2word", "vectors"),
    ("EuclideanKeyedVectors", "index2word", "syn0"),
    ("KeyedVectors", "index2entity", "vectors"),
]


def old_vectors(make, name, words, vectors):
    vocabulary = {word: make("Vocab", index=row, count=9) for row, word in enumerate(VECTORS)}
    matrix = np.array(list(VECTORS.values()), dtype=np.float32)
    return make(name, vocab=vocabulary, vector_size=3, **{words: list(VECTORS), vectors: matrix})


@pytest.mark.parametrize(("name", "words", "vectors"), OLD_ATTRIBUTES)
def test_files_of_older_gensims_are_read(vector_file, old_gensim, name, words, vectors):
    vector_file.write_bytes(pickle.dumps(old_vectors(old_gensim, name, words, vectors), 2))
    check_found(vector_file)


def save_beside(make, path, array, attribute="syn0"):
    saved = make("KeyedVectors", index2word=list(VECTORS), **{"__numpys": [attribute]})
    path.write_bytes(pickle.dumps(saved, 2))
    np.save(f"{path}.{attribute}.npy", array)


@pytest.mark.parametrize("attribute", ["syn0", "vectors"])
def test_an_array_beside_the_file_is_read(vector_file, old_gensim, attribute):
    save_beside(old_gensim, vector_file, np.array(list(VECTORS.values())), attribute)
    check_found(vector_file)


def test_a_missing_array_raises_and_is_named(vector_file, old_gensim):
    save_beside(old_gensim, vector_file, np.zeros((4, 3)))
    (array,) = vector_file.parent.glob("*.npy")
    array.unlink()
    with pytest.raises(InputError, match=r"missing file .*vectors\.syn0\.npy; .*copy both"):
        start(vector_file)


WRONG_ARRAYS = {
    "too few rows": np.zeros((3, 3)),
    "no matrix": np.zeros(4),
    "whole numbers": np.zeros((4, 3), dtype=int),
    "objects": np.full((4, 3), None),
}


@pytest.mark.parametrize("array", WRONG_ARRAYS.values(), ids=WRONG_ARRAYS)
def test_an_array_that_holds_no_vectors_of_the_words_raises(vector_file, old_gensim, array):
    save_beside(old_gensim, vector_file, array)
    with pytest.raises(InputError, match="vectors"):
        start(vector_file)


def test_half_an_array_raises(vector_file, old_gensim):
    save_beside(old_gensim, vector_file, np.zeros((4, 3)))
    (array,) = vector_file.parent.glob("*.npy")
    array.write_bytes(array.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"vectors\.syn0\.npy cannot be read"):
        start(vector_file)


def test_an_array_of_objects_beside_the_file_is_not_unpickled(vector_file, old_gensim, capsys):
    save_beside(old_gensim, vector_file, np.array([[Loud()] * 3] * 4))
    with pytest.raises(InputError, match="cannot be read"):
        start(vector_file)
    assert capsys.readouterr().out == ""


class Loud:
    """Prints when it is unpickled by a reader that obeys."""

    def __reduce__(self):
        return print, ("obeyed",)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_other_pickles_are_refused_by_name_and_not_run(vector_file, capsys, protocol):
    vector_file.write_bytes(pickle.dumps({"vectors": Loud()}, protocol))
    with pytest.raises(InputError, match=r"vectors is refused: it asks for (builtins|__builtin__)\.print"):
        start(vector_file)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [[], {"vectors": 3}, "words", None])
def test_a_pickle_that_is_no_keyed_vectors_raises(vector_file, content):
    vector_file.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match="is a pickle without word vectors"):
        start(vector_file)


# The embedding


def test_found_words_start_from_their_vectors(vector_file):
    weight, _ = start(vector_file)
    assert weight[VOCABULARY["dog"]].tolist() == VECTORS["dog"]
    assert weight[VOCABULARY["red"]].tolist() == VECTORS["red"]


def test_coverage_tells_how_many_words_were_found(vector_file):
    _, coverage = start(vector_file)
    assert coverage == (2, 6)
    assert str(coverage) == "2 of 6 words have a vector (33.3%)"


def test_the_coverage_of_nothing_can_be_told():
    assert str(Coverage(0, 0)) == "0 of 0 words have a vector (0.0%)"


def test_missing_words_have_the_mean_and_deviation_of_the_found(vector_file):
    vocabulary = VOCABULARY | {f"unheard {number}": 6 + number for number in range(5000)}
    weight, _ = start(vector_file, vocabulary)
    found = torch.tensor([VECTORS["dog"], VECTORS["red"]])
    missing = weight[6:]
    # Five standard errors of a mean, and about as many of a deviation, of 5,000 draws.
    torch.testing.assert_close(missing.mean(0), found.mean(0), rtol=0, atol=0.1 * found.std(0).max().item())
    torch.testing.assert_close(missing.std(0), found.std(0), rtol=0.06, atol=0)


def test_missing_words_differ_from_each_other(vector_file):
    weight, _ = start(vector_file)
    missing = [weight[VOCABULARY[word]] for word in ("PAD", "UNK", "CLS", "unheard")]
    assert len({tuple(vector.tolist()) for vector in missing}) == 4


def test_missing_words_are_drawn_as_they_always_were(vector_file):
    weight, _ = start(vector_file)
    generator = torch.Generator().manual_seed(0)
    found = torch.tensor([VECTORS["dog"], VECTORS["red"]])
    drawn = found.mean(0) + found.std(0) * torch.randn(6, 3, generator=generator)
    assert torch.equal(weight[[0, 1, 2, 4]], drawn[[0, 1, 2, 4]])


def test_missing_words_are_seeded(vector_file):
    assert torch.equal(start(vector_file, seed=1)[0], start(vector_file, seed=1)[0])
    assert not torch.equal(start(vector_file, seed=1)[0], start(vector_file, seed=2)[0])


def test_one_found_word_is_enough(vector_file):
    weight, _ = start(vector_file, {"dog": 0, "unheard": 1})
    assert weight.isfinite().all()


def test_the_embedding_can_still_be_trained(vector_file):
    embedding = nn.Embedding(len(VOCABULARY), 3)
    initialise_embedding(embedding, VOCABULARY, vector_file, torch.Generator())
    assert embedding.weight.requires_grad
    assert embedding.weight.grad_fn is None


def test_real_vectors_are_found(real_data):
    path = real_data / "word_vectors" / "vectors.subset.300d.txt"
    weight, coverage = start(path, {"PAD": 0, "the": 1, "dog": 2, "qxzzy": 3}, size=300)
    lines = (line.split(" ") for line in path.read_text().splitlines())
    expected = {word: numbers for word, *numbers in lines if word in ("the", "dog")}
    assert coverage.found == len(expected) > 0
    for word, numbers in expected.items():
        np.testing.assert_array_equal(weight[{"the": 1, "dog": 2}[word]], np.array(numbers, dtype=np.float32))


# What is kept between runs


@pytest.fixture
def reads(monkeypatch):
    """Grows by one path each time that a vector file is read."""
    paths = []

    def read(path, *others):
        paths.append(path)
        return read_vectors(path, *others)

    monkeypatch.setattr(word_vectors, "read_vectors", read)
    return paths


def test_a_second_start_does_not_read_the_file_and_is_the_same(vector_file, reads):
    first, second = start(vector_file), start(vector_file)
    assert torch.equal(first[0], second[0])
    assert first[1] == second[1]
    assert reads == [vector_file]


def test_the_order_in_which_a_vocabulary_is_told_does_not_matter(vector_file, reads):
    start(vector_file)
    start(vector_file, dict(random.Random(0).sample(list(VOCABULARY.items()), len(VOCABULARY))))
    assert len(reads) == 1


def test_a_changed_file_is_read_again(vector_file, reads):
    start(vector_file)
    vector_file.write_bytes(text(VECTORS | {"unheard": [3, 3, 3]}))
    assert start(vector_file)[1].found == 3


def test_a_changed_array_beside_the_file_is_read_again(vector_file, old_gensim):
    save_beside(old_gensim, vector_file, np.zeros((4, 3), dtype=np.float64))
    start(vector_file)
    np.save(f"{vector_file}.syn0.npy", np.ones((4, 3), dtype=np.float32))
    assert start(vector_file)[0][VOCABULARY["dog"]].tolist() == [1, 1, 1]


def test_another_vocabulary_reads_the_file_again(vector_file, reads):
    start(vector_file)
    weight, coverage = start(vector_file, {"cat": 0, "PAD": 1})
    assert (weight[0].tolist(), coverage.found, len(reads)) == (VECTORS["cat"], 1, 2)


def test_another_size_still_raises_after_a_start(vector_file):
    start(vector_file)
    with pytest.raises(InputError, match="has 3-d vectors; word_size is 4"):
        start(vector_file, size=4)


# Wrong files


def raises(path, content, message, size=3):
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        start(path, size=size)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_raises(tmp_path):
    with pytest.raises(InputError, match="no word vector file"):
        start(tmp_path / "nowhere.txt")


@every_form
def test_vectors_of_another_width_than_the_embedding_raise(vector_file, content):
    message = r"holds a\.15d\.txt, a\.3d\.txt, a\.13d" if b"13d" in content else "has 3-d vectors; word_size is 4"
    raises(vector_file, content, message, size=4)


@pytest.mark.parametrize("line", ["bird 1.0 2.0", "bird 1.0 2.0 3.0 4.0", "dog 1.0 2.0 3.0 4.0", "dog 1.0 2.0", ""])
def test_a_line_of_another_width_raises_and_is_named(vector_file, line):
    message = f"line 5: {line.count(' ')} numbers, the lines before have 3"
    raises(vector_file, text() + line.encode() + b"\n", message)


def test_a_number_that_is_none_raises_and_is_named(vector_file):
    raises(vector_file, b"cat 1.0 2.0 3.0\nred 1.0 two 3.0\n", r"line 2: .*two")


@every_form
def test_a_file_with_none_of_the_words_raises(vector_file, content):
    vector_file.write_bytes(content)
    with pytest.raises(InputError, match="has a vector for none of the 1 words"):
        start(vector_file, {"bird": 0})


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("form", [text, binary])
def test_vectors_that_are_not_finite_raise_and_name_the_word(vector_file, form, number):
    raises(vector_file, form(VECTORS | {"red": [1, number, 3]}), "word 'red': a number is NaN or infinite")


@pytest.mark.parametrize("left", [len(binary()) - 1, len(header()) + 20])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda content: zipped({"a.bin": content})])
def test_a_binary_file_that_ends_early_raises_and_names_the_word(vector_file, left, pack):
    word = 4 if left > 40 else 2
    raises(vector_file, pack(binary()[:left]), f"ends in word {word} of 4; download it again")


def test_zeros_in_place_of_the_rest_of_a_binary_file_raise_soon(vector_file):
    content = binary()[: len(header()) + 16] + bytes(5 << 20)
    with little_memory():
        raises(vector_file, content, "ends in word 2 of 4; download it again")


def test_a_width_beyond_the_file_raises_soon(vector_file):
    content = b"4 999999999\n" + bytes(5 << 20)
    with little_memory():
        raises(vector_file, content, "has 999999999-d vectors; word_size is 3")


def test_a_text_file_with_fewer_words_than_it_says_raises(vector_file):
    raises(vector_file, b"5 3\n" + text(), "ends after 4 of 5 words; download it again")


@pytest.mark.parametrize("form", ["binary in gzip", "GloVe in gzip", "one file in zip", "binary in zip"])
def test_half_an_archive_raises(vector_file, form):
    raises(vector_file, FORMS[form][: len(FORMS[form]) // 2], "cannot be read: .*; if it is damaged, download it again")


@pytest.mark.parametrize(("form", "place"), [("one file in zip", 50), ("GloVe in gzip", 10), ("GloVe in gzip", -5)])
def test_a_damaged_archive_raises(vector_file, form, place):
    content = bytearray(FORMS[form])
    content[place] ^= 0xFF
    raises(vector_file, bytes(content), "cannot be read: .*; if it is damaged, download it again")


@pytest.mark.parametrize("files", [{}, {"a.txt": b"", "b.txt": b""}, {"a.3d.txt": b"", "b.3d.txt": b""}])
def test_an_archive_without_one_fitting_file_raises_and_tells_what_it_holds(vector_file, files):
    raises(vector_file, zipped(files), f"holds {', '.join(files) or 'no files'}; word_size is 3")


def test_half_a_pickle_raises(vector_file, old_gensim):
    content = pickle.dumps(old_vectors(old_gensim, *OLD_ATTRIBUTES[0]), 2)
    raises(vector_file, content[: len(content) // 2], "is no readable pickle")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00 1 2 3\n", b"", b"red\n", b"\x7fELF\0\0", b"4 3\n"])
def test_a_file_that_holds_no_vectors_raises(vector_file, content):
    raises(vector_file, content, "vectors")
