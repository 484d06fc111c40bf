"""A placed model as several: one ONNX file for each stretch that runs in one place.

A part begins with a subtask that takes something from elsewhere, and ends with one that sends
something elsewhere. So nothing waits for more than in the delay model: parts begin and send when
their subtasks would. In a place whose subtasks never wait for one another (the cloud) a part is a
chain. Parts are numbered by their first subtask; what a part takes comes from earlier ones.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx

from anygraph.model_files import ModelFile
from anygraph.onnx_graph import Structure, constants_of, open_model, prepare, taken_by
from anygraph.onnx_run import (
    as_taken,
    element_type,
    load_tensors,
    nbytes,
    open_session,
    run_session,
    save_tensors,
    tensor_types,
)
from kd_offload.data import sha256, written_aside
from kd_offload.delay import SERIAL
from kd_offload.graphs import DEVICE, LOCATIONS, TaskGraph

MANIFEST = "manifest.json"
INPUTS = "inputs.npz"  # what the model was run with; not there if some input is no tensor
OUTPUTS = "outputs.npz"  # what the whole model gave then; not there if nothing was checked
LARGEST_FILE = (
    1_900_000_000  # bytes: above, weights go into a file beside the part (protobuf: 2 GB)
)
LIMIT = 1e-5  # largest difference from the whole, relative to an output's largest value
# ONNX Runtime computes half precision in single where it lacks a kernel, and rounds between parts:
HALF_LIMIT = 1e-2
NOT_IN_NUMPY = ("bfloat16", "float8", "float4", "int4", "uint4", "int2", "uint2")


@dataclass(frozen=True)
class Part:
    """One stretch of a model that runs in one place.

    Parameters
    ----------
    file : str
        Its ONNX file, in the manifest's folder.
    location : str
        device, edge or cloud.
    subtasks : list of int
        Numbers of its subtasks, from 1; empty for outputs that are constants.
    names : list of str
        What these subtasks are called.
    cycles : float
        Of its subtasks together.
    inputs, outputs : list of str
        Tensors that it takes and gives.
    weight_bytes : int
        Of the weights in its file.
    """

    file: str
    location: str
    subtasks: list[int]
    names: list[str]
    cycles: float
    inputs: list[str]
    outputs: list[str]
    weight_bytes: int


@dataclass(frozen=True)
class Transfer:
    """What one part sends another.

    Parameters
    ----------
    sender, receiver : int
        Numbers of parts, from 1 in the order that they run; the source is 0, the sink the last
        part's number plus 1, as in a task graph.
    tensors : list of str
    bytes : float
        Of these tensors together.
    """

    sender: int
    receiver: int
    tensors: list[str]
    bytes: float


@dataclass(frozen=True)
class Manifest:
    """The parts of a model, in an order in which they can run.

    Parameters
    ----------
    model : str
        The whole model's file name.
    sha256 : str
        Of the whole model's file.
    parts : list of Part
    transfers : list of Transfer
    location_weight_bytes : dict of str to int
        Of the weights at each location; what several parts there use counts once.
    """

    model: str
    sha256: str
    parts: list[Part]
    transfers: list[Transfer]
    location_weight_bytes: dict[str, int]

    def as_task(self) -> PartTask:
        """The parts as subtasks: what then runs.

        Its delay is the model's, but for two things: a tensor goes to a part once, not to each of
        its subtasks, and transfers that wait for one link may change their order.
        """
        parts = [part for part in self.parts if part.subtasks]
        ends = {len(self.parts) + 1: len(parts) + 1}  # the sink; constants have no subtask
        sizes = {}
        names = {}
        for transfer in self.transfers:
            edge = (transfer.sender, ends.get(transfer.receiver, transfer.receiver))
            sizes[edge] = transfer.bytes
            names[edge] = tuple(transfer.tensors)
        fed = {receiver for _, receiver in sizes}
        for number in range(1, len(parts) + 1):
            if number not in fed:  # random numbers, made of nothing
                sizes[0, number] = 0.0
        graph = TaskGraph(f"{Path(self.model).stem}_parts", len(parts), tuple(sizes))
        costs = [part.cycles for part in parts] + [sizes[edge] for edge in graph.edges]
        placement = [LOCATIONS.index(part.location) for part in parts]
        tensors = tuple(names.get(edge, ()) for edge in graph.edges)
        return PartTask(graph, np.array(costs), np.array(placement), tensors)


class PartTask(NamedTuple):
    """A split model as a task that is placed already."""

    graph: TaskGraph  # a subtask for each part
    workload: np.ndarray  # float64 (n + E,): cycles, then bytes
    placement: np.ndarray  # int64 (n,)
    tensors: tuple[tuple[str, ...], ...]  # names of those that each edge carries: (E,)


# splitting


def split_model(
    model_file: ModelFile,
    placement: Sequence[int] | np.ndarray,
    folder: Path | str,
    beside: Mapping[str, str] | None = None,
) -> Manifest:
    """Write a model's parts, a manifest of them, and the model's inputs into a folder.

    Parameters
    ----------
    model_file : ModelFile
    placement : int array (n,)
        The location of every subtask: 0 device, 1 edge, 2 cloud.
    folder : path
        Made if there is none. An earlier split in it is replaced, whole or not at all.
    beside : mapping of str to str, optional
        Other files of the folder: their names and texts.

    Returns
    -------
    Manifest
        As saved in `manifest.json`.

    Raises
    ------
    ValueError
        For a placement that does not fit, or a folder that holds anything but an earlier split.
    """
    folder = Path(folder).resolve()
    placement = _checked(placement, model_file)
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).exists():
        raise ValueError(f"folder: {str(folder)!r} holds other things than a split; take a new one")
    stretches = _stretches(model_file, placement)
    _, types = tensor_types(model_file.structure, model_file.path)
    _check_types(stretches, types, model_file)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    aside.mkdir(parents=True)
    try:
        parts = []
        for number, stretch in enumerate(stretches, start=1):
            file = f"part_{number:03d}_{LOCATIONS[stretch.location]}.onnx"
            weight_bytes = _save_part(model_file, stretch, types, aside / file)
            parts.append(_described(model_file, stretch, file, weight_bytes))
        manifest = Manifest(
            model_file.path.name,
            sha256(model_file.path),
            parts,
            _transfers(model_file, stretches),
            _location_weights(model_file.structure, stretches),
        )
        text = json.dumps(asdict(manifest), indent=1) + "\n"
        for name, content in {**(beside or {}), MANIFEST: text}.items():
            (aside / name).write_text(content, encoding="utf-8")
        if all(isinstance(value, np.ndarray) for value in model_file.inputs.values()):
            save_tensors(aside / INPUTS, model_file.inputs)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return manifest


def _checked(placement, model_file: ModelFile) -> np.ndarray:
    array = np.asarray(placement)
    n = model_file.graph.n
    if array.shape != (n,):
        raise ValueError(f"placement: shape {array.shape}, expected one location for {n} subtasks")
    if not np.isin(array, range(len(LOCATIONS))).all():
        wrong = array[~np.isin(array, range(len(LOCATIONS)))][0]
        raise ValueError(f"placement: {wrong!r}, expected 0 (device), 1 (edge) or 2 (cloud)")
    return array.astype(np.int64)


class _Stretch(NamedTuple):
    """Subtasks that run together, and what goes in and out."""

    location: int
    subtasks: list[int]
    nodes: list[int]  # numbers of the operators' nodes, in order
    inputs: list[str]
    outputs: list[str]


def _stretches(model_file: ModelFile, placement: np.ndarray) -> list[_Stretch]:
    """The parts in an order in which they can run."""
    structure = model_file.structure
    operators = {operator.name: operator for operator in structure.operators}
    runs = _runs(model_file.graph, placement)
    members = [[operators[name] for j in run for name in model_file.members[j - 1]] for run in runs]
    takes = [frozenset().union(*(op.takes for op in group)) for group in members]
    gives = [frozenset().union(*(op.gives for op in group)) for group in members]
    stretches = []
    for k, run in enumerate(runs):
        elsewhere = set(structure.outputs).union(*takes[:k], *takes[k + 1 :])
        stretches.append(
            _Stretch(
                int(placement[run[0] - 1]),
                run,
                sorted(operator.node for operator in members[k]),
                sorted(takes[k] - gives[k]),
                sorted(gives[k] & elsewhere),
            )
        )
    constant = {*structure.constant_nodes, *structure.weight_bytes} & {*structure.outputs}
    if constant:
        stretches.append(_Stretch(DEVICE, [], [], [], sorted(constant)))
    return stretches


def _runs(graph: TaskGraph, placement: np.ndarray) -> list[list[int]]:
    """Which subtasks run together, by their first subtask's number."""
    place = [DEVICE, *placement.tolist(), DEVICE]
    crossing = [(i, j) for i, j in graph.edges if place[i] != place[j]]
    sends = {i for i, _ in crossing}
    receives = {j for _, j in crossing}
    runs: list[list[int]] = []
    growing: dict[tuple[int, int], list[int]] = {}  # by location, and by last subtask in a chain
    for j in range(1, graph.n + 1):
        location = place[j]
        run = growing.pop((location, 0 if SERIAL[location] else _alone_before(graph, j)), [])
        if not run or j in receives:
            run = []
            runs.append(run)
        run.append(j)
        if j not in sends:
            growing[location, 0 if SERIAL[location] else j] = run
    return runs


