"""Task graphs: which subtasks there are and what feeds what.

A task is a directed acyclic graph of `n` subtasks numbered 1..n in a topological order. Node 0 is
the source (the input is captured on the end device) and node n + 1 the sink (the result is used
there); both stay on the device and cost no cycles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

DEVICE, EDGE, CLOUD = 0, 1, 2
LOCATIONS = ("device", "edge", "cloud")


@dataclass(frozen=True)
class TaskGraph:
    """A task's structure.

    Parameters
    ----------
    name : str
        What tables and file names call it.
    n : int
        Number of subtasks.
    edges : iterable of (int, int)
        Pairs (i, j), 0 <= i < j <= n + 1. They are kept sorted by (j, i): the order in which the
        formulation serves transfers, and the order of the bytes in a task vector.

    Raises
    ------
    ValueError
        For an edge against the numbering (a cycle has one) or given twice, a subtask without a
        predecessor or a successor.
    """

    name: str
    n: int
    edges: tuple[tuple[int, int], ...]

    def __post_init__(self):
        if not isinstance(self.n, (int, np.integer)) or self.n < 1:
            self._refuse(f"n must be a positive integer, got {self.n!r}")
        edges = sorted(map(self._checked, self.edges), key=lambda edge: (edge[1], edge[0]))
        object.__setattr__(self, "edges", tuple(edges))
        for i, j in edges:
            if not 0 <= i < j <= self.n + 1:
                expected = f"0 <= i < j <= {self.n + 1}; number subtasks topologically"
                self._refuse(f"edge (i, j) = {(i, j)}, expected {expected}")
        if (0, self.n + 1) in edges:
            self._refuse(f"edge {(0, self.n + 1)} joins source and sink, which share the device")
        for edge, following in pairwise(edges):
            if edge == following:
                self._refuse(f"edge {edge} appears twice")
        fed, feeding = {j for _, j in edges}, {i for i, _ in edges}
        for subtask in range(1, self.n + 1):
            if subtask not in fed or subtask not in feeding:
                self._refuse(f"subtask {subtask} lacks a predecessor or a successor")

    def _checked(self, edge) -> tuple[int, int]:
        kinds = (int, np.integer, float)
        if np.shape(edge) != (2,) or not all(isinstance(v, kinds) and v % 1 == 0 for v in edge):
            self._refuse(f"edge {edge} is not a pair of node numbers")
        return int(edge[0]), int(edge[1])

    def _refuse(self, why: str):
        raise ValueError(f"graph {self.name!r}: {why}")

    @cached_property
    def first(self) -> np.ndarray:
        """Edges into node j are `first[j]` to `first[j + 1]` - 1. int64, (n + 3,)."""
        targets = np.array([j for _, j in self.edges])
        return np.searchsorted(targets, np.arange(self.n + 3)).astype(np.int64)

    @cached_property
    def source(self) -> np.ndarray:
        """The predecessor's number of every edge. int64, (len(edges),)."""
        return np.array([i for i, _ in self.edges], dtype=np.int64)

    @property
    def n_features(self) -> int:
        """Length of a task vector: cycles, bytes and the eight quantities of the system state."""
        return self.n + len(self.edges) + 8


def _pairs(text: str) -> tuple[tuple[int, int], ...]:
    """Edges written as "0-1 1-2"."""
    pairs = (pair.split("-") for pair in text.split())
    return tuple((int(i), int(j)) for i, j in pairs)


def chain(n: int = 10) -> TaskGraph:
    """`n` subtasks in sequence: nothing ever waits, and a dynamic programme is exact."""
    if not isinstance(n, (int, np.integer)) or not 1 <= n <= 10_000:
        raise ValueError(f"chain: n must be 1 to 10,000, got {n!r}")
    edges = tuple((i, i + 1) for i in range(n + 1))
    return TaskGraph(f"chain_{n}" if n != 10 else "chain", n, edges)


def dag() -> TaskGraph:
    """Ten subtasks with forks and joins, as in camera and augmented-reality pipelines."""
    text = "0-1 1-2 1-3 1-4 2-5 3-5 3-6 4-6 5-7 6-7 6-8 7-9 8-9 9-10 10-11"
    return TaskGraph("dag", 10, _pairs(text))


def fusion() -> TaskGraph:
    """Twenty subtasks: two sensors' pipelines, interleaved, then joined."""
    branch = _pairs("0-1 0-2 0-3 1-4 2-4 2-5 3-5 4-6 5-6 5-7 6-8 7-8")
    both = tuple((2 * i + offset, 2 * j + offset) for offset in (1, 2) for i, j in branch)
    return TaskGraph("fusion", 20, _pairs("0-1 0-2") + both + _pairs("17-19 18-19 19-20 20-21"))


def random_graph(n: int, index: int = 0) -> TaskGraph:
    """Random DAG number `index` with `n` subtasks.

    Each subtask takes one to three inputs among the four nodes before it (the source among them for
    the first ones); what nobody uses goes to the sink. So width and depth resemble `dag` at any n.
    """
    if not isinstance(n, (int, np.integer)) or not 1 <= n <= 128:
        raise ValueError(f"random graph: n must be 1 to 128, got {n}")
    rng = np.random.default_rng(np.random.SeedSequence(entropy=20200404366, spawn_key=(n, index)))
    edges = []
    for j in range(1, n + 1):
        window = np.arange(max(0, j - 4), j)
        inputs = rng.choice(window, size=min(rng.integers(1, 4), len(window)), replace=False)
        edges += [(int(i), j) for i in inputs]
    used = {i for i, _ in edges}
    edges += [(i, n + 1) for i in range(1, n + 1) if i not in used]
    return TaskGraph(f"random_{n}_{index}", n, tuple(edges))
