"""The example is what the text says, and its schedule ends with its delay."""

import numpy as np

from experiments.baselines import placements_of
from experiments.scenarios import RANDOM, TRAINED
from experiments.studies import problem
from kd_offload.delay import delay
from kd_offload.graphs import dag
from kd_offload.labels import solve
from kd_offload.tasks import sample_tasks

GRAPH = dag()
TASKS = sample_tasks(GRAPH, 300, np.random.default_rng(2020))


def test_the_example_uses_all_locations_and_beats_the_best_single_one():
    chosen = problem.choose_example(GRAPH, TASKS)
    optimum = solve(GRAPH, TASKS[chosen])
    single = placements_of("best_single", GRAPH, TASKS[chosen])
    assert {*optimum.placements[0]} == {0, 1, 2}
    assert delay(GRAPH, TASKS[chosen], single[0]) > 1.2 * optimum.delays[0]
    assert problem.choose_example(GRAPH, TASKS[:chosen]) == 0  # no earlier one does


def test_a_schedule_ends_with_the_delay_and_overlaps_nowhere():
    policies = ["exact", "best_single", "greedy"]
    events = problem.example_schedule(GRAPH, TASKS[0], policies)
    assert events.policy.unique().tolist() == policies
    for policy, part in events.groupby("policy"):
        placement = placements_of(policy, GRAPH, TASKS[0])[0]
        assert np.allclose(part.delay_ms, 1e3 * delay(GRAPH, TASKS[0], placement))
        assert part.what.iloc[-1] == "result" and part.end_ms.iloc[-1] == part.delay_ms.iloc[0]
        for resource, uses in part[part.what != "result"].groupby("resource"):
            if resource != "cloud":
                assert (uses.start_ms.iloc[1:].to_numpy() >= uses.end_ms.iloc[:-1] - 1e-9).all()


def test_every_scenario_is_listed():
    table = problem.scenarios().set_index("scenario")
    assert table.index.tolist() == [*TRAINED, *RANDOM]
    assert table.placements["dag"] == 59049 and table.features["fusion"] == 58
    assert (table.cycles.notna() == (table.varies == "system state")).all()
