"""Networks operator by operator: known counts, a network by hand, merges that make no cycle."""

from math import prod

import networkx as nx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from anygraph import operators
from anygraph.operators import CYCLES_PER_FLOP, ELEMENTWISE, FILES, Part, cut, merged
from experiments.scenarios import TRAINED, scenario
from kd_offload.tasks import check_tasks, sample_tasks

# Subtasks, and 1e9 multiply-adds: of ResNet-50, VGG-19, DenseNet-121, SqueezeNet 1.1 and Inception
# v1 as torchvision's documentation gives them; of Inception v2 and ShuffleNet (three groups) as
# usually quoted; of AlexNet and ZFNet from their layers' sizes by hand.
KNOWN = {
    "alexnet": (11, 0.655), "zfnet": (11, 1.482), "vgg19": (24, 19.63),
    "squeezenet": (38, 0.35), "inception_v1": (81, 1.5), "inception_v2": (93, 2.0),
    "resnet50": (72, 4.09), "shufflenet": (87, 0.137), "densenet121": (128, 2.83),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_networks_are_scenarios_of_their_known_size_and_not_trained_on(name):
    graph, group, workload = scenario(f"operators_{name}")
    n, giga = KNOWN[name]
    assert graph.n == n and group == "operators" and graph.name not in TRAINED
    task = sample_tasks(graph, 1, np.random.default_rng(0), workload=workload)
    check_tasks(graph, task)
    assert workload[:n].sum() / CYCLES_PER_FLOP / 2e9 == pytest.approx(giga, rel=0.06)
    image, classes = workload[n + [e[0] for e in graph.edges].index(0)], workload[-1]
    assert (image, classes) == (4 * 3 * 224 * 224, 4 * 1000)


def test_a_small_network_by_hand(tmp_path, monkeypatch):
    """Two branches of one image, joined; weights partly computed, one tensor used twice."""
    weights = [("w1", [4, 3, 3, 3]), ("w2", [2, 4, 1, 1]), ("b", [6])]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p"], kernel_shape=[1, 1]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"]),
        helper.make_node("Unsqueeze", ["b"], ["bias"], axes=[1, 2]),
        helper.make_node("Concat", ["p", "c2"], ["cat"], axis=1),
        helper.make_node("Add", ["cat", "bias"], ["y"]),
    ]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, 8, 8])
        for name, channels in (("x", 3), ("y", 6))
    )
    values = [helper.make_tensor(w, TensorProto.FLOAT, s, np.zeros(prod(s))) for w, s in weights]
    graph = helper.make_graph(nodes, "small", [x], [y], values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)])
    onnx.save(model, tmp_path / "light_small.onnx")
    monkeypatch.setattr(operators, "LIGHT", tmp_path)
    monkeypatch.setitem(FILES, "small", "small")
    flops = [64 * 4 * (2 * 27 + 1), 64 * 4, 64 * 2 * 2 * 4, 2 * 64 * 6]
    graph, workload = cut("small", 10)
    assert graph.edges == ((0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (4, 5))
    sizes = [4 * 64 * v for v in (3, 4, 4, 4, 2, 6)]
    assert workload.tolist() == [f / 8 for f in flops] + sizes
    # MaxPool is cheapest and joins the convolution; what it pools travels to Concat once.
    graph, workload = cut("small", 3)
    assert graph.edges == ((0, 1), (1, 2), (1, 3), (2, 3), (3, 4))
    cycles = [(flops[0] + flops[1]) / 8, flops[2] / 8, flops[3] / 8]
    assert workload.tolist() == cycles + [4 * 64 * v for v in (3, 4, 4, 2, 6)]
    cut.cache_clear()


def part(kind, takes, gives, flops=1.0):
    return Part(kind, flops, frozenset(takes), frozenset(gives))


def test_an_element_wise_operator_is_merged_where_one_operator_feeds_it():
    first = [part("Relu", "x", "a"), part("Conv", "a", "b"), part("Conv", "a", "c")]
    parts = [*first, part("Add", "bc", "d"), part("Relu", "d", "e"), part("Mul", "de", "f")]
    assert [p.gives for p in merged(parts, 9)] == [{"a"}, {"b"}, {"c"}, {"d", "e", "f"}]
    assert {"Add", "Relu", "Mul"} <= ELEMENTWISE


@pytest.mark.parametrize("seed", range(100))
def test_merges_never_make_a_cycle(seed):
    """On random graphs of operators: the parts' graph, made anew by networkx, is acyclic."""
    rng = np.random.default_rng(seed)
    n, most = rng.integers(2, 20), rng.integers(1, 20)
    takes = [rng.choice(j, rng.integers(1, min(j, 3) + 1), replace=False) for j in range(1, n + 1)]
    takes = {f"t{j}": {f"t{i}" for i in inputs} for j, inputs in enumerate(takes, start=1)}
    flops = rng.integers(1, 5, n)
    parts = merged([part("Conv", takes[t], [t], f) for t, f in zip(takes, flops)], most)
    assert len(parts) <= most or all(p.takes == {"t0"} for p in parts)
    home = {tensor: i for i, p in enumerate(parts) for tensor in p.gives}
    assert set(home) == set(takes) and sum(p.flops for p in parts) == flops.sum()
    edges = {(home[a], home[b]) for b in takes for a in takes[b] - {"t0"}}
    assert all(a <= b for a, b in edges)
    assert nx.is_directed_acyclic_graph(nx.DiGraph((a, b) for a, b in edges if a != b))
    for p in parts:  # what it takes is what its operators take, and do not make
        assert p.takes == set().union(*(takes[t] for t in p.gives)) - p.gives


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="network: 'lenet', expected one of alexnet, zfnet"):
        cut("lenet")
    with pytest.raises(ValueError, match="max_subtasks: 0, expected a positive integer"):
        cut("alexnet", 0)
