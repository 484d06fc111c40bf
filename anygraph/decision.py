"""`anygraph` decides, and proves what it can, for any task graph of 1 to 128 subtasks.

1. Lookahead gives a first placement. If its delay is the least that there could be if nothing ever
   waited, it is optimal, and the decision is taken.
2. An exact search looks for something better, within a few nodes. If it ends, the best placement
   known is optimal, proven. Most tasks of up to 24 subtasks end here.
3. A narrow beam and the network propose placements, which are spliced and moved (`improvement`).
4. An exact search starts from the best of these, with its delay as the limit and its labels tried
   first. It often ends with a proof, finds a better placement, or both.

A search that gives up leaves a lower bound all the same: the least bound of what it left open. So
every decision carries a bound, and how far it may be from the optimum is proven, not estimated.

`effort` multiplies what 2 to 4 may spend: 0 is lookahead alone, `math.inf` searches until the
optimum is proven. The cost of a decision is counted in evaluations: subtasks run through the delay
model, in units of n. A node of a search, a child of the beam and each of lookahead's three
locations count 1, and so does a subtask of the pass backwards over the graph.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from anygraph.beam import Neighbours, beam_kernel, neighbours, new_beam_scratch
from anygraph.improvement import (
    LOOKAHEAD_EVALUATIONS,
    Progress,
    improve,
    lookahead,
    moves,
    new_workspace,
    run_whole,
)
from anygraph.network import ROLE, GraphNetwork, count_parameters
from anygraph.propose import (
    Routes,
    Weights,
    check_size,
    check_task_graph,
    flat_weights,
    new_network_workspace,
    propose_one,
    routes,
    unflattened,
)
from kd_offload.delay import EVERYWHERE, N_LOCATIONS, N_STATE, prepare
from kd_offload.graphs import TaskGraph
from kd_offload.labels import (
    GUIDED,
    PROMISING,
    ROUNDING,
    TIE,
    UNLIMITED,
    Structure,
    new_scratch,
    search_kernel,
    structure,
)
from kd_offload.tasks import warn_of_range

FIRST_NODES = 2e6  # of the first search, divided by n²: few where it cannot end
WIDTH = 8  # of the beam
EVALUATIONS = 80  # of an improvement, at most
LAST_NODES = 3000  # of the last search
REMEMBER_FROM = 64  # nodes of a search before it remembers prefixes (see `kd_offload.labels`)
ROWS = 128  # of its table of prefixes: more make no difference to so few nodes
MOST_LIVE = 16  # results still needed, above which few prefixes are dominated: none is remembered
STAGES = ("lookahead", "first search", "last search", "not proven")  # that took a decision
BY_LOOKAHEAD, BY_FIRST_SEARCH, BY_LAST_SEARCH, NOT_PROVEN = range(len(STAGES))
ONLY = np.zeros(1, np.int64)  # the number of the one task
STATE_RANGES = {  # low, high of the states trained on, in SI units, in the order of a task
    "f_0": (1e8, 1e10),
    "f_1": (2e9, 4e10),
    "f_2": (8e9, 1e11),
    "B_up": (1.25e4, 2.5e7),
    "B_down": (1.25e4, 7.5e7),
    "B_wan": (6.25e5, 1.25e8),
    "tau_wireless": (5e-4, 0.15),
    "tau_wan": (5e-4, 0.15),
}


class Decision(NamedTuple):
    """What was decided for S tasks."""

    placements: np.ndarray  # int8 (S, n)
    delays: np.ndarray  # float64 (S,), s
    bounds: np.ndarray  # float64 (S,), s: no placement has a lower delay
    evaluations: np.ndarray  # float64 (S,): what each decision cost
    stages: np.ndarray  # int8 (S,): index into STAGES

    @property
    def proven(self) -> np.ndarray:
        """Which placements are proven optimal, to a relative TIE: bool (S,)."""
        return (self.stages != NOT_PROVEN) | (self.delays <= self.bounds * (1 + TIE))

    @property
    def gaps(self) -> np.ndarray:
        """By what share a delay may exceed the optimum, at most: float64 (S,); inf if unknown."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.proven, 0.0, self.delays / self.bounds - 1)


class Budget(NamedTuple):
    """What one decision may spend."""

    first_nodes: int
    width: int  # of the beam, 0 for none
    hypotheses: int  # of the network, 0 for none
    subtasks: int  # run in an improvement, at most
    last_nodes: int


