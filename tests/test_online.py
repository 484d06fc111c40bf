"""Traces in and out of files, and tasks that arrive online."""

import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from kd_offload import plotting_online
from kd_offload.config import get_run
from kd_offload.delay import delay
from kd_offload.graphs import chain, dag
from kd_offload.labels import solve
from kd_offload.online import (
    FEWEST_BLOCKS,
    SCENARIOS,
    Stream,
    conditions,
    curves,
    example_files,
    online,
    poisson,
    simulate,
    stream,
    summary,
    trained_policies,
    waiting,
)
from kd_offload.policies import policies_for
from kd_offload.sampling import MBIT, STATE, Ranges, feature_names
from kd_offload.traces import (
    PACKET,
    Trace,
    markov_trace,
    read_csv,
    read_mahimahi,
    walking_trace,
    write_csv,
    write_mahimahi,
)

matplotlib.use("Agg")
FILES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def rng(seed=0):
    return np.random.default_rng(seed)


@st.composite
def traces(draw, most=20):
    steps = draw(st.lists(st.integers(1, 5000), min_size=1, max_size=most))  # ms
    rates = st.floats(1e3, 2e6)
    ends = np.cumsum(steps) / 1e3
    return Trace("drawn", [0.0, *ends[:-1]], draw(st.lists(rates, min_size=len(steps), max_size=len(steps))), ends[-1])


def bytes_between(trace, a, b):
    """Bytes that come in a..b s, segment by segment: a plain integral."""
    ends = [*trace.times[1:], trace.end]
    return sum(r * max(0.0, min(b, end) - max(a, start)) for start, end, r in zip(trace.times, ends, trace.bandwidth))


# --- traces -----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(traces(), st.lists(st.integers(0, 300_000), min_size=1, max_size=20))
def test_at_is_the_segment_found_by_walking(trace, moments):
    # On eighths of a millisecond off the corners, where rounding cannot tip a moment over one.
    t = np.array(moments) / 1e3 + 1 / 8e3
    for one, found in zip(t, trace.at(t)):
        left = one
        while left >= trace.end:
            left -= trace.end
        i = 0
        while i + 1 < len(trace.times) and trace.times[i + 1] <= left:
            i += 1
        assert found == trace.bandwidth[i]
    assert trace.at(t.reshape(-1, 1)).shape == (len(t), 1)
    assert trace.mean == pytest.approx(bytes_between(trace, 0, trace.end) / trace.duration)


def test_a_trace_begins_anew_at_its_end():
    trace = Trace("t", [0, 1, 3], [5.0, 6.0, 7.0])
    assert trace.duration == 5 and trace.mean == pytest.approx((5 + 12 + 14) / 5)
    assert trace.at([0, 0.99, 1, 2.9, 3, 4.9, 5, 6, 8, 10, 501]).tolist() == [5, 5, 6, 6, 7, 7, 5, 6, 7, 5, 6]
    assert Trace("t", [0], [4.0]).at(1e6) == 4.0
    assert Trace("t", [0, 1], [5.0, 6.0], end=10).at([9.5, 10.5]).tolist() == [6, 5]
    assert trace.clipped(5.5, 6.5).bandwidth.tolist() == [5.5, 6, 6.5]
    with pytest.raises(ValueError, match="read-only"):
        trace.bandwidth[0] = 1


@pytest.mark.parametrize(
    "times, bandwidth, end, said",
    [
        ([], [], None, "times: shape"),
        ([0, 1], [1.0], None, "times: shape"),
        ([1, 2], [1.0, 1.0], None, "times: 1.0"),
        ([0, np.nan], [1.0, 1.0], None, "times: not finite"),
        ([0, 2, 1], [1.0, 1.0, 1.0], None, "times: 1 s after 2 s"),
        ([0, 1, 1], [1.0, 1.0, 1.0], None, "times: 1 s after 1 s"),
        ([0, 1], [1.0, 0.0], None, "bandwidth: 0.0"),
        ([0, 1], [-1.0, 1.0], None, "bandwidth: -1.0"),
        ([0, 1], [1.0, np.nan], None, "bandwidth: nan"),
        ([0, 1], [np.inf, 1.0], None, "bandwidth: inf"),
        ([0, 1], ["a", "b"], None, "bandwidth: not numeric"),
        ([0, 1], [1.0, 1.0], 1.0, "end: 1.0"),
        ([0, 1], [1.0, 1.0], np.inf, "end: inf"),
    ],
)
def test_a_bad_trace_is_refused(times, bandwidth, end, said):
    with pytest.raises(ValueError, match=said):
        Trace("bad", times, bandwidth, end)


