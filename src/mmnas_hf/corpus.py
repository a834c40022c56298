"""A data set seen by one task: its rows, its processor, and batches that a model takes."""

import random
from collections.abc import Iterable
from copy import copy
from typing import NamedTuple

from transformers import BatchFeature, PreTrainedTokenizerFast

from .configuration_mmnas import MMnasConfig
from .data.table import ImageTextData, RegionStore
from .errors import InputError
from .processing_mmnas import MMnasProcessor, build_tokenizer
from .tasks import Row, Rows, Task

# Fewer training texts than this leave an architecture step nothing to learn from.
SMALLEST_SPLIT = 10
# The share of training texts that weight steps see; architecture steps see the rest (MMnas: 80 : 20).
WEIGHT_SHARE = 0.8


class Collator:
    """Makes a batch of model inputs from rows."""

    def __init__(self, task: Task, store: RegionStore, processor: MMnasProcessor, config: MMnasConfig):
        self.task, self.store, self.processor, self.config = task, store, processor, config

    def __call__(self, rows: list[Row]) -> BatchFeature:
        regions = self.store[[row["image_id"] for row in rows]]
        batch = self.processor(
            text=[row[self.task.text_column] for row in rows],
            region_features=regions.features,
            region_boxes=regions.boxes,
            image_sizes=regions.image_sizes,
        )
        return BatchFeature({**batch, "labels": self.task.labels(rows, self.config)}, tensor_type="pt")


class SearchSplit(NamedTuple):
    """Training rows cut in two: for weight steps and for architecture steps."""

    weights: Rows
    architecture: Rows


class Corpus:
    """One task's view of a data set."""

    def __init__(self, task: Task, data: ImageTextData, tokenizer: PreTrainedTokenizerFast | None = None):
        self.task = task
        self.store = RegionStore(data.images)
        self.splits: dict[str, Rows] = {name: texts.to_list() for name, texts in data.texts.items()}
        for name, rows in self.splits.items():
            self.check(name, rows)
        tokenizer = tokenizer or build_tokenizer(self.texts(), task.max_words)
        self.processor = MMnasProcessor(tokenizer)

    def blind(self) -> "Corpus":
        """The same texts with regions that show nothing."""
        blind = copy(self)
        blind.store = self.store.blank()
        return blind

    def check(self, split: str, rows: Rows) -> None:
        """Raise `InputError` unless every text has what the task reads and an image in the table."""
        if not rows:
            raise InputError(f"split {split!r} has no texts")
        for row in rows:
            if missing := [name for name in ("image_id", *self.task.columns) if row.get(name) is None]:
                raise InputError(f"a text of split {split!r} lacks {', '.join(missing)}: {row}")
        self.store.rows_of(row["image_id"] for row in rows)

    def texts(self) -> Iterable[str]:
        return (row[self.task.text_column] for rows in self.splits.values() for row in rows)

    def rows(self, split: str, images: int | None = None) -> Rows:
        """The rows of a split, or only those about its first so many images."""
        if split not in self.splits:
            raise InputError(f"no split {split!r}; this data set has: {', '.join(self.splits)}")
        rows = self.splits[split]
        if images is None:
            return rows
        kept = set(list(dict.fromkeys(row["image_id"] for row in rows))[:images])
        return [row for row in rows if row["image_id"] in kept]

    def search_split(self, seed: int) -> SearchSplit:
        """Cut the training rows 80 : 20, by image, so that architecture steps see images that weight steps did not."""
        rows = self.rows("train")
        images = list(dict.fromkeys(row["image_id"] for row in rows))
        random.Random(seed).shuffle(images)
        weights = set(images[: int(len(images) * WEIGHT_SHARE)])
        split = SearchSplit(
            [row for row in rows if row["image_id"] in weights], [row for row in rows if row["image_id"] not in weights]
        )
        if min(map(len, split)) < SMALLEST_SPLIT:
            raise InputError(
                f"{len(rows)} training texts about {len(images)} images are too few to split for a search; "
                f"each part needs at least {SMALLEST_SPLIT} texts"
            )
        return split

    def settings(self) -> dict:
        """Configuration that follows from the data: sizes and the task's vocabulary."""
        return {
            "vocab_size": len(self.processor.tokenizer),
            "pad_token_id": self.processor.tokenizer.pad_token_id,
            "region_size": self.store.feature_size,
            **self.task.model_settings([row for name in ("train", "validation") for row in self.splits.get(name, [])]),
        }

    def collator(self, config: MMnasConfig) -> Collator:
        if config.region_size != self.store.feature_size:
            raise InputError(
                f"the model reads region features of width {config.region_size}, the data has {self.store.feature_size}"
            )
        return Collator(self.task, self.store, self.processor, config)
