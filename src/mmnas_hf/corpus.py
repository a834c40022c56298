"""A data set seen by one task: its rows, its processor, and batches that a model takes."""

import random
from collections.abc import Iterable, Mapping
from copy import copy
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
from datasets import concatenate_datasets
from transformers import BatchEncoding, BatchFeature, PreTrainedTokenizerFast

from .cache import cached_json, fingerprint
from .configuration_mmnas import MMnasConfig
from .data.store import RegionStore
from .data.table import ImageTextData, column_of, keep_rows
from .errors import InputError
from .processing_mmnas import MMnasProcessor, build_tokenizer, find_words
from .tasks import Row, Rows, Task

# Fewer training texts than this leave an architecture step nothing to learn from.
SMALLEST_SPLIT = 10
# Texts whose words a collator remembers, some hundred bytes each.
TEXTS_KEPT = 1 << 18
# What a split may be for.
ROLES = ("train", "validation", "test", "labels")
# The share of training texts that weight steps see; architecture steps see the rest (MMnas: 80 : 20).
WEIGHT_SHARE = 0.8


class Collator:
    """Makes a batch of model inputs from rows; texts are cut into words once, for epochs repeat them."""

    def __init__(self, task: Task, store: RegionStore, processor: MMnasProcessor, config: MMnasConfig):
        self.task, self.store, self.processor, self.config = task, store, processor, config
        self.ids: dict[str, list[int]] = {}  # of a text's words

    def __call__(self, rows: list[Row]) -> BatchFeature:
        regions = self.store[[row["image_id"] for row in rows]]
        batch = {
            **self.words([row[self.task.text_column] for row in rows]),
            **self.processor.process_regions(regions.features, regions.boxes, regions.image_sizes, None),
        }
        if all(rows[0].get(name) is not None for name in self.task.target_columns):  # no test set without answers
            batch["labels"] = self.task.labels(rows, self.config)
        return BatchFeature(batch, tensor_type="pt")

    def words(self, texts: list[str]) -> BatchEncoding:
        """What the processor makes of texts."""
        if len(self.ids) > TEXTS_KEPT:
            self.ids.clear()
        if new := list({text for text in texts if text not in self.ids}):
            self.ids.update(zip(new, self.processor.find_ids(new), strict=True))
        return self.processor.pad_words([self.ids[text] for text in texts], "np")


class SearchSplit(NamedTuple):
    """Training rows cut in two: for weight steps and for architecture steps."""

    weights: Rows
    architecture: Rows


