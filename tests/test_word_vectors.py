"""A word embedding starts from a vector file, and words without a vector from what the found ones are like."""

import numpy as np
import pytest
import torch
from torch import nn

from mmnas_hf.errors import InputError
from mmnas_hf.word_vectors import Coverage, initialise_embedding, read_glove

VOCABULARY = {"PAD": 0, "UNK": 1, "CLS": 2, "red": 3, "unheard": 4, "dog": 5}
VECTORS = {"dog": [0.5, -1.0, 2.0], "cat": [7.0, 7.0, 7.0], "red": [1.5, 0.0, 0.0]}


@pytest.fixture
def vector_file(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("".join(f"{word} {' '.join(map(str, numbers))}\n" for word, numbers in VECTORS.items()))
    return path


def start(path, vocabulary=None, size=3, seed=0):
    vocabulary = VOCABULARY if vocabulary is None else vocabulary
    embedding = nn.Embedding(len(vocabulary), size)
    coverage = initialise_embedding(embedding, vocabulary, path, torch.Generator().manual_seed(seed))
    return embedding.weight.detach(), coverage


def test_only_vectors_of_wanted_words_are_read(vector_file):
    vectors = read_glove(vector_file, VOCABULARY)
    assert {word: vector.tolist() for word, vector in vectors.items()} == {
        word: VECTORS[word] for word in ("dog", "red")
    }


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


# Wrong files


def test_a_file_that_is_not_there_raises(tmp_path):
    with pytest.raises(InputError, match="no word vector file"):
        start(tmp_path / "nowhere.txt")


def test_vectors_of_another_width_than_the_embedding_raise(vector_file):
    with pytest.raises(InputError, match="has 3-d vectors; word_size is 4"):
        start(vector_file, size=4)


def test_a_line_of_another_width_raises_and_is_named(vector_file):
    vector_file.write_text(vector_file.read_text() + "bird 1.0 2.0\n")
    with pytest.raises(InputError, match="line 4: 2 numbers, the lines before have 3"):
        start(vector_file)


def test_a_number_that_is_none_raises_and_is_named(vector_file):
    vector_file.write_text("cat 1.0 2.0 3.0\nred 1.0 two 3.0\n")
    with pytest.raises(InputError, match=r"line 2: .*two"):
        start(vector_file)


def test_a_file_with_none_of_the_words_raises(vector_file):
    with pytest.raises(InputError, match="has a vector for none of the 1 words"):
        start(vector_file, {"bird": 0})


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_vectors_that_are_not_finite_raise(vector_file, number):
    vector_file.write_text(f"red 1.0 {number} 3.0\ndog 1 2 3\n")
    with pytest.raises(InputError, match="line 1"):
        start(vector_file)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00 1 2 3\n", b"", b"red\n"])
def test_a_file_that_holds_no_vectors_raises(vector_file, content):
    vector_file.write_bytes(content)
    with pytest.raises(InputError):
        start(vector_file)
