"""COCO's annotated objects as regions, with captions, questions and expressions, from one JSON file.

A file maps an image's id to its `width` and `height` in pixels, its `objects`, each `[class, x1, y1, x2, y2]` with
corners as shares of width and height, its `captions`, and lists that may be empty: `vqa` questions, `refs` expressions.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from ..errors import InputError, first_line
from .image_ids import image_id_of
from .table import CORNERS, IMAGE_FEATURES, ImageTextData, image_row

FILE = "coco_objects_captions.json"
SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}  # of images
CAPTIONS = 5  # of an image; COCO's test protocol scores five, and a few images have more

Image = Mapping[str, Any]


def load_coco_objects(task: str, data_dir: str | None) -> ImageTextData:
    """Read a task's texts from `coco_objects_captions.json`, or another file of its form, in `data_dir` or being it."""
    makers = {"itm": caption_rows, "vqa": question_rows, "vgd": expression_rows}
    if task not in makers:
        raise InputError(f"coco-objects has no rows for task {task!r}; it has: {', '.join(makers)}")
    if data_dir is None:
        raise InputError(f"coco-objects needs --data_dir, the folder with {FILE} or a file of its form")
    path = Path(data_dir, FILE) if Path(data_dir).is_dir() else Path(data_dir)
    images = read_images(path)
    classes = sorted({name for image in images.values() for name, *_ in image["objects"]})
    table = [describe_image(image_id, image, classes) for image_id, image in images.items()]
    texts = read_texts(path, images, makers[task])
    if missing := {"train", "test"} - texts.keys():
        names = " and ".join(sorted(missing))
        raise InputError(f"{path} has no texts for task {task!r} in {names}; give a file with more, or another task")
    return ImageTextData(Dataset.from_list(table, features=IMAGE_FEATURES), texts)


def read_images(path: Path) -> dict[str, Image]:
    """The images that have objects, by id; raises `InputError` naming an image that is not what it should be."""
    if not path.is_file():
        raise InputError(f"missing file {path}; coco-objects needs --data_dir, the folder with {FILE}")
    try:
        images = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {first_line(error)}") from None
    if not isinstance(images, dict):
        raise InputError(f"{path} holds a {type(images).__name__}; give an object that maps image ids to images")
    for name, image in images.items():
        explain(path, name, check_image, image)
    return {image_id_of(name): image for name, image in images.items() if image["objects"]}


def explain(path: Path, name: str, read: Callable[[Image], Any], image: Image) -> Any:
    """`read(image)`; what is wrong with the image becomes one line."""
    try:
        return read(image)
    except KeyError as error:
        raise InputError(f"{path}, image {name!r} lacks {error}") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}, image {name!r} cannot be used: {first_line(error)}") from None


def check_image(image: Image) -> None:
    if not all(isinstance(image[side], int) and image[side] > 0 for side in ("width", "height")):
        raise ValueError(f"it is {image['width']} x {image['height']} pixels; give whole numbers of at least 1")
    for name in ("objects", "captions", "vqa", "refs"):
        if not isinstance(image[name], list):
            raise TypeError(f"{name} is no list")
    for item in image["objects"]:
        if not (isinstance(item, list) and is_box(item[1:], 1, 1) and isinstance(item[0], str)):
            raise ValueError(f"object {item}; give [class, x1, y1, x2, y2] with 0 <= x1 < x2 <= 1 and y alike")


def is_box(corners: Any, width: int, height: int) -> bool:
    if not isinstance(corners, list) or len(corners) != CORNERS:
        return False
    x1, y1, x2, y2 = corners
    return 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height


def describe_image(image_id: str, image: Image, classes: list[str]) -> dict[str, Any]:
    """A row of the image table; a feature is the object's one-hot class and its share of the image, not its place."""
    names, corners = zip(*((name, box) for name, *box in image["objects"]), strict=True)
    boxes = np.array(corners)
    kinds = np.array(names)[:, None] == np.array(classes)  # [objects, classes]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    width, height = image["width"], image["height"]
    features = np.column_stack([kinds, areas])
    return image_row(image_id, width, height, boxes * [width, height, width, height], features)


def split_of(image_id: str) -> str:
    """The split of an image, drawn from its id alone, so that it stays whatever else the file holds."""
    number = int.from_bytes(blake2b(image_id.encode(), digest_size=8).digest()) / 2**64
    train, validation, _ = SHARES.values()
    return "train" if number < train else "validation" if number < train + validation else "test"


def read_texts(path: Path, images: Mapping[str, Image], make: Callable[[Image], list[dict]]) -> dict[str, Dataset]:
    """The rows of each split that has some."""
    rows = {split: [] for split in SHARES}
    for image_id, image in images.items():
        texts = explain(path, image_id, make, image)
        rows[split_of(image_id)] += [{"image_id": image_id, **text} for text in texts]
    return {split: Dataset.from_list(texts) for split, texts in rows.items() if texts}


def caption_rows(image: Image) -> list[dict[str, Any]]:
    return [{"caption": checked(caption)} for caption in image["captions"][:CAPTIONS]]


def question_rows(image: Image) -> list[dict[str, Any]]:
    return [
        {
            "question_id": entry["question_id"],
            "question": checked(entry["question"]),
            "answers": [checked(answer) for answer in entry["answers"]],
            "multiple_choice_answer": most_common(entry["answers"]),
            "answer_type": checked(entry["answer_type"]),
        }
        for entry in image["vqa"]
    ]


def most_common(answers: list[str]) -> str:
    """The answer that most people gave, as VQA's own files name one; of equally many, the first."""
    if not answers:
        raise ValueError("a question without answers")
    return Counter(answers).most_common(1)[0][0]


def expression_rows(image: Image) -> list[dict[str, Any]]:
    for entry in image["refs"]:
        if not is_box(entry["bbox_xyxy"], image["width"], image["height"]):
            raise ValueError(f"expression in {entry['bbox_xyxy']}; give x1, y1, x2, y2 in pixels inside the image")
    return [
        {"expression": checked(entry["expr"]), "box": list(map(float, entry["bbox_xyxy"]))} for entry in image["refs"]
    ]


def checked(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{text!r} is no text")
    return text
