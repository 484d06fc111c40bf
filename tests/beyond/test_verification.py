"""Propose and verify: the plain rule, its budget, every runtime, and what is refused."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_offload.beyond.verification import decide, decide_one, improve, moves, packed
from kd_offload.delay import delay
from kd_offload.graphs import chain, dag, fusion, random_graph
from kd_offload.models import (
    Model,
    Network,
    logits,
    open_model,
    save,
    scaling,
    standardise,
    torch_module,
)  # fmt: skip
from kd_offload.proofs.oracles import reference_delay
from kd_offload.rivals.policies import model_deciders
from kd_offload.tasks import sample_tasks


def untrained(graph, hypotheses, hidden=(24, 16), seed=0):
    """A network with random weights, biases too, and some tasks."""
    tasks = sample_tasks(graph, 400, np.random.default_rng(seed))
    net = Network([graph.n_features, *hidden, 3 * graph.n], hypotheses)
    generator = torch.Generator().manual_seed(seed)
    for p in (*net.weights, *net.biases):
        torch.nn.init.normal_(p, 0, 0.4, generator=generator)
    return Model("student_verified", graph.name, seed, *scaling(tasks), *net.arrays()), tasks


def plainly_improved(graph, task, proposals):
    """The same rule told plainly: whole evaluations, nothing pruned, no budget."""

    def price(x):
        return reference_delay(graph.n, graph.edges, task, x)

    best = min((list(map(int, x)) for x in proposals), key=price)
    tried, at, since = [tuple(map(int, m)) for m in moves(graph)], 0, 0
    while since < len(tried):
        a, b, k = tried[at]
        at, since = (at + 1) % len(tried), since + 1
        moved, held = list(best), [i - 1 for i in (a, b) if i]
        if any(moved[i] == k for i in held):
            continue
        for i in held:
            moved[i] = k
        if price(moved) < price(best):
            best, since = moved, 0
    return best


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 9), st.integers(0, 50), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_verification_is_the_plain_rule(n, index, count, seed):
    graph, rng = random_graph(n, index), np.random.default_rng(seed)
    task, proposals = sample_tasks(graph, 1, rng), rng.integers(0, 3, (1, count, n))
    x, d, _ = improve(graph, task, proposals, 10_000)
    expected = plainly_improved(graph, task[0], proposals[0])
    assert list(x[0]) == expected
    assert d[0] == pytest.approx(delay(graph, task[0], np.array(expected)), rel=1e-12)


@pytest.mark.parametrize("graph", [chain(), dag(), fusion()], ids=lambda g: g.name)
def test_a_budget_is_kept_and_more_of_it_is_never_worse(graph):
    rng = np.random.default_rng(1)
    tasks, proposals = sample_tasks(graph, 300, rng), rng.integers(0, 3, (300, 6, graph.n))
    before = np.min([delay(graph, tasks, proposals[:, k]) for k in range(6)], axis=0)
    for evaluations in (8, 12, 20, 40, 200):
        x, d, spent = improve(graph, tasks, proposals, evaluations)
        assert (spent <= evaluations).all() and (d <= before * (1 + 1e-12)).all()
        assert np.allclose(d, delay(graph, tasks, x), rtol=1e-12)
        before = d
    assert spent.mean() < 200


def test_moves_cover_every_label_and_edge_once():
    listed = [tuple(m) for m in moves(dag())]
    inner = [e for e in dag().edges if e[0] > 0 and e[1] <= 10]
    assert len(set(listed)) == len(listed) == 30 + 3 * len(inner)
    assert listed[0][0] == 10 and {m[:2] for m in listed if m[1]} == set(inner)


@pytest.mark.parametrize("hypotheses", [1, 5])
@pytest.mark.parametrize("graph", [dag(), random_graph(7, 3), chain(3)], ids=lambda g: g.name)
def test_every_runtime_decides_the_same(graph, hypotheses):
    model, tasks = untrained(graph, hypotheses)
    out = logits(model, tasks)
    assert out.shape == (400, *(() if hypotheses == 1 else (hypotheses,)), graph.n, 3)
    with torch.inference_mode():
        by_torch = torch_module(model)(torch.from_numpy(standardise(model, tasks))).numpy()
    assert np.allclose(by_torch, out, atol=1e-4)
    top = np.sort(out, -1)
    clear = (top[..., 2] - top[..., 1] > 1e-4).reshape(400, -1).all(1)
    assert clear.mean() > 0.95
    x = decide(model, graph, tasks)
    assert np.array_equal(decide(model, graph, tasks[7]), x[7])
    for decider in model_deciders(model, graph):
        for s in np.flatnonzero(clear)[:200]:
            assert np.array_equal(decider.decide(tasks[s]), x[s]), decider.runtime
    layers = [(graph.n_features, 24), (24, 16), (16, 3 * graph.n)]
    biases = 24 + hypotheses * (16 + 3 * graph.n)
    assert model.parameters == sum(a * b for a, b in layers) + biases
    assert model.macs == sum(a * b for a, b in layers[:2]) + hypotheses * 16 * 3 * graph.n


@pytest.mark.parametrize("hidden", [(), (9,), (8, 7, 6)])
def test_a_networks_depth_does_not_matter(hidden):
    model, tasks = untrained(chain(4), 1, hidden)
    pack, out = packed(model, chain(4)), np.empty(4, np.int8)
    same = []
    for task, x in zip(tasks, logits(model, tasks).argmax(-1)):
        decide_one(*pack, task, out)
        same.append(np.array_equal(out, x))
    assert np.mean(same) > 0.99


def test_bad_requests(tmp_path):
    model, tasks = untrained(dag(), 5)
    with pytest.raises(ValueError, match="trained for 'dag', asked to decide for 'fusion'"):
        decide(model, fusion(), np.ones(fusion().n_features))
    for value, field in ((np.nan, "f_1 = nan"), (0.0, "f_1 = 0.0"), (-1.0, "f_1 = -1.0")):
        bad = tasks[0].copy()
        bad[-7] = value
        with pytest.raises(ValueError, match=field):
            decide(model, dag(), bad)
    with pytest.raises(ValueError, match="evaluations: 6, expected at least K"):
        decide(model, dag(), tasks, evaluations=6)
    with pytest.raises(ValueError, match="evaluations: 3"):
        packed(model, dag(), 3)
    with pytest.raises(ValueError, match=r"proposals: shape \(400, 10\)"):
        improve(dag(), tasks, np.zeros((400, 10), np.int8), 20)
    with pytest.raises(ValueError, match="label 3"):
        improve(dag(), tasks[:1], np.full((1, 2, 10), 3), 20)
    with pytest.warns(UserWarning, match="f_0 from .* to 9e"):
        outside = tasks[:3].copy()
        outside[1, -8] = 9e9
        assert decide(model, dag(), outside).shape == (3, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)  # of files that others left open
        decide(model, dag(), sample_tasks(dag(), 50, np.random.default_rng(9)))
    save(model, tmp_path / "m.npz")
    assert open_model(tmp_path / "m.npz").hypotheses == 5
