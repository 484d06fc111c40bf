"""How long a decision takes in C and in ONNX Runtime: the exported files, timed."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.run import Run
from anygraph.network import GraphNetwork
from kd_offload.data import load
from kd_offload.graphs import TaskGraph
from kd_offload.model import Model
from experiments.baselines import ANY, open_trained, seeds_of, size_of
from experiments.scenarios import SHOWN, scenario
from experiments.studies.timing import (
    Spent,
    in_fresh_processes,
    ratios,
    time_interleaved,
    timed,
    together,
)
from anygraph.c import export_any, run_any
from experiments.runtimes.c import compile_c, export_c, run_c
from experiments.runtimes.card import EXPORTED
from experiments.runtimes.onnx_file import export_onnx, open_onnx, quantise_onnx, run_onnx

MOST = 1000  # tasks timed


def device_times(run: Run) -> pd.DataFrame:
    """The table of decision times in C and ONNX Runtime, one test task at a time, one thread.

    Everything in as many fresh processes as other times, see `studies.timing`. The C files are
    timed by their own command, where a call costs next to nothing; the teacher's too, without a
    limit on constants. Medians and p99 have intervals that hold for a rerun. cold_us: the median
    with caches cold, C only. over_student, over_any: the median over that of `student` or
    `anygraph` in the same runtime. Without a C compiler on the PATH, ONNX Runtime alone.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        written = {name: _exports(run, name, Path(folder)) for name in SHOWN}
        todo = {
            name: (paths, graph, tasks) for name, (_, paths, _, graph, tasks) in written.items()
        }
        parts = in_fresh_processes(_onnx_process, run, todo, what="ONNX Runtime")
        for name, (models, paths, sizes, graph, tasks) in written.items():
            count = run.profile.processes
            spent, cold = _c_times(count, paths, graph, tasks) if shutil.which("cc") else ({}, {})
            spent |= together([part[name] for part in parts])
            about = {"scenario": name, "n_subtasks": graph.n}
            rows += _rows(run, about, spent, cold)
            for row in rows[-len(spent) :]:
                row |= zip(("parameters", "macs"), size_of(models[row["policy"]], graph))
                row |= {f"{kind}_bytes": size for kind, size in sizes[row["policy"]].items()}
    first = ["scenario", "policy", "runtime", "n_subtasks", "median_us", "p99_us"]
    table = pd.DataFrame(rows)
    return table[first + [c for c in table.columns if c not in first]]


def _exports(run: Run, name: str, folder: Path) -> tuple:
    """A scenario's models, their files, sizes in C, its graph and the tasks to time."""
    graph = scenario(name).graph
    tasks = load(run, name, "test").tasks[: min(MOST, run.profile.timing_inputs)]
    models = {r: open_trained(run, r, name, seeds_of(run, r)[0]) for r in (*EXPORTED, "teacher")}
    paths = {role: folder / f"{role}_{name}" for role in models}
    sizes = {role: _written(model, graph, paths[role]) for role, model in models.items()}
    return models, paths, sizes, graph, tasks


def _rows(run: Run, about: dict, spent: Spent, cold: Spent) -> list[dict]:
    """A row a policy and runtime of times (processes, tasks)."""
    rows, seed = [], run.profile.seed
    for (role, runtime), us in spent.items():
        row = about | {"policy": role, "runtime": runtime} | timed(us, seed)
        row["cold_us"] = np.median(cold.get((role, runtime), np.nan))
        rows.append(row | ratios(spent, runtime, us, seed))
    return rows


def _written(model: Model | GraphNetwork, graph: TaskGraph, path: Path) -> dict[str, int]:
    """A network's files: of `anygraph` C alone, of the others ONNX too -> sizes in C."""
    if isinstance(model, GraphNetwork):
        return export_any(model, path.with_suffix(".c"))
    export_onnx(model, graph, path.with_suffix(".onnx"))
    quantise_onnx(path.with_suffix(".onnx"), path.with_suffix(".int8"))
    return export_c(model, graph, path.with_suffix(".c"), limit=None)


def _c_times(count: int, paths: dict, graph: TaskGraph, tasks) -> tuple[Spent, Spent]:
    """Times with caches hot and cold, (processes, tasks); cold on a twentieth of the tasks."""
    for path in paths.values():
        compile_c(path.with_suffix(".c"), path)

    def asked(role, part, mode):
        ask = partial(run_any, paths[role], graph) if role == ANY else partial(run_c, paths[role])
        return ask(part, mode) / 1e3

    both = []
    for mode, part in (("hot", tasks), ("cold", tasks[: max(2, len(tasks) // 20)])):
        rounds = [{role: asked(role, part, mode) for role in paths} for _ in range(count)]
        both.append({(role, "c"): np.array([times[role] for times in rounds]) for role in paths})
    return both[0], both[1]


def _onnx_process(p: int, run: Run, todo: dict[str, tuple]) -> dict[str, Spent]:
    """Times in ONNX Runtime, with weights in float32 and in int8; all take turns on each task.
    Every process has a part of the tasks of its own."""
    out = {}
    for name, (paths, graph, tasks) in todo.items():
        functions, count = {}, len(tasks) // run.profile.processes
        mine = tasks[p * count :][:count]
        for runtime, end in (("onnxruntime", ".onnx"), ("onnxruntime_int8", ".int8")):
            for role in (r for r in paths if r != ANY):
                session = open_onnx(paths[role].with_suffix(end), graph)
                functions[role, runtime] = lambda t, s=session: run_onnx(s, t[None])
        out[name] = dict(zip(functions, time_interleaved(list(functions.values()), list(mine))))
    return out
