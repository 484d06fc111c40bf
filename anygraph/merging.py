"""Fewer subtasks: the cheapest is merged into its last predecessor, again and again."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

Edge = tuple[int, int]


class Merged(NamedTuple):
    """What merging leaves: m groups of the n subtasks, numbered 1 to m."""

    group_of: np.ndarray  # int64 (n,): of every subtask; it runs at placement[group_of - 1]
    cycles: np.ndarray  # float64 (m,): of every group
    edge_bytes: dict[Edge, float]  # between groups; 0 is the source, m + 1 the sink


class _Groups:
    """Groups of subtasks, each called by its first subtask's number."""

    def __init__(self, n: int, cycles: Sequence[float], edge_bytes: Mapping[Edge, float]):
        self.cycles = {j: float(cost) for j, cost in enumerate(cycles, start=1)}
        self.into = {j: j for j in self.cycles}  # the subtask that it was merged into, or itself
        self.inputs: dict[int, dict[int, float]] = {j: {} for j in range(n + 2)}
        self.outputs: dict[int, set[int]] = {j: set() for j in range(n + 2)}
        for (i, j), size in edge_bytes.items():
            self._carry(i, j, size)

    def _carry(self, i: int, j: int, size: float) -> None:
        self.inputs[j][i] = self.inputs[j].get(i, 0.0) + size
        self.outputs[i].add(j)

    def can_merge(self, j: int) -> bool:
        """Whether a subtask, not the source alone, feeds group j."""
        return max(self.inputs[j], default=0) > 0

    def merge(self, j: int) -> int:
        """Merge group j into its last predecessor, whose number is returned."""
        last = max(self.inputs[j])
        self.into[j] = last
        self.cycles[last] += self.cycles.pop(j)
        for i, size in self.inputs.pop(j).items():
            self.outputs[i].discard(j)
            if i != last:  # what j takes from its own group no longer travels
                self._carry(i, last, size)
        for k in self.outputs.pop(j):
            self._carry(last, k, self.inputs[k].pop(j))
        return last

    def result(self, n: int) -> Merged:
        """The groups in order, renumbered."""
        number = {0: 0, n + 1: len(self.cycles) + 1}
        number |= {j: group for group, j in enumerate(sorted(self.cycles), start=1)}
        home: dict[int, int] = {}
        for j, into in sorted(self.into.items()):
            home[j] = number[j] if into == j else home[into]
        edge_bytes = {
            (number[i], number[j]): size
            for j, sizes in self.inputs.items()
            for i, size in sizes.items()
        }
        group_of = np.array([home[j] for j in range(1, n + 1)], dtype=np.int64)
        return Merged(group_of, np.array([self.cycles[j] for j in sorted(self.cycles)]), edge_bytes)


def merge(n: int, cycles: Sequence[float], edge_bytes: Mapping[Edge, float], most: int) -> Merged:
    """At most `most` subtasks, made of `n`.

    While there are more, the one of fewest cycles (of equal ones, the first) is merged into its
    last predecessor in the topological order. One that the source alone feeds has none and stays.
    Edges that come to join the same two groups add their bytes up.

    The graph stays acyclic, and the numbers a topological order. Let p be the last predecessor of
    j, and let the group keep the place of p. Whatever feeds j is p or stands before p, so its edge
    leads on to p; whatever j feeds stands behind j, and so behind p.

    Parameters
    ----------
    n : int
        Number of subtasks, 1..n in a topological order; 0 is the source, n + 1 the sink.
    cycles : sequence of float, length n
    edge_bytes : mapping of (int, int) to float
        Bytes of every edge (i, j), i < j.
    most : int

    Returns
    -------
    Merged

    Raises
    ------
    ValueError
        Naming a bad argument; or if more than `most` subtasks are fed by the source alone.
    """
    _check(n, cycles, edge_bytes, most)
    groups = _Groups(n, cycles, edge_bytes)
    cheapest = [(groups.cycles[j], j) for j in groups.cycles if groups.can_merge(j)]
    heapq.heapify(cheapest)
    while len(groups.cycles) > most:
        if not cheapest:
            found = f"the source alone feeds the {len(groups.cycles)} that are left"
            raise ValueError(f"most: {most} subtasks cannot be reached by merging: {found}")
        cost, j = heapq.heappop(cheapest)
        if groups.cycles.get(j) != cost:  # merged or grown since
            continue
        grown = groups.merge(j)
        if groups.can_merge(grown):
            heapq.heappush(cheapest, (groups.cycles[grown], grown))
    return groups.result(n)


def _check(n: int, cycles: Sequence[float], edge_bytes: Mapping[Edge, float], most: int) -> None:
    if not isinstance(most, (int, np.integer)) or most < 1:
        raise ValueError(f"most: {most!r}, expected a positive integer")
    if len(cycles) != n:
        raise ValueError(f"cycles: {len(cycles)} values, expected {n}")
    for i, j in edge_bytes:
        if not 0 <= i < j <= n + 1:
            raise ValueError(f"edge_bytes: edge {(i, j)}, expected 0 <= i < j <= {n + 1}")
