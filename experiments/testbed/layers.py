"""The networks that the testbed runs: real torch layers, at a smaller scale.

A picture of 64 by 64 pixels has 1 / SCALE of the operations and of the bytes of one of 224 by 224;
only the classifier and the result, 4,000 bytes, are the same. Where speeds and bandwidths are
1 / SCALE too, all delays are those of the full size, and two cores can really compute what three
machines would. AlexNet and VGG-16 are left out: their dense layers have weights for pictures of 224
pixels alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from experiments.scenarios.networks import BUILDERS, cut
from experiments.scenarios.networks import PIXELS as FULL_PIXELS
from experiments.testbed.network import edges_into
from kd_offload.graphs import TaskGraph
from kd_offload.tasks import STATE

NETWORKS = ("resnet18", "mobilenetv2", "inception")
PIXELS = 64  # of a picture's side
SCALE = (FULL_PIXELS / PIXELS) ** 2
# The full-size state over the testbed's: speeds and bandwidths are scaled, propagation is not.
STATE_SCALE = np.array([1.0 if name.startswith("tau") else SCALE for name in STATE])


class Layers(NamedTuple):
    """A network that can be run subtask by subtask (see `network.Network`)."""

    graph: TaskGraph
    workload: np.ndarray  # (n + edges,): cycles and bytes of the small pictures
    full_workload: np.ndarray  # (n + edges,): those of full-size pictures
    blocks: list  # the torch modules of subtasks 1..n
    shapes: list  # of the tensors that nodes 0..n give

    def run(self, j: int, inputs: list[torch.Tensor]) -> torch.Tensor:
        """Compute subtask j (1..n) from its inputs, in the order of the graph's edges."""
        with torch.inference_mode():
            joined = torch.cat(inputs, dim=1) if len(inputs) > 1 else inputs[0]
            return self.blocks[j - 1](joined)

    def outputs(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The outputs of nodes 0..n, all computed here."""
        outputs = [image]
        for j in range(1, self.graph.n + 1):
            sources = [self.graph.source[edge] for edge in edges_into(self.graph, j)]
            outputs.append(self.run(j, [outputs[i] for i in sources]))
        return outputs

    def task(self, state: np.ndarray) -> np.ndarray:
        """The task (F,) that the testbed runs: the small workload in the testbed's state (8,)."""
        return np.concatenate([self.workload, state])

    def full_task(self, state: np.ndarray) -> np.ndarray:
        """The task (F,) that a policy sees: the same, at full size."""
        return np.concatenate([self.full_workload, state * STATE_SCALE])

    def cycles(self) -> np.ndarray:
        """Cycles of subtasks 1..n, float64 (n,)."""
        return self.workload[: self.graph.n]

    def with_cycles(self, cycles: list[float]) -> Layers:
        """The same network, its subtasks with other costs, in cycles."""
        data, full_data = self.workload[self.graph.n :], self.full_workload[self.graph.n :]
        workload = np.concatenate([cycles, data])
        full_workload = np.concatenate([SCALE * np.asarray(cycles), full_data])
        return self._replace(workload=workload, full_workload=full_workload)

    def size(self, edge: int) -> int:
        """Bytes that an edge carries."""
        return int(self.workload[self.graph.n + edge])

    def captured(self, seed: int) -> torch.Tensor:
        """The picture that the device captures."""
        return picture(seed)

    def encode(self, edge: int, value: torch.Tensor) -> memoryview:
        """A tensor's bytes, without a copy where it is contiguous."""
        return memoryview(value.contiguous().numpy()).cast("B")

    def decode(self, edge: int, data: bytes) -> torch.Tensor:
        """The tensor of an edge's bytes."""
        shape = self.shapes[self.graph.source[edge]]
        return torch.frombuffer(bytearray(data), dtype=torch.float32).reshape(shape)

    def judged(self, results: list[torch.Tensor]) -> dict[str, Any]:
        """The class with the largest output, and that output."""
        (result,) = results  # a network has one output
        label = int(result.argmax())
        return {"label": label, "value": float(result[0, label])}


@lru_cache
def layers(name: str) -> Layers:
    """Network `name` of NETWORKS with random weights, the same in every process.

    It is run once: for the shapes of its tensors, and so that no first task is slow.
    """
    torch.set_num_threads(1)
    graph, workload = cut(name, PIXELS)
    _, full_workload = cut(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        blocks = [block.eval() for block, _ in BUILDERS[name]()]
    net = Layers(graph, workload, full_workload, blocks, shapes=[])
    return net._replace(shapes=[value.shape for value in net.outputs(picture(0))])


def picture(seed: int) -> torch.Tensor:
    """What the device captures: float32 (1, 3, PIXELS, PIXELS)."""
    return torch.rand(1, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(seed))
