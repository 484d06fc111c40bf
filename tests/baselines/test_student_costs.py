"""`student_costs`: the costs of next labels, by enumeration, and training on them."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.baselines.student_costs import fit_costs, next_label_costs
from experiments.studies import labels as proofs
from kd_offload import graphs
from kd_offload.delay import delay
from kd_offload.distill import TEACHER, fit
from kd_offload.labels import Labelled, solve
from kd_offload.model import decide
from kd_offload.tasks import sample_tasks


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(0, 99),
    st.integers(0, 2**32 - 1),
    st.sampled_from(proofs.EXTREMES),
)
def test_costs_of_next_labels_equal_enumeration(n, index, seed, kind):
    graph = graphs.random_graph(n, index)
    rng = np.random.default_rng(seed)
    task = proofs.make_extreme(graph, sample_tasks(graph, 1, rng)[0], kind, rng)
    every = np.array([*product(range(3), repeat=n)])
    delays = delay(graph, task, every)
    given = every[np.random.default_rng(seed).integers(len(every))]
    (costs,) = next_label_costs(graph, task, given)
    for j in range(n):
        prefix = (every[:, :j] == given[:j]).all(1)
        for k in range(3):
            expected = delays[prefix & (every[:, j] == k)].min()
            assert costs[j, k] == pytest.approx(expected, rel=1e-9)


def test_bad_requests():
    tasks = sample_tasks(graphs.dag(), 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="placement: label 3, expected"):
        next_label_costs(graphs.dag(), tasks, np.full((2, 10), 3))
    with pytest.raises(ValueError, match="labels: 1 placements, expected 2"):
        next_label_costs(graphs.dag(), tasks, np.zeros(10, int))


def test_training_on_costs_lowers_regret():
    graph = graphs.dag()
    tasks = sample_tasks(graph, 3000, np.random.default_rng(0))
    best = solve(graph, tasks)
    labelled = Labelled(tasks, best.placements, best.delays, best.nodes)

    def regret(model):
        return (delay(graph, tasks, decide(model, graph, tasks)) / best.delays - 1).mean()

    recipe = replace(TEACHER, hidden=(32,), steps=280, batch=64)
    (model,), _ = fit(recipe, graph, labelled, labelled, [0])
    recipe = replace(recipe, role="student_costs", steps=150)
    models, curves = fit_costs(recipe, labelled, labelled, [model, model])
    assert [len(curve) for curve in curves] == [20, 20]
    assert regret(models[0]) < 0.9 * regret(model)
    assert models[0].role == "student_costs" and models[0].seed == 0
    wrong = labelled._replace(placements=labelled.placements + 3)
    with pytest.raises(ValueError, match=r"placement: label [345], expected"):
        fit_costs(recipe, wrong, labelled, [model])
