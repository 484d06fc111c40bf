"""Loss, training and the runtimes of a model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kd_offload.config import Run, get_profile
from kd_offload.dataset import Labelled
from kd_offload.graphs import chain, dag
from kd_offload.labels import solve
from kd_offload.learning import RECIPES, Recipe, distillation_loss, fit, logits, open_model, save
from kd_offload.policies import learned, model_deciders, place
from kd_offload.sampling import sample_tasks
from kd_offload.verification import decide


@pytest.fixture(scope="module")
def labelled():
    tasks = sample_tasks(dag(), 3000, np.random.default_rng(0))
    best = solve(dag(), tasks)
    return Labelled(tasks, best.placements, best.delays, best.nodes)


@pytest.fixture(scope="module")
def teacher(labelled):
    return fit(replace(RECIPES["teacher"], hidden=(32,)), "dag", labelled, labelled, epochs=6, batch=64, seed=0)


def test_distillation_loss_is_hintons():
    """Against the formula written out with probabilities, in NumPy."""
    rng = np.random.default_rng(0)
    z, v, y = rng.normal(size=(4, 5, 3)), rng.normal(size=(4, 5, 3)), rng.integers(0, 3, (4, 5))

    def softmax(a):
        return np.exp(a) / np.exp(a).sum(-1, keepdims=True)

    for temperature, mix in ((1.0, 0.0), (2.0, 0.5), (7.0, 0.3), (3.0, 1.0)):
        p, q = softmax(v / temperature), softmax(z / temperature)
        hard = -np.log(np.take_along_axis(softmax(z), y[..., None], -1)).mean()
        expected = mix * hard + (1 - mix) * temperature**2 * (p * np.log(p / q)).sum(-1).mean()
        got = distillation_loss(torch.tensor(z), torch.tensor(v), torch.tensor(y), temperature, mix)
        assert got.item() == pytest.approx(expected, rel=1e-9)
    assert distillation_loss(torch.tensor(v), torch.tensor(v), torch.tensor(y), 4.0, 0.0).item() == pytest.approx(0)


def test_training_learns_and_a_seed_gives_the_same_weights(labelled, teacher):
    model, curve = teacher
    assert curve[-1]["validation_loss"] < curve[0]["validation_loss"] < 1.2
    accuracy = (decide(model, dag(), labelled.tasks) == labelled.placements).mean()
    assert accuracy == pytest.approx(curve[-1]["label_accuracy"], abs=1e-3) and accuracy > 0.6
    again, _ = fit(replace(RECIPES["teacher"], hidden=(32,)), "dag", labelled, labelled, epochs=6, batch=64, seed=0)
    other, _ = fit(replace(RECIPES["teacher"], hidden=(32,)), "dag", labelled, labelled, epochs=6, batch=64, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(model.weights, again.weights))
    assert not np.array_equal(model.weights[0], other.weights[0])


def test_a_student_of_the_teacher_alone_follows_the_teacher(labelled, teacher):
    """With no weight on the labels, wrong labels do no harm."""
    wrong = labelled._replace(placements=np.zeros_like(labelled.placements))
    student, _ = fit(
        replace(RECIPES["student"], mix=0.0), "dag", wrong, wrong, 15, 128, 0, logits(teacher[0], wrong.tasks)
    )
    assert (decide(student, dag(), labelled.tasks) == decide(teacher[0], dag(), labelled.tasks)).mean() > 0.9


def test_sizes():
    n, f = 10, 33
    for recipe, about in ((RECIPES["teacher"], 5e5), (RECIPES["student"], 8e3)):
        sizes = [f, *recipe.hidden, 3 * n]
        assert sum((a + 1) * b for a, b in zip(sizes, sizes[1:])) == pytest.approx(about, rel=0.15)
    assert RECIPES["student"].hidden == RECIPES["student_plain"].hidden and not RECIPES["student_plain"].distilled


def test_runtimes_agree(labelled, teacher):
    model = teacher[0]
    x = place("teacher", dag(), labelled.tasks, learned(model))
    gap = np.sort(logits(model, labelled.tasks), -1)
    clear = ((gap[..., 2] - gap[..., 1]) > 1e-4).all(1)
    assert clear.mean() > 0.99
    for decider in model_deciders(model, dag()):
        rows = np.flatnonzero(clear)[:300]
        assert all(np.array_equal(decider.decide(labelled.tasks[r]), x[r]) for r in rows), decider.runtime
        assert decider.parameters == 33 * 32 + 32 + 32 * 30 + 30 and decider.macs == 33 * 32 + 32 * 30


def test_a_constant_feature_tells_nothing_and_breaks_nothing(labelled):
    tasks = labelled.tasks.copy()
    tasks[:, 0] = 3e8
    model, _ = fit(RECIPES["student_plain"], "dag", labelled._replace(tasks=tasks), labelled, 1, 128, 0)
    assert np.isfinite(logits(model, tasks)).all()


def test_models_are_saved_whole_and_damage_is_named(tmp_path, labelled, teacher):
    path = tmp_path / "m.npz"
    save(teacher[0], path)
    back = open_model(path)
    assert np.array_equal(decide(back, dag(), labelled.tasks), decide(teacher[0], dag(), labelled.tasks))
    assert decide(back, dag(), labelled.tasks[0]).shape == (10,)
    first = path.read_bytes()
    save(teacher[0], path)
    assert path.read_bytes() == first
    path.write_bytes(first[:1000])
    with pytest.raises(ValueError, match=r"m\.npz is missing, truncated or altered"):
        open_model(path)


def test_bad_requests(labelled, teacher, tmp_path):
    with pytest.raises(ValueError, match="trained for 'dag', asked to decide for 'chain'"):
        decide(teacher[0], chain(), np.ones(29))
    bad = labelled.tasks[0].copy()
    bad[-5] = np.nan
    with pytest.raises(ValueError, match="B_up = nan"):
        decide(teacher[0], dag(), bad)
    with pytest.raises(ValueError, match="temperature: 0"):
        Recipe("student", (64,), 1e-3, distilled=True, temperature=0)
    with pytest.raises(ValueError, match=r"mix: 1\.5"):
        Recipe("student", (64,), 1e-3, distilled=True, mix=1.5)
    with pytest.raises(ValueError, match="soft: recipe 'student' is distilled"):
        fit(RECIPES["student"], "dag", labelled, labelled, 1, 128, 0)
    assert Run(get_profile("tiny"), tmp_path).models == tmp_path / "data" / "models"
