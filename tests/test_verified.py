"""Propose and verify, and the students trained for delay."""

import itertools
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import reference_delay

from kd_offload.config import TRAINED, get_run
from kd_offload.dataset import Labelled, scenario
from kd_offload.delay import delay
from kd_offload.graphs import TaskGraph, chain, dag, fusion, random_graph
from kd_offload.labels import solve
from kd_offload.learning import Model, Network, logits, open_model, save, scaling, standardise, torch_module
from kd_offload.policies import model_deciders
from kd_offload.sampling import sample_tasks
from kd_offload.tuning import (
    TUNED,
    Tuning,
    delay_gradient,
    fit_tuned,
    imitation_gradient,
    team_values,
    train_tuned,
    tuning,
)
from kd_offload.verification import decide, default_evaluations, improve, moves, packed


def untrained(graph, hypotheses, hidden=(24, 16), seed=0):
    """A network with random weights, biases too, and some tasks."""
    tasks = sample_tasks(graph, 400, np.random.default_rng(seed))
    net, generator = Network([graph.n_features, *hidden, 3 * graph.n], hypotheses), torch.Generator().manual_seed(seed)
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
        moved = list(best)
        for i in (a, b):
            if i and moved[i - 1] == k:
                break
            if i:
                moved[i - 1] = k
        else:
            if price(moved) < price(best):
                best, since = moved, 0
    return best


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 9), st.integers(0, 50), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_verification_is_the_plain_rule(n, index, count, seed):
    graph, rng = random_graph(n, index), np.random.default_rng(seed)
    task, proposals = sample_tasks(graph, 1, rng), rng.integers(0, 3, (1, count, n)).astype(np.int8)
    x, d, _ = improve(graph, task, proposals, 10_000)
    expected = plainly_improved(graph, task[0], proposals[0])
    assert list(x[0]) == expected and d[0] == pytest.approx(delay(graph, task[0], np.array(expected)), rel=1e-12)


@pytest.mark.parametrize("graph", [chain(), dag(), fusion()], ids=lambda g: g.name)
def test_a_budget_is_kept_and_more_of_it_is_never_worse(graph):
    rng = np.random.default_rng(1)
    tasks, proposals = sample_tasks(graph, 300, rng), rng.integers(0, 3, (300, 6, graph.n)).astype(np.int8)
    before = np.stack([delay(graph, tasks, proposals[:, k]) for k in range(6)]).min(0)
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
    assert out.shape == ((400, graph.n, 3) if hypotheses == 1 else (400, hypotheses, graph.n, 3))
    with torch.inference_mode():
        assert np.allclose(torch_module(model)(torch.from_numpy(standardise(model, tasks))).numpy(), out, atol=1e-4)
    top = np.sort(out, -1)
    clear = (top[..., 2] - top[..., 1] > 1e-4).reshape(400, -1).all(1)
    assert clear.mean() > 0.95
    x = decide(model, graph, tasks)
    assert np.array_equal(decide(model, graph, tasks[7]), x[7])
    for decider in model_deciders(model, graph):
        assert all(np.array_equal(decider.decide(tasks[s]), x[s]) for s in np.flatnonzero(clear)[:200]), decider.runtime
    layers = [(graph.n_features, 24), (24, 16), (16, 3 * graph.n)]
    assert model.parameters == sum(a * b for a, b in layers) + 24 + hypotheses * (16 + 3 * graph.n)
    assert model.macs == sum(a * b for a, b in layers[:2]) + hypotheses * 16 * 3 * graph.n


def test_a_networks_depth_does_not_matter():
    for hidden in ((), (9,), (8, 7, 6)):
        model, tasks = untrained(chain(4), 1, hidden)
        x = logits(model, tasks).argmax(-1)
        one = model_deciders(model, chain(4))[0].decide
        assert np.mean([np.array_equal(one(t), y) for t, y in zip(tasks, x)]) > 0.99


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_a_teams_value_is_the_mean_over_all_teams(hypotheses, samples, seed):
    rng = np.random.default_rng(seed)
    regrets = rng.choice([0.0, 0.5, 1.0, rng.random()], (hypotheses, samples))  # ties, too
    values = np.empty_like(regrets)
    team_values(regrets, values)
    for k, s in itertools.product(range(hypotheses), range(samples)):
        others = [regrets[h] for h in range(hypotheses) if h != k]
        expected = np.mean([min((regrets[k, s], *team)) for team in itertools.product(*others)])
        assert values[k, s] == pytest.approx(expected, abs=1e-12)


def test_the_imitation_gradient_is_autograds():
    rng = np.random.default_rng(0)
    z = torch.tensor(rng.normal(size=(6, 3, 4, 3)), dtype=torch.float32, requires_grad=True)
    y, share = rng.integers(0, 3, (6, 4)).astype(np.int8), 0.1
    index = torch.from_numpy(y.astype(np.int64))[:, None, :, None].expand(-1, 3, -1, -1)
    likelihood = torch.log_softmax(z, -1).gather(-1, index)[..., 0].sum(-1)  # (6, 3)
    loss = -((1 - share) * torch.logsumexp(likelihood, 1) + share * likelihood.mean(1)).mean() / 4
    loss.backward()
    gradient = np.empty((6, 3, 4, 3), np.float32)
    value = imitation_gradient(z.detach().numpy(), y, share, gradient)
    assert value == pytest.approx(loss.item(), rel=1e-5)
    assert np.allclose(gradient, z.grad.numpy(), atol=1e-6)


