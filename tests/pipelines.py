"""Small random networks in their pipelines, and inputs of unlike lengths."""

from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import Pipeline, pipeline

from mmnas_hf import Detection, MMnasConfig
from mmnas_hf.corpus import Corpus
from mmnas_hf.pipeline_mmnas import PIPELINES
from mmnas_hf.tasks import TASKS
from mmnas_hf.training import build_model
from tiny import FEATURE_SIZE, HEIGHT, SIZES, WIDTH, random_boxes, tiny_corpus

GENOTYPE = "SF|SRGF"
TASK_OF = {
    name: next(task for task, known in TASKS.items() if known.model_class.__name__ == kind.network)
    for name, kind in PIPELINES.items()
}
TEXTS = ("red", "is something green and black?", "green or blue", "Is it red", "the black one", "blue", "a zebra, red")
REGIONS = (3, 6, 1, 4, 5, 2, 6)


class Made(NamedTuple):
    """A pipeline and what it was made from."""

    pipe: Pipeline
    corpus: Corpus


def make_pipeline(name: str, genotype: str = GENOTYPE, detector: Any = None, **settings) -> Made:
    corpus = tiny_corpus(TASK_OF[name])
    config = MMnasConfig(**corpus.settings() | SIZES | settings, genotype=genotype)
    model = build_model(corpus, config, 0)
    return Made(pipeline(name, model=model, processor=corpus.processor, detector=detector, device="cpu"), corpus)


def random_detection(regions: int, seed: int = 0) -> Detection:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(regions, FEATURE_SIZE, generator=generator).numpy()
    return Detection(features, random_boxes(generator, regions).numpy(), (HEIGHT, WIDTH))


def unlike_inputs(pipe: Pipeline) -> list[dict[str, Any]]:
    """Texts of 1 to 5 words about images of 1 to 6 regions."""
    images = [random_detection(count, seed) for seed, count in enumerate(REGIONS)]
    return [{pipe.text_key: text, "regions": image} for text, image in zip(TEXTS, images, strict=True)]


def numbers(result: Any) -> list[float]:
    """All numbers in a result, in order."""
    if isinstance(result, dict):
        return [number for value in result.values() for number in numbers(value)]
    if isinstance(result, list):
        return [number for value in result for number in numbers(value)]
    return [] if isinstance(result, str) else [float(result)]


def words_in(result: Any) -> list[str]:
    """All texts in a result, in order."""
    if isinstance(result, dict):
        return [text for value in result.values() for text in words_in(value)]
    if isinstance(result, list):
        return [text for value in result for text in words_in(value)]
    return [result] if isinstance(result, str) else []


def same(first: Any, second: Any, tolerance: float = 1e-5) -> bool:
    """Whether two results say the same; pixels may differ by as much of their size."""
    return words_in(first) == words_in(second) and np.allclose(numbers(first), numbers(second), tolerance, tolerance)
