"""A profile of a model's operators, measured here or elsewhere: time and sizes.

ONNX Runtime writes one event for each operator that ran, in whole microseconds, rounded down: half
a microsecond is added to each. An operator with a body (If, Loop, Scan) takes what the operators in
its body take: its own event has the time in it that writing their events took.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

from anygraph.onnx_graph import Structure, bits
from anygraph.onnx_run import element_type, nbytes, open_session, run_session, tensor_types

RUNS = 5  # after one that warms up
SLOW = 2.0  # seconds: a model whose first run takes longer is run once more, not five times
ROUNDED_OFF = 0.5e-6  # seconds, on average
COPY_OF = "/duplicated"  # ONNX Runtime runs a dequantisation once for each operator that takes it
CAST_OF = ("InsertedPrecisionFreeCast_", "InsertedCast_")  # and casts where it lacks a half kernel


class Profile(NamedTuple):
    """What a profile says of each operator, by its name."""

    seconds: dict[str, float]  # the median over the runs
    input_shapes: dict[str, list[tuple[int, ...]]]  # of those that are tensors, in order
    output_shapes: dict[str, list[tuple[int, ...]]]
    totals: list[float]  # seconds: all operators of each run together, constant ones too


class Measured(NamedTuple):
    """A profile written here, its seconds scaled to what a run takes without a profile."""

    profile: Profile
    scale: float


def measure(
    model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], path: Path, runs: int = RUNS
) -> Measured:
    """Profile a model here: one run to warm up, then `runs`, or one if that took long.

    As many runs go without a profile, since writing it takes time too, most where operators are
    many and small.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain = open_session(model, path)
        profiled = open_session(model, path, Path(folder) / "profile")
        if _seconds(plain, feeds, path) > SLOW:
            runs = 1
        run_session(profiled, feeds, path)
        walls = []
        for _ in range(runs):  # in turn: the machine may be busier at one time than at another
            walls.append(_seconds(plain, feeds, path))
            run_session(profiled, feeds, path)
        profile = read_profile(Path(profiled.end_profiling()), model)
    scale = float(np.median(np.divide(walls, profile.totals)))
    seconds = {name: value * scale for name, value in profile.seconds.items()}
    return Measured(profile._replace(seconds=seconds), scale)


def _seconds(session, feeds: Mapping[str, np.ndarray], path: Path) -> float:
    """How long one run takes."""
    start = time.perf_counter()
    run_session(session, feeds, path)
    return time.perf_counter() - start


def read_profile(path: Path, model: onnx.ModelProto) -> Profile:
    """A profile that ONNX Runtime wrote, of a model's operators.

    Parameters
    ----------
    path : Path
        A JSON file.
    model : onnx.ModelProto
        Prepared (see onnx_graph): its nodes have names.

    Returns
    -------
    Profile
        Of several runs the first is left out. What ONNX Runtime adds (casts, copies of a
        dequantisation) counts with the operator that it was added for.

    Raises
    ------
    ValueError
        For a file that is no such profile, or one without a whole run.
    """
    runs = _runs(path)
    if len(runs) > 1:
        runs = runs[1:]
    owners = _Owners(model)
    seconds: dict[str, list[float]] = {}
    shapes: tuple[dict, dict] = ({}, {})
    totals = [0.0] * len(runs)
    for number, events in enumerate(runs):
        for event, duration in _outermost(events):
            totals[number] += duration
            event_name = event["name"].removesuffix("_kernel_time")
            name = owners.owner(event_name)
            if name is None:
                continue
            times = seconds.setdefault(name, [0.0] * len(runs))
            times[number] += duration
            if event_name == name:
                for kind, known in zip(("input_type_shape", "output_type_shape"), shapes):
                    known[name] = [_shape_of(entry) for entry in event["args"].get(kind, [])]
    medians = {name: float(np.median(times)) for name, times in seconds.items()}
    return Profile(medians, *shapes, totals)


def _shape_of(entry: dict[str, list[int]]) -> tuple[int, ...]:
    """The shape in {"float": [2, 3]}."""
    (shape,) = entry.values()
    return tuple(shape)


