"""What ONNX Runtime says of a model: its tensors' types, and a profile of its operators.

Everything here runs without graph optimisations and on one thread, so that the operators that run
are the operators of the file and their times add up.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime

from anygraph.onnx_graph import Structure, bits

RUNS = 5  # after one that warms up
SMALLEST = 0.5e-6  # seconds: what stands for 0 in a profile that counts whole microseconds
COPY_OF = "/duplicated"  # ONNX Runtime runs a dequantisation once for each operator that takes it
CAST_OF = ("InsertedPrecisionFreeCast_", "InsertedCast_")  # and casts where it lacks a half kernel
EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"

Dims = Mapping[str, int | tuple[int, ...]]


# inputs


def random_inputs(
    model: onnx.ModelProto, dims: Dims, given: Mapping[str, Any], path: Path
) -> dict[str, np.ndarray]:
    """Inputs of a model: those given, and random ones of the right type and shape.

    Parameters
    ----------
    model : onnx.ModelProto
    dims : mapping
        Sizes of free dimensions by name; "TENSOR:AXIS" for one without a name; a whole shape for
        a tensor's name.
    given : mapping of str to array
        Values of inputs.
    path : Path
        The model's file: errors name it, and weights may lie beside it.

    Returns
    -------
    dict of str to ndarray
        Floating-point values are uniform in [0, 1), 8-bit integers of their whole range, other
        integers 1 (they are often indices or lengths), booleans true, strings "a".

    Raises
    ------
    ValueError
        For a size that is unknown (all are named), a type that cannot be made up, and names in
        `dims` and `given` that the model lacks.
    """
    values = list(model.graph.input)
    _check_names("inputs", given, {value.name for value in values}, path)
    _check_names("dims", dims, _dimension_names(values) | {"batch"}, path)
    for key, size in dims.items():
        sizes = size if isinstance(size, tuple) else (size,)
        if not all(isinstance(s, (int, np.integer)) and s >= 0 for s in sizes):
            raise ValueError(f"dims: {key}: {size!r}, expected a size, or a tensor's shape")
    missing: list[str] = []
    shapes = {
        value.name: _shape(value, dims, missing) for value in values if value.name not in given
    }
    if missing:
        say = " ".join(f"--dim {key}=SIZE" for key in dict.fromkeys(missing))
        raise ValueError(f"{path}: sizes of inputs are unknown; say {say}")
    rng = np.random.default_rng(0)
    feeds = {}
    for value in values:
        if value.name in given:
            feeds[value.name] = _as_given(value, given[value.name], path)
        else:
            feeds[value.name] = _random(value, shapes[value.name], rng, path)
    return feeds


def _check_names(field: str, names: Iterable[str], known: set[str], path: Path):
    unknown = set(names) - known
    if unknown:
        expected = ", ".join(sorted(known)) or "none"
        raise ValueError(
            f"{path}: {field}: no {min(unknown)!r} in this model, which has {expected}"
        )


def _key(value: onnx.ValueInfoProto, axis: int) -> str:
    """What `dims` calls a free dimension: its name, or TENSOR:AXIS."""
    name = value.type.tensor_type.shape.dim[axis].dim_param
    return name if name.strip("?") else f"{value.name}:{axis}"


def _dimension_names(values: list[onnx.ValueInfoProto]) -> set[str]:
    names = set()
    for value in values:
        names.add(value.name)
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_value == 0:
                names |= {_key(value, axis), f"{value.name}:{axis}"}
    return names


def _shape(value: onnx.ValueInfoProto, dims: Dims, missing: list[str]) -> tuple[int, ...]:
    """The shape of an input. What is not known is added to `missing`."""
    if value.type.WhichOneof("value") != "tensor_type":
        return ()
    whole = dims.get(value.name)
    if isinstance(whole, tuple):
        return whole
    if not value.type.tensor_type.HasField("shape"):
        missing.append(f"{value.name}=AxBxC")
        return ()
    shape = []
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        size = dim.dim_value
        if size == 0:
            key = _key(value, axis)
            size = dims.get(f"{value.name}:{axis}", dims.get(key))
            if size is None:
                missing.append(key)
        shape.append(size)
    return tuple(shape)


def _dtype(value: onnx.ValueInfoProto, path: Path) -> np.dtype:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        what = (kind or "nothing known").removesuffix("_type")
        raise ValueError(
            f"{path}: input {value.name!r} is no tensor ({what}), and cannot be made up; "
            f"give it (inputs=), or cut the model behind it"
        )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    if dtype.kind not in "fiubcO" or dtype.type.__module__ != "numpy":
        name = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        raise ValueError(
            f"{path}: input {value.name!r} is of type {name}, which NumPy lacks; "
            f"begin the model with a Cast from FLOAT"
        )
    return dtype


def _as_given(value: onnx.ValueInfoProto, given: Any, path: Path) -> Any:
    if value.type.WhichOneof("value") != "tensor_type":
        return given  # a sequence, or nothing
    try:
        return np.asarray(given).astype(_dtype(value, path))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: inputs: {value.name!r}: {error}") from error


def _random(
    value: onnx.ValueInfoProto, shape: tuple[int, ...], rng: np.random.Generator, path: Path
) -> np.ndarray:
    dtype = _dtype(value, path)
    if dtype.kind == "f":
        return rng.random(shape).astype(dtype)
    if dtype.kind in "iu" and dtype.itemsize == 1:
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    return np.full(shape, "a" if dtype.kind == "O" else 1, dtype)


# sessions


def open_session(
    model: onnx.ModelProto, path: Path, profile: Path | None = None
) -> onnxruntime.InferenceSession:
    """A session without optimisations, on one thread; with a profile if it is told where.

    Raises
    ------
    ValueError
        With ONNX Runtime's message, which names the operator.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised
    options.add_session_config_entry(EXTERNAL_FOLDER, str(Path(path).resolve().parent))
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's errors have no common class
        hint = "remove or replace that operator, or count instead of running (--costs flops)"
        raise ValueError(
            f"{path}: ONNX Runtime cannot open it: {_message(error)}; {hint}"
        ) from error


