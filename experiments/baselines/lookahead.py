"""Lookahead: each subtask in turn to where its finish plus its time to the result is least.

The time to the result is the least time from a finish to the end if nothing ever waited; finishes
are exact, by the delay model. This is the optimistic cost of PEFT (Arabnejad and Barbosa, "List
scheduling algorithm for heterogeneous systems by an optimistic cost table", IEEE Transactions on
Parallel and Distributed Systems 25(3), 2014), in the order of subtask numbers.

- `lookahead` is that alone. The kernel is `anygraph`'s, whose first candidate it is.
- `lookahead_mended` takes the best of that and of the single locations and improves it by moves as
  `anygraph` improves its proposals, with as many evaluations.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from anygraph.decision import EVALUATIONS
from anygraph.improvement import (
    LOOKAHEAD_EVALUATIONS,
    Progress,
    improve,
    moves,
    new_workspace,
)
from anygraph.improvement import lookahead as lookahead_kernel
from experiments.baselines.one_task import one_at_a_time
from kd_offload.delay import EVERYWHERE, new_times, prepare
from kd_offload.graphs import TaskGraph


@njit(cache=True)
def _lookahead_loop(n, first, source, tasks, placements):
    times, workspace = new_times(n, len(source)), new_workspace(n)
    for s in range(len(tasks)):
        prepare(n, first, source, tasks[s], EVERYWHERE, times)
        lookahead_kernel(n, first, source, times, workspace)
        placements[s] = workspace.placement[1 : n + 1]


def lookahead(graph: TaskGraph):
    """Lookahead, for one task at a time (see `one_task`)."""
    return one_at_a_time(_lookahead_loop, graph)


@njit(cache=True)
def _mended_loop(n, first, source, tasks, placements, tried):
    """As `one_task` says; returns the subtasks that were run through the delay model."""
    times, workspace = new_times(n, len(source)), new_workspace(n)
    no_proposals = np.empty((0, n), np.int8)
    budget, subtasks = EVALUATIONS * n, 0
    for s in range(len(tasks)):
        prepare(n, first, source, tasks[s], EVERYWHERE, times)
        best = lookahead_kernel(n, first, source, times, workspace)
        progress = Progress(best, LOOKAHEAD_EVALUATIONS * n)
        found = improve(n, first, source, times, no_proposals, tried, budget, workspace, progress)
        placements[s] = workspace.best_placement[1 : n + 1]
        subtasks += found.subtasks_run
    return subtasks


def lookahead_mended(graph: TaskGraph):
    """The best of lookahead and the single locations, improved; for one task at a time."""
    return one_at_a_time(_mended_loop, graph, moves(graph))


def lookahead_mended_evaluations(graph: TaskGraph, tasks: np.ndarray) -> float:
    """Runs of the delay model in a decision of `lookahead_mended`, a mean over tasks (S, F); a
    subtask run counts 1/n."""
    placements = np.empty((len(tasks), graph.n), np.int8)
    subtasks = _mended_loop(graph.n, graph.first, graph.source, tasks, placements, moves(graph))
    return subtasks / graph.n / len(tasks)
