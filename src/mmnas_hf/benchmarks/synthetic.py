"""Made-up images and texts of real size."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..corpus import Corpus
from ..data import ImageTextData
from ..data.folder import load_images
from ..data.regions import ImageRegions, Part, RegionSource, convert
from ..tasks import TASKS

WIDTH, HEIGHT, REGIONS, FEATURE_SIZE = 640, 480, 36, 2048
PART = 500
WORDS, ANSWERS = 5000, 200


class SyntheticRegions(RegionSource):
    """So many images with regions of random content."""

    def __init__(self, images: int, regions: int = REGIONS):
        self.images, self.regions = images, regions

    def parts(self, wanted: frozenset[str] | None) -> list[Part]:
        starts = range(0, self.images, PART)
        return [Part("synthetic", f"{self.images}-{start}", start) for start in starts]

    def read(self, part: Part) -> Iterator[ImageRegions]:
        generator = np.random.default_rng(part.content)
        for image in range(part.content, min(part.content + PART, self.images)):
            corners = generator.uniform(0, 300, (self.regions, 2))
            boxes = np.concatenate([corners, corners + generator.uniform(20, 150, (self.regions, 2))], axis=1)
            features = generator.random((self.regions, FEATURE_SIZE), dtype=np.float32)
            yield ImageRegions(str(image), WIDTH, HEIGHT, boxes, features)


def synthetic_corpus(task: str, folder: Path, images: int, texts_an_image: int) -> Corpus:
    """Texts of about 12 words about images in a table folder, all in one split that is for everything."""
    convert(SyntheticRegions(images), folder)
    generator = np.random.default_rng(0)
    rows = [make_row(task, number // texts_an_image, generator) for number in range(images * texts_an_image)]
    texts = Dataset.from_list(rows)
    return Corpus(TASKS[task], ImageTextData(load_images(folder), {"train": texts, "test": texts}))


def make_row(task: str, image: int, generator: np.random.Generator) -> dict:
    words = generator.integers(WORDS, size=max(5, int(generator.normal(12, 3))))
    text = " ".join(f"word{word}" for word in words)
    answer = f"answer {generator.integers(ANSWERS)}"
    targets = {"answers": [answer] * 10, "multiple_choice_answer": answer} if task == "vqa" else {}
    return {"image_id": str(image), TASKS[task].text_column: text, **targets}
