"""The parts of a split model as a network that the testbed runs, with ONNX Runtime.

Each part runs in one session, opened where it is first needed. A value is a mapping of tensors by
name. Types and shapes of what travels are those of one run, made before the machines start: an
edge carries the plain bytes of its tensors, one after another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from anygraph import onnx_run
from anygraph.onnx_graph import open_model
from anygraph.onnx_run import as_taken, load_tensors, open_session, run_session
from anygraph.split import Manifest, difference, read_manifest
from experiments.testbed.network import edges_from, edges_into

Tensors = Mapping[str, np.ndarray]


def travelling(manifest: Manifest) -> list[str]:
    """The names of all tensors that some edge carries, sorted."""
    return sorted({name for transfer in manifest.transfers for name in transfer.tensors})


def save_tensors(file: Path, manifest: Manifest, values: Mapping[str, Any]) -> None:
    """Save what travels, for `Parts`.

    Parameters
    ----------
    file : path
        An .npz file.
    manifest : Manifest
    values : mapping of str to array
        Every tensor that an edge carries.

    Raises
    ------
    ValueError
        For one that is no tensor.
    """
    for name in travelling(manifest):
        if not isinstance(values[name], np.ndarray):
            kind = type(values[name]).__name__
            raise ValueError(
                f"{manifest.model}: {name!r} is a {kind}, no tensor, and cannot travel between "
                "machines; place what gives it with what takes it"
            )
    onnx_run.save_tensors(file, {name: values[name] for name in travelling(manifest)})


class Parts:
    """A split model (see `network.Network`).

    Parameters
    ----------
    folder : path
        Of the split.
    tensors : path
        What `save_tensors` wrote: the inputs, what travels, and the outputs to compare with.
    """

    def __init__(self, folder: Path | str, tensors: Path | str):
        self.folder = Path(folder)
        manifest = read_manifest(folder)
        self.parts = [part for part in manifest.parts if part.subtasks]
        self.graph, self.workload, self.placement, self.carried = manifest.as_task()
        self.values = load_tensors(tensors)
        self.session = cache(self._session)

    def _session(self, j: int) -> onnxruntime.InferenceSession:
        file = self.folder / self.parts[j - 1].file
        return open_session(open_model(file), file)

    def planned(self, edge: int) -> Tensors:
        """What an edge carried in the run before."""
        return {name: as_taken(self.values[name]) for name in self.carried[edge]}

    def captured(self, seed: int = 0) -> Tensors:
        """The inputs: those of the run before, whatever the seed."""
        found = {}
        for edge in edges_from(self.graph, 0):
            found |= self.planned(edge)
        return found

    def run(self, j: int, inputs: Iterable[Tensors]) -> Tensors:
        """What part j gives."""
        part = self.parts[j - 1]
        known = {name: value for tensors in inputs for name, value in tensors.items()}
        feeds = {name: known[name] for name in part.inputs}
        file = self.folder / part.file
        return dict(zip(part.outputs, run_session(self.session(j), feeds, file, part.outputs)))

    def size(self, edge: int) -> int:
        """Bytes that an edge carries: four for each letter of a string."""
        return sum(self.values[name].nbytes for name in self.carried[edge])

    def encode(self, edge: int, value: Tensors) -> memoryview:
        """An edge's tensors, one after another."""
        pieces = []
        for name in self.carried[edge]:
            pieces.append(value[name].astype(self.values[name].dtype, copy=False).tobytes())
        return memoryview(b"".join(pieces))

    def decode(self, edge: int, data: bytes) -> Tensors:
        """An edge's tensors again."""
        found = {}
        begin = 0
        for name in self.carried[edge]:
            dtype, shape = self.values[name].dtype, self.values[name].shape
            end = begin + dtype.itemsize * prod(shape)
            # A copy: the tensors before may leave this one where no number of its type may begin.
            array = np.ndarray(shape, dtype, data[begin:end]).copy()
            found[name] = as_taken(array)
            begin = end
        return found

    def judged(self, results: Iterable[Tensors]) -> dict[str, Any]:
        """The largest relative difference of an output from what was expected."""
        found = [0.0]
        for edge, result in zip(edges_into(self.graph, self.graph.n + 1), results):
            for name, expected in self.planned(edge).items():
                found.append(difference(result[name], expected))
        return {"difference": max(found)}
