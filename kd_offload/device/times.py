"""How long a decision takes in C and in ONNX Runtime: the exported files, timed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from ..artifact import Run
from ..beyond.sweep import Sweep
from ..dataset import load
from ..graphs import TaskGraph
from ..models import Model
from ..rivals.policies import ANY, opened, seeds_of
from ..scenarios import SHOWN, scenario
from ..studies.timing import time_interleaved, timed
from .c_any import export_any, run_any
from .c_file import compile_c, export_c, run_c
from .card import EXPORTED
from .onnx_file import export_onnx, open_onnx, quantise_onnx, run_onnx

MOST, ROUNDS = 1000, 5  # tasks timed; rounds of a C file's command, of which the quickest counts
Spent = dict[tuple[str, str], np.ndarray]  # microseconds of each decision, by (runtime, role)


def device_times(run: Run) -> pd.DataFrame:
    """The table of decision times in C and ONNX Runtime, one test task at a time, one thread.

    The C files are timed by their own command, in interleaved rounds; the teacher's too, without a
    limit on constants. Medians and p99 have intervals from order statistics. cold_us: the median
    with caches cold, C only. over_student: the median over that of `student` in the same runtime.
    Without a C compiler on the PATH, ONNX Runtime alone.
    """
    rows = []
    for name in SHOWN:
        graph = scenario(name).graph
        tasks = load(run, name, "test").tasks[: min(MOST, run.profile.timing_inputs)]
        models = {r: opened(run, r, name, seeds_of(run, r)[0]) for r in (*EXPORTED, "teacher")}
        with tempfile.TemporaryDirectory() as folder:
            paths = {role: Path(folder) / role for role in models}
            sizes = {role: _written(model, graph, paths[role]) for role, model in models.items()}
            spent, cold = _c_times(paths, graph, tasks) if shutil.which("cc") else ({}, {})
            spent |= _onnx_times(paths, graph, tasks)
        for (runtime, role), us in spent.items():
            model, reference = models[role], spent[runtime, "student"]
            macs = model.macs(graph) if role == ANY else model.macs
            row = {"scenario": name, "policy": role, "runtime": runtime, "n_subtasks": graph.n}
            row |= timed(us) | {"parameters": model.parameters, "macs": macs}
            row |= {f"{kind}_bytes": size for kind, size in sizes[role].items()}
            row["cold_us"] = np.median(cold.get((runtime, role), np.nan))
            rows.append(row | {"over_student": np.median(us) / np.median(reference)})
    return pd.DataFrame(rows)


def _written(model: Model | Sweep, graph: TaskGraph, path: Path) -> dict[str, int]:
    """A network's files: of `student_any` C alone, of the others ONNX too -> sizes in C."""
    if isinstance(model, Sweep):
        return export_any(model, path.with_suffix(".c"))
    export_onnx(model, graph, path.with_suffix(".onnx"))
    quantise_onnx(path.with_suffix(".onnx"), path.with_suffix(".int8"))
    return export_c(model, graph, path.with_suffix(".c"), limit=None)


def _c_times(paths: dict[str, Path], graph: TaskGraph, tasks) -> tuple[Spent, Spent]:
    """Times with caches hot and cold, the least of ROUNDS; cold on a twentieth of the tasks."""
    for path in paths.values():
        compile_c(path.with_suffix(".c"), path)

    def asked(role, part, mode):
        return (
            run_any(paths[role], graph, part, mode)
            if role == ANY
            else run_c(paths[role], part, mode)
        )

    both = []
    for mode, part in (("hot", tasks), ("cold", tasks[: max(2, len(tasks) // 20)])):
        rounds = [{role: asked(role, part, mode) for role in paths} for _ in range(ROUNDS)]
        least = {role: np.min([times[role] for times in rounds], axis=0) for role in paths}
        both.append({("c", role): ns / 1e3 for role, ns in least.items()})
    return both[0], both[1]


def _onnx_times(paths: dict[str, Path], graph: TaskGraph, tasks: np.ndarray) -> Spent:
    """Times in ONNX Runtime, with weights in float32 and in int8; all take turns on each task."""
    functions = {}
    for runtime, end in (("onnxruntime", ".onnx"), ("onnxruntime_int8", ".int8")):
        for role in (r for r in paths if r != ANY):
            session = open_onnx(paths[role].with_suffix(end), graph)
            functions[runtime, role] = lambda t, s=session: run_onnx(s, t[None])
    return dict(zip(functions, time_interleaved(list(functions.values()), list(tasks))))
