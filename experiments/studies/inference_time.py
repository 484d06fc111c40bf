"""How long decisions take: one at a time, and in compiled loops.

A process differs from the next by where its memory lies and what the machine does meanwhile, so all
is timed in several fresh processes, one after another; within each, all policies take turns.
"""

from __future__ import annotations

import hashlib
import platform
import re
import time
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats
from threadpoolctl import threadpool_limits

from experiments.run import Run
from kd_offload.data import load
from experiments.parallel import in_parallel, progress
from experiments.baselines import registry as policies
from experiments.baselines.classifiers import boosting_decider, forest_decider, grow
from experiments.baselines.decisions import Decider
from experiments.baselines.dqn import agent_deciders
from experiments.baselines import LEARNED, OURS, POLICIES, open_trained, path_of, seeds_of
from experiments.scenarios import SHOWN, TRAINED, scenario
from experiments.studies.statistics import bounded, interval

RESAMPLES = 400
COLD_BYTES = 48 * 2**20  # touched between calls: more than a core's share of the last cache
CHUNK, CHUNKS = 100, 10  # tasks of a compiled loop, and how many such chunks a process times
BOUNDED = 367  # times that it takes for the largest to bound the 99th percentile: 0.99^n < 0.025
OVER = {own: f"over_{(prefix or own).rstrip('_')}" for own, prefix in OURS.items()}  # columns
Spent = dict[tuple[str, str], np.ndarray]  # microseconds of each decision, by (policy, runtime)


def processor() -> str:
    """The processor's name, for the provenance of times."""
    about = Path("/proc/cpuinfo")
    named = re.search("model name.*: (.*)", about.read_text()) if about.exists() else None
    return named[1] if named else platform.processor() or platform.machine()


def model_digests(run: Run) -> dict[str, str]:
    """Digests of all models and saved decisions of a run: what a table made with them depends on.

    Raises ValueError naming one that is missing.
    """
    digests = {}
    for policy in POLICIES.values():
        for name, seed in product(policy.scenarios, seeds_of(run, policy.name)):
            if policy.role:
                open_trained(run, policy.name, name, seed)  # says so if it is missing
                content = run.found(path_of(run, policy.name, name, seed)).read_bytes()
            else:
                content = np.ascontiguousarray(policy.decided(run, name, seed)).tobytes()
            digests[f"{policy.name}_{name}_{seed}"] = hashlib.sha256(content).hexdigest()
    return digests


def time_interleaved(
    functions: list, inputs: list, warmup: int = 5, touch: np.ndarray | None = None
) -> np.ndarray:
    """Microseconds of every function on every input: (len(functions), len(inputs)).

    All functions take turns on each input, so that whatever disturbs the machine disturbs all
    alike. Each call is preceded by an untimed one on another input, so that a function's own code
    and constants are in the cache and not what the function before it left there; with `touch`, by
    a pass over that array instead, which leaves the caches cold.
    """
    out = np.empty((len(functions), len(inputs)))
    clock = time.perf_counter_ns
    for function in functions:
        for value in inputs[:warmup]:
            function(value)
    for s, value in enumerate(inputs):
        for f, function in enumerate(functions):
            if touch is None:
                function(inputs[s - 1])
            else:
                touch += 1
            start = clock()
            function(value)
            out[f, s] = clock() - start
    return out / 1e3


def in_fresh_processes(function, run: Run, *arguments, what: str = "processes") -> list:
    """[function(p, run, *arguments) for p in range(profile.processes)], each in a process of its
    own, one after another, with one thread. The function is a module's own, all is pickled."""
    out, context = [], get_context("spawn")
    count = run.profile.processes
    for p in progress(range(count), count, what, "process"):
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            out.append(pool.submit(_alone, function, p, run, *arguments).result())
    return out


def _alone(function, *arguments):
    torch.set_num_threads(1)
    with threadpool_limits(1):
        return function(*arguments)


@lru_cache(maxsize=8)
def _draws(processes: int, count: int, seed: int) -> tuple[np.ndarray, ...]:
    """RESAMPLES draws for times (processes, count): first of processes, then of inputs in each.
    Of K processes K - 1 are drawn, which keeps the variance over few of them unbiased."""
    drawn, rng = max(1, processes - 1), np.random.default_rng(seed)
    which = rng.integers(0, processes, (RESAMPLES, drawn, 1))
    return which, rng.integers(0, count, (RESAMPLES, drawn, count))


def resampled(us: np.ndarray, seed: int, quantile: float = 0.5) -> np.ndarray:
    """The quantile of times (processes, inputs) in every draw, the same draws for a seed:
    (RESAMPLES,)."""
    return np.quantile(us[_draws(*us.shape, seed)].reshape(RESAMPLES, -1), quantile, axis=1)


def rerun_interval(value: float, samples: np.ndarray, processes: int) -> np.ndarray:
    """The 95 % interval in which `value` of a rerun falls, from resamples of a positive quantity.

    Their percentile interval, stretched about `value` on a logarithmic scale: by the square root of
    2, since a rerun varies as much as this run did, and by Student's t over the normal quantile,
    since the processes are few.
    """
    few = stats.t.ppf(0.975, processes - 1) / stats.norm.ppf(0.975)
    return value * (interval(samples) / value) ** (2**0.5 * few)


def timed(us: np.ndarray, seed: int) -> dict[str, float]:
    """median_us and p99_us of times (processes, inputs), with intervals that hold for a rerun.

    The interval of p99 is nan where there are too few times to bound it.
    """
    row = {}
    for name, quantile in (("median_us", 0.5), ("p99_us", 0.99)):
        value, ends = np.quantile(us, quantile), (np.nan, np.nan)
        if quantile < 0.99 or us.size >= BOUNDED:
            ends = rerun_interval(value, resampled(us, seed, quantile), len(us))
        row |= bounded(name, value, ends)
    return row


