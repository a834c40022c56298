"""The forms that word2vec and GloVe write, read word by word; only what is asked for is kept."""

import re
from collections.abc import Collection, Iterator
from io import BufferedReader
from itertools import chain

import numpy as np

from ..errors import InputError

HEADER = re.compile(rb"(\d+) (\d+) *\r?\n")  # how many words, and how many numbers each; GloVe has none
FRACTION = re.compile(rb".* -?\d*\.\d+(e[+-]?\d+)?")  # a word and a number
NUMBER = np.dtype("<f4")
CHUNK = 1 << 18  # bytes read at once


def read_text(stream: BufferedReader, name: str, words: Collection[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Vectors from text: a word and its numbers a line, separated by spaces, perhaps after a header."""
    wanted = {word.encode(): word for word in words}
    first = stream.readline()
    header = HEADER.fullmatch(first)
    count, width = map(int, header.groups()) if header else (0, first.rstrip().count(b" "))
    number, lines = 1, enumerate(stream, start=2)
    for number, line in lines if header else chain([(1, first)], lines):
        if line.count(b" ") == width and line.partition(b" ")[0] not in wanted:  # most lines, ten times faster
            continue
        word, *values = line.rstrip().rsplit(b" ", width)  # from the right, for some words have spaces
        if len(values) != width or (b" " in word and FRACTION.fullmatch(word)):
            numbers = line.rstrip().count(b" ")
            raise InputError(f"{name}, line {number}: {numbers} numbers, the lines before have {width}")
        if word in wanted:
            yield wanted[word], parse_numbers(values, f"{name}, line {number}")
    if number <= count:
        raise InputError(f"{name} ends after {number - 1} of {count} words; download it again")


def parse_numbers(values: list[bytes], place: str) -> np.ndarray:
    try:
        return np.array([value.decode() for value in values], dtype=np.float32)
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None


def read_binary(stream: BufferedReader, name: str, words: Collection[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Vectors from word2vec's binary form: a header, then words, each with a space, float32s, perhaps a line feed."""
    wanted = {word.encode(): word for word in words}
    count, width = map(int, stream.readline().split())
    size, buffer, start = width * NUMBER.itemsize, b"", 0
    for index in range(count):
        while (space := buffer.find(b" ", start)) < 0 or len(buffer) <= space + size:
            # A word as long as a chunk is none: what a download left out may be filled with zeros.
            chunk = stream.read(CHUNK) if len(buffer) - start < CHUNK + size else b""
            if not chunk:
                raise InputError(f"{name} ends in word {index + 1} of {count}; download it again")
            buffer, start = buffer[start:] + chunk, 0
        word, start = buffer[start:space].lstrip(b"\n"), space + 1 + size
        if word in wanted:
            yield wanted[word], np.frombuffer(buffer, NUMBER, width, space + 1).astype(np.float32)
