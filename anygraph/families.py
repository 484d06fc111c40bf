"""Families of random task graphs: what `anygraph` is trained on, and what it is tested on.

TRAINING_FAMILIES are trained on, UNSEEN_FAMILIES are kept for tests as a whole. A graph drawn for
training is refused when its edges equal those of a graph that the caller holds apart for tests,
whatever its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from kd_offload.graphs import TaskGraph

MAX_SUBTASKS = 128  # of the largest graph decided
MAX_EDGES = 1024  # of a graph given as text or in C: more than any family draws
MOST_INPUTS = 7  # of a subtask in dense layers, so that MAX_EDGES holds
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
    edges, before = [], []
    last = 0
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
    widest = int(rng.integers(2, 11))
    edges = []
    last = 1
    while last < n:
        fork = last
        ends = []
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
        self.rng = rng
        self.edges = []
        self.count = 0

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


def _any_order(n: int, edges: Edges, rng: np.random.Generator) -> Edges:
    """The edges, half of the time in another topological numbering."""
    return renumbered(n, edges, rng) if rng.random() < 0.5 else edges


def sensors(n: int, rng: np.random.Generator) -> Edges:
    """Many entries and exits: short pipelines of sensors meet in one subtask or two, which feed
    short pipelines that end.
    """
    hubs = 1 if n < 8 else int(rng.integers(1, 3))
    inputs = int(rng.integers(1, n - hubs + 1))
    in_length, out_length = (int(rng.integers(1, 4)) for _ in range(2))
    edges = []
    for start in range(1, inputs + 1, in_length):
        end = min(start + in_length - 1, inputs)
        edges += [(j, j + 1) for j in range(start, end)]
        edges += [(end, inputs + hub) for hub in _chosen(rng, range(1, hubs + 1))]
    last = inputs + hubs
    edges += [(j, j + 1) for j in range(inputs + 1, last)]
    for start in range(last + 1, n + 1, out_length):
        end = min(start + out_length - 1, n)
        edges.append((int(rng.integers(inputs + 1, last + 1)), start))
        edges += [(j, j + 1) for j in range(start, end)]
    return ended(n, _any_order(n, edges, rng))


def map_reduce(n: int, rng: np.random.Generator) -> Edges:
    """Rounds of a split, mappers, reducers that each take of every mapper, and a merge."""
    most = int(rng.integers(2, 17))
    edges = []
    last = 1
    while last < n:
        split = last
        left = n - last
        mappers = max(1, min(most, left - 2))
        reducers = max(0, min(int(rng.integers(1, max(2, most // 2 + 1))), left - mappers - 1))
        first_reducer = split + mappers + 1
        merge = first_reducer + reducers
        for mapper in range(split + 1, first_reducer):
            edges.append((split, mapper))
            fed = range(first_reducer, merge) if reducers else [merge]
            edges += [(mapper, reducer) for reducer in fed]
        edges += [(reducer, merge) for reducer in range(first_reducer, merge)]
        last = merge
    return ended(n, _any_order(n, [(i, j) for i, j in edges if j <= n], rng))


def in_tree(n: int, rng: np.random.Generator) -> Edges:
    """Every result is used once, towards a single last subtask."""
    span = int(rng.integers(2, 25))
    edges = [(i, int(rng.integers(i + 1, min(n, i + span) + 1))) for i in range(1, n)]
    return ended(n, _any_order(n, edges, rng))


def out_tree(n: int, rng: np.random.Generator) -> Edges:
    """Every subtask takes one result: a single first subtask, many that end."""
    span = int(rng.integers(2, 25))
    edges = [(int(rng.integers(max(1, j - span), j)), j) for j in range(2, n + 1)]
    return ended(n, _any_order(n, edges, rng))


def butterfly(n: int, rng: np.random.Generator) -> Edges:
    """The exchange pattern of a fast Fourier transform, on 2 to 32 lines, behind a tree or not."""
    lines = 2 ** int(rng.integers(1, 6))
    edges = []
    first = 0  # subtasks before those of the lines
    if rng.random() < 0.5 and 2 * lines <= n:
        edges = [(j // 2, j) for j in range(2, 2 * lines)]
        first = lines - 1
    for j in range(first + lines + 1, n + 1):
        rank, line = divmod(j - first - 1, lines)
        partner = line ^ (1 << ((rank - 1) % (lines.bit_length() - 1)))
        edges += [(j - lines, j), (first + (rank - 1) * lines + partner + 1, j)]
    return ended(n, _any_order(n, edges, rng))


def dense_layers(n: int, rng: np.random.Generator) -> Edges:
    """Layers of equal width: edges from many of the layer before, some from the one before that."""
    width = int(rng.integers(2, 13))
    density = rng.uniform(0.3, 0.9)
    skip = rng.choice([0.0, 0.2])
    edges = []
    for j in range(width + 1, n + 1):
        layer = (j - 1) // width * width  # subtasks in earlier layers
        before = range(layer - width + 1, layer + 1)
        inputs = [i for i in before if rng.random() < density] or _chosen(rng, before)
        earlier = range(max(1, layer - 2 * width + 1), layer - width + 1)
        inputs += [i for i in earlier if rng.random() < skip]
        rng.shuffle(inputs)
        edges += [(i, j) for i in inputs[:MOST_INPUTS]]
    return ended(n, _any_order(n, edges, rng))


def gather_scatter(n: int, rng: np.random.Generator) -> Edges:
    """A hub scatters to workers and gathers from them, round after round; workers may keep state,
    and a hub may feed the next one.
    """
    workers = int(rng.integers(2, 17))
    keeps_state, hub_feeds_hub = rng.random(2) < 0.3
    edges = []
    for j in range(2, n + 1):
        period, place = divmod(j - 1, workers + 1)
        hub = period * (workers + 1) + 1
        if place == 0:
            edges += [(i, j) for i in range(j - workers, j)]
            if hub_feeds_hub:
                edges.append((j - workers - 1, j))
        else:
            edges.append((hub, j))
            if keeps_state and period > 0:
                edges.append((j - workers - 1, j))
    return ended(n, _any_order(n, edges, rng))


def side_branches(n: int, rng: np.random.Generator) -> Edges:
    """A long chain; branches of one to four leave it and rejoin it later, or end."""
    share, rejoins = rng.uniform(0.1, 0.6), rng.uniform(0.3, 1.0)
    edges, rejoining = [], []
    spine = 1
    last = 1
    while last < n:
        if rng.random() < share and n - last > 1:
            end = spine
            for _ in range(min(int(rng.integers(1, 5)), n - last - 1)):
                last += 1
                edges.append((end, last))
                end = last
            if rng.random() < rejoins:
                rejoining.append(end)
        last += 1
        edges.append((spine, last))
        spine = last
        if rng.random() < 0.5:
            edges += [(i, spine) for i in rejoining]
            rejoining = []
    return ended(n, _any_order(n, edges, rng))


def wavefront(n: int, rng: np.random.Generator) -> Edges:
    """Never trained on: a grid, each subtask fed from above and from the left."""
    width = int(rng.integers(2, max(3, int(np.sqrt(n)) + 1)))
    edges = [(j - width, j) for j in range(width + 1, n + 1)]
    return ended(n, edges + [(j - 1, j) for j in range(2, n + 1) if (j - 1) % width])


def elimination(n: int, rng: np.random.Generator) -> Edges:
    """Never trained on: Gaussian elimination; a pivot feeds its columns, each the next step's."""
    size = 2
    while size * (size + 1) // 2 - 1 < n:
        size += 1
    edges = []
    last = 0
    updated = {}  # column -> the subtask that did it last
    for step in range(size - 1):
        last += 1
        pivot = last
        before = updated
        updated = {}
        if step in before:
            edges.append((before[step], pivot))
        for column in range(step + 1, size):
            last += 1
            edges.append((pivot, last))
            if column in before:
                edges.append((before[column], last))
            updated[column] = last
    return ended(n, [(i, j) for i, j in edges if j <= n])


