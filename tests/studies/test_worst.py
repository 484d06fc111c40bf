"""The annealed search for the worst task: what it finds is real, and more than chance finds."""

import numpy as np
import pytest

from kd_offload.graphs import TaskGraph, chain, dag
from experiments.oracles import enumerate_best, reference_delay
from experiments.baselines import LEARNED, POLICIES, policies_for
from experiments.scenarios import SHOWN, scenario
from experiments.studies import worst
from experiments.studies.worst import CHAINS, annealed, tasks_at, worst_task
from kd_offload.tasks import STATE, sample_tasks

DIAMOND = TaskGraph("diamond", 4, ((0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (4, 5)))


def regret_of(graph, task, place):
    """By the plain delay and enumeration."""
    (x,), args = place(graph, task[None]), (graph.n, list(graph.edges), task)
    return reference_delay(*args, x) / enumerate_best(*args)[1] - 1


@pytest.mark.parametrize("policy", ["greedy", "lookahead", "all_edge"])
def test_what_is_found_is_real_and_more_than_chance_finds(policy):
    place, rng = POLICIES[policy].place, np.random.default_rng(1)
    task, regret = worst_task(DIAMOND, place, 40, rng)
    assert regret == pytest.approx(regret_of(DIAMOND, task, place), rel=1e-9)
    again, same = worst_task(DIAMOND, place, 40, np.random.default_rng(1))
    assert same == regret and np.array_equal(again, task)
    low, high = (tasks_at(DIAMOND, np.full((1, 18), end))[0] for end in (0, 1))
    assert [*low[[0, 4, -1]], *high[[0, 4, -1]]] == pytest.approx([1e7, 2e4, 0.01, 5e8, 1e6, 0.08])
    assert (low * (1 - 1e-9) <= task).all() and (task <= high * (1 + 1e-9)).all()
    chance = sample_tasks(DIAMOND, 100, rng)
    assert regret > 1.3 * max(regret_of(DIAMOND, t, place) for t in chance)


def test_it_finds_the_corner_that_chance_does_not():
    """All on the device is worst where it is slow, all else fast, and there is much to compute."""
    place = POLICIES["all_device"].place
    best_end = [1] * 3 + [0] * 4 + [0, 1, 1, 1, 1, 1, 0, 0]
    (corner,) = tasks_at(chain(3), np.array([best_end], float))
    _, regret = worst_task(chain(3), place, 100, np.random.default_rng(1))
    highest = regret_of(chain(3), corner, place)
    assert 0.95 * highest < regret <= highest * (1 + 1e-9)
    assert worst_task(DIAMOND, POLICIES["exact"].place, 5, np.random.default_rng(3))[1] < 1e-9


def test_the_worse_half_of_the_chains_goes_on_from_the_better(monkeypatch):
    for name in ("FAR", "NEAR"):
        monkeypatch.setattr(worst, name, 1e-9)
    monkeypatch.setattr(worst, "TO_END", 0)
    seen, start = [], np.linspace(0.2, 0.8, 4)[:, None]

    def score(points):
        seen.append(points)
        return points[:, 0] - 1e-4 * len(seen)  # ever less: the best is the first

    best, most = annealed(
        score, start, start[:, 0] - 1e-4, worst.RESTARTS, np.random.default_rng(1)
    )
    assert best == pytest.approx(0.8) == most + 1e-4 and seen[0] == pytest.approx(start)
    assert sorted(seen[1][:, 0]) == pytest.approx([0.6, 0.6, 0.8, 0.8])
    assert seen[-1] == pytest.approx(0.8)


def test_an_unproven_task_does_not_count(monkeypatch):
    """Say that none is proven where the device is slow, which is worst for all on the device."""
    search, slow = worst.search, lambda tasks: tasks[:, -8] < 2e9
    told = lambda g, t, budget: search(g, t)._replace(nodes=np.where(slow(t), budget + 1, budget))
    monkeypatch.setattr(worst, "search", told)
    task, regret = worst_task(dag(), POLICIES["all_device"].place, 10, np.random.default_rng(4))
    assert regret > 0 and not slow(task[None])


def test_chains_start_from_the_worst_random_tasks(monkeypatch):
    monkeypatch.setattr(worst, "annealed", lambda score, points, values, *_: (points[0], values[0]))
    place, rng = POLICIES["greedy"].place, np.random.default_rng(5)
    tasks = tasks_at(DIAMOND, np.random.default_rng(5).random((2 * CHAINS, 18)))
    most = max(regret_of(DIAMOND, task, place) for task in tasks)
    assert worst_task(DIAMOND, place, 2, rng)[1] == pytest.approx(most, rel=1e-9)


def test_the_table_has_every_policy_but_exact_and_random(tiny):
    table = worst.worst(tiny)
    assert list(table) == ["scenario", "policy", "seed", "regret_found", "tasks_tried", *STATE]
    expected = {(n, p) for n in SHOWN for p in (*policies_for(scenario(n).graph), *LEARNED)}
    expected -= {(n, p) for n in SHOWN for p in ("exact", "random")}
    assert {*zip(table.scenario, table.policy)} == expected and len(table) == len(expected)
    assert table.seed.tolist() == [0 if p in LEARNED else "" for p in table.policy]
    assert (table.tasks_tried == 2 * CHAINS * tiny.profile.worst_steps).all()
    found = table.set_index(["scenario", "policy"]).regret_found
    assert found["chain", "lookahead"] < 1e-9 < 0.5 < found["fusion", "greedy"]
