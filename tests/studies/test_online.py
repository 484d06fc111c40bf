"""Tasks that arrive online: the stream, the simulation and its intervals."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from kd_offload.delay import delay
from kd_offload.graphs import dag
from kd_offload.labels import solve
from kd_offload.rivals.policies import LEARNED, POLICIES, policies_for
from kd_offload.studies.online import (
    FEWEST_BLOCKS,
    RATE,
    SCENARIOS,
    Stream,
    curves,
    drifting_state,
    online,
    simulate,
    stream,
)
from kd_offload.studies.traces import Trace, walking_trace
from kd_offload.tasks import STATE, Ranges, feature_names


def rng(seed=0):
    return np.random.default_rng(seed)


LINK = walking_trace(rng(5), 500)
EXACT, CLOUD = ({name: [POLICIES[name].place]} for name in ("exact", "all_cloud"))


@pytest.fixture(scope="module")
def arrived() -> Stream:
    return stream(dag(), LINK, rng(1), 300)


def test_the_state_is_log_uniform_and_drifts():
    names = ["down_over_up" if q == "B_down" else q for q in STATE]
    low, high = np.log([getattr(Ranges(), q) for q in names]).T
    # A hundred relaxation times between two: every draw is a new one.
    u = (np.log(drifting_state(np.arange(2000) * 1000.0, rng(3), 10.0)) - low) / (high - low)
    assert u.min() >= -1e-9 and u.max() <= 1 + 1e-9
    near = np.log(drifting_state(np.arange(20_000) * 1.0, rng(4), 10.0))
    # cos(pi u) is the slowest mode: its correlation is exp(-lag / memory).
    mode = np.cos(np.pi * (near - low) / (high - low))
    for q in range(len(STATE)):
        assert stats.kstest(u[:, q], "uniform").pvalue > 1e-4
        correlation = np.corrcoef(mode[8:, q], mode[:-8, q])[0, 1]
        assert correlation == pytest.approx(np.exp(-0.8), abs=0.08)


def test_tasks_arrive_at_random_and_meet_the_link_there(arrived):
    gaps = np.diff(stream(dag(), LINK, rng(2), 3000).arrivals, prepend=0)
    assert stats.kstest(gaps, stats.expon(scale=1 / RATE).cdf).pvalue > 1e-3
    f = dict(zip(feature_names(arrived.graph), arrived.tasks.T))
    np.testing.assert_array_equal(f["B_up"], LINK.at(arrived.arrivals))
    ratio = f["B_down"] / f["B_up"]
    assert ratio.min() >= 1 - 1e-9 and ratio.max() <= 3 + 1e-9
    np.testing.assert_array_equal(arrived.optimum, solve(arrived.graph, arrived.tasks).delays)
    np.testing.assert_array_equal(arrived.seen(0), arrived.tasks)
    seen = dict(zip(f, arrived.seen(7.0).T))
    measured = [LINK.at(7.0 * (t // 7.0)) for t in arrived.arrivals]
    np.testing.assert_array_equal(seen["B_up"], measured)
    np.testing.assert_allclose(seen["B_down"] / seen["B_up"], ratio)
    assert all((seen[q] == f[q]).all() for q in f if q not in ("B_up", "B_down"))


def test_what_is_simulated_is_the_delay_model(arrived):
    x = rng(6).integers(0, 3, (300, arrived.graph.n))
    found = simulate(arrived, EXACT | {"given": [lambda graph, tasks: x] * 2}, 0.0)
    expected = delay(arrived.graph, arrived.tasks, x)
    np.testing.assert_array_equal(found["given"], [expected, expected])
    np.testing.assert_allclose(found["exact"], arrived.optimum[None])


def test_stale_measurements_cost_even_the_exact_solver(arrived):
    stale, fresh = simulate(arrived, EXACT | CLOUD, 20.0), simulate(arrived, CLOUD, 0.0)
    # The decision is the best for what was seen, the delay what the true link gives.
    x = solve(arrived.graph, arrived.seen(20.0)).placements
    np.testing.assert_allclose(stale["exact"][0], delay(arrived.graph, arrived.tasks, x))
    regret = stale["exact"] / arrived.optimum - 1
    assert regret.mean() > 1e-3 and (regret > -1e-12).all()
    np.testing.assert_array_equal(stale["all_cloud"], fresh["all_cloud"])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s: simulate(s, {"mine": [lambda g, t: t[:, :3]]}, 0.0), "policy 'mine': returned"),
        (lambda s: simulate(s, {"none": [None]}, 0.0), "policy: 'none'"),
        (lambda s: simulate(s, EXACT, -1), "measure_every: -1"),
        (lambda s: curves(s, simulate(s, EXACT, 0.0), 0, 10, rng()), "points, every: 0"),
    ],
)
def test_bad_input_is_refused(arrived, call, said):
    with pytest.raises(ValueError, match=said):
        call(arrived)


def made_up(regret, factors=((1,),)) -> tuple[Stream, dict]:
    """A stream of optimum 100 ms, a task a second, and delays with given regrets (S,), times a
    factor for each policy and seed."""
    best = np.full(len(regret), 0.1)
    given = Stream(dag(), LINK, np.arange(1, len(regret) + 1.0), np.empty((0, 33)), best)
    return given, {
        f"policy_{p}": np.array([best * (1 + regret * f) for f in seeds])
        for p, seeds in enumerate(factors)
    }


def test_curves_are_sums_over_time():
    regret = rng(8).exponential(size=1000)
    given = made_up(regret, ((1, 2), (2, 3)))
    table = curves(*given, 10, 50, rng())
    assert table.policy.tolist() == ["policy_0"] * 10 + ["policy_1"] * 10
    for row in table.itertuples():
        part = regret[: row.tasks] * {"policy_0": 1.5, "policy_1": 2.5}[row.policy]
        assert row.seeds == 2 and row.beyond_s == pytest.approx(0.1 * part.sum())
        assert row.regret_mean == pytest.approx(part.mean())
        assert row.mean_total_ms == pytest.approx(100 * (1 + part.mean()))
        assert row.tasks == (np.arange(1, 1001) <= row.time_s).sum()
        enough = row.time_s > 1000 / 10 * (FEWEST_BLOCKS - 0.5)
        ends = [row.regret_low, row.regret_high, row.beyond_low_s, row.beyond_high_s]
        assert np.isfinite(ends).all() == enough
    last = curves(*given, 10, 50, rng(), every=10)
    expected = table.groupby("policy", as_index=False, sort=False).last()[last.columns]
    pd.testing.assert_frame_equal(last, expected)


def test_block_bootstrap_on_independent_tasks_is_the_normal_interval():
    regret = rng(9).exponential(size=4000)
    row = curves(*made_up(regret), 40, 2000, rng(1), every=40).iloc[0]
    low, high = stats.norm.interval(0.95, regret.mean(), regret.std(ddof=1) / np.sqrt(4000))
    assert row.regret_low < 1 < row.regret_high  # the true mean
    assert row.regret_high - row.regret_low == pytest.approx(high - low, rel=0.3)
    middle = (row.regret_low + row.regret_high) / 2
    assert middle == pytest.approx(regret.mean(), abs=0.2 * (high - low))
    assert row.beyond_low_s == pytest.approx(0.1 * 4000 * row.regret_low)


def test_block_bootstrap_knows_that_neighbours_are_alike():
    """With an autoregressive regret, the interval is as wide as theory says."""
    shocks, regret = rng(10).standard_normal(20_000), np.zeros(20_000)
    for i in range(1, len(regret)):
        regret[i] = 0.95 * regret[i - 1] + shocks[i]
    row = curves(*made_up(regret), 40, 1000, rng(1), every=40).iloc[0]
    root, width = np.sqrt(len(regret)), row.regret_high - row.regret_low
    theory = 2 * 1.96 * (1 / (1 - 0.95)) / root  # long-run deviation of the mean
    assert width == pytest.approx(theory, rel=0.35)
    assert width > 3 * 2 * 1.96 * regret.std() / root  # not as for independent tasks


def test_online_on_a_tiny_run(tiny):
    given = [LINK, Trace("still", [0.0], [2e6])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)  # of files that others left open
        table = online(tiny, given)
    keys = ["scenario", "measure_every_s", "trace", "policy"]
    assert not table.duplicated([*keys, "time_s"]).any()
    ends = [
        c for c in table if c.startswith(("beyond_", "regret_")) and ("low" in c or "high" in c)
    ]
    assert len(ends) == 4 and not table.drop(columns=ends).isna().any().any()
    last = table.sort_values("time_s").groupby(keys).last()
    for scenario in SCENARIOS:
        for trace in ("walking", "still"):
            exact = last.loc[scenario, 0.0, trace, "exact"]
            assert exact.regret_mean == pytest.approx(0, abs=1e-9)
        still = last.loc[scenario, 5.0, "still"], last.loc[scenario, 0.0, "still"]
        np.testing.assert_allclose(*(part.regret_mean for part in still))  # nothing is stale
    assert (table[table.trace == "still"].bandwidth_mbit_s.round(9) == 16).all()
    assert {*table.policy} == {*policies_for(dag()), *LEARNED}
    pd.testing.assert_frame_equal(table, online(tiny, given))
    for wrong in ([], [LINK, LINK]):
        with pytest.raises(ValueError, match="traces: "):
            online(tiny, wrong)
