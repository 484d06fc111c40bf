"""Scale: regrets by an independent delay model, leads by hand, limits that change no label."""

import numpy as np
import pandas as pd
import pytest

from experiments.run import Run
from anygraph.decision import EVALUATIONS, decide
from anygraph.network import GraphNetwork, open_network, save_network
from anygraph.training import any_path, first_weights
from kd_offload.graphs import dag, random_graph
from kd_offload.labels import new_scratch, search, solve, solve_kernel, structure
from experiments.profiles import PROFILES
from experiments.oracles import reference_delay
from experiments.baselines.heuristics import searched_exactly
from experiments.baselines.lookahead import beam
from experiments.baselines import ANY, placements_of
from experiments.scenarios import SCENARIOS, scenario
from anygraph.operators import FILES
from experiments.studies import operators
from experiments.studies import scale
from experiments.studies.conditions import generator
from kd_offload.tasks import sample_tasks

ENDS = ["regret_ci_low", "regret_mean", "regret_ci_high"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A run with untrained networks."""
    run = Run(PROFILES["tiny"], tmp_path_factory.mktemp("scale"))
    for seed in run.profile.any_seeds:
        flat = first_weights(8, 4, np.random.default_rng(seed))
        save_network(GraphNetwork(ANY, seed, 8, 4, flat), any_path(run, seed))
    return run


def delays(graph, tasks, placements) -> np.ndarray:
    return np.array(
        [reference_delay(graph.n, graph.edges, t, x) for t, x in zip(tasks, placements)]
    )


def check(part: pd.DataFrame, seeds, policies) -> None:
    """One cell: every policy once, ours once a seed, in sound numbers."""
    who = [(p, s) for p, s in zip(part.policy, part.seed)]
    assert len(who) == len(set(who)) and set(part.policy) == policies
    for policy, own in part.groupby("policy"):
        assert set(own.seed) == (set(seeds) if policy.startswith(ANY) else {""})
    assert (part.regret_mean >= 0).all() and (part.regret_p99 >= part.regret_mean).all()
    assert (part[ENDS[0]] <= part[ENDS[1]]).all() and (part[ENDS[1]] <= part[ENDS[2]]).all()


def test_scale_is_every_policy_on_the_same_tasks(run, monkeypatch):
    monkeypatch.setenv("KD_WORKERS", "1")
    table, p = scale.scale(run), run.profile
    plain = {*scale.PLAIN, *(f"beam_{w}" for w in scale.WIDTHS), "exact_50", "exact_400"}
    plain |= {ANY, *(f"{ANY}_{e}" for e in scale.BUDGETS[1:])}
    for n, part in table.groupby("n_subtasks"):
        check(part, p.any_seeds, plain | ({"exact"} if n <= scale.PROVABLE else set()))
        assert (part.n_test == p.scale_graphs * p.scale_tasks).all()
        assert part.proven_share.nunique() == 1 and (part.median_us <= part.p99_us).all()
        own = part.median_us[part.policy == ANY].mean()
        assert np.allclose(part.over_any, part.median_us / own)
        assert part.n_timed.max() == 2 * 2 * 2  # processes, graphs, tasks of three
        assert (part.over_any_low <= part.over_any_high).all() and (part.over_any_low > 0).all()
    ours, model = table[table.policy == ANY], open_network(any_path(run, 0))
    most = table[table.policy == f"{ANY}_640"]
    assert (most.evaluations.to_numpy() >= ours.evaluations.to_numpy()).all()
    assert most.evaluations.max() > EVALUATIONS
    assert (ours.parameters == model.parameters).all() and (ours.evaluations <= EVALUATIONS).all()
    assert table[~table.policy.str.startswith(ANY)].parameters.isna().all()
    mean, evaluations = {p: [] for p in ("lookahead", "exact_50", "beam_8", ANY)}, []
    for index in range(p.scale_graphs):
        g = random_graph(12, index)
        tasks = sample_tasks(g, p.scale_tasks, generator(run, g.name))
        best, own = solve(g, tasks).delays, decide(model, g, tasks)
        placed = {"lookahead": placements_of("lookahead", g, tasks), ANY: own[0]}
        placed["beam_8"] = [beam(8, g)(t).copy() for t in tasks]
        placed["exact_50"] = search(g, tasks, 50)[0]
        evaluations += [own[2]]
        for policy, x in placed.items():
            mean[policy] += [delays(g, tasks, x) / best - 1]
    part = table.query("n_subtasks == 12 and seed in ('', 0)").set_index("policy")
    assert part.loc["exact", "regret_mean"] == 0 and (part.proven_share == 1).all()
    assert part.loc[ANY, "evaluations"] == pytest.approx(np.mean(evaluations))
    for policy, values in mean.items():
        assert part.loc[policy, "regret_mean"] == pytest.approx(np.mean(values), abs=1e-9)
        assert part.loc[policy, "regret_p99"] == pytest.approx(np.quantile(values, 0.99), abs=1e-9)


def test_the_best_known_is_the_least_of_all_and_proven_only_if_it_is_the_optimum():
    g = random_graph(24, 1)
    tasks = sample_tasks(g, 12, np.random.default_rng(1))
    optimum, edge = solve(g, tasks), np.ones((len(tasks), g.n), np.int8)
    able, near = {("edge", ""): lambda task: edge[0]}, 0
    for nodes, knows in ((80, False), (255, False), (1000, False), (80, True), (10**7, False)):
        if knows:
            able["knows", ""] = searched_exactly(g)
        regret, proven, seconds = scale.played(g, tasks, able, {("stopped", ""): nodes})
        best = delays(g, tasks, edge) / (1 + regret["edge", ""])
        least = search(g, tasks, nodes).delays
        least = optimum.delays if knows else np.minimum(least, delays(g, tasks, edge))
        assert best == pytest.approx(least)
        assert (proven <= (best < optimum.delays * (1 + 2e-9))).all()
        bounds = search(g, tasks, nodes).bounds
        assert (proven == (bounds >= best * (1 - 1e-9))).all()
        near += ((bounds >= best * 0.99) & ~proven).sum()
        assert proven.all() == (nodes == 10**7) and seconds >= 0
    assert near > 0  # a bound within a hundredth is no proof


def test_the_last_search_may_take_three_times_as_long(run):
    stops = {("exact_50", ""): 50, ("exact_400", ""): 400}
    assert scale.searches(run, 40) == stops | {("exact", ""): 1200}
    assert scale.searches(run, 41) == stops


def test_the_lead_on_a_table_made_by_hand():
    rows = [
        (40, "exact", "", 0.0, 9000.0, 20_000.0), (40, "exact_300", "", 0.3, 20.0, 20.0),
        (40, "beam_8", "", 0.02, 1500.0, 1.0), (40, "lookahead", "", 0.4, 100.0, 1.0),
        (40, "anygraph", 0, 0.03, 90.0, 100.0), (40, "anygraph", 1, 0.01, 110.0, 100.0),
        (40, "anygraph_640", 0, 0.001, 5.0, 1.0), (64, "anygraph", 0, 0.5, 10.0, 10.0),
        (64, "beam_8", "", 0.1, 10.1, 1.0),
    ]  # fmt: skip
    names = ["n_subtasks", "policy", "seed", "regret_mean", "median_us", "mean_us"]
    small, mean, large, _ = scale.ahead(pd.DataFrame(rows, columns=names)).to_dict("records")
    assert (small["by"], small["regret"], small["us"], small["proof"]) == ("median", 0.02, 100, 90)
    best = [(small[f"rival_{t}x"], small[f"regret_{t}x"]) for t in scale.WITHIN]
    assert best == [("exact_300", 0.3), ("exact_300", 0.3), ("exact", 0.0)]
    assert (mean["by"], mean["rival_1x"], mean["proof"]) == ("mean", "beam_8", 200)
    assert pd.isna(large["rival_1x"]) and large["rival_10x"] == "beam_8" and pd.isna(large["proof"])


@pytest.mark.parametrize("graph", [dag(), random_graph(16, 2)])
def test_a_first_limit_above_the_optimum_changes_no_label(graph):
    tasks = sample_tasks(graph, 40, np.random.default_rng(2))
    cold, x, warm = solve(graph, tasks), np.empty(graph.n, np.int8), []
    for task, label, least in zip(tasks, cold.placements, cold.delays):
        limit = least * (1 + 1e-9)
        delay, nodes, bound = solve_kernel(
            structure(graph), task, 10**9, x, new_scratch(graph), limit
        )
        assert (x == label).all() and delay == least == bound
        warm.append(nodes)
    assert np.sum(warm) < np.sum(cold.nodes)


def test_a_warm_start_counts_the_nodes_of_proofs(run, monkeypatch):
    monkeypatch.setenv("KD_WORKERS", "1")
    asked = []

    def search(known, task, budget, x, scratch, limit):
        found = solve_kernel(known, task, budget, x, scratch, limit)
        asked.append((budget, *found[:2], limit))
        return found

    monkeypatch.setattr(scale, "solve_kernel", search)
    row, p = scale.warm_start(run).iloc[0], run.profile
    assert {budget for budget, *_ in asked} == {3 * p.scale_nodes[-1]}
    for (most, cold, *ended, none), (_, warm, again, limit) in zip(asked[::2], asked[1::2]):
        assert none == np.inf and limit < np.inf
        assert warm <= cold * (1 + 1e-9) or max(*ended, again) > most
    monkeypatch.undo()
    graphs = [random_graph(12, index) for index in range(p.scale_graphs)]
    nodes = [solve(g, sample_tasks(g, p.scale_tasks, generator(run, g.name))).nodes for g in graphs]
    nodes = np.concatenate(nodes)
    ended = nodes <= scale.SPARE * p.scale_nodes[-1]
    assert row.n_subtasks == 12 and row.n_test == ended.sum()
    assert row.nodes_cold == pytest.approx(nodes[ended].mean())
    assert row.ratio == pytest.approx(row.nodes_warm / row.nodes_cold)
    assert 0 < row.ratio < 1.2 and row.ms_cold > 0


def test_operators_are_real_networks_in_two_ranges(run, monkeypatch):
    names = [f"operators_{name}" for name in ("alexnet", "squeezenet")]
    assert {f"operators_{f}" for f in FILES} == {
        n for n, s in SCENARIOS.items() if s[0] == "operators"
    }
    kept = {name: record for name, record in SCENARIOS.items() if name in (*names, "dag")}
    monkeypatch.setattr(operators, "SCENARIOS", kept)
    monkeypatch.setenv("KD_WORKERS", "1")
    table = operators.operators(run)
    policies = {*operators.AHEAD, "beam_8", "beam_64", "min_cut", "exact_50", "exact_400", ANY}
    assert [key for key, _ in table.groupby(["scenario", "ranges"])] == [
        (name, ranges) for name in names for ranges in ("default", "wide")
    ]
    for (name, ranges), part in table.groupby(["scenario", "ranges"]):
        graph, _, load = scenario(name)
        check(part, run.profile.any_seeds, policies)
        assert (part.n_subtasks == graph.n).all() and (
            part.n_test == run.profile.operators_tasks
        ).all()
        rng = generator(run, f"{name}_{ranges}")
        tasks = sample_tasks(graph, 4, rng, operators.RANGES[ranges], load)
        known = part.set_index("policy").regret_mean
        if graph.n < 12:
            for policy in ("best_single", "split", "exact_50"):
                x = search(graph, tasks, 50)[0] if policy == "exact_50" else None
                x = placements_of(policy, graph, tasks) if x is None else x
                mean = np.mean(delays(graph, tasks, x) / solve(graph, tasks).delays) - 1
                assert known[policy] == pytest.approx(mean, abs=1e-9)
        proven = search(graph, tasks, 400)
        assert part.proven_share.iloc[0] >= (proven.bounds >= proven.delays).mean()
