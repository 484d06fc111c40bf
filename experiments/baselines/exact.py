"""The exact search (see `kd_offload.labels`) as a policy, and the same search stopped early."""

from __future__ import annotations

import numpy as np
from numba import njit

from experiments.baselines.one_task import one_at_a_time
from kd_offload.graphs import TaskGraph
from kd_offload.labels import UNLIMITED, new_scratch, solve, solve_kernel, structure


@njit(cache=True)
def _exact_loop(n, first, source, tasks, placements, graph_structure, budget, scratch):  # noqa: PLR0913 (a policy's loop)
    for s in range(len(tasks)):
        solve_kernel(graph_structure, tasks[s], budget, placements[s], scratch)


def exact(graph: TaskGraph, budget: int = UNLIMITED):
    """`labels.solve`, or the best found within `budget` nodes, for one task at a time.

    Its scratch memory is kept between calls: the table of remembered prefixes is large.
    """
    return one_at_a_time(_exact_loop, graph, structure(graph), budget, new_scratch(graph))


def exact_batch(graph: TaskGraph, tasks) -> np.ndarray:
    """The labels int8 (S, n)."""
    return solve(graph, tasks).placements
