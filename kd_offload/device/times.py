"""How long a decision takes in C and in ONNX Runtime: the exported files, timed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from ..artifact import Run
from ..dataset import load
from ..graphs import TaskGraph
from ..rivals.policies import opened
from ..scenarios import SHOWN, scenario
from ..studies.timing import time_interleaved, timed
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
    rows, seed = [], run.profile.seeds[0]
    for name in SHOWN:
        graph = scenario(name).graph
        tasks = load(run, name, "test").tasks[: min(MOST, run.profile.timing_inputs)]
        models = {role: opened(run, role, name, seed) for role in (*EXPORTED, "teacher")}
        with tempfile.TemporaryDirectory() as folder:
            paths = {role: Path(folder) / role for role in models}
            sizes = {}
            for role, model in models.items():
                sizes[role] = export_c(model, graph, paths[role].with_suffix(".c"), limit=None)
                export_onnx(model, graph, paths[role].with_suffix(".onnx"))
                quantise_onnx(paths[role].with_suffix(".onnx"), paths[role].with_suffix(".int8"))
            spent, cold = _c_times(paths, tasks) if shutil.which("cc") else ({}, {})
            spent |= _onnx_times(paths, graph, tasks)
        for (runtime, role), us in spent.items():
            model, reference = models[role], spent[runtime, "student"]
            row = {"scenario": name, "policy": role, "runtime": runtime, "n_subtasks": graph.n}
            row |= timed(us) | {"parameters": model.parameters, "macs": model.macs}
            row |= {f"{kind}_bytes": size for kind, size in sizes[role].items()}
            row["cold_us"] = np.median(cold.get((runtime, role), np.nan))
            rows.append(row | {"over_student": np.median(us) / np.median(reference)})
    return pd.DataFrame(rows)


def _c_times(paths: dict[str, Path], tasks: np.ndarray) -> tuple[Spent, Spent]:
    """Times with caches hot and cold, the least of ROUNDS; cold on a twentieth of the tasks."""
    for path in paths.values():
        compile_c(path.with_suffix(".c"), path)
    both = []
    for mode, part in (("hot", tasks), ("cold", tasks[: max(2, len(tasks) // 20)])):
        rounds = [{r: run_c(p, part, mode) for r, p in paths.items()} for _ in range(ROUNDS)]
        least = {role: np.min([times[role] for times in rounds], axis=0) for role in paths}
        both.append({("c", role): ns / 1e3 for role, ns in least.items()})
    return both[0], both[1]


def _onnx_times(paths: dict[str, Path], graph: TaskGraph, tasks: np.ndarray) -> Spent:
    """Times in ONNX Runtime, with weights in float32 and in int8; all take turns on each task."""
    functions = {}
    for runtime, end in (("onnxruntime", ".onnx"), ("onnxruntime_int8", ".int8")):
        for role, path in paths.items():
            session = open_onnx(path.with_suffix(end), graph)
            functions[runtime, role] = lambda t, s=session: run_onnx(s, graph, t[None])
    return dict(zip(functions, time_interleaved(list(functions.values()), list(tasks))))
