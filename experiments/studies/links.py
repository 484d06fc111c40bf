"""Tasks that arrive one after another over a wireless link that moves and fails.

The link follows a trace, also while a task runs: a transfer takes as long as the trace needs to
carry its bytes, and waits while the link is down. The rest of the state drifts slowly, and holds
still from a task's arrival until its result. A policy sees the state as last measured; of a link
that was down then, the last rate that was not zero.

Tasks are served alone, or queue (`busy`): a resource first finishes what earlier tasks reserved, as
where many users share an edge. No policy knows of the queue.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numba import njit

from experiments.run import ROOT, Run, generator
from experiments.scenarios import scenario
from experiments.studies.common import (
    COLUMN,
    Arrays,
    Policies,
    all_policies,
    placed,
    table_of,
)
from experiments.studies.statistics import bootstrap_means, interval
from kd_offload.delay import (
    ALWAYS_FREE,
    BANDWIDTH_INDEX,
    DOWN,
    FIRST_HOP,
    N_RESOURCES,
    N_STATE,
    PROCESSOR,
    PROPAGATION_INDEX,
    SECOND_HOP,
    UP,
)
from kd_offload.graphs import TaskGraph
from kd_offload.tasks import MBIT, STATE, Ranges, sample_tasks

# Traces: out of files, and links of our own

PACKET = 1500  # bytes of a delivery opportunity in a Mahimahi trace
BIN = 500  # ms in which we count them
LONGEST = 10**9  # ms, some eleven days: what is later is a clock time
EXAMPLES = (ROOT / "data/traces/tram.mahimahi", ROOT / "data/traces/stroll.csv")  # our own logs


@dataclass(frozen=True, eq=False)
class Trace:
    """A link's bandwidth over time, piecewise constant; at its end it begins anew.

    Parameters
    ----------
    name : str
    times : array_like of float, shape (T,), s
        From 0 on, strictly increasing.
    bandwidth : array_like of float, shape (T,), bytes/s
        From each time on; 0 while the link is down, which it may not be for good.
    end : float, optional, s
        When the trace begins anew. By default the last value holds as long as the one before it,
        or 1 s.

    Raises
    ------
    ValueError
        Naming field and value.
    """

    name: str
    times: np.ndarray
    bandwidth: np.ndarray
    end: float | None = None

    def __post_init__(self):
        times = np.array(self.times, dtype=np.float64)
        bandwidth = np.array(self.bandwidth, dtype=np.float64)
        if times.ndim != 1 or not len(times) or times.shape != bandwidth.shape:
            raise ValueError(f"times: shape {times.shape}, bandwidth {bandwidth.shape}, not (T,)")
        if not (np.isfinite(times).all() and times[0] == 0 and (np.diff(times) > 0).all()):
            raise ValueError(f"times: {times}, expected seconds from 0 on, strictly increasing")
        bad = ~(np.isfinite(bandwidth) & (bandwidth >= 0))
        if bad.any():
            value, time = bandwidth[bad][0], times[bad][0]
            raise ValueError(f"bandwidth: {value} bytes/s at {time:g} s, expected 0 or more")
        if not bandwidth.any():
            raise ValueError("bandwidth: 0 bytes/s all the time, expected a link that is ever up")
        end = self.end
        if end is None:
            end = times[-1] + (times[-1] - times[-2] if len(times) > 1 else 1.0)
        if not times[-1] < end < np.inf:
            raise ValueError(f"end: {end} s, expected a time after the last, {times[-1]:g} s")
        for array in (times, bandwidth):
            array.flags.writeable = False
        for field, value in (("times", times), ("bandwidth", bandwidth), ("end", float(end))):
            object.__setattr__(self, field, value)

    def at(self, seconds) -> np.ndarray:
        """Bandwidth in bytes/s at some times in s, of any shape."""
        within = np.mod(seconds, self.end)
        return self.bandwidth[np.searchsorted(self.times, within, side="right") - 1]


def read_mahimahi(path) -> Trace:
    """A Mahimahi trace as bandwidth in bins of BIN ms, named after its file.

    Every line is a millisecond, counted from the start, at whose end the link can deliver one
    packet of 1,500 bytes; a repeated line, several packets. The trace is as long as its last line
    says. Millisecond m belongs to the bin with bin_start < m <= bin_end; the last bin ends with the
    trace, and may be shorter. In a silent bin the link is down.

    Raises
    ------
    ValueError
        Naming file, field and value.

    References
    ----------
    R. Netravali et al., "Mahimahi: accurate record-and-replay for HTTP", USENIX ATC 2015.
    """
    ms = _numbers(path, _read(path, names=["ms"]), "ms")
    wrong = (np.diff(ms, prepend=0) < 0) | (ms != np.floor(ms)) | (ms > LONGEST)
    if wrong.any():
        raise ValueError(
            f"trace: {path}: ms: {ms[wrong][0]:.15g}, expected integers in order, up to {LONGEST}"
        )
    last = int(ms[-1]) if len(ms) else 0
    if last < 1:
        raise ValueError(f"trace: {path}: ms: {last} at the end, expected 1 or more")
    starts = np.arange(0, last, BIN)
    bins = (np.maximum(ms.astype(int), 1) - 1) // BIN
    packets = np.bincount(bins, minlength=len(starts))
    seconds = np.diff(starts, append=last) / 1e3
    return Trace(Path(path).stem, starts / 1e3, packets * PACKET / seconds, last / 1e3)


def read_csv(path) -> Trace:
    """A trace from columns time_s and bandwidth_mbit_s of a CSV file, named after its file.

    The first time becomes 0. Empty lines and what follows a # are passed over, other columns
    ignored.

    Raises
    ------
    ValueError
        Naming file, field and value.
    """
    table = _read(path).rename(columns=str.strip)
    times = _numbers(path, table, "time_s")
    bandwidth = _numbers(path, table, "bandwidth_mbit_s") * MBIT
    try:
        return Trace(Path(path).stem, times - times[:1], bandwidth)
    except ValueError as error:
        raise ValueError(f"trace: {path}: {error}") from None


def _read(path, **options) -> pd.DataFrame:
    try:
        options |= {"comment": "#", "skipinitialspace": True, "index_col": False, "dtype": str}
        return pd.read_csv(path, encoding="utf-8-sig", **options)
    except (OSError, ValueError) as error:  # pandas' own and unicode's errors are ValueErrors
        raise ValueError(f"trace: {path} cannot be read ({error})") from None


def _numbers(path, table: pd.DataFrame, field: str) -> np.ndarray:
    if field not in table:
        raise ValueError(f"trace: {path}: {field}: missing, its columns are {', '.join(table)}")
    values = pd.to_numeric(table[field], errors="coerce").to_numpy(dtype=float)
    bad = np.isnan(values)
    if bad.any():
        raise ValueError(f"trace: {path}: {field}: {table[field][bad].iloc[0]}, not a number")
    return values


@dataclass(frozen=True)
class Walk:
    """A walk with a phone: shadowing, and fades.

    Without fades, the logarithm of the bandwidth has mean log(median), standard deviation
    `deviation` and correlation exp(-lag / memory): an Ornstein-Uhlenbeck process, the shadowing of
    M. Gudmundson, "Correlation model for shadow fading in mobile radio systems", Electronics
    Letters 27, 1991.
    """

    step: float = 1.0  # s between two values
    median: float = 25 * MBIT  # bytes/s
    deviation: float = 0.7  # of the logarithm
    memory: float = 30.0  # s
    fade_every: float = 60.0  # s from a fade to the next, on average
    fade_s: float = 4.0  # s that a fade lasts, on average; both are exponential
    depth: float = 0.2  # share of the bandwidth that a fade leaves
    limits: tuple[float, float] = Ranges().B_up  # least and largest bandwidth, bytes/s


def walking_trace(
    rng: np.random.Generator, duration: float, walk: Walk = Walk(), name: str = "walking"
) -> Trace:
    """A link of our own.

    Parameters
    ----------
    rng : numpy.random.Generator
    duration : float, s
    walk : Walk
    name : str

    Returns
    -------
    Trace
    """
    times = np.arange(0.0, duration, walk.step)
    kept = np.exp(-walk.step / walk.memory)
    shadowing = rng.standard_normal(len(times))
    for i in range(1, len(times)):
        shadowing[i] = kept * shadowing[i - 1] + np.sqrt(1 - kept**2) * shadowing[i]
    faded = np.zeros(len(times), bool)
    fade = rng.exponential(walk.fade_every)
    while fade < duration:
        until = fade + rng.exponential(walk.fade_s)
        faded |= (times >= fade) & (times < until)
        fade = until + rng.exponential(walk.fade_every)
    bandwidth = walk.median * np.exp(walk.deviation * shadowing)
    bandwidth = np.clip(bandwidth * np.where(faded, walk.depth, 1.0), *walk.limits)
    return Trace(name, times, bandwidth, duration)


def _uplink(mean: float, down: float) -> Walk:
    """A link of `mean` bytes/s that is down for the share `down` of the time, 3 s on average."""
    return Walk(
        step=0.5,
        median=mean / (1 - down) / np.exp(0.7**2 / 2),
        deviation=0.7,
        memory=10.0,
        fade_every=3.0 * (1 - down) / down,
        fade_s=3.0,
        depth=0.0,
        limits=(0.0, np.inf),
    )


# Links with the statistics of public uplink traces: Mbit/s on average, share of the time down.
UPLINKS = {
    "0.8_down_9": _uplink(0.83 * MBIT, 0.09),
    "6_down_2": _uplink(5.95 * MBIT, 0.02),
    "13_down_1": _uplink(13.3 * MBIT, 0.01),
}


def uplink(name: str, rng: np.random.Generator, duration: float) -> Trace:
    """One of UPLINKS, of `duration` s."""
    return walking_trace(rng, duration, UPLINKS[name], name)


def own_traces(run: Run) -> list[Trace]:
    """The traces of `online`: UPLINKS and a walk, as long as its tasks arrive, and two logs."""
    duration = run.profile.online_tasks / RATE
    traces = [uplink(name, generator(run, name), duration) for name in UPLINKS]
    traces.append(walking_trace(generator(run, "walking"), duration))
    return [*traces, read_mahimahi(EXAMPLES[0]), read_csv(EXAMPLES[1])]


# Tasks over time

RATE = 0.5  # tasks/s
MEMORY = 60.0  # s, of the state


class Seen(NamedTuple):
    """What policies know when tasks arrive."""

    tasks: np.ndarray  # (S, F), the state as last measured
    down: np.ndarray  # bool (S,): the link was down then


@dataclass(frozen=True, eq=False)
class Stream:
    """Tasks in the order of their arrival, the same for all policies."""

    graph: TaskGraph
    trace: Trace
    arrivals: np.ndarray  # (S,) s
    workloads: np.ndarray  # (S, n + edges), SI units
    states: np.ndarray  # (T, 8) at 0, 1, 2, ... s, see `drifting_state`

    def state(self, seconds: np.ndarray) -> np.ndarray:
        """The state (T, 8) at times (T,) s, B_up as the trace has it, B_down as a ratio to it."""
        state = self.states[seconds.astype(int)]
        state[:, COLUMN["B_up"]] = self.trace.at(seconds)
        return state

    def seen(self, measure_every: float) -> Seen:
        """Tasks as policies see them, the state measured every so many s from 0 on.

        Of a link that was down, the last rate above zero is known. 0 measures at every arrival.
        """
        if not 0 <= measure_every < np.inf:
            raise ValueError(f"measure_every: {measure_every}, expected seconds, not negative")
        if measure_every:
            last = (self.arrivals // measure_every).astype(int)
            measured_at = np.arange(last[-1] + 1) * measure_every
        else:
            last = np.arange(len(self.arrivals))
            measured_at = self.arrivals
        state = self.state(measured_at)
        up = state[:, COLUMN["B_up"]] > 0
        last_up = np.maximum.accumulate(np.where(up, np.arange(len(up)), -1))
        rate = state[last_up, COLUMN["B_up"]]
        rate[last_up < 0] = self.trace.bandwidth[self.trace.bandwidth > 0][0]  # not up so far
        state[:, COLUMN["B_up"]] = rate
        state[:, COLUMN["B_down"]] *= rate
        return Seen(np.hstack([self.workloads, state[last]]), ~up[last])


def drifting_state(times: np.ndarray, rng: np.random.Generator, memory: float) -> np.ndarray:
    """The state (T, 8) at increasing times (T,) s; column B_down holds the ratio B_down / B_up.

    Each quantity's logarithm is a Brownian motion reflected at the ends of its range, of relaxation
    time `memory` s: at every moment log-uniform, as in the training data, but alike in neighbouring
    tasks.
    """
    names = ["down_over_up" if quantity == "B_down" else quantity for quantity in STATE]
    low, high = np.log([getattr(Ranges(), name) for name in names]).T
    # On [0, 1], the slowest mode of a reflected Brownian motion decays at (pi sigma)^2 / 2.
    sigma = np.sqrt(2 * np.diff(times, prepend=times[0]) / memory) / np.pi
    start = rng.uniform(size=N_STATE)
    steps = sigma[:, None] * rng.standard_normal((len(times), N_STATE))
    free = start + np.cumsum(steps, axis=0)
    reflected = 1 - np.abs(1 - free % 2)
    return np.exp(low + reflected * (high - low))


def stream(graph: TaskGraph, trace: Trace, rng: np.random.Generator, count: int) -> Stream:
    """`count` random tasks that arrive while the link follows `trace`, as a Poisson process."""
    arrivals = np.cumsum(rng.exponential(1 / RATE, count))
    workloads = sample_tasks(graph, count, rng)[:, :-N_STATE]
    states = drifting_state(np.arange(arrivals[-1] + 1), rng, MEMORY)
    return Stream(graph, trace, arrivals, workloads, states)


# The simulation


class Setting(NamedTuple):
    """How tasks are decided and served."""

    measure_every_s: float  # 0: at every arrival
    busy: bool = False  # do tasks queue?
    stay: bool = False  # does all stay on the device while the link is known to be down?


class _Link(NamedTuple):
    """A trace, for compiled code."""

    times: np.ndarray  # (T,)
    rates: np.ndarray  # (T,) bytes/s
    carried: np.ndarray  # (T + 1,): bytes until each time, and until the trace begins anew
    end: float


def _link(trace: Trace) -> _Link:
    spans = np.diff(trace.times, append=trace.end)
    carried = np.concatenate([[0.0], np.cumsum(spans * trace.bandwidth)])
    return _Link(trace.times, trace.bandwidth, carried, trace.end)


class _Tasks(NamedTuple):
    """A graph and a stream of its tasks, for compiled code."""

    n: int
    first: np.ndarray
    source: np.ndarray
    arrivals: np.ndarray
    workloads: np.ndarray
    states: np.ndarray


@njit(cache=True)
def _carried(link, start, size):
    """When a link that starts at `start` has carried `size` bytes, above 0."""
    rounds, within = start // link.end, start % link.end
    step = np.searchsorted(link.times, within, side="right") - 1
    size += link.carried[step] + link.rates[step] * (within - link.times[step])  # since the round
    whole = link.carried[-1]
    more = np.ceil(size / whole) - 1
    size -= more * whole
    if size <= 0:  # rounding: the end of a round, not the beginning of the next
        size = whole
        more -= 1
    size = min(size, whole)
    step = np.searchsorted(link.carried, size) - 1  # up in this step, since its bytes grow here
    left = (size - link.carried[step]) / link.rates[step]
    return (rounds + more) * link.end + link.times[step] + left


@njit(cache=True)
def _cross(hop, ready, size, state, link, free_at):
    """When `size` bytes that are ready at `ready` are across one hop, which they reserve."""
    start = max(ready, free_at[hop])
    if hop == UP:
        sent = _carried(link, start, size)
    elif hop == DOWN:  # the state holds the ratio of its rate to the uplink's
        sent = _carried(link, start, size / state[BANDWIDTH_INDEX[hop]])
    else:
        sent = start + size / state[BANDWIDTH_INDEX[hop]]
    free_at[hop] = sent
    return sent + state[PROPAGATION_INDEX[hop]]


@njit(cache=True)
def _result(tasks, s, placement, link, finish, free_at):
    """When the result of task s arrives: the rules of `delay.delay_kernel`, on a clock."""
    n, state = tasks.n, tasks.states[s]
    finish[0] = tasks.arrivals[s]
    for j in range(1, n + 2):
        location = placement[j - 1] if j <= n else 0
        ready = finish[0]
        for e in range(tasks.first[j], tasks.first[j + 1]):
            i = tasks.source[e]
            origin = placement[i - 1] if i > 0 else 0
            arrival = finish[i]
            for hop in (FIRST_HOP[origin, location], SECOND_HOP[origin, location]):
                if hop != ALWAYS_FREE:
                    size = tasks.workloads[s, n + e]
                    arrival = _cross(hop, arrival, size, state, link, free_at)
            ready = max(ready, arrival)
        if j > n:
            return ready
        processor = PROCESSOR[location]
        start = max(ready, free_at[processor])
        finish[j] = start + tasks.workloads[s, j - 1] / state[location]
        if processor != ALWAYS_FREE:
            free_at[processor] = finish[j]
    return np.nan


@njit(cache=True)
def _serve(tasks, placements, busy, link, delays):
    """Delays (S,) s of tasks in the order of their arrival, placed at (S, n): into `delays`."""
    finish, free_at = np.empty(tasks.n + 1), np.zeros(N_RESOURCES)
    for s in range(len(placements)):
        if not busy:
            free_at[:] = 0.0
        delays[s] = _result(tasks, s, placements[s], link, finish, free_at) - tasks.arrivals[s]


def simulate(stream: Stream, policies: Policies, setting: Setting) -> Arrays:
    """Delays of every policy on the same stream of tasks.

    Parameters
    ----------
    stream : Stream
    policies : dict of str to list of callable
    setting : Setting

    Returns
    -------
    dict of str to numpy.ndarray of float64, shape (K, S), s
        By policy, for K training seeds.

    Raises
    ------
    ValueError
        For placements of a wrong shape or value, and a bad time between measurements.
    """
    graph = stream.graph
    seen = stream.seen(setting.measure_every_s)
    tasks = _Tasks(
        graph.n, graph.first, graph.source,
        stream.arrivals, stream.workloads, stream.state(stream.arrivals),
    )  # fmt: skip
    link = _link(stream.trace)
    delays = {}
    for policy, by_seed in placed(policies, graph, seen.tasks).items():
        if setting.stay:
            by_seed[:, seen.down] = 0
        delays[policy] = np.empty(by_seed.shape[:2])
        for placements, out in zip(by_seed, delays[policy]):
            _serve(tasks, placements, setting.busy, link, out)
    return delays


# The study

SCENARIOS = ("dag", "fusion")
AGES = (0.0, 5.0, 20.0, 60.0, 300.0)  # s between two measurements
USUAL = 5.0  # of these
SETTINGS = (
    *(Setting(age) for age in AGES),
    Setting(USUAL, stay=True),
    Setting(0.0, busy=True),
    Setting(USUAL, busy=True),
)
FEWEST_BLOCKS = 8  # below, a bootstrap over blocks says nothing, and the interval is left empty


class Excess(NamedTuple):
    """Total delay over a reference's, minus 1, and the ends of its 95 % interval."""

    excess: float
    excess_low: float
    excess_high: float


