"""A fingerprint of data by what it says, the same on every machine and however it lies in files and memory."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from ..errors import InputError
from .store import RegionStore

if TYPE_CHECKING:
    from _hashlib import HASH

ROWS_A_BATCH = 1000  # arrays are hashed in parts of this size, wherever a file's own parts begin
LARGE = {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}  # of the same values
LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
SAMPLED_IMAGES = 1000  # of 36 regions with 2048 features: 150 MB


def data_fingerprint(texts: Mapping[str, Dataset], store: RegionStore) -> dict[str, str]:
    """Hashes of the images with their regions, and of the texts by split.

    All columns of all texts count and, of images, all ids, sizes and boxes and the number of all features; of the
    features themselves, which may be tens of GB, those of at most 1000 images that are spread evenly over the table.
    """
    return {"images": images_fingerprint(store), **{split: texts_fingerprint(rows) for split, rows in texts.items()}}


def texts_fingerprint(rows: Dataset) -> str:
    names, table = sorted(rows.column_names), rows.with_format("arrow")[:]
    starts = range(0, len(table), ROWS_A_BATCH)
    return fingerprint_of(names, ([table[name].slice(row, ROWS_A_BATCH) for name in names] for row in starts))


def images_fingerprint(store: RegionStore) -> str:
    count = len(store.ids)
    sampled = np.unique(np.linspace(0, count - 1, min(count, SAMPLED_IMAGES)).astype(int)).tolist()
    lengths = pc.binary_length(store.table["features"])
    whole = [pa.chunked_array([pa.array(store.ids)]), store.table["boxes"], lengths]
    batches = ([column.slice(row, ROWS_A_BATCH) for column in whole] for row in range(0, count, ROWS_A_BATCH))
    features = ([store.table["features"].slice(row, 1)] for row in sampled)
    return fingerprint_of([str(store.sizes.tolist())], [*batches, *features])


def fingerprint_of(names: Iterable[str], batches: Iterable[list[pa.ChunkedArray]]) -> str:
    digest = blake2b(" ".join(names).encode(), digest_size=16)
    for columns in batches:
        for column in columns:
            add(digest, pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type))
    return digest.hexdigest()


def add(digest: "HASH", array: Any) -> None:
    """Add the values of an array to a hash: buffers would also have what lies between, before and after them."""
    if array.type in LARGE:
        array = array.cast(LARGE[array.type])
    digest.update(f"{len(array)} {array.null_count} ".encode())
    if array.null_count:
        digest.update(array.is_valid().to_numpy(zero_copy_only=False).tobytes())
        array = array.drop_null()
    if pa.types.is_struct(array.type):
        for child in array.flatten():
            add(digest, child)
    elif any(is_list(array.type) for is_list in LISTS):
        add(digest, pc.list_value_length(array))
        add(digest, array.flatten())
    elif pa.types.is_string(array.type) or pa.types.is_binary(array.type):
        add(digest, pc.binary_length(array))
        digest.update(b"".join(array.cast(pa.binary()).to_pylist()))
    else:
        digest.update(plain_numbers(array).tobytes())


def plain_numbers(array: pa.Array) -> np.ndarray:
    """The values of an array as numbers; raises `InputError` for what would become Python objects."""
    values = array.to_numpy(zero_copy_only=False)
    if len(values) and values.dtype == object:
        raise InputError(f"a column of type {array.type} has no fingerprint; make it one of text or numbers")
    return values
