"""What was made once is not made again, and a cache that cannot be used costs time and nothing else."""

import logging
import os
import threading

import numpy as np
import pytest
from huggingface_hub import constants

from mmnas_hf.cache import cached_arrays, cached_json, fingerprint

ARRAYS = {"rows": np.array([3, 1, 2]), "matrix": np.arange(6, dtype=np.float32).reshape(3, 2)}
WORDS = ["red", "naïve", "\n", ""]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class Counted:
    """A `make` that counts its calls."""

    def __init__(self, result):
        self.result, self.calls = result, 0

    def __call__(self):
        self.calls += 1
        return self.result


KINDS = pytest.mark.parametrize(
    ("cached", "result", "suffix"), [(cached_arrays, ARRAYS, "safetensors"), (cached_json, WORDS, "json")]
)


def plain(result):
    return {name: array.tolist() for name, array in result.items()} if isinstance(result, dict) else result


@KINDS
def test_a_second_call_returns_the_first_ones_result_and_makes_nothing(cached, result, suffix):
    make = Counted(result)
    first, second = (cached("words", "key", make) for _ in range(2))
    assert plain(first) == plain(second) == plain(result)
    assert make.calls == 1


def test_arrays_keep_their_types():
    cached_arrays("words", "key", lambda: ARRAYS)
    again = cached_arrays("words", "key", lambda: ARRAYS)
    assert {name: array.dtype for name, array in again.items()} == {"rows": np.int64, "matrix": np.float32}


def test_an_array_that_is_a_view_is_kept_as_it_reads():
    view = np.arange(6).reshape(2, 3).T
    cached_arrays("words", "key", lambda: {"view": view})
    np.testing.assert_array_equal(cached_arrays("words", "key", dict)["view"], view)


@pytest.mark.parametrize(("kind", "key"), [("words", "other"), ("other", "key")])
def test_another_key_or_kind_is_another_result(kind, key):
    cached_json("words", "key", lambda: 1)
    assert cached_json(kind, key, lambda: 2) == 2


@KINDS
def test_a_result_is_one_file_and_leaves_no_draft(home, cached, result, suffix):
    cached("words", "key", lambda: result)
    assert [path for path in home.rglob("*") if path.is_file()] == [home / "mmnas_hf" / "words" / f"key.{suffix}"]
    assert [path.name for path in (home / "mmnas_hf" / "words").iterdir()] == [f"key.{suffix}"]


@KINDS
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"\xff" * 99])
def test_a_damaged_file_is_made_anew_with_a_warning(home, caplog, cached, result, suffix, damage):
    cached("words", "key", lambda: result)
    path = home / "mmnas_hf" / "words" / f"key.{suffix}"
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert plain(cached("words", "key", lambda: result)) == plain(result)
    assert path.read_bytes() == whole
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@KINDS
def test_a_cache_that_cannot_be_written_costs_a_warning(home, caplog, cached, result, suffix):
    home.write_text("a file where a folder is needed")
    make = Counted(result)
    assert plain(cached("words", "key", make)) == plain(cached("words", "key", make)) == plain(result)
    assert make.calls == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_a_result_that_cannot_be_made_leaves_nothing(home):
    with pytest.raises(ZeroDivisionError):
        cached_json("words", "key", lambda: 1 / 0)
    assert not home.exists()


def test_callers_at_the_same_time_all_get_the_result():
    start, results = threading.Barrier(8), []

    def call():
        start.wait()
        results.append(plain(cached_arrays("words", "key", lambda: ARRAYS)))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [plain(ARRAYS)] * 8


# Fingerprints


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("red 1 2")
    return path


def test_a_fingerprint_is_the_same_in_every_run():
    assert fingerprint("red", b"blue") == "df4d22d230419055e75298060f1cb657"


def test_parts_are_told_apart():
    parts = [(), ("ab",), ("a", "b"), ("b", "a"), ("", "ab"), (b"ab",), ("a",)]
    assert len({fingerprint(*several) for several in parts}) == len(parts)


def test_a_file_left_alone_keeps_its_fingerprint(file):
    assert fingerprint(file) == fingerprint(file)


def test_a_file_of_another_size_is_another(file):
    before, state = fingerprint(file), file.stat()
    file.write_text("red 1 2 3")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert fingerprint(file) != before


def test_a_file_changed_later_is_another(file):
    before, state = fingerprint(file), file.stat()
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert fingerprint(file) != before


def test_a_file_of_another_name_is_another(file):
    before = fingerprint(file)
    assert fingerprint(file.rename(file.with_name("others.txt"))) != before
