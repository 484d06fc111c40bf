"""Training: objectives, their gradients, what is drawn, and that it learns."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from anygraph.fast import flip_gradient, imitation_gradient
from anygraph.propose import propose
from anygraph.training import Adam, TrainingConfig, fit, random_workload
from kd_offload.delay import delay
from kd_offload.graphs import chain, dag
from kd_offload.tasks import check_tasks, sample_tasks

NONE = frozenset()  # held apart
TINY = TrainingConfig(width=8, hypotheses=4, imitation_steps=2, delay_steps=2, groups=2, graphs=20)


def test_imitation_gradient():
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(3, 2, 4, 3)).astype(np.float32)
    labels = rng.integers(0, 3, (3, 4)).astype(np.int8)
    gradient = np.empty_like(logits)
    loss = imitation_gradient(logits, labels, 0.2, gradient)
    free = torch.from_numpy(logits.astype(float)).requires_grad_()
    of_labels = torch.from_numpy(labels.astype(np.int64))[:, None, :, None].expand(3, 2, 4, 1)
    each = torch.log_softmax(free, -1).gather(-1, of_labels)[..., 0].sum(-1)  # (S, K)
    expected = -(0.8 * torch.logsumexp(each, 1) + 0.2 * each.mean(1)).mean() / 4
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert np.abs(gradient - free.grad.numpy()).max() < 1e-6


def test_flip_gradient_points_where_the_exact_one_does():
    """Against torch's gradient of the expectation, summed over all pairs of placements."""
    rng, graph = np.random.default_rng(10), chain(4)
    tasks, every = sample_tasks(graph, 4, rng), np.array(list(product(range(3), repeat=4)))
    logits = rng.normal(size=(4, 2, 4, 3)).astype(np.float32)
    draws = np.empty((4000, *logits.shape), np.float32)
    for one in draws:
        flip_gradient(4, graph.first, graph.source, tasks, logits, 0.2, rng, one)
    free = torch.from_numpy(logits.astype(float)).requires_grad_()
    shares = torch.log_softmax(free, -1)[:, :, range(4), every].sum(-1).exp()  # (S, K, 81)
    delays = np.array([delay(graph, task, every) for task in tasks])
    regret = np.minimum(delays[:, :, None], delays[:, None]) / delays.min(1)[:, None, None] - 1
    value = torch.from_numpy(regret / (1 + regret / 0.2) / 4)
    torch.einsum("bi,bj,bij->", shares[:, 0], shares[:, 1], value).backward()
    ours, exact = draws.mean(0), free.grad.numpy()
    assert (ours * exact).sum() > 0.8 * np.linalg.norm(ours) * np.linalg.norm(exact)


def test_workloads_vary_cycles_and_bytes_alone():
    rng, graph = np.random.default_rng(11), dag()
    carrying = np.array([i for i, _ in graph.edges])
    zero_share, same_results = [], 0
    for _ in range(200):
        tasks = sample_tasks(graph, 4, rng)
        before = tasks.copy()
        varied = random_workload(graph, tasks, rng, 0.5)
        assert (tasks == before).all()
        assert (varied[:, -8:] == tasks[:, -8:]).all()
        cycles, sizes = varied[:, : graph.n], varied[:, graph.n : -8]
        assert (cycles.max(1) > 0).all() and (sizes.max(1) > 0).all()
        check_tasks(graph, varied)
        zero_share.append((varied == 0).mean())
        same_results += (sizes[:, carrying == 1].std(1) < 1e-6 * sizes.max()).all()
    assert 0.01 < np.mean(zero_share) < 0.2
    assert 20 < same_results < 100
    unchanged = random_workload(graph, tasks, rng, 1.0)
    assert (unchanged == tasks).all()


def test_training_is_determined_by_its_seed():
    one, two, other = (fit(TINY, seed, NONE).network for seed in (1, 1, 2))
    assert (one.flat == two.flat).all() and (one.flat != other.flat).any()
    with pytest.raises(ValueError, match="graphs: 0, expected at least 1"):
        TrainingConfig(graphs=0)


def test_adam_is_torchs_on_gradients_that_are_cut():
    rng, ours, flat = np.random.default_rng(0), Adam(5), np.zeros(5)
    p = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.Adam([p], lr=0.01)
    for size in (0.1, 30, 2, 0.5, 8):
        gradient = size * rng.normal(size=5)
        p.grad = torch.from_numpy(gradient.copy())
        torch.nn.utils.clip_grad_norm_([p], 1.0)
        theirs.step()
        flat += ours.change(gradient, 0.01)
    assert flat == pytest.approx(p.detach().numpy(), rel=1e-4)


def test_training_lowers_the_delay():
    """The delay stage lowers the best proposal's delay that imitation left."""
    config = replace(
        TINY, imitation_steps=100, delay_steps=150, groups=8, graphs=60, default=1.0,
        sizes=(4, 12), imitation_sizes=(4, 10),
    )  # fmt: skip
    tasks, least = sample_tasks(dag(), 300, np.random.default_rng(8)), []
    for steps in (0, 150):
        model = fit(replace(config, delay_steps=steps), 0, NONE).network
        proposals = propose(model, dag(), tasks)
        delays = [delay(dag(), tasks, proposals[:, k]) for k in range(4)]
        least.append(np.min(delays, axis=0).mean())
    assert least[1] < least[0], least