def _alone_before(graph: TaskGraph, j: int) -> int:
    """The subtask that alone feeds j and feeds nothing else; -1 if there is none."""
    feeding = [i for i, k in graph.edges if k == j]
    if len(feeding) == 1 and [i for i, _ in graph.edges].count(feeding[0]) == 1:
        return feeding[0]
    return -1


def _check_types(stretches: list[_Stretch], types: Mapping[str, str], model_file: ModelFile):
    """Refuse what ONNX Runtime's Python cannot hand from one part to the next."""
    for stretch in stretches:
        for name in stretch.inputs:
            element = types[name].rpartition("(")[2].rstrip(")")
            if element.startswith(NOT_IN_NUMPY):
                raise ValueError(
                    f"{model_file.path}: tensor {name!r} is of type {element}, which cannot "
                    f"travel between parts; place what gives it with what takes it"
                )


def _needs(structure: Structure, stretch: _Stretch):
    """The constants behind a part's operators, or behind outputs that are constants."""
    names = set(stretch.outputs)
    for number in stretch.nodes:
        names |= taken_by(structure.model.graph.node[number])
    return constants_of(structure, names)


def _save_part(model_file: ModelFile, stretch: _Stretch, types: Mapping, file: Path) -> int:
    """Write one part. Returns the bytes of its weights."""
    structure = model_file.structure
    whole = structure.model
    needs = _needs(structure, stretch)
    part = onnx.ModelProto()
    part.ir_version = whole.ir_version
    part.opset_import.extend(whole.opset_import)
    part.graph.name = file.stem
    part.graph.node.extend(whole.graph.node[k] for k in sorted({*stretch.nodes, *needs.nodes}))
    part.graph.initializer.extend(t for t in whole.graph.initializer if t.name in needs.weights)
    part.graph.sparse_initializer.extend(
        t for t in whole.graph.sparse_initializer if t.values.name in needs.weights
    )
    given = {value.name: value for value in whole.graph.input}
    part.graph.input.extend(given.get(n) or _value(n, types[n]) for n in stretch.inputs)
    part.graph.output.extend(_value(name, types[name]) for name in stretch.outputs)
    onnx.load_external_data_for_model(part, str(Path(model_file.path).resolve().parent))
    onnx.save(
        part, file, save_as_external_data=needs.bytes > LARGEST_FILE, location=f"{file.name}.data"
    )
    return needs.bytes


