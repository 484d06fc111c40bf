"""Cuts of the topological order against all of them, minimum cuts against all divisions."""

from itertools import product

import numpy as np
import pytest

from anygraph.families import TRAINING_FAMILIES, draw
from experiments.baselines import placements_of
from experiments.baselines.min_cut import min_cut
from experiments.oracles import ROUTE, reference_delay, unpack
from kd_offload.delay import delay
from kd_offload.graphs import chain, dag, random_graph
from kd_offload.tasks import sample_tasks


def awkward(graph, rng):
    """A task whose quantities differ by powers of ten."""
    return sample_tasks(graph, 1, rng)[0] * 10 ** rng.uniform(-2, 2, graph.n_features)


def total(graph, task, x):
    """Sum of all execution and transfer times of a placement, s."""
    cycles, size, speed, rate, tau = unpack(graph.n, graph.edges, task)
    location = [0, *map(int, x), 0]
    execution = sum(cycles[j] / speed[location[j]] for j in range(1, graph.n + 1))
    transfers = 0.0
    for i, j in graph.edges:
        for link in ROUTE[location[i], location[j]]:
            transfers += size[i, j] / rate[link] + tau[link]
    return execution + transfers


@pytest.mark.parametrize("family", TRAINING_FAMILIES)
@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_split_is_the_best_of_all_cuts(family, n):
    rng = np.random.default_rng(n)
    graph = draw(family, n, rng)
    cuts = [[0] * a + [1] * (b - a) + [2] * (n - b) for b in range(n + 1) for a in range(b + 1)]
    for task in [awkward(graph, rng) for _ in range(8)]:
        (x,) = placements_of("split", graph, task[None])
        delays = [reference_delay(n, graph.edges, task, cut) for cut in cuts]
        assert delays[cuts.index(x.tolist())] == pytest.approx(min(delays), rel=1e-12)


def test_equal_cuts_go_to_the_first():
    """Free transfers and equal speeds: on a chain all cuts are the same."""
    task = np.array([1e8] * 4 + [0.0] * 5 + [1e9] * 3 + [1e6] * 3 + [0.0] * 2)
    assert placements_of("split", chain(4), task[None]).tolist() == [[2, 2, 2, 2]]


def test_min_cut_is_the_better_of_the_least_sums():
    rng = np.random.default_rng(2)
    for n in (1, 2, 4, 6, 7) * 6:
        graph = random_graph(n, int(rng.integers(20)))
        task = awkward(graph, rng)
        sums, delays = {}, {}
        for k in (1, 2):
            divisions = list(product((0, k), repeat=n))
            best = min(divisions, key=lambda x: total(graph, task, x))
            sums[k], delays[k] = total(graph, task, best), delay(graph, task, best)
        (x,) = min_cut(graph, task)
        assert delay(graph, task, x) == pytest.approx(min(delays.values()), rel=1e-9)
        possible = [sums[k] for k in (1, 2) if set(x.tolist()) <= {0, k}]
        assert any(total(graph, task, x) == pytest.approx(s, rel=1e-9) for s in possible)
    with pytest.raises(ValueError, match="tau_wan = nan"):
        min_cut(dag(), [*[1.0] * (dag().n_features - 1), np.nan])
