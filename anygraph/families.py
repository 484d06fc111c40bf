"""Families of random task graphs: what `anygraph` is trained on, and what it is tested on.

Six families are trained on, four are kept for tests as a whole. A graph drawn for training is
refused when its edges equal those of a graph that the caller holds apart for tests, whatever its
name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from kd_offload.graphs import TaskGraph

MAX_SUBTASKS = 128  # of the largest graph decided
MAX_EDGES = 1024  # of a graph given as text or in C: more than any family draws
Edges = list[tuple[int, int]]


def ended(n: int, edges: Iterable[tuple[int, int]]) -> Edges:
    """The edges, and those from the source and to the sink that loose ends need."""
    edges = sorted(set(edges))
    fed = {j for _, j in edges}
    used = {i for i, _ in edges}
    edges += [(0, j) for j in range(1, n + 1) if j not in fed]
    return edges + [(i, n + 1) for i in range(1, n + 1) if i not in used]


def renumbered(n: int, edges: Edges, rng: np.random.Generator) -> Edges:
    """The edges in another topological numbering: deepest first, or at random."""
    waits_for, feeds = [0] * (n + 1), [[] for _ in range(n + 1)]
    for i, j in edges:
        waits_for[j] += 1
        feeds[i].append(j)
    ready = [j for j in range(1, n + 1) if not waits_for[j]]
    number = {}
    deepest_first = rng.random() < 0.5
    while ready:
        i = ready.pop(-1 if deepest_first else int(rng.integers(len(ready))))
        number[i] = len(number) + 1
        for j in feeds[i]:
            waits_for[j] -= 1
            if not waits_for[j]:
                ready.append(j)
    return [(number[i], number[j]) for i, j in edges]


def _chosen(rng: np.random.Generator, nodes: Sequence[int], every: bool = False) -> list[int]:
    """One to three of some nodes, at random, or `every` one."""
    count = len(nodes) if every else min(int(rng.integers(1, 4)), len(nodes))
    return [int(i) for i in rng.choice(nodes, count, replace=False)]


def _window(n: int, rng: np.random.Generator, width: int) -> Edges:
    """Each subtask takes one to three inputs among the `width` nodes before it."""
    edges = []
    for j in range(1, n + 1):
        edges += [(i, j) for i in _chosen(rng, np.arange(max(0, j - width), j))]
    return edges


def near(n: int, rng: np.random.Generator) -> Edges:
    """The family of `graphs.random_graph`: inputs among the four nodes before."""
    return ended(n, _window(n, rng, 4))


def wide(n: int, rng: np.random.Generator) -> Edges:
    """Inputs among the 5 to 16 nodes before."""
    return ended(n, _window(n, rng, int(rng.integers(5, 17))))


def pipelines(n: int, rng: np.random.Generator) -> Edges:
    """Two to four pipelines side by side, interleaved, then joined, then a short sequence."""
    tail = int(rng.integers(1, max(2, n // 6)))
    count = min(int(rng.integers(2, 5)), max(1, (n - tail) // 2))
    inner = n - tail
    in_turn = rng.random() < 0.5
    pipeline_of = np.arange(inner) % count if in_turn else rng.integers(0, count, inner)
    edges, ends = [], []
    for pipeline in range(count):
        nodes = [0, *(int(i) + 1 for i in np.flatnonzero(pipeline_of == pipeline))]
        local = _window(len(nodes) - 1, rng, int(rng.integers(2, 4)))
        edges += [(nodes[i], nodes[j]) for i, j in local]
        used = {i for i, _ in local}
        ends += [nodes[i] for i in range(1, len(nodes)) if i not in used]
    edges += [(i, inner + 1) for i in ends]
    return ended(n, edges + [(j, j + 1) for j in range(inner + 1, n)])


def layers(n: int, rng: np.random.Generator) -> Edges:
    """Layers of one to some eight subtasks, each fed by one to three of the one before, or all."""
    widest = int(rng.integers(2, 9))
    dense = rng.random() < 0.25
    edges, before, last = [], [], 0
    while last < n:
        size = min(int(rng.integers(1, widest + 1)), n - last)
        layer = list(range(last + 1, last + size + 1))
        if before:
            for j in layer:
                edges += [(i, j) for i in _chosen(rng, before, dense)]
        before = layer
        last += size
    return ended(n, edges)


def fork_join(n: int, rng: np.random.Generator) -> Edges:
    """Stages in sequence: a subtask forks into branches of one to three, which a subtask joins."""
    widest, edges, last = int(rng.integers(2, 11)), [], 1
    while last < n:
        fork, ends = last, []
        for _ in range(int(rng.integers(1, widest + 1))):
            end = fork
            for _ in range(int(rng.integers(1, 4))):
                if last >= n - 1:
                    break
                last += 1
                edges.append((end, last))
                end = last
            if end != fork:
                ends.append(end)
        last += 1
        edges += [(i, last) for i in ends or [fork]]
    return ended(n, renumbered(n, edges, rng))


class _Block(NamedTuple):
    """Subtasks composed in series or in parallel."""

    starts: list[int]  # without input
    ends: list[int]  # that feed nothing


class _Composer:
    """Composes blocks, numbers their subtasks and collects their edges."""

    def __init__(self, rng: np.random.Generator):
        self.rng, self.edges, self.count = rng, [], 0

    def subtask(self) -> _Block:
        self.count += 1
        return _Block([self.count], [self.count])

    def compose(self, size: int) -> _Block:
        """A block of `size` subtasks."""
        if size == 1:
            return self.subtask()
        cut = int(self.rng.integers(1, size))
        first = self.compose(cut)
        if self.rng.random() < 0.5 and size > 2:
            second = self.compose(size - cut)
            return _Block(first.starts + second.starts, first.ends + second.ends)
        ends = first.ends
        if len(ends) > 1 and size - cut > 1:  # many would meet many
            joint = self.subtask()
            self.edges += [(i, joint.starts[0]) for i in ends]
            ends = joint.ends
            cut += 1
        second = self.compose(size - cut)
        self.edges += [(i, j) for i in ends for j in second.starts]
        return _Block(first.starts, second.ends)


def series_parallel(n: int, rng: np.random.Generator) -> Edges:
    """Composed in series and in parallel, again and again; a subtask joins many to many."""
    composer = _Composer(rng)
    composer.compose(n)
    return ended(n, renumbered(n, composer.edges, rng))


def tree(n: int, rng: np.random.Generator) -> Edges:
    """Never trained on: every result is used once, towards a single last subtask."""
    edges = [(i, int(rng.integers(i + 1, min(n, i + 8) + 1))) for i in range(1, n)]
    return ended(n, edges)


def wavefront(n: int, rng: np.random.Generator) -> Edges:
    """Never trained on: a grid, each subtask fed from above and from the left."""
    width = int(rng.integers(2, max(3, int(np.sqrt(n)) + 1)))
    edges = [(j - width, j) for j in range(width + 1, n + 1)]
    return ended(n, edges + [(j - 1, j) for j in range(2, n + 1) if (j - 1) % width])


def butterfly(n: int, rng: np.random.Generator) -> Edges:
    """Never trained on: the exchange pattern of a fast Fourier transform, on two, four or eight
    lines.
    """
    lines = 2 ** int(rng.integers(1, 4))
    edges = []
    for j in range(lines + 1, n + 1):
        rank, line = divmod(j - 1, lines)
        partner = line ^ (1 << ((rank - 1) % max(1, lines.bit_length() - 1)))
        edges += [(j - lines, j), ((rank - 1) * lines + partner + 1, j)]
    return ended(n, edges)


def elimination(n: int, rng: np.random.Generator) -> Edges:
    """Never trained on: Gaussian elimination; a pivot feeds its columns, each the next step's."""
    size = 2
    while size * (size + 1) // 2 - 1 < n:
        size += 1
    edges, last, updated = [], 0, {}  # updated: column -> the subtask that did it last
    for step in range(size - 1):
        last += 1
        pivot, before, updated = last, updated, {}
        if step in before:
            edges.append((before[step], pivot))
        for column in range(step + 1, size):
            last += 1
            edges.append((pivot, last))
            if column in before:
                edges.append((before[column], last))
            updated[column] = last
    return ended(n, [(i, j) for i, j in edges if j <= n])


