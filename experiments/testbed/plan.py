"""A plan in the testbed: a split model runs in the three processes, measured beside predicted.

`python -m experiments.testbed --plan DIR`. Predicted is the delay of the parts, as the manifest has
them, in a state. Every task runs with the same inputs, made as the plan's were. Two tasks, not
counted, open the sessions of ONNX Runtime.

One computer is no quicker than it is: where the edge server is to run ten times as fast, its parts
would be late. So everything, speeds, bandwidths and propagation delays, is made slower by one
factor, and delays are divided by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import onnx

from anygraph.onnx_graph import open_model, prepare
from anygraph.onnx_run import nbytes, random_inputs
from anygraph.split import (
    INPUTS,
    MANIFEST,
    OUTPUTS,
    Manifest,
    PartTask,
    difference_limit,
    read_manifest,
    read_values,
    run_parts,
    run_whole,
)
from anygraph.state import STATE_FILE, State, read_state
from experiments.testbed.device import PATIENCE_DELAYS
from experiments.testbed.link import clock
from experiments.testbed.machines import Machines
from experiments.testbed.network import edges_into
from experiments.testbed.parts import Parts, save_tensors, travelling
from experiments.testbed.sessions import RESULT_S
from kd_offload.delay import delay
from kd_offload.tasks import STATE

WARM_UP = 2  # tasks that are not counted
LEAST_S = 10.0  # that a task counts as predicted to take, for the device's patience
LATE = 0.02  # of the delay, by which parts may be late
HANDOVER_S = 5e-4  # that a part loses here, whatever it does, until it has its input
ROOM = 2.0  # times as long as alone: three processes may share as few as two processor cores
STEP = 1.1  # between slowdowns that are tried


@dataclass(frozen=True)
class Trial:
    """What is run, and how."""

    folder: Path
    """Of a split model."""
    state: State = field(default_factory=State)
    """In which the delay is predicted; the testbed's own."""
    model: Path | None = None
    """The whole model, to compare outputs with; None: the folder's outputs if it has them, else
    those of the parts, run one after another."""
    dims: Mapping[str, int | tuple[int, ...]] = field(default_factory=dict)
    """Sizes of free dimensions of the inputs."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Inputs that are given; the others are random. Without `dims` and `inputs` all are those of
    the folder, if it has them."""
    tasks: int = 20
    """How many are measured."""
    held: bool = True
    """Whether parts are held until their cycles are over."""
    namespaces: bool = False
    """Whether the kernel shapes the links."""
    slowdown: float | None = None
    """How many times slower everything is; None: as much as this computer needs, if held."""

    def __post_init__(self):
        if not isinstance(self.tasks, int) or self.tasks < 1:
            raise ValueError(f"tasks: {self.tasks!r}, expected 1 or more")
        if self.slowdown is None:
            return
        if not 1 <= self.slowdown < np.inf:
            raise ValueError(f"slowdown: {self.slowdown!r}, expected a number of at least 1")
        if not self.held and self.slowdown > 1:
            raise ValueError(f"slowdown: {self.slowdown!r}, but parts that take their own time "
                             "cannot be slowed down; expected --compute held")  # fmt: skip


class Result(NamedTuple):
    """Measured beside predicted; delays are those at full speed."""

    model: str
    placement: np.ndarray  # int64 (n,): of the parts
    predicted_s: float
    measured_s: np.ndarray  # float64 (tasks,)
    slowdown: float
    difference: float  # of outputs: the largest, relative
    limit: float  # up to which they count as equal
    notes: tuple[str, ...]

    def row(self) -> dict[str, Any]:
        """A row of a table."""
        median_s = float(np.median(self.measured_s))
        return {
            "model": self.model,
            "parts": len(self.placement),
            "tasks": len(self.measured_s),
            "predicted_ms": 1e3 * self.predicted_s,
            "measured_ms": 1e3 * median_s,
            "least_ms": 1e3 * float(self.measured_s.min()),
            "most_ms": 1e3 * float(self.measured_s.max()),
            "ratio": median_s / self.predicted_s,
            "slowdown": self.slowdown,
            "difference": self.difference,
            "equal": self.difference <= self.limit,
        }


