"""Bootstrap, families and effect sizes, against closed forms, scipy and simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from experiments.studies.statistics import (
    bootstrap_means,
    cohens_d_paired,
    effective_freedom,
    holm,
    interval,
    simultaneous_intervals,
    superiority,
)


def test_bootstrap_in_blocks_is_the_plain_one():
    """One resample after another, by indices; 150 are more than two blocks."""
    rng, plain = np.random.default_rng(0), np.random.default_rng(7)
    values, expected = [rng.normal(size=(k, 50)) for k in (1, 3, 5, 1, 3)], []
    for _ in range(150):
        tasks = plain.integers(0, 50, 50)
        seeds = {1: [0]} | {k: plain.integers(0, k, k - 1) for k in (3, 5)}
        expected.append([v[np.ix_(seeds[len(v)], tasks)].mean() for v in values])
    drawn = bootstrap_means(values, 150, np.random.default_rng(7))
    np.testing.assert_allclose(drawn, expected, atol=1e-12)
    with pytest.raises(ValueError, match="values: arrays of 50 and 49 tasks"):
        bootstrap_means([values[0], values[1][:, :49]], 10, rng)


def test_bootstrap_agrees_with_the_closed_form():
    """The standard error of a mean, a paired difference, seeds' means, and both together."""
    rng = np.random.default_rng(0)
    a, noise = rng.exponential(size=(1, 2000)), rng.normal(scale=0.1, size=(1, 2000))
    seeds, error = np.arange(5.0)[:, None], a.std() / np.sqrt(2000)
    values, of_seeds = [a, a + noise, seeds + 0 * a, seeds + a], np.var(seeds, ddof=1) / 5
    draws = bootstrap_means(values, 2000, np.random.default_rng(1))
    assert draws[:, 0].std() == pytest.approx(error, rel=0.06)
    difference = (draws[:, 1] - draws[:, 0]).std()
    assert difference == pytest.approx(noise.std() / np.sqrt(2000), rel=0.06)
    assert draws[:, 2].var() == pytest.approx(of_seeds, rel=0.1)
    assert draws[:, 3].std() == pytest.approx(np.sqrt(of_seeds + error**2), rel=0.06)
    assert np.ptp(interval(draws[:, 0])) == pytest.approx(2 * 1.96 * error, rel=0.08)
    assert np.array_equal(draws, bootstrap_means(values, 2000, np.random.default_rng(1)))


def test_coverage_of_the_percentile_interval():
    """The mean of skewed values, 0.95 within the simulation's own noise and the method's bias."""
    hits = 0
    for repetition in range(300):
        rng = np.random.default_rng(repetition)
        low, high = interval(bootstrap_means([rng.exponential(size=(1, 200))], 200, rng)[:, 0])
        hits += low <= 1 <= high
    assert 0.91 <= hits / 300 <= 0.98


def family(repetition, seeds):
    """Four differences that are 0 in truth: of a policy with seeds and baselines, most without."""
    rng = np.random.default_rng(repetition)
    own = rng.normal(size=(seeds, 1)) + rng.normal(size=(seeds, 60))
    baselines = [rng.normal(size=(1, 60)) for _ in range(3)]
    baselines.append(rng.normal(size=(seeds, 1)) + rng.normal(size=(seeds, 60)))
    draws = bootstrap_means([own, *baselines], 200, rng)
    samples = draws[:, :1] - draws[:, 1:]
    groups = [[own.mean(1)]] * 3 + [[own.mean(1) - baselines[3].mean(1)]]
    freedom = np.array([effective_freedom(g, s.var()) for g, s in zip(groups, samples.T)])
    return np.array([own.mean() - r.mean() for r in baselines]), samples, freedom


def test_simultaneous_intervals_cover_all_differences_at_once():
    """Also where five seeds are all there is to tell the variance; those of each alone do not."""
    hits = []
    for repetition in range(250):
        estimates, samples, freedom = family(repetition, seeds=5)
        together = simultaneous_intervals(estimates, samples, freedom)
        made = interval(samples), simultaneous_intervals(estimates, samples), together
        hits.append([((low <= 0) & (0 <= high)).all() for low, high in made])
    alone, few, together = np.mean(hits, axis=0)
    assert alone < few < together and 0.91 <= together <= 0.99 and alone < 0.85