def _value(name: str, written: str) -> onnx.ValueInfoProto:
    """A tensor's name and type, as ONNX has it."""
    return onnx.ValueInfoProto(name=name, type=_type(written))


def _type(written: str) -> onnx.TypeProto:
    """ONNX's type for one that ONNX Runtime writes: "seq(tensor(float))"."""
    kind, _, inner = written.removesuffix(")").partition("(")
    if kind == "tensor":
        return onnx.helper.make_tensor_type_proto(element_type(inner), None)
    if kind == "sparse_tensor":
        return onnx.helper.make_sparse_tensor_type_proto(element_type(inner), None)
    if kind == "seq":
        return onnx.helper.make_sequence_type_proto(_type(inner))
    if kind == "optional":
        return onnx.helper.make_optional_type_proto(_type(inner))
    key, _, value = inner.partition(",")
    return onnx.helper.make_map_type_proto(element_type(key), _type(value))


def _described(model_file: ModelFile, stretch: _Stretch, file: str, weight_bytes: int) -> Part:
    return Part(
        file,
        LOCATIONS[stretch.location],
        stretch.subtasks,
        [model_file.names[j - 1] for j in stretch.subtasks],
        float(sum(model_file.cycles[j - 1] for j in stretch.subtasks)),
        stretch.inputs,
        stretch.outputs,
        weight_bytes,
    )


