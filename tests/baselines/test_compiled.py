"""The compiled perceptron decides as NumPy and torch do, and refuses what is not its own."""

import numpy as np
import pytest
import torch

from kd_offload.graphs import chain, dag, fusion, random_graph
from kd_offload.model import Model, Network, decide, logits, scaling, standardise, torch_module
from experiments.runtimes.compiled import decide_batch, packed
from experiments.baselines import model_deciders
from kd_offload.tasks import sample_tasks


def untrained(graph, hidden=(24, 16), seed=0):
    """A network with random weights, biases too, and some tasks."""
    tasks = sample_tasks(graph, 400, np.random.default_rng(seed))
    net = Network([graph.n_features, *hidden, 3 * graph.n])
    generator = torch.Generator().manual_seed(seed)
    for p in (*net.weights, *net.biases):
        torch.nn.init.normal_(p, 0, 0.4, generator=generator)
    return Model("student", graph.name, seed, *scaling(tasks), *net.arrays()), tasks


@pytest.mark.parametrize("hidden", [(24, 16), (), (9,), (8, 7, 6)])
@pytest.mark.parametrize("graph", [dag(), random_graph(7, 3), chain(3)], ids=lambda g: g.name)
def test_every_runtime_decides_the_same(graph, hidden):
    model, tasks = untrained(graph, hidden)
    out = logits(model, tasks)
    with torch.inference_mode():
        by_torch = torch_module(model)(torch.from_numpy(standardise(model, tasks))).numpy()
    assert out.shape == (400, graph.n, 3) and np.allclose(by_torch, out, atol=1e-4)
    top = np.sort(out, -1)
    clear = (top[..., 2] - top[..., 1] > 1e-4).all(1)
    x, batch = decide(model, graph, tasks), np.empty((400, graph.n), np.int8)
    decide_batch(*packed(model), tasks, batch)
    assert clear.mean() > 0.95 and np.array_equal(batch[clear], x[clear])
    assert np.array_equal(decide(model, graph, tasks[7]), x[7])
    for decider in model_deciders(model, graph):
        for s in np.flatnonzero(clear)[:50]:
            assert np.array_equal(decider.decide(tasks[s]), x[s]), decider.runtime
    sizes = [graph.n_features, *hidden, 3 * graph.n]
    assert model.macs == sum(a * b for a, b in zip(sizes, sizes[1:]))
    assert model.parameters == model.macs + sum(sizes[1:])


def test_bad_requests():
    model, tasks = untrained(dag())
    with pytest.raises(ValueError, match="trained for 'dag', asked to decide for 'fusion'"):
        decide(model, fusion(), np.ones(fusion().n_features))
    for value, field in ((np.nan, "f_1 = nan"), (0.0, "f_1 = 0.0"), (-1.0, "f_1 = -1.0")):
        bad = tasks[0].copy()
        bad[-7] = value
        with pytest.raises(ValueError, match=field):
            decide(model, dag(), bad)
    bad[-7], bad[-8] = 1e10, 9e9
    with pytest.warns(UserWarning, match="task: f_0 from 9e\\+09"):
        assert decide(model, dag(), bad).shape == (10,)
