"""Tasks that arrive online while the wireless link changes: what every policy's decisions add up to.

Tasks come as a Poisson process, each one fresh. The bandwidth up is the trace's at the task's arrival; the bandwidth
down is that times a ratio; the ratio and all other quantities of the state drift slowly (`conditions`). A policy
sees what was last measured of the link, which may be stale; the delay is what the true bandwidth gives.

Two things are assumed. The state holds still from a task's arrival until its result, as the formulation has it: a
change of the link within a task is ignored, and so is one while a task waits. And the delay model knows one task at a
time: either every task is served alone, as if nothing else were on (the default), or a user's tasks queue, each begun
when the one before it is finished.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .config import ROOT, Run
from .dataset import scenario
from .delay import delay
from .graphs import TaskGraph
from .labels import solve
from .learning import in_parallel, model_path, open_model
from .policies import LEARNED, learned, place, policies_for
from .sampling import MBIT, STATE, Ranges, sample_tasks
from .statistics import bootstrap_means, interval
from .traces import Trace, markov_trace, read_csv, read_mahimahi, walking_trace

SCENARIOS = ("dag", "fusion")
EXAMPLES = ROOT / "data" / "traces"  # small files in the two formats, our own
FEWEST_BLOCKS = 8  # below, a bootstrap over blocks says nothing, and the interval is left empty
UP, DOWN = len(STATE) - STATE.index("B_up"), len(STATE) - STATE.index("B_down")  # from a task vector's end


@dataclass(frozen=True)
class Sizes:
    """How much a run simulates: tasks a scenario and trace, and the points of the curves, which are also the bootstrap's blocks."""

    tasks: int = 5000
    points: int = 40


SIZES = {"paper": Sizes(), "smoke": Sizes(400, 20), "tiny": Sizes(60, 6)}
RATE = 0.5  # tasks/s
MEASURE_EVERY = 5.0  # s between two measurements of the link
SAMPLES = 500  # moments of a block at which its bandwidth is read, for the figure


@dataclass(frozen=True, eq=False)
class Stream:
    """Tasks in the order of their arrival, the same for all policies.

    arrivals (S,) s; tasks (S, F) in SI units, with the true bandwidth at arrival; optimum (S,) s, the least delays.
    """

    graph: TaskGraph
    trace: Trace
    arrivals: np.ndarray
    tasks: np.ndarray
    optimum: np.ndarray

    def seen(self, measure_every: float = 0.0) -> np.ndarray:
        """Tasks (S, F) as a policy sees them: the link as it was at the last of the measurements, one every `measure_every` s.

        The first is made at 0 s; 0 measures at every arrival.
        """
        if not 0 <= measure_every < np.inf:
            raise ValueError(f"measure_every: {measure_every}, expected a number of seconds, not negative")
        if measure_every == 0:
            return self.tasks
        tasks, up = self.tasks.copy(), self.tasks[:, -UP]
        measured = self.trace.at(np.floor(self.arrivals / measure_every) * measure_every)
        tasks[:, -DOWN] *= measured / up
        tasks[:, -UP] = measured
        return tasks


