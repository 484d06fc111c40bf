"""`anygraph`: the three forms agree, gradients are right, decisions keep their promises."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anygraph.decision import EVALUATIONS, STATES, board, decide, look_ahead, moves
from anygraph.engine import LANES, backward, forward
from anygraph.families import TRAINED, UNSEEN, draw, edges_hash, held_apart, training_graph
from anygraph.gradients import distillation_gradient, flip_gradient
from anygraph.torch_form import torch_logits
from anygraph.propose import propose, routes
from anygraph.network import GraphNetwork, layout, open_network, save_network, views
from anygraph.training import WIDE, Adam, TrainingConfig, fit_any
from kd_offload.delay import all_delays, delay, new_times, prepare
from kd_offload.graphs import TaskGraph, chain, dag, fusion, random_graph
from kd_offload.labels import solve
from experiments.oracles import reference_delay
from experiments.baselines import placements_of
from kd_offload.tasks import STATE, sample_tasks

SHAPE = 12, 5


def some_model(seed=0, shape=SHAPE):
    size = sum(a * b for a, b in layout(*shape).values())
    flat = (0.3 * np.random.default_rng(seed).normal(size=size)).astype(np.float32)
    return GraphNetwork("anygraph", seed, *shape, flat)


def some_graphs():
    rng = np.random.default_rng(1)
    few = [draw(name, int(rng.integers(1, 40)), rng) for name in TRAINED | UNSEEN]
    return [chain(1), chain(2), dag(), fusion(), draw("wide", 128, rng), *few]


@pytest.mark.parametrize("graph", some_graphs(), ids=lambda g: g.name)
def test_three_forms_agree(graph):
    rng, model = np.random.default_rng(2), some_model()
    for ranges in ({}, {"ranges": WIDE}):
        tasks = sample_tasks(graph, LANES, rng, **ranges)
        plain = torch_logits(
            torch.from_numpy(model.flat.astype(float)), SHAPE, graph, tasks
        ).numpy()
        lanes, _ = forward(model.flat, SHAPE, routes(graph), tasks)
        assert np.abs(lanes - plain).max() < 1e-4
        assert (propose(model, graph, tasks) == plain.argmax(-1)).mean() > 0.9999


@pytest.mark.parametrize(
    "graph", [chain(1), fusion(), draw("layers", 25, np.random.default_rng(3))]
)
def test_gradients(graph):
    rng, model = np.random.default_rng(4), some_model()
    tasks = sample_tasks(graph, LANES, rng)
    flat = torch.from_numpy(model.flat.astype(float)).requires_grad_()
    logits, run = forward(model.flat, SHAPE, routes(graph), tasks)
    gradient, out = rng.normal(size=logits.shape).astype(np.float32), np.zeros_like(model.flat)
    torch_logits(flat, SHAPE, graph, tasks).backward(torch.from_numpy(gradient.astype(float)))
    backward(model.flat, SHAPE, run, gradient, out)
    for ours, theirs in zip(views(out, *SHAPE), views(flat.grad.numpy(), *SHAPE)):
        assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max() + 1e-6


def test_distillation_gradient():
    rng = np.random.default_rng(5)
    student, teacher = rng.normal(size=(2, 3, 2, 4, 3)).astype(np.float32)
    gradient, s = np.empty_like(student), torch.from_numpy(student).requires_grad_()
    loss = distillation_gradient(student, teacher, 2.0, gradient)
    t = torch.log_softmax(torch.from_numpy(teacher) / 2, -1)
    kl = (t.exp() * (t - torch.log_softmax(s / 2, -1))).sum(-1).mean() * 4
    kl.backward()
    assert loss == pytest.approx(kl.item(), rel=1e-4)
    assert np.abs(gradient - s.grad.numpy()).max() < 1e-6


def test_flip_gradient_points_where_the_exact_one_does():
    """Against torch's gradient of the expectation, summed over all pairs of placements."""
    rng, graph = np.random.default_rng(10), chain(4)
    tasks, every = sample_tasks(graph, 4, rng), np.array(list(product(range(3), repeat=4)))
    logits = rng.normal(size=(4, 2, 4, 3)).astype(np.float32)
    draws, known = np.empty((4000, *logits.shape), np.float32), (4, graph.first, graph.source)
    for one in draws:
        flip_gradient(*known, tasks, logits, 0.2, rng, one)
    free = torch.from_numpy(logits.astype(float)).requires_grad_()
    shares = torch.log_softmax(free, -1)[:, :, range(4), every].sum(-1).exp()  # (B, K, 81)
    delays = all_delays(graph, tasks, every)
    regret = np.minimum(delays[:, :, None], delays[:, None]) / delays.min(1)[:, None, None] - 1
    value = torch.from_numpy(regret / (1 + regret / 0.2) / 4)
    torch.einsum("bi,bj,bij->", shares[:, 0], shares[:, 1], value).backward()
    ours, exact = draws.mean(0), free.grad.numpy()
    assert (ours * exact).sum() > 0.8 * np.linalg.norm(ours) * np.linalg.norm(exact)


