"""Finds words' vectors in a file of any known form; the form is told by what the file holds, not by its name."""

import gzip
import re
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from ..errors import InputError, first_line
from .keyed_vectors import read_keyed_vectors
from .word2vec import HEADER, read_binary, read_text

Reader = Callable[[BufferedReader, str, Collection[str]], Iterator[tuple[str, np.ndarray]]]

ZIP, GZIP, PICKLE = (b"PK\3\4", b"PK\5\6"), b"\x1f\x8b", b"\x80"  # how such files begin
HEAD = 1 << 16  # bytes that tell the form, enough for a dozen words of 300 numbers
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")  # what text has not, and numbers in binary have sooner or later
NUMBER_AFTER_WORD = re.compile(rb"[^ ]+ [-+.\dniNI]")  # nan and inf are numbers, if wrong ones

# Whatever a damaged, encrypted or unknown archive raises.
UNREADABLE = (OSError, EOFError, zlib.error, BadZipFile, RuntimeError)


def read_vectors(path: Path, words: Collection[str], size: int) -> dict[str, np.ndarray]:
    """The float32 vectors [size] of those `words` that the file has, in the file's order.

    Raises `InputError` for a file that is damaged or of no known form, has vectors of another size, or none of `words`.
    """
    vectors = {}
    try:
        with opened(path, size) as (stream, name):
            for word, vector in find_reader(stream, name, size)(stream, name, words):
                check_width(len(vector), size, name)
                if not np.isfinite(vector).all():
                    raise InputError(f"{name}, word {word!r}: a number is NaN or infinite; mend or delete it")
                vectors[word] = vector
    except UNREADABLE as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}; if it is damaged, download it again") from error
    if not vectors:
        raise InputError(f"{name} has a vector for none of the {len(words)} words; are its words lower-case?")
    return vectors


def check_width(width: int, size: int, name: str) -> None:
    if width != size:
        raise InputError(f"{name} has {width}-d vectors; word_size is {size}: make them equal")


@contextmanager
def opened(path: Path, size: int) -> Iterator[tuple[BufferedReader, str]]:
    """What a file holds as a stream, out of a zip or gzip file if it is one, and what messages call it."""
    with ExitStack() as stack:
        file, name = stack.enter_context(path.open("rb")), str(path)
        head = file.peek()
        if head.startswith(ZIP):
            archive = stack.enter_context(ZipFile(file))
            member = choose_member(archive, name, size)
            file, name = stack.enter_context(archive.open(member)), f"{name}, {member}"
        elif head.startswith(GZIP):
            file = stack.enter_context(gzip.open(file))
        yield stack.enter_context(BufferedReader(file, HEAD)), name


def choose_member(archive: ZipFile, name: str, size: int) -> str:
    """The only file of an archive, or that whose name ends in the wanted size, as `glove.6B.300d.txt`."""
    members = [member for member in archive.namelist() if not member.endswith("/") and "__MACOSX" not in member]
    fitting = [member for member in members if re.search(rf"(?<!\d){size}d\.\w+$", member)]
    if len(members) == 1 or len(fitting) == 1:
        return (fitting or members)[0]
    raise InputError(
        f"{name} holds {', '.join(members) or 'no files'}; word_size is {size}: make it that of a file, or unzip one"
    )


def find_reader(stream: BufferedReader, name: str, size: int) -> Reader:
    head = stream.peek(HEAD)
    if head.startswith(PICKLE):
        return read_keyed_vectors
    if header := HEADER.match(head):
        check_width(int(header[2]), size, name)
    if not CONTROL.search(head) and (not header or NUMBER_AFTER_WORD.match(head, header.end())):
        return read_text
    if header:
        return read_binary
    raise InputError(f"{name} holds no word vectors; give a file of GloVe, word2vec or gensim, as glove.6B.zip")
