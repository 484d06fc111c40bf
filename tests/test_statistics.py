"""Bootstrap, families of comparisons and effect sizes, against closed forms, scipy and simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kd_offload.statistics import (
    bootstrap_means,
    bootstrap_p,
    cohens_d_paired,
    effective_freedom,
    holm,
    interval,
    quantile_intervals,
    seeds_interval,
    simultaneous_intervals,
    superiority,
)

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def plain_bootstrap(values, resamples, rng):
    """One resample after another, by indices."""
    out = np.empty((resamples, len(values)))
    for r in range(resamples):
        tasks = rng.integers(0, values[0].shape[1], values[0].shape[1])
        seeds = {k: rng.integers(0, k, k - 1) for k in sorted({len(v) for v in values}) if k > 1}
        for c, v in enumerate(values):
            out[r, c] = v[np.ix_(seeds.get(len(v), [0]), tasks)].mean()
    return out


def test_bootstrap_in_blocks_is_the_plain_one():
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(k, 50)) for k in (1, 3, 5, 1, 3)]
    expected = plain_bootstrap(values, 150, np.random.default_rng(7))  # more than two blocks
    assert bootstrap_means(values, 150, np.random.default_rng(7)) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(ValueError, match="values: arrays of 50 and 49 tasks"):
        bootstrap_means([values[0], values[1][:, :49]], 10, rng)


def test_bootstrap_has_the_variance_of_the_theory():
    """Of a mean of S values: their variance over S; with K seeds besides, the unbiased variance of their means over K."""
    rng = np.random.default_rng(1)
    one, many = rng.normal(size=(1, 400)), rng.normal(size=(4, 1)) + np.zeros((4, 400))
    draws = bootstrap_means([one, many], 4000, rng)
    assert draws[:, 0].var() == pytest.approx(one.var() / 400, rel=0.1)
    assert draws[:, 1].var() == pytest.approx(many[:, 0].var(ddof=1) / 4, rel=0.1)


def test_coverage_of_the_percentile_interval():
    """The mean of skewed values, 0.95 within the simulation's own noise and the method's small bias."""
    hits = 0
    for repetition in range(300):
        rng = np.random.default_rng(repetition)
        low, high = interval(bootstrap_means([rng.exponential(size=(1, 200))], 200, rng)[:, 0])
        hits += low <= 1 <= high
    assert 0.91 <= hits / 300 <= 0.98


def family(repetition, seeds, noise=1.0):
    """Four differences that are all 0 in truth: of a policy with `seeds` seeds and rivals, most without."""
    rng = np.random.default_rng(repetition)
    own = noise * rng.normal(size=(seeds, 1)) + rng.normal(size=(seeds, 60))
    rivals = [rng.normal(size=(1, 60)) for _ in range(3)]
    rivals.append(noise * rng.normal(size=(seeds, 1)) + rng.normal(size=(seeds, 60)))
    draws = bootstrap_means([own, *rivals], 200, rng)
    estimates = np.array([own.mean() - r.mean() for r in rivals])
    samples = draws[:, :1] - draws[:, 1:]
    groups = [[own.mean(1)]] * 3 + [[own.mean(1) - rivals[3].mean(1)]]
    freedom = np.array([effective_freedom(g, s.var()) for g, s in zip(groups, samples.T)])
    return estimates, samples, freedom


def covered(low, high):
    return bool(((low <= 0) & (0 <= high)).all())


def test_simultaneous_intervals_cover_all_differences_at_once():
    """Also where five seeds are all there is to tell the variance; intervals of each alone do not."""
    together, few, alone = [], [], []
    for repetition in range(250):
        estimates, samples, freedom = family(repetition, seeds=5)
        together.append(covered(*simultaneous_intervals(estimates, samples, freedom)))
        few.append(covered(*simultaneous_intervals(estimates, samples)))
        alone.append(covered(*np.quantile(samples, [0.025, 0.975], axis=0)))
    assert np.mean(alone) < np.mean(few) < np.mean(together)
    assert 0.91 <= np.mean(together) <= 0.99 and np.mean(alone) < 0.85


def test_simultaneous_intervals_against_closed_forms():
    """One difference: the normal interval; independent ones: the maximum of |normals|; with freedom: Student's t."""
    rng = np.random.default_rng(3)
    samples = rng.normal(size=(40_000, 5)) * [1, 2, 3, 4, 5]
    low, high = simultaneous_intervals(np.zeros(1), samples[:, :1])
    assert high[0] == pytest.approx(1.96, rel=0.02) and low[0] == -high[0]
    critical = stats.norm.ppf((1 + 0.95 ** (1 / 5)) / 2)
    assert simultaneous_intervals(np.zeros(5), samples)[1] == pytest.approx(critical * np.arange(1, 6), rel=0.02)
    _, high = simultaneous_intervals(np.zeros(5), samples, freedom=4)
    expected = stats.t.isf(stats.norm.sf(critical), 4) * np.arange(1, 6)
    assert high == pytest.approx(expected, rel=0.04)
    copies = np.repeat(samples[:, :1], 5, axis=1)  # five times the same: no price for five
    assert simultaneous_intervals(np.zeros(5), copies)[1] == pytest.approx(1.96, rel=0.02)