def poisson(count: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Arrival times (count,) in s of a Poisson process of `rate` tasks/s."""
    if not 0 < rate < np.inf:
        raise ValueError(f"rate: {rate}, expected a positive number of tasks/s")
    return np.cumsum(rng.exponential(1 / rate, count))


def conditions(times, rng: np.random.Generator, ranges: Ranges = Ranges(), memory: float = 60.0) -> np.ndarray:
    """The state (S, 8) at increasing times (S,) s, slowly varying; column B_down holds the ratio B_down / B_up.

    Each quantity's logarithm is a Brownian motion reflected at the ends of its range, of relaxation time `memory` s: at
    every moment log-uniform, as in the training data, but alike in neighbouring tasks. memory 0: drawn anew for each task.
    """
    if not 0 <= memory < np.inf:
        raise ValueError(f"memory: {memory}, expected a number of seconds, not negative")
    times = np.asarray(times, dtype=np.float64)
    low, high = np.log([getattr(ranges, "down_over_up" if name == "B_down" else name) for name in STATE]).T
    u = rng.uniform(size=(len(times), len(STATE)))
    if memory and len(times):
        # On [0, 1], the slowest mode of a reflected Brownian motion decays at the rate (pi sigma)^2 / 2.
        step = np.sqrt(2 * np.diff(times, prepend=times[0]) / memory) / np.pi
        walk = u[0] + np.cumsum(step[:, None] * rng.standard_normal(u.shape), axis=0)
        u = 1 - np.abs(1 - walk % 2)  # folded at 0 and 1
    return np.exp(low + u * (high - low))


def stream(
    graph: TaskGraph,
    trace: Trace,
    rng: np.random.Generator,
    count: int = 5000,
    rate: float = RATE,
    ranges: Ranges = Ranges(),
    memory: float = 60.0,
    arrivals=None,
) -> Stream:
    """Random tasks that arrive while the link follows `trace`, and their least delays, by the exact solver.

    rate: tasks/s, Poisson; or arrivals: given times (S,) s from 0 on, not decreasing, in place of `count` and `rate`.
    ranges, memory: as for `conditions`; B_up's range is not used. Raises ValueError naming field and value.
    """
    arrivals = poisson(count, rate, rng) if arrivals is None else np.asarray(arrivals, dtype=np.float64)
    if arrivals.ndim != 1 or not len(arrivals) or not np.isfinite(arrivals).all():
        raise ValueError(f"arrivals: shape {arrivals.shape}, expected finite times (S,) in s, S at least 1")
    if arrivals[0] < 0 or (np.diff(arrivals) < 0).any():
        raise ValueError("arrivals: negative or decreasing, expected times in s from 0 on, in order")
    tasks = sample_tasks(graph, len(arrivals), rng, ranges)
    tasks[:, -len(STATE) :] = conditions(arrivals, rng, ranges, memory)
    tasks[:, -UP] = trace.at(arrivals)
    tasks[:, -DOWN] *= tasks[:, -UP]
    return Stream(graph, trace, arrivals, tasks, solve(graph, tasks).delays)


def waiting(arrivals, service) -> np.ndarray:
    """How long each task waits, (S,) s, if tasks that arrive at `arrivals` (S,) and take `service` (S,) are served in order, one at a time.

    Lindley's recursion, W' = max(0, W + service - gap), unrolled (D. V. Lindley, "The theory of queues with a single
    server", 1952).
    """
    ahead = np.concatenate([[0.0], np.cumsum(service[:-1] - np.diff(arrivals))])
    return ahead - np.minimum.accumulate(ahead)


Policies = dict[str, list[tuple[int | str, Callable | None]]]


def simulate(
    stream: Stream,
    policies: Policies | None = None,
    measure_every: float = 0.0,
    queue: bool = False,
    slowness: float = 1.0,
    decision_us: dict[str, float] | None = None,
) -> pd.DataFrame:
    """Every policy on the same stream of tasks, a row a policy, training seed and task.

    policies: name -> [(training seed or "", function (graph, tasks) -> placements, or None for a registered one)]; all
    registered ones by default. measure_every: see `Stream.seen`. queue: tasks wait for one another. decision_us: time of
    a decision, policy -> us, taken `slowness` times as long before a task begins; none by default.

    Columns: trace, policy, seed, task, arrival_s; delay_ms of the decision, by the delay model and the true bandwidth;
    its regret against the least delay; waiting_ms, decision_ms; total_ms = waiting + decision + delay; optimum_ms: the
    total of who always knows the link and decides best in no time, which has waited in a queue of its own.
    Raises ValueError for placements of a wrong shape or value, a missing decision time, or a bad number, naming it.
    """
    if not 0 <= slowness < np.inf:
        raise ValueError(f"slowness: {slowness}, expected a number, not negative")
    policies = {name: [("", None)] for name in policies_for(stream.graph)} if policies is None else policies
    for name in policies if decision_us is not None else ():
        if not 0 <= decision_us.get(name, -1) < np.inf:
            raise ValueError(f"decision_us: {decision_us.get(name)} for {name!r}, expected a time in us")
    waits = waiting if queue else lambda arrivals, service: np.zeros(len(service))
    seen, best = stream.seen(measure_every), stream.optimum
    common = {"task": np.arange(len(best)), "arrival_s": stream.arrivals}
    optimum_ms = 1e3 * (best + waits(stream.arrivals, best))
    frames = []
    for name, trained in policies.items():
        spent = 1e-6 * slowness * decision_us[name] if decision_us else 0.0
        for seed, function in trained:
            took = delay(stream.graph, stream.tasks, place(name, stream.graph, seen, function))
            waited = waits(stream.arrivals, took + spent)
            row = {"trace": stream.trace.name, "policy": name, "seed": seed} | common
            row |= {"delay_ms": 1e3 * took, "regret": took / best - 1, "waiting_ms": 1e3 * waited}
            row |= {"decision_ms": 1e3 * spent, "total_ms": 1e3 * (waited + spent + took), "optimum_ms": optimum_ms}
            frames.append(pd.DataFrame(row))
    return pd.concat(frames, ignore_index=True)


def curves(
    simulated: pd.DataFrame, points: int, resamples: int, rng: np.random.Generator, every: int = 1
) -> pd.DataFrame:
    """What a simulation of one stream adds up to over time: a row a policy and point in time, means over training seeds.

    Time is cut into `points` blocks, and a row stands at the end of every `every`-th: all its numbers are of the tasks
    that arrived by then. beyond_s: total delay beyond the optimum's, summed; regret_mean; mean_total_ms. Each of the
    first two with a 95 % interval, from a paired bootstrap over blocks of time and training seeds: neighbouring tasks
    meet the same link and state, so tasks resampled one by one would give intervals too narrow (E. Carlstein, "The use of
    subseries values for estimating the variance of a general statistic from a stationary sequence", 1986). Blocks must
    outlast the link's memory. A mean is the blocks' sum over their count, both resampled. With fewer than FEWEST_BLOCKS
    blocks there is no interval.

    Columns: trace, policy, seeds, time_s, tasks, beyond_s, beyond_low_s, beyond_high_s, regret_mean, regret_low,
    regret_high, mean_total_ms.
    """
    if points < 1 or every < 1:
        raise ValueError(f"points, every: {points}, {every}, expected positive integers")
    first = simulated[(simulated.policy == simulated.policy.iloc[0]) & (simulated.seed == simulated.seed.iloc[0])]
    count, arrivals = len(first), first.arrival_s.to_numpy()
    width = arrivals[-1] * (1 + 1e-12) / points if arrivals[-1] else 1.0
    block = np.minimum((arrivals / width).astype(int), points - 1)
    tasks = np.bincount(block, minlength=points).astype(float)

    def sums(values):  # (seeds * S,) -> (seeds, points)
        return np.array([np.bincount(block, row, points) for row in values.reshape(-1, count)])

    parts = {name: part for name, part in simulated.groupby("policy", sort=False)}
    beyond = [sums((p.total_ms - p.optimum_ms).to_numpy() / 1e3) for p in parts.values()]
    regret = [sums(p.regret.to_numpy()) for p in parts.values()]
    total = [sums(p.total_ms.to_numpy()) for p in parts.values()]
    rows = []
    for b in range(points, 0, -every):
        arrived = tasks[:b].sum()
        if not arrived:
            continue
        low_high = {}
        if b >= FEWEST_BLOCKS:
            means = bootstrap_means([tasks[None, :b], *(v[:, :b] for v in beyond + regret)], resamples, rng)
            ratios = means[:, 1:] / np.maximum(means[:, :1], 1e-300)
            low_high = dict(enumerate(map(interval, ratios.T)))
        for c, name in enumerate(parts):
            row = {"trace": simulated.trace.iloc[0], "policy": name, "seeds": len(beyond[c])}
            row |= {"time_s": b * width, "tasks": int(arrived)}
            for field, values, at, unit, scale in (
                ("beyond", beyond, c, "_s", arrived),
                ("regret", regret, len(parts) + c, "", 1.0),
            ):
                low, high = low_high.get(at, (np.nan, np.nan))
                mean = values[c][:, :b].sum(axis=1).mean() / arrived
                row |= {f"{field}{unit or '_mean'}": mean * scale}
                row |= {f"{field}_low{unit}": low * scale, f"{field}_high{unit}": high * scale}
            rows.append(row | {"mean_total_ms": total[c][:, :b].sum(axis=1).mean() / arrived})
    order = {name: i for i, name in enumerate(parts)}
    return pd.DataFrame(rows).sort_values(
        ["policy", "time_s"], key=lambda c: c.map(order) if c.name == "policy" else c, ignore_index=True
    )


def summary(simulated: pd.DataFrame, resamples: int, rng: np.random.Generator, points: int = 40) -> pd.DataFrame:
    """A simulation's totals, a row a policy: the last rows of `curves`, whose columns and intervals these are."""
    return curves(simulated, points, resamples, rng, every=points)


def example_files() -> list[Path]:
    """The example logs: one in Mahimahi's format, one CSV."""
    return [EXAMPLES / "tram.mahimahi", EXAMPLES / "stroll.csv"]


def own_traces(run: Run) -> list[Trace]:
    """The traces of `online`: two drawn for the whole simulation, and the two example files by their readers."""
    duration = SIZES.get(run.profile.name, SIZES["paper"]).tasks / RATE
    mahimahi, table = example_files()
    return [
        markov_trace(np.random.default_rng([run.profile.seed, 1]), duration),
        walking_trace(np.random.default_rng([run.profile.seed, 2]), duration),
        read_mahimahi(mahimahi, name="Mahimahi file"),
        read_csv(table, name="CSV file"),
    ]


def trained_policies(run: Run, name: str, roles=None) -> Policies:
    """The registered policies for a scenario and the run's trained networks, as `simulate` takes them.

    roles: names of trained networks, of every seed of the run; ValueError if one is missing. By default, those of
    `policies.LEARNED` that are there, with the seeds that are there.
    """
    policies: Policies = {policy: [("", None)] for policy in policies_for(scenario(name).graph)}
    for role in LEARNED if roles is None else roles:
        paths = [model_path(run, role, name, seed) for seed in run.profile.seeds]
        models = [open_model(path) for path in paths if roles is not None or path.exists()]
        if models:
            policies[role] = [(model.seed, learned(model)) for model in models]
    return policies


def online(
    run: Run,
    traces: list[Trace] | None = None,
    roles=None,
    measure_every: float = MEASURE_EVERY,
    queue: bool = False,
    slowness: float = 1.0,
    decision_us: dict[str, dict[str, float]] | None = None,
) -> pd.DataFrame:
    """Every policy on SCENARIOS and traces: `curves` over time with the link measured every `measure_every` s, and the
    end of the same with a measurement at every arrival (measure_every_s = 0).

    traces: `own_traces` by default; give your own logs by `traces.read_mahimahi` and `traces.read_csv`. The networks
    were trained for 4 to 100 Mbit/s and warn of more or less: see `Trace.clipped`. roles: as for `trained_policies`.
    queue, slowness: as for `simulate`; decision_us: a dict a scenario. Policies that are not a function of a task, whose
    decisions were saved for the test tasks alone, are not here.

    Columns: scenario and measure_every_s, those of `curves`, then the bandwidth up of the time since the row before:
    bandwidth_mbit_s, its mean, and bandwidth_low_mbit_s, bandwidth_high_mbit_s, its least and largest.
    """
    traces = own_traces(run) if traces is None else traces
    if len({trace.name for trace in traces}) < len(traces) or not traces:
        raise ValueError(f"traces: {[trace.name for trace in traces]}, expected one or more, of different names")
    options = [queue, slowness, decision_us]
    todo = [
        (run, name, k, trace, roles, measure_every, *options) for name in SCENARIOS for k, trace in enumerate(traces)
    ]
    return pd.concat(in_parallel(_one, todo, "online"), ignore_index=True)


def _one(run, name, k, trace, roles, measure_every, queue, slowness, decision_us) -> pd.DataFrame:
    """`online` of one scenario and the k-th trace."""
    sizes = SIZES.get(run.profile.name, SIZES["paper"])
    rng = np.random.default_rng([run.profile.seed, SCENARIOS.index(name), k])
    tasks, policies = stream(scenario(name).graph, trace, rng, sizes.tasks), trained_policies(run, name, roles)
    if decision_us is not None and name not in decision_us:
        raise ValueError(
            f"decision_us: no times for {name!r}, expected policy -> us for each of {', '.join(SCENARIOS)}"
        )
    spent = decision_us and decision_us[name]
    frames = []
    for every in sorted({measure_every, 0.0}, reverse=True):
        simulated = simulate(tasks, policies, every, queue, slowness, spent)
        last_only = every != measure_every
        frame = curves(simulated, sizes.points, run.profile.resamples, rng, every=sizes.points if last_only else 1)
        frame.insert(0, "measure_every_s", every)
        frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    table.insert(0, "scenario", name)
    width = table.time_s.max() / sizes.points
    ends, inside = table.time_s.unique(), (np.arange(SAMPLES) + 0.5) / SAMPLES
    bandwidth = trace.at((ends[:, None] - width) + width * inside) / MBIT
    for column, value in (("", bandwidth.mean(1)), ("low_", bandwidth.min(1)), ("high_", bandwidth.max(1))):
        table[f"bandwidth_{column}mbit_s"] = table.time_s.map(dict(zip(ends, value)))
    return table
