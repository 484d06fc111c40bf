"""Independent networks and chains decide the same in numba, NumPy and torch."""

import numpy as np
import pytest

from experiments.baselines import model_deciders
from experiments.runtimes.compiled import compile_network, decide_batch
from kd_offload.graphs import chain, dag, random_graph
from kd_offload.model import decide


@pytest.mark.parametrize("hidden, units", [
    ((24, 16), 0), ((), 0), ((9,), 0), ((8, 7, 6), 0),
    ((24, 16), 8), ((), 1), ((9,), 17), ((8, 7, 6), 3),
])  # fmt: skip
@pytest.mark.parametrize(
    "graph", [dag(), random_graph(7, 3), chain(3), chain(1)], ids=lambda g: g.name
)
def test_every_runtime_decides_the_same(graph, hidden, units, untrained, assert_agree):
    model, tasks = untrained(graph, hidden, units)
    placements = np.empty((len(tasks), graph.n), np.int8)
    decide_batch(*compile_network(model), tasks, placements)
    assert_agree(placements, model, tasks)
    assert_agree(decide(model, graph, tasks), model, tasks)
    deciders = model_deciders(model, graph)
    assert [decider.runtime for decider in deciders] == ["numba", "numpy", "torch"]
    for decider in deciders:
        one_by_one = [decider.decide(task).astype(np.int8) for task in tasks[:50]]
        assert_agree(np.array(one_by_one), model, tasks[:50])


@pytest.mark.parametrize("units", [0, 5])
def test_equal_logits_give_the_first_location(units, untrained):
    model, tasks = untrained(dag(), (), units)
    if units:
        model.chain.exit[:] = 0
    for weights, bias in zip(model.weights, model.biases):
        weights[:] = 0
        bias[:] = np.tile([[1, 1, 1], [0, 1, 1], [1, 0, 1], [0, 0, 1], [1, 1, 0]], (2, 1)).ravel()
    placements = np.empty((len(tasks), 10), np.int8)
    decide_batch(*compile_network(model), tasks, placements)
    assert (placements == [0, 1, 0, 2, 0] * 2).all()
    assert np.array_equal(placements, decide(model, dag(), tasks))
