"""How long every policy takes to decide, in every runtime, and what that is worth.

Times are those of `studies.clock`: of several fresh processes, with intervals for a rerun.
"""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from anygraph import GraphNetwork
from anygraph.c import export_any, run_any
from anygraph.c_text import CSize, compile_c
from experiments.baselines import (
    ANY,
    POLICIES,
    Decider,
    compiled_deciders,
    learned_for,
    loop_deciders,
    model_deciders,
    open_trained,
    policies_for,
    seeds_of,
    size_of,
)
from experiments.baselines.classifiers import boosting_decider, forest_decider
from experiments.baselines.dqn import agent_deciders
from experiments.run import Run, load
from experiments.runtimes.c import export_c, run_c
from experiments.runtimes.onnx import export_onnx, open_onnx, run_onnx
from experiments.scenarios import SHOWN, TRAINED, scenario
from experiments.studies.clock import (
    Times,
    in_fresh_processes,
    ratios,
    time_interleaved,
    timed,
    together,
)
from experiments.studies.other_learners import open_trees
from kd_offload.graphs import TaskGraph
from kd_offload.model import Model

CHUNK = 100  # tasks of one compiled loop
CHUNKS = 10  # such loops that a process times
# Timed in C and ONNX Runtime.
EXPORTED = ("student", "student_independent", ANY, "teacher", "teacher_independent")
EXPORT_TASKS = 1000  # tasks timed there, at most


class Measured(NamedTuple):
    """Microseconds of decisions on one scenario."""

    deciders: list[Decider]  # who was timed; without their functions
    times: Times
    cold: Times  # with caches cold


def inference_time(run: Run, names: tuple[str, ...] = TRAINED) -> pd.DataFrame:
    """Decision times of every policy in every runtime, from the raw task vector to the placement.

    One task at a time, one thread. Runtime numba_loop is the time of a compiled loop over CHUNK
    tasks divided by their number, without the cost of a call from Python.

    Parameters
    ----------
    run : Run
        With data and models, trees included.
    names : tuple of str
        Scenarios.

    Returns
    -------
    pandas.DataFrame
        A row for each scenario, policy and runtime. median_us, p99_us, mean_us of n_timed tasks or
        chunks (p99_us of tasks only). cold_us: the median with caches cold, on fewer tasks, numba
        and SHOWN only. over_student, over_independent, over_any: the median over that of
        `student`, `student_independent` or `anygraph` in the same runtime. _low and _high: 95 %
        intervals for a rerun.
    """
    parts = in_fresh_processes(_time_policies, run, names, what="timing")
    rows = []
    for name in names:
        times = together([part[name].times for part in parts])
        cold = together([part[name].cold for part in parts])
        for decider in parts[0][name].deciders:
            about = {"scenario": name, "policy": decider.policy, "runtime": decider.runtime}
            sizes = {
                "n_subtasks": scenario(name).graph.n,
                "parameters": decider.parameters,
                "macs": decider.macs,
                "bytes": decider.bytes,
            }
            rows.append(about | sizes | _row(run, decider.policy, decider.runtime, times, cold))
    table = pd.DataFrame(rows)
    loops = table.runtime == "numba_loop"
    table.loc[loops, ["p99_us", "p99_us_low", "p99_us_high"]] = np.nan  # of chunks, not of tasks
    return _in_order(table, "parameters", "macs", "bytes")


def _row(run: Run, policy: str, runtime: str, times: Times, cold: Times) -> dict:
    us = times[policy, runtime]
    row = timed(us, run.profile.seed)
    row |= {"mean_us": us.mean(), "n_timed": us.size}
    row["cold_us"] = np.median(cold.get((policy, runtime), np.nan))
    return row | ratios(times, runtime, us, run.profile.seed)


def _in_order(table: pd.DataFrame, *sizes: str) -> pd.DataFrame:
    first = ["scenario", "policy", "runtime", "n_subtasks", "median_us", "p99_us", *sizes]
    return table[first + [column for column in table if column not in first]]