def test_simultaneous_intervals_against_closed_forms():
    """One difference: the normal interval; independent ones: the largest of |normals|; or t's."""
    samples = np.random.default_rng(3).normal(size=(40_000, 5)) * [1, 2, 3, 4, 5]
    low, high = simultaneous_intervals(np.zeros(1), samples[:, :1])
    assert high[0] == pytest.approx(1.96, rel=0.02) and low[0] == -high[0]
    critical, scale = stats.norm.ppf((1 + 0.95 ** (1 / 5)) / 2), np.arange(1, 6)
    _, high = simultaneous_intervals(np.zeros(5), samples)
    assert high == pytest.approx(critical * scale, rel=0.02)
    _, high = simultaneous_intervals(np.zeros(5), samples, freedom=4)
    assert high == pytest.approx(stats.t.isf(stats.norm.sf(critical), 4) * scale, rel=0.04)
    copies = np.repeat(samples[:, :1], 5, axis=1)  # five times the same: no price for five
    assert simultaneous_intervals(np.zeros(5), copies)[1] == pytest.approx(1.96, rel=0.02)


def test_simultaneous_intervals_are_as_wide_as_single_ones():
    """At least, but for a few resamples' skew; a difference that never moves stays as it is."""
    for seed, count in itertools.product(range(5), (2, 6)):
        rng = np.random.default_rng(seed)
        samples = rng.multivariate_normal(np.zeros(count), 0.5 + 0.5 * np.eye(count), 2000)
        low, high = simultaneous_intervals(np.zeros(count), samples)
        assert (high - low > np.ptp(interval(samples), axis=0)).all()
    samples[:, 0] = 3.0
    low, high = simultaneous_intervals(np.r_[3.0, np.zeros(count - 1)], samples)
    assert low[0] == high[0] == 3 and (high[1:] > low[1:]).all()
    assert (simultaneous_intervals([3.0], np.full((10, 1), 3.0)) == 3).all()
    with pytest.raises(ValueError, match=r"samples: shape \(10, 2\), expected \(2 or more, 3\)"):
        simultaneous_intervals(np.zeros(3), np.zeros((10, 2)))


def test_effective_freedom():
    means = np.array([1.0, 2.0, 4.0, 5.0, 8.0])
    own = means.var(ddof=1) / 5
    assert effective_freedom([means], own) == pytest.approx(4)
    assert effective_freedom([means], 10 * own) == pytest.approx(400)
    assert effective_freedom([means, means], 2 * own) == pytest.approx(8)  # as Welch's
    assert effective_freedom([means[:1]], 1.0) == effective_freedom([np.ones(5)], 1.0) == np.inf
    assert effective_freedom([means], own / 100) == 4  # never below K - 1


def test_holm_on_a_known_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    for wrong in ([0.1, 1.1], [-0.1], [np.nan], [[0.1]]):
        with pytest.raises(ValueError, match="p_values: "):
            holm(wrong)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_properties(p):
    """By the definition, the largest of what the tests before it, and it itself, come to."""
    adjusted, order, least = holm(p), np.argsort(p, kind="stable"), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(p) - rank) * p[i]))
        assert adjusted[i] == pytest.approx(least)
    assert ((adjusted >= p) & (adjusted <= 1)).all() and (np.diff(adjusted[order]) >= 0).all()
    assert (adjusted <= np.minimum(1, len(p) * np.array(p)) + 1e-15).all()  # Bonferroni's
    assert adjusted[::-1] == pytest.approx(holm(p[::-1]))


def test_effect_sizes():
    rng = np.random.default_rng(6)
    a, b = rng.normal(1, 1, 200), rng.normal(0, 2, 200)
    assert cohens_d_paired(a - b) == pytest.approx(stats.ttest_rel(a, b).statistic / np.sqrt(200))
    assert cohens_d_paired(np.zeros(5)) == 0 and cohens_d_paired(np.full(5, -2.0)) == -np.inf
    assert superiority([1, 2, -1, 0, 1e-12]) == pytest.approx((2 - 1) / 5)
    assert superiority(a - b) == pytest.approx(np.sign(a - b).mean()) == -superiority(b - a)
