"""The student for any graph: padding, kernels with a graph a row, training, and what it refuses."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_offload.any_graph import (
    ANY,
    EDGES,
    FEATURES,
    MOST,
    WINDOW,
    _absent,
    delay_gradient_rows,
    draw_many,
    fit_any,
    imitation_gradient_rows,
    pad,
    pad_rows,
    padded_names,
    padded_scaling,
    propose_any,
)
from kd_offload.config import ROOT, get_run, read_table
from kd_offload.graphs import TaskGraph, chain, dag, fusion, random_graph
from kd_offload.learning import open_model, save
from kd_offload.sampling import STATE, Ranges, feature_names, sample_tasks
from kd_offload.tuning import delay_gradient, imitation_gradient
from kd_offload.verification import improve

RANGES = Ranges()
KINDS = ["cycles", "bytes", *("down_over_up" if name == "B_down" else name for name in STATE)]


def drawn(count, seed):
    """Rows as `draw_many` fills them, each with its TaskGraph and its task vector."""
    n, first = np.empty(count, np.int64), np.zeros((count, MOST + 3), np.int64)
    source, tasks = np.zeros((count, EDGES), np.int64), np.ones((count, MOST + EDGES + 8))
    draw_many(np.log([getattr(RANGES, k) for k in KINDS]), np.random.default_rng(seed), n, first, source, tasks)
    graphs = []
    for b in range(count):
        edges = [(int(source[b, e]), j) for j in range(1, n[b] + 2) for e in range(first[b, j], first[b, j + 1])]
        graphs.append(TaskGraph(f"row_{b}", int(n[b]), tuple(edges)))
    return (n, first, source, tasks), graphs, [t[: g.n_features][None] for g, t in zip(graphs, tasks)]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 200))
def test_padding_puts_every_quantity_in_its_place(n, index):
    graph = random_graph(n, index)
    task = sample_tasks(graph, 1, np.random.default_rng(index))
    padded, names = dict(zip(padded_names(), pad(graph, task)[0])), feature_names(graph)
    for name, value in zip(names, task[0]):
        name = f"d_{name.split('_')[1]}_sink" if name[0] == "d" and name.endswith(f"_{n + 1}") else name
        assert padded.pop(name) == value
        if name not in STATE:
            assert padded.pop(f"{name} there") == np.e
    middle = dict(zip(padded_names(), np.exp(padded_scaling()[0])))
    assert all(value == pytest.approx(1 if name.endswith("there") else middle[name]) for name, value in padded.items())


def test_rows_are_graphs_of_the_family_within_the_ranges():
    rows, graphs, tasks = drawn(300, 1)
    assert {g.n for g in graphs} == set(range(4, 13))
    for g, t in zip(graphs, tasks):
        assert all(j - i <= WINDOW for i, j in g.edges if j <= g.n)
        assert {sum(b == j for _, b in g.edges) for j in range(1, g.n + 1)} <= {1, 2, 3}
        assert (t[0, : g.n] >= 1e7).all() and (t[0, : g.n] <= 5e8).all() and t[0, -4] >= t[0, -5]
    out = np.empty((300, FEATURES))
    pad_rows(*rows, _absent(RANGES), out)
    assert all(np.array_equal(out[b], pad(g, t)[0]) for b, (g, t) in enumerate(zip(graphs, tasks)))


def test_gradients_of_rows_are_those_of_each_graph():
    rows, graphs, tasks = drawn(12, 2)
    z = np.random.default_rng(0).normal(size=(12, 3, MOST, 3)).astype(np.float32)
    y = np.random.default_rng(1).integers(0, 3, (12, MOST)).astype(np.int8)
    got, one, rng = np.empty_like(z), np.empty_like(z), np.random.default_rng(5)
    delay_gradient_rows(*rows, z, 2, np.random.default_rng(5), got)
    for b, (g, t) in enumerate(zip(graphs, tasks)):
        part = np.empty((1, 3, g.n, 3), np.float32)
        delay_gradient(g.n, g.first, g.source, t, np.ascontiguousarray(z[b : b + 1, :, : g.n]), 2, rng, part)
        assert np.allclose(got[b, :, : g.n] * 12, part[0], atol=1e-6) and not got[b, :, g.n :].any()
    imitation_gradient_rows(rows[0], z, y, 0.1, one)
    for b, g in enumerate(graphs):
        part = np.empty((1, 3, g.n, 3), np.float32)
        imitation_gradient(np.ascontiguousarray(z[b : b + 1, :, : g.n]), y[b : b + 1, : g.n], 0.1, part)
        assert np.allclose(one[b, :, : g.n] * 12, part[0], atol=1e-6) and not one[b, :, g.n :].any()


def test_training_helps_on_graphs_never_seen_and_a_seed_gives_the_same_weights(tmp_path):
    small = replace(ANY, hidden=(48, 32), hypotheses=4, imitation_steps=150, delay_steps=150, labels=3000, batch=128)
    model, curve = fit_any(small, 0)
    again, _ = fit_any(small, 0)
    assert all(np.array_equal(a, b) for a, b in zip(model.weights, again.weights))
    assert {e["stage"] for e in curve} == {"imitation", "delay"}
    untrained, _ = fit_any(replace(small, imitation_steps=1, delay_steps=0), 0)
    for graph in (random_graph(9, 1), dag(), chain()):
        tasks = sample_tasks(graph, 300, np.random.default_rng(3))
        x = propose_any(model, graph, tasks)
        assert x.shape == (300, 4, graph.n)
        trained, start = (improve(graph, tasks, propose_any(m, graph, tasks), 16)[1].mean() for m in (model, untrained))
        assert trained < start
    save(model, tmp_path / "student_any_any_0.npz")


def test_the_command_writes_its_table(tmp_path):
    command = [sys.executable, "-m", "kd_offload.full", "any_graph", "--profile", "tiny", "--out", tmp_path]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    made = read_table(get_run("tiny", str(tmp_path)), "any_graph")
    assert set(made.n_subtasks) == set(range(4, 13)) and made.groupby("n_subtasks").policy.nunique().eq(6).all()
    assert (made.regret >= -1e-9).all() and made[made.policy == "student_any, verified"].evaluations.max() <= 16
    done = subprocess.run([*command[:4], "--profile", "papper"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and "error: profile: 'papper'" in done.stderr and "Traceback" not in done.stderr


def test_bad_requests():
    with pytest.raises(ValueError, match="graph 'fusion': 20 subtasks, expected at most 12"):
        pad(fusion(), np.ones((1, fusion().n_features)))
    long = TaskGraph("long", 6, ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (1, 6), (5, 6), (6, 7)))
    with pytest.raises(ValueError, match=r"graph 'long': edge \(1, 6\) spans more than 4 nodes"):
        pad(long, np.ones((1, long.n_features)))
    bad = sample_tasks(dag(), 1, np.random.default_rng(0))
    bad[0, 3] = np.nan
    with pytest.raises(ValueError, match="w_4 = nan"):
        pad(dag(), bad)
    other = open_model(ROOT / "data" / "models" / "student_dag_0.npz")
    with pytest.raises(ValueError, match="trained for 'dag', expected 'any'"):
        propose_any(other, dag(), np.ones((1, 33)))