def cholesky(n: int, rng: np.random.Generator) -> Edges:
    """Never trained on: the Cholesky factorisation of a matrix in tiles, cut after n subtasks.

    A step factorises a tile of the diagonal, solves with it for those below, and updates all tiles
    to the right, each from the two solved ones of its row and its column.
    """
    size = 1
    while size * (size + 1) * (size + 2) // 6 < n:
        size += 1
    edges = []
    last = 0
    written = {}  # tile (row, column) -> the subtask that wrote it last
    for step in range(size):
        tiles = [(step, step)] + [(row, step) for row in range(step + 1, size)]
        tiles += [(row, column) for column in range(step + 1, size) for row in range(column, size)]
        for row, column in tiles:
            last += 1
            read = {(row, column)}
            if column > step:
                read |= {(row, step), (column, step)}
            elif row > step:
                read.add((step, step))
            edges += [(written[tile], last) for tile in read if tile in written]
            written[row, column] = last
    return ended(n, [(i, j) for i, j in edges if j <= n])


def stencil(n: int, rng: np.random.Generator) -> Edges:
    """Never trained on: points on a line in time, each fed by itself and its neighbours."""
    points = int(rng.integers(3, max(4, int(np.sqrt(n)) + 3)))
    edges = []
    for j in range(points + 1, n + 1):
        place = (j - 1) % points
        for shift in (-1, 0, 1):
            if 0 <= place + shift < points:
                edges.append((j - points + shift, j))
    return ended(n, edges)


Family = Callable[[int, np.random.Generator], Edges]
TRAINING_FAMILIES: dict[str, Family] = {
    "near": near,
    "wide": wide,
    "pipelines": pipelines,
    "layers": layers,
    "fork_join": fork_join,
    "series_parallel": series_parallel,
    "sensors": sensors,
    "map_reduce": map_reduce,
    "in_tree": in_tree,
    "out_tree": out_tree,
    "butterfly": butterfly,
    "dense_layers": dense_layers,
    "gather_scatter": gather_scatter,
    "side_branches": side_branches,
}
UNSEEN_FAMILIES: dict[str, Family] = {
    "wavefront": wavefront,
    "elimination": elimination,
    "cholesky": cholesky,
    "stencil": stencil,
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