@FILES
@given(st.lists(st.integers(1, 4000), min_size=1, max_size=300), st.sampled_from([0.1, 0.5, 1.0]))
def test_mahimahi_lines_are_packets(tmp_path, lines, bin_s):
    path = tmp_path / "link"
    path.write_text("".join(f"{ms}\n" for ms in sorted(lines)))
    trace, last = read_mahimahi(path, bin_s), max(lines)
    assert trace.duration == last / 1e3 and trace.name == "link"
    for i, start in enumerate(trace.times):
        end = min(start + bin_s, last / 1e3)
        count = sum(round(1e3 * start) < ms <= round(1e3 * end) for ms in lines)
        assert trace.bandwidth[i] == pytest.approx(max(count, 1) * 1500 / (end - start))
        middle = (start + end) / 2
        assert trace.at([middle, middle + 7 * last / 1e3]).tolist() == [trace.bandwidth[i]] * 2


def test_mahimahi_by_hand(tmp_path):
    path = tmp_path / "hand.up"
    path.write_text("0\n1\n1\n500\n501\n\n2000\n")
    trace = read_mahimahi(path, 0.5, name="mine")
    assert (trace.name, PACKET, trace.duration) == ("mine", 1500, 2.0)
    assert trace.times.tolist() == [0, 0.5, 1, 1.5]
    assert trace.bandwidth.tolist() == [4 * 3000, 3000, 3000, 3000]  # 4 packets; 1; none, counted as 1; 1


@FILES
@given(traces(), st.sampled_from([0.05, 0.5, 2.0]))
def test_mahimahi_round_trip_keeps_every_bins_bytes(tmp_path, trace, bin_s):
    write_mahimahi(trace, tmp_path / "link")
    again = read_mahimahi(tmp_path / "link", bin_s)
    assert again.duration == pytest.approx(trace.duration)
    for start, end, rate in zip(again.times, [*again.times[1:], again.end], again.bandwidth):
        was, now = bytes_between(trace, start, end), rate * (end - start)
        # Less than a packet at either end, one more in the last bin, whose last line is always there; a silent bin is one.
        most = 2 if end == again.end else 1
        assert -PACKET - 1 < now - was < most * PACKET + 1 or now == pytest.approx(PACKET)


@FILES
@given(traces(), st.sampled_from(["bit/s", "kbit/s", "Mbit/s", "bytes/s"]))
def test_csv_round_trip(tmp_path, trace, unit):
    write_csv(trace, tmp_path / "log.csv", "t", "rate", unit)
    again = read_csv(tmp_path / "log.csv", "t", "rate", unit, end=trace.end)
    assert again.times.tolist() == trace.times.tolist() and again.duration == trace.duration
    np.testing.assert_allclose(again.bandwidth, trace.bandwidth, rtol=1e-14)


