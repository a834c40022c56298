"""VQA v2 (Goyal et al., 2017) and the Visual Genome questions that MMnas adds: questions with ten people's answers."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, List, Value

from ...errors import InputError
from ..image_ids import image_id_of
from .publication import Expected, Files, Publication, together
from .reading import build_table, column, entries_of, read_json

QUESTIONS = Features(
    {
        "question_id": Value("int64"),
        "image_id": Value("string"),
        "question": Value("string"),
        "answers": List(Value("string")),
        "multiple_choice_answer": Value("string"),
        "answer_type": Value("string"),
        "question_type": Value("string"),
    }
)
ANSWER_COLUMNS = ("answers", "multiple_choice_answer", "answer_type", "question_type")
#: By split, the questions and, where they are public, the answers.
SPLITS = {
    "train": ("v2_OpenEnded_mscoco_train2014_questions.json", "v2_mscoco_train2014_annotations.json"),
    "val": ("v2_OpenEnded_mscoco_val2014_questions.json", "v2_mscoco_val2014_annotations.json"),
    "vg": ("VG_questions.json", "VG_annotations.json"),
    "testdev": ("v2_OpenEnded_mscoco_test-dev2015_questions.json",),
    "test": ("v2_OpenEnded_mscoco_test2015_questions.json",),
}


def read_vqa_v2(files: Files) -> dict[str, Dataset]:
    """The questions of every split whose files are there."""
    found = {split: together(files, names) for split, names in SPLITS.items()}
    return {split: read_questions(*paths) for split, paths in found.items() if paths}


def read_questions(questions: Path, annotations: Path | None = None) -> Dataset:
    """The table of one file of questions and, if it is given, the file of their answers.

    Raises `InputError` for a question or its answers that occur twice, and for one without the other.
    """
    entries = entries_of(read_json(questions), "questions", questions)
    ids = column(entries, "question_id", int, questions)
    check_unique(ids, questions)
    columns = {
        "question_id": ids,
        "image_id": image_ids_of(column(entries, "image_id", (int, str), questions)),
        "question": column(entries, "question", str, questions),
    }
    del entries  # the answers need the room
    answers = dict.fromkeys(ANSWER_COLUMNS, [None] * len(ids))
    if annotations is not None:
        answers = answer_columns(annotations, ids, questions)
    return build_table({**columns, **answers}, QUESTIONS, annotations or questions)


def answer_columns(path: Path, ids: Sequence[int], questions: Path) -> dict[str, list[Any]]:
    """What people answered to the questions with these ids, column by column."""
    entries = entries_of(read_json(path, keep_answer_text), "annotations", path)
    answered = column(entries, "question_id", int, path)
    check_unique(answered, path)
    check_same(answered, ids, path, questions)
    entry_of = dict(zip(answered, entries, strict=True))
    entries = [entry_of[number] for number in ids]
    answers = column(entries, "answers", list, path)
    for number, texts in zip(ids, answers, strict=True):
        if not texts or not all(isinstance(text, str) for text in texts):
            raise InputError(f"{path}: the answers to question {number} are {texts!r:.80}; each needs a text")
    # Visual Genome's lack what they have no use for; the most frequent answer is the definition of this one.
    chosen = [
        entry.get("multiple_choice_answer") or Counter(texts).most_common(1)[0][0]
        for entry, texts in zip(entries, answers, strict=True)
    ]
    kinds = {name: column(entries, name, (str, type(None)), path) for name in ("answer_type", "question_type")}
    return {"answers": answers, "multiple_choice_answer": chosen, **kinds}


def keep_answer_text(item: dict[str, Any]) -> Any:
    """An answer's text in the place of the answer: six million objects would take gigabytes."""
    text = item.get("answer")
    return sys.intern(text) if isinstance(text, str) and "question_id" not in item else item


def image_ids_of(names: Sequence[int | str]) -> list[str]:
    known = {name: image_id_of(name) for name in set(names)}
    return [known[name] for name in names]


def check_unique(ids: Sequence[int], path: Path) -> None:
    if len(set(ids)) < len(ids):
        number, count = Counter(ids).most_common(1)[0]
        raise InputError(f"{path} has question_id {number} {count} times; it must be unique, so download it again")


def check_same(answered: Sequence[int], asked: Sequence[int], annotations: Path, questions: Path) -> None:
    """Raise `InputError` unless both files speak of the same questions."""
    if extra := set(answered) - set(asked):
        raise InputError(f"{annotations} has answers without questions: {questions} lacks question_id {min(extra)}")
    if extra := set(asked) - set(answered):
        raise InputError(f"{questions} has questions without answers: {annotations} lacks question_id {min(extra)}")


VQA_ADDRESS = "https://s3.amazonaws.com/cvmlp/vqa/mscoco/vqa/v2_{}_mscoco.zip"
ARCHIVES = {
    "train": ("Questions_Train", "Annotations_Train"),
    "val": ("Questions_Val", "Annotations_Val"),
    "testdev": ("Questions_Test",),
    "test": ("Questions_Test",),
}
# A shared folder without addresses of its own for each file; this page links to it.
VISUAL_GENOME_ADDRESS = "https://github.com/MILVLG/mmnas/blob/HEAD/docs/dataset_setup.md"

VQA_V2 = Publication(
    name="vqa-v2",
    title="VQA v2",
    task="vqa",
    files=(
        *(
            Expected(name, VQA_ADDRESS.format(archive), needed=split == "train")
            for split, archives in ARCHIVES.items()
            for name, archive in zip(SPLITS[split], archives, strict=True)
        ),
        *(Expected(name, VISUAL_GENOME_ADDRESS, needed=False) for name in SPLITS["vg"]),
    ),
    read=read_vqa_v2,
    # The answers of the test splits are not public.
    splits={"train": "train", "validation": "val", "test": "val", "labels": "train+val"},
    region_count="10 to 100, as many as the detector is sure of",
    licence="CC BY 4.0",
    homepage="https://visualqa.org",
    citation="""\
@inproceedings{goyal2017making,
  title     = {Making the {V} in {VQA} Matter: Elevating the Role of Image Understanding in Visual Question Answering},
  author    = {Yash Goyal and Tejas Khot and Douglas Summers-Stay and Dhruv Batra and Devi Parikh},
  booktitle = {Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2017}
}""",
)
