"""`anygraph`: propose, verify and improve, for any task graph of 1 to 128 subtasks.

The decision for one task:

1. lookahead places subtask after subtask where its finish plus the least time from there to the
   result is least: the first candidate. If its delay is the least that there could be if nothing
   ever waited, it is optimal, and the decision is taken;
2. the network's placements and the three single locations are run through the delay model;
3. the best is spliced: a stretch of subtasks is placed as another proposal has it. A stretch is as
   long as the two differ, but for single subtasks in between;
4. moves are tried until none helps: one subtask to another location, the last ones first; then
   both ends of an edge to one location;
5. 3 and 4 are repeated until neither helps or the budget is spent.

A candidate is run from the first subtask on that it places otherwise than the best so far, and only
until the delay model shows that it cannot beat that. So no decision is worse than lookahead's or
that of any single location, and nothing is run twice.

The budget counts subtasks run through the delay model, in units of n: lookahead runs every subtask
at three locations, and the pass backwards over the graph, for the least times to the result, counts
n.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit

from anygraph.network import GraphNetwork
from anygraph.propose import (
    Direction,
    Routes,
    check_task_graph,
    flat_weights,
    new_network_workspace,
    propose_one,
    routes,
    unflattened,
)
from kd_offload.delay import N_LOCATIONS, N_RESOURCES, N_STATE, prepare, schedule_node
from kd_offload.graphs import TaskGraph
from kd_offload.labels import ROUNDING
from kd_offload.tasks import STATE

EVALUATIONS = 40
FIRST_EVALUATIONS = N_LOCATIONS + 1  # of lookahead and the pass backwards
FIXED_EVALUATIONS = FIRST_EVALUATIONS + 4  # with the single locations, at most
STATE_RANGES = {  # low, high of the states trained on, in SI units
    "f_0": (1e8, 1e10),
    "f_1": (2e9, 4e10),
    "f_2": (8e9, 1e11),
    "B_up": (1.25e4, 2.5e7),
    "B_down": (1.25e4, 7.5e7),
    "B_wan": (6.25e5, 1.25e8),
    "tau_wireless": (5e-4, 0.15),
    "tau_wan": (5e-4, 0.15),
}


def moves(graph: TaskGraph) -> np.ndarray:
    """Moves in the order in which they are tried.

    Returns
    -------
    numpy.ndarray of int64, shape (M, 3)
        A subtask, a second one or 0, and the location that they are moved to.
    """
    n = graph.n
    locations = (2, 1, 0)
    single = [(i, 0, k) for i in range(n, 0, -1) for k in locations]
    inner = sorted([(i, j) for i, j in graph.edges if i > 0 and j <= n], reverse=True)
    return np.array(single + [(i, j, k) for i, j in inner for k in locations], np.int64)


class Workspace(NamedTuple):
    """Memory of `lookahead` and `improve`, for up to n subtasks; rows are nodes."""

    placement: np.ndarray  # uint8 (n + 2,): the candidate in hand
    finish: np.ndarray  # float64 (n + 2,): its finish times
    best_placement: np.ndarray
    best_finish: np.ndarray
    best_free_at: np.ndarray  # (n + 2, N_RESOURCES): before each node, in the best
    free_at: np.ndarray  # the same, in the candidate
    options: np.ndarray  # (N_LOCATIONS, N_RESOURCES): scratch of `lookahead`


@njit(cache=True)
def new_workspace(n):
    """A `Workspace` for graphs of up to n subtasks."""
    nodes = n + 2
    return Workspace(
        np.zeros(nodes, np.uint8),
        np.zeros(nodes),
        np.zeros(nodes, np.uint8),
        np.zeros(nodes),
        np.zeros((nodes, N_RESOURCES)),
        np.zeros((nodes, N_RESOURCES)),
        np.zeros((N_LOCATIONS, N_RESOURCES)),
    )


@njit(cache=True, inline="always")
def _copy(origin, target):
    for r in range(N_RESOURCES):  # quicker than numba's slices
        target[r] = origin[r]


@njit(cache=True, error_model="numpy")
def lookahead(n, first, source, times, workspace):
    """Place subtask after subtask at the least finish + time to the result. Unchecked.

    Fills all of `workspace`, whose best placement it is; returns its delay.
    """
    placement, finish = workspace.placement, workspace.finish
    free_at, options = workspace.best_free_at, workspace.options
    free_at[1] = 0.0
    placement[0], finish[0] = 0, 0.0
    for j in range(1, n + 1):
        location, least = 0, np.inf
        for k in range(N_LOCATIONS):
            _copy(free_at[j], options[k])
            done = schedule_node(j, k, first, source, times, placement, finish, options[k])
            result = done + times.time_to_result[j, k]
            if result < least:
                location, least = k, result
                finish[j] = done
        placement[j] = location
        _copy(options[location], free_at[j + 1])
    workspace.best_placement[:] = placement
    workspace.best_finish[:] = finish
    return schedule_node(n + 1, 0, first, source, times, placement, finish, free_at[n + 1])


class Progress(NamedTuple):
    """How far an improvement has come."""

    delay: float  # s, of the best placement
    subtasks_run: int


@njit(cache=True, error_model="numpy", inline="always")
def _run(start, n, first, source, times, workspace, best):
    """The candidate, which equals the best before subtask `start`, becomes the best or is dropped.

    It is run until its result cannot be earlier than `best`. -> (best delay, subtasks run here)
    """
    placement, finish, free_at = workspace.placement, workspace.finish, workspace.free_at
    _copy(workspace.best_free_at[start], free_at[start])
    j, hopeless = start, False
    while j <= n and not hopeless:
        k = placement[j]
        _copy(free_at[j], free_at[j + 1])
        finish[j] = schedule_node(j, k, first, source, times, placement, finish, free_at[j + 1])
        hopeless = finish[j] + times.time_to_result[j, k] >= best
        j += 1
    delay = np.inf
    if not hopeless:
        delay = schedule_node(n + 1, 0, first, source, times, placement, finish, free_at[n + 1])
    if delay < best:
        for i in range(start, n + 1):
            workspace.best_placement[i] = placement[i]
            workspace.best_finish[i] = finish[i]
            if i > start:
                _copy(free_at[i], workspace.best_free_at[i])
        return Progress(delay, j - start)
    for i in range(start, n + 1):
        placement[i] = workspace.best_placement[i]
    for i in range(start, j):
        finish[i] = workspace.best_finish[i]
    return Progress(best, j - start)


@njit(cache=True, error_model="numpy")
def _splice(n, first, source, times, proposals, budget, workspace, progress):  # noqa: PLR0913 (compiled)
    """Stretches of every proposal tried in the best placement, the last ones first."""
    placement, best, spent = workspace.placement, progress.delay, progress.subtasks_run
    for proposal in proposals:
        end = n
        while end > 0:
            start = end
            if proposal[end - 1] != placement[end]:
                j = end - 1
                while j > 0 and start - j <= 2:
                    if proposal[j - 1] != placement[j]:
                        start = j
                    j -= 1
            if start < end:
                if spent + n + 1 - start > budget:
                    return Progress(best, spent)
                for j in range(start, end + 1):
                    placement[j] = proposal[j - 1]
                found = _run(start, n, first, source, times, workspace, best)
                best = found.delay
                spent += found.subtasks_run
            end = start - 1
    return Progress(best, spent)


@njit(cache=True, error_model="numpy")
def _move(n, first, source, times, tried, budget, workspace, progress):  # noqa: PLR0913 (compiled)
    """Moves (M, 3) tried until none helps."""
    placement, best, spent = workspace.placement, progress.delay, progress.subtasks_run
    index, in_vain = 0, 0
    while in_vain < len(tried):
        i, j, k = tried[index, 0], tried[index, 1], tried[index, 2]
        if spent + n + 1 - i > budget:
            break
        index = index + 1 if index + 1 < len(tried) else 0
        in_vain += 1
        if placement[i] == k or (j > 0 and placement[j] == k):
            continue
        placement[i] = k
        if j > 0:
            placement[j] = k
        found = _run(i, n, first, source, times, workspace, best)
        spent += found.subtasks_run
        if found.delay < best:
            best = found.delay
            in_vain = 0
    return Progress(best, spent)


@njit(cache=True, error_model="numpy")
def improve(n, first, source, times, proposals, tried, budget, workspace, best, out):  # noqa: PLR0913 (compiled)
    """The best of lookahead, proposals and single locations, improved. Unchecked.

    Parameters
    ----------
    times, workspace, best
        As `lookahead` has left them, and the delay that it found.
    proposals : int8 (K, n)
    tried : int64 (M, 3)
        The `moves`.
    budget : int
        Subtasks to be run at most.
    out : int8 (n,)
        Filled with the placement.

    Returns
    -------
    Progress
        With the subtasks that `lookahead` ran.
    """
    placement, spent = workspace.placement, FIRST_EVALUATIONS * n
    for c in range(len(proposals) + N_LOCATIONS):
        start = 0
        for j in range(1, n + 1):
            k = proposals[c, j - 1] if c < len(proposals) else c - len(proposals)
            if start == 0 and k != placement[j]:
                start = j
            placement[j] = k
        if start > 0:
            found = _run(start, n, first, source, times, workspace, best)
            best = found.delay
            spent += found.subtasks_run
    progress = Progress(best, spent)
    progress = _splice(n, first, source, times, proposals, budget, workspace, progress)
    before = np.inf
    while progress.delay < before:
        progress = _move(n, first, source, times, tried, budget, workspace, progress)
        before = progress.delay
        progress = _splice(n, first, source, times, proposals, budget, workspace, progress)
    for j in range(n):
        out[j] = placement[j + 1]
    return progress


class Decision(NamedTuple):
    """What was decided for S tasks."""

    placements: np.ndarray  # int8 (S, n)
    delays: np.ndarray  # float64 (S,), s
    evaluations: np.ndarray  # float64 (S,): delay evaluations that it took


class CompiledDecider(NamedTuple):
    """A model's decider for one graph, packed into two vectors for `decide_batch`.

    numba unboxes a NamedTuple field by field: with `Routes`, moves and weights in one, a call takes
    2.6 us longer (3.0 for 0.35), which is more than a tenth of a decision for `dag`.
    """

    # n, width, K, budget in subtasks, number of edges, of edges of the way back, and of moves;
    # then the graph's `Routes` and its moves
    layout: np.ndarray  # int64
    weights: np.ndarray  # float32, `flat_weights`


def compile_decider(
    model: GraphNetwork, graph: TaskGraph, evaluations: int = EVALUATIONS
) -> CompiledDecider:
    """A model's whole decider for a graph. Raises ValueError for too few evaluations."""
    least = model.hypotheses + FIXED_EVALUATIONS
    if not isinstance(evaluations, (int, np.integer)) or evaluations < least:
        expected = f"expected at least K + {FIXED_EVALUATIONS} = {least}"
        raise ValueError(f"evaluations: {evaluations!r}, {expected}")
    route, tried = routes(graph), moves(graph)
    sizes = (
        graph.n,
        model.width,
        model.hypotheses,
        evaluations * graph.n,
        len(route.forward.source),
        len(route.backward.source),
        len(tried),
    )
    layout = np.concatenate([sizes, *route.forward, *route.backward, tried.ravel()])
    return CompiledDecider(layout, flat_weights(model))


