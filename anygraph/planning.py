"""A plan for a file: where each subtask of a model or of a task graph runs, with a bound.

A plan is one decision of `anygraph.decide`, beside what it is compared with: every location alone,
and the best split, one cut of the subtasks' order into device, then edge, then cloud.

Two things make a plan's optimum another than the whole problem's, and it says so. A graph of more
than 128 subtasks is merged: the unmerged graph is then evaluated with the merged placement. Where
memory is stated, a simple rule finds a placement whose weights fit (`constraints.settled`); the
bound stays one of all placements that fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np

from anygraph.constraints import (
    Places,
    Room,
    location_mask,
    room_of,
    settled,
    within_single,
)
from anygraph.decision import Decider, warn_outside
from anygraph.graph_files import SUFFIXES, GraphFile, read_graph
from anygraph.model_files import ModelFile, read_model
from anygraph.network import GraphNetwork
from anygraph.state import QUANTITIES, State, near
from kd_offload.delay import EVERYWHERE, new_times, prepare
from kd_offload.delay import delay as delay_of
from kd_offload.graphs import LOCATIONS, TaskGraph
from kd_offload.labels import TIE

MODEL_SUFFIX = ".onnx"
SPLIT = "best split"
POINTS, SPAN = 41, 10.0  # of a sweep: values, and how far it goes to each side


def excess(delay: float, bound: float) -> float:
    """By what share a delay exceeds a bound; inf if the bound is 0 and the delay is not."""
    if delay <= bound:
        return 0.0
    return delay / bound - 1 if bound > 0 else np.inf


class Unmerged(NamedTuple):
    """The graph before merging, under the merged placement."""

    subtasks: int
    delay: float  # s
    bound: float  # s: the least that it could take if nothing ever waited

    @property
    def gap(self) -> float:
        """By what share the delay may exceed the unmerged graph's optimum, at most."""
        return excess(self.delay, self.bound)


class Planned(NamedTuple):
    """A plan for a file in one state."""

    file: GraphFile | ModelFile
    state: State
    placement: np.ndarray  # int8 (n,): 0 device, 1 edge, 2 cloud
    delay: float  # s
    bound: float  # s: no placement that is allowed has a lower delay
    proven: bool  # whether it is proven optimal
    others: dict[str, float]  # s: delay of each location alone and of the best split; inf: may not
    seconds: float  # that the decision took
    allowed: np.ndarray  # bool (n, 3): where subtasks may run, by name and by their own weights
    left: np.ndarray  # bool (n, 3): the same, less what memory forbade on the way
    weights: dict[str, int] | None  # bytes of weights at each location, if memory is stated
    unmerged: Unmerged | None  # None if nothing was merged

    @property
    def gap(self) -> float:
        """By what share the delay may exceed the optimum, at most."""
        return 0.0 if self.proven else excess(self.delay, self.bound)

    @property
    def task(self) -> np.ndarray:
        """The task vector: float64 (F,), SI units."""
        return task_of(self.file, self.state)


def read_file(path: str | Path) -> GraphFile | ModelFile:
    """A model or a graph file by its suffix, with the readers' defaults.

    Raises
    ------
    ValueError
        For a file that is missing, of another suffix or broken.
    """
    if checked_suffix(path) == MODEL_SUFFIX:
        return read_model(path)
    return read_graph(path)


def checked_suffix(path: str | Path) -> str:
    """A file's suffix in lower case; ValueError for none that is read, or a missing file."""
    path, known = Path(path), (MODEL_SUFFIX, *SUFFIXES)
    if not path.is_file():
        raise ValueError(f"file {str(path)!r}: there is none")
    if path.suffix.lower() not in known:
        expected = ", ".join(known)
        raise ValueError(f"file {str(path)!r}: suffix {path.suffix!r}, expected one of {expected}")
    return path.suffix.lower()


def task_of(file: GraphFile | ModelFile, state: State) -> np.ndarray:
    """A file's costs in a state as a task vector: float64 (F,), SI units."""
    return np.concatenate([file.workload, state.vector])