class _Plan(NamedTuple):
    """A split model, read and run once."""

    manifest: Manifest
    task: PartTask
    values: dict[str, Any]  # of every tensor that travels; outputs are the expected ones
    notes: tuple[str, ...]


def run_plan(trial: Trial, tell: Callable[[str], None] = lambda line: None) -> Result:
    """Run a split model in the three processes.

    Parameters
    ----------
    trial : Trial
    tell : callable, optional
        Gets a line of text for each task.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        For a folder, a model or inputs that do not fit.
    RuntimeError
        If a machine fails, or a result does not come back.
    """
    plan = _read(trial)
    task = plan.task
    state = trial.state.vector
    predicted_s = delay(task.graph, np.concatenate([task.workload, state]), task.placement)
    if predicted_s == 0:
        raise ValueError(f"{trial.folder}: the delay is 0 s, and nothing can be measured beside it")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "tensors.npz"
        save_tensors(file, plan.manifest, plan.values)
        arguments = {"folder": str(trial.folder.resolve()), "tensors": str(file)}
        slowdown = trial.slowdown
        if slowdown is None:
            slowdown = 1.0
            if trial.held:
                held = task.workload[: task.graph.n] / state[task.placement]
                slowdown = needed_slowdown(_seconds(Parts(**arguments)), held, predicted_s)
            tell(f"everything takes {slowdown:.3g} times as long, and delays are divided by that")
        with Machines(namespaces=trial.namespaces, held=trial.held, plan=arguments) as machines:
            machines.set_state(slower(state, slowdown).tolist())
            answers = []
            for number in range(1, WARM_UP + trial.tasks + 1):
                answer = _run_task(machines, task, number, slowdown * predicted_s)
                milliseconds = 1e3 * answer["measured_s"] / slowdown
                counted = "not counted" if number <= WARM_UP else f"{milliseconds:.1f} ms"
                tell(f"task {number - WARM_UP}: {counted}")
                answers.append(answer)
    measured_s = np.array([answer["measured_s"] for answer in answers[WARM_UP:]])
    return Result(
        Path(plan.manifest.model).name,
        task.placement,
        predicted_s,
        measured_s / slowdown,
        slowdown,
        max(answer["difference"] for answer in answers),
        difference_limit(plan.values.values()),
        plan.notes,
    )


def _run_task(machines: Machines, task: PartTask, number: int, predicted_s: float) -> dict:
    """What the device answers of one task, which takes about `predicted_s` here."""
    predicted_s = max(predicted_s, LEAST_S)
    answer = machines.ask_device(
        RESULT_S + 2 * PATIENCE_DELAYS * predicted_s,
        do="execute",
        task=number,
        network=task.graph.name,
        seed=0,
        placement=task.placement.tolist(),
        predicted_s=predicted_s,
    )
    machines.ask(do="forget", task=number)
    reports = machines.ask(do="report")
    refused = [why for report in reports for why in report["refused"]]
    if answer["alone"]:
        raise RuntimeError("; ".join([f"task {number}: {answer['alone']}", *refused]))
    return answer


# reading


def _read(trial: Trial) -> _Plan:
    """Read a split model and run it once, here."""
    manifest = read_manifest(trial.folder)
    try:
        task = manifest.as_task()
    except (ValueError, TypeError) as error:
        raise ValueError(f"{trial.folder / MANIFEST}: {error}") from error
    inputs = _inputs(trial, manifest, task)
    found = run_parts(trial.folder, manifest, inputs)
    values = {name: found[name] for name in travelling(manifest)}
    notes = _other_sizes(task, values)
    outputs = {}
    if trial.model is not None:
        outputs = run_whole(manifest, trial.model, inputs)
    elif not (trial.dims or trial.inputs):
        outputs = read_values(trial.folder, OUTPUTS)
    values |= _expected(trial, outputs, values)
    return _Plan(manifest, task, values, notes)


