"""Links over time: traces in and out of files, the stream of tasks, the simulation."""

from bisect import bisect_right

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from experiments.baselines import LEARNED, POLICIES, Policy, policies_for
from experiments.studies import links
from experiments.studies.links import (
    AGES,
    EXAMPLES,
    FEWEST_BLOCKS,
    PACKET,
    RATE,
    SCENARIOS,
    SETTINGS,
    Setting,
    Stream,
    Trace,
    Walk,
    drifting_state,
    excess,
    oldest_that_pays,
    online,
    read_csv,
    read_mahimahi,
    simulate,
    stream,
    uplink,
    walking_trace,
)
from kd_offload.delay import BANDWIDTH, LINKS, PROPAGATION, ROUTES, SERIAL, delay
from kd_offload.graphs import TaskGraph, dag
from kd_offload.labels import solve
from kd_offload.tasks import MBIT, STATE, Ranges, feature_names

FILES = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WIDE = (1e-9, 1e15)


def rng(seed=0):
    return np.random.default_rng(seed)


LINK = walking_trace(rng(5), 500)
FAILING = uplink("0.8_down_9", rng(7), 300)
STILL = Trace("still", [0.0], [2e6])
EXACT, CLOUD, DEVICE = (
    {name: [POLICIES[name].place]} for name in ("exact", "all_cloud", "all_device")
)


# Traces


@st.composite
def traces(draw):
    steps = draw(st.lists(st.integers(1, 5000), min_size=1, max_size=20))  # ms
    rates = st.lists(st.floats(1e3, 2e6), min_size=len(steps), max_size=len(steps))
    ends = np.cumsum(steps) / 1e3
    return Trace("drawn", [0.0, *ends[:-1]], draw(rates), ends[-1])


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


def test_a_trace_begins_anew_at_its_end():
    trace = Trace("t", [0, 1, 3], [5.0, 6.0, 7.0])
    moments = [0, 0.99, 1, 2.9, 3, 4.9, 5, 6, 8, 10, 501]
    assert trace.end == 5
    assert trace.at(moments).tolist() == [5, 5, 6, 6, 7, 7, 5, 6, 7, 5, 6]
    assert Trace("t", [0], [4.0]).at(1e6) == 4.0
    assert Trace("t", [0, 1], [5.0, 6.0], end=10).at([9.5, 10.5]).tolist() == [6, 5]
    with pytest.raises(ValueError, match="read-only"):
        trace.bandwidth[0] = 1


@pytest.mark.parametrize(
    ("times", "bandwidth", "end", "message"),
    [
        ([], [], None, "times: shape"),
        ([0, 1], [1.0], None, "times: shape"),
        ([1, 2], [1.0, 1.0], None, r"times: \[1. 2.\], expected seconds from 0 on"),
        ([0, np.nan], [1.0, 1.0], None, "times: .*nan"),
        ([0, 2, 1], [1.0, 1.0, 1.0], None, "strictly increasing"),
        ([0, 1], [1.0, -1.0], None, "bandwidth: -1.0 bytes/s at 1 s"),
        ([0, 1], [0.0, 0.0], None, "bandwidth: 0 bytes/s all the time"),
        ([0, 1], [1.0, np.nan], None, "bandwidth: nan"),
        ([0, 1], [np.inf, 1.0], None, "bandwidth: inf"),
        ([0, 1], ["a", "b"], None, "'a'"),
        ([0, 1], [1.0, 1.0], 1.0, "end: 1.0"),
        ([0, 1], [1.0, 1.0], np.inf, "end: inf"),
    ],
)
def test_a_bad_trace_is_refused(times, bandwidth, end, message):
    with pytest.raises(ValueError, match=message):
        Trace("bad", times, bandwidth, end)


@FILES
@given(st.lists(st.integers(1, 4000), min_size=1, max_size=300))
def test_mahimahi_lines_are_packets(tmp_path, lines):
    path = tmp_path / "link"
    path.write_text("".join(f"{ms}\n" for ms in sorted(lines)), encoding="utf-8")
    trace, last = read_mahimahi(path), max(lines)
    assert trace.end == last / 1e3 and trace.name == "link"
    for i, start in enumerate(trace.times):
        end = min(start + 0.5, last / 1e3)
        count = sum(round(1e3 * start) < ms <= round(1e3 * end) for ms in lines)
        assert trace.bandwidth[i] == pytest.approx(count * 1500 / (end - start))


