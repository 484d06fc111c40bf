"""Scale: regrets by an independent delay model, leads by hand."""

from functools import partial
from time import sleep

import numpy as np
import pandas as pd
import pytest

from anygraph import GraphNetwork, decide, open_network, save_network
from anygraph.operators import FILES
from anygraph.training import first_weights
from experiments import parallel
from experiments.baselines import ANY, POLICIES, Policy, placements_of
from experiments.baselines.beam import beam
from experiments.oracles import reference_delay
from experiments.profiles import PROFILES
from experiments.run import Run, generator
from experiments.scenarios import SCENARIOS, scenario
from experiments.studies import contest, scale
from experiments.studies.contest import Who
from kd_offload.graphs import TaskGraph, random_graph
from kd_offload.labels import search, solve
from kd_offload.tasks import sample_tasks

ENDS = ["regret_ci_low", "regret_mean", "regret_ci_high"]
DIAMOND = TaskGraph("diamond", 4, ((0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (4, 5)))


def in_this_process(function, run, *arguments, what=""):
    return [function(p, run, *arguments) for p in range(run.profile.processes)]


def all_at_the_edge(graph, tasks):
    return np.ones((len(tasks), graph.n), np.int8)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A run with untrained networks."""
    run = Run(PROFILES["tiny"], tmp_path_factory.mktemp("scale"))
    for seed in run.profile.any_seeds:
        flat = first_weights(8, 4, np.random.default_rng(seed))
        save_network(GraphNetwork(ANY, seed, 8, 4, flat), run.model_path(ANY, "", seed))
    return run


@pytest.fixture
def added(monkeypatch) -> str:
    """A policy that a user registers, known in this process; so nothing runs in others."""
    monkeypatch.setitem(POLICIES, "mine", Policy("mine", "heuristic", all_at_the_edge))
    monkeypatch.setattr(parallel, "workers", lambda: 1)
    monkeypatch.setattr(scale, "in_fresh_processes", in_this_process)
    return "mine"


def delays(graph, tasks, placements) -> np.ndarray:
    return np.array(
        [reference_delay(graph.n, graph.edges, t, x) for t, x in zip(tasks, placements)]
    )


def check(part: pd.DataFrame, seeds, policies) -> None:
    """One cell: every policy once, ours once a seed, in sound numbers."""
    who = list(zip(part.policy, part.seed))
    assert len(who) == len(set(who)) and set(part.policy) == policies
    for policy, own in part.groupby("policy"):
        assert set(own.seed) == (set(seeds) if policy.startswith((ANY, "network")) else {""})
    assert (part.regret_mean >= 0).all() and (part.regret_p99 >= part.regret_mean).all()
    assert (part[ENDS[0]] <= part[ENDS[1]]).all() and (part[ENDS[1]] <= part[ENDS[2]]).all()


def named_by(run: Run, efforts=contest.EFFORTS) -> set[str]:
    """All contestants but the plain policies."""
    trained = {contest.named(ANY, effort) for effort in efforts} | {"network_proved"}
    proved = {f"{name}_proved" for name in (*contest.PROVED_WIDTHS, "local_search_3")}
    orders = {f"{name}_{nodes}" for name, _, limits in contest.ORDERS for nodes in limits}
    return (
        trained
        | proved
        | orders
        | {"beam_8_proved_4", *(f"exact_{n}" for n in run.profile.scale_nodes)}
    )


def test_scale_is_every_policy_on_the_same_tasks(run, added):
    table, profile = scale.scale(run), run.profile
    expected = {*contest.PLAIN, *(f"beam_{w}" for w in contest.WIDTHS), added} | named_by(run)
    for _, part in table.groupby("n_subtasks"):
        check(part, profile.any_seeds, expected)
        assert (part.n_test == profile.scale_graphs * profile.scale_tasks).all()
        assert part.best_proven_share.nunique() == 1
        assert (part.proven_share <= part.best_proven_share + 1e-9).all()
        own = part.mean_us[part.policy == ANY].mean()
        assert np.allclose(part.over_any, part.mean_us / own)
        assert (part.n_timed == 2 * 2).all()  # processes, graphs
        assert (part.over_any_low <= part.over_any_high).all() and (part.over_any_low > 0).all()
        assert (part.gap_mean[part.proven_share == 1] < 1e-9).all()
        assert np.isinf(part.gap_mean[part.policy == "lookahead"]).all()
    regrets_are_those_of_an_independent_delay_model(run, table[table.n_subtasks == 12])


def regrets_are_those_of_an_independent_delay_model(run: Run, table: pd.DataFrame) -> None:
    model = open_network(run.model_path(ANY, "", 0))
    mean = {policy: [] for policy in ("lookahead", "exact_50", "beam_8", "mine", ANY)}
    proven = []
    for index in range(run.profile.scale_graphs):
        g, tasks = scale.random_case(run, 12, index)
        best, own = solve(g, tasks).delays, decide(model, g, tasks)
        proven.append(own.proven)
        placed = {
            "lookahead": placements_of("lookahead", g, tasks),
            "beam_8": [beam(8, g)(t).copy() for t in tasks],
            "exact_50": search(g, tasks, 50).placements,
            "mine": all_at_the_edge(g, tasks),
            ANY: own.placements,
        }
        for policy, x in placed.items():
            mean[policy].append(delays(g, tasks, x) / best - 1)
    part = table[table.seed.isin(["", 0])].set_index("policy")
    assert (part.best_proven_share == 1).all()
    assert part.loc[ANY, "proven_share"] == pytest.approx(np.mean(proven))
    for policy, values in mean.items():
        assert part.loc[policy, "regret_mean"] == pytest.approx(np.mean(values), abs=1e-9)
        assert part.loc[policy, "regret_p99"] == pytest.approx(np.quantile(values, 0.99), abs=1e-9)


def test_the_best_known_is_no_worse_than_anyone_and_proven_only_if_it_is_the_optimum(monkeypatch):
    g = random_graph(24, 1)
    tasks = sample_tasks(g, 12, np.random.default_rng(1))
    optimum, edge = solve(g, tasks).delays, all_at_the_edge(g, tasks)
    for nodes, effort in ((80, 0.01), (1000, 0.01), (10**7, 0.01), (80, contest.LAST_EFFORT)):
        monkeypatch.setattr(contest, "LAST_EFFORT", effort)
        able = {
            Who("edge"): lambda tasks: contest.Placed(edge, np.zeros(len(tasks))),
            Who("exact"): partial(contest._by_search, g, nodes),
        }
        played = contest.play(g, tasks, able)
        np.testing.assert_allclose(played.best_delays, delays(g, tasks, played.best.placements))
        everyone = [delays(g, tasks, edge), search(g, tasks, nodes).delays]
        assert (played.best_delays <= np.min(everyone, axis=0) * (1 + 1e-12)).all()
        best = delays(g, tasks, edge) / (1 + played.regret[Who("edge")])
        np.testing.assert_allclose(best, played.best_delays)
        assert (played.best.bounds <= optimum * (1 + 1e-9)).all()
        np.testing.assert_allclose(best[played.proven], optimum[played.proven])
        assert played.proven.all() >= (max(nodes, 3000 * effort) > 10**5)
        assert (played.gaps(Who("exact")) >= played.regret[Who("exact")] - 1e-9).all()


def test_slow_contestants_are_timed_on_one_task(monkeypatch):
    counts = []
    able = {Who("slow"): lambda tasks: counts.append(len(tasks)) or sleep(0.004 * len(tasks))}
    able |= {Who("quick"): lambda tasks: counts.append(10 * len(tasks))}
    times = scale.times_of(able, np.ones((5, 3)))
    assert times[Who("slow")] > 4000 > times[Who("quick")]
    assert counts == [1, 1, 10, 10, 10, 50]


def test_operators_are_real_networks_in_two_ranges(run, added, monkeypatch):
    names = [f"operators_{name}" for name in ("alexnet", "squeezenet")]
    assert {f"operators_{f}" for f in FILES} == {
        name for name, entry in SCENARIOS.items() if entry.group == "operators"
    }
    kept = {name: entry for name, entry in SCENARIOS.items() if name in (*names, "dag")}
    monkeypatch.setattr(scale, "SCENARIOS", kept)
    table = scale.operators(run)
    policies = {*scale.AHEAD, "beam_8", "beam_64", "min_cut", added} | named_by(run, efforts=(1,))
    assert [key for key, _ in table.groupby(["scenario", "ranges"])] == [
        (name, ranges) for name in names for ranges in ("default", "wide")
    ]
    for (name, ranges), part in table.groupby(["scenario", "ranges"]):
        where = scenario(name)
        graph = where.graph
        check(part, run.profile.any_seeds, policies)
        assert (part.n_subtasks == graph.n).all()
        assert (part.n_test == run.profile.operators_tasks).all()
        rng = generator(run, f"{name}_{ranges}")
        tasks = sample_tasks(graph, 4, rng, scale.RANGES[ranges], where.workload)
        known = part.set_index("policy").regret_mean
        if graph.n < 12:
            placed = {policy: placements_of(policy, graph, tasks) for policy in scale.AHEAD}
            placed["exact_50"] = search(graph, tasks, 50).placements
            for policy, x in placed.items():
                mean = np.mean(delays(graph, tasks, x) / solve(graph, tasks).delays) - 1
                assert known[policy] == pytest.approx(mean, abs=1e-9)
        proven = search(graph, tasks, 400)
        assert part.proven_share.iloc[0] >= (proven.bounds >= proven.delays).mean()
