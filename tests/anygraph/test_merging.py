"""Merging: by hand, against networkx's contracted graph, and what it refuses."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anygraph.merging import merge
from kd_offload.graphs import TaskGraph, chain


def test_a_small_graph_by_hand():
    """Of 0-1, 1-2, 1-3, 2-4, 3-4, 4-5, subtask 3 is cheapest, then the group of 1 and 3."""
    edge_bytes = {(0, 1): 1.0, (1, 2): 2.0, (1, 3): 4.0, (2, 4): 8.0, (3, 4): 16.0, (4, 5): 32.0}
    cycles = [3.0, 5.0, 1.0, 9.0]
    merged = merge(4, cycles, edge_bytes, 3)
    assert merged.group_of.tolist() == [1, 2, 1, 3]
    assert merged.cycles.tolist() == [4, 5, 9]
    assert merged.edge_bytes == {(0, 1): 1, (1, 2): 2, (2, 3): 8, (1, 3): 16, (3, 4): 32}
    # The source alone feeds group 1, so subtask 2 is next, and both edges into 4 add up.
    merged = merge(4, cycles, edge_bytes, 2)
    assert merged.group_of.tolist() == [1, 1, 1, 2]
    assert merged.edge_bytes == {(0, 1): 1, (1, 2): 24, (2, 3): 32}
    assert merge(4, cycles, edge_bytes, 1).edge_bytes == {(0, 1): 1, (1, 2): 32}
    assert merge(4, cycles, edge_bytes, 4).group_of.tolist() == [1, 2, 3, 4]


def test_a_subtask_without_a_predecessor_can_be_merged_once_it_has_taken_in_one_that_has():
    """Subtask 2 is fed by the source; it takes in 3, which 1 feeds, and follows 1 from then on."""
    edge_bytes = {(0, 1): 1.0, (0, 2): 1.0, (1, 3): 1.0, (2, 3): 1.0, (3, 4): 1.0}
    merged = merge(3, [9.0, 1.0, 2.0], edge_bytes, 1)
    assert merged.cycles.tolist() == [12]
    assert merged.edge_bytes == {(0, 1): 2, (1, 2): 1}


@st.composite
def loads(draw):
    """A random task graph with its cycles and bytes, small whole numbers, ties among them."""
    n = draw(st.integers(1, 12))
    pairs = [(i, j) for i in range(n + 1) for j in range(max(1, i + 1), n + 1)]
    edges = set(draw(st.lists(st.sampled_from(pairs), max_size=30)))
    edges |= {(0, j) for j in range(1, n + 1) if j not in {target for _, target in edges}}
    edges |= {(i, n + 1) for i in range(1, n + 1) if i not in {source for source, _ in edges}}
    sizes = {edge: float(draw(st.integers(0, 9))) for edge in sorted(edges)}
    return n, [float(c) for c in draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))], sizes


def contracted(n, cycles, edge_bytes, most):
    """The same by networkx, without its numbers: groups of subtasks, and bytes between them."""
    graph = nx.MultiDiGraph()
    graph.add_weighted_edges_from((i, j, size) for (i, j), size in edge_bytes.items())
    cost = dict(enumerate(cycles, start=1))
    members = {j: {j} for j in cost}
    while len(members) > most:
        fed = [j for j in members if any(i > 0 for i in graph.predecessors(j))]
        cheapest = min(fed, key=lambda j: (cost[j], j))
        last = max(graph.predecessors(cheapest))
        graph = nx.contracted_nodes(graph, last, cheapest, self_loops=False)
        cost[last] += cost.pop(cheapest)
        members[last] |= members.pop(cheapest)
        assert nx.is_directed_acyclic_graph(graph)
    group = {j: frozenset(names) for j, names in members.items()}
    group |= {0: frozenset({0}), n + 1: frozenset({n + 1})}
    sizes: dict = {}
    for i, j, size in graph.edges(data="weight"):
        ends = group[i], group[j]
        sizes[ends] = sizes.get(ends, 0.0) + size
    return {group[j]: cost[j] for j in members}, sizes


@settings(deadline=None)
@given(load=loads(), most=st.integers(1, 12))
def test_merging_is_contraction_and_stays_acyclic(load, most):
    n, cycles, edge_bytes = load
    entries = sum(all(i == 0 for i, k in edge_bytes if k == j) for j in range(1, n + 1))
    if most < entries:  # then it may be out of reach, see below
        most = n
    merged = merge(n, cycles, edge_bytes, most)
    m = len(merged.cycles)
    assert m == min(n, most)
    assert merged.cycles.sum() == sum(cycles)
    TaskGraph("merged", m, tuple(merged.edge_bytes))  # refuses a cycle, or another numbering
    group = {g: frozenset(np.flatnonzero(merged.group_of == g) + 1) for g in range(1, m + 1)}
    costs, sizes = contracted(n, cycles, edge_bytes, most)
    assert {group[g]: merged.cycles[g - 1] for g in group} == costs
    group |= {0: frozenset({0}), m + 1: frozenset({n + 1})}
    assert {(group[i], group[j]): size for (i, j), size in merged.edge_bytes.items()} == sizes


def test_a_long_chain_is_merged_within_a_moment():
    graph = chain(5000)
    merged = merge(5000, np.ones(5000), dict.fromkeys(graph.edges, 1.0), 128)
    assert len(merged.cycles) == 128 and merged.cycles.sum() == 5000
    assert merged.edge_bytes == dict.fromkeys(chain(128).edges, 1.0)


@pytest.mark.parametrize(
    "arguments, text",
    [
        ((3, [1, 1, 1], {(0, 1): 1, (0, 2): 1, (0, 3): 1}, 2), "the source alone feeds the 3"),
        ((1, [1], {}, 0), "most: 0, expected a positive integer"),
        ((2, [1], {}, 1), "cycles: 1 values, expected 2"),
        ((2, [1, 1], {(2, 1): 1}, 1), r"edge \(2, 1\), expected 0 <= i < j <= 3"),
    ],
)
def test_bad_arguments_are_named(arguments, text):
    with pytest.raises(ValueError, match=text):
        merge(*arguments)
