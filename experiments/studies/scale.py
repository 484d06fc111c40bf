"""How good and how quick policies are on graphs of a dozen to a hundred subtasks.

The graphs are `random_graph`s that no network was trained on. Where a proof takes too long, regret
is against the best known: the least delay that any policy or any search found.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd

from experiments.run import Run
from anygraph.decision import EVALUATIONS, decide, decide_batch, decider, packed
from anygraph.network import GraphNetwork
from kd_offload.delay import delay
from kd_offload.graphs import TaskGraph, random_graph
from kd_offload.labels import TIE, new_scratch, search, solve_kernel, structure
from experiments.parallel import in_parallel
from experiments.baselines.heuristics import searched_exactly
from experiments.baselines.lookahead import beam
from experiments.baselines import ANY, POLICIES, open_trained, seeds_of
from kd_offload.tasks import sample_tasks
from experiments.studies.conditions import generator
from experiments.studies.statistics import bootstrap_means, bounded, interval
from experiments.studies.timing import in_fresh_processes, ratio, time_interleaved

Who = tuple[str, object]  # policy and training seed, "" where nothing is trained
AHEAD = ("best_single", "split", "lookahead", "lookahead_joins", "lookahead_mended")
PLAIN = (*AHEAD[:2], "local_search_3", *AHEAD[2:])
WIDTHS = (8, 64, 512)  # of beams
BUDGETS = (EVALUATIONS, 80, 160, 640)  # of anygraph
PROVABLE = 40  # subtasks up to which a search is let run until it ends or SPARE times the last stop
SPARE = 3
SLOW = 3000.0  # µs: what takes longer is timed on the first task of each graph only
WITHIN = (1, 10, 100)  # times as long as anygraph


def students(run: Run, budgets=(EVALUATIONS,)) -> dict[Who, tuple[GraphNetwork, int]]:
    """The networks of all seeds at every budget of evaluations; the default one's name is ANY."""
    names = {e: ANY if e == EVALUATIONS else f"{ANY}_{e}" for e in budgets}
    seeds = seeds_of(run, ANY)
    return {(names[e], s): (open_trained(run, ANY, "dag", s), e) for e in budgets for s in seeds}


def contestants(
    graph: TaskGraph, trained: dict[Who, tuple[GraphNetwork, int]], plain=PLAIN, widths=WIDTHS
) -> dict[Who, Callable]:
    """Deciders for one task at a time: policies without training, beams and `students`."""
    able = {(p, ""): POLICIES[p].decider(graph) for p in plain}
    able |= {(f"beam_{w}", ""): beam(w, graph) for w in widths}
    return able | {who: decider(model, graph, e) for who, (model, e) in trained.items()}


def searches(run: Run, n: int) -> dict[Who, int]:
    """The exact search by the number of nodes it is stopped at, the longest last."""
    stops = {(f"exact_{nodes}", ""): nodes for nodes in run.profile.scale_nodes}
    last = run.profile.scale_nodes[-1]
    return stops | {("exact", ""): SPARE * last} if n <= PROVABLE else stops


def played(graph: TaskGraph, tasks, deciders: dict[Who, Callable], stops: dict[Who, int]):
    """Regrets {who: (S,)} against the best known; whether that is proven (S,); seconds of the last
    search."""
    delays = {
        who: delay(graph, tasks, np.array([decide(t).copy() for t in tasks]))
        for who, decide in deciders.items()
    }
    for who, nodes in stops.items():
        start = time.thread_time()
        _, delays[who], _, bounds = search(graph, tasks, nodes)
        seconds = time.thread_time() - start
    best = np.min([*delays.values()], axis=0)
    return {who: d / best - 1 for who, d in delays.items()}, bounds >= best * (1 - TIE), seconds


def regret_rows(regret: dict[Who, np.ndarray], resamples: int, rng) -> list[dict]:
    """A row a contestant from regrets (graphs, tasks); both are resampled for the interval."""
    ends, rows = interval(bootstrap_means([*regret.values()], resamples, rng)).T, []
    for ((policy, seed), r), (low, high) in zip(regret.items(), ends):
        row = {"policy": policy, "seed": seed, "n_test": r.size, "regret_mean": r.mean()}
        row |= {"regret_ci_low": low, "regret_ci_high": high}
        rows.append(row | {"regret_p99": np.quantile(r, 0.99)})
    return rows