def test_mahimahi_by_hand(tmp_path):
    path = tmp_path / "hand.up"
    path.write_text("0\n1\n1\n500\n501\n\n2000\n", encoding="utf-8")
    trace = read_mahimahi(path)
    assert (trace.name, PACKET, trace.end) == ("hand", 1500, 2.0)
    assert trace.times.tolist() == [0, 0.5, 1, 1.5]
    # Four packets; one; none: the link is down; one.
    assert trace.bandwidth.tolist() == [4 * 3000, 3000, 0, 3000]


def test_csv_columns_by_name(tmp_path):
    path = tmp_path / "log.csv"
    rows = "\ufeff# a drive\n\nsite, bandwidth_mbit_s ,time_s\nA,0.8,1\nB,0.4,1.5\n# gap\nA,1.6,3\n"
    path.write_text(rows, encoding="utf-8")
    trace = read_csv(path)
    assert trace.times.tolist() == [0, 0.5, 2] and trace.bandwidth.tolist() == [1e5, 5e4, 2e5]
    assert trace.end == 3.5 and trace.name == "log"


HEAD = "time_s,bandwidth_mbit_s\n"


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (read_mahimahi, None, "log cannot be read"),
        (read_mahimahi, "", "ms: 0 at the end"),
        (read_mahimahi, "1\n2.5\n", "ms: 2.5, expected integers"),
        (read_mahimahi, "1\n\n-3\n", "ms: -3, expected integers in order"),
        (read_mahimahi, "1\nten\n", "ms: ten, not a number"),
        (read_mahimahi, "5\n4\n", "ms: 4, expected integers in order"),
        (read_mahimahi, "1600000000000\n", "ms: 1600000000000, expected"),
        (read_mahimahi, "1e30\n", "ms: 1e\\+30"),
        (read_mahimahi, "inf\n", "ms: inf"),
        (read_mahimahi, "\udcff", "log cannot be read .*utf-8"),
        (read_csv, "\udcff", "log cannot be read .*utf-8"),
        (read_csv, "", "log cannot be read"),
        (read_csv, HEAD, "log: times: shape"),
        (read_csv, "time_s,mbit\n0,1\n", "bandwidth_mbit_s: missing, its columns are time_s"),
        (read_csv, HEAD + "0,1\n1,x\n", "log: bandwidth_mbit_s: x, not a number"),
        (read_csv, HEAD + "0,1\n1\n", "bandwidth_mbit_s: nan"),
        (read_csv, HEAD + "2,1\n1,1\n", "strictly increasing"),
        (read_csv, HEAD + "0,0\n", "log: bandwidth: 0 bytes/s all the time"),
        (read_csv, HEAD + "0,-1\n", "bandwidth: -1"),
    ],
)
def test_a_bad_log_is_refused_by_file_field_and_value(tmp_path, read, content, message):
    if content is not None:
        content = content.encode("utf-8", errors="surrogateescape")
        (tmp_path / "log").write_bytes(content)
    with pytest.raises(ValueError, match=f"trace: .*{message}"):
        read(tmp_path / "log")


def test_walking_trace_is_the_process_it_says():
    steady = Walk(median=1e6, deviation=0.5, memory=20, fade_every=1e12, limits=WIDE)
    z = np.log(walking_trace(rng(2), 40_000, steady).bandwidth / 1e6) / 0.5
    assert abs(z.mean()) < 0.15 and z.std() == pytest.approx(1, abs=0.1)
    assert np.corrcoef(z[10:], z[:-10])[0, 1] == pytest.approx(np.exp(-10 / 20), abs=0.05)
    flat = Walk(median=1e6, deviation=0.0, depth=0.1, limits=WIDE)
    faded = walking_trace(rng(2), 40_000, flat).bandwidth
    assert set(np.round(faded, 3)) == {1e5, 1e6}
    assert (faded < 5e5).mean() == pytest.approx(4 / 64, abs=0.015)
    default = walking_trace(rng(3), 5000).bandwidth
    assert default.min() >= 4 * MBIT and default.max() <= 100 * MBIT


@pytest.mark.parametrize("name", links.UPLINKS)
def test_an_uplink_is_as_its_name_says(name):
    mean, _, down = name.split("_")
    bandwidth = uplink(name, rng(1), 40_000).bandwidth / MBIT
    assert bandwidth.mean() == pytest.approx(float(mean), rel=0.1)
    assert (bandwidth == 0).mean() == pytest.approx(float(down) / 100, rel=0.3)


