"""Task graphs from files: JSON of DAGBench and SAGA, WfFormat of WfCommons, and DOT.

What a file leaves open is fixed here, and the report says what was done:

- Subtasks are numbered in a topological order, ties by their place in the file.
- A subtask without a predecessor is fed by the source, one without a successor feeds the sink.
  Those edges carry the bytes that the file gives, else those that the reader gives, else the mean
  of the file's edges.
- A dependency given twice counts once, with the larger size.
- Costs and sizes in abstract units are scaled to a mean, unless the reader gives their unit.
- Too many subtasks are merged (see `merging`), or refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import networkx as nx
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from anygraph.dot import read_dot
from anygraph.families import MAX_SUBTASKS
from anygraph.listing import Dependency, Listing, Name, Note, Quantity, by_name, checked
from anygraph.merging import merge
from anygraph.wfformat import read_wfformat
from kd_offload.graphs import TaskGraph

SUFFIXES = (".json", ".dot", ".gv")
EdgeBytes = dict[tuple[int, int], float]


@dataclass(frozen=True)
class Reading:
    """What the reader of a file decides, where the file leaves it open."""

    machine_speed: float | None = None
    """Cycles/s of the machine that measured WfFormat's runtimes; None: as the file says."""
    cycles_per_cost: float | None = None
    """Cycles in one abstract unit of cost; None: costs are scaled to `mean_cycles`."""
    bytes_per_size: float | None = None
    """Bytes in one abstract unit of size; None: sizes are scaled to `mean_bytes`. A unit of 1,024²
    bits is 1024**2 / 8."""
    mean_cycles: float = 1e8
    """Mean cycles of a subtask, of a file in abstract units."""
    mean_bytes: float = 2e5
    """Mean bytes of an edge, of a file in abstract units, or of one without edges."""
    input_bytes: float | None = None
    """Bytes from the source to a subtask, where the file gives none; None: the edges' mean."""
    output_bytes: float | None = None
    """Bytes from a subtask to the sink, where the file gives none; None: the edges' mean."""
    most_subtasks: int = MAX_SUBTASKS
    """Of a larger graph, subtasks are merged."""
    merge: bool = True
    """False: a larger graph is refused."""

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None or field.name == "merge":
                continue
            least, expected = 5e-324, "a finite number, positive"
            if field.name in ("input_bytes", "output_bytes"):
                least, expected = 0.0, "a finite number, not negative"
            kinds = (int, float, np.integer, np.floating)
            if field.name == "most_subtasks":
                kinds, expected = (int, np.integer), "a positive integer"
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise ValueError(f"{field.name}: {value!r}, expected {expected}")
            if not least <= value < np.inf:
                raise ValueError(f"{field.name}: {value!r}, expected {expected}")


class GraphFile(NamedTuple):
    """A task graph as a file has it."""

    graph: TaskGraph  # named as the file
    names: tuple[str, ...]  # of the n subtasks; of a merged one, its first's
    members: tuple[tuple[str, ...], ...]  # of each subtask, the file's names that it stands for
    cycles: np.ndarray  # float64 (n,)
    bytes: np.ndarray  # float64 (edges,), in the graph's order
    report: tuple[Note, ...]  # what was done and assumed
    digest: str  # SHA-256 of the file, in hexadecimal
    unmerged: GraphFile | None = None  # the same before merging; None if nothing was merged
    group_of: np.ndarray | None = None  # int64 (unmerged.graph.n,): what each went into, 1..n

    @property
    def workload(self) -> np.ndarray:
        """Cycles, then bytes, as `sample_tasks` takes them. float64 (n + edges,)."""
        return np.concatenate([self.cycles, self.bytes])


def read_graph(path: str | Path, reading: Reading = Reading()) -> GraphFile:
    """A task graph from a file.

    Parameters
    ----------
    path : str or Path
        A .json file in the form of DAGBench, SAGA or WfFormat 1.4 to 1.6, or a .dot or .gv file.
        The graph is named as the file, or as its folder if the file is called `graph`.
    reading : Reading, optional
        What to do where the file leaves it open.

    Returns
    -------
    GraphFile

    Raises
    ------
    ValueError
        Naming the file, the field and the value: for a broken file, another schema, a cycle, or a
        graph that is too large.
    """
    path = Path(path)
    content = path.read_bytes()
    name = path.parent.resolve().name if path.stem == "graph" else path.stem
    try:
        listing = _listing(path.suffix.lower(), content, reading)
        whole = _unmerged(name, listing, reading, hashlib.sha256(content).hexdigest())
        return _merged(whole, reading)
    except ValueError as error:
        raise ValueError(f"graph file {str(path)!r}: {error}") from None


