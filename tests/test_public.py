"""Public graphs: a folder's files are read, sorted by name; contests on them are sound."""

import json

import nbformat
import numpy as np
import pytest

from anygraph import GraphNetwork, save_network
from anygraph.decision import LAST_NODES
from anygraph.graph_files import Reading
from anygraph.training import first_weights
from experiments import parallel, public
from experiments.baselines import ANY
from experiments.oracles import reference_delay
from experiments.profiles import PAPER
from experiments.public import graphs_of
from experiments.run import ROOT
from experiments.studies.contest import LAST_EFFORT
from kd_offload.labels import solve
from kd_offload.tasks import STATE

ONE = json.dumps({"tasks": [{"name": "a", "cost": 1}], "dependencies": []})


def test_a_folder_is_read_by_name(tmp_path):
    for path in ("b.json", "set/c/graph.json", "set/a.JSON", ".git/hidden.json"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(ONE)
    (tmp_path / "LICENSE").write_text("free")
    (tmp_path / "d.dot").write_text("digraph { x [cycles=5] }")
    files = graphs_of(tmp_path)
    assert [file.graph.name for file in files] == ["a", "b", "c", "d"]
    assert [file.cycles.tolist() for file in files] == [[1e8], [1e8], [1e8], [5]]
    assert graphs_of(str(tmp_path), Reading(cycles_per_cost=3.0))[0].cycles.tolist() == [3]


def test_nothing_a_clash_and_a_broken_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no file of .json, .dot, .gv in it"):
        graphs_of(tmp_path)
    (tmp_path / "a.json").write_text(ONE)
    (tmp_path / "a.gv").write_text("digraph { x [cycles=5] }")
    with pytest.raises(ValueError, match=r"a\.gv and .*a\.json are both named 'a'"):
        graphs_of(tmp_path)
    (tmp_path / "a.gv").write_text("digraph {")
    with pytest.raises(ValueError, match=r"a\.gv': not DOT, or cut off"):
        graphs_of(tmp_path)


FORK = {
    "tasks": [{"name": name, "cost": cost} for name, cost in zip("abcd", (3, 5, 2, 9))],
    "dependencies": [
        {"source": "a", "target": "b", "size": 4},
        {"source": "a", "target": "c", "size": 1},
        {"source": "b", "target": "d", "size": 2},
        {"source": "c", "target": "d", "size": 7},
    ],
}


def test_results_and_solutions_are_sound(fresh, tmp_path, monkeypatch):
    """Regrets by an independent delay model against the optimum, of graphs this small proven."""
    for seed in fresh.profile.any_seeds:
        flat = first_weights(8, 4, np.random.default_rng(seed))
        save_network(GraphNetwork(ANY, seed, 8, 4, flat), fresh.model_path(ANY, "", seed))
    monkeypatch.setattr(parallel, "workers", lambda: 1)
    monkeypatch.setattr(
        public, "in_fresh_processes", lambda function, *rest, what: [function(0, *rest)] * 2
    )
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "fork.json").write_text(json.dumps(FORK))
    (folder / "one.json").write_text(ONE)
    files = graphs_of(folder)
    results, solutions = public.public_graphs(fresh, "set", files)
    assert not results.policy.isin(public.SEARCH_ONLY).any() and (results.set == "set").all()
    assert not results.merged.any() and (results.n_test == fresh.profile.public_tasks).all()
    assert (results.regret_max >= results.regret_mean).all() and (results.mean_us > 0).all()
    assert len(solutions) == 2 * fresh.profile.public_tasks and solutions.proven.all()
    for file, (_, own) in zip(files, solutions.groupby("graph")):
        tasks = public.public_case(fresh, file)
        optima = solve(file.graph, tasks).delays
        assert own.digest.unique().tolist() == [file.digest]
        for row, task, optimum in zip(own.itertuples(), tasks, optima):
            placement = list(map(int, row.placement))
            found = reference_delay(file.graph.n, file.graph.edges, task, placement)
            assert float(row.delay_s) == pytest.approx(found) == pytest.approx(optimum)
            assert float(row.bound_s) <= optimum * (1 + 1e-9)
            state = [float(getattr(row, quantity)) for quantity in STATE]
            assert state == task[-len(STATE) :].tolist()
    edge = results[(results.policy == "exact_400")]
    assert (edge.regret_max == 0).all() and (edge.proven_share == 1).all()


def test_the_notebook_tells_how_the_best_known_is_found_with_the_numbers_of_the_code():
    cells = nbformat.read(ROOT / "notebooks" / "10_scale.ipynb", 4).cells
    prose = " ".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert f"a beam of {public.WIDEST:,}, {public.STARTS} random placements" in prose
    assert LAST_EFFORT * LAST_NODES == 3_000_000 and prose.count("three million nodes") == 2
    assert PAPER.public_tasks == 10 and "in ten states each" in prose
