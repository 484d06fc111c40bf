"""Tasks that arrive online over a link that moves and fails, decided on a state that may be old.

Tasks come as a Poisson process, each one fresh. The wireless link follows a trace, also while a
task runs: a transfer takes as long as the trace needs to carry its bytes, and waits while the link
is down. The other quantities of the state drift slowly, and hold still from a task's arrival until
its result. A policy sees the state as last measured; of a link that was down then, the last rate
that was not zero.

Tasks are served alone, or `busy`: then they queue, and a resource first finishes what earlier tasks
reserved, as where many users share an edge. A policy does not know of the queue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numba import njit

from experiments.run import ROOT, Run
from kd_offload.delay import ALWAYS_FREE, TAU, SECOND_HOP, FIRST_HOP
from kd_offload.graphs import TaskGraph
from experiments.parallel import in_parallel
from experiments.scenarios import scenario
from kd_offload.tasks import MBIT, STATE, Ranges, sample_tasks
from experiments.studies.conditions import Policies, all_policies, placed
from experiments.studies.statistics import bootstrap_means, interval
from experiments.studies.traces import (
    UPLINKS,
    Trace,
    read_csv,
    read_mahimahi,
    uplink,
    walking_trace,
)

SCENARIOS = ("dag", "fusion")
EXAMPLES = (ROOT / "data/traces/tram.mahimahi", ROOT / "data/traces/stroll.csv")  # our own logs
SHOWN = (
    "all_device", "all_edge", "all_cloud", "greedy", "best_single", "lookahead_joins", "beam_8",
    "exact", "teacher", "student", "anygraph",
)  # fmt: skip
RATE = 0.5  # tasks/s
AGES = (0.0, 5.0, 20.0, 60.0, 300.0)  # s between two measurements; 0: one at every arrival
USUAL = 5.0  # the one of the figure over time
MEMORY = 60.0  # s, of the state
FEWEST_BLOCKS = 8  # below, a bootstrap over blocks says nothing, and the interval is left empty
UP, DOWN = STATE.index("B_up") - len(STATE), STATE.index("B_down") - len(STATE)  # of a task vector


@dataclass(frozen=True, eq=False)
class Stream:
    """Tasks in the order of their arrival, the same for all policies."""

    graph: TaskGraph
    trace: Trace
    arrivals: np.ndarray  # (S,) s
    workloads: np.ndarray  # (S, n + edges) in SI units
    states: np.ndarray  # (T, 8) at 0, 1, 2, ... s; column B_down holds the ratio B_down / B_up

    def state(self, times: np.ndarray) -> np.ndarray:
        """The drifting state (S, 8) at times (S,) s; B_up holds the trace's rate there."""
        state = self.states[times.astype(int)]
        state[:, UP] = self.trace.at(times)
        return state

    def seen(self, measure_every: float) -> tuple[np.ndarray, np.ndarray]:
        """(tasks (S, F) with the state as last measured, whether the link was down then (S,)).

        The state is measured every `measure_every` s from 0 on; 0 measures at every arrival.
        """
        if not 0 <= measure_every < np.inf:
            raise ValueError(f"measure_every: {measure_every}, expected seconds, not negative")
        when, last = self.arrivals, np.arange(len(self.arrivals))
        if measure_every:
            last = (self.arrivals // measure_every).astype(int)
            when = np.arange(last[-1] + 1) * measure_every
        state = self.state(when)
        up = state[:, UP] > 0
        known = np.maximum.accumulate(np.where(up, np.arange(len(when)), -1))
        rate = state[known, UP]
        rate[known < 0] = self.trace.bandwidth[self.trace.bandwidth > 0][0]  # down from the start
        state[:, UP] = rate
        state[:, DOWN] *= rate
        return np.hstack([self.workloads, state[last]]), ~up[last]


def drifting_state(times: np.ndarray, rng: np.random.Generator, memory: float) -> np.ndarray:
    """The state (S, 8) at increasing times (S,) s; column B_down holds the ratio B_down / B_up.

    Each quantity's logarithm is a Brownian motion reflected at the ends of its range, of relaxation
    time `memory` s: at every moment log-uniform, as in the training data, but alike in neighbouring
    tasks.
    """
    names = ("down_over_up" if quantity == "B_down" else quantity for quantity in STATE)
    low, high = np.log([getattr(Ranges(), name) for name in names]).T
    # On [0, 1], the slowest mode of a reflected Brownian motion decays at (pi sigma)^2 / 2.
    step = np.sqrt(2 * np.diff(times, prepend=times[0]) / memory) / np.pi
    start = rng.uniform(size=(len(times), len(STATE)))
    walk = start[0] + np.cumsum(step[:, None] * rng.standard_normal(start.shape), axis=0)
    return np.exp(low + (1 - np.abs(1 - walk % 2)) * (high - low))  # folded at 0 and 1


def stream(graph: TaskGraph, trace: Trace, rng: np.random.Generator, count: int) -> Stream:
    """`count` random tasks that arrive while the link follows `trace`."""
    arrivals = np.cumsum(rng.exponential(1 / RATE, count))
    workloads = sample_tasks(graph, count, rng)[:, : -len(STATE)]
    states = drifting_state(np.arange(arrivals[-1] + 1), rng, MEMORY)
    return Stream(graph, trace, arrivals, workloads, states)


@njit(cache=True)
def _carried(at, size, times, sums, rates, end):
    """When a link that starts at `at` has carried `size` bytes, above 0.

    times, rates (T,), end: the trace; sums (T + 1,): bytes that it carries until each time, and
    until it begins anew.
    """
    round_, within = at // end, at % end
    i = np.searchsorted(times, within, side="right") - 1
    size += sums[i] + rates[i] * (within - times[i])  # counted from the beginning of the round
    more = np.ceil(size / sums[-1]) - 1
    size -= more * sums[-1]
    if size <= 0:  # rounding: the end of a round, not the beginning of the next
        size, more = sums[-1], more - 1
    size = min(size, sums[-1])
    i = np.searchsorted(sums, size) - 1  # the link is up in step i, since its bytes grow there
    return (round_ + more) * end + times[i] + (size - sums[i]) / rates[i]


@njit(cache=True)
def _serve(n, first, source, workloads, states, x, arrivals, busy, trace, out):
    """Delays (S,) s of tasks, in the order of their arrival, placed at x (S, n): into `out`.

    The rules of `delay.delay_kernel`, on a clock, with the wireless links as `trace` has them.
    """
    finish, free = np.empty(n + 1), np.zeros(6)
    for s in range(len(x)):
        if not busy:
            free[:] = 0.0
        finish[0] = arrivals[s]
        for j in range(1, n + 2):
            k = x[s, j - 1] if j <= n else 0
            ready = arrivals[s]
            for e in range(first[j], first[j + 1]):
                i, size = source[e], workloads[s, n + e]
                a, at = 0 if i == 0 else x[s, i - 1], finish[i]
                for link in (FIRST_HOP[a, k], SECOND_HOP[a, k]):
                    if link == ALWAYS_FREE:
                        continue
                    at = max(at, free[link])
                    if link == 0:
                        at = _carried(at, size, *trace)
                    elif link == 1:
                        at = _carried(at, size / states[s, 4], *trace)
                    else:
                        at += size / states[s, 5]
                    free[link] = at
                    at += states[s, TAU[link]]
                ready = max(ready, at)
            if j > n:
                out[s] = ready - arrivals[s]
            else:
                if k != 2:
                    ready = max(ready, free[4 + k])
                finish[j] = ready + workloads[s, j - 1] / states[s, k]
                if k != 2:
                    free[4 + k] = finish[j]


def simulate(
    stream: Stream, policies: Policies, measure_every: float, busy: bool = False, stay: bool = False
) -> dict[str, np.ndarray]:
    """Delays (K, S) s of every policy, K training seeds, on the same stream of tasks.

    Decisions are made for the tasks as seen, see `Stream.seen`. stay: while the link is known to be
    down, everything stays on the device. Raises ValueError for placements of a wrong shape or value
    and a bad `measure_every`.
    """
    graph, trace = stream.graph, stream.trace
    seen, down = stream.seen(measure_every)
    spans = np.diff(trace.times, append=trace.end)
    sums = np.concatenate([[0.0], np.cumsum(spans * trace.bandwidth)])
    link = trace.times, sums, trace.bandwidth, trace.end
    states, delays = stream.state(stream.arrivals), {}
    for policy, xs in placed(policies, graph, seen).items():
        delays[policy] = np.empty(xs.shape[:2])
        for x, out in zip(xs, delays[policy]):
            x[down & stay] = 0
            known = graph.n, graph.first, graph.source, stream.workloads, states
            _serve(*known, x, stream.arrivals, busy, link, out)
    return delays


def excess(
    stream: Stream, delays: np.ndarray, best: np.ndarray, points: int, resamples: int, rng
) -> tuple[float, float, float]:
    """Total delay over a reference's total, minus 1, and its 95 % interval.

    delays (K, S), best (S,) s. The interval is from a paired bootstrap over `points` blocks of time
    and over training seeds: neighbouring tasks meet the same link and state, so tasks resampled one
    by one would give an interval too narrow (E. Carlstein, Annals of Statistics 14, 1986). Blocks
    must outlast the link's memory; fewer than FEWEST_BLOCKS give NaN.
    """
    if points < 1:
        raise ValueError(f"points: {points}, expected a positive integer")
    block = _blocks(stream, points)
    of, theirs = (
        np.array([np.bincount(block, d, points) for d in np.atleast_2d(part)])
        for part in (best, delays)
    )
    mean, ends = theirs.sum(1).mean() / of.sum() - 1, (np.nan, np.nan)
    if points >= FEWEST_BLOCKS:
        drawn = bootstrap_means([of, theirs], resamples, rng)
        ends = interval(drawn[:, 1:] / drawn[:, :1] - 1)[:, 0]
    return mean, *ends


def _blocks(stream: Stream, points: int) -> np.ndarray:
    """The number of each task's block of time (S,), of `points`."""
    return (stream.arrivals / (stream.arrivals[-1] * (1 + 1e-12)) * points).astype(int)


def own_traces(run: Run) -> list[Trace]:
    """The traces of `online`: three with the statistics of public uplinks and a walk, drawn for the
    whole simulation, and the two example files."""
    duration = run.profile.online_tasks / RATE
    rngs = (np.random.default_rng([run.profile.seed, k]) for k in range(9))
    return [
        *(uplink(name, next(rngs), duration) for name in UPLINKS),
        walking_trace(next(rngs), duration),
        read_mahimahi(EXAMPLES[0]),
        read_csv(EXAMPLES[1]),
    ]


def online(run: Run, traces: list[Trace] | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The policies SHOWN on SCENARIOS and traces -> (whole simulations, windows of time).

    traces: `own_traces` by default; give your own logs by `read_mahimahi` and `read_csv`. The
    paper's student was trained for 4 to 100 Mbit/s, `anygraph` for 0.1 to 200.

    Columns of the first: scenario, trace, down (share of the time), busy, measure_every_s, stay
    (see `simulate`), policy, seeds, mean_ms (delay), excess, excess_low, excess_high: total delay
    over that of the exact search that knows the state at every arrival, minus 1. The second has,
    for USUAL, served alone and without `stay`: scenario, trace, policy, time_s (a window's end),
    tasks, mean_ms, bandwidth_mbit_s (mean).
    """
    traces = own_traces(run) if traces is None else traces
    names = [trace.name for trace in traces]
    if len({*names}) < len(names) or not names:
        raise ValueError(f"traces: {names}, expected one or more, of different names")
    todo = [(run, name, k, trace) for name in SCENARIOS for k, trace in enumerate(traces)]
    both = zip(*in_parallel(_one, todo, "online"))
    whole, windows = (pd.DataFrame([row for rows in each for row in rows]) for each in both)
    return whole, windows


def _one(run: Run, name: str, k: int, trace: Trace) -> tuple[list[dict], list[dict]]:
    """`online` of one scenario and the k-th trace."""
    p = run.profile
    rng = np.random.default_rng([p.seed, SCENARIOS.index(name), k])
    tasks = stream(scenario(name).graph, trace, rng, p.online_tasks)
    known = all_policies(run, name)
    policies, whole, windows = {policy: known[policy] for policy in SHOWN}, [], []
    spans = np.diff(trace.times, append=trace.end)
    down = float(spans[trace.bandwidth == 0].sum() / trace.end)
    settings = [(False, age, False) for age in AGES] + [(False, USUAL, True)] * (down > 0)
    for busy, age, stay in [*settings, (True, 0.0, False), (True, USUAL, False)]:
        delays = simulate(tasks, policies, age, busy, stay)
        if not (age or stay):  # first of all, alone and busy
            best = delays["exact"][0]
        about = {"scenario": name, "trace": trace.name}
        for policy, of in delays.items():
            ends = excess(tasks, of, best, p.online_points, p.resamples, rng)
            setting = {"down": down, "busy": busy, "measure_every_s": age, "stay": stay}
            row = {"policy": policy, "seeds": len(of), "mean_ms": 1e3 * of.mean()}
            row |= zip(("excess", "excess_low", "excess_high"), ends)
            whole.append(about | setting | row)
            if (busy, age, stay) == (False, USUAL, False):
                windows += [about | {"policy": policy} | row for row in _windows(tasks, of, p)]
    return whole, windows


def _windows(stream: Stream, delays: np.ndarray, profile) -> list[dict]:
    """Mean delay and bandwidth in each window of time."""
    points, rows = profile.online_points, []
    block, width = _blocks(stream, points), stream.arrivals[-1] / points
    inner = (np.arange(500) + 0.5) / 500 * width
    for b in range(points):
        if (here := block == b).any():
            row = {"time_s": (b + 1) * width, "tasks": int(here.sum())}
            row |= {"mean_ms": 1e3 * delays[:, here].mean()}
            rows.append(
                row | {"bandwidth_mbit_s": stream.trace.at(b * width + inner).mean() / MBIT}
            )
    return rows
