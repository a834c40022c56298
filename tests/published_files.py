"""Writes small data sets in the files of their publishers, all about the same few images."""

import json
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from region_files import make_images

IMAGES = {"train": range(1, 31), "val": range(101, 111), "test": range(201, 206)}
PICTURES = [picture for numbers in IMAGES.values() for picture in make_images(len(numbers), start=numbers[0])]
CAPTIONS_AN_IMAGE = 5
ADJECTIVES = ("small", "large", "old", "new")
# Kinds of questions, in turn: how they begin, of what type their answers are, and which these may be.
KINDS = (
    ("is the", "yes/no", ("yes", "no")),
    ("how many", "number", ("1", "2")),
    ("what color is the", "other", ("red", "blue")),
)


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def question(number: int) -> dict[str, Any]:
    text = f"{KINDS[number % 3][0].capitalize()} {ADJECTIVES[number % 4]} thing?"
    return {"image_id": number // 2, "question": text, "question_id": 10_000 - number}


def annotation(number: int) -> dict[str, Any]:
    """Ten answers, of which two to ten are alike."""
    beginning, kind, answers = KINDS[number % 3]
    chosen, other = answers[number % 2], answers[1 - number % 2]
    agree = 2 + number % 9
    texts = [chosen] * agree + [other] * ((10 - agree) // 2)
    texts += ["maybe"] * (10 - len(texts))
    return {
        "question_id": 10_000 - number,
        "image_id": number // 2,
        "question_type": beginning,
        "answer_type": kind,
        "multiple_choice_answer": chosen,
        "answers": [{"answer": text, "answer_id": place} for place, text in enumerate(texts, start=1)],
    }


def write_vqa_v2(folder: Path, images: Mapping[str, Iterable[int]] = IMAGES, questions_an_image: int = 2) -> None:
    """One or two questions an image; those about the test images have no answers."""
    for split, name in (("train", "train2014"), ("val", "val2014"), ("test", "test-dev2015")):
        numbers = [2 * image + place for image in images[split] for place in range(questions_an_image)]
        questions = [question(number) for number in numbers]
        write_json(folder / f"v2_OpenEnded_mscoco_{name}_questions.json", {"questions": questions})
        if split != "test":
            answers = [annotation(number) for number in reversed(numbers)]
            write_json(folder / f"v2_mscoco_{name}_annotations.json", {"annotations": answers})


def reference(image_id: int, split: str) -> dict[str, Any]:
    texts = [f"{ADJECTIVES[(image_id + place) % 4]} thing" for place in (0, 1)]
    sentences = [{"sent_id": 2 * image_id + place, "sent": text} for place, text in enumerate(texts)]
    number = {"ref_id": image_id, "ann_id": image_id, "image_id": image_id}
    return {**number, "category_id": 1, "split": split, "sentences": sentences}


def write_refcoco(folder: Path) -> None:
    """Two expressions an image, which mean its first region."""
    splits = {"train": "train", "val": "val", "test": "testA"}
    references = [reference(number, splits[split]) for split, numbers in IMAGES.items() for number in numbers]
    annotations = []
    for picture in PICTURES:
        x1, y1, x2, y2 = picture.boxes[0].tolist()
        annotations.append({"id": int(picture.image_id), "bbox": [x1, y1, x2 - x1, y2 - y1]})
    instances = {"annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    write_json(folder / "refcoco" / "instances.json", instances)
    (folder / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(references, protocol=2))


def captions(number: int) -> list[str]:
    return [f"Picture {number} of a {ADJECTIVES[place % 4]} thing, {place}." for place in range(CAPTIONS_AN_IMAGE)]


def write_flickr30k(folder: Path) -> None:
    """Karpathy's file."""
    images = []
    for split, numbers in IMAGES.items():
        for number in numbers:
            first = number * CAPTIONS_AN_IMAGE
            sentences = [{"raw": text, "sentid": first + place} for place, text in enumerate(captions(number))]
            images.append({"filename": f"{number}.jpg", "split": split, "sentences": sentences})
    write_json(folder / "dataset_flickr30k.json", {"images": images})


def write_coco_captions(folder: Path) -> None:
    """SCAN's files."""
    folder = folder / "coco_precomp"
    folder.mkdir(parents=True, exist_ok=True)
    for split, prefix in {"train": "train", "val": "dev", "test": "testall"}.items():
        texts = [text for number in IMAGES[split] for text in captions(number)]
        (folder / f"{prefix}_caps.txt").write_text("".join(f"{text}\n" for text in texts))
        (folder / f"{prefix}_ids.txt").write_text("".join(f"{number}\n" for number in IMAGES[split]))


WRITERS = {
    "vqa-v2": write_vqa_v2,
    "refcoco": write_refcoco,
    "flickr30k": write_flickr30k,
    "coco-captions": write_coco_captions,
}


def write_downloads(publication: str, folder: Path) -> Path:
    """A publication's files below a folder, as they come out of their archives."""
    WRITERS[publication](folder)
    return folder
