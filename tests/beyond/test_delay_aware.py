"""Delay-aware training: its gradients by other ways, what it reaches, and what is refused."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_offload.artifact import get_run
from kd_offload.beyond.delay_aware import (
    TUNED,
    Tuning,
    delay_gradient,
    fit_tuned,
    imitation_gradient,
    team_values,
    train_tuned,
    tuning,
)  # fmt: skip
from kd_offload.beyond.verification import default_evaluations
from kd_offload.delay import delay
from kd_offload.graphs import TaskGraph
from kd_offload.labels import Labelled, solve
from kd_offload.models import open_model
from kd_offload.scenarios import TRAINED, scenario
from kd_offload.tasks import sample_tasks

SMALL = Tuning("student_verified", (32, 24), 4, 2, 150, 150, 2e-3, batch=128)


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
    mixture = torch.logsumexp(likelihood, 1)
    loss = -((1 - share) * mixture + share * likelihood.mean(1)).mean() / 4
    loss.backward()
    gradient = np.empty((6, 3, 4, 3), np.float32)
    value = imitation_gradient(z.detach().numpy(), y, share, gradient)
    assert value == pytest.approx(loss.item(), rel=1e-5)
    assert np.allclose(gradient, z.grad.numpy(), atol=1e-6)


@pytest.mark.parametrize("hypotheses", [1, 2])
def test_the_delay_gradient_points_where_the_expected_delay_falls(hypotheses):
    """Against the exact expectation over all placements of a small graph, by autograd."""
    graph, rng = TaskGraph("two", 2, ((0, 1), (1, 2), (2, 3))), np.random.default_rng(3)
    task, shape = sample_tasks(graph, 1, rng), (1, hypotheses, 2, 3)
    z = torch.tensor(rng.normal(size=shape), dtype=torch.float32, requires_grad=True)
    every = np.array(list(itertools.product(range(3), repeat=2)), np.int8)
    delays = delay(graph, task[0], every)
    price = torch.tensor(delays / delays.min() - 1).clamp(max=3.0)
    p = torch.softmax(z[0], -1)
    chance = torch.stack([p[:, 0, a] * p[:, 1, b] for a, b in every], 1).double()  # (K, 9)
    if hypotheses == 1:
        expected = (chance[0] * price).sum()
    else:
        best_of_two = torch.minimum(price[:, None], price)
        expected = (chance[0][:, None] * chance[1] * best_of_two).sum()
    expected.backward()
    total, gradient = np.zeros(shape), np.empty(shape, np.float32)
    known = 2, graph.first, graph.source, task, z.detach().numpy(), 4, rng
    for _ in range(4000):
        delay_gradient(*known, gradient)
        total += gradient
    exact = z.grad.numpy().ravel()
    cosine = total.ravel() @ exact / np.linalg.norm(total) / np.linalg.norm(exact)
    assert cosine > 0.9  # delays are scaled by the best one drawn, which depends on the draw


def test_fine_tuning_lowers_regret_and_a_seed_gives_the_same_weights():
    where, rng = scenario("dag"), np.random.default_rng(4)
    tasks = [sample_tasks(where.graph, count, rng) for count in (4000, 500)]
    data = [Labelled(t, *solve(where.graph, t)[:3]) for t in tasks]
    model, curve = fit_tuned(SMALL, where, *data, 0)
    again, _ = fit_tuned(SMALL, where, *data, 0)
    assert all(np.array_equal(a, b) for a, b in zip(model.weights, again.weights))
    alone = fit_tuned(replace(SMALL, hypotheses=1, samples=6), where, *data, 0)[1]
    team, single = ({e["stage"]: e["validation_regret"] for e in c} for c in (curve, alone))
    assert team["delay"] < 0.1 and team["delay"] < single["delay"] < single["imitation"]


def test_a_saved_student_is_kept_with_its_curve(tiny):
    path = tiny.models / "student_tuned_dag_0.npz"
    made = path.stat().st_mtime_ns
    assert train_tuned(tiny, "student_tuned", "dag", 0) == path and path.stat().st_mtime_ns == made
    assert open_model(path).scenario == "dag"
    about = json.loads(path.with_suffix(".json").read_text())
    assert [e["stage"] for e in about["curve"]] == ["imitation", "delay"]
    assert about["recipe"]["delay_steps"] == 2 * tiny.profile.delay_steps and about["code"]


@pytest.mark.parametrize("name", TRAINED)
def test_students_are_light(name):
    graph = scenario(name).graph
    for role in TUNED:
        recipe = tuning(get_run("paper"), role, name)
        sizes = [graph.n_features, *recipe.hidden, 3 * graph.n]
        weights = sum(a * b for a, b in zip(sizes, sizes[1:]))
        assert weights + sizes[1] + recipe.hypotheses * (sizes[2] + sizes[3]) <= 15_000
        assert default_evaluations(graph) >= recipe.hypotheses + 2


def test_bad_requests(fresh):
    with pytest.raises(ValueError, match="role: 'studnt'"):
        tuning(fresh, "studnt", "dag")
    wrong = dict(samples=1, delay_rate=0, delay_steps=-1, batch=0, labels=1.5, hypotheses=0)
    for field, value in wrong.items():
        with pytest.raises(ValueError, match=f"{field}: {value}, expected"):
            replace(SMALL, **{field: value})
    with pytest.raises(ValueError, match=r"data: .*manifest\.json is missing"):
        train_tuned(fresh, "student_tuned", "dag", 0)
