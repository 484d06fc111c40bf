"""Tasks that arrive online: the stream, the simulation and its intervals."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kd_offload.delay import LINKS, ROUTES, TAU, delay
from kd_offload.delay import RATE as FIELD
from experiments.plots.online import pays
from kd_offload.graphs import TaskGraph, dag
from kd_offload.labels import solve
from experiments.baselines import POLICIES
from experiments.testbed.link import Rate
from experiments.studies.online import (
    AGES,
    FEWEST_BLOCKS,
    RATE,
    SCENARIOS,
    SHOWN,
    USUAL,
    Stream,
    _carried,
    drifting_state,
    excess,
    online,
    simulate,
    stream,
)
from experiments.studies.traces import Trace, uplink, walking_trace
from kd_offload.tasks import STATE, Ranges, feature_names


def rng(seed=0):
    return np.random.default_rng(seed)


LINK = walking_trace(rng(5), 500)
FAILING = uplink("0.8_down_9", rng(7), 300)
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


def test_tasks_arrive_at_random_and_meet_the_state_there(arrived):
    gaps = np.diff(stream(dag(), LINK, rng(2), 3000).arrivals, prepend=0)
    assert stats.kstest(gaps, stats.expon(scale=1 / RATE).cdf).pvalue > 1e-3
    tasks, down = arrived.seen(0)
    f = dict(zip(feature_names(arrived.graph), tasks.T))
    np.testing.assert_array_equal(f["B_up"], LINK.at(arrived.arrivals))
    ratio = f["B_down"] / f["B_up"]
    assert ratio.min() >= 1 - 1e-9 and ratio.max() <= 3 + 1e-9 and not down.any()
    old = dict(zip(f, arrived.seen(7.0)[0].T))
    when = 7.0 * (arrived.arrivals // 7.0)
    np.testing.assert_array_equal(old["B_up"], LINK.at(when))
    np.testing.assert_array_equal(old["f_0"], arrived.states[when.astype(int), 0])
    assert all((old[q] == f[q]).all() for q in f if q not in STATE)


def test_of_a_link_that_was_down_the_last_rate_is_known():
    trace = Trace("t", [0.0, 2.0, 4.0, 6.0], [0.0, 5.0, 0.0, 7.0])
    arrivals = np.array([0.5, 1.5, 2.5, 4.5, 5.5, 6.5])
    made = Stream(dag(), trace, arrivals, np.ones((6, 25)), drifting_state(np.arange(8), rng(), 60))
    tasks, down = made.seen(1.0)
    assert tasks[:, 28].tolist() == [5, 5, 5, 5, 5, 7]  # before it was ever up, its first rate
    assert down.tolist() == [True, True, False, True, True, False]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from([0, 0, 3, 20, 700])), min_size=1),
    st.integers(0, 500),
    st.integers(1, 10**6),
)
def test_a_trace_carries_bytes_as_the_testbeds_pacing_does(steps, at, size):
    spans, rates = np.array(steps, float).T
    if not rates.any():
        return
    times = np.concatenate([[0.0], np.cumsum(spans)])
    sums = np.concatenate([[0.0], np.cumsum(spans * rates)])
    rounds = int(at // times[-1] + size // sums[-1]) + 3
    if rounds * len(rates) > 20_000:
        return
    long = np.concatenate([times[:-1] + r * times[-1] for r in range(rounds)])
    expected = Rate(np.tile(rates, rounds), long).when(float(at), size)
    found = _carried(float(at), float(size), times[:-1], sums, rates, times[-1])
    assert found == pytest.approx(expected, rel=1e-9)


def by_hand(graph, workload, state, x, trace, start, free):
    """The delay of one task over a trace, event by event in plain Python; changes `free`."""
    rounds = 40
    times = np.concatenate([trace.times + r * trace.end for r in range(rounds)])
    rate = Rate(np.tile(trace.bandwidth, rounds), times)
    where, finish = [0, *x, 0], {0: start}
    for j in range(1, graph.n + 2):
        ready = start
        for e, (i, to) in enumerate(graph.edges):
            if to != j:
                continue
            at, size = finish[i], workload[graph.n + e]
            for link in ROUTES.get((where[i], where[j]), ()):
                at = max(at, free.get(link, 0.0))
                if "wireless" in LINKS[link]:
                    at = rate.when(at, size / (state[4] if "down" in LINKS[link] else 1))
                else:
                    at += size / state[FIELD[link]]
                free[link] = at
                at += state[TAU[link]]
            ready = max(ready, at)
        finish[j] = ready
        if j <= graph.n:
            if where[j] < 2:
                ready = max(ready, free.get(-1 - where[j], 0.0))
            finish[j] = ready + workload[j - 1] / state[where[j]]
            if where[j] < 2:
                free[-1 - where[j]] = finish[j]
    return finish[graph.n + 1] - start


@pytest.mark.parametrize("busy", [False, True])
def test_tasks_run_on_a_link_that_moves_and_fails(busy):
    graph = TaskGraph("five", 5, ((0, 1), (0, 2), (1, 3), (2, 3), (2, 4), (3, 5), (4, 5), (5, 6)))
    made = stream(graph, FAILING, rng(3), 60)
    x = rng(6).integers(0, 3, (60, 5)).astype(np.int8)
    found = simulate(made, {"given": [lambda graph, tasks: x]}, 0.0, busy)["given"][0]
    states, free = made.state(made.arrivals), {}
    for s in range(60):
        free = free if busy else {}
        known = made.workloads[s], states[s], x[s], FAILING, made.arrivals[s], free
        assert found[s] == pytest.approx(by_hand(graph, *known), rel=1e-9)


def test_on_a_link_that_stands_still_it_is_the_delay_model(arrived):
    still = Trace("still", [0.0], [2e6])
    made = Stream(arrived.graph, still, arrived.arrivals, arrived.workloads, arrived.states)
    x = rng(6).integers(0, 3, (300, arrived.graph.n))
    found = simulate(made, EXACT | {"given": [lambda graph, tasks: x] * 2}, 0.0)
    tasks, _ = made.seen(0)
    expected = delay(arrived.graph, tasks, x)
    np.testing.assert_allclose(found["given"], [expected, expected], rtol=1e-9)
    np.testing.assert_allclose(found["exact"][0], solve(arrived.graph, tasks).delays, rtol=1e-9)


def test_an_old_state_costs_even_the_exact_search(arrived):
    old, fresh = simulate(arrived, EXACT | CLOUD, 60.0), simulate(arrived, EXACT | CLOUD, 0.0)
    assert old["exact"].mean() > 1.01 * fresh["exact"].mean()
    np.testing.assert_array_equal(old["all_cloud"], fresh["all_cloud"])


def test_staying_puts_all_on_the_device_while_the_link_is_down():
    made = stream(dag(), FAILING, rng(4), 300)
    device = {"all_device": [POLICIES["all_device"].place]}
    waits, stays = (simulate(made, CLOUD | device, 5.0, stay=stay) for stay in (False, True))
    _, down = made.seen(5.0)
    assert 0 < down.sum() < 300
    np.testing.assert_array_equal(stays["all_cloud"][0, down], waits["all_device"][0, down])
    np.testing.assert_array_equal(stays["all_cloud"][0, ~down], waits["all_cloud"][0, ~down])


def test_a_queue_makes_tasks_wait(arrived):
    alone, queue = simulate(arrived, CLOUD, 0.0), simulate(arrived, CLOUD, 0.0, busy=True)
    assert (queue["all_cloud"] >= alone["all_cloud"] - 1e-9).all()
    assert queue["all_cloud"].mean() > 1.01 * alone["all_cloud"].mean()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s: simulate(s, {"mine": [lambda g, t: t[:, :3]]}, 0.0), "policy 'mine': returned"),
        (lambda s: simulate(s, {"none": [None]}, 0.0), "policy: 'none'"),
        (lambda s: simulate(s, EXACT, -1), "measure_every: -1"),
        (lambda s: excess(s, np.ones((1, 300)), np.ones(300), 0, 10, rng()), "points: 0"),
    ],
)
def test_bad_input_is_refused(arrived, call, said):
    with pytest.raises(ValueError, match=said):
        call(arrived)


def made_up(regret) -> tuple[Stream, np.ndarray, np.ndarray]:
    """A stream of a task a second, delays with given regrets, and their optimum of 100 ms."""
    best = np.full(len(regret), 0.1)
    given = Stream(dag(), LINK, np.arange(1, len(regret) + 1.0), np.empty((0, 25)), np.empty(0))
    return given, (best * (1 + regret))[None], best


def test_block_bootstrap_on_independent_tasks_is_the_normal_interval():
    regret = rng(9).exponential(size=4000)
    mean, low, high = excess(*made_up(regret), 40, 2000, rng(1))
    assert mean == pytest.approx(regret.mean()) and low < 1 < high  # the true mean
    one, other = stats.norm.interval(0.95, regret.mean(), regret.std(ddof=1) / np.sqrt(4000))
    assert high - low == pytest.approx(other - one, rel=0.3)
    assert (low + high) / 2 == pytest.approx(regret.mean(), abs=0.2 * (other - one))
    few = excess(*made_up(regret), FEWEST_BLOCKS - 1, 50, rng(1))
    assert few[0] == pytest.approx(mean) and np.isnan(few[1:]).all()


def test_block_bootstrap_knows_that_neighbours_are_alike():
    """With an autoregressive regret, the interval is as wide as theory says."""
    shocks, regret = rng(10).standard_normal(20_000), np.zeros(20_000)
    for i in range(1, len(regret)):
        regret[i] = 0.95 * regret[i - 1] + shocks[i]
    _, low, high = excess(*made_up(regret), 40, 1000, rng(1))
    root, width = np.sqrt(len(regret)), high - low
    theory = 2 * 1.96 * (1 / (1 - 0.95)) / root  # long-run deviation of the mean
    assert width == pytest.approx(theory, rel=0.35)
    assert width > 3 * 2 * 1.96 * regret.std() / root  # not as for independent tasks


def test_online_on_a_tiny_run(tiny):
    given = [FAILING, Trace("still", [0.0], [2e6])]
    whole, windows = online(tiny, given)
    keys = ["scenario", "trace", "busy", "measure_every_s", "stay", "policy"]
    assert not whole.duplicated(keys).any() and {*whole.policy} == {*SHOWN}
    assert not windows.duplicated(["scenario", "trace", "policy", "time_s"]).any()
    settings = whole.groupby("trace").apply(lambda t: len(t[keys[2:5]].drop_duplicates()))
    assert settings.to_dict() == {FAILING.name: len(AGES) + 3, "still": len(AGES) + 2}
    at = whole.set_index(keys).excess.sort_index()
    for scenario in SCENARIOS:
        for trace, busy in ((FAILING.name, False), ("still", False), ("still", True)):
            assert at[scenario, trace, busy, 0.0, False, "exact"] == pytest.approx(0, abs=1e-9)
        assert (at[scenario, "still", False, 0.0, False] > -1e-9).all()
    usual = whole[(whole.measure_every_s == USUAL) & ~whole.busy & ~whole.stay]
    total = windows.assign(ms=windows.mean_ms * windows.tasks).groupby(keys[:2] + ["policy"]).ms
    mean = total.sum() / windows.groupby(keys[:2] + ["policy"]).tasks.sum()
    expected = usual.set_index(keys[:2] + ["policy"]).mean_ms
    pd.testing.assert_series_equal(mean, expected.sort_index(), check_names=False)
    assert (windows[windows.trace == "still"].bandwidth_mbit_s.round(9) == 16).all()
    again = online(tiny, given)
    pd.testing.assert_frame_equal(whole, again[0])
    pd.testing.assert_frame_equal(windows, again[1])
    for wrong in ([], [LINK, LINK]):
        with pytest.raises(ValueError, match="traces: "):
            online(tiny, wrong)


def test_deciding_pays_up_to_the_first_age_that_does_not_win():
    high = {"wins": [0.1, 0.2, 0.3], "late": [0.1, 0.6, 0.1], "never": [0.5, 0.1, 0.1]}
    rows = [("all_edge", age, 0.5, 0.5) for age in (0, 1, 2)]
    rows += [(p, age, 0.0, h) for p, ends in high.items() for age, h in enumerate(ends)]
    table = pd.DataFrame(rows, columns=["policy", "measure_every_s", "excess", "excess_high"])
    found = pays(table.assign(scenario="dag", trace="t", busy=False, stay=False)).iloc[0]
    assert (found.wins, found.late) == (2, 0) and np.isnan(found.never)
