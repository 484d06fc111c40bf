"""Scale: regrets by an independent delay model, leads by hand."""

import numpy as np
import pandas as pd
import pytest

from anygraph import EVALUATIONS, GraphNetwork, decide, open_network, save_network
from anygraph.operators import FILES
from anygraph.training import first_weights
from experiments import parallel
from experiments.baselines import ANY, POLICIES, Policy, placements_of
from experiments.baselines.beam import beam
from experiments.baselines.exact import exact
from experiments.oracles import reference_delay
from experiments.profiles import PROFILES
from experiments.run import Run, generator
from experiments.scenarios import SCENARIOS, scenario
from experiments.studies import scale
from experiments.studies.scale import Who
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
        assert set(own.seed) == (set(seeds) if policy.startswith(ANY) else {""})
    assert (part.regret_mean >= 0).all() and (part.regret_p99 >= part.regret_mean).all()
    assert (part[ENDS[0]] <= part[ENDS[1]]).all() and (part[ENDS[1]] <= part[ENDS[2]]).all()


def test_scale_is_every_policy_on_the_same_tasks(run, added):
    table, profile = scale.scale(run), run.profile
    plain = {*scale.PLAIN, *(f"beam_{w}" for w in scale.WIDTHS), "exact_50", "exact_400", added}
    plain |= {ANY, *(f"{ANY}_{e}" for e in scale.BUDGETS[1:])}
    for n, part in table.groupby("n_subtasks"):
        check(part, profile.any_seeds, plain | ({"exact"} if n <= scale.PROVABLE else set()))
        assert (part.n_test == profile.scale_graphs * profile.scale_tasks).all()
        assert part.proven_share.nunique() == 1 and (part.median_us <= part.p99_us).all()
        own = part.mean_us[part.policy == ANY].mean()
        assert np.allclose(part.over_any, part.mean_us / own)
        assert part.n_timed.max() == 2 * 2 * 2  # processes, graphs, tasks of three
        assert (part.over_any_low <= part.over_any_high).all() and (part.over_any_low > 0).all()
    ours = table[table.policy == ANY]
    most = table[table.policy == f"{ANY}_640"]
    assert (most.evaluations.to_numpy() >= ours.evaluations.to_numpy()).all()
    assert most.evaluations.max() > EVALUATIONS >= ours.evaluations.max()
    regrets_are_those_of_an_independent_delay_model(run, table[table.n_subtasks == 12])


def regrets_are_those_of_an_independent_delay_model(run: Run, table: pd.DataFrame) -> None:
    model = open_network(run.model_path(ANY, "", 0))
    mean = {policy: [] for policy in ("lookahead", "exact_50", "beam_8", "mine", ANY)}
    evaluations = []
    for index in range(run.profile.scale_graphs):
        g = random_graph(12, index)
        tasks = sample_tasks(g, run.profile.scale_tasks, generator(run, g.name))
        best, own = solve(g, tasks).delays, decide(model, g, tasks)
        evaluations.append(own.evaluations)
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
    assert part.loc["exact", "regret_mean"] == 0 and (part.proven_share == 1).all()
    assert part.loc[ANY, "evaluations"] == pytest.approx(np.mean(evaluations))
    for policy, values in mean.items():
        assert part.loc[policy, "regret_mean"] == pytest.approx(np.mean(values), abs=1e-9)
        assert part.loc[policy, "regret_p99"] == pytest.approx(np.quantile(values, 0.99), abs=1e-9)


def test_the_best_known_is_the_least_of_all_and_proven_only_if_it_is_the_optimum():
    g = random_graph(24, 1)
    tasks = sample_tasks(g, 12, np.random.default_rng(1))
    optimum, edge = solve(g, tasks), all_at_the_edge(g, np.ones(12))
    able, near = {Who("edge"): lambda task: edge[0]}, 0
    for nodes, knows in ((80, False), (255, False), (1000, False), (80, True), (10**7, False)):
        if knows:
            able[Who("knows")] = exact(g)
        played = scale.play(g, tasks, able, {Who("stopped"): nodes})
        best = delays(g, tasks, edge) / (1 + played.regret[Who("edge")])
        least = search(g, tasks, nodes).delays
        least = optimum.delays if knows else np.minimum(least, delays(g, tasks, edge))
        assert best == pytest.approx(least)
        assert (played.proven <= (best < optimum.delays * (1 + 2e-9))).all()
        bounds = search(g, tasks, nodes).bounds
        assert (played.proven == (bounds >= best * (1 - 1e-9))).all()
        near += ((bounds >= best * 0.99) & ~played.proven).sum()
        assert played.proven.all() == (nodes == 10**7) and played.seconds >= 0
    assert near > 0  # a bound within a hundredth is no proof


def test_a_proof_counts_whichever_search_found_it():
    g = random_graph(12, 1)
    tasks = sample_tasks(g, 6, np.random.default_rng(1))
    for stops in ((10**7, 5), (5, 10**7)):
        played = scale.play(g, tasks, {}, {Who(f"exact_{nodes}"): nodes for nodes in stops})
        assert played.proven.all()


def test_the_last_search_may_take_three_times_as_long(run):
    stops = {Who("exact_50"): 50, Who("exact_400"): 400}
    assert scale.searches(run, 40) == stops | {Who("exact"): 1200}
    assert scale.searches(run, 41) == stops


def test_operators_are_real_networks_in_two_ranges(run, added, monkeypatch):
    names = [f"operators_{name}" for name in ("alexnet", "squeezenet")]
    assert {f"operators_{f}" for f in FILES} == {
        name for name, entry in SCENARIOS.items() if entry.group == "operators"
    }
    kept = {name: entry for name, entry in SCENARIOS.items() if name in (*names, "dag")}
    monkeypatch.setattr(scale, "SCENARIOS", kept)
    table = scale.operators(run)
    policies = {*scale.AHEAD, "beam_8", "beam_64", "min_cut", "exact_50", "exact_400", ANY, added}
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