Family = Callable[[int, np.random.Generator], Edges]
TRAINING_FAMILIES: dict[str, Family] = {
    "near": near,
    "wide": wide,
    "pipelines": pipelines,
    "layers": layers,
    "fork_join": fork_join,
    "series_parallel": series_parallel,
}
UNSEEN_FAMILIES: dict[str, Family] = {
    "tree": tree,
    "wavefront": wavefront,
    "butterfly": butterfly,
    "elimination": elimination,
}


def draw(family: str, n: int, rng: np.random.Generator) -> TaskGraph:
    """A random graph of a family.

    Parameters
    ----------
    family : str
        A name in TRAINING_FAMILIES or UNSEEN_FAMILIES.
    n : int
        Subtasks, 1 to MAX_SUBTASKS.
    rng : numpy.random.Generator

    Returns
    -------
    TaskGraph

    Raises
    ------
    ValueError
        Naming another family or n.
    """
    families = TRAINING_FAMILIES | UNSEEN_FAMILIES
    if family not in families:
        raise ValueError(f"family: {family!r}, expected one of {', '.join(families)}")
    if not 1 <= n <= MAX_SUBTASKS:
        raise ValueError(f"family {family!r}: n must be 1 to {MAX_SUBTASKS}, got {n}")
    if n > 2:
        edges = families[family](n, rng)
    else:  # no family has a choice
        edges = ended(n, [(i, i + 1) for i in range(1, n)])
    return TaskGraph(f"{family}_{n}", n, tuple(edges))


def edges_hash(graph: TaskGraph) -> str:
    """Equal for two graphs exactly when their subtasks and edges are, whatever their names."""
    return hashlib.sha256(repr((graph.n, graph.edges)).encode()).hexdigest()


def training_graph(
    rng: np.random.Generator,
    sizes: tuple[int, int],
    held_apart: frozenset[str],
) -> TaskGraph:
    """A random graph of one of the training families that is not held apart.

    Parameters
    ----------
    rng : numpy.random.Generator
    sizes : tuple of int
        Fewest and most subtasks; the size is log-uniform between them.
    held_apart : frozenset of str
        The `edges_hash` of every graph that is kept for tests.

    Returns
    -------
    TaskGraph
    """
    families = tuple(TRAINING_FAMILIES)
    low, high = np.log(sizes[0]), np.log(sizes[1] + 1)
    while True:
        n = int(np.exp(rng.uniform(low, high)))
        graph = draw(families[int(rng.integers(len(families)))], n, rng)
        if edges_hash(graph) not in held_apart:
            return graph
