"""Loss, training and the runtimes of a model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kd_offload.delay import delay
from kd_offload.distill import (
    PLAIN,
    STUDENT,
    TEACHER,
    _batches,
    distillation_loss,
    fit,
)
from kd_offload.graphs import chain, dag
from kd_offload.labels import Labelled, solve
from kd_offload.model import decide, logits, open_model, save, standardise, torch_network
from kd_offload.tasks import sample_tasks

SMALL = replace(TEACHER, hidden=(32,), steps=280, batch=64)
INDEPENDENT = replace(SMALL, role="teacher_independent", units=0)


def one(fitted):
    """The only model and its curve."""
    ((model,), (curve,)) = fitted
    return model, curve


@pytest.fixture(scope="module")
def labelled():
    tasks = sample_tasks(dag(), 3000, np.random.default_rng(0))
    best = solve(dag(), tasks)
    return Labelled(tasks, best.placements, best.delays, best.nodes)


@pytest.fixture(scope="module")
def teacher(labelled):
    return one(fit(SMALL, dag(), labelled, labelled, [0]))


@pytest.fixture(scope="module")
def independent(labelled):
    return one(fit(INDEPENDENT, dag(), labelled, labelled, [0]))


def regret(model, labelled):
    placements = decide(model, model.graph, labelled.tasks)
    return (delay(model.graph, labelled.tasks, placements) / labelled.delays - 1).mean()


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
    assert distillation_loss(
        torch.tensor(v), torch.tensor(v), torch.tensor(y), 4.0, 0.0
    ).item() == pytest.approx(0)


def test_training_learns_and_a_seed_gives_the_same_weights(labelled, teacher):
    model, curve = teacher
    assert curve[-1].validation_loss < curve[0].validation_loss < 1.2
    accuracy = (decide(model, dag(), labelled.tasks) == labelled.placements).mean()
    assert accuracy == pytest.approx(curve[-1].label_accuracy, abs=1e-3) and accuracy > 0.6
    (again,), _ = fit(SMALL, dag(), labelled, labelled, [0])
    (other,), _ = fit(SMALL, dag(), labelled, labelled, [1])
    assert all(np.array_equal(a, b) for a, b in zip(model.weights, again.weights))
    assert not np.array_equal(model.weights[0], other.weights[0])


def test_networks_side_by_side_are_each_as_if_alone(labelled, teacher):
    """Also distilled ones, each with a teacher of its own."""
    models, curves = fit(SMALL, dag(), labelled, labelled, [3, 0])
    for a, b in zip(
        (*models[1].weights, *models[1].biases), (*teacher[0].weights, *teacher[0].biases)
    ):
        np.testing.assert_allclose(a, b, atol=1e-3)
    assert curves[1][-1] == pytest.approx(teacher[1][-1], rel=1e-3) and curves[0] != curves[1]
    recipe = replace(STUDENT, mix=0.2, steps=40, batch=128)
    soft = np.stack([logits(model, labelled.tasks, labelled.placements) for model in models])
    both, _ = fit(recipe, dag(), labelled, labelled, [1, 2], soft)
    for k, seed in enumerate((1, 2)):
        (alone,), _ = fit(recipe, dag(), labelled, labelled, [seed], soft[k : k + 1])
        np.testing.assert_allclose(both[k].weights[0], alone.weights[0], atol=1e-3)
    assert np.abs(both[0].weights[0] - both[1].weights[0]).max() > 0.1


def test_every_task_is_seen_once_a_pass():
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    recipe = replace(PLAIN, batch=5, steps=20)
    rows = torch.cat([*_batches(10, recipe, generators)][:4], 1)
    for network in rows:
        assert sorted(network[:10].tolist()) == sorted(network[10:].tolist()) == [*range(10)]
    assert (rows[0] != rows[1]).any() and (rows[0, :10] != rows[0, 10:]).any()


def test_a_student_of_the_teacher_alone_follows_the_teacher(labelled, teacher):
    """With no weight on the labels, wrong labels do no harm."""
    wrong = labelled._replace(placements=np.zeros_like(labelled.placements))
    recipe = replace(STUDENT, mix=0.0, steps=350, batch=128)
    taught = logits(teacher[0], wrong.tasks, wrong.placements)
    (student,), _ = fit(recipe, dag(), wrong, wrong, [0], taught[None])
    follows = logits(student, wrong.tasks, wrong.placements).argmax(-1) == taught.argmax(-1)
    assert follows.mean() > 0.9


def test_a_chain_is_better_than_independent_labels(labelled, teacher, independent):
    assert regret(teacher[0], labelled) < 0.7 * regret(independent[0], labelled)


def test_sizes(labelled, teacher, independent):
    """Counted by hand: a chain has 16 units for each of 10 subtasks, and 45 pairs of subtasks."""
    dense = 33 * 32 + 32 * 30
    assert independent[0].parameters == dense + 32 + 30 and independent[0].macs == dense
    units = 10 * 16
    assert teacher[0].parameters == dense + 32 + 30 + units * (32 + 1 + 3) + 3 * 45 * 16
    assert teacher[0].macs == dense + units * (32 + 3) + 45 * 16
    assert (STUDENT.hidden, STUDENT.units) == (PLAIN.hidden, PLAIN.units) and not PLAIN.distilled


@pytest.mark.parametrize("kind", ["teacher", "independent"])
def test_numpy_and_torch_agree(labelled, kind, request):
    """In sequence, and with given labels."""
    model, _ = request.getfixturevalue(kind)
    inputs = torch.from_numpy(standardise(model.scaling, labelled.tasks))
    labels = np.random.default_rng(0).integers(0, 3, labelled.placements.shape)
    network = torch_network(model)
    with torch.no_grad():
        own, given = network(inputs)[0], network(inputs, torch.from_numpy(labels)[None])[0]
    np.testing.assert_allclose(own.numpy(), logits(model, labelled.tasks), atol=1e-4)
    np.testing.assert_allclose(given.numpy(), logits(model, labelled.tasks, labels), atol=1e-4)
    decided = logits(model, labelled.tasks).argmax(-1)
    again = logits(model, labelled.tasks, decided)
    np.testing.assert_array_equal(again, logits(model, labelled.tasks))
    assert (model.chain is None) == np.array_equal(again, logits(model, labelled.tasks, labels))


def test_a_constant_feature_tells_nothing_and_breaks_nothing(labelled):
    tasks = labelled.tasks.copy()
    tasks[:, 0] = 3e8
    recipe = replace(PLAIN, steps=20, batch=128)
    (model,), _ = fit(recipe, dag(), labelled._replace(tasks=tasks), labelled, [0])
    assert np.isfinite(logits(model, tasks)).all()


def test_models_are_saved_whole_and_damage_is_named(tmp_path, labelled, teacher, independent):
    path = tmp_path / "m.npz"
    save(independent[0], path)
    assert open_model(path).chain is None
    save(teacher[0], path)
    back = open_model(path)
    assert np.array_equal(
        decide(back, dag(), labelled.tasks), decide(teacher[0], dag(), labelled.tasks)
    )
    assert decide(back, dag(), labelled.tasks[0]).shape == (10,)
    first = path.read_bytes()
    save(teacher[0], path)
    assert path.read_bytes() == first
    path.write_bytes(first[:1000])
    with pytest.raises(ValueError, match=r"m\.npz is missing, truncated or altered"):
        open_model(path)


def test_bad_requests(labelled, teacher):
    with pytest.raises(ValueError, match="trained for 'dag', asked to decide for 'chain'"):
        decide(teacher[0], chain(), np.ones(29))
    bad = labelled.tasks[0].copy()
    bad[-5] = np.nan
    with pytest.raises(ValueError, match="B_up = nan"):
        decide(teacher[0], dag(), bad)
    with pytest.raises(ValueError, match="temperature: 0"):
        replace(STUDENT, temperature=0)
    with pytest.raises(ValueError, match=r"mix: 1\.5"):
        replace(STUDENT, mix=1.5)
    with pytest.raises(ValueError, match="units: -1, expected a number not negative"):
        replace(STUDENT, units=-1)
    with pytest.raises(ValueError, match=r"teacher_logits: shape \(\), expected \(1, "):
        fit(replace(STUDENT, steps=20, batch=128), dag(), labelled, labelled, [0])
    with pytest.raises(ValueError, match="steps: 10, expected a number at least 20"):
        replace(STUDENT, steps=10)


@pytest.mark.parametrize(
    "change, text",
    [
        (
            lambda d: d._replace(tasks=np.where(np.arange(33) == 3, -1.0, d.tasks)),
            "task: w_4 = -1.0 cycles",
        ),
        (
            lambda d: d._replace(placements=np.full_like(d.placements, 3)),
            "placement: label 3, expected 0",
        ),
        (
            lambda d: d._replace(placements=d.placements[:5]),
            r"labelled: \(3000, 33\) tasks, \(5, 10\) labels",
        ),
    ],
)
def test_what_cannot_be_learnt_is_refused(labelled, change, text):
    with pytest.raises(ValueError, match=text):
        fit(SMALL, dag(), change(labelled), labelled, [0])
