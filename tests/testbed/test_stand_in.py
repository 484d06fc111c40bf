"""A task graph stands in the testbed as parts that carry its bytes and take its cycles."""

import numpy as np

from anygraph.split import read_manifest, run_parts
from experiments.testbed.stand_in import sessions, write_stand_in
from kd_offload.delay import delay
from kd_offload.graphs import TaskGraph
from kd_offload.tasks import sample_tasks

GRAPH = TaskGraph("diamond", 4, ((0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (0, 3), (4, 5)))
NAMES = ["first", "left", "right", "last"]
PLACEMENT = np.array([0, 1, 2, 0])


def one_task() -> np.ndarray:
    return sample_tasks(GRAPH, 1, np.random.default_rng(3))[0]


def test_parts_are_the_graph_and_carry_its_bytes(tmp_path):
    task = one_task()
    write_stand_in(GRAPH, NAMES, task, PLACEMENT, tmp_path)
    manifest = read_manifest(tmp_path)
    found = manifest.as_task()
    assert found.graph.edges == GRAPH.edges and found.placement.tolist() == PLACEMENT.tolist()
    assert np.allclose(found.workload, task[: GRAPH.n + 7], rtol=0, atol=0.5)
    rounded = np.rint(task[GRAPH.n : GRAPH.n + 7]).astype(int)
    sizes = dict(zip(GRAPH.edges, rounded))
    rng = np.random.default_rng(0)
    inputs = {f"from_0_to_{j}": rng.integers(0, 256, sizes[0, j], dtype=np.uint8) for j in (1, 3)}
    values = run_parts(tmp_path, manifest, inputs)
    for (i, j), size in sizes.items():
        assert values[f"from_{i}_to_{j}"].shape == (size,)
    repeated = np.resize(values["from_0_to_1"], sizes[1, 2])
    assert np.array_equal(values["from_1_to_2"], repeated)
    joined = np.concatenate([values["from_0_to_3"], values["from_1_to_3"]])  # in the graph's order
    assert np.array_equal(values["from_3_to_4"], np.resize(joined, sizes[3, 4]))


def test_it_runs_in_three_processes_in_about_the_time_predicted():
    task = one_task()
    table = sessions(GRAPH, NAMES, task[None], {"mine": PLACEMENT[None]}, 1)
    (row,) = table.to_dict("records")
    assert row["policy"] == "mine" and row["difference"] == 0
    rounded = task.copy()
    rounded[GRAPH.n : GRAPH.n + 7] = np.rint(task[GRAPH.n : GRAPH.n + 7])
    predicted = 1e3 * delay(GRAPH, rounded, PLACEMENT)
    assert np.isclose(row["predicted_ms"], predicted)
    assert 0.98 * predicted < row["measured_ms"] < 3 * predicted
