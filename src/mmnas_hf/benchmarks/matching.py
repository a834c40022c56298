"""How much faster all pairs are scored than by a double loop over images and captions."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator

from ..configuration_mmnas import MMnasConfig
from ..corpus import Corpus
from ..genotype import Genotype
from ..matching import PairScorer
from ..modeling_mmnas import MMnasForTask
from ..training import build_model
from .synthetic import synthetic_corpus

IMAGES, CAPTIONS_AN_IMAGE = 100, 5


class Setting(NamedTuple):
    """A network, and how many of the images it scores with all captions: a loop over all would take it an hour."""

    genotype: str
    hidden_size: int
    images: int


SETTINGS = (Setting("SS|GGRGFR", 64, 100), Setting("mmnas-itm", 256, 2), Setting("mmnas-itm", 512, 2))


def measure_matching() -> Sequence[dict[str, Any]]:
    """100 images and 500 captions on one thread: one pair at a time, each image with all captions, and `PairScorer`."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        corpus = synthetic_corpus("itm", Path(folder), IMAGES, CAPTIONS_AN_IMAGE)
        return [measure(corpus, setting) for setting in SETTINGS]


def measure(corpus: Corpus, setting: Setting) -> dict[str, Any]:
    genotype = Genotype.load(setting.genotype)
    config = MMnasConfig(**corpus.settings(), genotype=genotype, hidden_size=setting.hidden_size)
    model = build_model(corpus, config, 0).eval()
    images, captions = corpus.store.ids[: setting.images], corpus.rows("test")["caption"][:]
    loop, expected = timed(lambda: [[one_pair(model, corpus, i, [c])[0] for c in captions] for i in images])
    batched, _ = timed(lambda: [one_pair(model, corpus, i, captions) for i in images])
    scorer = PairScorer(model, corpus.processor, corpus.store, Accelerator(cpu=True))
    fast, scores = timed(lambda: scorer(images, captions, [np.arange(len(captions))] * len(images)))
    pairs = len(images) * len(captions)
    return {
        "measurement": f"matching, {setting.genotype}, hidden {setting.hidden_size}",
        "one pair at a time, ms": round(loop / pairs * 1e3, 2),
        "one image at a time, ms": round(batched / pairs * 1e3, 2),
        "PairScorer, ms": round(fast / pairs * 1e3, 3),
        "times faster": f"{loop / fast:.1f} and {batched / fast:.1f}",
        "largest difference": f"{np.abs(np.array(expected) - np.array(scores)).max():.1e}",
        "pairs": pairs,
    }


@torch.no_grad()
def one_pair(model: MMnasForTask, corpus: Corpus, image: str, captions: Sequence[str]) -> list[float]:
    """An image with some captions, all computed for each."""
    return model(**corpus.processor(captions, *corpus.store[[image] * len(captions)])).logits.squeeze(-1).tolist()


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result
