"""What the testbed can run: torch layers (see `layers`) or parts of a split model (`parts`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from kd_offload.graphs import TaskGraph


class Network(Protocol):
    """A network that can be run subtask by subtask.

    Its nodes give values: one tensor, or several by name. An edge carries a node's value, or what
    the receiver needs of it.
    """

    graph: TaskGraph
    workload: np.ndarray  # float64 (n + E,): cycles and bytes

    def captured(self, seed: int) -> Any:
        """The source's value."""

    def run(self, j: int, inputs: list[Any]) -> Any:
        """The value of subtask j (1..n) from those of its edges, in the graph's order."""

    def size(self, edge: int) -> int:
        """Bytes that an edge carries."""

    def encode(self, edge: int, value: Any) -> memoryview:
        """What an edge carries of its sender's value, as bytes."""

    def decode(self, edge: int, data: bytes) -> Any:
        """The same as a value again."""

    def judged(self, results: list[Any]) -> dict[str, Any]:
        """What is said of the values that reach the sink, in the order of its edges."""


def edges_from(graph: TaskGraph, i: int) -> list[int]:
    """The numbers of the edges that leave node i."""
    return np.flatnonzero(graph.source == i).tolist()


def edges_into(graph: TaskGraph, j: int) -> range:
    """The numbers of the edges into node j."""
    return range(graph.first[j], graph.first[j + 1])


def open_networks(plan: Mapping[str, str] | None) -> dict[str, Network]:
    """The networks by name, in the order of their numbers in messages.

    Parameters
    ----------
    plan : mapping or None
        The arguments of `parts.Parts`; None for the networks of `layers`.

    Returns
    -------
    dict of str to Network
    """
    # Imported late: parts start in a fraction of the time without torch.
    if plan is not None:
        from experiments.testbed.parts import Parts

        parts = Parts(**plan)
        return {parts.graph.name: parts}
    from experiments.testbed.layers import NETWORKS, layers

    return {name: layers(name) for name in NETWORKS}
