"""The student's placements, improved as `anygraph` improves its own.

The student, a classifier chain, decodes its labels eight times: once as it is, then each time with
one of its least certain labels changed to its second choice, on which the labels behind follow. The
best of these, of lookahead and of the single locations is spliced and moved by
`anygraph.improvement.improve`, within the same budget: it is `lookahead_mended` with proposals.

Regret on 5,000 validation tasks of dag and of fusion, of a student trained for 2,000 steps on
100,000 labels: alone 2.9 and 13.1 %; improved 0.52 and 3.6 %, after lookahead 0.30 and 2.6 %; with
four decodings 0.12 and 1.3 %, with eight 0.10 and 0.98 %. `lookahead_mended` has 1.2 and 7.6 %.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit

from anygraph.decision import EVALUATIONS
from anygraph.improvement import (
    LOOKAHEAD_EVALUATIONS,
    Progress,
    improve,
    lookahead,
    moves,
    new_workspace,
)
from experiments.baselines.one_task import one_at_a_time
from kd_offload.delay import EVERYWHERE, N_LOCATIONS, new_times, prepare
from kd_offload.graphs import TaskGraph
from kd_offload.labels import ROUNDING
from kd_offload.model import Model, check_graph

DECODINGS = 8


class Mended(NamedTuple):
    """A student whose placements are improved."""

    student: Model

    @property
    def role(self) -> str:
        """What it is in tables."""
        return "student_mended"


class _Arrays(NamedTuple):
    """A student as compiled code takes it, the units of its chain as outputs behind the logits."""

    mean: np.ndarray  # float64 (F,)
    deviation: np.ndarray  # float64 (F,)
    weights: tuple[np.ndarray, ...]  # float32 (inputs, outputs)
    biases: tuple[np.ndarray, ...]  # float32 (outputs,)
    given: np.ndarray  # float32 (n, 3, n, W), as in `Chain`
    exit: np.ndarray  # float32 (n, W, 3)


def _arrays(model: Model) -> _Arrays:
    chain = model.chain
    entry = chain.entry.reshape(len(chain.entry), -1)
    weights = (*model.weights[:-1], np.hstack([model.weights[-1], entry]))
    biases = (*model.biases[:-1], np.concatenate([model.biases[-1], chain.bias.ravel()]))
    return _Arrays(*model.scaling[:2], weights, biases, chain.given, chain.exit)


@njit(cache=True)
def _decode(outputs, arrays, changed, placement, margins):
    """One decoding, with the second choice for subtask `changed`, if that is one.

    margins float32 (n,): filled with how far the first choice is ahead of the second.
    """
    n, _, _, width = arrays.given.shape
    scores = outputs[: N_LOCATIONS * n].copy().reshape(n, N_LOCATIONS)
    units = outputs[N_LOCATIONS * n :].copy().reshape(n, width)
    for j in range(n):
        for w in range(width):
            if units[j, w] > 0:
                for k in range(N_LOCATIONS):
                    scores[j, k] += units[j, w] * arrays.exit[j, w, k]
        best = np.argmax(scores[j])
        second, third = (best + 1) % N_LOCATIONS, (best + 2) % N_LOCATIONS
        if scores[j, third] > scores[j, second]:
            second = third
        margins[j] = scores[j, best] - scores[j, second]
        placement[j] = second if j == changed else best
        given, behind = arrays.given[j, placement[j]].ravel(), units.ravel()
        for i in range((j + 1) * width, n * width):
            behind[i] += given[i]


@njit(cache=True)
def _propose(task, arrays, proposals, margins):
    """Fill proposals int8 (K, n) with the student's decodings of a task (F,)."""
    values = ((np.log(task) - arrays.mean) / arrays.deviation).astype(np.float32)
    last = len(arrays.weights) - 1
    for layer in range(last):
        sums = values @ arrays.weights[layer] + arrays.biases[layer]
        values = np.maximum(sums, np.float32(0))
    outputs = values @ arrays.weights[last] + arrays.biases[last]
    _decode(outputs, arrays, -1, proposals[0], margins)
    least_certain = np.argsort(margins)
    for c in range(1, len(proposals)):
        _decode(outputs, arrays, least_certain[c - 1], proposals[c], margins)


@njit(cache=True)
def _loop(n, first, source, tasks, placements, tried, arrays):
    """As `one_task` says; returns the subtasks that were run through the delay model."""
    times, workspace = new_times(n, len(source)), new_workspace(n)
    proposals = np.empty((min(DECODINGS, n + 1), n), np.int8)
    margins = np.empty(n, np.float32)
    budget, subtasks = EVALUATIONS * n, 0
    for s in range(len(tasks)):
        prepare(n, first, source, tasks[s], EVERYWHERE, times)
        best = lookahead(n, first, source, times, workspace)
        if best <= times.time_to_result[0, 0] * (1 + ROUNDING):  # optimal, as in `anygraph`
            placements[s] = workspace.placement[1 : n + 1]
            subtasks += LOOKAHEAD_EVALUATIONS * n
            continue
        _propose(tasks[s], arrays, proposals, margins)
        progress = Progress(best, LOOKAHEAD_EVALUATIONS * n)
        found = improve(n, first, source, times, proposals, tried, budget, workspace, progress)
        placements[s] = workspace.best_placement[1 : n + 1]
        subtasks += found.subtasks_run
    return subtasks


def student_mended(model: Mended, graph: TaskGraph) -> Callable:
    """A student's placements improved, for one task at a time (see `one_task`).

    Raises ValueError for a student of another graph.
    """
    check_graph(model.student, graph)
    return one_at_a_time(_loop, graph, moves(graph), _arrays(model.student))


def mended_evaluations(model: Mended, graph: TaskGraph, tasks: np.ndarray) -> float:
    """Runs of the delay model in a decision, a mean over tasks (S, F); a subtask run counts 1/n."""
    placements = np.empty((len(tasks), graph.n), np.int8)
    constants = moves(graph), _arrays(model.student)
    subtasks = _loop(graph.n, graph.first, graph.source, tasks, placements, *constants)
    return subtasks / graph.n / len(tasks)
