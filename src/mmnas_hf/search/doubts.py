"""Reasons to distrust a search's result, each found in plain data and told as a sentence."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from .strategy import STILL, Probabilities, changed_nodes, mean_entropy, prefers, total_variation

SATURATED = 0.1  # of the largest possible entropy: a node of two candidates is 98.7 : 1.3 then
EARLY = 0.1  # share of the alternation in which no architecture can have been learnt yet
ERRORS = 2.0  # standard errors that a difference needs to be none of chance


class Sight(NamedTuple):
    """Scores of the same networks with the right images and with images that show nothing, and on how many texts."""

    seen: float
    blind: float
    texts: int


def sampling_error(score: float, texts: int) -> float:
    """The standard error of a mean score in [0, 1] over so many texts; never too small for scores between 0 and 1."""
    score = min(max(score, 0.0), 1.0)
    return math.sqrt(score * (1 - score) / texts)


def left_entropy(probabilities: Probabilities) -> float:
    """The nodes' mean entropy as a share of that of an even choice, in [0, 1]; 1 where there is nothing to choose."""
    even = mean_entropy([dict.fromkeys(node, 1 / len(node)) for node in probabilities])
    return mean_entropy(probabilities) / even if even else 1.0


def never_left_prior(prior: Probabilities, final: Probabilities) -> str | None:
    moved = total_variation(prior, final)
    if moved < STILL:
        return f"the probabilities hardly moved from where they started (by {moved:.3f} of 1): chance chose the result"
    if prefers(prior) and not changed_nodes(prior, final):
        return "every node's most probable operation still is the prior's: the result may be the prior's alone"
    return None


def chosen_by_chance(scores: Sequence[float], texts: int) -> str | None:
    """Whether the best of the networks that a strategy had scored on so many texts is no better than its rivals."""
    best, mean = max(scores), fmean(scores)
    if best - mean > ERRORS * sampling_error(mean, texts):
        return None
    return (
        f"the best of {len(scores)} scored networks ({best:.3f}) is not clearly above their mean ({mean:.3f}), which "
        f"{texts} texts measure to {sampling_error(mean, texts):.3f}: chance may have chosen the result"
    )


def saturated_early(started: int, saturated: int | None, ended: int) -> str | None:
    """Arguments are steps: of the first architecture step, of the first with hardly any entropy left, and the last."""
    if saturated is None or saturated - started > EARLY * (ended - started):
        return None
    return (
        f"the choice was made by step {saturated}, within the first {EARLY:.0%} of the alternation (steps {started} to "
        f"{ended}): the architecture was not compared with others; lower the architecture's rate"
    )


def no_better_than_random(rows: Sequence[Mapping[str, Any]], metric: str) -> str | None:
    """`rows` are those of a comparison; nothing is told where no random architecture was trained."""
    found = [row[metric] for row in rows if row["name"] == "found"]
    chance = [row[metric] for row in rows if row["name"].startswith("random")]
    if not found or not chance:
        return None
    many = f"{len(chance)} random architectures" if len(chance) > 1 else "one random architecture"
    if found[0] <= fmean(chance):
        return f"the found architecture ({metric} {found[0]:.3f}) is no better than {many} (mean {fmean(chance):.3f})"
    if found[0] <= max(chance):
        spread = f"{min(chance):.3f} to {max(chance):.3f}"
        return f"the found architecture ({metric} {found[0]:.3f}) is within the spread of {many} ({spread})"
    return None


def at_chance(sight: Sight) -> str | None:
    error = math.hypot(sampling_error(sight.seen, sight.texts), sampling_error(sight.blind, sight.texts))
    if sight.seen - sight.blind > ERRORS * error:
        return None
    return (
        f"before the architecture was learnt, paths of the supernet scored {sight.seen:.3f} with images and "
        f"{sight.blind:.3f} without them, which {sight.texts} texts do not tell apart: what architecture steps or "
        "scores then learn is noise; warm up longer, or train with another rate"
    )
