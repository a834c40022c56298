"""Accuracy of answers to questions about images, as the official VQA v2 evaluator counts it."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

#: This many people suffice for a fully right answer (https://visualqa.org/evaluation.html).
AGREEMENT = 3

#: Training target of an answer that 0, 1, 2, 3, 4 or more of the ten people gave.
SOFT_TARGETS = (0.0, 0.3, 0.6, 0.9, 1.0)

PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
DIGIT_COMMA_DIGIT = re.compile(r"\d,\d")
# The evaluator's own pattern also looks behind for a digit, with a slip of the pen that makes the test always true.
PERIOD = re.compile(r"\.(?!\d)")

ARTICLES = frozenset({"a", "an", "the"})
NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {word: str(number) for number, word in enumerate(NUMBER_WORDS)} | {"none": "0"}

CONTRACTIONS = """
    ain't aren't can't couldn't didn't doesn't don't hadn't hasn't haven't isn't mightn't mustn't needn't oughtn't
    shan't shouldn't wasn't weren't won't wouldn't couldn't've hadn't've mightn't've shouldn't've wouldn't've
    could've might've must've not've should've they've we've what've where've who've would've you've
    he'd how'd it'd someone'd something'd there'd they'd where'd who'd you'd
    he'd've it'd've she'd've somebody'd've someone'd've something'd've there'd've they'd've we'd've who'd've you'd've
    how'll it'll somebody'll someone'll something'll they'll what'll who'll why'll you'll
    there're they're what're why're you're
    he's how's somebody's someone's that's there's what's when's where's who's why's
    ma'am o'clock 'ow's'at 'twas y'all y'all'd've y'all'll
"""


def _without_one_apostrophe(word: str) -> Iterable[str]:
    return (word[: match.start()] + word[match.end() :] for match in re.finditer("'", word))


#: Misspelt to right spelling; the evaluator's table leaves out "she's" and "let's" and turns "somebody'd" around.
RIGHT_SPELLING = {wrong: right for right in CONTRACTIONS.split() for wrong in _without_one_apostrophe(right)}
RIGHT_SPELLING["somebody'd"] = "somebodyd"


def normalise_answer(answer: str) -> str:
    """The form in which answers are compared: lower case, no punctuation, no articles, digits for number words."""
    text = answer.replace("\n", " ").replace("\t", " ").strip()
    words = _strip_punctuation(text).lower().split()
    numbered = (NUMBERS.get(word, word) for word in words)
    return " ".join(RIGHT_SPELLING.get(word, word) for word in numbered if word not in ARTICLES)


def vqa_score(prediction: str, answers: Sequence[str]) -> float:
    """Mean of min(1, matches / 3) over the subsets that leave out one of the people's answers, in [0, 1].

    As in the evaluator, people's answers are not normalised: they lose their punctuation, and only if they differ.
    """
    prediction = normalise_answer(prediction)
    if len(set(answers)) > 1:
        answers = [_strip_punctuation(answer) for answer in answers]
    matches = answers.count(prediction)
    match_left_out = matches * min(1.0, (matches - 1) / AGREEMENT)
    other_left_out = (len(answers) - matches) * min(1.0, matches / AGREEMENT)
    return (match_left_out + other_left_out) / len(answers)


def vqa_accuracy(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    answer_types: Sequence[str] | None = None,
    question_types: Sequence[str] | None = None,
) -> dict:
    """Mean `vqa_score`: `overall`, and `per_answer_type` and `per_question_type` where these types are given.

    All numbers are in [0, 1]; `references` has every person's answer to each question.
    """
    scores = [vqa_score(prediction, answers) for prediction, answers in zip(predictions, references, strict=True)]
    accuracy = {"overall": fmean(scores)}
    if answer_types is not None:
        accuracy["per_answer_type"] = _mean_by_group(scores, answer_types)
    if question_types is not None:
        accuracy["per_question_type"] = _mean_by_group(scores, question_types)
    return accuracy


def soft_target(count: int) -> float:
    """Training target of an answer that `count` people gave."""
    return SOFT_TARGETS[min(count, len(SOFT_TARGETS) - 1)]


def _strip_punctuation(text: str) -> str:
    """Delete marks that touch a space, or all marks if there is a number such as 1,000; other marks become spaces."""
    has_thousands = DIGIT_COMMA_DIGIT.search(text) is not None
    stripped = text
    for mark in PUNCTUATION:
        touches_space = f"{mark} " in text or f" {mark}" in text
        stripped = stripped.replace(mark, "" if has_thousands or touches_space else " ")
    return PERIOD.sub("", stripped)


def _mean_by_group(scores: Sequence[float], groups: Sequence[str]) -> dict[str, float]:
    members = defaultdict(list)
    for score, group in zip(scores, groups, strict=True):
        members[group].append(score)
    return {group: fmean(scores) for group, scores in members.items()}
