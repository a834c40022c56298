"""Scenes: objects with a shape, colour, texture and size at a place, sampled from a seed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from numpy.random import Generator, default_rng

from .sampling import pick

SHAPES = ("circle", "square", "triangle", "cross")
TEXTURES = ("plain", "striped", "dotted")
#: Hue of each colour in degrees.
COLOURS = {"red": 0, "yellow": 54, "green": 120, "cyan": 180, "blue": 228, "purple": 292}
#: Half the side of an object's box in pixels.
SIZES = {"small": 8.5, "medium": 13.0, "large": 20.0}
ATTRIBUTES = {"texture": TEXTURES, "colour": tuple(COLOURS), "shape": SHAPES}

IMAGE_SIZE = 160
SPLITS = ("train", "validation", "test")
#: Ten images in a row: a family of two, a family of three and five images of their own.
FAMILY_SIZES = (2, 3, 1, 1, 1, 1, 1)

_LARGEST_SPLIT = 1_000_000
_OBJECTS = (4, 10)
_SIDE_JITTER = 0.08
_HUE_JITTER = 6.0
_HIDDEN_SHARE = 0.18
_SAME_COLOUR_GAP = 2.0
_PLACING_TRIES = 60

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class SceneObject:
    """One object; `x`, `y` is its centre, `hue` and `brightness` its exact colour."""

    texture: str
    colour: str
    shape: str
    size: str
    x: float
    y: float
    half_width: float
    half_height: float
    hue: float
    brightness: float

    @property
    def box(self) -> Box:
        """The bounding box as xyxy pixels."""
        return (
            self.x - self.half_width,
            self.y - self.half_height,
            self.x + self.half_width,
            self.y + self.half_height,
        )


@dataclass(frozen=True)
class Scene:
    """The objects of one image, made from `seeds` (seed, split, index).

    `telling` are the positions of the objects that differ between the image and its near-duplicates.
    """

    split: str
    seeds: tuple[int, int, int]
    objects: tuple[SceneObject, ...]
    telling: frozenset[int]

    @property
    def image_id(self) -> str:
        """The name of the image, unique over all splits."""
        return f"{self.split}-{self.seeds[-1]:06d}"

    @property
    def number(self) -> int:
        """The number of the image, unique over all splits."""
        _, split, index = self.seeds
        return split * _LARGEST_SPLIT + index

    def generator(self, purpose: int) -> Generator:
        """Return this scene's own random numbers for one purpose, independent of all other scenes and purposes."""
        return default_rng([*self.seeds, purpose])


def sample_scenes(seed: int, split: str, start: int, stop: int) -> Iterator[Scene]:
    """Yield the scenes `start` to `stop` of a split; `start` must be a multiple of the family cycle."""
    cycle = sum(FAMILY_SIZES)
    if start % cycle:
        raise ValueError(f"start {start} is not a multiple of {cycle}")
    index = start
    while index < stop:
        for size in FAMILY_SIZES:
            yield from _sample_family(seed, split, range(index, min(index + size, stop)))
            index += size


def gap(first: Box, second: Box) -> float:
    """Return the distance between two boxes along the axis that separates them; negative when they overlap."""
    horizontal = max(first[0], second[0]) - min(first[2], second[2])
    vertical = max(first[1], second[1]) - min(first[3], second[3])
    return max(horizontal, vertical)


def _sample_family(seed: int, split: str, indices: range) -> list[Scene]:
    """Sample one scene and copies of it with one object changed, all with the same `telling` objects."""
    seeds = [(seed, SPLITS.index(split), index) for index in indices]
    if not seeds:
        return []
    original = _sample_objects(default_rng(seeds[0]))
    copies = [_change_one(original, default_rng(own)) for own in seeds[1:]]
    telling = frozenset(position for position, _ in copies)
    members = [original, *(changed for _, changed in copies)]
    return [Scene(split, own, objects, telling) for own, objects in zip(seeds, members, strict=True)]


def _sample_objects(rng: Generator) -> tuple[SceneObject, ...]:
    """Place objects one after the other; some share a colour and a shape so that counts vary."""
    wanted = rng.integers(_OBJECTS[0], _OBJECTS[1] + 1)
    repeated = rng.integers(0, 5)
    theme = {"colour": pick(rng, tuple(COLOURS)), "shape": pick(rng, SHAPES)}
    objects: list[SceneObject] = []
    while len(objects) < wanted:
        attributes = {name: pick(rng, values) for name, values in ATTRIBUTES.items()}
        if len(objects) < repeated:
            attributes |= theme
        objects.append(_place(rng, attributes, objects))
    return tuple(objects[i] for i in rng.permutation(len(objects)))


def _place(rng: Generator, attributes: dict[str, str], others: list[SceneObject]) -> SceneObject:
    """Try random places and sizes until one leaves every object recognisable."""
    for _ in range(_PLACING_TRIES):
        placed = _sample_object(rng, attributes)
        if _fits(placed, others):
            return placed
    return _place(rng, attributes | {"colour": pick(rng, tuple(COLOURS))}, others)


def _sample_object(rng: Generator, attributes: dict[str, str]) -> SceneObject:
    size = pick(rng, tuple(SIZES))
    half_width, half_height = SIZES[size] * (1 + _SIDE_JITTER * rng.uniform(-1, 1, 2))
    x, y = rng.uniform((half_width + 1, half_height + 1), (IMAGE_SIZE - half_width - 1, IMAGE_SIZE - half_height - 1))
    return SceneObject(
        **attributes,
        size=size,
        x=float(x),
        y=float(y),
        half_width=float(half_width),
        half_height=float(half_height),
        hue=_jittered_hue(rng, attributes["colour"]),
        brightness=float(rng.uniform(0.8, 1.0)),
    )


def _jittered_hue(rng: Generator, colour: str) -> float:
    return float(COLOURS[colour] + rng.uniform(-_HUE_JITTER, _HUE_JITTER)) % 360


def _fits(placed: SceneObject, others: list[SceneObject]) -> bool:
    """Objects of one colour stay apart, others hide little of each other."""
    return all(
        gap(placed.box, other.box) > _SAME_COLOUR_GAP
        if placed.colour == other.colour
        else _hidden_share(placed.box, other.box) <= _HIDDEN_SHARE
        for other in others
    )


def _hidden_share(first: Box, second: Box) -> float:
    """Return the intersection of two boxes as a share of the smaller one."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return max(width, 0.0) * max(height, 0.0) / smaller


def _change_one(objects: tuple[SceneObject, ...], rng: Generator) -> tuple[int, tuple[SceneObject, ...]]:
    """Give one object another attribute or another place; return its position and the new objects."""
    while True:
        position = int(rng.integers(len(objects)))
        others = [*objects[:position], *objects[position + 1 :]]
        changed = _changed(objects[position], rng)
        if _fits(changed, others):
            return position, (*objects[:position], changed, *objects[position + 1 :])


def _changed(old: SceneObject, rng: Generator) -> SceneObject:
    what = pick(rng, (*ATTRIBUTES, "place"))
    if what == "place":
        moved = _sample_object(rng, {name: getattr(old, name) for name in ATTRIBUTES})
        return replace(old, x=moved.x, y=moved.y) if moved.size == old.size else _changed(old, rng)
    value = pick(rng, [value for value in ATTRIBUTES[what] if value != getattr(old, what)])
    changed = replace(old, **{what: value})
    return replace(changed, hue=_jittered_hue(rng, value)) if what == "colour" else changed
