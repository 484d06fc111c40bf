"""Graphs, scenarios, real networks and sampling: structure, known counts, and clear refusals."""

import numpy as np
import pytest

from experiments.scenarios import RANDOM, TRAINED, scenario
from experiments.scenarios.networks import BUILDERS, BYTES_PER_VALUE, CYCLES_PER_FLOP, cut
from kd_offload.graphs import TaskGraph, chain, dag, fusion, random_graph
from kd_offload.tasks import MBIT, Ranges, check_tasks, feature_names, sample_tasks


def test_named_graphs_have_the_stated_size():
    assert (dag().n, len(dag().edges)) == (10, 15)
    assert (fusion().n, len(fusion().edges)) == (20, 30)
    assert (
        fusion().edges.count((17, 19)) == 1
        and (0, 2) in fusion().edges
        and (12, 16) in fusion().edges
    )
    assert chain().edges == tuple((i, i + 1) for i in range(11))
    assert sorted(dag().edges, key=lambda e: (e[1], e[0])) == list(dag().edges)


@pytest.mark.parametrize("name", [*TRAINED, *RANDOM])
def test_predecessor_lists_are_the_edges(name):
    g = scenario(name).graph
    listed = [
        (int(g.source[e]), j) for j in range(1, g.n + 2) for e in range(g.first[j], g.first[j + 1])
    ]
    assert listed == list(g.edges)
    assert len(feature_names(g)) == g.n_features


def test_random_graphs_are_reproducible_and_differ():
    assert random_graph(12, 3) == random_graph(12, 3)
    assert len({random_graph(12, i).edges for i in range(10)}) == 10
    assert all(
        1 <= sum(j == v for _, j in g.edges) <= 3 for g in [random_graph(24)] for v in range(1, 25)
    )
    with pytest.raises(ValueError, match="n must be 1 to 128, got 129"):
        random_graph(random_graph(128).n + 1)


@pytest.mark.parametrize(
    "n, edges, text",
    [
        (2, [(0, 1), (1, 2), (2, 1), (2, 3)], r"edge .* = \(2, 1\), expected .* topologically"),
        (1, [(0, 1), (0, 1), (1, 2)], r"edge \(0, 1\) appears twice"),
        (1, [(0, 1), (1, 5)], r"edge .* = \(1, 5\), expected 0 <= i < j <= 2"),
        (2, [(0, 1), (1, 3)], "subtask 2 lacks"),
        (1, [(0, 1), (1, 2), (0, 2)], "joins source and sink"),
        (0, [], "n must be a positive integer, got 0"),
    ],
)
def test_bad_graphs_are_refused_by_name(n, edges, text):
    with pytest.raises(ValueError, match=text) as error:
        TaskGraph("mine", n, tuple(edges))
    assert "'mine'" in str(error.value)


# FLOPs of one forward pass at 224 x 224, twice the GMACs published with torchvision's models.
PUBLISHED_GFLOP = {
    "alexnet": 2 * 0.71,
    "vgg16": 2 * 15.47,
    "resnet18": 2 * 1.81,
    "mobilenetv2": 2 * 0.30,
}


@pytest.mark.parametrize("name", BUILDERS)
def test_networks_have_published_cost(name):
    graph, load = cut(name)
    assert 8 <= graph.n <= 14 and (load > 0).all()
    if name in PUBLISHED_GFLOP:
        assert load[: graph.n].sum() / CYCLES_PER_FLOP / 1e9 == pytest.approx(
            PUBLISHED_GFLOP[name], rel=0.02
        )
    assert load[graph.n] == 3 * 224 * 224 * BYTES_PER_VALUE  # the image
    assert load[-1] == 1000 * BYTES_PER_VALUE  # the classes


def test_inception_has_parallel_branches():
    graph, _ = cut("inception")
    assert max(sum(i == v for i, _ in graph.edges) for v in range(graph.n + 1)) == 4


def test_samples_lie_in_their_ranges_and_follow_the_generator():
    g, r = dag(), Ranges()
    t = sample_tasks(g, 5000, np.random.default_rng(1))
    assert np.array_equal(t, sample_tasks(g, 5000, np.random.default_rng(1)))
    logs = np.log(t)
    assert (t[:, :10] >= r.cycles[0]).all() and (t[:, :10] <= r.cycles[1]).all()
    assert logs[:, 0].mean() == pytest.approx(np.log(r.cycles).mean(), abs=0.1)
    ratio = t[:, -4] / t[:, -5]
    assert ratio.min() >= 1 and ratio.max() <= 3
    assert t[:, -3].max() <= 100 * MBIT
    _, load = cut("alexnet")
    fixed = sample_tasks(cut("alexnet")[0], 3, np.random.default_rng(1), workload=load)
    assert (fixed[:, : len(load)] == load).all() and len(np.unique(fixed[:, -1])) == 3


@pytest.mark.parametrize(
    "index, value, text",
    [
        (0, -1.0, "w_1 = -1.0 cycles"),
        (12, np.nan, "d_1_3 = nan bytes"),
        (-5, -8.0, r"B_up = -8.0 bytes/s"),
        (-8, 0.0, r"f_0 = 0.0 cycles/s"),
        (-1, np.inf, "tau_wan = inf s"),
    ],
)
def test_bad_tasks_are_refused_by_field_and_value(index, value, text):
    t = sample_tasks(dag(), 3, np.random.default_rng(0))
    t[1, index] = value
    with pytest.raises(ValueError, match=text):
        check_tasks(dag(), t)


def test_zeros_are_allowed_where_they_mean_something():
    t = sample_tasks(dag(), 2, np.random.default_rng(0))
    t[:, :25] = 0
    t[:, -2:] = 0
    assert check_tasks(dag(), t) is not None
    with pytest.raises(ValueError, match=r"w_1 = 0\.0 cycles"):
        check_tasks(dag(), t, positive=True)
    with pytest.raises(ValueError, match=r"shape \(32,\), expected \(..., 33\)"):
        check_tasks(dag(), np.ones(32))
    with pytest.raises(ValueError, match="not numeric"):
        check_tasks(dag(), ["a"] * 33)


@pytest.mark.parametrize(
    "name", ["dga", "random_", "random_x", "random_1_2_3", "networks_lenet", ""]
)
def test_unknown_scenarios_are_refused(name):
    with pytest.raises(ValueError, match=f"scenario: '{name}'"):
        scenario(name)


def test_a_range_must_be_ordered_and_positive():
    with pytest.raises(ValueError, match="range B_up"):
        Ranges(B_up=(5.0, 1.0))