class _Fields(BaseModel):
    model_config = ConfigDict(strict=True)


class _Task(_Fields):
    name: Name
    cost: Quantity


class _Dependency(_Fields):
    source: Name
    target: Name
    size: Quantity


class _TaskGraph(_Fields):
    tasks: list[_Task] = Field(min_length=1)
    dependencies: list[_Dependency]


class _Instance(_Fields):
    task_graph: _TaskGraph


def _listing(suffix: str, content: bytes, reading: Reading) -> Listing:
    if suffix not in SUFFIXES:
        raise ValueError(f"suffix {suffix!r}, expected one of {', '.join(SUFFIXES)}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start}: not UTF-8 text") from None
    if suffix != ".json":
        return read_dot(text)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON, or cut off ({error})") from None
    given = document if isinstance(document, dict) else {}
    if "schemaVersion" in given:
        return read_wfformat(given, reading.machine_speed)
    if "task_graph" in given:
        return _listing_of(checked(_Instance, given).task_graph)
    if "tasks" in given:
        return _listing_of(checked(_TaskGraph, given))
    found = ", ".join(given) or "none"
    raise ValueError(f"fields: {found}, expected task_graph, tasks or schemaVersion among them")


def _listing_of(graph: _TaskGraph) -> Listing:
    costs = by_name(((task.name, task.cost) for task in graph.tasks), "tasks")
    return Listing(costs, [Dependency(d.source, d.target, d.size) for d in graph.dependencies])


def _joined(listing: Listing) -> nx.DiGraph:
    """Subtasks and dependencies, each once."""
    joined = nx.DiGraph()
    joined.add_nodes_from(listing.costs)
    repeated = differing = 0
    for source, target, size in listing.dependencies:
        for name in (source, target):
            if name not in listing.costs:
                raise ValueError(f"dependency {source!r} -> {target!r}: {name!r} is no subtask")
        if joined.has_edge(source, target):
            repeated += 1
            differing += joined.edges[source, target]["size"] != size
            size = max(size, joined.edges[source, target]["size"])
        joined.add_edge(source, target, size=size)
    if repeated:
        text = f"Dependencies given again: {repeated}, with another size: {differing}. "
        listing.notes.append(Note("repeated", f"{text}Each counts once, with the larger size."))
    return joined


def _numbered(joined: nx.DiGraph) -> dict[str, int]:
    """Numbers 1..n of the subtasks in a topological order, ties by their place in the file."""
    place = {name: index for index, name in enumerate(joined)}
    try:
        order = list(nx.lexicographical_topological_sort(joined, key=place.__getitem__))
    except nx.NetworkXUnfeasible:
        edges = nx.find_cycle(joined)
        steps = " -> ".join(map(repr, [edges[0][0], *(target for _, target in edges)]))
        raise ValueError(f"dependencies form a cycle: {steps}") from None
    return {name: number for number, name in enumerate(order, start=1)}


def _unmerged(name: str, listing: Listing, reading: Reading, digest: str) -> GraphFile:
    """What is listed as a task graph, however large."""
    joined = _joined(listing)
    number = _numbered(joined)
    n = len(number)
    per_cost, per_size = _units(listing, joined, reading)
    edge_bytes: EdgeBytes = {
        (number[source], number[target]): size * per_size
        for source, target, size in joined.edges(data="size")
    }
    mean = float(np.mean([*edge_bytes.values()])) if edge_bytes else reading.mean_bytes
    isolated = list(nx.isolates(joined))
    if isolated:
        text = f"Isolated subtasks: {len(isolated)}. The source feeds them, they feed the sink."
        listing.notes.append(Note("isolated", text))

    entries = [subtask for subtask, degree in joined.in_degree if degree == 0]
    given = _given(listing, "entries", entries, reading.input_bytes, mean)
    edge_bytes |= {(0, number[subtask]): size for subtask, size in given.items()}
    exits = [subtask for subtask, degree in joined.out_degree if degree == 0]
    given = _given(listing, "exits", exits, reading.output_bytes, mean)
    edge_bytes |= {(number[subtask], n + 1): size for subtask, size in given.items()}

    names = tuple(number)
    costless = sum(cost == 0 for cost in listing.costs.values())
    empty = sum(size == 0 for size in edge_bytes.values())
    if costless or empty:
        text = f"Subtasks of zero cycles: {costless}. Edges of zero bytes: {empty}."
        listing.notes.append(Note("zeros", text))
    cycles = np.array([listing.costs[subtask] * per_cost for subtask in names])
    graph, sizes = _graph(name, cycles, edge_bytes)
    members = tuple((subtask,) for subtask in names)
    return GraphFile(graph, names, members, cycles, sizes, tuple(listing.notes), digest)


