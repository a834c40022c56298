"""VQA v2's questions and answers are joined by question_id, and whatever does not fit is named."""

import json
from collections import Counter

import pytest

from mmnas_hf.data.published import PUBLICATIONS, find_files
from mmnas_hf.data.published.vqa_v2 import QUESTIONS, SPLITS, read_questions
from mmnas_hf.errors import InputError
from mmnas_hf.tasks import TASKS

VQA_V2 = PUBLICATIONS["vqa-v2"]
TEXTS = {7: "What is it?", 8: "Is it red?", 9: "How many?"}
ANSWERS = {7: ["cat"] * 6 + ["dog"] * 4, 8: ["yes"] * 10, 9: [str(number) for number in range(10)]}


def question(number):
    return {"image_id": number * 100, "question": TEXTS[number], "question_id": number}


def annotation(number, **changes):
    answers = [
        {"answer": text, "answer_confidence": "yes", "answer_id": position}
        for position, text in enumerate(ANSWERS[number], start=1)
    ]
    return {
        "question_type": "what",
        "multiple_choice_answer": ANSWERS[number][0],
        "answers": answers,
        "image_id": number * 100,
        "answer_type": "other",
        "question_id": number,
    } | changes


def write(path, key, entries):
    path.write_text(json.dumps({"info": {"version": "2.0"}, "license": {"name": "CC BY 4.0"}, key: entries}))
    return path


@pytest.fixture
def pair(tmp_path):
    """Training questions, and their answers in another order."""
    names = SPLITS["train"]
    return (
        write(tmp_path / names[0], "questions", [question(number) for number in (7, 8, 9)]),
        write(tmp_path / names[1], "annotations", [annotation(number) for number in (9, 7, 8)]),
    )


def read(folder):
    return VQA_V2.read(find_files(VQA_V2, folder))


def message(*paths):
    with pytest.raises(InputError) as error:
        read_questions(*paths)
    assert "\n" not in str(error.value)
    return str(error.value)


# The real files


@pytest.fixture(scope="module")
def real(real_data):
    return read(real_data / "vqa_v2")


def test_the_real_files_have_as_many_questions_as_the_read_me_says(real):
    assert {split: len(rows) for split, rows in real.items()} == {"train": 3000, "val": 600}


def test_the_real_questions_have_the_ten_answers_of_their_annotation(real, real_data):
    file = json.loads((real_data / "vqa_v2" / SPLITS["val"][1]).read_text())
    expected = {item["question_id"]: [answer["answer"] for answer in item["answers"]] for item in file["annotations"]}
    assert {row["question_id"]: row["answers"] for row in real["val"]} == expected
    assert set(map(len, expected.values())) == {10}


def test_the_real_answers_are_of_three_types(real):
    assert set(real["train"]["answer_type"]) == {"yes/no", "number", "other"}


def test_the_questions_beside_the_real_features_are_read_and_name_their_image(real_data):
    folder = real_data / "bottom_up_features"
    rows = read_questions(folder / "questions.json", folder / "annotations.json")
    assert (len(rows), set(rows["image_id"])) == (3, {"458752"})


# Rows


def test_answers_are_those_of_the_question(pair):
    rows = read_questions(*pair)
    assert rows.features == QUESTIONS
    assert rows["question_id"] == [7, 8, 9]
    for row in rows:
        number = row["question_id"]
        assert (row["question"], row["image_id"]) == (TEXTS[number], str(number * 100))
        assert (row["answers"], row["multiple_choice_answer"]) == (ANSWERS[number], ANSWERS[number][0])
        assert (row["answer_type"], row["question_type"]) == ("other", "what")


def test_rows_have_what_the_task_reads(pair):
    assert set(TASKS["vqa"].columns) <= set(read_questions(*pair).column_names)


