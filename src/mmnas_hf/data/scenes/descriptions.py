"""Descriptions of objects by their attributes, such as "striped red circle"."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from itertools import product
from typing import NamedTuple

from .world import SceneObject

_PLURALS = {"cross": "crosses"}


class Description(NamedTuple):
    """Attributes an object must have; None leaves one open, and the word for an open shape is "object"."""

    texture: str | None = None
    colour: str | None = None
    shape: str | None = None

    @property
    def attributes(self) -> frozenset[str]:
        """The names of the attributes that are given."""
        return _attributes(self)

    @property
    def singular(self) -> str:
        """The words for one object."""
        return self._words(self.shape or "object")

    @property
    def plural(self) -> str:
        """The words for several objects."""
        shape = self.shape or "object"
        return self._words(_PLURALS.get(shape, f"{shape}s"))

    @property
    def with_article(self) -> str:
        """The words for some object, with "a" or "an"."""
        return f"{'an' if self.singular.startswith('o') else 'a'} {self.singular}"

    def matches(self, scene_object: SceneObject) -> bool:
        """Tell whether an object has all the attributes that are given."""
        return all(value in (None, getattr(scene_object, name)) for name, value in self._asdict().items())

    def _words(self, noun: str) -> str:
        return " ".join(word for word in (self.texture, self.colour, noun) if word)


ANYTHING = Description()
Described = Mapping[Description, Sequence[SceneObject]]


def describe_all(objects: Sequence[SceneObject]) -> dict[Description, list[SceneObject]]:
    """Return every description that fits some object, with all the objects it fits."""
    described: dict[Description, list[SceneObject]] = {}
    for scene_object in objects:
        for description in descriptions_of(scene_object):
            described.setdefault(description, []).append(scene_object)
    return described


def descriptions_of(scene_object: SceneObject) -> list[Description]:
    """Return the eight descriptions that fit an object."""
    values = ((getattr(scene_object, name), None) for name in Description._fields)
    return [Description(*choice) for choice in product(*values)]


def unique_descriptions(
    described: Described, attributes_given: Collection[int]
) -> list[tuple[Description, SceneObject]]:
    """Return the descriptions of so many attributes that fit exactly one object."""
    return [
        (description, fitting[0])
        for description, fitting in described.items()
        if len(fitting) == 1 and len(description.attributes) in attributes_given
    ]


@cache
def _attributes(description: Description) -> frozenset[str]:
    return frozenset(name for name, value in description._asdict().items() if value is not None)