def test_the_example_files_are_the_generators():
    """They are of our own making: this is how."""
    limits = (4.5 * MBIT, 15 * MBIT)
    tram = Walk(0.5, 7 * MBIT, 0.3, memory=5, fade_every=1e9, limits=limits)
    made, read = walking_trace(rng(11), 12, tram), read_mahimahi(EXAMPLES[0])
    assert read.end == 12
    assert np.abs(read.bandwidth - made.bandwidth).max() <= PACKET / 0.5 + 1
    stroll = Walk(4, 30 * MBIT, memory=60, fade_every=120, fade_s=15)
    made, read = walking_trace(rng(12), 600, stroll), read_csv(EXAMPLES[1])
    assert read.end == 600 and np.abs(read.bandwidth - made.bandwidth).max() <= 0.00501 * MBIT


# The stream of tasks


@pytest.fixture(scope="module")
def arrived() -> Stream:
    return stream(dag(), LINK, rng(1), 300)


def test_the_state_is_log_uniform_and_drifts():
    names = ["down_over_up" if quantity == "B_down" else quantity for quantity in STATE]
    low, high = np.log([getattr(Ranges(), name) for name in names]).T
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
    seen = arrived.seen(0)
    now = dict(zip(feature_names(arrived.graph), seen.tasks.T))
    np.testing.assert_array_equal(now["B_up"], LINK.at(arrived.arrivals))
    ratio = now["B_down"] / now["B_up"]
    assert ratio.min() >= 1 - 1e-9 and ratio.max() <= 3 + 1e-9 and not seen.down.any()
    old = dict(zip(now, arrived.seen(7.0).tasks.T))
    measured = 7.0 * (arrived.arrivals // 7.0)
    np.testing.assert_array_equal(old["B_up"], LINK.at(measured))
    np.testing.assert_array_equal(old["f_0"], arrived.states[measured.astype(int), 0])
    assert all((old[q] == now[q]).all() for q in now if q not in STATE)


def test_of_a_link_that_was_down_the_last_rate_is_known():
    trace = Trace("t", [0.0, 2.0, 4.0, 6.0], [0.0, 5.0, 0.0, 7.0])
    arrivals = np.array([0.5, 1.5, 2.5, 4.5, 5.5, 6.5])
    states = drifting_state(np.arange(8), rng(), 60)
    seen = Stream(dag(), trace, arrivals, np.ones((6, 25)), states).seen(1.0)
    assert seen.tasks[:, 28].tolist() == [5, 5, 5, 5, 5, 7]  # before it was ever up, its first rate
    assert seen.down.tolist() == [True, True, False, True, True, False]


# The simulation


def carried_by_hand(trace: Trace, start: float, size: float) -> float:
    """When a link that starts at `start` has carried `size` bytes, one step of it after another."""
    rounds, within = divmod(start, trace.end)
    step = bisect_right(trace.times, within) - 1
    ends = [*trace.times[1:], trace.end]
    time = start
    while True:
        end, rate = rounds * trace.end + ends[step], trace.bandwidth[step]
        if rate > 0 and size <= rate * (end - time):
            return time + size / rate
        size -= rate * (end - time)
        time, step = end, step + 1
        if step == len(ends):
            rounds, step = rounds + 1, 0


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from([0, 0, 3, 20, 700])), min_size=1),
    st.integers(0, 500),
    st.integers(1, 10**6),
)
def test_a_trace_carries_bytes_step_by_step(steps, start, size):
    spans, rates = np.array(steps, float).T
    ends = np.cumsum(spans)
    if not rates.any() or size / (spans @ rates) * len(steps) > 20_000:
        return
    trace = Trace("t", [0.0, *ends[:-1]], rates, ends[-1])
    found = links._carried(links._link(trace), float(start), float(size))
    assert found == pytest.approx(carried_by_hand(trace, float(start), float(size)), rel=1e-9)