@pytest.mark.parametrize("split", ["testdev", "test"])
def test_test_splits_have_no_answers(pair, split):
    write(pair[0].parent / SPLITS[split][0], "questions", [question(8)])
    rows = read(pair[0].parent)
    assert list(rows) == ["train", split]
    assert rows[split].features == QUESTIONS
    assert {name for name, value in rows[split][0].items() if value is None} == {
        "answers",
        "multiple_choice_answer",
        "answer_type",
        "question_type",
    }


def test_visual_genomes_questions_have_the_answers_they_have(pair):
    folder = pair[0].parent
    plain = {"question_id": 8, "image_id": 800, "answers": [{"answer": text} for text in ("on", "above", "above")]}
    write(folder / SPLITS["vg"][0], "questions", [question(8)])
    write(folder / SPLITS["vg"][1], "annotations", [plain])
    (row,) = read(folder)["vg"]
    assert row["answers"] == ["on", "above", "above"]
    assert row["multiple_choice_answer"] == Counter(row["answers"]).most_common(1)[0][0] == "above"
    assert row["answer_type"] is None


@pytest.mark.parametrize("missing", [0, 1])
def test_a_splits_questions_without_the_file_of_answers_raise(pair, missing):
    folder = pair[0].parent
    write(folder / SPLITS["val"][1 - missing], ("questions", "annotations")[1 - missing], [])
    with pytest.raises(InputError, match=f"is there without {SPLITS['val'][missing]}"):
        read(folder)


# Wrong files


def test_a_question_that_occurs_twice_raises(pair):
    write(pair[0], "questions", [question(number) for number in (7, 8, 9, 8)])
    assert message(*pair).startswith(f"{pair[0]} has question_id 8 2 times")


def test_answers_that_occur_twice_raise(pair):
    write(pair[1], "annotations", [annotation(number) for number in (7, 8, 9, 9)])
    assert message(*pair).startswith(f"{pair[1]} has question_id 9 2 times")


def test_answers_without_questions_raise(pair):
    write(pair[0], "questions", [question(7), question(8)])
    assert message(*pair) == f"{pair[1]} has answers without questions: {pair[0]} lacks question_id 9"


def test_questions_without_answers_raise(pair):
    write(pair[1], "annotations", [annotation(7), annotation(9)])
    assert message(*pair) == f"{pair[0]} has questions without answers: {pair[1]} lacks question_id 8"


@pytest.mark.parametrize("which", [0, 1])
def test_a_truncated_file_raises(pair, which):
    pair[which].write_text(pair[which].read_text()[:-20])
    assert message(*pair).startswith(f"{pair[which]} is no readable JSON")


def test_a_file_that_is_no_text_raises(pair):
    pair[0].write_bytes(b"PK\x03\x04\xff\xfe")
    assert message(*pair).startswith(f"{pair[0]} is no readable JSON")


def test_a_file_of_answers_in_the_place_of_questions_raises(pair):
    assert message(pair[1], pair[0]).startswith(
        f"{pair[1]} has no list 'questions'; it has: info, license, annotations"
    )


@pytest.mark.parametrize("text", ["[]", "3", '{"questions": 3}', '{"questions": [3]}'])
def test_a_file_of_another_shape_raises(pair, text):
    pair[0].write_text(text)
    assert message(*pair).startswith(str(pair[0]))


@pytest.mark.parametrize(
    "wrong",
    [{"question_id": "seven"}, {"question_id": None}, {"question_id": 2**80}, {"image_id": None}, {"question": 3}],
    ids=str,
)
def test_a_wrong_question_raises(pair, wrong):
    write(pair[0], "questions", [question(7) | wrong])
    assert str(pair[0]) in message(pair[0])


@pytest.mark.parametrize(
    "wrong",
    [{"answers": None}, {"answers": []}, {"answers": [{"answer": 3}]}, {"answers": [{}]}, {"answer_type": 3}],
    ids=str,
)
def test_a_wrong_annotation_raises(pair, wrong):
    write(pair[1], "annotations", [annotation(7, **wrong), annotation(8), annotation(9)])
    assert message(*pair).startswith(str(pair[1]))