def test_csv_columns_by_name_units_and_floor(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("﻿# a drive\n\nsite, rate ,stamp\nA,800,1000\nB,0,1500\n# gap\nA,1600,3000\n", encoding="utf-8")
    trace = read_csv(path, "stamp", "rate", "kbit/s", time_unit="ms", floor=8)
    assert trace.times.tolist() == [0, 0.5, 2] and trace.bandwidth.tolist() == [1e5, 1e3, 2e5]
    assert trace.duration == 3.5
    path.write_text("time_s;bandwidth_mbit_s\n0;8\n")
    assert read_csv(path, delimiter=";").bandwidth.tolist() == [1e6]


@pytest.mark.parametrize(
    "content, options, said",
    [
        (None, {}, "link cannot be read"),
        ("", {}, "link is empty"),
        ("\n \n", {}, "link is empty"),
        ("1\n2.5\n", {}, "line 2: '2.5', expected a whole number"),
        ("1\n\n-3\n", {}, "line 3: '-3', expected a whole number"),
        ("1\nten\n", {}, "line 2: 'ten'"),
        ("5\n4\n", {}, "line 2: '4', expected no time before 5 ms"),
        ("0\n0\n", {}, "no packet after 0 ms"),
        ("1600000000000\n", {}, "ends at 1600000000000 ms"),
        ("1\n", {"bin_s": 0}, "bin_s: 0"),
        ("1\n", {"bin_s": 0.0005}, "bin_s: 0.0005"),
        ("1\n", {"bin_s": np.nan}, "bin_s: nan"),
    ],
)
def test_bad_mahimahi_is_refused(tmp_path, content, options, said):
    if content is not None:
        (tmp_path / "link").write_text(content)
    with pytest.raises(ValueError, match=said):
        read_mahimahi(tmp_path / "link", **options)


HEAD = "time_s,bandwidth_mbit_s\n"


@pytest.mark.parametrize(
    "content, options, said",
    [
        (None, {}, "log.csv cannot be read"),
        ("", {}, "log.csv is empty"),
        (HEAD, {}, "log.csv is empty"),
        ("time_s,speed\n0,1\n", {}, "no column 'bandwidth_mbit_s', its columns are time_s, speed"),
        (HEAD + "0,1\n1,x\n", {}, "line 3: '1,x', expected numbers"),
        (HEAD + "0,1\n1\n", {}, "line 3: '1', expected numbers"),
        (HEAD + "2,1\n1,1\n", {}, "line 3: '1,1', expected a finite time_s after 2"),
        (HEAD + "1,1\n1,1\n", {}, "line 3: '1,1'"),
        (HEAD + "nan,1\n", {}, "line 2: 'nan,1', expected a finite time_s"),
        (HEAD + "0,0\n", {}, "line 2: '0,0', expected a positive, finite bandwidth_mbit_s"),
        (HEAD + "0,-1\n", {"floor": 1}, "line 2: '0,-1', expected a positive"),
        (HEAD + "0,nan\n", {"floor": 1}, "line 2: '0,nan', expected a positive"),
        (HEAD + "0,inf\n", {}, "line 2: '0,inf'"),
        (HEAD + "0,1\n", {"unit": "MB/s"}, "unit: 'MB/s', expected one of bit/s"),
        (HEAD + "0,1\n", {"time_unit": "h"}, "time_unit: 'h'"),
        (HEAD + "0,1\n", {"floor": 0}, "floor: 0"),
        (HEAD + "0,1\n9,1\n", {"end": 9}, "end: 9"),
    ],
)
def test_bad_csv_is_refused(tmp_path, content, options, said):
    if content is not None:
        (tmp_path / "log.csv").write_text(content)
    with pytest.raises(ValueError, match=said):
        read_csv(tmp_path / "log.csv", **options)


def test_what_is_not_text_is_refused(tmp_path):
    (tmp_path / "log").write_bytes(b"\xff\xfe\x00\x01")
    for read in (read_csv, read_mahimahi):
        with pytest.raises(ValueError, match="log is not text"):
            read(tmp_path / "log")
    for write, options in ((write_csv, {"unit": "baud"}), (write_mahimahi, {})):
        with pytest.raises(ValueError, match=r"unit: 'baud'|at least 1 ms"):
            write(Trace("short", [0.0], [1.0], 1e-4), tmp_path / "no", **options)
    assert not (tmp_path / "no").exists()


def test_markov_trace_holds_its_levels_for_exponential_times():
    trace = markov_trace(rng(1), 60_000, (1e6, 2e6, 4e6), 30.0)
    assert set(trace.bandwidth) == {1e6, 2e6, 4e6} and trace.duration == 60_000
    assert (np.diff(trace.bandwidth) != 0).all()
    held = np.diff(trace.times)
    assert stats.kstest(held, stats.expon(scale=30).cdf).pvalue > 1e-3
    t = np.arange(0, 60_000)
    for level in (1e6, 2e6, 4e6):
        assert (trace.at(t) == level).mean() == pytest.approx(1 / 3, abs=0.06)
    assert markov_trace(rng(1), 60_000, (1e6, 2e6, 4e6), 30.0).times.tolist() == trace.times.tolist()
    assert markov_trace(rng(), 100, (3.0,), 1.0).mean == pytest.approx(3)


def test_walking_trace_is_the_process_it_says():
    wide = (1e-9, 1e15)
    trace = walking_trace(rng(2), 40_000, median=1e6, deviation=0.5, memory=20, fade_every=1e12, limits=wide)
    z = np.log(trace.bandwidth / 1e6) / 0.5
    assert abs(z.mean()) < 0.15 and z.std() == pytest.approx(1, abs=0.1)
    assert np.corrcoef(z[10:], z[:-10])[0, 1] == pytest.approx(np.exp(-10 / 20), abs=0.05)
    faded = walking_trace(rng(2), 40_000, median=1e6, deviation=0.0, depth=0.1, limits=wide)
    assert set(np.round(faded.bandwidth, 3)) == {1e5, 1e6}
    assert (faded.bandwidth < 5e5).mean() == pytest.approx(4 / 64, abs=0.015)
    default = walking_trace(rng(3), 5000)
    assert default.bandwidth.min() >= 4 * MBIT and default.bandwidth.max() <= 100 * MBIT


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: markov_trace(rng(), 0), "duration: 0"),
        (lambda: markov_trace(rng(), dwell=-1), "dwell: -1"),
        (lambda: markov_trace(rng(), levels=(1, 0)), "levels"),
        (lambda: markov_trace(rng(), levels=()), "levels"),
        (lambda: walking_trace(rng(), step=0), "step: 0"),
        (lambda: walking_trace(rng(), depth=0), "0 < depth"),
        (lambda: walking_trace(rng(), limits=(2, 1)), "low <= high"),
    ],
)
def test_bad_links_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_the_example_files_are_the_generators():
    """They are of our own making: this is how."""
    mahimahi, table = example_files()
    tram = walking_trace(rng(11), 12, 0.5, 7 * MBIT, 0.3, memory=5, fade_every=1e9, limits=(4.5 * MBIT, 15 * MBIT))
    read = read_mahimahi(mahimahi)
    assert read.duration == 12 and np.abs(read.bandwidth - tram.bandwidth).max() <= PACKET / 0.5 + 1
    stroll = walking_trace(rng(12), 600, 4, 30 * MBIT, memory=60, fade_every=120, fade_s=15)
    read = read_csv(table)
    assert read.duration == 600 and np.abs(read.bandwidth - stroll.bandwidth).max() <= 0.00501 * MBIT


