"""Damage of a model's file and misuse of the core are refused by one clear error."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from kd_offload.delay import delay
from kd_offload.graphs import TaskGraph, chain, dag, fusion, random_graph
from kd_offload.labels import search, solve
from kd_offload.model import Model, Network, decide, fit_scaling, open_model, save
from kd_offload.tasks import feature_names, sample_tasks

GRAPH = dag()
TASKS = sample_tasks(GRAPH, 30, np.random.default_rng(0))


def network(graph=GRAPH, hidden=(8,), units=3):
    """A network with random weights, for a graph."""
    drawn = sample_tasks(graph, 400, np.random.default_rng(0))
    net = Network([graph.n_features, *hidden, 3 * graph.n], units)
    generator = torch.Generator().manual_seed(1)
    for parameter in net.parameters():
        parameter.data.normal_(generator=generator)
    return Model("student", graph, 0, fit_scaling(drawn), *net.arrays(0))


FUNCTIONS = {
    "decide": lambda t: decide(network(), GRAPH, t),
    "solve": lambda t: solve(GRAPH, t),
    "search": lambda t: search(GRAPH, t, 1000),
    "delay": lambda t: delay(GRAPH, t, np.zeros((len(t), 10), int)),
}
SHUFFLED = pd.DataFrame(TASKS, columns=feature_names(GRAPH)).iloc[:, ::-1]
ODD = {
    "no tasks": TASKS[:0],
    "three dimensions": TASKS.reshape(2, 15, 33),
    "masked": np.ma.masked_array(TASKS, TASKS > 1e8),
    "complex": TASKS + 1e5j,
    "text": TASKS.astype(str),
    "objects": TASKS.astype(object),
    "shuffled columns": SHUFFLED,
    "unnamed columns": pd.DataFrame(TASKS),
    "ragged": [[1.0], [1.0, 2.0]],
    "narrow": TASKS[:, 1:],
    "nan": np.where(np.arange(33) == 3, np.nan, TASKS),
    "infinite": np.where(np.arange(33) == 30, np.inf, TASKS),
    "negative": -TASKS,
    "a delay that overflows": np.where(np.arange(33) < 25, 1e300, TASKS * 1e-150),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.filterwarnings("ignore:task. .* lies outside the training range")
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_odd_tasks_are_refused(name, odd):
    if odd == "a delay that overflows" and name == "decide":
        pytest.skip("the delay model is not asked")
    with pytest.raises(ValueError, match=r"^(task|delay|values)"):
        FUNCTIONS[name](ODD[odd])


def test_a_data_frame_in_order_is_as_good_as_an_array():
    frame = pd.DataFrame(TASKS, columns=feature_names(GRAPH))
    assert np.array_equal(solve(GRAPH, frame).placements, solve(GRAPH, TASKS).placements)
    wrong = pd.DataFrame(np.zeros((30, 10), int), columns=[f"x_{i}" for i in range(10, 0, -1)])
    with pytest.raises(ValueError, match="placement: columns x_10, x_9"):
        delay(GRAPH, TASKS, wrong)
    with pytest.raises(ValueError, match="placement: not numeric"):
        delay(GRAPH, TASKS, np.ma.masked_array(np.zeros((30, 10), int), True))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: search(GRAPH, TASKS, 0), "node_budget: 0"),
        (lambda: search(GRAPH, TASKS, 10**30), "node_budget: 1"),
        (lambda: sample_tasks(GRAPH, 0, np.random.default_rng(0)), "count: 0"),
        (lambda: sample_tasks(GRAPH, 10**20, np.random.default_rng(0)), "count: 1"),
        (lambda: chain(10**20), "chain: n must be"),
        (lambda: chain(2.5), "chain: n must be"),
        (lambda: random_graph(2.5), "random graph: n must be"),
        (lambda: TaskGraph("g", 10**20, [(0, 1), (1, 2)]), "graph 'g': subtask 2 lacks"),
        (lambda: TaskGraph("g", 1, [(0, np.nan), (1, 2)]), "is not a pair of node numbers"),
        (lambda: TaskGraph("g", 1, [(0, np.inf), (1, 2)]), "is not a pair of node numbers"),
        (lambda: TaskGraph("g", 1, [(0, "1"), (1, 2)]), "is not a pair of node numbers"),
        (lambda: TaskGraph("g", 1, [(0, 1.5), (1, 2)]), "is not a pair of node numbers"),
        (lambda: save(network(), Path("m.bin")), "model: m.bin, expected a name that ends"),
    ],
)
def test_odd_requests_are_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_edges_may_come_from_a_generator():
    assert TaskGraph("dag", 10, (edge for edge in GRAPH.edges)) == GRAPH


def edited(path, **changes):
    """The arrays of a model's file, some changed or, with None, left out."""
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files} | changes
    np.savez(path, **{key: a for key, a in arrays.items() if a is not None})


