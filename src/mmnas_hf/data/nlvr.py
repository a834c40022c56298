"""NLVR (Suhr et al., 2017): human-written sentences about three boxes of coloured shapes, from its JSON files.

Training texts are `test.json`, scored texts `dev.json`, the two files that carry labels and are about equally large.
"""

import json
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from ..errors import InputError
from .table import IMAGE_FEATURES, ImageTextData, image_row

FILES = {"train": "test.json", "test": "dev.json"}
LABELS = ("true", "false")
VOCABULARIES = {
    "color": ("Yellow", "#0099ff", "Black"),
    "type": ("square", "triangle", "circle"),
    "size": (10, 20, 30),
}
IMAGE_SIZE = (400, 100)  # width, height
BOX_OFFSETS = (0, 150, 300)
ANNOTATORS = 10  # answers a question has in VQA v2's schema

Example = dict[str, Any]


def load_nlvr(task: str, data_dir: str | None) -> ImageTextData:
    """Read NLVR from a folder with its JSON files, as questions with answers true and false or as captions."""
    makers = {"vqa": question_rows, "itm": caption_rows}
    if task not in makers:
        raise InputError(f"nlvr has no rows for task {task!r}; it has: {', '.join(makers)}")
    if data_dir is None:
        raise InputError("nlvr needs --data_dir, the folder with test.json and dev.json (github.com/lil-lab/nlvr)")
    examples = {split: list(read_examples(Path(data_dir, name))) for split, name in FILES.items()}
    images = [row for split, rows in examples.items() for example in rows for row in image_rows(example, split)]
    texts = {split: Dataset.from_list(makers[task](rows, split)) for split, rows in examples.items()}
    return ImageTextData(Dataset.from_list(images, features=IMAGE_FEATURES), texts)


def read_examples(path: Path) -> Iterator[Example]:
    if not path.is_file():
        raise InputError(f"missing file {path}; nlvr needs test.json and dev.json in --data_dir")
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            yield check_example(json.loads(line))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}, line {number} is no NLVR example: {error}") from None


def check_example(example: Example) -> Example:
    """The parts of an example that are read; raises an error where one is missing or not what it should be."""
    kept = {name: example[name] for name in ("identifier", "sentence", "label", "structured_rep")}
    if kept["label"] not in LABELS:
        raise ValueError(f"label {kept['label']!r}; known: {', '.join(LABELS)}")
    if [type(items) for items in kept["structured_rep"]] != [list] * len(BOX_OFFSETS):
        raise ValueError(f"structured_rep needs {len(BOX_OFFSETS)} boxes of objects")
    objects = [item for items in kept["structured_rep"] for item in items]
    if not objects:
        raise ValueError("no objects in any box")
    for item in objects:
        if not all(isinstance(item[name], int | float) for name in ("x_loc", "y_loc")):
            raise ValueError(f"object {item} has no place in numbers")
        for name, known in VOCABULARIES.items():
            if item[name] not in known:
                raise ValueError(f"{name} {item[name]!r}; known: {known}")
    return kept


def orders(split: str) -> list[tuple[int, ...]]:
    """Orders of the three boxes: all six in training, since a sentence is as true of each, else the given one."""
    every = list(permutations(range(len(BOX_OFFSETS))))
    return every if split == "train" else every[:1]


def image_name(example: Example, split: str, order: tuple[int, ...]) -> str:
    return f"{split}-{example['identifier']}-{''.join(map(str, order))}"


def image_rows(example: Example, split: str) -> Iterator[dict[str, Any]]:
    for order in orders(split):
        objects = [
            (offset, item)
            for offset, source in zip(BOX_OFFSETS, order, strict=True)
            for item in example["structured_rep"][source]
        ]
        boxes = [object_box(offset, item) for offset, item in objects]
        features = np.stack([describe(item) for _, item in objects])
        yield image_row(image_name(example, split, order), *IMAGE_SIZE, np.array(boxes), features)


def object_box(offset: int, item: dict[str, Any]) -> tuple[float, ...]:
    x, y, size = offset + item["x_loc"], item["y_loc"], item["size"]
    return x, y, x + size, y + size


def describe(item: dict[str, Any]) -> np.ndarray:
    """One-hot colour, shape and size of an object; not its place."""
    return np.array([float(item[name] == value) for name, known in VOCABULARIES.items() for value in known])


def question_rows(examples: list[Example], split: str) -> list[dict[str, Any]]:
    rows = [
        {
            "image_id": image_name(example, split, order),
            "question": example["sentence"],
            "answers": [example["label"]] * ANNOTATORS,
            "multiple_choice_answer": example["label"],
            "answer_type": "true/false",
        }
        for example in examples
        for order in orders(split)
    ]
    return [{"question_id": number, **row} for number, row in enumerate(rows)]


def caption_rows(examples: list[Example], split: str) -> list[dict[str, Any]]:
    """True sentences as captions; scored ones only once, since one sentence is often true of several images."""
    true = [example for example in examples if example["label"] == "true"]
    if split != "train":
        true = list({example["sentence"]: example for example in reversed(true)}.values())[::-1]
    rows = [
        {"image_id": image_name(example, split, order), "caption": example["sentence"]}
        for example in true
        for order in orders(split)
    ]
    return [{"caption_id": number, **row} for number, row in enumerate(rows)]
