"""The network: both fast forms against torch, gradients, files."""

import numpy as np
import pytest
import torch

from anygraph.families import draw
from anygraph.fast import LANES, backward, forward
from anygraph.network import GraphNetwork, open_network, save_network, views
from anygraph.propose import propose, routes
from anygraph.torch_form import torch_logits
from anygraph.training import WIDE
from kd_offload.graphs import chain, fusion
from kd_offload.tasks import sample_tasks

from .networks import graphs_of_all_families, random_network, with_zeros

SHAPE = 12, 5  # width, hypotheses


@pytest.mark.parametrize("graph", graphs_of_all_families(), ids=lambda g: g.name)
def test_the_three_forms_agree(graph):
    rng, model = np.random.default_rng(2), random_network()
    flat = torch.from_numpy(model.flat.astype(float))
    usual, wide = (sample_tasks(graph, LANES, rng, **r) for r in ({}, {"ranges": WIDE}))
    zeroed = with_zeros(usual, graph.n, len(graph.edges), rng)
    zeroed[:, 0] = usual[:, 0]  # a task without cycles needs no network
    for tasks in (usual, wide, zeroed):
        plain = torch_logits(flat, *SHAPE, graph, tasks).numpy()
        lanes = forward(model.flat, *SHAPE, routes(graph), tasks).logits
        assert np.abs(lanes - plain).max() < 1e-4
        assert (propose(model, graph, tasks) == plain.argmax(-1)).mean() > 0.9999


@pytest.mark.parametrize(
    "graph", [chain(1), fusion(), draw("layers", 25, np.random.default_rng(3))]
)
def test_gradients_are_torchs(graph):
    rng, model = np.random.default_rng(4), random_network()
    tasks = sample_tasks(graph, LANES, rng)
    result = forward(model.flat, *SHAPE, routes(graph), tasks)
    gradient = rng.normal(size=result.logits.shape).astype(np.float32)
    ours = np.zeros_like(model.flat)
    backward(model.flat, *SHAPE, result, gradient, ours)
    flat = torch.from_numpy(model.flat.astype(float)).requires_grad_()
    torch_logits(flat, *SHAPE, graph, tasks).backward(torch.from_numpy(gradient.astype(float)))
    theirs = views(flat.grad.numpy(), *SHAPE)
    for name, values in views(ours, *SHAPE).items():
        bound = 1e-4 * np.abs(theirs[name]).max() + 1e-6
        assert np.abs(values - theirs[name]).max() <= bound, name


def test_a_model_survives_its_file_and_bad_files_are_named(tmp_path):
    model, path = random_network(), tmp_path / "model.npz"
    save_network(model, path)
    again = open_network(path)
    assert (again.flat == model.flat).all()
    assert (again.role, again.width, again.hypotheses) == ("anygraph", *SHAPE)
    for about, message in (([99, 12, 5, 0], "version 1"), ([1, 12, 6, 0], "flat: float32")):
        np.savez(path, format="kd_offload sweep", about=about, flat=model.flat)
        with pytest.raises(ValueError, match=message):
            open_network(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"model\.npz: not a network for any graph$"):
        open_network(path)
    with pytest.raises(ValueError, match=r"none\.npz: no such file"):
        open_network(tmp_path / "none.npz")
    with pytest.raises(ValueError, match=r"ends in \.npz"):
        save_network(model, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="entry 0 is not finite"):
        GraphNetwork("anygraph", 0, *SHAPE, np.full_like(model.flat, np.nan))
