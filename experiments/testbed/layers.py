"""The networks that the testbed runs: real torch layers, at a smaller scale.

A picture of 64 by 64 pixels has 1 / SCALE of the operations and of the bytes of one of 224 by 224;
only the classifier and the result, 4,000 bytes, are the same. Where speeds and bandwidths are
1 / SCALE too, all delays are those of the full size, and two cores can really compute what three
machines would. AlexNet and VGG-16 are left out: their dense layers have weights for pictures of 224
pixels alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from kd_offload.graphs import TaskGraph
from experiments.scenarios.networks import BUILDERS, cut
from experiments.scenarios.networks import PIXELS as FULL

NETWORKS = ("resnet18", "mobilenetv2", "inception")
PIXELS = 64
SCALE = (FULL / PIXELS) ** 2
RATES = np.array([SCALE] * 6 + [1.0] * 2)  # full-size state (8,) over the testbed's own


class Layers(NamedTuple):
    """A network to run: its graph, the small workload (n + edges,), the blocks of its subtasks."""

    graph: TaskGraph
    workload: np.ndarray
    blocks: list

    def run(self, j: int, inputs: list[torch.Tensor]) -> torch.Tensor:
        """Subtask j (1..n), really computed: its inputs, in order, to its output."""
        with torch.inference_mode():
            return self.blocks[j - 1](torch.cat(inputs, 1) if len(inputs) > 1 else inputs[0])

    def outputs(self, image: torch.Tensor) -> list[torch.Tensor]:
        """What nodes 0..n put out, all computed here."""
        out, (first, source) = [image], (self.graph.first, self.graph.source)
        for j in range(1, self.graph.n + 1):
            out.append(self.run(j, [out[i] for i in source[first[j] : first[j + 1]]]))
        return out

    def small(self, state: np.ndarray) -> np.ndarray:
        """The task vector (F,) of the testbed: the small workload in its own state (8,)."""
        return np.concatenate([self.workload, state])

    def full(self, state: np.ndarray) -> np.ndarray:
        """The task (F,) that a policy sees: the full workload, the state (8,) times RATES."""
        return np.concatenate([cut(self.graph.name.removeprefix("networks_"))[1], state * RATES])

    def leaving(self, i: int) -> list[int]:
        """The edges that leave node i."""
        return np.flatnonzero(self.graph.source == i).tolist()

    def size(self, e: int) -> int:
        """Bytes that edge e carries."""
        return int(self.workload[self.graph.n + e])


@lru_cache
def layers(name: str) -> Layers:
    """Network `name` of NETWORKS with random weights, the same in every process."""
    graph, workload = cut(name, PIXELS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        blocks = [block.eval() for block, _ in BUILDERS[name]()]
    return Layers(graph, workload, blocks)


def picture(seed: int) -> torch.Tensor:
    """What the device captures: float32 (1, 3, PIXELS, PIXELS)."""
    return torch.rand(1, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(seed))
