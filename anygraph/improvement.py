"""Placements improved by the delay model: lookahead, stretches of other placements, and moves.

1. lookahead places subtask after subtask where its finish plus the least time from there to the
   result is least: the first candidate;
2. proposals and the three single locations are run through the delay model;
3. the best is spliced: a stretch of subtasks is placed as another proposal has it. A stretch is as
   long as the two differ, but for single subtasks in between;
4. moves are tried until none helps: one subtask to another location, the last ones first; then
   both ends of an edge to one location;
5. 3 and 4 are repeated until neither helps or the budget is spent.

A candidate is run from the first subtask on that it places otherwise than the best so far, and only
until the delay model shows that it cannot beat that. So no placement found is worse than
lookahead's or that of any single location, and nothing is run twice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from kd_offload.delay import KERNEL, N_LOCATIONS, N_RESOURCES, schedule_node
from kd_offload.graphs import TaskGraph

LOOKAHEAD_EVALUATIONS = N_LOCATIONS + 1  # of lookahead and the pass backwards over the graph


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


@njit(**KERNEL)
def lookahead(n, first, source, times, workspace):
    """Place subtask after subtask at the least finish + time to the result. Unchecked.

    Fills all of `workspace`, whose best placement it is; returns its delay.
    """
    placement, finish = workspace.placement, workspace.finish
    free_at, options = workspace.best_free_at, workspace.options
    for r in range(N_RESOURCES):
        free_at[1, r] = 0.0
    placement[0] = 0
    finish[0] = 0.0
    for j in range(1, n + 1):
        location = 0
        least = np.inf
        finish[j] = np.inf  # where no sum is finite
        for k in range(N_LOCATIONS):
            _copy(free_at[j], options[k])
            done = schedule_node(j, k, first, source, times, placement, finish, options[k])
            result = done + times.time_to_result[j, k]
            if result < least:
                location = k
                least = result
                finish[j] = done
        placement[j] = location
        _copy(options[location], free_at[j + 1])
    for j in range(n + 1):  # quicker than numba's slices
        workspace.best_placement[j] = placement[j]
        workspace.best_finish[j] = finish[j]
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
    j = start
    hopeless = False
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


@njit(**KERNEL)
def _splice(n, first, source, times, proposals, budget, workspace, progress):  # noqa: PLR0913 (compiled)
    """Stretches of every proposal tried in the best placement, the last ones first."""
    placement, best = workspace.placement, progress.delay
    subtasks_run = progress.subtasks_run
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
                if subtasks_run + n + 1 - start > budget:
                    return Progress(best, subtasks_run)
                for j in range(start, end + 1):
                    placement[j] = proposal[j - 1]
                found = _run(start, n, first, source, times, workspace, best)
                best = found.delay
                subtasks_run += found.subtasks_run
            end = start - 1
    return Progress(best, subtasks_run)


@njit(**KERNEL)
def _move(n, first, source, times, tried, budget, workspace, progress):  # noqa: PLR0913 (compiled)
    """Moves (M, 3) tried until none helps."""
    placement, best = workspace.placement, progress.delay
    subtasks_run = progress.subtasks_run
    index = 0
    in_vain = 0
    while in_vain < len(tried):
        i, j, k = tried[index, 0], tried[index, 1], tried[index, 2]
        if subtasks_run + n + 1 - i > budget:
            break
        index = index + 1 if index + 1 < len(tried) else 0
        in_vain += 1
        if placement[i] == k or (j > 0 and placement[j] == k):
            continue
        placement[i] = k
        if j > 0:
            placement[j] = k
        found = _run(i, n, first, source, times, workspace, best)
        subtasks_run += found.subtasks_run
        if found.delay < best:
            best = found.delay
            in_vain = 0
    return Progress(best, subtasks_run)


@njit(**KERNEL)
def run_whole(n, first, source, times, candidate, workspace):
    """Fill `workspace`, whose best placement becomes the candidate int8 (n,); returns its delay."""
    placement, finish = workspace.placement, workspace.finish
    free_at = workspace.best_free_at
    for r in range(N_RESOURCES):
        free_at[1, r] = 0.0
    placement[0] = 0
    finish[0] = 0.0
    for j in range(1, n + 1):
        placement[j] = candidate[j - 1]
        _copy(free_at[j], free_at[j + 1])
        finish[j] = schedule_node(
            j, placement[j], first, source, times, placement, finish, free_at[j + 1]
        )
    for j in range(n + 1):  # quicker than numba's slices
        workspace.best_placement[j] = placement[j]
        workspace.best_finish[j] = finish[j]
    return schedule_node(n + 1, 0, first, source, times, placement, finish, free_at[n + 1])


@njit(**KERNEL)
def improve(n, first, source, times, proposals, tried, budget, workspace, progress):  # noqa: PLR0913 (compiled)
    """The best of the placement in hand, proposals and single locations, improved. Unchecked.

    Parameters
    ----------
    times, workspace
        As `lookahead` or `run_whole` has left them; at the end the best placement is in it.
    proposals : int8 (K, n)
    tried : int64 (M, 3)
        The `moves`.
    budget : int
        Subtasks run at most, those of `progress` among them.
    progress : Progress
        Delay of the placement in hand, and the subtasks that were run for it.

    Returns
    -------
    Progress
    """
    placement, best = workspace.placement, progress.delay
    subtasks_run = progress.subtasks_run
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
            subtasks_run += found.subtasks_run
    progress = Progress(best, subtasks_run)
    progress = _splice(n, first, source, times, proposals, budget, workspace, progress)
    before = np.inf
    while progress.delay < before:
        progress = _move(n, first, source, times, tried, budget, workspace, progress)
        before = progress.delay
        progress = _splice(n, first, source, times, proposals, budget, workspace, progress)
    return progress