# --- online -----------------------------------------------------------------------------------------------------------

LINK = walking_trace(rng(5), 500)


@pytest.fixture(scope="module")
def arrived() -> Stream:
    return stream(dag(), LINK, rng(1), 300)


def test_poisson_arrivals():
    gaps = np.diff(poisson(3000, 4.0, rng(2)), prepend=0)
    assert (gaps > 0).all() and stats.kstest(gaps, stats.expon(scale=0.25).cdf).pvalue > 1e-3


def test_conditions_are_log_uniform_and_drift():
    ranges = Ranges()
    low, high = np.log([getattr(ranges, "down_over_up" if q == "B_down" else q) for q in STATE]).T
    for memory in (0, 10):
        # Far apart, every draw is a new one; a hundred relaxation times between two.
        u = (np.log(conditions(np.arange(2000) * 1000.0, rng(3), ranges, memory)) - low) / (high - low)
        assert u.min() >= -1e-9 and u.max() <= 1 + 1e-9
        for q in range(len(STATE)):
            assert stats.kstest(u[:, q], "uniform").pvalue > 1e-4
    near = (np.log(conditions(np.arange(20_000) * 1.0, rng(4), ranges, 10.0)) - low) / (high - low)
    # cos(pi u) is the slowest mode: its correlation is exp(-lag / memory).
    for q in range(len(STATE)):
        mode = np.cos(np.pi * near[:, q])
        assert np.corrcoef(mode[8:], mode[:-8])[0, 1] == pytest.approx(np.exp(-0.8), abs=0.08)
    with pytest.raises(ValueError, match="memory: -1"):
        conditions([0.0], rng(), ranges, -1)


