"""One part's images as one Arrow stream file, which is there whole or not at all."""

import json
import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Features, Value

from ...errors import InputError, first_line
from ..folder import ROWS_A_BATCH
from ..table import FEATURE_TYPE, IMAGE_FEATURES

#: What a table of images has, and where each came from.
SHARD_FEATURES = Features({**IMAGE_FEATURES, "source": Value("string"), "fingerprint": Value("string")})
DRAFT = ".tmp"
ORIGIN = b"mmnas_hf"  # in the schema's metadata, so that a shard without images has it too


class Origin(NamedTuple):
    """The part that a shard stands for."""

    source: str
    fingerprint: str


class Shard(NamedTuple):
    """What a file holds: images' ids and numbers of regions [images], and the width of their features, if any."""

    path: Path
    origin: Origin
    ids: list[str]
    regions: np.ndarray
    feature_size: int | None


def write_shard(path: Path, origin: Origin, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows of images; raises `InputError` if the disk is full or may not be written."""
    schema = SHARD_FEATURES.arrow_schema
    schema = schema.with_metadata({**schema.metadata, ORIGIN: json.dumps(origin).encode()})
    rows, draft = iter(rows), path.with_suffix(DRAFT)
    try:
        with draft.open("wb") as file:
            with pa.ipc.new_stream(file, schema) as stream:
                while batch := [row | origin._asdict() for row in islice(rows, ROWS_A_BATCH)]:
                    stream.write_batch(pa.RecordBatch.from_pylist(batch, schema))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {first_line(error)}; finished shards are kept, "
            "so make room and run the same again to continue"
        ) from None
    finally:
        draft.unlink(missing_ok=True)


def read_shard(path: Path) -> Shard | None:
    """A shard's names and numbers, without reading its features; None if it is no whole shard of ours."""
    ids, regions, size = [], [np.zeros(0, dtype=np.int32)], None
    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
            origin = Origin(*json.loads(stream.schema.metadata[ORIGIN]))
            for batch in stream:
                ids += batch["image_id"].to_pylist()
                regions.append(pc.list_value_length(batch["boxes"]).to_numpy())
                size = size or batch["features"][0].as_buffer().size // FEATURE_TYPE().itemsize // int(regions[-1][0])
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return None
    return Shard(path, origin, ids, np.concatenate(regions), size)