@pytest.mark.parametrize("hypotheses", [1, 2])
def test_the_delay_gradient_points_where_the_expected_delay_falls(hypotheses):
    """Against the exact expectation over all placements of a small graph, by autograd."""
    graph, rng = TaskGraph("two", 2, ((0, 1), (1, 2), (2, 3))), np.random.default_rng(3)
    task = sample_tasks(graph, 1, rng)
    z = torch.tensor(rng.normal(size=(1, hypotheses, 2, 3)), dtype=torch.float32, requires_grad=True)
    every = np.array(list(itertools.product(range(3), repeat=2)), np.int8)
    price = torch.tensor(delay(graph, task[0], every) / delay(graph, task[0], every).min() - 1).clamp(max=3.0)
    p = torch.softmax(z[0], -1)
    chance = torch.stack([p[:, 0, a] * p[:, 1, b] for a, b in every], 1).double()  # (K, 9)
    expected = (
        (chance[0] * price).sum()
        if hypotheses == 1
        else (chance[0][:, None] * chance[1] * torch.minimum(price[:, None], price)).sum()
    )
    expected.backward()
    total, gradient = np.zeros(z.shape), np.empty(z.shape, np.float32)
    for _ in range(4000):
        delay_gradient(2, graph.first, graph.source, task, z.detach().numpy(), 4, rng, gradient)
        total += gradient
    exact = z.grad.numpy().ravel()
    cosine = total.ravel() @ exact / np.linalg.norm(total) / np.linalg.norm(exact)
    assert cosine > 0.9  # delays are scaled by the best one drawn, which is not independent of the draw


@pytest.fixture(scope="module")
def labelled():
    where, rng = scenario("dag"), np.random.default_rng(4)
    parts = []
    for count in (4000, 500):
        tasks = sample_tasks(where.graph, count, rng)
        best = solve(where.graph, tasks)
        parts.append(Labelled(tasks, best.placements, best.delays, best.nodes))
    return where, *parts


SMALL = Tuning("student_verified", (32, 24), 4, 2, 150, 150, 2e-3, batch=128)


def test_fine_tuning_lowers_regret_and_a_seed_gives_the_same_weights(labelled):
    where, train, validation = labelled
    model, curve = fit_tuned(SMALL, "dag", where, train, validation, 0)
    again, _ = fit_tuned(SMALL, "dag", where, train, validation, 0)
    assert all(np.array_equal(a, b) for a, b in zip(model.weights, again.weights))
    alone = fit_tuned(replace(SMALL, hypotheses=1, samples=6), "dag", where, train, validation, 0)[1]
    regret = {(e["stage"]): e["validation_regret"] for e in curve}
    assert regret["delay"] < 0.1 and {e["stage"]: e["validation_regret"] for e in alone}["delay"] > regret["delay"]
    assert alone[-1]["validation_regret"] < alone[0]["validation_regret"]


@pytest.mark.parametrize("name", TRAINED)
def test_students_are_light(name):
    graph = scenario(name).graph
    for role in TUNED:
        recipe = tuning(get_run("paper"), role, name)
        sizes = [graph.n_features, *recipe.hidden, 3 * graph.n]
        weights = sum(a * b for a, b in zip(sizes, sizes[1:]))
        assert weights + sizes[1] + recipe.hypotheses * (sizes[2] + sizes[3]) <= 15_000
        assert default_evaluations(graph) >= recipe.hypotheses + 2


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
    with pytest.raises(ValueError, match="role: 'studnt'"):
        tuning(get_run("tiny"), "studnt", "dag")
    with pytest.raises(ValueError, match="samples: 1"):
        replace(SMALL, samples=1)
    with pytest.raises(ValueError, match="delay_rate: 0"):
        replace(SMALL, delay_rate=0)
    with pytest.raises(ValueError, match=r"data: .*manifest\.json is missing"):
        train_tuned(get_run("tiny", str(tmp_path)), "student_tuned", "dag", 0)
    with pytest.warns(UserWarning, match="f_0 from .* to 9e"):
        outside = tasks[:3].copy()
        outside[1, -8] = 9e9
        assert decide(model, dag(), outside).shape == (3, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decide(model, dag(), sample_tasks(dag(), 50, np.random.default_rng(9)))
    save(model, tmp_path / "m.npz")
    assert open_model(tmp_path / "m.npz").hypotheses == 5
    with np.load(tmp_path / "m.npz") as z:
        arrays = dict(z)
    arrays["about"][0] = "kd_offload 1"
    np.savez(tmp_path / "old.npz", **arrays)
    with pytest.raises(ValueError, match=r"old\.npz has format 'kd_offload 1', expected 'kd_offload 2'"):
        open_model(tmp_path / "old.npz")
