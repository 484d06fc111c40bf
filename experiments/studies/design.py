"""What each choice of `anygraph` brings, and whether a wide teacher buys a smaller student.

Every row is a network trained anew, all by as many steps, far fewer than the artifact's own: the
table compares choices, it does not show the best that any of them can do. They are compared on
graphs of the training families, never on a test graph.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.run import Run
from anygraph.decision import decide
from anygraph.families import held_apart, training_graph
from anygraph.propose import propose
from anygraph.network import GraphNetwork
from anygraph.training import TrainingConfig, course, fit_any
from kd_offload.delay import delay
from kd_offload.labels import search
from experiments.parallel import in_parallel
from kd_offload.tasks import sample_tasks
from experiments.studies.conditions import generator

WIDTHS = (8, 12, 16, 24)
TEACHER = 64  # the width of `teacher_any`
SIZES = (10, 20, 24, 40)  # subtasks of the graphs that networks are compared on
SWEEPS = ("P", "U", "M", "E", "S")  # all that carries anything from node to node


class Case(NamedTuple):
    """One network of the study: what was changed, and its width."""

    variant: str
    width: int
    seed: int


def _changed(run: Run, variant: str) -> dict:
    """What a variant changes of the course."""
    first, then = run.profile.any_study_steps
    return {
        "no sweeps": {"without": SWEEPS},
        "no term in the node before": {"without": ("P",)},
        "one way only": {"without": ("S", "A")},
        "one family": {"families": ("near",)},
        "default ranges only": {"default": 1.0},
        "1 hypothesis": {"hypotheses": 1},
        "8 hypotheses": {"hypotheses": 8},
        "imitation alone": {"imitation_steps": first + then, "delay_steps": 0},
        "delay alone": {"imitation_steps": 0, "delay_steps": first + then},
    }.get(variant, {})


ABLATIONS = (
    "no sweeps", "no term in the node before", "one way only", "one family", "default ranges only",
    "1 hypothesis", "8 hypotheses", "imitation alone", "delay alone",
)  # fmt: skip


def design(run: Run) -> pd.DataFrame:
    """The table of the study: variant, width, seed, parameters, graphs, tasks, regret, best_of_k.

    variant: plain; distilled (its first stage learns the outputs of a network TEACHER wide, trained
    as long, in place of labels); teacher; or one of ABLATIONS, of the artifact's own width. regret:
    of the decision with 40 evaluations; best_of_k: of the best proposal, unmended; means over tasks
    against the best known. graphs: n subtasks, see `validation_sets`. Slow: some twenty minutes.
    """
    seeds = run.profile.any_study_seeds
    wide = [Case("teacher", TEACHER, seed) for seed in seeds]
    taught = in_parallel(_trained, [(run, case, None) for case in wide], "wide networks")
    own = course(run).width
    todo = [(run, Case("plain", w, seed), None) for w in WIDTHS for seed in seeds]
    for teacher in taught:
        todo += [(run, Case("distilled", w, teacher.seed), teacher) for w in WIDTHS]
    todo += [(run, Case(what, own, seed), None) for what in ABLATIONS for seed in seeds[:2]]
    models = [*taught, *in_parallel(_trained, todo, "networks of the study")]
    cases = [*wide, *(case for _, case, _ in todo)]
    sets = validation_sets(run)
    return pd.DataFrame(
        [case._asdict() | row for case, m in zip(cases, models) for row in _rows(m, sets)]
    )


def _trained(run: Run, case: Case, teacher: GraphNetwork | None) -> GraphNetwork:
    first, then = run.profile.any_study_steps
    steps = {"imitation_steps": first, "delay_steps": then}
    changes = {"role": case.variant, "width": case.width} | steps | _changed(run, case.variant)
    chosen: TrainingConfig = course(run, **changes)
    return fit_any(chosen, case.seed, teacher)[0]


def validation_sets(run: Run) -> dict[str, list[tuple]]:
    """Name -> [(graph, tasks (S, F), best known delays (S,) s)]: of SIZES, none a test graph."""
    made, p = {}, run.profile
    for n in SIZES:
        rng, apart = generator(run, f"validation {n}"), held_apart()
        graphs = [training_graph(rng, (n, n), apart) for _ in range(p.scale_graphs)]
        drawn = [(g, sample_tasks(g, p.scale_tasks, rng)) for g in graphs]
        made[f"{n} subtasks"] = [(g, t, search(g, t, 300_000).delays) for g, t in drawn]
    return made


def _rows(model: GraphNetwork, sets) -> list[dict]:
    rows = []
    for name, parts in sets.items():
        regret, proposed = [], []
        for graph, tasks, best in parts:
            x = propose(model, graph, tasks)
            each = [delay(graph, tasks, x[:, k]) for k in range(model.hypotheses)]
            regret.append(decide(model, graph, tasks)[1] / best - 1)
            proposed.append(np.min(each, axis=0) / best - 1)
        regret, proposed = map(np.concatenate, (regret, proposed))
        row = {"parameters": model.parameters, "graphs": name, "tasks": len(regret)}
        rows.append(row | {"regret": regret.mean(), "best_of_k": proposed.mean()})
    return rows