class Plan(NamedTuple):
    """A graph and a model as the kernels take them."""

    known: Structure
    route: Routes
    near: Neighbours
    tried: np.ndarray  # `moves`
    weights: Weights
    budget: Budget


class Searched(NamedTuple):
    """What is known of a task after a search."""

    delay: float  # s, of the best placement
    bound: float  # s: no placement has a lower delay
    nodes: int
    proven: bool  # the search ended, so that no placement is better


@njit(cache=True, error_model="numpy", inline="always")
def _search(known, by, nodes, delay, bound, placement, scratch):
    """Look for a delay below the one that is known, within some nodes -> `Searched`.

    placement int8 (n,): the best one, which a better one replaces.
    """
    limit = delay * (1 - ROUNDING)
    found = search_kernel(known, by, limit, 0.0, nodes, placement, scratch)
    best = min(delay, found.delay)
    if found.nodes <= nodes:
        return Searched(best, best, found.nodes, True)
    return Searched(best, max(bound, min(best, found.bound)), found.nodes, False)


@njit(cache=True, error_model="numpy")
def _settle(known, tasks, allowed, nodes, scratch, decision, subtasks_run):
    """Lookahead and the first search, for tasks (S, F) -> `decision`, all of whose rows are set."""
    n, first, source = known.n, known.first, known.source
    times = scratch.times
    workspace = new_workspace(n)
    for s in range(len(tasks)):
        prepare(n, first, source, tasks[s], allowed, times)
        delay = lookahead(n, first, source, times, workspace)
        placement = decision.placements[s]
        for j in range(n):
            placement[j] = workspace.best_placement[j + 1]
        bound = times.time_to_result[0, 0]
        cost = LOOKAHEAD_EVALUATIONS * n
        stage = BY_LOOKAHEAD
        if delay > bound * (1 + ROUNDING):
            stage = NOT_PROVEN
            if nodes > 0:
                found = _search(known, PROMISING, nodes, delay, bound, placement, scratch)
                delay = found.delay
                bound = found.bound
                cost += found.nodes
                if found.proven:
                    stage = BY_FIRST_SEARCH
        decision.delays[s] = delay
        decision.bounds[s] = min(bound, delay)
        decision.stages[s] = stage
        subtasks_run[s] = cost


@njit(cache=True, error_model="numpy")
def _refine(plan, tasks, allowed, chosen, scratch, decision, subtasks_run):  # noqa: PLR0915 (kernel)
    """Proposals, improvement and the last search, for the chosen tasks -> `decision`."""
    known, route, budget = plan.known, plan.route, plan.budget
    n, first, source = known.n, known.first, known.source
    width, times = budget.width, scratch.times
    workspace = new_workspace(n)
    beam_scratch = new_beam_scratch(n, max(width, 1))
    network_width, hypotheses = plan.weights.hypothesis.shape
    network = new_network_workspace(network_width, hypotheses, n, len(route.forward.source))
    proposals = np.empty((width + budget.hypotheses, n), np.int8)
    for s in chosen:
        placement = decision.placements[s]
        prepare(n, first, source, tasks[s], allowed, times)
        bound = max(decision.bounds[s], times.time_to_result[0, 0])
        delay = run_whole(n, first, source, times, placement, workspace)
        cost = subtasks_run[s] + n
        count = 0  # of proposals
        if width > 0:
            limit = delay * (1 - ROUNDING)
            beam = beam_kernel(
                n, first, source, times, plan.near, width, limit, beam_scratch, proposals
            )
            count = beam.count
            bound = max(bound, min(beam.bound, delay))
            cost += beam.children
        if budget.hypotheses > 0 and times.time_to_result[0, 0] > 0:  # its unit of time
            last = count + budget.hypotheses
            propose_one(
                route, tasks[s], allowed, plan.weights, times, network, proposals[count:last]
            )
            count = last
        progress = improve(
            n, first, source, times, proposals[:count], plan.tried, cost + budget.subtasks,
            workspace, Progress(delay, cost),
        )  # fmt: skip
        delay = progress.delay
        cost = progress.subtasks_run
        for j in range(n):
            placement[j] = workspace.best_placement[j + 1]
        stage = NOT_PROVEN
        if budget.last_nodes > 0:
            found = _search(known, GUIDED, budget.last_nodes, delay, bound, placement, scratch)
            delay = found.delay
            bound = found.bound
            cost += found.nodes
            if found.proven:
                stage = BY_LAST_SEARCH
        decision.delays[s] = delay
        decision.bounds[s] = min(bound, delay)
        decision.stages[s] = stage
        subtasks_run[s] = cost


