"""Whether differences between few scores could be chance, and whether two rankings agree."""

import math
from collections.abc import Sequence
from itertools import chain
from statistics import fmean, stdev

import numpy as np
from scipy import stats

FEWEST_SCORES = 2  # that have a spread
MOST_PERMUTATIONS = 100_000  # up to so many are all tried; of more, so many are drawn

Scores = Sequence[float]


def permutation_p(first: Scores, second: Scores) -> float | None:
    """Two-sided p of the difference of means when it does not matter which score is in which group; exact if small.

    None for a group of one score.
    """
    if min(len(first), len(second)) < FEWEST_SCORES:
        return None
    groups = (np.asarray(first, dtype=float), np.asarray(second, dtype=float))
    return float(stats.permutation_test(groups, mean_difference, n_resamples=MOST_PERMUTATIONS, random_state=0).pvalue)


def mean_difference(first: np.ndarray, second: np.ndarray, axis: int = -1) -> np.ndarray:
    return first.mean(axis) - second.mean(axis)


def smallest_permutation_p(first: int, second: int) -> float:
    """What the p of two groups of these sizes cannot fall below, however far they are apart."""
    return min(1.0, 2 / min(math.comb(first + second, first), MOST_PERMUTATIONS))


def welch_p(first: Scores, second: Scores) -> float | None:
    """Two-sided p of Welch's t-test; none where there is no spread to measure the difference against."""
    if min(len(first), len(second)) < FEWEST_SCORES or max(np.ptp(first), np.ptp(second)) == 0:
        return None
    sizes = ((fmean(group), stdev(group), len(group)) for group in (first, second))
    return float(stats.ttest_ind_from_stats(*chain(*sizes), equal_var=False).pvalue)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p values corrected for being several (Holm, 1979); what has no p stays without."""
    known = sorted((p, position) for position, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, position) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        corrected[position] = largest
    return corrected


def share_beaten(scores: Scores, others: Scores) -> float:
    """How often one of the scores is higher than one of the others; equal ones count half."""
    return fmean((score > other) + 0.5 * (score == other) for score in scores for other in others)


def rank_correlation(first: Scores, second: Scores) -> float | None:
    """Kendall's tau; none if one of the two ranks nothing."""
    if len(first) < FEWEST_SCORES or min(np.ptp(first), np.ptp(second)) == 0:
        return None
    return float(stats.kendalltau(first, second).statistic)


def tau_error(count: int) -> float:
    """The standard error of Kendall's tau over so many pairs of independent scores (Kendall, 1938)."""
    return math.sqrt(2 * (2 * count + 5) / (9 * count * (count - 1)))