def _transfers(model_file: ModelFile, stretches: list[_Stretch]) -> list[Transfer]:
    """What travels between parts, each tensor once for each part that takes it."""
    structure = model_file.structure
    maker = dict.fromkeys(structure.inputs, 0)
    for number, stretch in enumerate(stretches, start=1):
        if stretch.subtasks:
            maker |= dict.fromkeys(stretch.outputs, number)
    taken = [*(stretch.inputs for stretch in stretches), sorted(set(structure.outputs))]
    tensors: dict[tuple[int, int], list[str]] = {}
    for receiver, names in enumerate(taken, start=1):
        for name in names:
            sender = maker.get(name)
            if sender is None or (sender == 0 and receiver == len(taken)):
                continue  # a constant, or an input passed through: both are on the device
            tensors.setdefault((sender, receiver), []).append(name)
    return [
        Transfer(*pair, names, float(sum(model_file.tensor_bytes[name] for name in names)))
        for pair, names in tensors.items()
    ]


def _location_weights(structure: Structure, stretches: list[_Stretch]) -> dict[str, int]:
    """Bytes of weights at each location, those that several parts use counted once."""
    total = {}
    for location, name in enumerate(LOCATIONS):
        here = [stretch for stretch in stretches if stretch.location == location]
        together = _Stretch(
            location,
            [],
            [number for stretch in here for number in stretch.nodes],
            [],
            [name for stretch in here for name in stretch.outputs],
        )
        total[name] = _needs(structure, together).bytes
    return total


# checking


class Check(NamedTuple):
    """How the parts' outputs compare with the whole model's."""

    largest_difference: float  # over all outputs
    differences: dict[str, float]  # of each output: largest difference over largest value
    limit: float
    equal: bool  # within the limit
    sent: dict[str, int]  # bytes of each tensor between parts, as it was in this run
    expected: dict[str, Any]  # the whole model's outputs


def read_manifest(folder: Path | str) -> Manifest:
    """The manifest of a split.

    Raises
    ------
    ValueError
        For a folder without one, or one of another form.
    """
    file = Path(folder) / MANIFEST
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        content["parts"] = [Part(**part) for part in content["parts"]]
        content["transfers"] = [Transfer(**transfer) for transfer in content["transfers"]]
        manifest = Manifest(**content)
        _check_manifest(manifest)
        return manifest
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: not a manifest of a split model ({error})") from error


def _check_manifest(manifest: Manifest) -> None:
    """Raise ValueError unless transfers bring every part what it takes, from what gives it."""
    last = len(manifest.parts) + 1
    brought: dict[int, set[str]] = {}
    for transfer in manifest.transfers:
        ends = f"transfer from {transfer.sender} to {transfer.receiver}"
        if not 0 <= transfer.sender < transfer.receiver <= last:
            raise ValueError(f"{ends}: expected rising numbers from 0 to {last}")
        if transfer.sender > 0:
            sender = manifest.parts[transfer.sender - 1]
            missing = sorted({*transfer.tensors} - {*sender.outputs})
            if missing:
                raise ValueError(f"{ends}: {missing[0]!r}, which {sender.file} does not give")
        brought.setdefault(transfer.receiver, set()).update(transfer.tensors)
    for number, part in enumerate(manifest.parts, start=1):
        if part.location not in LOCATIONS:
            known = ", ".join(LOCATIONS)
            raise ValueError(f"{part.file}: location {part.location!r}, expected {known}")
        missing = sorted({*part.inputs} - brought.get(number, set()))
        if missing:
            raise ValueError(f"{part.file}: takes {missing[0]!r}, which no transfer brings")