@njit(cache=True, inline="always")
def _direction(vector, nodes, edges):
    """A `Direction` from the first numbers of a vector, with `nodes` entries in `first`."""
    source, edge = nodes, nodes + edges
    return Direction(vector[:source], vector[source:edge], vector[edge : edge + edges])


@njit(cache=True)
def _routes_of(layout):
    """The `Routes` of a `CompiledDecider`."""
    n, edges, back = layout[0], layout[4], layout[5]
    forward = layout[7:]
    backward = forward[n + 3 + 2 * edges :]
    return Routes(n, _direction(forward, n + 3, edges), _direction(backward, n + 2, back))


@njit(cache=True, error_model="numpy")
def decide_batch(layout, weights, tasks, placements, delays, subtasks_run):
    """Decide for many tasks, unchecked.

    Parameters
    ----------
    layout, weights
        A `CompiledDecider`.
    tasks : float64 (S, F), SI units
    placements : int8 (S, n)
        Filled, as are `delays` float64 (S,) in s and `subtasks_run` int64 (S,).
    """
    n, width, hypotheses, budget, count = layout[0], layout[1], layout[2], layout[3], layout[6]
    tried = layout[len(layout) - 3 * count :].reshape(count, 3)
    route = _routes_of(layout)
    first, source = route.forward.first, route.forward.source
    parameters = unflattened(weights, width, hypotheses)
    network, workspace = new_network_workspace(width, n, len(source)), new_workspace(n)
    times = network.times
    proposals = np.empty((hypotheses, n), np.int8)
    for s in range(len(tasks)):
        prepare(n, first, source, tasks[s], 0, 0, times)
        best = lookahead(n, first, source, times, workspace)
        if best <= times.time_to_result[0, 0] * (1 + ROUNDING):
            placements[s] = workspace.placement[1 : n + 1]
            delays[s], subtasks_run[s] = best, FIRST_EVALUATIONS * n
            continue
        propose_one(route, tasks[s], parameters, network, proposals)
        found = improve(
            n, first, source, times, proposals, tried, budget, workspace, best, placements[s]
        )
        delays[s], subtasks_run[s] = found.delay, found.subtasks_run


