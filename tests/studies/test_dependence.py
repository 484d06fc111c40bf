"""Chains and independent networks of several sizes, and two subtasks that must go together."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.run import Run, load
from experiments.scenarios import scenario
from experiments.studies import dependence
from kd_offload.delay import delay
from kd_offload.distill import PLAIN, fit
from kd_offload.labels import Labelled
from kd_offload.model import decide, logits

SMALL = ((8, 0), (4, 2))


@pytest.fixture
def small(tiny, monkeypatch) -> Run:
    """The tiny run with fewer sizes, and one process to measure times in."""
    monkeypatch.setattr(dependence, "SIZES", SMALL)
    monkeypatch.setattr(dependence, "SHOWN", ("dag",))
    return Run(replace(tiny.profile, processes=1), tiny.out)


def test_the_table_has_every_network_with_its_own_regret(small):
    table = dependence.dependence(small)
    sizes = {("8-8", 0, "independent"), ("4-4", 2, "chain")}
    assert {*zip(table.hidden, table.units, table.dependence)} == sizes
    assert len(table) == 2 * len(small.profile.dependence_seeds) and (table.time_us > 0).all()
    graph, test = scenario("dag").graph, load(small, "dag", "test")
    models = [m for size in SMALL for m in dependence.train(small, "dag", *size)]  # once more
    table = table.set_index(["units", "seed"])
    for model in models:
        row = table.loc[model.units, model.seed]
        regret = delay(graph, test.tasks, decide(model, graph, test.tasks)) / test.delays - 1
        assert row.regret_mean == pytest.approx(regret.mean(), rel=1e-12)
        assert row.regret_p99 == pytest.approx(np.quantile(regret, 0.99))
        assert (row.parameters, row.macs) == (model.parameters, model.macs)


def test_a_timed_loop_decides_as_the_network_does(small):
    graph, tasks = scenario("dag").graph, load(small, "dag", "test").tasks
    for width, units in SMALL:
        for model in dependence.train(small, "dag", width, units):
            placements = dependence._loop(model)(tasks)
            assert (placements == decide(model, graph, tasks)).all(1).mean() > 0.98


def test_the_torn_pair_is_one_that_only_the_independent_network_tears(tiny):
    """Networks that know the labels, but for one that the independent one gets wrong."""
    graph, test = scenario("dag").graph, load(tiny, "dag", "test")
    some = Labelled(*(part[:60] for part in test))
    recipe = replace(PLAIN, hidden=(64, 64), learning_rate=5e-3, steps=400, batch=60)
    alone, chain = (
        fit(replace(recipe, units=units, steps=steps), graph, some, some, [0]).models[0]
        for units, steps in ((0, 60), (8, 400))
    )
    table = dependence.linked_labels(graph, some, alone, chain)
    s, i, j = table.task[0], table["first"][0] - 1, table["second"][0] - 1
    optimum, guess = some.placements[s], decide(alone, graph, some.tasks[s])
    assert (i + 1, j + 1) in graph.edges and optimum[i] == optimum[j] == table.first_at[0]
    assert (decide(chain, graph, some.tasks[s]) == optimum).all()
    assert (guess != optimum).sum() == 1 and guess[i] != guess[j]
    for row in table.itertuples():
        placement = optimum.copy()
        placement[[i, j]] = row.first_at, row.second_at
        assert row.delay_ms == pytest.approx(1e3 * delay(graph, some.tasks[s], placement))
        z = logits(chain, some.tasks[[s]], placement[None])[0, j]
        expected = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        assert row.chain_second == pytest.approx(expected[row.second_at], rel=1e-5)
    assert table.delay_ms[0] == pytest.approx(1e3 * some.delays[s])
    assert table.chain_first[0] == table.chain_first[1] and table.alone_second[0] != 0
    with pytest.raises(ValueError, match="no task of 'dag'"):
        dependence.linked_labels(graph, some, chain, chain)
