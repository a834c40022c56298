"""Relations between objects, each clear or not used at all."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .world import SIZES, SceneObject, gap

Predicate = Callable[[SceneObject, SceneObject], bool | None]
Resolver = Callable[[Sequence[SceneObject], SceneObject], SceneObject | None]

NO_RELATION = "none"
DIRECTION_FREE = "direction-free"
DIRECTIONAL = "directional"

#: How many times farther the second nearest must be than the nearest, and the farthest than the second farthest.
NEAREST_MARGIN = 1.5
FARTHEST_MARGIN = 1.2
#: Pixels between boxes.
NEXT_TO_GAP = 5.0
NOT_NEXT_TO_GAP = 14.0
#: Pixels between centres.
SIDE_MARGIN = 12.0


@dataclass(frozen=True)
class Relation:
    """`resolve(candidates, anchor)` is the one candidate that clearly stands in the relation to the anchor, if any."""

    name: str
    phrase: str
    group: str
    resolve: Resolver


def distance(first: SceneObject, second: SceneObject) -> float:
    """Return the distance between the centres of two objects in pixels."""
    return math.hypot(first.x - second.x, first.y - second.y)


def is_larger(item: SceneObject, anchor: SceneObject) -> bool | None:
    """Compare the size classes; None when they are the same."""
    sizes = list(SIZES)
    difference = sizes.index(item.size) - sizes.index(anchor.size)
    return difference > 0 if difference else None


def is_next_to(item: SceneObject, anchor: SceneObject) -> bool | None:
    """Tell whether the boxes almost touch; None when they are neither close nor clearly apart."""
    between = gap(item.box, anchor.box)
    if NEXT_TO_GAP < between < NOT_NEXT_TO_GAP:
        return None
    return between <= NEXT_TO_GAP


def is_left_of(item: SceneObject, anchor: SceneObject) -> bool | None:
    """Compare the centres; None when they are about level."""
    return _is_smaller(item.x, anchor.x)


def is_above(item: SceneObject, anchor: SceneObject) -> bool | None:
    """Compare the centres; None when they are about level."""
    return _is_smaller(item.y, anchor.y)


def _is_smaller(first: float, second: float) -> bool | None:
    return None if abs(first - second) < SIDE_MARGIN else first < second


def _nearest(candidates: Sequence[SceneObject], anchor: SceneObject) -> SceneObject | None:
    first, second = sorted(candidates, key=lambda item: distance(item, anchor))[:2]
    return first if distance(second, anchor) >= NEAREST_MARGIN * distance(first, anchor) else None


def _farthest(candidates: Sequence[SceneObject], anchor: SceneObject) -> SceneObject | None:
    first, second = sorted(candidates, key=lambda item: -distance(item, anchor))[:2]
    return first if distance(first, anchor) >= FARTHEST_MARGIN * distance(second, anchor) else None


def _only(holds: Predicate) -> Resolver:
    """Return the resolver that finds the only candidate of which a predicate holds, with no doubtful one."""

    def resolve(candidates: Sequence[SceneObject], anchor: SceneObject) -> SceneObject | None:
        verdicts = [holds(item, anchor) for item in candidates]
        if None in verdicts or verdicts.count(True) != 1:
            return None
        return candidates[verdicts.index(True)]

    return resolve


NEAREST = Relation("nearest", "nearest to", DIRECTION_FREE, _nearest)
FARTHEST = Relation("farthest", "farthest from", DIRECTION_FREE, _farthest)
LARGER = Relation("larger", "larger than", DIRECTION_FREE, _only(is_larger))
NEXT_TO = Relation("next_to", "next to", DIRECTION_FREE, _only(is_next_to))
LEFT_OF = Relation("left_of", "left of", DIRECTIONAL, _only(is_left_of))
ABOVE = Relation("above", "above", DIRECTIONAL, _only(is_above))