def ratio(name: str, us: np.ndarray, ours: list[np.ndarray], seed: int) -> dict[str, float]:
    """The median of times over the mean of the medians of `ours`, with the interval of a rerun."""
    value = np.median(us) / np.mean([np.median(own) for own in ours])
    samples = resampled(us, seed) / np.mean([resampled(own, seed) for own in ours], axis=0)
    return bounded(name, value, rerun_interval(value, samples, len(us)))


def ratios(spent: Spent, runtime: str, us: np.ndarray, seed: int) -> dict[str, float]:
    """over_student and over_any: `ratio` to theirs in a runtime; nan where they were not timed on
    as many inputs."""
    row = {}
    for own, column in OVER.items():
        ours = spent.get((own, runtime), us[:0])
        row |= bounded(column, np.nan, (np.nan, np.nan))
        if ours.shape == us.shape:
            row |= ratio(column, us, [ours], seed)
    return row


def together(parts: list[Spent]) -> Spent:
    """What every process measured, as arrays (processes, inputs)."""
    return {key: np.array([part[key] for part in parts]) for key in parts[0]}


def _spent(deciders: list[Decider], tasks: list, **how) -> Spent:
    spent = time_interleaved([d.decide for d in deciders], tasks, **how)
    return {(d.policy, d.runtime): us for d, us in zip(deciders, spent)}


def inference_time(run: Run, names: tuple[str, ...] = TRAINED, few: bool = True) -> pd.DataFrame:
    """Decision times on some scenarios: every policy and runtime, a task at a time, one thread.

    From the raw task vector to the placement. Each of several fresh processes times tasks of its
    own, as calls from Python. Runtime numba_loop: the time of a compiled loop over CHUNK tasks
    divided by their number, without the cost of a call; it has medians over chunks, and no p99.
    over_student, over_any: the median over that of `student` or `anygraph` in the same runtime,
    with an interval from the same draws for both. cold_us: the median with caches cold, from fewer
    tasks, numba and SHOWN only. n_timed: how many tasks or chunks; few for policies that take
    milliseconds, which need trees to be grown first and may be left out.
    """
    todo = [(run, role, name) for name in SHOWN for role in ("random_forest", "boosting")]
    grown = iter(in_parallel(_grown, todo, "classifiers to time") if few else ())
    slow = dict(zip(SHOWN, zip(grown, grown)))
    parts = in_fresh_processes(_process, run, names, slow, what="timing")
    return pd.DataFrame(
        [
            row
            for name in names
            for row in _rows(run, name, slow.get(name), [part[name] for part in parts])
        ]
    )


def _grown(run: Run, role: str, name: str) -> list:
    return grow(run, role, name, run.profile.seeds[0])


def _deciders(run: Run, name: str, slow: tuple | None) -> tuple[list[Decider], ...]:
    """Those timed on many tasks; on few, since a decision may take milliseconds; in loops."""
    graph, seed = scenario(name).graph, run.profile.seeds[0]
    models = [open_trained(run, role, name, seed) for role in LEARNED]
    quick, few = policies.compiled_deciders(graph), []
    for model in models:
        quick += policies.model_deciders(model, graph)
    if slow:
        forest, trees = slow
        few = [*agent_deciders(graph), forest_decider(graph, forest[0])]
        few.append(boosting_decider(graph, trees))
    return quick, few, policies.loop_deciders(graph, models)


def _process(p: int, run: Run, names: tuple[str, ...], slow: dict) -> dict[str, tuple]:
    """What process p measures: by scenario the times of deciders and, numba only, cold ones."""
    out, count = {}, max(2, run.profile.timing_inputs // run.profile.processes)
    for name in names:
        tasks = load(run, name, "test").tasks
        mine = list(tasks[np.arange(p * count, (p + 1) * count) % len(tasks)])
        some = mine[: max(2, count // 40)]
        quick, few, loops = _deciders(run, name, slow.get(name))
        spent = _spent(quick, mine) | _spent(few, some, warmup=1)
        chunks = [
            np.ascontiguousarray(tasks[np.arange(c * CHUNK, (c + 1) * CHUNK) % len(tasks)])
            for c in range(CHUNKS)
        ]
        in_loops = _spent(loops, chunks, warmup=1)
        spent |= {key: us / CHUNK for key, us in in_loops.items()}
        compiled = [d for d in quick if d.runtime == "numba"] if name in SHOWN else []
        out[name] = spent, _spent(compiled, some, touch=np.zeros(COLD_BYTES // 8))
    return out


def _rows(run: Run, name: str, slow: tuple | None, parts: list[tuple]) -> list[dict]:
    spent, cold = (together([part[i] for part in parts]) for i in (0, 1))
    rows, graph, seed = [], scenario(name).graph, run.profile.seed
    for d in [d for group in _deciders(run, name, slow) for d in group]:
        us = spent[d.policy, d.runtime]
        times, row = timed(us, seed), {"scenario": name, "policy": d.policy}
        if d.runtime == "numba_loop":
            times |= dict.fromkeys(("p99_us", "p99_us_low", "p99_us_high"), np.nan)
        row |= {"runtime": d.runtime, "n_subtasks": graph.n, "median_us": times["median_us"]}
        row |= {"p99_us": times["p99_us"], "parameters": d.parameters, "macs": d.macs}
        row |= {"bytes": d.bytes, "mean_us": us.mean(), "n_timed": us.size}
        row["cold_us"] = np.median(cold.get((d.policy, d.runtime), np.nan))
        rows.append(row | ratios(spent, d.runtime, us, seed) | times)
    return rows