def read_values(folder: Path | str, name: str) -> dict[str, np.ndarray]:
    """The inputs (INPUTS) or outputs (OUTPUTS) that lie beside the parts; empty if none do.

    Raises
    ------
    ValueError
        For a file of another kind.
    """
    file = Path(folder) / name
    if not file.exists():
        return {}
    return {name: as_taken(array) for name, array in load_tensors(file).items()}


def check_split(folder: Path | str, model: Path | str, inputs: Mapping[str, Any]) -> Check:
    """Run the parts one after another, and the whole, and compare their outputs.

    Parameters
    ----------
    folder : path
        Of a split.
    model : path
        The whole model's file.
    inputs : mapping of str to array
        All inputs of the model, such as `ModelFile.inputs`.

    Returns
    -------
    Check

    Raises
    ------
    ValueError
        If the model is another than the one that was split, or ONNX Runtime refuses a part.
    """
    folder, model = Path(folder), Path(model)
    manifest = read_manifest(folder)
    expected = run_whole(manifest, model, inputs)
    values = run_parts(folder, manifest, inputs)
    differences = {name: difference(values[name], expected[name]) for name in expected}
    sent = {name for transfer in manifest.transfers for name in transfer.tensors}
    limit = difference_limit(values[name] for name in sent)
    largest = max(differences.values())
    sizes = {name: nbytes(values[name]) for name in sorted(sent)}
    return Check(largest, differences, limit, largest <= limit, sizes, expected)


def save_outputs(folder: Path | str, check: Check) -> None:
    """Keep the whole model's outputs beside the parts, unless one is no tensor."""
    if all(isinstance(value, np.ndarray) for value in check.expected.values()):
        with written_aside(Path(folder) / OUTPUTS) as aside:
            save_tensors(aside, check.expected)


def difference_limit(sent: Iterable[Any]) -> float:
    """How much outputs may differ where these tensors travel between parts."""
    half = any(getattr(value, "dtype", None) == np.float16 for value in sent)
    return HALF_LIMIT if half else LIMIT


def run_whole(manifest: Manifest, model: Path | str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of the model that was split, by name; ValueError if `model` is another."""
    model = Path(model)
    whole = open_model(model)
    if sha256(model) != manifest.sha256:
        raise ValueError(f"{model}: not the model that was split, {manifest.model}")
    session = open_session(prepare(whole), model)
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, run_session(session, inputs, model, names)))


def run_parts(folder: Path | str, manifest: Manifest, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Run the parts one after another: every tensor that goes in or out of one, by name."""
    values = dict(inputs)
    for part in manifest.parts:
        file = Path(folder) / part.file
        session = open_session(open_model(file), file)
        feeds = {name: values[name] for name in part.inputs}
        values |= zip(part.outputs, run_session(session, feeds, file, part.outputs))
    return values


def difference(value: Any, expected: Any) -> float:
    """Largest difference, relative to the largest expected value; infinite if of another kind."""
    if isinstance(expected, list):
        if len(value) != len(expected):
            return np.inf
        return max(map(difference, value, expected), default=0.0)
    if isinstance(expected, dict):
        if value.keys() != expected.keys():
            return np.inf
        return max((difference(value[key], expected[key]) for key in expected), default=0.0)
    value, expected = np.asarray(value), np.asarray(expected)
    if value.shape != expected.shape or value.dtype != expected.dtype:
        return np.inf
    if expected.dtype.kind not in "fc":
        return 0.0 if np.array_equal(value, expected) else np.inf
    finite = np.isfinite(expected)
    if not np.array_equal(value[~finite], expected[~finite], equal_nan=True):
        return np.inf
    wide = np.result_type(expected.dtype, np.float64)
    largest = np.abs(value[finite].astype(wide) - expected[finite].astype(wide)).max(initial=0.0)
    scale = np.abs(expected[finite].astype(wide)).max(initial=0.0)
    return float(largest / (scale or 1.0))