def test_simultaneous_intervals_are_as_wide_as_single_ones():
    """At least, but for what the skew of a few resamples does; and a difference that never moves stays as it is."""
    for seed, count in itertools.product(range(5), (2, 6)):
        rng = np.random.default_rng(seed)
        samples = rng.multivariate_normal(np.zeros(count), 0.5 + 0.5 * np.eye(count), 2000)
        low, high = simultaneous_intervals(np.zeros(count), samples)
        single = np.diff(np.quantile(samples, [0.025, 0.975], axis=0), axis=0)[0]
        assert (high - low > single).all()
    samples[:, 0] = 3.0
    low, high = simultaneous_intervals(np.r_[3.0, np.zeros(count - 1)], samples)
    assert low[0] == high[0] == 3 and (high[1:] > low[1:]).all()
    assert [*map(list, simultaneous_intervals([3.0], np.full((10, 1), 3.0)))] == [[3.0], [3.0]]
    with pytest.raises(ValueError, match=r"samples: shape \(10, 2\), expected \(2 or more, 3\)"):
        simultaneous_intervals(np.zeros(3), np.zeros((10, 2)))


def test_effective_freedom():
    means = np.array([1.0, 2.0, 4.0, 5.0, 8.0])
    own = means.var(ddof=1) / 5
    assert effective_freedom([means], own) == pytest.approx(4)
    assert effective_freedom([means], 10 * own) == pytest.approx(400)
    assert effective_freedom([means, means], 2 * own) == pytest.approx(8)  # as for Welch's test, equal variances
    assert effective_freedom([means[:1]], 1.0) == effective_freedom([np.ones(5)], 1.0) == np.inf
    assert effective_freedom([means], own / 100) == 4  # never below K - 1


def test_bootstrap_p():
    assert bootstrap_p(np.full(999, 2.0)) == bootstrap_p(np.full(999, -2.0)) == 2 / 1000
    assert bootstrap_p(np.zeros(99)) == 1 and bootstrap_p(np.r_[np.ones(50), -np.ones(50)]) == 1
    rng = np.random.default_rng(5)
    for shift in (0.5, 1.5, 2.5):  # of a normal difference: the z test's
        assert bootstrap_p(rng.normal(shift, 1, 50_000)) == pytest.approx(2 * stats.norm.sf(shift), rel=0.1)
    both = rng.normal([0.5, -1.0], 1, (500, 2))
    assert list(bootstrap_p(both)) == [bootstrap_p(both[:, 0]), bootstrap_p(both[:, 1])]


def plain_holm(p):
    """By the definition: the adjusted p-value of a test is the largest of those that come before it, and its own."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    out = [0.0] * len(p)
    for rank, i in enumerate(order):
        out[i] = max(min(1.0, (len(p) - r) * p[order[r]]) for r in range(rank + 1))
    return out


def test_holm_on_a_known_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    for wrong in ([0.1, 1.1], [-0.1], [np.nan], [[0.1]]):
        with pytest.raises(ValueError, match="p_values: "):
            holm(wrong)


@settings(deadline=None, max_examples=200)
@given(P_VALUES)
def test_holm_properties(p):
    adjusted = holm(p)
    assert adjusted == pytest.approx(plain_holm(p))
    assert (adjusted >= p).all() and (adjusted <= 1).all()
    assert (adjusted <= np.minimum(1, len(p) * np.array(p)) + 1e-15).all()  # never worse than Bonferroni's
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all()
    assert adjusted[::-1] == pytest.approx(holm(p[::-1]))


def test_effect_sizes():
    rng = np.random.default_rng(6)
    a, b = rng.normal(1, 1, 200), rng.normal(0, 2, 200)
    t = stats.ttest_rel(a, b).statistic
    assert cohens_d_paired(a - b) == pytest.approx(t / np.sqrt(200))
    assert cohens_d_paired(np.zeros(5)) == 0 and cohens_d_paired(np.full(5, -2.0)) == -np.inf
    assert superiority([1, 2, -1, 0, 1e-12]) == pytest.approx((2 - 1) / 5)
    assert superiority(a - b) == pytest.approx(np.sign(a - b).mean()) and superiority(b - a) == -superiority(a - b)


@pytest.mark.parametrize("count", [100, 2000])
def test_quantile_intervals(count):
    """Ranks by scipy's binomial; what no value bounds is nan."""
    for q in (0.5, 0.95):
        (low, high) = quantile_intervals(np.arange(1, count + 1)[::-1], [q])[0]
        law = stats.binom(count, q)
        assert (low, high) == (law.ppf(0.025), law.ppf(0.975) + 1)
    assert np.isnan(quantile_intervals(np.arange(100), [0.99])[0]).tolist() == [False, True]
    with pytest.raises(ValueError, match="quantiles: 1"):
        quantile_intervals(np.arange(10), [1.0])


def test_coverage_of_the_quantile_intervals():
    rng, truth = np.random.default_rng(8), stats.expon.ppf([0.5, 0.95, 0.99])
    ends = np.array([quantile_intervals(rng.exponential(size=1000), [0.5, 0.95, 0.99]) for _ in range(400)])
    share = ((ends[..., 0] <= truth) & (truth <= ends[..., 1])).mean(axis=0)
    assert ((share >= 0.925) & (share <= 0.995)).all()


@settings(max_examples=50)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8).filter(lambda v: np.std(v) > 1e-6))
def test_the_interval_over_seeds_is_students(values):
    expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    np.testing.assert_allclose(seeds_interval(values), expected, rtol=1e-9, atol=1e-9)


def test_one_seed_has_the_interval_of_itself():
    assert seeds_interval([0.3]) == (0.3, 0.3)
