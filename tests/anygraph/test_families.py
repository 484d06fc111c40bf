"""Families of graphs: valid at every size, determined by their generator, and no two alike."""

import numpy as np
import pytest

from anygraph.families import MAX_EDGES, MAX_SUBTASKS, draw, edges_hash, training_graph
from kd_offload.graphs import TaskGraph, dag, random_graph

from .networks import FAMILIES


@pytest.mark.parametrize("name", FAMILIES)
def test_every_size_is_a_graph(name):
    """Of n subtasks, with no more edges than a graph as text may have, the same each time."""
    for n in range(1, MAX_SUBTASKS + 1):
        graph = draw(name, n, np.random.default_rng(n))
        assert graph.n == n
        assert len(graph.edges) <= MAX_EDGES
        assert graph == draw(name, n, np.random.default_rng(n))


@pytest.mark.parametrize("name", FAMILIES)
def test_the_largest_graphs_have_few_enough_edges(name):
    rng = np.random.default_rng(3)
    assert max(len(draw(name, MAX_SUBTASKS, rng).edges) for _ in range(50)) <= MAX_EDGES


def test_families_differ():
    drawn = {name: set() for name in FAMILIES}
    for name, hashes in drawn.items():
        for seed in range(20):
            hashes.add(edges_hash(draw(name, 40, np.random.default_rng(seed))))
    together = set.union(*drawn.values())
    assert len(together) == sum(map(len, drawn.values()))


def test_what_is_held_apart_is_not_drawn():
    apart = frozenset({edges_hash(random_graph(4, 0))})
    assert edges_hash(TaskGraph("x", 10, dag().edges)) == edges_hash(dag())

    def drawn(held_apart):
        rng = np.random.default_rng(7)
        return {edges_hash(training_graph(rng, (4, 4), held_apart)) for _ in range(2000)}

    assert apart <= drawn(frozenset())
    assert not apart & drawn(apart)


def test_other_families_and_sizes_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="n must be 1 to 128, got 129"):
        draw("near", 129, rng)
    with pytest.raises(ValueError, match="'nearer', expected one of near"):
        draw("nearer", 9, rng)


def shape_of(edges, n):
    """Entries, exits, and the most edges into and out of one subtask."""
    into, out_of = np.zeros(n + 2, int), np.zeros(n + 2, int)
    for i, j in edges:
        into[j] += 1
        out_of[i] += 1
    return out_of[0], into[n + 1], into[1 : n + 1].max(), out_of[1 : n + 1].max()


def test_shapes_are_those_that_the_names_promise():
    for seed in range(20):
        shapes = {
            name: shape_of(draw(name, 40, np.random.default_rng(seed)).edges, 40)
            for name in FAMILIES
        }
        assert shapes["in_tree"][1] == 1 and shapes["in_tree"][3] == 1
        assert shapes["out_tree"][0] == 1 and shapes["out_tree"][2] == 1
        assert max(shapes["butterfly"][2:]) == 2
        assert max(shapes["stencil"][2:]) <= 3 and shapes["wavefront"][2] <= 2
        assert shapes["map_reduce"][:2] == (1, 1)
        assert shapes["cholesky"][2] <= 3