def _inputs(trial: Trial, manifest: Manifest, task: PartTask) -> dict[str, Any]:
    """Inputs of the whole model; without it, those that parts take from the source."""
    ends = zip(task.graph.edges, task.tensors)
    names = {name for (i, _), tensors in ends if i == 0 for name in tensors}
    inputs = {}
    if not (trial.dims or trial.inputs):
        inputs = read_values(trial.folder, INPUTS)
    if inputs:
        missing = sorted(names - {*inputs})
        if missing:
            raise ValueError(f"{trial.folder / INPUTS}: no input {missing[0]!r}")
        return inputs
    dims = {"batch": 1, **trial.dims}
    if trial.model is not None:
        return random_inputs(prepare(open_model(trial.model)), dims, trial.inputs, trial.model)
    infos = {}
    for part in manifest.parts:
        for info in open_model(trial.folder / part.file).graph.input:
            infos[info.name] = info
    missing = sorted(names - {*infos})
    if missing:
        raise ValueError(f"{trial.folder / MANIFEST}: no part takes the input {missing[0]!r}")
    source = onnx.ModelProto()
    source.graph.input.extend(infos[name] for name in sorted(names))
    return random_inputs(source, dims, trial.inputs, trial.folder)


def _expected(
    trial: Trial, outputs: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, Any]:
    """The whole model's outputs, of those that travel."""
    expected = {name: value for name, value in outputs.items() if name in values}
    for name, value in expected.items():
        shape, whole = np.shape(values[name]), np.shape(value)
        if shape != whole:
            where = trial.model or trial.folder
            raise ValueError(f"{where}: output {name!r} has shape {whole}, of the parts {shape}")
    return expected


def _other_sizes(task: PartTask, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Notes on edges that carry other bytes than is predicted with."""
    notes = []
    for edge, names in enumerate(task.tensors):
        planned = task.workload[task.graph.n + edge]
        carried = sum(nbytes(values[name]) for name in names)
        if carried != planned:
            notes.append(
                f"{', '.join(names)}: {carried} bytes, planned with {planned:g}; "
                "were other inputs or sizes given?"
            )
    return tuple(notes)


def planned_state(folder: Path) -> dict[str, float]:
    """The state that lies beside the parts; empty if none does."""
    file = folder / STATE_FILE
    return read_state(file) if file.exists() else {}


# slower, for a computer that is not as quick


def slower(state: np.ndarray, slowdown: float) -> np.ndarray:
    """A state (8,) in which everything takes `slowdown` times as long."""
    return np.where([name.startswith("tau") for name in STATE], state * slowdown, state / slowdown)


def needed_slowdown(seconds: np.ndarray, held: np.ndarray, predicted_s: float) -> float:
    """The slowdown at which parts that are late here add little to a task's delay.

    Parameters
    ----------
    seconds : ndarray
        What each part takes on this computer. float64 (n,)
    held : ndarray
        What it takes in the delay model, at full speed. float64 (n,), s
    predicted_s : float
        The task's delay.

    Returns
    -------
    float
        1 or more: parts together are late by at most LATE of the delay, HANDOVER_S each included.
    """
    slowdown = 1.0
    while True:
        late = np.maximum(ROOM * seconds - slowdown * held, 0.0) + HANDOVER_S
        if late.sum() <= LATE * slowdown * predicted_s:
            return slowdown
        slowdown *= STEP


def _seconds(parts: Parts) -> np.ndarray:
    """What each part takes here, one after another. float64 (n,)"""
    seconds = []
    for j in range(1, parts.graph.n + 1):
        inputs = [parts.planned(edge) for edge in edges_into(parts.graph, j)]
        parts.run(j, inputs)  # the first run takes longer
        begin = clock()
        parts.run(j, inputs)
        seconds.append(clock() - begin)
    return np.array(seconds)
