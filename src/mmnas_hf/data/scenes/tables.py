"""Rows of the tables of images, questions, expressions and captions."""

import io
from collections.abc import Iterable, Iterator
from typing import Any

from datasets import Features, Image, Sequence, Value
from PIL.Image import Image as Picture

from ..table import IMAGE_FEATURES
from .asking import Balance, ask, ten_answers
from .captions import caption
from .descriptors import describe
from .expressions import refer
from .proposals import propose
from .render import render
from .world import Scene

Row = dict[str, Any]

COLUMNS = {
    "images": Features({**IMAGE_FEATURES, "image": Image()}),
    "vqa": Features(
        {
            "question_id": Value("int64"),
            "image_id": Value("string"),
            "question": Value("string"),
            "question_type": Value("string"),
            "answer_type": Value("string"),
            "answers": Sequence(Value("string")),
            "multiple_choice_answer": Value("string"),
            "group": Value("string"),
        }
    ),
    "vgd": Features(
        {
            "ref_id": Value("int64"),
            "image_id": Value("string"),
            "expression": Value("string"),
            "box": Sequence(Value("float32")),
            "group": Value("string"),
        }
    ),
    "itm": Features({"caption_id": Value("int64"), "image_id": Value("string"), "caption": Value("string")}),
}

#: What the random numbers of a scene are for.
_PICTURE, _PROPOSALS, _QUESTIONS, _EXPRESSIONS, _CAPTIONS = range(5)
_IDS_PER_IMAGE = 100
_PNG_COMPRESSION = 3  # half the time of the default, files 4 % larger


def image_rows(scenes: Iterable[Scene]) -> Iterator[Row]:
    """Yield the pictures with their regions."""
    for scene in scenes:
        picture = render(scene, scene.generator(_PICTURE))
        boxes = propose(picture, scene.generator(_PROPOSALS))
        yield {
            "image_id": scene.image_id,
            "width": picture.width,
            "height": picture.height,
            "boxes": boxes.tolist(),
            "features": describe(picture, boxes).tobytes(),
            "image": {"bytes": _png(picture), "path": None},
        }


def question_rows(scenes: Iterable[Scene]) -> Iterator[Row]:
    """Yield questions with ten answers, balanced over the scenes."""
    balance = Balance()
    for scene in scenes:
        rng = scene.generator(_QUESTIONS)
        for number, question in enumerate(ask(scene, balance, rng)):
            yield {
                "question_id": scene.number * _IDS_PER_IMAGE + number,
                "image_id": scene.image_id,
                "question": question.text,
                "question_type": question.question_type,
                "answer_type": question.answer_type,
                "answers": ten_answers(question, rng),
                "multiple_choice_answer": question.answer,
                "group": question.group,
            }


def expression_rows(scenes: Iterable[Scene]) -> Iterator[Row]:
    """Yield referring expressions with the true box of the object."""
    for scene in scenes:
        for number, expression in enumerate(refer(scene, scene.generator(_EXPRESSIONS))):
            yield {
                "ref_id": scene.number * _IDS_PER_IMAGE + number,
                "image_id": scene.image_id,
                "expression": expression.text,
                "box": list(expression.target.box),
                "group": expression.group,
            }


def caption_rows(scenes: Iterable[Scene]) -> Iterator[Row]:
    """Yield five captions an image."""
    for scene in scenes:
        for number, text in enumerate(caption(scene, scene.generator(_CAPTIONS))):
            yield {
                "caption_id": scene.number * _IDS_PER_IMAGE + number,
                "image_id": scene.image_id,
                "caption": text,
            }


#: Keys as in COLUMNS.
ROWS = {"images": image_rows, "vqa": question_rows, "vgd": expression_rows, "itm": caption_rows}


def _png(picture: Picture) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=_PNG_COMPRESSION)
    return buffer.getvalue()
