"""Networks with random weights, and what their decisions must be."""

import numpy as np
import pytest
import torch

from kd_offload.model import Model, Network, fit_scaling, standardise, torch_network
from kd_offload.tasks import sample_tasks


def _untrained(graph, hidden=(24, 16), units=0):
    tasks = sample_tasks(graph, 400, np.random.default_rng(0))
    network = Network([graph.n_features, *hidden, 3 * graph.n], units)
    generator = torch.Generator().manual_seed(0)
    for parameters in network.parameters():
        torch.nn.init.normal_(parameters, 0, 0.4, generator=generator)
    return Model("any", graph, 0, fit_scaling(tasks), *network.arrays(0)), tasks


@pytest.fixture
def untrained():
    """(graph, hidden, units) -> a network with random weights, biases too, and some tasks."""
    return _untrained


def _assert_agree(placements, model, tasks):
    with torch.inference_mode():
        logits = torch_network(model)(torch.from_numpy(standardise(model.scaling, tasks)))[0]
    expected = logits.argmax(-1).numpy().astype(np.int8)
    two_best = logits.topk(2, dim=-1).values
    gap = (two_best[..., 0] - two_best[..., 1]).min(-1).values.numpy()
    wrong = (placements != expected).any(1)
    assert placements.shape == expected.shape and placements.dtype == np.int8
    assert wrong.mean() <= 5e-3 and (gap[wrong] < 1e-4).all()


@pytest.fixture
def assert_agree():
    """(placements, model, tasks): they are torch's, and differ only where two logits tie."""
    return _assert_agree
