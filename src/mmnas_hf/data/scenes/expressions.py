"""Referring expressions: by attributes, or by a relation where attributes do not suffice."""

from dataclasses import dataclass

from numpy.random import Generator

from . import relations
from .descriptions import Described, describe_all, unique_descriptions
from .references import references
from .relations import NO_RELATION, Relation
from .sampling import pick, random_round
from .world import Scene, SceneObject


@dataclass(frozen=True)
class Expression:
    """Words that refer to exactly one object of a scene, `target`."""

    text: str
    group: str
    target: SceneObject


#: How many expressions of each relation an image gets on average; None stands for attributes alone.
_NUMBERS: dict[Relation | None, float] = {
    None: 1.0,
    relations.NEAREST: 1.0,
    relations.FARTHEST: 0.9,
    relations.LARGER: 0.4,
    relations.NEXT_TO: 0.3,
    relations.LEFT_OF: 0.55,
    relations.ABOVE: 0.55,
}
#: Half of the relations choose among at least three objects.
_LEAST_CANDIDATES = (2, 3)


def refer(scene: Scene, rng: Generator) -> list[Expression]:
    """Return about four different expressions for objects of a scene."""
    described = describe_all(scene.objects)
    chosen: dict[str, Expression] = {}
    for relation, mean in _NUMBERS.items():
        for _ in range(random_round(rng, mean)):
            candidates = (
                _by_attributes(described)
                if relation is None
                else _by_relation(relation, described, pick(rng, _LEAST_CANDIDATES))
            )
            candidates = [candidate for candidate in candidates if candidate.text not in chosen]
            if candidates:
                expression = pick(rng, candidates)
                chosen[expression.text] = expression
    return list(chosen.values())


def _by_attributes(described: Described) -> list[Expression]:
    return [
        Expression(f"the {description.singular}", NO_RELATION, target)
        for description, target in unique_descriptions(described, (1, 2, 3))
    ]


def _by_relation(relation: Relation, described: Described, least_candidates: int) -> list[Expression]:
    return [
        Expression(f"the {found.words}", relation.group, found.target)
        for found in references(relation, described)
        if len(found.candidates) >= least_candidates
    ]