def _units(listing: Listing, joined: nx.DiGraph, reading: Reading) -> tuple[float, float]:
    """Cycles in a unit of cost, and bytes in a unit of size."""
    per_cost = per_size = 1.0
    if not listing.in_cycles:
        costs = list(listing.costs.values())
        per_cost = _unit(costs, reading.cycles_per_cost, reading.mean_cycles)
        text = f"One unit of cost is {per_cost:,.6g} cycles"
        listing.notes.append(_note_on_unit("cost_unit", text, reading.cycles_per_cost))
    if not listing.in_bytes and joined.edges:
        sizes = [size for _, _, size in joined.edges(data="size")]
        per_size = _unit(sizes, reading.bytes_per_size, reading.mean_bytes)
        text = f"One unit of size is {per_size:,.6g} bytes"
        listing.notes.append(_note_on_unit("size_unit", text, reading.bytes_per_size))
    return per_cost, per_size


def _unit(values: list[float], given: float | None, mean: float) -> float:
    """The unit that is given, or the one that makes the values' mean `mean`."""
    if given is not None:
        return given
    found = float(np.mean(values))
    return mean / found if found > 0 else 1.0  # nothing but zeros has no scale


def _note_on_unit(kind: str, text: str, given: float | None) -> Note:
    origin = "scaled to the stated mean" if given is None else "as given by the reader"
    return Note(kind, f"{text}: {origin}.")


def _given(
    listing: Listing, kind: str, loose: list[str], given: float | None, mean: float
) -> dict[str, float]:
    """Bytes between each subtask and the source, for the entries, or the sink, for the exits.

    loose: the subtasks without a predecessor, or successor.
    """
    known = listing.inputs if kind == "entries" else listing.outputs
    unknown = [subtask for subtask in loose if subtask not in known]
    size = mean if given is None else float(given)
    if kind == "entries":
        text = f"Subtasks without a predecessor: {len(loose)}. The source feeds them."
    else:
        text = f"Subtasks without a successor: {len(loose)}. They feed the sink."
    if unknown:
        origin = "the mean of the edges" if listing.dependencies else "the stated mean"
        if given is not None:
            origin = "as given by the reader"
        text += f" For {len(unknown)} the file gives no bytes: {size:,.0f} each, {origin}."
    listing.notes.append(Note(kind, text))
    return known | dict.fromkeys(unknown, size)


def _graph(name: str, cycles: np.ndarray, edge_bytes: EdgeBytes) -> tuple[TaskGraph, np.ndarray]:
    """The graph, and its edges' bytes in its order, all of them finite."""
    graph = TaskGraph(name, len(cycles), tuple(edge_bytes))
    sizes = np.array([edge_bytes[edge] for edge in graph.edges])
    for what, values in (("cycles", cycles), ("bytes", sizes)):
        if not np.isfinite(values).all():
            raise ValueError(f"{what}: {values[~np.isfinite(values)][0]}, expected a finite number")
    return graph, sizes


def _merged(whole: GraphFile, reading: Reading) -> GraphFile:
    """A graph of at most as many subtasks as the reader allows."""
    n, most = whole.graph.n, reading.most_subtasks
    if n <= most:
        return whole
    if not reading.merge:
        raise ValueError(f"subtasks: {n}, expected at most {most}")
    edge_bytes = dict(zip(whole.graph.edges, whole.bytes.tolist()))
    merged = merge(n, whole.cycles, edge_bytes, most)
    graph, sizes = _graph(whole.graph.name, merged.cycles, merged.edge_bytes)
    members: list[list[str]] = [[] for _ in range(graph.n)]
    for name, group in zip(whole.names, merged.group_of):
        members[group - 1].append(name)
    text = f"Subtasks merged, the cheapest into its last predecessor: {n} became {graph.n}."
    return GraphFile(
        graph,
        tuple(group[0] for group in members),
        tuple(map(tuple, members)),
        merged.cycles,
        sizes,
        (*whole.report, Note("merged", text)),
        whole.digest,
        whole,
        merged.group_of,
    )
