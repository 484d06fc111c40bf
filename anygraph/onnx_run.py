"""A model under ONNX Runtime: inputs, sessions, types of tensors.

Everything here runs without graph optimisations and on one thread, so that the operators that run
are the operators of the file and their times add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import onnx
import onnxruntime

from anygraph.onnx_graph import Structure

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


def unknown_sizes(model: onnx.ModelProto, dims: Dims) -> list[str]:
    """What `random_inputs` must be told besides `dims`: names as in `dims`."""
    missing: list[str] = []
    for value in model.graph.input:
        _shape(value, dims, missing)
    return list(dict.fromkeys(missing))


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


# tensors in a file


def save_tensors(file: Path | str, values: Mapping[str, np.ndarray]) -> None:
    """Write tensors by name into an .npz file; `load_tensors` reads them.

    Parameters
    ----------
    file : path
    values : mapping of str to array
        Strings are written with a fixed length, since NumPy has no bytes for Python's.
    """
    arrays = [np.asarray(value) for value in values.values()]
    plain = [array.astype(np.str_) if array.dtype == object else array for array in arrays]
    np.savez(file, np.array([*values], np.str_), *plain)


def load_tensors(file: Path | str) -> dict[str, np.ndarray]:
    """The tensors of `save_tensors` by name, strings with a fixed length.

    Raises
    ------
    ValueError
        For a file that is missing, cut off or of another kind.
    """
    try:
        with np.load(file, allow_pickle=False) as saved:
            names, *arrays = saved.values()
    except (OSError, ValueError, BadZipFile) as error:
        raise ValueError(f"{file}: not a file of tensors ({error})") from None
    return dict(zip(names.tolist(), arrays))


def as_taken(array: np.ndarray) -> np.ndarray:
    """An array as ONNX Runtime takes and gives it: strings are Python's."""
    return array.astype(object) if array.dtype.kind == "U" else array


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