def online(run: Run, traces: list[Trace] | None = None) -> pd.DataFrame:
    """Every policy on SCENARIOS and traces, in all SETTINGS.

    Parameters
    ----------
    run : Run
    traces : list of Trace, optional
        By default `own_traces`; your own logs are read by `read_mahimahi` and `read_csv`. The
        paper's student was trained for 4 to 100 Mbit/s, `anygraph` for 0.1 to 200.

    Returns
    -------
    pandas.DataFrame
        scenario, trace, busy, measure_every_s, stay (see `Setting`), policy, seeds, mean_ms
        (delay), and excess, excess_low, excess_high: total delay over that of the exact search that
        knows the state at every arrival, minus 1.

    Raises
    ------
    ValueError
        For no trace, and two of one name.
    """
    traces = own_traces(run) if traces is None else traces
    names = [trace.name for trace in traces]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"traces: {names}, expected one or more, of different names")
    return table_of(online_over, [(run, name, t) for name in SCENARIOS for t in traces], "online")


def online_over(run: Run, name: str, trace: Trace) -> list[dict]:
    """The rows of `online` for one scenario and trace."""
    profile, cell = run.profile, f"{name} {trace.name}"
    tasks = stream(scenario(name).graph, trace, generator(run, cell), profile.online_tasks)
    policies = all_policies(run, name)
    exact = {"exact": policies["exact"]}
    best = {busy: simulate(tasks, exact, Setting(0.0, busy))["exact"][0] for busy in (False, True)}
    rows = []
    for setting in SETTINGS:
        if setting.stay and trace.bandwidth.all():
            continue  # the link is never down
        for policy, delays in simulate(tasks, policies, setting).items():
            rng = generator(run, f"{cell} blocks")  # the same draws for all: paired
            above = excess(
                tasks.arrivals, delays, best[setting.busy],
                profile.online_points, profile.resamples, rng,
            )  # fmt: skip
            row = {"scenario": name, "trace": trace.name} | setting._asdict()
            row |= {"policy": policy, "seeds": len(delays), "mean_ms": 1e3 * delays.mean()}
            rows.append(row | above._asdict())
    return rows


