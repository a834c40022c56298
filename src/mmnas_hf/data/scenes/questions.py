"""Questions about a scene with their true answers, all candidates of one type at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations, product

from . import relations
from .descriptions import ANYTHING, Described, Description, unique_descriptions
from .references import ANCHOR_ATTRIBUTES, references
from .relations import DIRECTION_FREE, DIRECTIONAL, NO_RELATION, Predicate, Relation
from .world import ATTRIBUTES, SceneObject

Objects = Sequence[SceneObject]
MAX_WORDS = 14

YES_NO = ("yes", "no")
COUNTS = tuple(map(str, range(5)))
_ANSWER_TYPES = {YES_NO: "yes/no", COUNTS: "number"}
#: A query's answer may fit at most this share of the objects it could be about, or guessing would do.
_MAX_ANSWER_SHARE = 0.5


@dataclass(frozen=True)
class Question:
    """`pattern` names the form of the text with its words left out; `valid` are all answers it can have."""

    text: str
    question_type: str
    group: str
    pattern: tuple[str, ...]
    answer: str
    valid: tuple[str, ...]

    @property
    def answer_type(self) -> str:
        """The answer type of VQA v2."""
        return _ANSWER_TYPES.get(self.valid, "other")


Asker = Callable[[Described], Iterator[Question]]


def exist(described: Described) -> Iterator[Question]:
    """Ask whether there is an object of a description that would fit some scene."""
    for values in product(*((None, *choices) for choices in ATTRIBUTES.values())):
        description = Description(*values)
        if description != ANYTHING:
            text = f"is there {description.with_article} ?"
            yield _yes_no("exist", NO_RELATION, _form(description), text, description in described)


def count(described: Described) -> Iterator[Question]:
    """Ask how many objects fit a description of one or two attributes."""
    for values in product(*((None, *choices) for choices in ATTRIBUTES.values())):
        description = Description(*values)
        number = len(described.get(description, ()))
        if len(description.attributes) in (1, 2) and number < len(COUNTS):
            text = f"how many {description.plural} are there ?"
            yield Question(text, "count", NO_RELATION, ("count", _form(description)), str(number), COUNTS)


def compare(described: Described) -> Iterator[Question]:
    """Ask whether there are more objects of one shape, colour or texture than of another."""
    for name, values in ATTRIBUTES.items():
        for first, second in permutations([Description(**{name: value}) for value in values], 2):
            difference = len(described.get(first, ())) - len(described.get(second, ()))
            if difference:
                text = f"are there more {first.plural} than {second.plural} ?"
                yield _yes_no("compare", NO_RELATION, name, text, difference > 0)


def query(described: Described) -> Iterator[Question]:
    """Ask for an attribute of a uniquely described object."""
    for description, target in unique_descriptions(described, (1, 2)):
        for attribute in _open_attributes(description):
            pattern = (f"query_{attribute}", _form(description))
            yield _attribute_question(attribute, target, f"the {description.singular}", pattern, NO_RELATION)


def same(described: Described) -> Iterator[Question]:
    """Ask for an attribute of the only other object that shares an attribute with a described one."""
    for anchor, anchor_object in unique_descriptions(described, ANCHOR_ATTRIBUTES):
        for shared, asked in permutations(ATTRIBUTES, 2):
            sharing = described[Description(**{shared: getattr(anchor_object, shared)})]
            others = [item for item in sharing if item is not anchor_object]
            if shared in anchor.attributes or len(others) != 1:
                continue
            subject = f"the object with the same {shared} as the {anchor.singular}"
            yield _attribute_question(asked, others[0], subject, ("same", asked, shared, _form(anchor)), NO_RELATION)


def related(relation: Relation, kinds: Sequence[frozenset[str]]) -> Asker:
    """Return the asker for an attribute of the object of some kind in a relation to another.

    `kinds` are the sets of attributes that may describe the asked object.
    """

    def ask(described: Described) -> Iterator[Question]:
        for found in references(relation, described):
            if found.kind.attributes not in kinds:
                continue
            for attribute in _open_attributes(found.kind):
                if _is_worth_asking(attribute, found.target, found.candidates):
                    pattern = (relation.name, attribute, _form(found.kind), _form(found.anchor))
                    subject = f"the {found.words}"
                    yield _attribute_question(attribute, found.target, subject, pattern, relation.group)

    return ask


def two_hop(described: Described) -> Iterator[Question]:
    """Ask for an attribute of the object in a relation to the object in a relation to a third."""
    for first, second in product((relations.NEAREST, relations.FARTHEST), repeat=2):
        for anchor, anchor_object in unique_descriptions(described, (2,)):
            middle = first.resolve([item for item in described[ANYTHING] if item is not anchor_object], anchor_object)
            if middle is None:
                continue
            candidates = [item for item in described[ANYTHING] if item is not middle]
            target = second.resolve(candidates, middle)
            if target in (None, anchor_object):
                continue
            subject = f"the object {second.phrase} the object {first.phrase} the {anchor.singular}"
            for attribute in ATTRIBUTES:
                if _is_worth_asking(attribute, target, candidates):
                    pattern = ("two_hop", attribute, second.name, first.name, _form(anchor))
                    yield _attribute_question(attribute, target, subject, pattern, DIRECTION_FREE)


def compared(name: str, phrase: str, group: str, holds: Predicate) -> Asker:
    """Return the asker whether one described object stands in a relation to another."""

    def ask(described: Described) -> Iterator[Question]:
        for (first, item), (second, anchor) in combinations(unique_descriptions(described, (2,)), 2):
            verdict = None if item is anchor else holds(item, anchor)
            if verdict is not None:
                forms = f"{_form(first)} {_form(second)}"
                yield _yes_no(name, group, forms, f"is the {first.singular} {phrase} the {second.singular} ?", verdict)
                text = f"is the {second.singular} {phrase} the {first.singular} ?"
                yield _yes_no(name, group, forms, text, not verdict)

    return ask


def next_to(described: Described) -> Iterator[Question]:
    """Ask whether an object of a description that occurs in the scene is next to another."""
    for anchor, anchor_object in unique_descriptions(described, ANCHOR_ATTRIBUTES):
        for kind, fitting in described.items():
            verdicts = {relations.is_next_to(item, anchor_object) for item in fitting if item is not anchor_object}
            if len(kind.attributes) == 1 and verdicts and (True in verdicts or None not in verdicts):
                text = f"is there {kind.with_article} next to the {anchor.singular} ?"
                yield _yes_no("next_to", DIRECTION_FREE, f"{_form(kind)} {_form(anchor)}", text, True in verdicts)


def _is_worth_asking(attribute: str, target: SceneObject, candidates: Objects) -> bool:
    """Refuse questions whose answer most candidates share."""
    same_answer = sum(getattr(item, attribute) == getattr(target, attribute) for item in candidates)
    return same_answer <= _MAX_ANSWER_SHARE * len(candidates)


def _open_attributes(description: Description) -> list[str]:
    return [name for name in ATTRIBUTES if name not in description.attributes]


def _attribute_question(
    attribute: str, target: SceneObject, subject: str, pattern: tuple[str, ...], group: str
) -> Question:
    text = f"what {attribute} is {subject} ?"
    return Question(text, pattern[0], group, pattern, getattr(target, attribute), ATTRIBUTES[attribute])


def _yes_no(question_type: str, group: str, form: str, text: str, verdict: bool) -> Question:
    return Question(text, question_type, group, (question_type, form), "yes" if verdict else "no", YES_NO)


def _form(description: Description) -> str:
    """Return which attributes a description gives."""
    return "-".join(sorted(description.attributes)) or "object"


_ANY = (frozenset(),)
_ANY_OR_SHAPE = (*_ANY, frozenset({"shape"}))

#: How many questions of each asker an image gets on average. Types that take long to learn are rare: many of them would
#: keep a small network from learning the frequent ones.
ASKERS: dict[Asker, float] = {
    exist: 0.4,
    count: 0.25,
    compare: 0.1,
    query: 3.4,
    same: 0.05,
    related(relations.NEAREST, _ANY): 3.8,
    related(relations.FARTHEST, _ANY): 0.2,
    two_hop: 0.1,
    compared("larger", "larger than", DIRECTION_FREE, relations.is_larger): 0.2,
    next_to: 0.25,
    related(relations.LEFT_OF, _ANY_OR_SHAPE): 1.6,
    related(relations.ABOVE, _ANY_OR_SHAPE): 1.6,
    compared("left_of", "left of", DIRECTIONAL, relations.is_left_of): 0.15,
    compared("above", "above", DIRECTIONAL, relations.is_above): 0.15,
}
