"""How fast tables of real size are read, and how much memory it takes to convert and read many images."""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from ..configuration_mmnas import MMnasConfig
from ..data import RegionStore
from ..data.folder import load_images
from ..data.regions import convert
from ..processing_mmnas import pad_regions
from .synthetic import SyntheticRegions, synthetic_corpus
from .timing import in_fresh_process, interleaved, peak_memory

BATCH, ROUNDS = 64, 5
READ_IMAGES, FEW_IMAGES, MANY_IMAGES = 2000, 2000, 20000


def measure_reading() -> Sequence[dict[str, Any]]:
    """Rows a second on one thread, in random batches: regions alone, and whole batches of questions."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        corpus = synthetic_corpus("vqa", Path(folder), READ_IMAGES, 2)
        collator = corpus.collator(MMnasConfig(**corpus.settings(), genotype="S|G"))
        rows, order = corpus.rows("train"), np.random.default_rng(0).permutation(len(corpus.rows("train")))
        batches = np.array_split(order, len(order) // BATCH)
        images = [[str(index // 2) for index in batch] for batch in batches]

        def regions() -> None:
            for batch in images:
                found = corpus.store[batch]
                pad_regions(found.features, found.boxes)

        def questions() -> None:
            for batch in batches:
                collator(rows.__getitems__(batch.tolist()))

        return [
            row_of(name, len(order), seconds)
            for name, seconds in interleaved(regions, questions, rounds=ROUNDS).items()
        ]


def row_of(name: str, rows: int, seconds: float) -> dict[str, Any]:
    return {"measurement": f"reading and collating, {name}", "rows a second": round(rows / seconds)}


def measure_conversion() -> Sequence[dict[str, Any]]:
    """Peak resident memory of a fresh process that converts so many images and then reads them all."""
    return [in_fresh_process(convert_and_read, images) for images in (FEW_IMAGES, MANY_IMAGES)]


def convert_and_read(images: int) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        convert(SyntheticRegions(images), Path(folder))
        converted = time.perf_counter() - start
        store = RegionStore(load_images(Path(folder)))
        for batch in np.array_split(np.random.default_rng(0).permutation(images), images // BATCH):
            found = store[[str(image) for image in batch]]
            pad_regions(found.features, found.boxes)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.arrow"))
    return {
        "measurement": f"converting and reading {images} images",
        "table GB": round(size / 1e9, 2),
        "peak resident GB": round(peak_memory() / 1e9, 2),
        "images a second, converting": round(images / converted),
    }
