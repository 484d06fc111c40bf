"""One network for any task graph: its training, and graphs of unseen families.

Training never sees a test graph: the hashes of all test graphs are handed to it, and it refuses
what equals one of them.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import cache

import numpy as np
import pandas as pd

from anygraph import (
    Decider,
    GraphNetwork,
    TrainingConfig,
    decide,
    open_network,
    save_network,
)
from anygraph.decision import STAGES
from anygraph.families import MAX_SUBTASKS, UNSEEN_FAMILIES, draw, edges_hash
from anygraph.network import ROLE
from anygraph.training import fit
from experiments.parallel import in_parallel
from experiments.run import Run, generator, provenance
from experiments.scenarios import SCENARIOS, scenario
from experiments.studies.contest import LAST_EFFORT
from kd_offload.data import save_json, sha256
from kd_offload.graphs import chain, dag, fusion, random_graph
from kd_offload.labels import search
from kd_offload.tasks import sample_tasks

TEST_SIZES = (12, 24, 40, 64, 100)  # subtasks of the random graphs that show scale
TEST_INDICES = 200  # random_<n>_<index> with an index below this one are test graphs


@cache
def held_apart() -> frozenset[str]:
    """Hashes of all test graphs: the scenarios', chains, and the random graphs that show scale."""
    graphs = [scenario(name).graph for name in SCENARIOS]
    graphs += [chain(n) for n in range(1, MAX_SUBTASKS + 1)]
    for n in TEST_SIZES:
        graphs += [random_graph(n, index) for index in range(TEST_INDICES)]
    return frozenset(map(edges_hash, graphs))


def training_config(run: Run) -> TrainingConfig:
    """The configuration of `anygraph` at a run's sizes."""
    imitation, against_delay = run.profile.any_steps
    return TrainingConfig(
        graphs=run.profile.any_graphs, imitation_steps=imitation, delay_steps=against_delay
    )


def train(run: Run, config: TrainingConfig, seed: int) -> list[dict]:
    """Train and save one network of a run; returns its curve: rows of role, seed and a point."""
    start, path = time.process_time(), run.model_path(ROLE, "", seed)
    fitted = fit(config, seed, held_apart())
    seconds = time.process_time() - start
    save_network(fitted.network, path)
    curve = [point._asdict() for point in fitted.curve]
    about = {"training": asdict(config), "curve": curve, "training_seconds": seconds}
    save_json(path.with_suffix(".json"), {"sha256": sha256(path), **provenance(run, **about)})
    return [{"role": ROLE, "seed": seed} | point for point in curve]


def train_all(run: Run) -> pd.DataFrame:
    """Train and save the networks of all of a run's seeds, in parallel.

    Returns
    -------
    pandas.DataFrame
        Their curves: role, seed, stage, step, objective.
    """
    config = training_config(run)
    jobs = [(run, config, seed) for seed in run.profile.any_seeds]
    return pd.DataFrame([row for curve in in_parallel(train, jobs, "training") for row in curve])


def first_network(run: Run) -> GraphNetwork:
    """The network of the first seed."""
    return open_network(run.model_path(ROLE, "", run.profile.any_seeds[0]))


def stages(run: Run, tasks: int = 1000) -> pd.DataFrame:
    """Shares of decisions by the stage that took them, on the paper's graphs and a larger one.

    Returns
    -------
    pandas.DataFrame
        graph, and a column for each of `decision.STAGES`.
    """
    rows = []
    for graph in (chain(), dag(), fusion(), random_graph(40), random_graph(100)):
        drawn = sample_tasks(graph, tasks, generator(run, f"stages_{graph.name}"))
        taken = decide(first_network(run), graph, drawn).stages
        shares = np.bincount(taken, minlength=len(STAGES)) / tasks
        rows.append({"graph": graph.name} | dict(zip(STAGES, shares)))
    return pd.DataFrame(rows)


def parts(run: Run, sizes: tuple = (40, 64, 100)) -> pd.DataFrame:
    """What each part of a decision brings: it is left out, all else equal.

    Returns
    -------
    pandas.DataFrame
        A row per number of subtasks and part: n_subtasks, left_out, regret_mean (against the best
        known), proven_share, evaluations (mean).
    """
    jobs = [(run, n, index) for n in sizes for index in range(run.profile.scale_graphs)]
    rows = [row for rows in in_parallel(_without_parts, jobs, "graphs") for row in rows]
    return pd.DataFrame(rows).groupby(["n_subtasks", "left_out"], sort=False, as_index=False).mean()


def _without_parts(run: Run, n: int, index: int) -> list[dict]:
    graph = random_graph(n, index)
    drawn = sample_tasks(graph, run.profile.scale_tasks, generator(run, f"parts_{graph.name}"))
    model = first_network(run)
    deciders = {"nothing": Decider(model, graph), "network": Decider(None, graph)}
    deciders["beam"] = Decider(model, graph, width=0)
    for part, spent in (("improvement", "subtasks"), ("last search", "last_nodes")):
        deciders[part] = Decider(model, graph)
        deciders[part].spend(**{spent: 0})
    decisions = {part: decider.decide(drawn) for part, decider in deciders.items()}
    best = min(decisions.values(), key=lambda decision: decision.delays.mean())
    known = Decider(None, graph, LAST_EFFORT, width=0).mend(drawn, best.placements).delays
    for decision in decisions.values():
        known = np.minimum(known, decision.delays)
    return [
        {
            "n_subtasks": n,
            "left_out": part,
            "regret_mean": np.mean(decision.delays / known - 1),
            "proven_share": decision.proven.mean(),
            "evaluations": decision.evaluations.mean(),
        }
        for part, decision in decisions.items()
    ]


def unseen_families(run: Run, n: int = 32, tasks: int = 50, nodes: int = 1_000_000):
    """How the first seed decides on graphs of families that it was not trained on.

    Parameters
    ----------
    run : Run
    n : int, optional
        Subtasks of each graph.
    tasks : int, optional
        Tasks of each graph.
    nodes : int, optional
        Budget of the exact search that decisions are compared with.

    Returns
    -------
    pandas.DataFrame
        A row per family: family, regret (mean, against the best placement found), proven_share (of
        the tasks whose best is proven optimal), evaluations (mean).
    """
    model, rows = first_network(run), []
    for family in UNSEEN_FAMILIES:
        rng = generator(run, family)
        graph = draw(family, n, rng)
        drawn = sample_tasks(graph, tasks, rng)
        decision = decide(model, graph, drawn)
        solution = search(graph, drawn, nodes)
        best = np.minimum(solution.delays, decision.delays)
        rows.append(
            {
                "family": family,
                "regret": np.mean(decision.delays / best - 1),
                "proven_share": np.mean(solution.bounds >= best * (1 - 1e-9)),
                "evaluations": np.mean(decision.evaluations),
            }
        )
    return pd.DataFrame(rows)