def test_tasks_meet_the_link_at_their_arrival(arrived):
    f = dict(zip(feature_names(arrived.graph), arrived.tasks.T))
    np.testing.assert_array_equal(f["B_up"], LINK.at(arrived.arrivals))
    ratio = f["B_down"] / f["B_up"]
    assert ratio.min() >= 1 - 1e-9 and ratio.max() <= 3 + 1e-9
    np.testing.assert_array_equal(arrived.optimum, solve(arrived.graph, arrived.tasks).delays)
    assert arrived.seen(0) is arrived.tasks
    seen = dict(zip(feature_names(arrived.graph), arrived.seen(7.0).T))
    for i, t in enumerate(arrived.arrivals):
        assert seen["B_up"][i] == LINK.at(7.0 * (t // 7.0))
    np.testing.assert_allclose(seen["B_down"] / seen["B_up"], ratio)
    same = [q for q in f if q not in ("B_up", "B_down")]
    assert all((seen[q] == f[q]).all() for q in same)


def test_what_is_simulated_is_the_delay_model(arrived):
    x = rng(6).integers(0, 3, (300, arrived.graph.n))
    policies = {"given": [(3, lambda graph, tasks: x)], "exact": [("", None)], "all_edge": [("", None)]}
    table = simulate(arrived, policies)
    assert list(table.columns) == [
        "trace", "policy", "seed", "task", "arrival_s", "delay_ms", "regret", "waiting_ms", "decision_ms", "total_ms", "optimum_ms",
    ]  # fmt: skip
    part = {name: table[table.policy == name] for name in policies}
    true = 1e3 * delay(arrived.graph, arrived.tasks, x)
    assert part["given"].delay_ms.sum() == pytest.approx(true.sum(), rel=1e-12)
    np.testing.assert_allclose(part["given"].regret, true / (1e3 * arrived.optimum) - 1)
    assert (part["given"].seed == 3).all() and (part["given"].task == np.arange(300)).all()
    assert (part["exact"].regret == 0).all() and (part["exact"].total_ms == part["exact"].optimum_ms).all()
    assert (table.regret >= 0).all() and (table.waiting_ms == 0).all() and (table.decision_ms == 0).all()
    assert set(simulate(arrived).policy) == set(policies_for(arrived.graph))


def test_stale_measurements_cost_even_the_exact_solver(arrived):
    stale = simulate(arrived, {"exact": [("", None)], "all_cloud": [("", None)]}, measure_every=20.0)
    exact = stale[stale.policy == "exact"]
    # The decision is the best for what was seen, the delay what the true link gives.
    x = solve(arrived.graph, arrived.seen(20.0)).placements
    np.testing.assert_allclose(exact.delay_ms, 1e3 * delay(arrived.graph, arrived.tasks, x))
    assert exact.regret.mean() > 1e-3 and (exact.regret >= 0).all()
    fresh = simulate(arrived, {"all_cloud": [("", None)]})
    assert stale[stale.policy == "all_cloud"].total_ms.tolist() == fresh.total_ms.tolist()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=40))
def test_waiting_is_lindleys_recursion(pairs):
    gaps, service = np.array(pairs).T
    arrivals, free, expected = np.cumsum(gaps), 0.0, []
    for a, s in zip(arrivals, service):
        expected.append(max(0.0, free - a))
        free = max(free, a) + s
    np.testing.assert_allclose(waiting(arrivals, service), expected, atol=1e-9)


