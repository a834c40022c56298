"""Captions that mix attributes, numbers and relations without direction."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from numpy.random import Generator

from . import relations
from .descriptions import Described, Description, describe_all, descriptions_of
from .references import references
from .sampling import pick
from .world import Scene, SceneObject

CAPTIONS = 5
_NUMBERS = {2: "two", 3: "three", 4: "four"}
_PHRASES = (2, 3)
#: How often a caption starts with an object that differs from the near-duplicates of its image.
_TELLING_SHARE = 0.7
_RELATIONS = (relations.NEAREST, relations.FARTHEST, relations.LARGER, relations.NEXT_TO)


@dataclass(frozen=True)
class Phrase:
    """A true statement about a scene and the objects it mentions."""

    text: str
    mentioned: tuple[SceneObject, ...]


def caption(scene: Scene, rng: Generator) -> list[str]:
    """Return five different captions of a scene."""
    described = describe_all(scene.objects)
    by_form = [
        _attribute_phrases(scene),
        list(_number_phrases(described)),
        list(_relation_phrases(described, rng)),
    ]
    telling = [scene.objects[position] for position in scene.telling]
    captions: dict[str, None] = {}
    while len(captions) < CAPTIONS:
        captions[_sentence(by_form, telling, rng)] = None
    return list(captions)


def _sentence(by_form: list[list[Phrase]], telling: list[SceneObject], rng: Generator) -> str:
    """Join two or three phrases, each of a random form."""
    number = int(rng.integers(*_PHRASES, endpoint=True))
    forms = [form for form in by_form if form]
    phrases = {pick(rng, pick(rng, forms)).text: None for _ in range(number)}
    if telling and rng.random() < _TELLING_SHARE:
        shown = pick(rng, telling)
        about = [[phrase for phrase in form if shown in phrase.mentioned] for form in by_form]
        phrases = {pick(rng, pick(rng, [form for form in about if form])).text: None} | phrases
    return " and ".join(islice(phrases, number))


def _attribute_phrases(scene: Scene) -> list[Phrase]:
    return [
        Phrase(description.with_article, (scene_object,))
        for scene_object in scene.objects
        for description in descriptions_of(scene_object)
        if _names_a_shape(description)
    ]


def _number_phrases(described: Described) -> Iterator[Phrase]:
    for description, fitting in described.items():
        if len(fitting) in _NUMBERS:
            yield Phrase(f"{_NUMBERS[len(fitting)]} {description.plural}", tuple(fitting))


def _relation_phrases(described: Described, rng: Generator) -> Iterator[Phrase]:
    """Yield phrases in which the first object is the only one of all in a relation to the second."""
    for relation in _RELATIONS:
        for found in references(relation, described):
            if not found.kind.attributes:
                words = pick(rng, [item for item in descriptions_of(found.target) if _names_a_shape(item)])
                text = f"{words.with_article} {relation.phrase} {found.anchor.with_article}"
                yield Phrase(text, (found.target, found.anchor_object))


def _names_a_shape(description: Description) -> bool:
    return len(description.attributes) > 1 and description.shape is not None
