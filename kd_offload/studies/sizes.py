"""How regret and the time of a decision grow with the number of subtasks, without any training."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..artifact import Run
from ..graphs import TaskGraph, random_graph
from ..labels import anytime, new_scratch, solve, solve_kernel, structure
from ..parallel import in_parallel, progress
from ..rivals.decisions import Decider
from ..rivals.policies import FIXED, POLICIES, compiled_deciders, policies_for
from ..tasks import sample_tasks
from .conditions import generator, placed, regrets, summary
from .timing import time_interleaved, timed

STOPPED = (100, 1000, 10_000)  # nodes after which the exact search gives up


def by_size(run: Run) -> pd.DataFrame:
    """Regret and time of policies without training on random graphs of a few to many subtasks.

    exact_<nodes>: the exact search, stopped. Columns: n_subtasks, graphs, tasks (of each graph),
    policy, regret, low, high (over tasks and graphs), regret_p99; mean_us, median_us, p99_us (both
    with _low, _high), max_us of one compiled decision, batch 1, one thread.
    """
    p, rows = run.profile, []
    todo = [(run, n, index) for n in p.subtasks for index in range(p.size_graphs)]
    done = in_parallel(_regrets, todo, "random graphs")
    for n in progress(p.subtasks, len(p.subtasks), "timing", "size"):
        cells = [regret for (_, size, _), regret in zip(todo, done) if size == n]
        regret = {policy: np.array([cell[policy] for cell in cells]) for policy in cells[0]}
        spent = _spent(run, [random_graph(n, index) for index in range(p.size_graphs)])
        rng = generator(run, f"random_{n}")
        for row in summary(regret, p.cell_resamples, rng):  # graphs are resampled as seeds are
            policy, graphs = row["policy"], row.pop("seeds")
            row["regret_p99"] = np.quantile(regret[policy], 0.99)
            us = spent[policy]
            row |= {"mean_us": us.mean(), **timed(us), "max_us": us.max()}
            rows.append({"n_subtasks": n, "graphs": graphs, "tasks": p.size_tasks} | row)
    return pd.DataFrame(rows)


def stopped_decider(graph: TaskGraph, nodes: int) -> Decider:
    """The exact search that gives up after `nodes` and takes the best placement found."""
    known, scratch, placement = structure(graph), new_scratch(graph), np.empty(graph.n, np.int8)

    def decide(task):
        solve_kernel(known, task, nodes, placement, scratch)
        return placement

    return Decider(f"exact_{nodes}", "numba", decide)


def _untrained(graph: TaskGraph) -> list[str]:
    """Policies without training that look and can decide for any graph."""
    return [p for p in policies_for(graph) if p not in (*FIXED, "chain_dp")]


def _tasks(run, graph):
    return sample_tasks(graph, run.profile.size_tasks, generator(run, graph.name))


def _regrets(run, n, index):
    """Regret (S,) of every policy on one random graph."""
    graph = random_graph(n, index)
    tasks = _tasks(run, graph)
    optimum = solve(graph, tasks).delays
    decisions = placed({p: [POLICIES[p].place] for p in _untrained(graph)}, graph, tasks)
    found = {p: r[0] for p, r in regrets(graph, tasks, optimum, decisions).items()}
    stopped = {f"exact_{nodes}": anytime(graph, tasks, nodes)[1] for nodes in STOPPED}
    return found | {p: delays / optimum - 1 for p, delays in stopped.items()}


def _spent(run, graphs) -> dict[str, np.ndarray]:
    """Microseconds of every decision on all graphs' tasks: policy -> (graphs * tasks,).

    The less of two runs of the same decision: the tail is then the search's own, not the machine's.
    """
    parts = []
    for graph in graphs:
        deciders = [d for d in compiled_deciders(graph) if d.policy in _untrained(graph)]
        deciders += [stopped_decider(graph, nodes) for nodes in STOPPED]
        inputs, functions = list(_tasks(run, graph)), [d.decide for d in deciders]
        us = np.minimum(*(time_interleaved(functions, inputs) for _ in range(2)))
        parts.append(dict(zip([d.policy for d in deciders], us)))
    return {p: np.concatenate([part[p] for part in parts]) for p in parts[0]}
