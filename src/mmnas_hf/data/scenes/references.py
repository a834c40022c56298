"""References to an object through its relation to another, such as "circle nearest to the blue square"."""

from collections.abc import Iterator
from typing import NamedTuple

from .descriptions import Described, Description, unique_descriptions
from .relations import Relation
from .world import SceneObject

#: With one attribute alone an anchor would rule out an answer for all other objects.
ANCHOR_ATTRIBUTES = (2, 3)
_KIND_ATTRIBUTES = range(3)
_LEAST_CANDIDATES = 2


class Reference(NamedTuple):
    """`target` is the one of `candidates`, at least two that fit `kind`, in the relation to the anchor."""

    relation: Relation
    kind: Description
    anchor: Description
    anchor_object: SceneObject
    candidates: list[SceneObject]
    target: SceneObject

    @property
    def words(self) -> str:
        """The reference without an article in front."""
        return f"{self.kind.singular} {self.relation.phrase} the {self.anchor.singular}"


def references(relation: Relation, described: Described) -> Iterator[Reference]:
    """Yield all references through a relation that only the relation resolves."""
    for anchor, anchor_object in unique_descriptions(described, ANCHOR_ATTRIBUTES):
        for kind, fitting in described.items():
            candidates = [item for item in fitting if item is not anchor_object]
            if len(kind.attributes) not in _KIND_ATTRIBUTES or len(candidates) < _LEAST_CANDIDATES:
                continue
            target = relation.resolve(candidates, anchor_object)
            if target is not None:
                yield Reference(relation, kind, anchor, anchor_object, candidates, target)