class _Owners:
    """Whose time an event of a profile is."""

    def __init__(self, model: onnx.ModelProto):
        self.names = {node.name for node in model.graph.node}
        self.makers: dict[str, str] = {}  # of a tensor; for the model's inputs the first user
        for node in model.graph.node:
            for tensor in node.input:
                self.makers.setdefault(tensor, node.name)
            self.makers |= dict.fromkeys(node.output, node.name)
        for weight in model.graph.initializer:  # cast once, at loading, where optimisations are on
            self.makers.pop(weight.name, None)

    def owner(self, event_name: str) -> str | None:
        """The operator's name; None for an event of no operator of the file."""
        if event_name in self.names:
            return event_name
        for prefix in CAST_OF:
            if event_name.startswith(prefix):
                return self.makers.get(event_name.removeprefix(prefix))
        name = event_name.split(COPY_OF)[0]
        return name if name in self.names else None


def _runs(path: Path) -> list[list[dict]]:
    """The operators' events of every whole run in a profile."""
    try:
        events = json.loads(Path(path).read_text(encoding="utf-8"))
        runs: list[list[dict]] = []
        waiting: list[dict] = []
        for event in events:
            if event["name"] == "model_run":
                runs.append(waiting)
                waiting = []
            elif event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
                waiting.append(event)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"costs: {path}: not a profile of ONNX Runtime ({error!r})") from error
    runs = [run for run in runs if run]
    if not runs:
        raise ValueError(f"costs: {path}: a profile without a run")
    return runs


class _Timed(NamedTuple):
    event: dict
    seconds: float


def _outermost(events: list[dict]) -> list[_Timed]:
    """A run's operators that are in no other's body, with their time."""
    outermost: list[_Timed] = []
    for event in events:  # a body's operators come before the operator that they belong to
        inside = 0.0
        while outermost and outermost[-1].event["ts"] > event["ts"]:
            inside += outermost.pop().seconds
        outermost.append(_Timed(event, inside or event["dur"] * 1e-6 + ROUNDED_OFF))
    return outermost


# sizes


def tensor_bytes(
    structure: Structure, profile: Profile, feeds: Mapping[str, np.ndarray] | None, path: Path
) -> dict[str, float]:
    """Bytes of every tensor that travels: shapes of a profile, types of the model.

    What a profile says nothing of (strings, sequences, maps) is taken from one run.

    Parameters
    ----------
    structure : Structure
    profile : Profile
    feeds : mapping of str to ndarray or None
        Inputs for that one run; sizes of inputs follow from them too.
    path : Path

    Raises
    ------
    ValueError
        For a tensor whose size the profile lacks, if there are no inputs for a run.
    """
    session, types = tensor_types(structure, path)
    sizes = {name: float(nbytes(value)) for name, value in (feeds or {}).items()}
    for operator in structure.operators:
        node = structure.model.graph.node[operator.node]
        for names, shapes in (
            (node.input, profile.input_shapes.get(operator.name, [])),
            (node.output, profile.output_shapes.get(operator.name, [])),
        ):
            sizes.update(_sizes(names, shapes, types))
    travelling = {name for operator in structure.operators for name in operator.takes}
    travelling |= set(structure.outputs) & {n for op in structure.operators for n in op.gives}
    unknown = sorted(travelling - sizes.keys())
    if unknown and feeds is None:
        raise ValueError(
            f"{path}: the profile lacks the size of tensor {unknown[0]!r}; "
            f"say the sizes of inputs, so that it can be run here (--dim NAME=SIZE)"
        )
    if unknown:
        values = run_session(session, feeds, path, unknown)
        sizes |= {name: float(nbytes(value)) for name, value in zip(unknown, values)}
    return sizes


def _sizes(
    names: Iterable[str], shapes: list[tuple[int, ...]], types: Mapping[str, str]
) -> dict[str, float]:
    """Bytes of an operator's tensors. A profile lists the shapes of those that are tensors."""
    names = [name for name in names if name]
    tensors = [name for name in names if types.get(name, "tensor(").startswith("tensor(")]
    if len(tensors) != len(shapes):
        return {}
    sizes = {}
    for name, shape in zip(tensors, shapes):
        element = types.get(name, "").removeprefix("tensor(").removesuffix(")")
        if element and element != "string":  # no element: a constant, which does not travel
            sizes[name] = float(-(-prod(shape) * bits(element_type(element)) // 8))
    return sizes
