"""Policies that do not look at the task: everything at one location, and random placements."""

from __future__ import annotations

import numpy as np

from kd_offload.delay import N_LOCATIONS
from kd_offload.graphs import TaskGraph


def everything(location: int, graph: TaskGraph):
    """Every subtask at `location`, for one task at a time."""
    return lambda task: np.full(graph.n, location, np.int8)


def uniform(graph: TaskGraph):
    """Random locations, for one task at a time."""
    rng = np.random.default_rng(0)
    return lambda task: rng.integers(0, N_LOCATIONS, graph.n, dtype=np.int8)


def uniform_batch(graph: TaskGraph, tasks) -> np.ndarray:
    """Random locations int8 (S, n), the same for the same S: the generator is fixed."""
    rng = np.random.default_rng(0)
    return rng.integers(0, N_LOCATIONS, (len(tasks), graph.n), dtype=np.int8)