def scale(run: Run) -> pd.DataFrame:
    """Regret and time of a decision on random graphs of a dozen to a hundred subtasks.

    anygraph_<e>: with e evaluations; beam_<w>: w prefixes kept; exact_<nodes>: the exact search,
    stopped; exact: until it ends, at most SPARE times as many. Columns: n_subtasks, policy, seed,
    n_test, regret_mean, regret_ci_low, regret_ci_high (over graphs and tasks), regret_p99;
    median_us, p99_us, mean_us of n_timed compiled decisions, one thread, in several fresh
    processes, but the mean of the longest search over all tasks; over_any, over_any_low,
    over_any_high: the median over that of anygraph, mean of its seeds, and the interval in which
    a rerun falls; evaluations: of the delay model, on average; proven_share: of the tasks, those
    whose best known is proven optimal; parameters.
    """
    p, rows = run.profile, []
    todo = [(run, n, index) for n in p.scale_sizes for index in range(p.scale_graphs)]
    done = in_parallel(_played, todo, "graphs of all sizes")
    parts = in_fresh_processes(_process, run, what="timing")
    for n in p.scale_sizes:
        cells = [cell for (_, size, _), cell in zip(todo, done) if size == n]
        regret = {who: np.array([c[0][who] for c in cells]) for who in cells[0][0]}
        evaluations = pd.DataFrame([c[3] for c in cells]).mean()
        spent, last = _together([part[n] for part in parts]), [*searches(run, n)][-1]
        own = [us for (policy, _), us in spent.items() if policy == ANY]
        sizes = {who: model.parameters for who, (model, _) in students(run, BUDGETS).items()}
        for row in regret_rows(regret, p.resamples, generator(run, f"scale_{n}")):
            us = spent[who := (row["policy"], row["seed"])]
            row |= dict(zip(("median_us", "p99_us"), np.quantile(us, (0.5, 0.99))))
            row |= {"mean_us": us.mean(), "n_timed": us.size} | ratio("over_any", us, own, p.seed)
            if who == last:
                row["mean_us"] = 1e6 * sum(c[2] for c in cells) / row["n_test"]
            row |= {"evaluations": evaluations.get(who), "parameters": sizes.get(who)}
            row["proven_share"] = np.mean([c[1] for c in cells])
            rows.append({"n_subtasks": n} | row)
    return pd.DataFrame(rows)


def _case(run, n, index):
    graph = random_graph(n, index)
    return graph, sample_tasks(graph, run.profile.scale_tasks, generator(run, graph.name))


def _played(run, n, index):
    """`played` on one random graph, and the mean evaluations of every student."""
    graph, tasks = _case(run, n, index)
    trained = students(run, BUDGETS)
    spent = {who: decide(m, graph, tasks, e)[2].mean() for who, (m, e) in trained.items()}
    return *played(graph, tasks, contestants(graph, trained), searches(run, n)), spent