def excess(
    arrivals: np.ndarray,
    delays: np.ndarray,
    best: np.ndarray,
    blocks: int,
    resamples: int,
    rng: np.random.Generator,
) -> Excess:
    """Total delay over a reference's, with a paired bootstrap over blocks of time and over seeds.

    Neighbouring tasks meet the same link and state, so tasks resampled one by one would give an
    interval too narrow (E. Carlstein, Annals of Statistics 14, 1986). Blocks must outlast the
    link's memory; fewer than FEWEST_BLOCKS give NaN.

    Parameters
    ----------
    arrivals : numpy.ndarray of float64, shape (S,), s
    delays : numpy.ndarray of float64, shape (K, S), s
    best : numpy.ndarray of float64, shape (S,), s
        The reference's delays.
    blocks, resamples : int
    rng : numpy.random.Generator
    """
    if blocks < 1:
        raise ValueError(f"blocks: {blocks}, expected a positive integer")
    block = (arrivals / (arrivals[-1] * (1 + 1e-12)) * blocks).astype(int)
    reference = np.bincount(block, best, blocks)[None]
    totals = np.array([np.bincount(block, seed, blocks) for seed in delays])
    mean = totals.sum(axis=1).mean() / reference.sum() - 1
    if blocks < FEWEST_BLOCKS:
        return Excess(mean, np.nan, np.nan)
    drawn = bootstrap_means([reference, totals], resamples, rng)
    low, high = interval(drawn[:, 1] / drawn[:, 0] - 1)
    return Excess(mean, low, high)


def oldest_that_pays(table: pd.DataFrame) -> pd.DataFrame:
    """How old a state may be: up to which time between measurements, of those tried, a policy's
    total delay is significantly less than the best fixed placement's.

    Parameters
    ----------
    table : pandas.DataFrame
        That of `online`.

    Returns
    -------
    pandas.DataFrame
        In s, by scenario and trace (rows) and policy (columns); NaN where it never is.
    """
    alone = table[~(table.busy | table.stay)]
    keys = ["scenario", "trace"]
    fixed = alone[alone.policy.str.startswith("all_")]
    fixed = fixed.groupby(keys).excess.min()
    high = alone.pivot_table("excess_high", keys + ["policy"], "measure_every_s")
    wins = high.lt(fixed.reindex(high.index.droplevel("policy")).to_numpy(), axis=0)
    in_a_row = wins.cumprod(axis=1).sum(axis=1)
    ages = np.array([np.nan, *wins.columns])
    return pd.Series(ages[in_a_row], wins.index).unstack("policy")