def test_the_queue_in_closed_form():
    policies = {"all_edge": [("", None)], "exact": [("", None)]}
    apart = stream(dag(), LINK, rng(7), arrivals=np.arange(50) * 100.0)
    table = simulate(
        apart, policies, queue=True, slowness=10, decision_us={"all_edge": 1000.0, "exact": 2000.0, "other": 5}
    )
    assert (table.waiting_ms == 0).all()
    np.testing.assert_allclose(table.total_ms, table.delay_ms + np.where(table.policy == "exact", 20.0, 10.0))
    together = stream(dag(), LINK, rng(7), arrivals=np.zeros(50))
    table = simulate(together, policies, queue=True, slowness=2, decision_us={"all_edge": 1000.0, "exact": 0.0})
    for name, spent in (("all_edge", 2.0), ("exact", 0.0)):
        part = table[table.policy == name]
        np.testing.assert_allclose(part.waiting_ms, np.cumsum(part.delay_ms + spent) - part.delay_ms - spent, atol=1e-6)
        np.testing.assert_allclose(part.total_ms, np.cumsum(part.delay_ms + spent))
        np.testing.assert_allclose(part.optimum_ms, 1e3 * np.cumsum(together.optimum))


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda s: simulate(s, {"mine": [("", lambda graph, tasks: tasks[:, :3])]}), "policy 'mine': returned shape"),
        (
            lambda s: simulate(s, {"mine": [("", lambda graph, tasks: np.full((300, 10), 3))]}),
            "policy 'mine': placement",
        ),
        (lambda s: simulate(s, {"none": [("", None)]}), "policy: 'none'"),
        (lambda s: simulate(s, measure_every=-1), "measure_every: -1"),
        (lambda s: simulate(s, slowness=np.nan), "slowness: nan"),
        (lambda s: simulate(s, decision_us={"greedy": 1}), "decision_us: None for 'all_device'"),
        (lambda s: stream(dag(), LINK, rng(), rate=0), "rate: 0"),
        (lambda s: stream(dag(), LINK, rng(), arrivals=[]), "arrivals: shape"),
        (lambda s: stream(dag(), LINK, rng(), arrivals=[2.0, 1.0]), "arrivals: negative or decreasing"),
        (lambda s: curves(simulate(s, {"exact": [("", None)]}), 0, 10, rng()), "points, every: 0"),
    ],
)
def test_bad_input_is_refused(arrived, call, said):
    with pytest.raises(ValueError, match=said):
        call(arrived)


def made_up(regret, policies=("a",), seeds=("",)) -> pd.DataFrame:
    """A simulation with given regrets (S,), the same for every policy and seed but for a factor; optimum 100 ms."""
    t = np.arange(1, len(regret) + 1.0)
    frames = []
    for p, policy in enumerate(policies):
        for k, seed in enumerate(seeds):
            r = regret * (1 + p + k)
            row = {"trace": "t", "policy": policy, "seed": seed, "task": np.arange(len(r)), "arrival_s": t, "regret": r}
            frames.append(pd.DataFrame(row | {"total_ms": 100 * (1 + r), "optimum_ms": 100.0}))
    return pd.concat(frames, ignore_index=True)


def test_curves_are_sums_over_time():
    regret = rng(8).exponential(size=1000)
    table = curves(made_up(regret, ("b", "a"), (0, 1)), 10, 50, rng())
    assert table.policy.tolist() == ["b"] * 10 + ["a"] * 10 and (table.seeds == 2).all()
    for row in table.itertuples():
        part = regret[: row.tasks] * {"b": 1.5, "a": 2.5}[row.policy]
        assert row.beyond_s == pytest.approx(0.1 * part.sum()) and row.regret_mean == pytest.approx(part.mean())
        assert row.mean_total_ms == pytest.approx(100 * (1 + part.mean()))
        assert row.tasks == (np.arange(1, 1001) <= row.time_s).sum()
        enough = row.time_s > 1000 / 10 * (FEWEST_BLOCKS - 0.5)
        assert np.isfinite([row.regret_low, row.regret_high, row.beyond_low_s]).all() == enough
    totals = summary(made_up(regret, ("b", "a"), (0, 1)), 50, rng(), 10)
    assert totals.policy.tolist() == ["b", "a"] and (totals.tasks == 1000).all()
    np.testing.assert_allclose(totals.beyond_s, table.groupby("policy", sort=False).beyond_s.last())


