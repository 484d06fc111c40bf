"""The student for any graph: padding, kernels with a graph a row, training, what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_offload.artifact import ROOT
from kd_offload.beyond import any_graph as a
from kd_offload.beyond.delay_aware import delay_gradient, imitation_gradient
from kd_offload.beyond.verification import improve
from kd_offload.graphs import TaskGraph, chain, dag, fusion, random_graph
from kd_offload.models import open_model
from kd_offload.tasks import STATE, Ranges, feature_names, sample_tasks


def drawn(count, seed):
    """Rows as `draw_rows` fills them, each with its TaskGraph and its task vector."""
    rows, ranges = a.new_rows(count), [getattr(Ranges(), kind) for kind in a.KINDS]
    a.draw_rows(np.log(ranges), np.random.default_rng(seed), rows)
    graphs = []
    for b, (n, first, source, _) in enumerate(zip(*rows)):
        into = [(range(first[j], first[j + 1]), j) for j in range(1, n + 2)]
        edges = tuple((int(source[e]), j) for es, j in into for e in es)
        graphs.append(TaskGraph(f"row_{b}", int(n), edges))
    return rows, graphs, [t[: g.n_features][None] for g, t in zip(graphs, rows.tasks)]


def padded_names() -> list[str]:
    """Names of a padded vector's entries, in order."""
    names = []
    for j in range(1, a.MOST + 1):
        block = [f"w_{j}", *(f"d_{j - back}_{j}" for back in range(1, 5)), f"d_{j}_sink"]
        names += [entry for name in block for entry in (name, f"{name} there")]
    return names + list(STATE)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 200))
def test_padding_puts_every_quantity_in_its_place(n, index):
    graph = random_graph(n, index)
    task = sample_tasks(graph, 1, np.random.default_rng(index))
    names, middle = padded_names(), np.exp(a.padded_scaling()[0])
    padded, middle = dict(zip(names, a.pad(graph, task)[0])), dict(zip(names, middle))
    for name, value in zip(feature_names(graph), task[0]):
        if name[0] == "d" and name.endswith(f"_{n + 1}"):
            name = f"d_{name.split('_')[1]}_sink"
        assert padded.pop(name) == value
        if name not in STATE:
            assert padded.pop(f"{name} there") == np.e
    for name, value in padded.items():
        assert value == pytest.approx(1 if name.endswith("there") else middle[name])


def test_rows_are_graphs_of_the_family_within_the_ranges():
    rows, graphs, tasks = drawn(300, 1)
    assert {g.n for g in graphs} == set(range(4, 13))
    for g, t in zip(graphs, tasks):
        assert all(j - i <= a.WINDOW for i, j in g.edges if j <= g.n)
        assert {sum(b == j for _, b in g.edges) for j in range(1, g.n + 1)} <= {1, 2, 3}
        assert (t[0, : g.n] >= 1e7).all() and (t[0, : g.n] <= 5e8).all() and t[0, -4] >= t[0, -5]
    out = np.empty((300, a.FEATURES))
    a.pad_rows(rows, a.absent(), out)
    assert all(np.array_equal(x, a.pad(g, t)[0]) for x, g, t in zip(out, graphs, tasks))


def test_gradients_of_rows_are_those_of_each_graph():
    rows, graphs, tasks = drawn(12, 2)
    z = np.random.default_rng(0).normal(size=(12, 3, a.MOST, 3)).astype(np.float32)
    y = np.random.default_rng(1).integers(0, 3, (12, a.MOST)).astype(np.int8)
    by_delay, by_label, rng = np.empty_like(z), np.empty_like(z), np.random.default_rng(5)
    a.delay_gradient_rows(rows, z, 2, np.random.default_rng(5), by_delay)
    a.imitation_gradient_rows(rows.n, z, y, 0.1, by_label)
    for b, (g, t) in enumerate(zip(graphs, tasks)):
        logits = np.ascontiguousarray(z[b : b + 1, :, : g.n])
        one, two = np.empty_like(logits), np.empty_like(logits)
        delay_gradient(g.n, g.first, g.source, t, logits, 2, rng, one)
        imitation_gradient(logits, y[b : b + 1, : g.n], 0.1, two)
        for whole, part in ((by_delay[b], one[0]), (by_label[b], two[0])):
            assert np.allclose(whole[:, : g.n] * 12, part, atol=1e-6) and not whole[:, g.n :].any()


def test_training_helps_on_graphs_never_seen_and_a_seed_gives_the_same_weights():
    sizes = dict(imitation_steps=150, delay_steps=150, labels=3000, batch=128)
    small = replace(a.ANY, hidden=(48, 32), hypotheses=4, **sizes)
    (model, curve), (again, _) = a.fit_any(small, 0), a.fit_any(small, 0)
    assert all(np.array_equal(v, w) for v, w in zip(model.weights, again.weights))
    assert [e["stage"] for e in curve] == ["imitation", "delay"]
    untrained, _ = a.fit_any(replace(small, imitation_steps=1, delay_steps=0), 0)
    for graph in (random_graph(9, 1), dag(), chain()):
        tasks = sample_tasks(graph, 300, np.random.default_rng(3))
        proposals = [a.propose_any(m, graph, tasks) for m in (model, untrained)]
        assert proposals[0].shape == (300, 4, graph.n)
        trained, start = (improve(graph, tasks, x, 16)[1].mean() for x in proposals)
        assert trained < start


def test_bad_requests():
    with pytest.raises(ValueError, match="graph 'fusion': 20 subtasks, expected at most 12"):
        a.pad(fusion(), np.ones((1, fusion().n_features)))
    long = TaskGraph("long", 6, ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (1, 6), (5, 6), (6, 7)))
    with pytest.raises(ValueError, match=r"graph 'long': edge \(1, 6\) spans more than 4 nodes"):
        a.pad(long, np.ones((1, long.n_features)))
    bad = sample_tasks(dag(), 1, np.random.default_rng(0))
    bad[0, 3] = np.nan
    with pytest.raises(ValueError, match="w_4 = nan"):
        a.pad(dag(), bad)
    other = open_model(ROOT / "data" / "models" / "student_dag_0.npz")
    with pytest.raises(ValueError, match="trained for 'dag', expected 'any'"):
        a.propose_any(other, dag(), np.ones((1, 33)))
