"""Tasks that arrive online while the wireless link changes: what decisions add up to.

Tasks come as a Poisson process, each one fresh. The bandwidth up is the trace's at the task's
arrival; the bandwidth down is that times a ratio; the ratio and all other quantities of the state
drift slowly. A policy sees what was last measured of the link, which may be stale; the delay is
what the true bandwidth gives.

Two things are assumed. The state holds still from a task's arrival until its result, as the
formulation has it. And every task is served alone: the delay model knows one task at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..artifact import ROOT, Run
from ..delay import delay
from ..graphs import TaskGraph
from ..labels import solve
from ..parallel import in_parallel
from ..rivals.policies import place
from ..scenarios import scenario
from ..tasks import MBIT, STATE, Ranges, sample_tasks
from .conditions import Arrays, Policies, all_policies
from .statistics import bootstrap_means, interval
from .traces import Trace, markov_trace, read_csv, read_mahimahi, walking_trace

SCENARIOS = ("dag", "fusion")
EXAMPLES = (ROOT / "data/traces/tram.mahimahi", ROOT / "data/traces/stroll.csv")  # our own logs
RATE = 0.5  # tasks/s
MEASURE_EVERY = 5.0  # s between two measurements of the link
MEMORY = 60.0  # s, of the state
FEWEST_BLOCKS = 8  # below, a bootstrap over blocks says nothing, and the interval is left empty
SAMPLES = 500  # moments of a block at which its bandwidth is read, for the figure
UP, DOWN = STATE.index("B_up") - len(STATE), STATE.index("B_down") - len(STATE)  # of a task vector


@dataclass(frozen=True, eq=False)
class Stream:
    """Tasks in the order of their arrival, the same for all policies."""

    graph: TaskGraph
    trace: Trace
    arrivals: np.ndarray  # (S,) s
    tasks: np.ndarray  # (S, F) in SI units, with the true bandwidth at arrival
    optimum: np.ndarray  # (S,) s, the least delays

    def seen(self, measure_every: float) -> np.ndarray:
        """Tasks (S, F) with the link as it was at the last of the measurements, one every
        `measure_every` s from 0 on; 0 measures at every arrival."""
        if not 0 <= measure_every < np.inf:
            raise ValueError(f"measure_every: {measure_every}, expected seconds, not negative")
        tasks = self.tasks.copy()
        if measure_every:
            measured = self.trace.at(np.floor(self.arrivals / measure_every) * measure_every)
            tasks[:, DOWN] *= measured / tasks[:, UP]
            tasks[:, UP] = measured
        return tasks


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
    """`count` random tasks that arrive while the link follows `trace`, and their least delays."""
    arrivals = np.cumsum(rng.exponential(1 / RATE, count))
    tasks = sample_tasks(graph, count, rng)
    tasks[:, -len(STATE) :] = drifting_state(arrivals, rng, MEMORY)
    tasks[:, UP] = trace.at(arrivals)
    tasks[:, DOWN] *= tasks[:, UP]
    return Stream(graph, trace, arrivals, tasks, solve(graph, tasks).delays)


def simulate(stream: Stream, policies: Policies, measure_every: float) -> Arrays:
    """Delays (K, S) s of every policy, K training seeds, on the same stream of tasks.

    Decisions are made for the tasks as seen, see `Stream.seen`. Raises ValueError for placements of
    a wrong shape or value and a bad `measure_every`; warns of a link outside the training range.
    """
    graph, seen = stream.graph, stream.seen(measure_every)
    return {
        policy: np.array([delay(graph, stream.tasks, place(policy, graph, seen, f)) for f in fs])
        for policy, fs in policies.items()
    }


def curves(
    stream: Stream, delays: Arrays, points: int, resamples: int, rng, every: int = 1
) -> pd.DataFrame:
    """What delays (K, S) s add up to: a row a policy and point in time, means over training seeds.

    Time is cut into `points` blocks, and a row stands at the end of every `every`-th, counted from
    the last: all its numbers are of the tasks that arrived by then. Columns: trace, policy, seeds,
    time_s, tasks; beyond_s, total delay beyond the optimum's, and regret_mean, both with _low and
    _high; mean_total_ms, mean delay. Raises ValueError for points or every below 1.

    The 95 % intervals are from a paired bootstrap over blocks of time and training seeds:
    neighbouring tasks meet the same link and state, so tasks resampled one by one would give
    intervals too narrow (E. Carlstein, Annals of Statistics 14, 1986). Blocks must outlast the
    link's memory. Fewer than FEWEST_BLOCKS have no interval.
    """
    if points < 1 or every < 1:
        raise ValueError(f"points, every: {points}, {every}, expected positive integers")
    width, best = stream.arrivals[-1] * (1 + 1e-12) / points, stream.optimum
    block = (stream.arrivals / width).astype(int)

    def sums(values):  # (K, S) -> (K, points)
        return np.array([np.bincount(block, row, points) for row in values])

    [tasks], all_delays = sums(np.ones((1, len(best)))), list(delays.values())
    summed = [sums(d - best) for d in all_delays] + [sums(d / best - 1) for d in all_delays]
    total, rows = [sums(d) for d in all_delays], []
    for b in range(points, 0, -every):
        if not (arrived := tasks[:b].sum()):
            continue
        found = _a_task(tasks[:b], [v[:, :b] for v in summed], resamples, rng)
        for c, (policy, beyond, regret) in enumerate(zip(delays, *np.split(found, 2))):
            row = {"trace": stream.trace.name, "policy": policy, "seeds": len(total[c])}
            row |= {"time_s": b * width, "tasks": int(arrived)}
            row |= zip(("beyond_s", "beyond_low_s", "beyond_high_s"), beyond * arrived)
            row |= zip(("regret_mean", "regret_low", "regret_high"), regret)
            rows.append(row | {"mean_total_ms": 1e3 * total[c][:, :b].sum(1).mean() / arrived})
    order = {policy: c for c, policy in enumerate(delays)}
    return pd.DataFrame(sorted(rows, key=lambda row: (order[row["policy"]], row["time_s"])))


def _a_task(tasks: np.ndarray, sums: list[np.ndarray], resamples: int, rng) -> np.ndarray:
    """Mean a task, and the ends of its interval, of sums (K, B) over blocks: (len(sums), 3).

    tasks (B,): how many arrived in a block; a mean's numerator and denominator are resampled both.
    """
    mean = np.array([v.sum(1).mean() for v in sums]) / tasks.sum()
    ends = np.full((2, len(sums)), np.nan)
    if len(tasks) >= FEWEST_BLOCKS:
        drawn = bootstrap_means([tasks[None], *sums], resamples, rng)
        ends = interval(drawn[:, 1:] / np.maximum(drawn[:, :1], 1e-300))
    return np.vstack([mean, ends]).T


def own_traces(run: Run) -> list[Trace]:
    """The traces of `online`: two drawn for the whole simulation, and the two example files."""
    duration = run.profile.online_tasks / RATE
    first, second = (np.random.default_rng([run.profile.seed, k]) for k in (1, 2))
    return [
        markov_trace(first, duration),
        walking_trace(second, duration),
        read_mahimahi(EXAMPLES[0]),
        read_csv(EXAMPLES[1]),
    ]


def online(
    run: Run, traces: list[Trace] | None = None, measure_every: float = MEASURE_EVERY
) -> pd.DataFrame:
    """Every policy on SCENARIOS and traces: `curves` over time with the link measured every
    `measure_every` s, and the end of the same with a measurement at every arrival.

    traces: `own_traces` by default; give your own logs by `read_mahimahi` and `read_csv`. The
    networks were trained for 4 to 100 Mbit/s. What is not a function of a task, its decisions saved
    for the test tasks alone, is not here.

    Columns: scenario and measure_every_s, those of `curves`, then the bandwidth up since the row
    before: bandwidth_mbit_s, its mean, and bandwidth_low_mbit_s, bandwidth_high_mbit_s, its least
    and largest.
    """
    traces = own_traces(run) if traces is None else traces
    names = [trace.name for trace in traces]
    if len({*names}) < len(names) or not names:
        raise ValueError(f"traces: {names}, expected one or more, of different names")
    cells = [(name, k, trace) for name in SCENARIOS for k, trace in enumerate(traces)]
    todo = [(run, *cell, measure_every) for cell in cells]
    return pd.concat(in_parallel(_one, todo, "online"), ignore_index=True)


def _one(run: Run, name: str, k: int, trace: Trace, measure_every: float) -> pd.DataFrame:
    """`online` of one scenario and the k-th trace."""
    p, policies = run.profile, all_policies(run, name)
    rng = np.random.default_rng([p.seed, SCENARIOS.index(name), k])
    tasks, frames = stream(scenario(name).graph, trace, rng, p.online_tasks), []
    for measured in sorted({measure_every, 0.0}, reverse=True):
        delays = simulate(tasks, policies, measured)
        every = 1 if measured == measure_every else p.online_points  # else the last row alone
        frame = curves(tasks, delays, p.online_points, p.resamples, rng, every)
        frame.insert(0, "measure_every_s", measured)
        frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    table.insert(0, "scenario", name)
    ends, width = table.time_s.unique(), table.time_s.max() / p.online_points
    since = width * (np.arange(SAMPLES) + 0.5) / SAMPLES
    bandwidth = trace.at(ends[:, None] - width + since) / MBIT
    for key, of in (("", np.mean), ("low_", np.min), ("high_", np.max)):
        known = dict(zip(ends, of(bandwidth, axis=1)))
        table[f"bandwidth_{key}mbit_s"] = table.time_s.map(known)
    return table