class Corpus:
    """One task's view of a data set.

    `roles` names the splits that are trained on, watched in training and scored at the end, and those whose labels make
    the answer vocabulary: `train`, `validation`, `test`, `labels`; several splits are joined by `+`.
    """

    def __init__(
        self,
        task: Task,
        data: ImageTextData,
        tokenizer: PreTrainedTokenizerFast | None = None,
        roles: Mapping[str, str] | None = None,
    ):
        self.task = task
        self.store = RegionStore(data.images)
        self.splits: dict[str, Rows] = dict(data.texts)
        self.roles = {
            "labels": "+".join(name for name in ("train", "validation") if name in self.splits),
            **(roles or {}),
        }
        for name, rows in self.splits.items():
            self.check(name, rows)
        tokenizer = tokenizer or build_tokenizer(self.vocabulary(), task.max_words)
        self.processor = MMnasProcessor(tokenizer)

    def blind(self) -> "Corpus":
        """The same texts with regions that show nothing."""
        blind = copy(self)
        blind.store = self.store.blank()
        return blind

    def check(self, split: str, rows: Rows) -> None:
        """Raise `InputError` unless the split has texts, all with an image of the table."""
        if not len(rows):
            raise InputError(f"split {split!r} has no texts")
        check_columns(split, rows, ("image_id", self.task.text_column))
        self.store.rows_of(np.unique(column_of(rows, "image_id").astype(str)).tolist())

    def vocabulary(self) -> list[str]:
        """The words of all splits' texts by first appearance; kept between runs, since there may be a million texts."""
        texts = [text for rows in self.splits.values() for text in column_of(rows, self.task.text_column)]
        return cached_json("vocabulary", fingerprint("\n".join(texts)), lambda: find_words(texts))

    def names(self, role: str) -> list[str]:
        """The splits of a role, split or union of splits."""
        return self.roles.get(role, role).split("+")

    def has(self, role: str) -> bool:
        return all(name in self.splits for name in self.names(role))

    def rows(self, role: str, images: int | None = None, labelled: bool = True) -> Rows:
        """The rows of a role, split or union of splits, or only those about its first so many images.

        Raises `InputError` for an unknown split and, unless `labelled` is false, for one without the task's targets. If
        it is false, rows of which only some have targets come without any.
        """
        names = self.names(role)
        if unknown := [name for name in names if name not in self.splits]:
            raise InputError(
                f"no split {unknown[0]!r}; this data set has: {', '.join(self.splits)}; "
                "choose with --train_split, --validation_split and --test_split"
            )
        for name in names:
            if labelled:
                check_columns(name, self.splits[name], self.task.target_columns)
        rows = concatenate_datasets([self.splits[name] for name in names])
        if not labelled and not self.is_labelled(rows):
            rows = rows.remove_columns([name for name in self.task.target_columns if name in rows.column_names])
        return rows if images is None else first_images(rows, images)

    def is_labelled(self, rows: Rows) -> bool:
        """Whether rows have all targets of the task."""
        columns = [rows.with_format("arrow")[:][name] for name in self.task.target_columns if name in rows.column_names]
        return len(columns) == len(self.task.target_columns) and not any(column.null_count for column in columns)

    def search_split(self, seed: int) -> SearchSplit:
        """Cut the training rows 80 : 20, by image, so that architecture steps see images that weight steps did not."""
        rows = self.rows("train")
        images = ordered_images(rows)
        random.Random(seed).shuffle(images)
        cut = int(len(images) * WEIGHT_SHARE)
        split = SearchSplit(keep_rows(rows, "image_id", images[:cut]), keep_rows(rows, "image_id", images[cut:]))
        if min(map(len, split)) < SMALLEST_SPLIT:
            raise InputError(
                f"{len(rows)} training texts about {len(images)} images are too few to split for a search; "
                f"each part needs at least {SMALLEST_SPLIT} texts"
            )
        return split

    def watched_rows(self, seed: int, images: int | None = None) -> Rows:
        """The rows that a search is watched on: those for validation or, without any, those of architecture steps."""
        if self.watches_validation:
            return self.rows("validation", images)
        rows = self.search_split(seed).architecture
        return rows if images is None else first_images(rows, images)

    @property
    def watches_validation(self) -> bool:
        """Whether there are texts to choose by that no result is told of: none that the test has, too."""
        return self.has("validation") and set(self.names("validation")).isdisjoint(self.names("test"))

    def report(self) -> list[str]:
        """What the texts are like, for a person to read."""
        words = len(self.processor.tokenizer)
        return [f"{words} words", *self.task.report(self.rows("labels"))]

    def settings(self) -> dict:
        """Configuration that follows from the data: sizes and the task's vocabulary."""
        return {
            "vocab_size": len(self.processor.tokenizer),
            "pad_token_id": self.processor.tokenizer.pad_token_id,
            "region_size": self.store.feature_size,
            **self.task.model_settings(self.rows("labels")),
        }

    def collator(self, config: MMnasConfig) -> Collator:
        if config.region_size != self.store.feature_size:
            raise InputError(
                f"the model reads region features of width {config.region_size}, the data has {self.store.feature_size}"
            )
        return Collator(self.task, self.store, self.processor, config)


def check_columns(split: str, rows: Rows, names: Iterable[str]) -> None:
    """Raise `InputError` unless every row of a split has a value in these columns."""
    if missing := [name for name in names if name not in rows.column_names]:
        raise InputError(f"split {split!r} lacks column {missing[0]!r}; it has: {', '.join(rows.column_names)}")
    for name in names:
        column = rows.select_columns([name]).with_format("arrow")[:][name]
        if column.null_count:
            row = pc.index(pc.is_null(column), True).as_py()
            raise InputError(f"{column.null_count} texts of split {split!r} have no {name}, the first is row {row}")


def ordered_images(rows: Rows) -> list[str]:
    """The images of some rows, by first appearance."""
    return list(dict.fromkeys(column_of(rows, "image_id")))


def first_images(rows: Rows, count: int) -> Rows:
    """The rows about the first so many images."""
    return keep_rows(rows, "image_id", ordered_images(rows)[:count])
