"""One network for any task graph: its training, graphs of unseen families, and its design.

Training never sees a test graph: the hashes of all test graphs are handed to it, and it refuses
what equals one of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from anygraph import GraphNetwork, TrainingConfig, decide, open_network, save_network
from anygraph.families import UNSEEN_FAMILIES, draw, edges_hash, training_graph
from anygraph.network import ROLE
from anygraph.propose import propose
from anygraph.training import fit
from experiments.parallel import in_parallel
from experiments.run import Run, generator, provenance
from experiments.scenarios import SCENARIOS, scenario
from kd_offload.data import save_json, sha256
from kd_offload.delay import delay
from kd_offload.graphs import TaskGraph, chain, random_graph
from kd_offload.labels import search
from kd_offload.tasks import sample_tasks

LARGEST_TEST_CHAIN = 64  # subtasks; of random graphs, too
TEST_INDICES = 50  # random_<n>_<index> with an index below this one are test graphs


@cache
def held_apart(largest: int = LARGEST_TEST_CHAIN) -> frozenset[str]:
    """Hashes of all test graphs: the scenarios', and chains and random graphs up to a size."""
    graphs = [scenario(name).graph for name in SCENARIOS]
    for n in range(1, largest + 1):
        graphs += [chain(n), *(random_graph(n, index) for index in range(TEST_INDICES))]
    return frozenset(map(edges_hash, graphs))


def training_config(run: Run, **changes) -> TrainingConfig:
    """The configuration of `anygraph` at a run's sizes, with `changes`."""
    imitation, against_delay = run.profile.any_steps
    config = TrainingConfig(
        graphs=run.profile.any_graphs, imitation_steps=imitation, delay_steps=against_delay
    )
    return replace(config, **changes)


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


# The study of the design. Every row is a network trained anew, all by as many steps, far fewer than
# the artifact's own: the table compares choices, it does not show the best that any of them can do.

WIDTHS = (8, 12, 16, 24)
TEACHER_WIDTH = 64
SIZES = (10, 20, 24, 40)  # subtasks of the graphs that networks are compared on
SWEEPS = ("P", "U", "M", "E", "S")  # all parameters that carry anything from node to node
ABLATIONS = {  # what each changes of the configuration
    "no sweeps": {"without": SWEEPS},
    "no term in the node before": {"without": ("P",)},
    "one way only": {"without": ("S", "A")},
    "one family": {"families": ("near",)},
    "default ranges only": {"default": 1.0},
    "1 hypothesis": {"hypotheses": 1},
    "8 hypotheses": {"hypotheses": 8},
}


class Variant(NamedTuple):
    """One network of the study."""

    variant: str  # "plain", "distilled", "teacher", or an ablation
    width: int
    seed: int


class ValidationSet(NamedTuple):
    """A graph that networks are compared on, which is no test graph."""

    graph: TaskGraph
    tasks: np.ndarray  # float64 (S, F), SI units
    delays: np.ndarray  # float64 (S,): the best known, s


def design(run: Run) -> pd.DataFrame:
    """What each choice brings, and whether a wide teacher buys a smaller student: hours.

    Returns
    -------
    pandas.DataFrame
        Columns variant, width, seed, parameters, graphs ("<n> subtasks"), tasks, and means over
        tasks against the best known: regret, of the decision with 40 evaluations, and best_of_k, of
        the best proposal, not improved. Variants: plain; distilled (its first stage learns the
        outputs of a wide teacher, trained as long, in place of labels); teacher; the ablations, of
        the artifact's own width.
    """
    seeds, width = run.profile.any_study_seeds, training_config(run).width
    wide = [Variant("teacher", TEACHER_WIDTH, seed) for seed in seeds]
    teachers = in_parallel(_fit_variant, [(run, v, None) for v in wide], "wide networks")
    jobs = [(run, Variant("plain", w, seed), None) for w in WIDTHS for seed in seeds]
    for teacher in teachers:
        jobs += [(run, Variant("distilled", w, teacher.seed), teacher) for w in WIDTHS]
    for name in [*ABLATIONS, "imitation alone", "delay alone"]:
        jobs += [(run, Variant(name, width, seed), None) for seed in seeds[:2]]
    students = in_parallel(_fit_variant, jobs, "networks of the study")
    variants = wide + [variant for _, variant, _ in jobs]
    sets = validation_sets(run)
    rows = []
    for variant, model in zip(variants, teachers + students):
        about = variant._asdict() | {"parameters": model.parameters}
        rows += [about | {"graphs": name} | _quality(model, sets[name]) for name in sets]
    return pd.DataFrame(rows)


def _fit_variant(run: Run, variant: Variant, teacher: GraphNetwork | None) -> GraphNetwork:
    imitation, against_delay = run.profile.any_study_steps
    changes = {"imitation_steps": imitation, "delay_steps": against_delay, "width": variant.width}
    if variant.variant == "imitation alone":
        changes |= {"imitation_steps": imitation + against_delay, "delay_steps": 0}
    elif variant.variant == "delay alone":
        changes |= {"imitation_steps": 0, "delay_steps": imitation + against_delay}
    else:
        changes |= ABLATIONS.get(variant.variant, {})
    config = training_config(run, **changes)
    return fit(config, variant.seed, held_apart(), teacher).network


def validation_sets(run: Run) -> dict[str, list[ValidationSet]]:
    """Sets of random graphs of the training families, by their size."""
    sets, profile = {}, run.profile
    for n in SIZES:
        rng = generator(run, f"validation {n}")
        graphs = [training_graph(rng, (n, n), held_apart()) for _ in range(profile.scale_graphs)]
        tasks = [sample_tasks(graph, profile.scale_tasks, rng) for graph in graphs]
        sets[f"{n} subtasks"] = [
            ValidationSet(graph, drawn, search(graph, drawn, 300_000).delays)
            for graph, drawn in zip(graphs, tasks)
        ]
    return sets


def _quality(model: GraphNetwork, sets: Sequence[ValidationSet]) -> dict:
    """A network's means over all tasks of some sets."""
    regrets, of_proposals = [], []
    for graph, tasks, best in sets:
        proposals = propose(model, graph, tasks)
        each = [delay(graph, tasks, proposals[:, k]) for k in range(model.hypotheses)]
        of_proposals.append(np.min(each, axis=0) / best - 1)
        regrets.append(decide(model, graph, tasks).delays / best - 1)
    regret, best_of_k = np.concatenate(regrets), np.concatenate(of_proposals)
    return {"tasks": len(regret), "regret": regret.mean(), "best_of_k": best_of_k.mean()}
