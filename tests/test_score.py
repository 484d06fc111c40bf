"""A policy of one's own is scored beside the others, against exact optima."""

import json

import numpy as np
import pandas as pd
import pytest

from experiments import score
from experiments.oracles import reference_delay
from experiments.public import graphs_of, public_case
from experiments.run import load, save_table
from experiments.scenarios import scenario
from kd_offload.labels import solve

EDGE = (
    "import numpy as np\ndef policy(graph, tasks):\n    return np.ones((len(tasks), graph.n), int)"
)


@pytest.fixture
def edge(tmp_path):
    (tmp_path / "mine.py").write_text(EDGE)
    return score.open_policy(tmp_path / "mine.py")


def test_all_are_compared_on_the_same_tasks(fresh, tiny, edge):
    table = score.compared(fresh, tiny, edge, "dag").set_index("policy")
    graph, test = scenario("dag").graph, load(fresh, "dag", "test")
    regrets = [
        reference_delay(graph.n, graph.edges, task, [1] * graph.n) / best - 1
        for task, best in zip(test.tasks, test.delays)
    ]
    assert table.index[0] == "yours" and {"student", "anygraph", "lookahead"} <= {*table.index}
    assert table.regret["yours"] == pytest.approx(np.mean(regrets)) == table.regret["all_edge"]
    assert (table.low <= table.regret).all() and (table.regret <= table.high).all()
    assert table.difference["all_edge"] == pytest.approx(0)
    assert table.verdict["all_edge"] == "not significantly different"
    assert table.verdict["exact"] == "yours is significantly worse"
    best = score.compared(fresh, tiny, lambda g, t: solve(g, t).placements, "dag")
    best = best.set_index("policy")
    assert best.verdict["all_edge"] == "yours is significantly better"
    assert best.regret["yours"] == pytest.approx(0)


def test_public_graphs_count_where_name_and_digest_agree(fresh, edge, tmp_path):
    folder = tmp_path / "graphs"
    folder.mkdir()
    for name in ("one", "two"):
        tasks = [{"name": "a", "cost": 1}, {"name": "b", "cost": 1 + len(name)}]
        dependencies = [{"source": "a", "target": "b", "size": 1}]
        text = json.dumps({"tasks": tasks, "dependencies": dependencies, "name": name})
        (folder / f"{name}.json").write_text(text)
    rows, regrets = [], []
    for file in graphs_of(folder):
        tasks = public_case(fresh, file)
        best = solve(file.graph, tasks).delays
        digest = file.digest if file.graph.name == "one" else "another"
        about = {"set": "set", "graph": file.graph.name, "digest": digest}
        rows += [about | {"state": s, "delay_s": repr(d)} for s, d in enumerate(best.tolist())]
        if file.graph.name == "one":
            found = [reference_delay(2, file.graph.edges, task, [1, 1]) for task in tasks]
            regrets.append(np.mean(found / best - 1))
    save_table(fresh, "public_solutions", pd.DataFrame(rows))
    others = [("one", "beam_8", 0.01), ("two", "beam_8", 0.5), ("one", "anygraph", 0.001)]
    others = pd.DataFrame(others, columns=["graph", "policy", "regret_mean"])
    save_table(fresh, "public_graphs", others)
    table, count = score.on_public_graphs(fresh, edge, folder)
    assert count == 1 and table.policy.tolist() == ["yours", "anygraph", "beam_8"]
    assert table.regret.tolist() == [pytest.approx(np.mean(regrets), rel=1e-5), 0.001, 0.01]


@pytest.mark.parametrize("text", ["x = 1", "policy = 3"])
def test_a_file_without_a_policy_is_refused(tmp_path, text):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ValueError, match=r"mine\.py: it has no function policy"):
        score.open_policy(tmp_path / "mine.py")
    with pytest.raises(ValueError, match=r"none\.py: no such Python file"):
        score.open_policy(tmp_path / "none.py")


def test_a_wrong_shape_names_the_policy(fresh, tiny):
    with pytest.raises(ValueError, match="policy 'yours': returned shape"):
        score.compared(fresh, tiny, lambda graph, tasks: np.zeros(3), "dag")