def run_session(
    session: onnxruntime.InferenceSession,
    feeds: Mapping[str, np.ndarray],
    path: Path,
    outputs: list[str] | None = None,
) -> list[Any]:
    """The outputs of one run; all by default.

    Raises
    ------
    ValueError
        With ONNX Runtime's message, which names the operator.
    """
    try:
        return session.run(outputs, dict(feeds))
    except Exception as error:  # as above
        hint = (
            "give inputs that it takes (--input NAME=VALUE), "
            "other sizes (--dim NAME=SIZE), or count instead (--costs flops)"
        )
        raise ValueError(
            f"{path}: ONNX Runtime cannot run it: {_message(error)}; {hint}"
        ) from error


def _message(error: Exception) -> str:
    return " ".join(str(error).split())[:400]


# types and sizes of tensors


def tensor_types(
    structure: Structure, path: Path
) -> tuple[onnxruntime.InferenceSession, dict[str, str]]:
    """The type of every tensor that travels, and a session that gives any of them.

    Returns
    -------
    session : onnxruntime.InferenceSession
        Of the model with all tensors as outputs.
    types : dict of str to str
        As ONNX Runtime writes them: "tensor(float)", "seq(tensor(int64))".
    """
    open_model = onnx.ModelProto()
    open_model.CopyFrom(structure.model)
    known = {*structure.outputs, *structure.inputs}
    for operator in structure.operators:
        names = sorted(operator.gives - known)
        open_model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = open_session(open_model, path)
    types = {value.name: value.type for value in [*session.get_inputs(), *session.get_outputs()]}
    return session, types


ELEMENT = {"float": "FLOAT", "double": "DOUBLE"}  # the others are ONNX's names in small letters


def element_type(name: str) -> int:
    """ONNX's number of ONNX Runtime's name of a value's type ("float16")."""
    return onnx.TensorProto.DataType.Value(ELEMENT.get(name, name.upper()))


def nbytes(value: Any) -> int:
    """Bytes of what a session gives: an array, a sequence, a map or nothing."""
    if value is None:
        return 0
    if isinstance(value, dict):
        return nbytes(np.array(list(value))) + nbytes(np.array(list(value.values())))
    if isinstance(value, list):
        return sum(map(nbytes, value))
    array = np.asarray(value)
    if array.dtype.kind in "OU":
        return sum(len(str(text).encode()) for text in array.flat)
    return array.nbytes


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


# profiles


class Profile(NamedTuple):
    """What a profile says of each operator, by its name."""

    seconds: dict[str, float]  # the median over the runs
    input_shapes: dict[str, list[tuple[int, ...]]]  # of those that are tensors, in order
    output_shapes: dict[str, list[tuple[int, ...]]]
    runs: int


def measure(
    model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], path: Path, runs: int = RUNS
) -> Profile:
    """A profile of a model, run here: one run to warm up, then `runs`."""
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(model, path, Path(folder) / "profile")
        for _ in range(runs + 1):
            run_session(session, feeds, path)
        return read_profile(Path(session.end_profiling()), model)


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
        dequantisation) counts with the operator that it was added for; the operators in the body
        of an If, Loop or Scan are in the time of that one already.

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
    for number, events in enumerate(runs):
        for event in _outermost(events):
            event_name = event["name"].removesuffix("_kernel_time")
            name = owners.owner(event_name)
            if name is None:
                continue
            times = seconds.setdefault(name, [0.0] * len(runs))
            times[number] += event["dur"] * 1e-6
            if event_name == name:
                for kind, known in zip(("input_type_shape", "output_type_shape"), shapes):
                    known[name] = [_shape_of(entry) for entry in event["args"].get(kind, [])]
    medians = {name: float(np.median(times)) for name, times in seconds.items()}
    return Profile(medians, *shapes, len(runs))


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


def _outermost(events: list[dict]) -> list[dict]:
    """A run's events without those inside another's time: operators in bodies."""
    outermost: list[dict] = []
    for event in events:  # a body's operators come before the operator that they belong to
        while outermost and outermost[-1]["ts"] > event["ts"]:
            outermost.pop()
        outermost.append(event)
    return outermost
