"""Statistics of paired comparisons: numbers in, numbers out, every random draw from a generator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

BLOCK = 64  # resamples at a time: one matrix product each


def numbers(field: str, values, dimensions: int) -> np.ndarray:
    """`values` as floats; ValueError naming `field` if there are none, or one is not a number."""
    array = np.asarray(values, dtype=float)
    if array.ndim != dimensions or not array.size:
        expected = f"values in {dimensions} dimensions"
        raise ValueError(f"{field}: shape {array.shape}, expected {expected}")
    if np.isnan(array).any():
        raise ValueError(f"{field}: entry {np.argmax(np.isnan(array))} is not a number")
    return array


def bootstrap_means(
    values: Sequence[np.ndarray], resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Joint bootstrap distribution of the means of several arrays over the same tasks.

    Tasks and training seeds are resampled, both with replacement, and the draws are the same for
    all arrays: this pairs what is compared. Of K seeds only K - 1 are drawn, which makes the
    bootstrap's variance over seeds the unbiased one; K of a few seeds would give intervals far too
    narrow. (Our own, since `arch` resamples one axis, and these are two that cross.)

    Parameters
    ----------
    values : sequence of array_like of float, shape (K, S)
        K training seeds, which may differ between arrays and is 1 for what is not trained, by S
        tasks.
    resamples : int
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray of float64, shape (resamples, len(values))

    Raises
    ------
    ValueError
        For arrays of different numbers of tasks, none, or entries that are not numbers.
    """
    if not len(values) or resamples < 1:
        raise ValueError(f"values: {len(values)} arrays, {resamples} resamples, expected some")
    values = [numbers("values", array, 2) for array in values]
    tasks = values[0].shape[1]
    for array in values:
        if array.shape[1] != tasks:
            raise ValueError(
                f"values: arrays of {tasks} and {array.shape[1]} tasks, expected the same in all"
            )
    seeds = [len(array) for array in values]
    ends = np.cumsum(seeds)
    rows = np.concatenate(values).T  # (tasks, all seeds of all arrays)
    means = np.empty((resamples, len(values)))
    for start in range(0, resamples, BLOCK):
        count = min(BLOCK, resamples - start)
        task_weights, seed_weights = _weights(tasks, sorted(set(seeds)), count, rng)
        by_seed = task_weights @ rows / tasks
        for c, (k, end) in enumerate(zip(seeds, ends)):
            weighted = by_seed[:, end - k : end] * seed_weights[k]
            means[start : start + count, c] = weighted.sum(axis=1)
    return means


def _weights(tasks: int, seeds: list[int], count: int, rng) -> tuple[np.ndarray, dict]:
    """How often `count` resamples draw each task, (count, tasks); by K, the share of each seed."""
    task_weights = np.empty((count, tasks))
    seed_weights = {k: np.ones((count, k)) for k in seeds}
    for b in range(count):
        task_weights[b] = np.bincount(rng.integers(0, tasks, tasks), minlength=tasks)
        for k in seeds:
            if k > 1:
                drawn = rng.integers(0, k, k - 1)
                seed_weights[k][b] = np.bincount(drawn, minlength=k) / (k - 1)
    return task_weights, seed_weights


def interval(samples, level: float = 0.95) -> np.ndarray:
    """Percentile interval (low, high) of bootstrap samples (R, ...): shape (2, ...)."""
    return np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)


def bounded(field: str, value, ends) -> dict:
    """Columns of a table: `field`, and the ends (low, high) of its interval as _low and _high."""
    low, high = ends
    return {field: value, f"{field}_low": low, f"{field}_high": high}


def simultaneous_intervals(estimates, samples, freedom=np.inf, level: float = 0.95) -> np.ndarray:
    """Intervals that hold for all estimates together.

    The max-t band: an estimate +- c standard deviations of its samples, where c is the `level`
    quantile, over resamples, of the largest standardised deviation. It uses how the estimates move
    together, and so is narrower than Bonferroni's.

    Parameters
    ----------
    estimates : array_like of float, shape (J,)
    samples : array_like of float, shape (R, J)
        Their joint bootstrap distribution.
    freedom : float or array_like of float, shape (J,)
        Degrees of freedom of each deviation. Where they are few, c is replaced by the quantile of
        Student's t with the same tail.
    level : float
        The chance that all intervals hold.

    Returns
    -------
    numpy.ndarray of float64, shape (2, J)
        Low and high ends; both are the estimate where its samples never differ from each other.

    References
    ----------
    P. H. Westfall and S. S. Young, "Resampling-based multiple testing", 1993.
    """
    estimates = numbers("estimates", estimates, 1)
    samples = numbers("samples", samples, 2)
    if samples.shape[1] != estimates.size or len(samples) < 2:
        raise ValueError(f"samples: shape {samples.shape}, expected (2 or more, {estimates.size})")
    deviation = samples.std(axis=0, ddof=1)
    moves = deviation > 1e-12 * np.abs(estimates)
    if not moves.any():
        return np.array([estimates, estimates])
    largest = (np.abs(samples - estimates)[:, moves] / deviation[moves]).max(axis=1)
    tail = stats.norm.sf(np.quantile(largest, level))
    critical = stats.t.isf(tail, freedom)
    half = np.where(moves, critical * deviation, 0.0)
    return np.array([estimates - half, estimates + half])


def effective_freedom(over_seeds: Sequence[np.ndarray], variance: float) -> float:
    """Degrees of freedom of a mean's variance when some of it comes from few training seeds.

    Parameters
    ----------
    over_seeds : sequence of array_like of float, shape (K,)
        Means by seed, of every independent group of seeds; groups of one seed do not count.
    variance : float
        All of it, that over tasks included.

    Returns
    -------
    float
        K - 1 where the seeds of one group are all of the variance, infinite where there is none.

    References
    ----------
    F. E. Satterthwaite, Biometrics Bulletin 2, 1946.
    """
    squares, fewest = 0.0, np.inf
    for means in over_seeds:
        seeds = len(means)
        if seeds > 1:
            of_mean = np.var(means, ddof=1) / seeds
            squares += of_mean**2 / (seeds - 1)
            fewest = min(fewest, seeds - 1)
    return float(max(fewest, variance**2 / squares)) if squares else np.inf


def holm(p_values) -> np.ndarray:
    """p-values (J,) adjusted for J tests by Holm's step-down method.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6, 1979. Raises ValueError for a p-value outside 0 to 1.
    """
    p = numbers("p_values", p_values, 1)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p_values: {p_values!r}, expected a list of numbers from 0 to 1")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, stepped)
    return adjusted


def superiority(gains, tie: float = 1e-9) -> float:
    """Share of pairs with a gain minus share with a loss; gains (S,) within `tie` of 0 are ties.

    The dominance effect size for pairs (N. Cliff, "Dominance statistics", Psychological Bulletin
    114, 1993).
    """
    gains = numbers("gains", gains, 1)
    return float((gains > tie).mean() - (gains < -tie).mean())


def cohens_d_paired(gains) -> float:
    """Mean gain of pairs (S,) over the standard deviation; 0 if all are 0, infinite if all equal.

    d_z of D. Lakens, "Calculating and reporting effect sizes", Frontiers in Psychology 4, 2013.
    """
    gains = numbers("gains", gains, 1)
    if len(gains) < 2:
        raise ValueError("gains: 1 pair, expected at least 2")
    mean, deviation = np.mean(gains), np.std(gains, ddof=1)
    if deviation <= 1e-12 * abs(mean):
        return float(np.sign(mean) * np.inf) if mean else 0.0
    return float(mean / deviation)
