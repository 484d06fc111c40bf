"""Statistics of paired comparisons: numbers in, numbers out, every random draw from a generator."""

from __future__ import annotations

import numpy as np
from scipy import stats

BLOCK = 64  # resamples at a time: one matrix product each


def numbers(field: str, values, dimensions: tuple[int, ...] = (1, 2)) -> np.ndarray:
    """`values` as floats; ValueError naming `field` if there are none, or one is not a number."""
    array = np.asarray(values, dtype=float)
    if array.ndim not in dimensions or not array.size:
        expected = " or ".join(map(str, dimensions))
        raise ValueError(f"{field}: shape {array.shape}, expected values in {expected} dimensions")
    if np.isnan(array).any():
        raise ValueError(f"{field}: entry {np.argmax(np.isnan(array))} is not a number")
    return array


def bootstrap_means(values: list, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Paired bootstrap distributions of the mean of every array in `values`: (resamples, arrays).

    Each array is (K, S): K training seeds (1 for what is not trained) by S tasks. Tasks are
    resampled with replacement, the same draw for all arrays; seeds likewise where K > 1, the same
    draw for equal K. Of K seeds K - 1 are drawn: this makes the bootstrap's variance over seeds the
    unbiased one, while K of a few seeds would give intervals far too narrow. Raises ValueError for
    arrays of different numbers of tasks, none, or entries that are not a number.
    """
    if not len(values) or resamples < 1:
        raise ValueError(f"values: {len(values)} arrays, {resamples} resamples, expected some")
    values = [numbers("values", v, (2,)) for v in values]
    tasks, counts = values[0].shape[1], [len(v) for v in values]
    if different := {v.shape[1] for v in values} - {tasks}:
        raise ValueError(
            f"values: arrays of {tasks} and {different.pop()} tasks, expected the same tasks in all"
        )
    rows, ends = np.concatenate(values).T, np.cumsum(counts)
    out = np.empty((resamples, len(values)))
    for start in range(0, resamples, BLOCK):
        block = range(start, min(start + BLOCK, resamples))
        weight = np.empty((len(block), tasks))
        chosen = {k: np.ones((len(block), k)) for k in sorted(set(counts))}
        for b in range(len(block)):
            weight[b] = np.bincount(rng.integers(0, tasks, tasks), minlength=tasks)
            for k, times in chosen.items():
                if k > 1:
                    times[b] = np.bincount(rng.integers(0, k, k - 1), minlength=k) / (k - 1)
        means = weight @ rows / tasks  # (block, all seeds of all arrays)
        for c, (k, end) in enumerate(zip(counts, ends)):
            out[block, c] = (means[:, end - k : end] * chosen[k]).sum(1)
    return out


def interval(samples, level: float = 0.95) -> np.ndarray:
    """Percentile interval (low, high) of bootstrap samples (R, ...): (2, ...)."""
    return np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)


def bounded(field: str, value, ends) -> dict:
    """Columns of a table: `field`, and the ends (low, high) of its interval as _low and _high."""
    return {field: value, f"{field}_low": ends[0], f"{field}_high": ends[1]}


def quantile_intervals(values, quantiles, level: float = 0.95) -> np.ndarray:
    """Intervals (len(quantiles), 2) of the quantiles of what `values` (S,) were drawn from.

    From order statistics, for any distribution; covers with at least `level`. An end is nan where S
    is too small for any value to bound the quantile. Raises ValueError for a quantile outside 0 to
    1.
    """
    values = numbers("values", values, (1,))
    tests = (stats.quantile_test(values, p=q) for q in quantiles)
    return np.array([test.confidence_interval(level) for test in tests])


def simultaneous_intervals(estimates, samples, freedom=np.inf, level: float = 0.95) -> np.ndarray:
    """Intervals (2, J), low and high, that hold for all J estimates together with chance `level`.

    estimates (J,); samples (R, J), their joint bootstrap distribution. The max-t band: estimate +-
    c standard deviations of its samples, c the `level` quantile over resamples of the largest
    standardised deviation. It uses how the estimates move together, and so is narrower than
    Bonferroni's (Westfall and Young, "Resampling-based multiple testing", 1993). freedom, (J,) or
    one number: degrees of freedom of each deviation; where few, c is replaced by the quantile of
    Student's t with the same tail. An estimate that never moves has the interval of itself alone.
    """
    estimates, samples = numbers("estimates", estimates, (1,)), numbers("samples", samples, (2,))
    if samples.ndim != 2 or samples.shape[1:] != estimates.shape or len(samples) < 2:
        raise ValueError(f"samples: shape {samples.shape}, expected (2 or more, {estimates.size})")
    deviation = samples.std(axis=0, ddof=1)
    moves = deviation > 1e-12 * np.abs(estimates)
    if not moves.any():
        return np.array([estimates, estimates])
    largest = (np.abs(samples - estimates)[:, moves] / deviation[moves]).max(axis=1)
    critical = stats.t.isf(stats.norm.sf(np.quantile(largest, level)), freedom)
    half = np.where(moves, critical * deviation, 0.0)
    return np.array([estimates - half, estimates + half])


def effective_freedom(over_seeds: list[np.ndarray], variance: float) -> float:
    """Degrees of freedom of a mean's bootstrap variance when some of it comes from few seeds.

    over_seeds: means by seed, an array (K,) for every independent group of seeds; groups of one
    seed do not count. variance: all of it, tasks' included. By F. E. Satterthwaite, Biometrics
    Bulletin 2, 1946: K - 1 where the seeds of one group are all of the variance, infinite where
    there is no group.
    """
    groups = [np.asarray(m, dtype=float) for m in over_seeds if len(m) > 1]
    parts = [(m.var(ddof=1) / len(m), len(m) - 1) for m in groups]
    squares = sum(v**2 / f for v, f in parts)
    return float(max(min(f for _, f in parts), variance**2 / squares)) if squares else np.inf


def holm(p_values) -> np.ndarray:
    """p-values (J,) adjusted for J tests by Holm's step-down method.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6, 1979. Raises ValueError for a p-value outside 0 to 1.
    """
    p = numbers("p_values", p_values, (1,))
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p_values: {p_values!r}, expected a list of numbers from 0 to 1")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def superiority(gains, tie: float = 1e-9) -> float:
    """Share of pairs with a gain minus share with a loss: gains (S,), within `tie` of 0 are ties.

    The dominance effect size for pairs (N. Cliff, "Dominance statistics", Psychological Bulletin
    114, 1993).
    """
    gains = numbers("gains", gains, (1,))
    return float((gains > tie).mean() - (gains < -tie).mean())


def cohens_d_paired(gains) -> float:
    """Mean gain of pairs (S,) over the standard deviation; 0 if all are 0, infinite if all equal.

    d_z of D. Lakens, "Calculating and reporting effect sizes", Frontiers in Psychology 4, 2013.
    """
    gains = numbers("gains", gains, (1,))
    if len(gains) < 2:
        raise ValueError("gains: 1 pair, expected at least 2")
    mean, deviation = np.mean(gains), np.std(gains, ddof=1)
    if deviation <= 1e-12 * abs(mean):
        return float(np.sign(mean) * np.inf) if mean else 0.0
    return float(mean / deviation)