def _process(_: int, run: Run) -> dict[int, tuple[dict[Who, np.ndarray], ...]]:
    """What each process measures by size: microseconds of decisions on the first task of each
    graph; of quick deciders, on half of all tasks."""
    out = {}
    for n in run.profile.scale_sizes:
        few = _times(run, n, slice(1))
        quick = {who for who, us in few.items() if np.median(us) < SLOW}
        out[n] = few, _times(run, n, slice((run.profile.scale_tasks + 1) // 2), quick)
    return out


def _times(run, n, which: slice, chosen=None) -> dict[Who, np.ndarray]:
    """Microseconds of all or the chosen contestants on some tasks of each graph."""
    spent = []
    for index in range(run.profile.scale_graphs):
        graph, tasks = _case(run, n, index)
        able = contestants(graph, students(run, BUDGETS))
        able |= {who: searched_exactly(graph, nodes) for who, nodes in searches(run, n).items()}
        able = {who: f for who, f in able.items() if chosen is None or who in chosen}
        spent.append(time_interleaved([*able.values()], [*tasks[which]]))
    return dict(zip(able, np.concatenate(spent, axis=1)))


def _together(parts: list[tuple[dict, dict]]) -> dict[Who, np.ndarray]:
    """Of each decider times (processes, tasks): of many tasks, if it is quick in all processes."""
    everyone, quick = parts[0][0], set.intersection(*(set(many) for _, many in parts))
    return {who: np.array([part[who in quick][who] for part in parts]) for who in everyone}


def ahead(table: pd.DataFrame) -> pd.DataFrame:
    """How far anygraph is ahead, by number of subtasks, from the table of `scale`.

    by: whether times are medians or means. regret, us: its own, means over seeds. rival_<t>x,
    regret_<t>x: the best policy of the others that takes at most t times as long. proof: how many
    times as long the exact search takes, where it was let run until it ended.
    """
    rows = []
    for (n, part), by in product(table.groupby("n_subtasks"), ("median", "mean")):
        others, us = part[~part.policy.str.startswith(ANY)], f"{by}_us"
        own = part[part.policy == ANY][["regret_mean", us]].mean()
        row = {"n_subtasks": n, "by": by, "regret": own.regret_mean, "us": own[us]}
        for times in WITHIN:
            baselines = others[others[us] <= times * own[us]]
            if len(baselines):
                best = baselines.loc[baselines.regret_mean.idxmin()]
                row |= {f"rival_{times}x": best.policy, f"regret_{times}x": best.regret_mean}
        rows.append(row | {"proof": others[others.policy == "exact"][us].mean() / own[us]})
    return pd.DataFrame(rows)


def warm_start(run: Run) -> pd.DataFrame:
    """Whether anygraph's delay, as the first limit of the exact search, makes labels cheaper.

    Columns: n_subtasks, n_test, nodes_cold, nodes_warm (means), ratio (warm over cold, with an
    interval over graphs and tasks), ms_cold, ms_warm (means of CPU time, anygraph's included),
    ms_ratio. Tasks that need more nodes than the longest search of `scale` are left out.
    """
    p, rows = run.profile, []
    for n in p.warm_sizes:
        todo = [(run, n, index) for index in range(p.scale_graphs)]
        both = np.array(in_parallel(_warm, todo, f"proofs of {n} subtasks"))  # (graphs, 4, tasks)
        ended = np.isfinite(both).all(axis=1)
        cold, warm, ms_cold, ms_warm = np.where(ended[:, None], both, 0).transpose(1, 0, 2)
        draws = bootstrap_means([cold, warm], p.resamples, generator(run, f"warm_{n}"))
        row = {"n_subtasks": n, "n_test": ended.sum()}
        names = "nodes_cold", "nodes_warm", "ms_cold", "ms_warm"
        row |= {k: v.sum() / ended.sum() for k, v in zip(names, (cold, warm, ms_cold, ms_warm))}
        row |= bounded("ratio", warm.sum() / cold.sum(), interval(draws[:, 1] / draws[:, 0]))
        rows.append(row | {"ms_ratio": ms_warm.sum() / ms_cold.sum()})
    return pd.DataFrame(rows)


def _warm(run, n, index):
    """(4, tasks): nodes of a cold and a warm search, inf if stopped; ms of both."""
    graph, tasks = _case(run, n, index)
    (model, evaluations), *_ = students(run).values()
    known, scratch, x = structure(graph), new_scratch(graph), np.empty(n, np.int8)
    most, out = SPARE * run.profile.scale_nodes[-1], np.empty((4, len(tasks)))
    batch = packed(model, graph, evaluations)
    single = np.empty((1, n), np.int8), np.empty(1), np.empty(1, np.int64)

    def proof(task, warm: bool):
        start, limit = time.thread_time_ns(), np.inf
        if warm:
            decide_batch(*batch, task[None], *single)
            limit = single[1][0] * (1 + TIE)
        nodes = solve_kernel(known, task, most, x, scratch, limit)[1]
        return nodes if nodes <= most else np.inf, (time.thread_time_ns() - start) / 1e6

    for task, column in zip(tasks[[0, *range(len(tasks))]], (out.T[0], *out.T)):  # first: compile
        (column[0], column[2]), (column[1], column[3]) = proof(task, False), proof(task, True)
    return out