def by_hand(made: Stream, s: int, placement, free_at: dict) -> float:
    """The delay of one task over a trace, event by event in plain Python; changes `free_at`."""
    graph, workload, start = made.graph, made.workloads[s], made.arrivals[s]
    state = dict(zip(STATE, made.state(made.arrivals)[s]))
    location, finish = [0, *map(int, placement), 0], {0: start}
    for j in range(1, graph.n + 2):
        ready = start
        for e, (i, target) in enumerate(graph.edges):
            if target != j:
                continue
            arrival, size = finish[i], workload[graph.n + e]
            for link in ROUTES.get((location[i], location[j]), ()):
                begin = max(arrival, free_at.get(link, 0.0))
                if LINKS[link] == "wireless up":
                    sent = carried_by_hand(made.trace, begin, size)
                elif LINKS[link] == "wireless down":
                    sent = carried_by_hand(made.trace, begin, size / state["B_down"])
                else:
                    sent = begin + size / state[BANDWIDTH[link]]
                free_at[link] = sent
                arrival = sent + state[PROPAGATION[link]]
            ready = max(ready, arrival)
        finish[j] = ready
        if j <= graph.n:
            processor = f"processor {location[j]}"
            if SERIAL[location[j]]:
                ready = max(ready, free_at.get(processor, 0.0))
            finish[j] = ready + workload[j - 1] / state[f"f_{location[j]}"]
            free_at[processor] = finish[j]
    return finish[graph.n + 1] - start


@pytest.mark.parametrize("busy", [False, True])
def test_tasks_run_on_a_link_that_moves_and_fails(busy):
    graph = TaskGraph("five", 5, ((0, 1), (0, 2), (1, 3), (2, 3), (2, 4), (3, 5), (4, 5), (5, 6)))
    made = stream(graph, FAILING, rng(3), 60)
    placements = rng(6).integers(0, 3, (60, 5)).astype(np.int8)
    given = {"given": [lambda graph, tasks: placements]}
    found = simulate(made, given, Setting(0.0, busy))["given"][0]
    free_at = {}
    for s in range(60):
        free_at = free_at if busy else {}
        assert found[s] == pytest.approx(by_hand(made, s, placements[s], free_at), rel=1e-9)


def test_on_a_link_that_stands_still_it_is_the_delay_model(arrived):
    made = Stream(arrived.graph, STILL, arrived.arrivals, arrived.workloads, arrived.states)
    placements = rng(6).integers(0, 3, (300, arrived.graph.n))
    given = {"given": [lambda graph, tasks: placements] * 2}
    found = simulate(made, EXACT | given, Setting(0.0))
    tasks = made.seen(0).tasks
    expected = delay(arrived.graph, tasks, placements)
    np.testing.assert_allclose(found["given"], [expected, expected], rtol=1e-9)
    np.testing.assert_allclose(found["exact"][0], solve(arrived.graph, tasks).delays, rtol=1e-9)


def test_an_old_state_costs_even_the_exact_search(arrived):
    old, fresh = (simulate(arrived, EXACT | CLOUD, Setting(age)) for age in (60.0, 0.0))
    assert old["exact"].mean() > 1.01 * fresh["exact"].mean()
    np.testing.assert_array_equal(old["all_cloud"], fresh["all_cloud"])


def test_staying_puts_all_on_the_device_while_the_link_is_down():
    made = stream(dag(), FAILING, rng(4), 300)
    waits = simulate(made, CLOUD | DEVICE, Setting(5.0))
    stays = simulate(made, CLOUD | DEVICE, Setting(5.0, stay=True))
    down = made.seen(5.0).down
    assert 0 < down.sum() < 300
    np.testing.assert_array_equal(stays["all_cloud"][0, down], waits["all_device"][0, down])
    np.testing.assert_array_equal(stays["all_cloud"][0, ~down], waits["all_cloud"][0, ~down])


def test_a_queue_makes_tasks_wait(arrived):
    alone, queue = (simulate(arrived, CLOUD, Setting(0.0, busy)) for busy in (False, True))
    assert (queue["all_cloud"] >= alone["all_cloud"] - 1e-9).all()
    assert queue["all_cloud"].mean() > 1.01 * alone["all_cloud"].mean()


@pytest.mark.parametrize(
    ("policies", "age", "message"),
    [
        ({"mine": [lambda graph, tasks: tasks[:, :3]]}, 0.0, "policy 'mine': returned"),
        ({"none": [None]}, 0.0, "policy: 'none'"),
        (EXACT, -1.0, "measure_every: -1"),
    ],
)
def test_bad_input_is_refused(arrived, policies, age, message):
    with pytest.raises(ValueError, match=message):
        simulate(arrived, policies, Setting(age))


# Intervals


def excess_of(regret, blocks: int, resamples: int):
    """A task a second, with given regrets over an optimum of 100 ms."""
    best = np.full(len(regret), 0.1)
    arrivals = np.arange(1, len(regret) + 1.0)
    return excess(arrivals, (best * (1 + regret))[None], best, blocks, resamples, rng(1))


