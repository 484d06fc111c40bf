"""From a compiled loop over tasks to a policy for one task at a time.

A heuristic is one compiled function `loop(n, first, source, tasks, placements, *constants)`: the
graph as in `kd_offload.delay`, tasks (S, F) in SI units, placements int8 (S, n) to be filled. It
checks nothing, and makes its own scratch memory: an array costs less to make there than to hand
over from Python.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kd_offload.graphs import TaskGraph


def one_at_a_time(loop: Callable, graph: TaskGraph, *constants) -> Callable:
    """A policy of `loop` for one task at a time.

    Parameters
    ----------
    loop : callable
        Compiled, as above.
    graph : TaskGraph
    *constants
        Further arguments of `loop`.

    Returns
    -------
    callable
        task (F,) -> placement int8 (n,), overwritten by the next call. Its attribute `loop` decides
        many tasks in one compiled call, (S, F) -> int8 (S, n).
    """
    n, first, source = graph.n, graph.first, graph.source
    placements = np.empty((1, n), np.int8)
    (placement,) = placements

    def decide(task):
        loop(n, first, source, task[None], placements, *constants)
        return placement

    def decide_many(tasks):
        placements = np.empty((len(tasks), n), np.int8)
        loop(n, first, source, tasks, placements, *constants)
        return placements

    decide.loop = decide_many
    return decide