@pytest.mark.parametrize("graph", some_graphs(), ids=lambda g: g.name)
def test_never_worse_than_the_obvious_and_within_the_budget(graph):
    model, rng = some_model(), np.random.default_rng(6)
    tasks = sample_tasks(graph, 20, rng, WIDE)
    placements, delays, spent = decide(model, graph, tasks)
    assert np.allclose(delay(graph, tasks, placements), delays, rtol=1e-12)
    assert (spent <= EVALUATIONS).all()
    for k in range(3):
        alone = delay(graph, tasks, np.full(placements.shape, k, np.int8))
        assert (delays <= alone * (1 + 1e-12)).all()
    assert (
        delays <= delay(graph, tasks, placements_of("lookahead", graph, tasks)) * (1 + 1e-12)
    ).all()
    proposals = propose(model, graph, tasks)
    for k in range(model.hypotheses):
        alone = delay(graph, tasks, np.ascontiguousarray(proposals[:, k]))
        assert (delays <= alone * (1 + 1e-12)).all()


def test_a_placement_by_which_nothing_waits_is_optimal_and_ends_the_decision():
    rng = np.random.default_rng(3)
    _, delays, spent = decide(some_model(), dag(), tasks := sample_tasks(dag(), 300, rng))
    early = spent == 4
    assert 0.05 < early.mean() < 0.5
    np.testing.assert_allclose(delays[early], solve(dag(), tasks[early]).delays, rtol=1e-9)
    assert (decide(some_model(), chain(), sample_tasks(chain(), 30, rng))[2] == 4).all()


def stretches(x, y):
    """Where y differs from x, but for single entries in between: [first, last], the last ones
    first."""
    apart = [i for i, (a, b) in enumerate(zip(x, y)) if a != b]
    cuts = [i for i in range(1, len(apart)) if apart[i] - apart[i - 1] > 2]
    parts = [part for part in np.split(np.array(apart, int), cuts) if len(part) > 1]
    return [(part[0], part[-1]) for part in reversed(parts)]


def plainly_spliced(best, proposals, price):
    for y in map(list, proposals):
        for a, end in stretches(best, y):
            other = best[:a] + y[a : end + 1] + best[end + 1 :]
            if price(other) < price(best):
                best = other
    return best


def plainly_mended(graph, task, candidates, proposals):
    """The rule told plainly: whole evaluations, nothing pruned, no budget."""

    def price(x):
        return reference_delay(graph.n, graph.edges, task, x)

    best, before = min((list(map(int, x)) for x in candidates), key=price), None
    best = plainly_spliced(best, proposals, price)
    while best != before:
        before = plainly_moved(graph, best, price)
        best = plainly_spliced(before, proposals, price)
    return best


def plainly_moved(graph, best, price):
    tried, at, since = moves(graph).tolist(), 0, 0
    while since < len(tried):
        a, b, k = tried[at]
        at, since = (at + 1) % len(tried), since + 1
        held = [i - 1 for i in (a, b) if i]
        moved = [k if i in held else label for i, label in enumerate(best)]
        if all(best[i] != k for i in held) and price(moved) < price(best):
            best, since = moved, 0
    return best


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(0, 50), st.integers(0, 2**32 - 1))
def test_the_decision_is_the_plain_rule(n, index, seed):
    """The best of lookahead, the proposals and the single locations; then what helps of stretches
    and moves."""
    graph, model = random_graph(n, index), some_model()
    task = sample_tasks(graph, 1, np.random.default_rng(seed))
    state, times = board(n), new_times(n, len(graph.edges))
    prepare(n, graph.first, graph.source, task[0], 0, 0, times)
    look_ahead(n, graph.first, graph.source, times, state)
    singles = [[k] * n for k in range(3)]
    proposals = propose(model, graph, task)[0].tolist()
    candidates = [state[2][1 : n + 1], *proposals, *singles]
    x, delays, _ = decide(model, graph, task, 10_000)
    expected = plainly_mended(graph, task[0], candidates, proposals)
    assert delays[0] == pytest.approx(reference_delay(n, graph.edges, task[0], expected), rel=1e-12)
    assert list(x[0]) == expected