def test_block_bootstrap_on_independent_tasks_is_the_normal_interval():
    regret = rng(9).exponential(size=4000)
    found = excess_of(regret, 40, 2000)
    assert found.excess == pytest.approx(regret.mean())
    assert found.excess_low < 1 < found.excess_high  # the true mean
    low, high = stats.norm.interval(0.95, regret.mean(), regret.std(ddof=1) / np.sqrt(4000))
    assert found.excess_high - found.excess_low == pytest.approx(high - low, rel=0.3)
    middle = (found.excess_low + found.excess_high) / 2
    assert middle == pytest.approx(regret.mean(), abs=0.2 * (high - low))
    few = excess_of(regret, FEWEST_BLOCKS - 1, 50)
    assert few.excess == pytest.approx(found.excess) and np.isnan(few[1:]).all()
    with pytest.raises(ValueError, match="blocks: 0"):
        excess_of(regret, 0, 10)


def test_block_bootstrap_knows_that_neighbours_are_alike():
    """With an autoregressive regret, the interval is as wide as theory says."""
    shocks, regret = rng(10).standard_normal(20_000), np.zeros(20_000)
    for i in range(1, len(regret)):
        regret[i] = 0.95 * regret[i - 1] + shocks[i]
    found = excess_of(regret, 40, 1000)
    root, width = np.sqrt(len(regret)), found.excess_high - found.excess_low
    theory = 2 * 1.96 * (1 / (1 - 0.95)) / root  # long-run deviation of the mean
    assert width == pytest.approx(theory, rel=0.35)
    assert width > 3 * 2 * 1.96 * regret.std() / root  # not as for independent tasks


# The study

KEYS = ["scenario", "trace", "busy", "measure_every_s", "stay", "policy"]


@pytest.fixture(scope="module")
def table(tiny) -> pd.DataFrame:
    return online(tiny, [FAILING, STILL])


def test_every_policy_is_in_every_setting(table):
    assert not table.duplicated(KEYS).any()
    assert set(table.policy) == {*policies_for(dag()), *LEARNED}
    settings = table.groupby("trace").apply(lambda part: len(part[KEYS[2:5]].drop_duplicates()))
    assert settings.to_dict() == {FAILING.name: len(SETTINGS), "still": len(AGES) + 2}
    at = table.set_index(KEYS).excess.sort_index()
    for scenario in SCENARIOS:
        for trace, busy in ((FAILING.name, False), ("still", False), ("still", True)):
            assert at[scenario, trace, busy, 0.0, False, "exact"] == pytest.approx(0, abs=1e-9)
        assert (at[scenario, "still", False, 0.0, False] > -1e-9).all()


def test_neither_other_traces_nor_other_policies_change_a_row(tiny, table, monkeypatch):
    edge = Policy("mine", "heuristic", lambda graph, tasks: np.ones((len(tasks), graph.n), np.int8))
    first = {"mine": edge} | POLICIES
    for name in list(POLICIES):
        monkeypatch.delitem(POLICIES, name)
    for name, policy in first.items():
        monkeypatch.setitem(POLICIES, name, policy)
    again = pd.DataFrame(links.online_over(tiny, "dag", STILL)).set_index(KEYS)
    before = table.set_index(KEYS).loc[again.index.drop(again.query("policy == 'mine'").index)]
    pd.testing.assert_frame_equal(again.loc[before.index], before)
    mine, edge = (again.xs(policy, level="policy") for policy in ("mine", "all_edge"))
    pd.testing.assert_frame_equal(mine, edge)


def test_traces_need_different_names(tiny):
    for wrong in ([], [LINK, LINK]):
        with pytest.raises(ValueError, match="traces: "):
            online(tiny, wrong)


def test_deciding_pays_up_to_the_first_age_that_does_not_win():
    high = {"wins": [0.1, 0.2, 0.3], "late": [0.1, 0.6, 0.1], "never": [0.5, 0.1, 0.1]}
    rows = [("all_edge", age, 0.5, 0.5) for age in (0, 1, 2)]
    rows += [(p, age, 0.0, h) for p, ends in high.items() for age, h in enumerate(ends)]
    table = pd.DataFrame(rows, columns=["policy", "measure_every_s", "excess", "excess_high"])
    table = table.assign(scenario="dag", trace="t", busy=False, stay=False)
    found = oldest_that_pays(table).iloc[0]
    assert (found.wins, found.late) == (2, 0) and np.isnan(found.never)
