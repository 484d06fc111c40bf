"""Real networks operator by operator: graphs that nobody was trained for, up to 128 subtasks."""

from __future__ import annotations

import pandas as pd

from experiments.run import Run
from anygraph.training import WIDE
from experiments.baselines.split import min_cut
from experiments.scenarios import SCENARIOS, scenario
from kd_offload.tasks import Ranges, sample_tasks
from experiments.studies.conditions import generator, table_of
from experiments.studies.scale import AHEAD, contestants, played, regret_rows, students

WIDTHS = (8, 64)
RANGES = {"default": Ranges(), "wide": WIDE}  # of the system state


def operators(run: Run) -> pd.DataFrame:
    """Regret on the scenarios of group "operators", in the default and in wide ranges of states.

    Against the best known, as in `scale`. Columns: scenario, n_subtasks, ranges, policy, seed,
    n_test, regret_mean, regret_ci_low, regret_ci_high (over tasks), regret_p99, proven_share: of
    the tasks, those whose best known is proven optimal.
    """
    names = [name for name, (group, _) in SCENARIOS.items() if group == "operators"]
    todo = [(run, name, ranges) for name in names for ranges in RANGES]
    return table_of(_rows, todo, "networks by operators")


def _rows(run, name, ranges):
    graph, _, workload = scenario(name)
    rng = generator(run, f"{name}_{ranges}")
    tasks = sample_tasks(graph, run.profile.operators_tasks, rng, RANGES[ranges], workload)
    able = contestants(graph, students(run), AHEAD, WIDTHS)
    able["min_cut", ""] = lambda task: min_cut(graph, task)[0]
    stops = {(f"exact_{nodes}", ""): nodes for nodes in run.profile.scale_nodes}
    regret, proven, _ = played(graph, tasks, able, stops)
    rows = regret_rows({who: r[None] for who, r in regret.items()}, run.profile.resamples, rng)
    about = {"scenario": name, "n_subtasks": graph.n, "ranges": ranges}
    return [about | row | {"proven_share": proven.mean()} for row in rows]