class Decider:
    """A model, a graph and an effort, ready to decide; it holds the memory of its searches.

    Parameters
    ----------
    model : GraphNetwork or None
        None decides without a network.
    graph : TaskGraph
    effort : float, optional
    width : int, optional
        Of the beam, 0 for none.

    Raises
    ------
    ValueError
        For a larger graph than `decide` takes, and a bad effort or width.
    """

    def __init__(
        self,
        model: GraphNetwork | None,
        graph: TaskGraph,
        effort: float = 1.0,
        width: int = WIDTH,
    ):
        if not isinstance(effort, (int, float, np.number)) or not effort >= 0:
            raise ValueError(f"effort: {effort!r}, expected a number of at least 0")
        if not isinstance(width, (int, np.integer)) or width < 0:
            raise ValueError(f"width: {width!r}, expected a whole number of at least 0")
        check_size(graph)
        network = model or _no_network()
        self.graph = graph
        self.scratch = new_scratch(graph, _rows(effort))
        budget = Budget(
            first_nodes=_multiplied(min(effort, 1.0), FIRST_NODES / graph.n**2),
            width=int(width),
            hypotheses=0 if model is None else model.hypotheses,
            subtasks=_multiplied(effort, EVALUATIONS * graph.n),
            last_nodes=_multiplied(effort, LAST_NODES),
        )
        weights = unflattened(flat_weights(network), network.width, network.hypotheses)
        self.plan = Plan(
            _known(graph, effort), routes(graph), neighbours(graph), moves(graph), weights, budget
        )
        self.effort = effort
        self._single = self._room(1)

    def decide(self, tasks: np.ndarray, allowed: np.ndarray = EVERYWHERE) -> Decision:
        """Decisions for tasks (S, F), unchecked."""
        decision, subtasks_run = self._room(len(tasks))
        known = self.plan.known
        nodes = self.plan.budget.first_nodes
        _settle(known, tasks, allowed, nodes, self.scratch, decision, subtasks_run)
        if self.effort > 0:
            self._refine_open(tasks, allowed, decision, subtasks_run)
        return decision._replace(evaluations=subtasks_run / self.graph.n)

    def mend(
        self, tasks: np.ndarray, placements: np.ndarray, allowed: np.ndarray = EVERYWHERE
    ) -> Decision:
        """Placements (S, n) of another policy, improved and proved as its own; unchecked."""
        decision, subtasks_run = self._room(len(tasks))
        decision.placements[:] = placements
        decision.bounds[:] = 0
        decision.stages[:] = NOT_PROVEN
        subtasks_run[:] = self.graph.n  # of the pass backwards
        self._refine_open(tasks, allowed, decision, subtasks_run)
        return decision._replace(evaluations=subtasks_run / self.graph.n)

    def _room(self, count: int) -> tuple[Decision, np.ndarray]:
        """A decision to be filled, and the subtasks run for each task."""
        decision = Decision(
            np.empty((count, self.graph.n), np.int8),
            np.empty(count),
            np.empty(count),
            np.empty(count),
            np.empty(count, np.int8),
        )
        return decision, np.empty(count, np.int64)

    def _refine_open(self, tasks, allowed, decision: Decision, subtasks_run: np.ndarray) -> None:
        """Refine all decisions that no search has proven."""
        chosen = np.flatnonzero(decision.stages == NOT_PROVEN)
        if len(chosen):
            _refine(self.plan, tasks, allowed, chosen, self.scratch, decision, subtasks_run)

    def spend(self, **budget: int) -> None:
        """Change what a decision may spend: fields of `Budget`."""
        self.plan = self.plan._replace(budget=self.plan.budget._replace(**budget))

    def one(self, task: np.ndarray) -> np.ndarray:
        """The placement int8 (n,) of one task (F,), unchecked: `decide` in half of its time."""
        decision, subtasks_run = self._single
        tasks = task[None]
        nodes = self.plan.budget.first_nodes
        _settle(self.plan.known, tasks, EVERYWHERE, nodes, self.scratch, decision, subtasks_run)
        if self.effort > 0 and decision.stages[0] == NOT_PROVEN:
            _refine(self.plan, tasks, EVERYWHERE, ONLY, self.scratch, decision, subtasks_run)
        return decision.placements[0].copy()

    def loop(self, tasks: np.ndarray) -> np.ndarray:
        """The placements int8 (S, n) of tasks (S, F), unchecked."""
        return self.decide(tasks).placements