def test_block_bootstrap_on_independent_tasks_is_the_normal_interval():
    regret = rng(9).exponential(size=4000)
    row = summary(made_up(regret), 2000, rng(1), 40).iloc[0]
    low, high = stats.norm.interval(0.95, regret.mean(), regret.std(ddof=1) / np.sqrt(len(regret)))
    assert row.regret_low < 1 < row.regret_high  # the true mean
    assert row.regret_high - row.regret_low == pytest.approx(high - low, rel=0.3)
    assert (row.regret_low + row.regret_high) / 2 == pytest.approx(regret.mean(), abs=0.2 * (high - low))
    assert row.beyond_low_s == pytest.approx(0.1 * 4000 * row.regret_low)


def test_block_bootstrap_knows_that_neighbours_are_alike():
    """With an autoregressive regret, the interval is as wide as theory says, not as for independent tasks."""
    shocks, regret = rng(10).standard_normal(20_000), np.zeros(20_000)
    for i in range(1, len(regret)):
        regret[i] = 0.95 * regret[i - 1] + shocks[i]
    row = summary(made_up(regret), 1000, rng(1), 40).iloc[0]
    theory = 2 * 1.96 * (1 / (1 - 0.95)) / np.sqrt(len(regret))  # long-run deviation of the mean
    assert row.regret_high - row.regret_low == pytest.approx(theory, rel=0.35)
    assert row.regret_high - row.regret_low > 3 * 2 * 1.96 * regret.std() / np.sqrt(len(regret))


def test_online_on_a_tiny_run_and_its_figure(tmp_path):
    run = get_run("tiny", str(tmp_path))
    given = [LINK.clipped(5 * MBIT, 90 * MBIT), Trace("still", [0.0], [2e6])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = online(run, given)
    keys = ["scenario", "measure_every_s", "trace", "policy"]
    assert (
        not table.duplicated([*keys, "time_s"]).any()
        and not table.drop(columns=["beyond_low_s", "beyond_high_s", "regret_low", "regret_high"]).isna().any().any()
    )
    last = table.sort_values("time_s").groupby(keys).last()
    for scenario in SCENARIOS:
        for trace in ("walking", "still"):
            assert last.loc[scenario, 0.0, trace, "exact"].regret_mean == pytest.approx(0, abs=1e-9)
        still = last.loc[scenario, 5.0, "still"], last.loc[scenario, 0.0, "still"]
        np.testing.assert_allclose(*(part.regret_mean for part in still))  # nothing to be stale about
    assert (table[table.trace == "still"].bandwidth_mbit_s.round(9) == 16).all()
    figure = plotting_online.online(table)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["walking", "still"]
    names = [text.get_text() for text in figure.axes[2].texts]
    assert "all_device" in names and len(names) == len(set(names))
    figure.savefig(tmp_path / "online.png", dpi=40)
    pd.testing.assert_frame_equal(table, online(run, given))
    for wrong in ([], [LINK, LINK]):
        with pytest.raises(ValueError, match="traces: "):
            online(run, wrong)
    with pytest.raises(ValueError, match="decision_us: no times for 'dag'"):
        online(run, given, decision_us={"fusion": {}})


def test_roles_that_are_not_trained(tmp_path):
    run = get_run("tiny", str(tmp_path))
    assert set(trained_policies(run, "chain")) == set(policies_for(chain()))
    with pytest.raises(ValueError, match="student_chain_0"):
        trained_policies(run, "chain", ["student"])
