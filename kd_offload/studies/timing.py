"""How long decisions take: one at a time in every runtime, and in batches."""

from __future__ import annotations

import hashlib
import time
from itertools import product

import numpy as np
import pandas as pd
import torch

from ..artifact import Run
from ..beyond import decide as any_graph
from ..beyond.sweep import Sweep
from ..dataset import load
from ..models import logits, standardise, torch_module
from ..parallel import in_parallel, progress
from ..rivals import policies
from ..rivals.classifiers import boosting_decider, fit_forest, forest_decider, grow
from ..rivals.compiled import decide_batch, packed
from ..rivals.decisions import Decider
from ..rivals.dqn import agent_deciders
from ..rivals.policies import LEARNED, OURS, POLICIES, opened, path_of, seeds_of
from ..scenarios import SHOWN, TRAINED, scenario
from .statistics import bounded, interval, quantile_intervals

COLD_BYTES = 48 * 2**20  # touched between calls: more than a core's share of the last cache
BATCH, ROUNDS = 8192, 15  # tasks at once, and how often
OVER = {own: f"over_{(prefix or own).rstrip('_')}" for own, prefix in OURS.items()}  # columns


def model_digests(run: Run) -> dict[str, str]:
    """Digests of all models and saved decisions of a run: what a table made with them depends on.

    Raises ValueError naming one that is missing.
    """
    digests = {}
    for policy in POLICIES.values():
        for name, seed in product(policy.scenarios, seeds_of(run, policy.name)):
            if policy.role:
                opened(run, policy.name, name, seed)  # says so if it is missing
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


def timed(us: np.ndarray) -> dict[str, float]:
    """median_us and p99_us of times (S,), each with the interval of what they were drawn from."""
    (median, p99), (at_half, at_99) = (
        np.quantile(us, (0.5, 0.99)),
        quantile_intervals(us, (0.5, 0.99)),
    )
    return bounded("median_us", median, at_half) | bounded("p99_us", p99, at_99)


def _spent(deciders: list[Decider], tasks: list, **how) -> dict[tuple[str, str], np.ndarray]:
    """Microseconds of every decision, by (policy, runtime)."""
    spent = time_interleaved([d.decide for d in deciders], tasks, **how)
    return {(d.policy, d.runtime): us for d, us in zip(deciders, spent)}


def inference_time(run: Run) -> pd.DataFrame:
    """The table of decision times: every policy and runtime, a task at a time, one thread.

    From the raw task vector to the placement; medians and p99 over tasks, with intervals from order
    statistics. over_student, over_any: the median over that of `student` or `student_any`
    in the same runtime, with an interval that resamples tasks, the same for both. cold_us: the
    median with caches cold, from fewer tasks, numba only. n_timed: how many tasks; few for policies
    that take milliseconds.
    """
    torch.set_num_threads(1)
    todo = [(run, name) for name in SHOWN]
    slow = dict(zip(SHOWN, in_parallel(_slow_deciders, todo, "classifiers to time")))
    names = progress(TRAINED, len(TRAINED), "timing", "scenario")
    return pd.DataFrame([row for name in names for row in _rows(run, name, slow.get(name, []))])


def _slow_deciders(run: Run, name: str) -> list[Decider]:
    """scikit-learn's ensembles, grown again: a decision takes milliseconds."""
    graph, seed = scenario(name).graph, run.profile.seeds[0]
    forest, trees = fit_forest(run, name, seed), grow(run, "boosting", name, seed)
    return [forest_decider(graph, forest), boosting_decider(graph, trees)]


def _rows(run: Run, name: str, slow: list[Decider]) -> list[dict]:
    graph, seed = scenario(name).graph, run.profile.seeds[0]
    tasks = list(load(run, name, "test").tasks[: run.profile.timing_inputs])
    few, quick = tasks[: max(2, len(tasks) // 40)], policies.compiled_deciders(graph)
    for role in LEARNED:
        quick += policies.model_deciders(opened(run, role, name, seed), graph)
    slow = slow and [*agent_deciders(graph), *slow]
    spent = _spent(quick, tasks) | _spent(slow, few, warmup=1)
    compiled = [d for d in quick if d.runtime == "numba"]
    cold = _spent(compiled, few, touch=np.zeros(COLD_BYTES // 8))
    draws = np.random.default_rng(run.profile.seed).integers(0, len(tasks), (200, len(tasks)))
    rows = []
    for d in quick + slow:
        us = spent[d.policy, d.runtime]
        times, row = timed(us), {"scenario": name, "policy": d.policy, "runtime": d.runtime}
        row |= {"n_subtasks": graph.n, "median_us": times["median_us"], "p99_us": times["p99_us"]}
        row |= {"parameters": d.parameters, "macs": d.macs, "bytes": d.bytes, "mean_us": us.mean()}
        row |= {"n_timed": len(us), "cold_us": np.median(cold.get((d.policy, d.runtime), np.nan))}
        for own, column in OVER.items():
            if (own, d.runtime) in spent and len(us) == len(tasks):
                ours = spent[own, d.runtime]
                ratios = np.median(us[draws], axis=1) / np.median(ours[draws], axis=1)
                row |= bounded(column, np.median(us) / np.median(ours), interval(ratios))
        rows.append(row | times)
    return rows


def throughput(run: Run) -> pd.DataFrame:
    """Decisions a second on one core in batches of BATCH tasks of `dag`, vectors to placements.

    The median of ROUNDS interleaved rounds, with its interval from order statistics.
    """
    torch.set_num_threads(1)
    tasks, seed = load(run, "dag", "test").tasks, run.profile.seeds[0]
    tasks = np.ascontiguousarray(tasks[np.arange(BATCH) % len(tasks)])
    models = [opened(run, role, "dag", seed) for role in LEARNED]
    deciders = [d for model in models for d in _batch_deciders(model, scenario("dag").graph)]
    rows = []
    for (policy, runtime), us in _spent(deciders, [tasks] * ROUNDS, warmup=1).items():
        ends = BATCH / quantile_intervals(us, (0.5,))[0, ::-1] * 1e6
        row = {"scenario": "dag", "policy": policy, "runtime": runtime, "batch": BATCH}
        rows.append(row | bounded("decisions_per_second", BATCH / np.median(us) * 1e6, ends))
    return pd.DataFrame(rows)


def _batch_deciders(model, graph) -> list[Decider]:
    """A network for tasks (BATCH, F), in all its runtimes."""
    x = np.empty((BATCH, graph.n), np.int8)
    if isinstance(model, Sweep):
        pack = any_graph.packed(model, graph)
        more = x, np.empty(BATCH), np.empty(BATCH, np.int64)
        batch = lambda tasks: any_graph.decide_batch(*pack, tasks, *more)
        return [Decider(model.role, "numba", batch)]
    net, pack = torch_module(model), packed(model)
    by_torch = lambda t: net(torch.from_numpy(standardise(model, t))).argmax(-1)
    runtimes = {
        "numba": lambda tasks: decide_batch(*pack, tasks, x),
        "numpy": lambda tasks: logits(model, tasks).argmax(-1),
        "torch": torch.inference_mode()(by_torch),
    }
    return [Decider(model.role, runtime, decide) for runtime, decide in runtimes.items()]
