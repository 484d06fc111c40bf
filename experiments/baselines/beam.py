"""Beam search, the best of its last prefixes: see `anygraph.beam`, whose kernel it is.

With width 1 this is lookahead that sees joins (`lookahead_joins`).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from anygraph.beam import beam_kernel, neighbours, new_beam_scratch
from experiments.baselines.one_task import one_at_a_time
from kd_offload.delay import EVERYWHERE, new_times, prepare
from kd_offload.graphs import TaskGraph


@njit(cache=True)
def _beam_loop(n, first, source, tasks, placements, width, near):
    times, scratch = new_times(n, len(source)), new_beam_scratch(n, width)
    found = np.empty((width, n), np.int8)
    for s in range(len(tasks)):
        prepare(n, first, source, tasks[s], EVERYWHERE, times)
        beam_kernel(n, first, source, times, near, width, np.inf, scratch, found)
        placements[s] = found[0]


def beam(width: int, graph: TaskGraph):
    """Beam search that keeps `width` prefixes, for one task at a time (see `one_task`).

    Raises ValueError for a width below 1.
    """
    if not isinstance(width, (int, np.integer)) or width < 1:
        raise ValueError(f"width: {width!r}, expected a positive integer")
    return one_at_a_time(_beam_loop, graph, int(width), neighbours(graph))