def test_a_model_brings_its_graph(tmp_path):
    """Its edges, not its name, say what it is for."""
    path, model = tmp_path / "m.npz", network()
    save(model, path)
    again = open_model(path)
    assert again.graph == GRAPH and np.array_equal(again.weights[0], model.weights[0])
    first = path.read_bytes()
    save(model, path)
    assert path.read_bytes() == first
    same_name = TaskGraph("dag", 10, (*GRAPH.edges[:-1][:10], (5, 8), *GRAPH.edges[11:]))
    assert same_name.n_features == GRAPH.n_features
    with pytest.raises(ValueError, match="model: trained for another graph called 'dag'"):
        decide(again, same_name, TASKS)
    with pytest.raises(ValueError, match="model: trained for 'dag', asked to decide for 'fu"):
        decide(again, fusion(), TASKS)


def nan(array):
    out = np.array(array, copy=True)
    out.flat[1] = np.nan
    return out


BROKEN = {
    "nan weight": lambda m: {"weight_0": nan(m.weights[0])},
    "nan bias": lambda m: {"bias_1": nan(m.biases[1])},
    "infinite mean": lambda m: {"mean": m.scaling.mean + np.inf},
    "no deviation": lambda m: {"deviation": m.scaling.deviation * 0},
    "crossed range": lambda m: {"low": m.scaling.high + 1},
    "short layer": lambda m: {"weight_1": m.weights[1][:-1]},
    "short bias": lambda m: {"bias_0": m.biases[0][:-1]},
    "doubled layer": lambda m: {
        "weight_1": np.hstack([m.weights[1]] * 2),
        "bias_1": np.hstack([m.biases[1]] * 2),
    },
    "fewer inputs": lambda m: {"mean": m.scaling.mean[1:]},
    "other type": lambda m: {"weight_0": m.weights[0].astype(np.float64)},
    "other edges": lambda m: {"edges": np.array(fusion().edges)},
    "cycle": lambda m: {"edges": np.array([(1, 2), (2, 1)])},
    "no edges": lambda m: {"edges": np.zeros((0, 2), int)},
    "no seed": lambda m: {"seed": "x"},
    "lacking edges": lambda m: {"edges": None},
    "lacking layer": lambda m: {"bias_1": None},
    "lacking chain entry": lambda m: {"chain_entry": None},
    "short chain": lambda m: {"chain_bias": m.chain.bias[:-1]},
    "no units": lambda m: {
        "chain_entry": m.chain.entry[..., :0],
        "chain_given": m.chain.given[..., :0],
        "chain_bias": m.chain.bias[:, :0],
        "chain_exit": m.chain.exit[:, :0],
    },
    "labels not yet given": lambda m: {"chain_given": m.chain.given + np.float32(1)},
    "other format": lambda m: {"format": "kd_offload 1"},
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_damaged_model_is_refused(damage, tmp_path):
    save(network(), tmp_path / "m.npz")
    edited(tmp_path / "m.npz", **BROKEN[damage](network()))
    with pytest.raises(ValueError, match=r"model: .*m\.npz (is|has)"):
        open_model(tmp_path / "m.npz")


def test_a_truncated_model_is_refused(tmp_path):
    path = tmp_path / "m.npz"
    save(network(), path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"m\.npz is missing, truncated or altered"):
        open_model(path)
