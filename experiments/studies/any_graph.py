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

from anygraph import TrainingConfig, decide, open_network, save_network
from anygraph.families import MAX_SUBTASKS, UNSEEN_FAMILIES, draw, edges_hash
from anygraph.network import ROLE
from anygraph.training import fit
from experiments.parallel import in_parallel
from experiments.run import Run, generator, provenance
from experiments.scenarios import SCENARIOS, scenario
from kd_offload.data import save_json, sha256
from kd_offload.graphs import chain, random_graph
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
    model = open_network(run.model_path(ROLE, "", run.profile.any_seeds[0]))
    rows = []
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
