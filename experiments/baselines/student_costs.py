"""`student_costs`: a student that is trained on, on what its own decisions cost.

Deep imitation learning, literally: the expert is asked what to do where the learner has come to.
A student that goes wrong once learns how to go on (Ross and Bagnell, "Reinforcement and imitation
learning via interactive no-regret learning", arXiv 1406.5979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numba import njit
from torch.nn.functional import softmax

from kd_offload.delay import EVERYWHERE, N_LOCATIONS, check_placements, prepare, schedule_node
from kd_offload.distill import (
    PLAIN,
    Fitted,
    Recipe,
    as_tensors,
    check_labelled,
    train_on,
)
from kd_offload.graphs import TaskGraph
from kd_offload.labels import (
    PROMISING,
    ROUNDING,
    UNLIMITED,
    Labelled,
    new_scratch,
    place_source,
    search_kernel,
    structure,
)
from kd_offload.model import Model, Network, logits
from kd_offload.tasks import check_tasks

COSTS = replace(PLAIN, role="student_costs", learning_rate=5e-3, steps=4000)  # begins as a student


@njit(cache=True, error_model="numpy")
def _cost_many(graph, tasks, labels, all_costs, trial, scratch):
    """Fill `all_costs` (S, n, 3)."""
    n, first, source = graph.n, graph.first, graph.source
    times, placement, finish = scratch.times, scratch.placement, scratch.finish
    for s in range(len(tasks)):
        prepare(n, first, source, tasks[s], EVERYWHERE, times)
        place_source(scratch)
        least = 0.0  # that the labels before leave possible
        for j in range(1, n + 1):
            for k in range(N_LOCATIONS):
                after = scratch.free_at[j, k]
                after[:] = scratch.free_at[j - 1, placement[j - 1]]
                placement[j] = k
                finish[j] = schedule_node(j, k, first, source, times, placement, finish, after)
                scratch.done[j, k] = finish[j]
                scratch.bound[j, k] = finish[j] + times.time_to_result[j, k]
                if j == n:
                    delay = schedule_node(n + 1, 0, first, source, times, placement, finish, after)
                else:
                    enough = least * (1 + ROUNDING)
                    found = search_kernel(
                        graph, PROMISING, np.inf, enough, UNLIMITED, trial, scratch, j + 1
                    )
                    delay = found.delay
                all_costs[s, j - 1, k] = delay
            given = labels[s, j - 1]
            placement[j], finish[j] = given, scratch.done[j, given]
            least = all_costs[s, j - 1, given]


def next_label_costs(graph: TaskGraph, tasks, labels) -> np.ndarray:
    """The cost of each next label, exact: the least delay that it leaves possible.

    Parameters
    ----------
    graph : TaskGraph
    tasks : array_like of float, shape (S, F), SI units
    labels : array_like of int, shape (S, n)
        Placements, right or wrong, of which each subtask sees the labels before its own.

    Returns
    -------
    numpy.ndarray of float64, shape (S, n, 3), s
        Entry [s, j, k]: the least delay of all placements that begin with labels[s, :j], then k.

    Raises
    ------
    ValueError
        For a bad task or label.
    """
    t = np.atleast_2d(check_tasks(graph, tasks))
    x = np.atleast_2d(check_placements(graph, labels))
    if len(x) != len(t):
        raise ValueError(f"labels: {len(x)} placements, expected {len(t)}, one per task")
    costs = np.empty((len(t), graph.n, N_LOCATIONS))
    trial, scratch = np.empty(graph.n, np.int8), new_scratch(graph)
    _cost_many(structure(graph), t, x, costs, trial, scratch)
    return costs


def fit_costs(
    recipe: Recipe, train: Labelled, validation: Labelled, students: Sequence[Model]
) -> Fitted:
    """Train students on, on the exact costs of the labels that follow their own.

    Each task is decided by one of the students, in turn; the exact search gives the cost of each
    next label after the labels before it; all students learn to keep the expected cost low.

    Parameters
    ----------
    recipe : Recipe
        Of the same shape as the students.
    train, validation : Labelled
    students : sequence of Model
        Where training begins.

    Returns
    -------
    Fitted

    Raises
    ------
    ValueError
        As `kd_offload.distill.fit` does.
    """
    graph, scaling = students[0].graph, students[0].scaling
    check_labelled(graph, train, validation)
    decided = train.placements.copy()
    for k, student in enumerate(students):
        decided[k :: len(students)] = logits(student, train.tasks[k :: len(students)]).argmax(-1)
    costs = next_label_costs(graph, train.tasks, decided)
    excess = (costs - costs.min(-1, keepdims=True)) / train.delays[:, None, None]
    x, given = as_tensors(train._replace(placements=decided), scaling)
    excess = torch.from_numpy(excess.astype(np.float32)).to(x.device)

    def loss(net: Network, rows: torch.Tensor) -> torch.Tensor:
        return (softmax(net(x[rows], given[rows]), -1) * excess[rows]).sum(-1).mean()

    generators = [torch.Generator().manual_seed(student.seed) for student in students]
    return train_on(students, recipe, loss, train, validation, generators)
