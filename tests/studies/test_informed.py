"""Inputs that know the graph: the paths' times are those of a plain recursion."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.studies import informed
from kd_offload.delay import delay
from kd_offload.graphs import chain, random_graph
from kd_offload.tasks import sample_tasks


def best_path(graph, task, subtask, place):
    """On a chain nothing waits: the least delay of all placements with the subtask there."""
    others = [np.arange(3)] * graph.n
    others[subtask] = np.array([place])
    placements = np.stack(np.meshgrid(*others), -1).reshape(-1, graph.n)
    return delay(graph, task, placements).min()


def test_on_a_chain_paths_are_the_least_delays():
    graph = chain(5)
    task = sample_tasks(graph, 1, np.random.default_rng(0))
    (paths,) = informed.path_times(graph, task)
    for j in range(5):
        for k in range(3):
            assert paths[j, k] == pytest.approx(best_path(graph, task[0], j, k), rel=1e-9)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.integers(2, 7), st.integers(0, 99), st.integers(0, 999))
def test_paths_are_lower_bounds(n, index, seed):
    graph, rng = random_graph(n, index), np.random.default_rng(seed)
    task, placement = sample_tasks(graph, 1, rng), rng.integers(0, 3, n)
    (paths,) = informed.path_times(graph, task)
    bound = paths[np.arange(n), placement].max()
    assert bound <= delay(graph, task[0], placement) * (1 + 1e-9)


def test_the_table_has_every_network(tiny, monkeypatch):
    monkeypatch.setattr(informed, "SHOWN", ("dag",))
    table = informed.informed_inputs(tiny)
    keys = table.groupby(["units", "inputs"]).seed.nunique()
    assert len(keys) == 4 and (keys == len(tiny.profile.dependence_seeds)).all()
    assert (table.regret_mean >= 0).all() and table.regret_mean.nunique() == len(table)
