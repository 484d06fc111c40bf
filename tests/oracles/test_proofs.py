"""The proofs hold, and would say so if they did not; the oracles agree among themselves."""

import itertools

import numpy as np
import pytest

from kd_offload import graphs
from kd_offload import labels
from experiments.run import read_table
from experiments.claims.judge import PROVEN
from experiments import oracles
from experiments.studies import proofs


def test_labels_and_prices_are_proven_in_forty_tasks():
    table = proofs.prove(40, seed=7)
    assert list(table.check) == [check.check for check in proofs.plan(1)]
    assert not table.label_mismatches.any()
    few = table.check == "fusion: CP-SAT"
    assert table.tasks[~few].min() >= 40 and table.tasks[few].min() >= 10
    # CP-SAT counts in microseconds, and `by_cpsat` holds it to that.
    limit = np.where(table.check.str.contains("CP-SAT"), 1e-3, 1e-12)
    assert (table.largest_relative_deviation < limit).all()
    proven = table[table.what == "label"].scenario  # by what claim C3 asks for
    assert all(proven.str.startswith(name).any() for name in PROVEN)


def test_a_wrong_label_or_delay_is_found(monkeypatch):
    graph = graphs.random_graph(5, 1)
    tasks = proofs.mixed_tasks(graph, 30, np.random.default_rng(0))
    right = labels.solve(graph, tasks)
    assert proofs.by_enumeration(graph, tasks)[1] == 0
    wrong = right._replace(placements=(right.placements + 1).astype(np.int8) % 3)
    monkeypatch.setattr(labels, "solve", lambda *_: wrong)
    assert proofs.by_enumeration(graph, tasks)[1] == proofs.by_search(graph, tasks)[1] == 30
    assert proofs.of_regret(graph, tasks)[0] > 1e-3
    monkeypatch.setattr(labels, "solve", lambda *_: right._replace(delays=1.001 * right.delays))
    assert proofs.by_enumeration(graph, tasks)[0] == pytest.approx(0.001)
    assert proofs.by_cpsat(graph, tasks)[1] > 0


@pytest.mark.parametrize("kind", proofs.EXTREMES)
def test_oracles_agree(kind):
    """All placements at once as one by one, the chain's and the search as these, CP-SAT too."""
    rng = np.random.default_rng(1)
    for graph in (graphs.random_graph(5, 7), graphs.chain(5)):
        n, edges = graph.n, list(graph.edges)
        task = proofs.make_extreme(graph, proofs.sample_tasks(graph, 1, rng)[0], kind, rng)
        placements, delays = oracles.enumerate_all(n, edges, task)
        assert [tuple(x) for x in placements] == list(itertools.product(range(3), repeat=n))
        assert [oracles.reference_delay(n, edges, task, x) for x in placements] == list(delays)
        x, best = oracles.enumerate_best(n, edges, task)
        assert oracles.search_best(n, edges, task) == (x, best)
        found = oracles.cpsat_solve(n, edges, task)[1]
        assert best * (1 - 1e-9) <= found <= best + oracles.cpsat_error(n, edges)
    assert oracles.chain_dp(n, task) == (x, best)


def test_oracles_refuse_what_is_no_task():
    edges = list(graphs.chain(3).edges)
    with pytest.raises(ValueError, match="task: 14 entries, expected 15"):
        oracles.reference_delay(3, edges, np.ones(14), [0, 0, 0])
    with pytest.raises(ValueError, match="sorted by"):
        oracles.reference_delay(3, edges[::-1], np.ones(15), [0, 0, 0])
    with pytest.raises(ValueError, match="a placement of 3 subtasks, not 2"):
        oracles.reference_delay(3, edges, np.ones(15), [0, 0])


def test_the_command_writes_the_table_and_tells_by_its_status(fresh, monkeypatch, capsys):
    last, command = proofs.plan(2)[-1], ["--profile", "tiny", "--out", str(fresh.out)]
    for wrong in (0, 1):
        check = last._replace(cases=last.cases[:3], function=lambda *_, w=wrong: (0.0, w))
        monkeypatch.setattr(proofs, "plan", lambda tasks, check=check: [check])
        with pytest.raises(SystemExit) as end:
            proofs.main(command)
        assert end.value.code == wrong and "plain reference" in capsys.readouterr().err
        assert read_table(fresh, "proofs").label_mismatches.sum() == 3 * wrong
