"""Exact search in other orders: optimal when it ends, never worse than lookahead when stopped."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anygraph.families import TRAINING_FAMILIES, UNSEEN_FAMILIES, draw
from experiments.baselines.lookahead import lookahead
from experiments.baselines.search_orders import (
    best_first,
    limited_discrepancy,
    search_best_first,
    search_limited_discrepancy,
)
from experiments.studies.labels import EXTREMES, make_extreme
from kd_offload.delay import delay
from kd_offload.graphs import chain, dag, fusion, random_graph
from kd_offload.labels import TIE, solve
from kd_offload.tasks import sample_tasks

SEARCHES = (search_best_first, search_limited_discrepancy)
FAMILIES = sorted(TRAINING_FAMILIES | UNSEEN_FAMILIES)
seeds = st.integers(0, 2**32 - 1)


def drawn(n, family, seed, kind):
    """A graph and a task of it."""
    rng = np.random.default_rng(seed)
    graph = random_graph(n, seed % 100) if family == "random" else draw(family, n, rng)
    return graph, make_extreme(graph, sample_tasks(graph, 1, rng)[0], kind, rng)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.integers(1, 11), st.sampled_from(["random", *FAMILIES]), seeds, st.sampled_from(EXTREMES))
def test_without_a_limit_of_nodes_they_find_the_optimum(n, family, seed, kind):
    graph, task = drawn(n, family, seed, kind)
    (optimum,) = solve(graph, task).delays
    for search in SEARCHES:
        found = search(graph, task)
        assert found.delays[0] == pytest.approx(optimum, rel=TIE)
        assert found.delays[0] == pytest.approx(delay(graph, task, found.placements[0]), rel=1e-12)
        assert found.bounds[0] == found.delays[0]


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.integers(1, 14), st.sampled_from(["random", *FAMILIES]), seeds, st.sampled_from(EXTREMES))
def test_stopped_anywhere_they_bracket_the_optimum(n, family, seed, kind):
    graph, task = drawn(n, family, seed, kind)
    (optimum,) = solve(graph, task).delays
    first = delay(graph, task, lookahead(graph)(task))
    for search in SEARCHES:
        worst, weakest = first * (1 + 1e-12), 0.0
        for nodes in (1, 4, 3 * n, 10 * n, 60 * n):
            found = search(graph, task, nodes)
            assert found.nodes[0] <= nodes + 3
            assert found.bounds[0] <= optimum * (1 + TIE)
            assert optimum * (1 - TIE) <= found.delays[0] <= worst
            assert weakest * (1 - 1e-12) <= found.bounds[0]
            assert found.delays[0] == pytest.approx(
                delay(graph, task, found.placements[0]), rel=1e-12
            )
            worst, weakest = found.delays[0], found.bounds[0]


@pytest.mark.parametrize(
    ("decider", "search"),
    [(best_first, search_best_first), (limited_discrepancy, search_limited_discrepancy)],
)
def test_one_at_a_time_and_in_a_loop_it_is_the_same(decider, search):
    tasks = sample_tasks(fusion(), 20, np.random.default_rng(0))
    decide, expected = decider(fusion(), 2000), search(fusion(), tasks, 2000)
    assert (np.array([decide(task).copy() for task in tasks]) == expected.placements).all()
    assert (decide.loop(tasks) == expected.placements).all()
    with pytest.raises(ValueError, match="node_budget: 0"):
        decider(fusion(), 0)


def test_what_they_are_for():
    """Best first proves more with as many nodes; by discrepancies better placements are found."""
    graph = random_graph(40, 1)
    tasks = sample_tasks(graph, 20, np.random.default_rng(1))
    by_bound, by_turns = (search(graph, tasks, 3000) for search in SEARCHES)
    assert by_bound.bounds.mean() > by_turns.bounds.mean()
    assert by_turns.delays.mean() < delay(graph, tasks, lookahead(graph).loop(tasks)).mean()


def test_large_graphs_and_too_many_nodes():
    tasks = sample_tasks(chain(128), 2, np.random.default_rng(1))
    for search in SEARCHES:
        found = search(chain(128), tasks, 3000)  # lookahead is optimal where nothing waits
        assert (found.nodes == 0).all() and (found.bounds == found.delays).all()
    with pytest.raises(ValueError, match="nodes: None, expected less than 10,000,000"):
        best_first(fusion(), None)
    with pytest.raises(ValueError, match="nodes: 30000000, expected less than"):
        search_best_first(fusion(), tasks, 30_000_000)
    assert best_first(dag(), None)(sample_tasks(dag(), 1, np.random.default_rng(0))[0]).shape == (
        10,
    )
