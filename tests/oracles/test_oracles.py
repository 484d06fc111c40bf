"""The oracles agree among themselves, refuse what is no task, and share no code of ours."""

import ast
import itertools
from pathlib import Path

import numpy as np
import pytest

from experiments import oracles
from experiments.studies.labels import EXTREMES, make_extreme
from kd_offload import graphs
from kd_offload.tasks import sample_tasks


@pytest.mark.parametrize("kind", EXTREMES)
def test_oracles_agree(kind):
    """All placements at once as one by one, the chain's and the search as these, CP-SAT too."""
    rng = np.random.default_rng(1)
    for graph in (graphs.random_graph(5, 7), graphs.chain(5)):
        n, edges = graph.n, list(graph.edges)
        task = make_extreme(graph, sample_tasks(graph, 1, rng)[0], kind, rng)
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


def test_oracles_import_libraries_alone():
    tree = ast.parse(Path(oracles.__file__).read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level
            found.add(node.module)
    assert found == {"__future__", "typing", "numpy", "numba", "ortools.sat.python"}