class Planner:
    """A file, and what is decided with, ready to plan for any state.

    Parameters
    ----------
    file : path, GraphFile or ModelFile
        A path is read with the readers' defaults.
    network : GraphNetwork, optional
        Without one, the beam and the exact search decide alone.
    effort : float, optional
        As of `anygraph.decide`: 0 is lookahead alone, `math.inf` searches until proven.
    allowed : mapping of str to sequence of str, optional
        By a subtask's name, the locations where it may run.
    memory : mapping of str to float, optional
        Bytes for a model's weights, by location; unlimited where it is not stated.

    Raises
    ------
    ValueError
        Naming the file, the field and the value.
    """

    def __init__(
        self,
        file: str | Path | GraphFile | ModelFile,
        network: GraphNetwork | None = None,
        effort: float = 1.0,
        allowed: Places | None = None,
        memory: Mapping[str, float] | None = None,
    ):
        self.file = read_file(file) if isinstance(file, (str, Path)) else file
        self.network = network
        self.decider = Decider(network, self.file.graph, effort)
        self.cuts = cuts(self.file.graph.n)
        self.mask = location_mask(self.file, allowed or {})
        self.room = room_of(self.file, memory or {})
        if self.room is not None:
            self.mask = within_single(self.room, self.mask, self.file.names)
        self.unmerged_mask = EVERYWHERE
        if self.file.unmerged is not None:
            self.unmerged_mask = location_mask(self.file.unmerged, allowed or {})
        compile_decisions(network)

    def plan(self, state: State = State()) -> Planned:
        """The plan for a state.

        Raises
        ------
        ValueError
            If no placement has a finite delay, or the rule for memory finds none.
        """
        task = task_of(self.file, state)
        start = perf_counter()
        decision = self.decider.decide(task[None], self.mask)
        seconds = perf_counter() - start
        placement, left = decision.placements[0], self.mask
        delay, bound, proven = decision.delays[0], decision.bounds[0], decision.proven[0]
        if not np.isfinite(delay):
            raise ValueError(f"file {self.file.graph.name!r}: no placement has a finite delay")
        if self.room is not None and not self.room.fits(placement):
            start = perf_counter()
            placement, left = settled(self.room, self.mask, lambda mask: self._decide(task, mask))
            seconds += perf_counter() - start
            delay = delay_of(self.file.graph, task, placement)
            proven = delay <= bound * (1 + TIE)
        return Planned(
            file=self.file,
            state=state,
            placement=placement,
            delay=float(delay),
            bound=float(bound),
            proven=bool(proven),
            others=self._others(task),
            seconds=seconds,
            allowed=self.mask,
            left=left,
            weights=None if self.room is None else self.room.weights.by_location(placement),
            unmerged=self._unmerged(state, placement),
        )

    def sweep(self, state: State, quantity: str, values) -> list[Planned]:
        """A plan for each value of one quantity of the state.

        Parameters
        ----------
        state : State
        quantity : str
            One of the state's fields.
        values : array_like of float, SI units

        Returns
        -------
        list of Planned

        Raises
        ------
        ValueError
            For an unknown quantity or a value that it cannot have.
        """
        check_quantity(quantity)
        return [self.plan(replace(state, **{quantity: float(value)})) for value in values]

    def _decide(self, task: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return self.decider.decide(task[None], mask).placements[0]

    def _others(self, task: np.ndarray) -> dict[str, float]:
        """Delays of every location alone and of the best split; inf for what is not allowed."""
        delays = delay_of(self.file.graph, task, self.cuts)
        subtasks = np.arange(self.file.graph.n)
        able = self.mask[subtasks, self.cuts].all(axis=1)
        delays = np.where(able, delays, np.inf)
        best = _least_that_fits(self.cuts, delays, self.room)
        found = {}
        for location, name in enumerate(LOCATIONS):
            alone = int(np.flatnonzero((self.cuts == location).all(axis=1))[0])
            fits = self.room is None or self.room.fits(self.cuts[alone])
            found[name] = float(delays[alone]) if fits else np.inf
        return found | {SPLIT: best}

    def _unmerged(self, state: State, placement: np.ndarray) -> Unmerged | None:
        """What the merged placement takes in the graph before merging."""
        whole = self.file.unmerged
        if whole is None:
            return None
        task = task_of(whole, state)
        each = placement[self.file.group_of - 1]
        delay = delay_of(whole.graph, task, each)
        return Unmerged(whole.graph.n, delay, _never_waiting(whole.graph, task, self.unmerged_mask))


def plan(file: str | Path | GraphFile | ModelFile, state: State = State(), **options) -> Planned:
    """A plan for a model or a graph file: where each subtask runs.

    Parameters
    ----------
    file : path, GraphFile or ModelFile
        An ONNX model (.onnx) or a graph file (.json, .dot, .gv). A path is read with the defaults
        of `anygraph.read_graph` and `anygraph.model_files.read_model`.
    state : State, optional
        Speeds and links, in SI units.
    **options
        Those of `Planner`: network, effort, allowed, memory.

    Returns
    -------
    Planned

    Raises
    ------
    ValueError
        Naming the file, the field and the value.
    """
    planner = Planner(file, **options)
    if planner.network is not None:
        warn_outside(task_of(planner.file, state)[None])
    return planner.plan(state)


def cuts(n: int) -> np.ndarray:
    """All cuts of n subtasks in order into device, then edge, then cloud.

    Returns
    -------
    numpy.ndarray of int8, shape ((n + 1)(n + 2) / 2, n)
    """
    before_edge, before_cloud = np.triu_indices(
        n + 1
    )  # subtasks on the device, and not in the cloud
    number = np.arange(n)
    at_edge = number >= before_edge[:, None]
    in_cloud = number >= before_cloud[:, None]
    return at_edge.astype(np.int8) + in_cloud.astype(np.int8)


def _least_that_fits(placements: np.ndarray, delays: np.ndarray, room: Room | None) -> float:
    """The least delay of the placements that memory has room for; inf if there is none."""
    for row in np.argsort(delays, kind="stable"):
        if not np.isfinite(delays[row]) or room is None or room.fits(placements[row]):
            return float(delays[row])
    return np.inf


def _never_waiting(graph: TaskGraph, task: np.ndarray, mask: np.ndarray) -> float:
    """The delay that a task would have if nothing ever waited: a bound, in s."""
    times = new_times(graph.n, len(graph.edges))
    prepare(graph.n, graph.first, graph.source, task, mask, times)
    return float(times.time_to_result[0, 0])


def compile_decisions(network: GraphNetwork | None) -> None:
    """Compile what decides, or load it: about a minute when a machine does it first."""
    graph = TaskGraph("first", 1, ((0, 1), (1, 2)))
    task = np.concatenate([[1e8, 1e5, 1e5], State().vector])
    decider = Decider(network, graph)
    decider.decide(task[None])
    decider.mend(task[None], np.zeros((1, 1), np.int8))


def check_quantity(quantity: str) -> str:
    """A quantity of the state; ValueError naming one that is none."""
    if quantity not in QUANTITIES:
        raise ValueError(f"sweep: no quantity {quantity!r}{near(quantity, QUANTITIES)}")
    return quantity


def sweep_values(state: State, quantity: str) -> np.ndarray:
    """Values of a sweep around a state's own: SPAN times less to SPAN times more.

    Returns
    -------
    numpy.ndarray of float64, shape (POINTS,), SI units

    Raises
    ------
    ValueError
        For an unknown quantity, or one that is zero.
    """
    middle = getattr(state, check_quantity(quantity))
    if middle == 0:
        raise ValueError(f"sweep: {quantity} is 0, and a sweep multiplies; state a range")
    return np.geomspace(middle / SPAN, middle * SPAN, POINTS)


def sweep_table(quantity: str, plans: list[Planned]) -> dict[str, np.ndarray]:
    """A sweep by columns, for figures.

    Parameters
    ----------
    quantity : str
        Of the state, that was swept.
    plans : list of Planned, P

    Returns
    -------
    dict of str to numpy.ndarray, shape (P,)
        value (SI units); plan, bound, device, edge, cloud, split (delays in s, inf where not
        allowed); device_share, edge_share, cloud_share (of the cycles); placement (a digit for
        each subtask).
    """
    rows = []
    for plan_ in plans:
        row = {"value": getattr(plan_.state, quantity), "plan": plan_.delay, "bound": plan_.bound}
        row |= {name: plan_.others[name] for name in LOCATIONS}
        row["split"] = plan_.others[SPLIT]
        row |= cycle_shares(plan_)
        row["placement"] = "".join(map(str, plan_.placement))
        rows.append(row)
    return {column: np.array([row[column] for row in rows]) for column in rows[0]}


def cycle_shares(planned: Planned) -> dict[str, float]:
    """What share of the cycles runs where: device_share, edge_share, cloud_share."""
    cycles = planned.file.cycles
    total = cycles.sum() or 1.0
    return {
        f"{name}_share": float(cycles[planned.placement == k].sum() / total)
        for k, name in enumerate(LOCATIONS)
    }