def _multiplied(effort: float, share: float) -> int:
    """A share of the default, as a number of subtasks."""
    return int(min(effort * share, UNLIMITED // 4))


def _rows(effort: float) -> int:
    """Rows of a table of prefixes: ROWS up to an effort of 1, then in proportion, to 64 times."""
    rows = ROWS
    while rows < ROWS * min(effort, 64):
        rows *= 2
    return rows


def _known(graph: TaskGraph, effort: float) -> Structure:
    """What a search knows of a graph, and from which node on it remembers prefixes."""
    known = structure(graph)
    most_live = int(np.diff(known.live_first).max())
    if effort <= 1 and most_live > MOST_LIVE:
        return known._replace(remember_from=UNLIMITED)
    if known.remember_from == UNLIMITED:  # it cannot
        return known
    return known._replace(remember_from=REMEMBER_FROM)


def _no_network() -> GraphNetwork:
    """Stands in the kernels for a network that is not asked."""
    return GraphNetwork(ROLE, 0, 1, 1, np.zeros(count_parameters(1, 1), np.float32))


def check_allowed(graph: TaskGraph, allowed) -> np.ndarray:
    """Where subtasks may run, as compiled code takes it.

    Parameters
    ----------
    graph : TaskGraph
    allowed : array_like of bool, shape (n, 3), or None
        None allows every location to every subtask.

    Returns
    -------
    numpy.ndarray of bool, shape (n, 3), or EVERYWHERE

    Raises
    ------
    ValueError
        For another shape or type, and naming the first subtask that may run nowhere.
    """
    if allowed is None:
        return EVERYWHERE
    mask = np.array(allowed, order="C")  # a copy: compiled code knows writable arrays only
    if mask.shape != (graph.n, N_LOCATIONS) or mask.dtype != np.bool_:
        got = f"{mask.dtype} {mask.shape}"
        raise ValueError(f"allowed: {got}, expected bool ({graph.n}, {N_LOCATIONS})")
    nowhere = np.flatnonzero(~mask.any(axis=1))
    if len(nowhere):
        raise ValueError(f"allowed: subtask {nowhere[0] + 1} may run nowhere")
    return mask


def warn_outside(tasks: np.ndarray) -> None:
    """One warning of the first quantity, if any, that leaves the range that it was trained on."""
    low, high = zip(*STATE_RANGES.values())
    warn_of_range(STATE_RANGES, tasks[:, -N_STATE:], low, high)


def decide(
    model: GraphNetwork | None,
    graph: TaskGraph,
    tasks,
    effort: float = 1.0,
    allowed=None,
) -> Decision:
    """Decide where each subtask of each task runs, with a bound on what could be better.

    The first decision on a machine compiles for about a minute; numba keeps the result.

    Parameters
    ----------
    model : GraphNetwork or None
        None decides without a network.
    graph : TaskGraph
        Of 1 to 128 subtasks.
    tasks : array_like of float, shape (F,) or (S, F), SI units
        States outside STATE_RANGES are decided all the same, with one warning.
    effort : float, optional
        0 is lookahead alone; `math.inf` searches until the optimum is proven.
    allowed : array_like of bool, shape (n, 3), optional
        Where each subtask may run, at least at one location; everywhere by default.

    Returns
    -------
    Decision

    Raises
    ------
    ValueError
        For a larger graph, a bad task, effort or mask, or a task without a finite delay.
    """
    t = check_task_graph(graph, tasks)
    mask = check_allowed(graph, allowed)
    warn_outside(t)
    decision = Decider(model, graph, effort).decide(t, mask)
    finite = np.isfinite(decision.delays)
    if not finite.all():
        raise ValueError(f"task {np.argmin(finite)}: no finite delay was found")
    return decision