def warn_outside(tasks: np.ndarray) -> None:
    """One warning of the first quantity, if any, that leaves the range that it was trained on."""
    for name, values in zip(STATE, tasks[:, -N_STATE:].T):
        low, high = STATE_RANGES[name]
        if values.min() < low * (1 - 1e-9) or values.max() > high * (1 + 1e-9):
            warnings.warn(
                f"task: {name} from {values.min():.4g} to {values.max():.4g} lies outside the "
                f"training range {low:.4g} to {high:.4g}; decided all the same",
                stacklevel=3,
            )
            return


def decide(
    model: GraphNetwork, graph: TaskGraph, tasks, evaluations: int = EVALUATIONS
) -> Decision:
    """Decide where each subtask of each task runs.

    The first decision on a machine compiles for about a minute; numba keeps the result.

    Parameters
    ----------
    model : GraphNetwork
    graph : TaskGraph
        Of 1 to 128 subtasks.
    tasks : array_like of float, shape (F,) or (S, F), SI units
        States outside STATE_RANGES are decided all the same, with one warning.
    evaluations : int, optional
        Delay evaluations of one decision, at most; at least K + FIXED_EVALUATIONS.

    Returns
    -------
    Decision

    Raises
    ------
    ValueError
        For a larger graph, a bad task or one without a finite delay, or too few evaluations.
    """
    t = check_task_graph(graph, tasks)
    warn_outside(t)
    placements, delays = np.empty((len(t), graph.n), np.int8), np.empty(len(t))
    subtasks_run = np.empty(len(t), np.int64)
    compiled = compile_decider(model, graph, evaluations)
    decide_batch(*compiled, t, placements, delays, subtasks_run)
    finite = np.isfinite(delays)
    if not finite.all():
        raise ValueError(f"task {np.argmin(finite)}: no finite delay was found")
    return Decision(placements, delays, subtasks_run / graph.n)


def decider(
    model: GraphNetwork, graph: TaskGraph, evaluations: int = EVALUATIONS
) -> Callable[[np.ndarray], np.ndarray]:
    """`decide` for one task (F,) at a time, unchecked -> int8 (n,), overwritten by the next."""
    layout, weights = compile_decider(model, graph, evaluations)
    placements, delays = np.empty((1, graph.n), np.int8), np.empty(1)
    subtasks_run = np.empty(1, np.int64)

    def decide_one(task: np.ndarray) -> np.ndarray:
        decide_batch(layout, weights, task[None], placements, delays, subtasks_run)
        return placements[0]

    return decide_one


def loop(
    model: GraphNetwork, graph: TaskGraph, evaluations: int = EVALUATIONS
) -> Callable[[np.ndarray], np.ndarray]:
    """`decide` for tasks (S, F) in a compiled loop, unchecked -> int8 (S, n)."""
    layout, weights = compile_decider(model, graph, evaluations)

    def decide_all(tasks: np.ndarray) -> np.ndarray:
        count = len(tasks)
        placements = np.empty((count, graph.n), np.int8)
        decide_batch(layout, weights, tasks, placements, np.empty(count), np.empty(count, np.int64))
        return placements

    return decide_all