def test_moves_cover_every_label_and_edge_once():
    listed = [tuple(m) for m in moves(dag())]
    inner = [e for e in dag().edges if e[0] > 0 and e[1] <= 10]
    assert len(set(listed)) == len(listed) == 30 + 3 * len(inner)
    assert listed[0][0] == 10 and {m[:2] for m in listed if m[1]} == set(inner)


def test_families_are_graphs_and_tests_are_held_apart():
    rng, apart = np.random.default_rng(7), held_apart(most=12)
    for name in TRAINED | UNSEEN:
        for n in (1, 2, 3, 5, 17, 128):
            assert draw(name, n, rng).n == n
    assert edges_hash(random_graph(9, 3)) in apart and edges_hash(dag()) in apart
    assert edges_hash(TaskGraph("x", 10, dag().edges)) in apart
    for _ in range(200):
        assert edges_hash(training_graph(rng, (3, 8), apart)) not in apart
    with pytest.raises(ValueError, match="n must be 1 to 128, got 129"):
        draw("near", 129, rng)
    with pytest.raises(ValueError, match="'nearer', expected one of near"):
        draw("nearer", 9, rng)


def test_training_is_determined_by_its_seed():
    course = TrainingConfig(
        width=8, hypotheses=4, imitation_steps=2, delay_steps=2, groups=2, graphs=20
    )
    one, two, other = (fit_any(course, seed)[0] for seed in (1, 1, 2))
    assert (one.flat == two.flat).all() and (one.flat != other.flat).any()
    small = TrainingConfig(**vars(course) | {"width": 4})
    assert fit_any(small, 1, teacher=one)[0].parameters < one.parameters
    with pytest.raises(ValueError, match="teacher: 4 hypotheses, expected 6"):
        fit_any(TrainingConfig(hypotheses=6), 1, teacher=one)


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


def test_what_a_course_does_without_stays_zero():
    short = TrainingConfig("anygraph", 8, 4, 3, 3, graphs=8, without=("X", "E"))
    model, _ = fit_any(short, 0)
    for name, part in zip(layout(8, 4), views(model.flat, 8, 4)):
        assert part.any() == (name.rstrip("'") not in short.without)


def test_training_lowers_the_delay():
    """The delay stage lowers the best proposal's delay that imitation left."""
    course = TrainingConfig(width=8, hypotheses=4, imitation_steps=100, delay_steps=150, graphs=60)
    course = replace(course, sizes=(4, 12), small=(4, 10), default=1.0)
    tasks, least = sample_tasks(dag(), 300, np.random.default_rng(8)), []
    imitated, _ = fit_any(replace(course, delay_steps=0), 0)
    for model in imitated, fit_any(course, 0)[0]:
        x = propose(model, dag(), tasks)
        each = [delay(dag(), tasks, np.ascontiguousarray(x[:, k])) for k in range(4)]
        least.append(np.min(each, 0).mean())
    assert least[1] < least[0], least


def test_a_model_survives_its_file_and_bad_files_are_named(tmp_path):
    model, path = some_model(), tmp_path / "model.npz"
    save_network(model, path)
    again = open_network(path)
    assert (again.flat == model.flat).all() and again.hypotheses == 5 and again.role == model.role
    np.savez(path, format="kd_offload sweep", about=[99, 12, 5, 0], role="x", flat=model.flat)
    with pytest.raises(ValueError, match="version 1"):
        open_network(path)
    np.savez(path, format="kd_offload sweep", about=[1, 12, 6, 0], role="x", flat=model.flat)
    with pytest.raises(ValueError, match="flat: float32"):
        open_network(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a sweep network"):
        open_network(path)
    with pytest.raises(ValueError, match="entry 0 is not finite"):
        GraphNetwork("x", 0, 12, 5, np.full_like(model.flat, np.nan))


def test_bad_tasks_and_states_outside_the_range():
    down = tuple(up * ratio for up, ratio in zip(WIDE.B_up, WIDE.down_over_up))
    assert STATES == tuple(down if q == "B_down" else getattr(WIDE, q) for q in STATE)
    model, graph = some_model(), dag()
    tasks = sample_tasks(graph, 2, np.random.default_rng(9))
    bad = tasks.copy()
    bad[1, 3] = np.nan
    with pytest.raises(ValueError, match="w_4 = nan"):
        decide(model, graph, bad)
    with pytest.raises(ValueError, match="129 subtasks, expected at most 128"):
        decide(model, chain(129), np.ones((1, chain(129).n_features)))
    with pytest.raises(ValueError, match="evaluations: 12, expected at least K"):
        decide(model, graph, tasks, 12)
    bad = tasks.copy()
    bad[:, -8] = 1e12
    with pytest.warns(UserWarning, match="f_0 from 1e\\+12"):
        assert decide(model, graph, bad)[0].shape == (2, 10)