def _time_policies(p: int, run: Run, names: tuple[str, ...]) -> dict[str, Measured]:
    """What process p measures, by scenario, on tasks of its own."""
    count = max(2, run.profile.timing_inputs // run.profile.processes)
    measured = {}
    for name in names:
        graph = scenario(name).graph
        tasks = load(run, name, "test").tasks
        seeds = {role: seeds_of(run, role) for role in learned_for(name)}
        models = [open_trained(run, role, name, found[0]) for role, found in seeds.items() if found]
        calls = _calls(graph, models)
        slow_calls = _slow_calls(run, name) if name in SHOWN else []
        loops = loop_deciders(graph, models)

        many = list(_part(tasks, p, count))
        few = many[: max(2, count // 40)]
        chunks = [np.ascontiguousarray(_part(tasks, c, CHUNK)) for c in range(CHUNKS)]
        times = _times(calls, many) | _times(slow_calls, few, warmup=1)
        for key, us in _times(loops, chunks, warmup=1).items():
            times[key] = us / CHUNK
        compiled = [decider for decider in calls if decider.runtime == "numba"]
        cold = _times(compiled, few, cold=True) if name in SHOWN else {}

        deciders = [decider._replace(decide=None) for decider in calls + slow_calls + loops]
        measured[name] = Measured(deciders, times, cold)
    return measured


def _calls(graph: TaskGraph, models: list[Model | GraphNetwork]) -> list[Decider]:
    """Every policy as a call from Python."""
    deciders = compiled_deciders(graph)
    for name in policies_for(graph):
        policy = POLICIES[name]
        if policy.decider is None:  # registered as a function of many tasks alone
            one_task = partial(_first_of_one, policy.place, graph)
            deciders.append(Decider(name, "numpy", one_task))
    for model in models:
        deciders += model_deciders(model, graph)
    return deciders


def _first_of_one(place, graph: TaskGraph, task: np.ndarray) -> np.ndarray:
    return place(graph, task[None])[0]


def _slow_calls(run: Run, name: str) -> list[Decider]:
    """Those that take milliseconds, and are therefore timed on few tasks."""
    graph = scenario(name).graph
    deciders = agent_deciders(graph)
    for role, decider in (("random_forest", forest_decider), ("boosting", boosting_decider)):
        if seeds_of(run, role):
            deciders.append(decider(graph, open_trees(run, role, name)))
    return deciders


def _part(tasks: np.ndarray, index: int, count: int) -> np.ndarray:
    """The part with this index of tasks cut into parts of `count`, round and round."""
    return tasks[np.arange(index * count, (index + 1) * count) % len(tasks)]


def _times(deciders: list[Decider], inputs: list[np.ndarray], **options) -> Times:
    us = time_interleaved([decider.decide for decider in deciders], inputs, **options)
    return {(decider.policy, decider.runtime): row for decider, row in zip(deciders, us)}


class Exported(NamedTuple):
    """One network of one scenario, as files."""

    model: Model | GraphNetwork
    path: Path  # of its command; with .c and .onnx, of its files
    size: CSize


def device_times(run: Run, names: tuple[str, ...] = SHOWN) -> pd.DataFrame:
    """Decision times in C and ONNX Runtime, for one test task at a time, with one thread.

    The C files are timed by their own command, where a call costs next to nothing; the teacher's
    too, without a limit on its constants. Without a C compiler: ONNX Runtime alone.

    Parameters
    ----------
    run : Run
        With data and models.
    names : tuple of str
        Scenarios.

    Returns
    -------
    pandas.DataFrame
        As that of `inference_time`; cold_us in C only. constants_bytes and working_bytes are what
        the C file needs.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        exported = {name: _export(run, name, Path(folder)) for name in names}
        parts = in_fresh_processes(_time_onnx, run, exported, what="ONNX Runtime")
        for name in names:
            times = together([part[name] for part in parts])
            cold = {}
            if shutil.which("cc"):
                hot, cold = _time_c(run, name, exported[name])
                times = hot | times
            for role, runtime in times:
                about = {"scenario": name, "policy": role, "runtime": runtime}
                sizes = _sizes(exported[name][role], scenario(name).graph)
                rows.append(about | sizes | _row(run, role, runtime, times, cold))
    return _in_order(pd.DataFrame(rows))


def _export(run: Run, name: str, folder: Path) -> dict[str, Exported]:
    exported = {}
    for role in EXPORTED:
        model = open_trained(run, role, name, seeds_of(run, role)[0])
        path = folder / f"{role}_{name}"
        if role == ANY:
            size = export_any(model, path.with_suffix(".c"))
        else:
            export_onnx(model, path.with_suffix(".onnx"))
            size = export_c(model, path.with_suffix(".c"), limit=None)
        exported[role] = Exported(model, path, size)
    return exported


def _sizes(exported: Exported, graph: TaskGraph) -> dict[str, int]:
    parameters, macs, _ = size_of(exported.model, graph)
    return {
        "n_subtasks": graph.n,
        "parameters": parameters,
        "macs": macs,
        "constants_bytes": exported.size.constants,
        "working_bytes": exported.size.working,
    }


def _exported_tasks(run: Run, name: str) -> np.ndarray:
    return load(run, name, "test").tasks[: min(EXPORT_TASKS, run.profile.timing_inputs)]


def _time_c(run: Run, name: str, exported: dict[str, Exported]) -> tuple[Times, Times]:
    """Times of the commands, which take turns; and cold ones, on a twentieth of the tasks."""
    tasks = _exported_tasks(run, name)
    few = tasks[: max(2, len(tasks) // 20)]
    for one in exported.values():
        compile_c(one.path.with_suffix(".c"), one.path)
    rounds = range(run.profile.processes)
    hot = together([_ask_all(name, exported, tasks, "hot") for _ in rounds])
    cold = together([_ask_all(name, exported, few, "cold") for _ in rounds])
    return hot, cold


def _ask_all(name: str, exported: dict[str, Exported], tasks: np.ndarray, mode: str) -> Times:
    times = {}
    for role, one in exported.items():
        if role == ANY:
            nanoseconds = run_any(one.path, scenario(name).graph, tasks, mode)
        else:
            nanoseconds = run_c(one.path, tasks, mode)
        times[role, "c"] = nanoseconds / 1e3
    return times


def _time_onnx(p: int, run: Run, exported: dict[str, dict[str, Exported]]) -> dict[str, Times]:
    """What process p measures, by scenario, on tasks of its own."""
    measured = {}
    for name, of_role in exported.items():
        graph = scenario(name).graph
        tasks = _exported_tasks(run, name)
        roles = [role for role in of_role if role != ANY]
        sessions = [open_onnx(of_role[role].path.with_suffix(".onnx"), graph) for role in roles]
        functions = [partial(run_onnx, session) for session in sessions]
        mine = _part(tasks, p, len(tasks) // run.profile.processes)
        us = time_interleaved(functions, [task[None] for task in mine])
        measured[name] = {(role, "onnxruntime"): row for role, row in zip(roles, us)}
    return measured


def tradeoff(timing: pd.DataFrame, paired: pd.DataFrame) -> pd.DataFrame:
    """Regret and time of every policy in every runtime.

    Parameters
    ----------
    timing : pandas.DataFrame
        scenario, policy, runtime, mean_us, median_us, p99_us.
    paired : pandas.DataFrame
        scenario, policy, regret, regret_low, regret_high.

    Returns
    -------
    pandas.DataFrame
        Columns of both. named: whether it is the row of its policy that the figure shows, the
        compiled loop or, where there is none, the quickest runtime.
    """
    timing = timing[timing.scenario.isin(SHOWN)].reset_index(drop=True)
    order = timing.mean_us.where(timing.runtime != "numba_loop", 0.0)
    shown = order.groupby([timing.scenario, timing.policy]).idxmin()
    timing["named"] = timing.index.isin(shown)
    columns = ["scenario", "policy", "runtime", "named", "regret", "regret_low", "regret_high"]
    both = timing.merge(paired, on=["scenario", "policy"])
    return both[[*columns, "mean_us", "median_us", "p99_us"]]
