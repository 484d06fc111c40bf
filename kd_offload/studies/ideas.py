"""What each idea of a better student brings: networks alone and verified, beside rivals of none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from ..artifact import Run
from ..beyond.delay_aware import fit_tuned, tuning
from ..beyond.prices import load_prices
from ..beyond.verification import default_evaluations, improve
from ..dataset import load
from ..delay import delay
from ..distill import PLAIN, STUDENT, fit
from ..labels import anytime
from ..models import Model, logits
from ..parallel import in_parallel
from ..rivals.policies import opened
from ..scenarios import scenario
from .distillation import for_steps, part

SOFTNESS = 0.1  # a wrong label that costs this share of the optimum keeps 1/e of the right's weight
OWN = {
    "labels alone": "student_plain",
    "distilled": "student",
    "fine-tuned on delay": "student_tuned",
    "K hypotheses, fine-tuned": "student_verified",
}


def ideas(run: Run, names: tuple[str, ...] = ("dag", "fusion")) -> pd.DataFrame:
    """Columns: scenario, idea, evaluations, seed, parameters, regret, regret_p99, spent.

    evaluations: the budget of the delay model, 0 for none; spent: the mean number used. The exact
    search is stopped when it has placed as many subtasks as the budget allows.
    """
    seeds = run.profile.seeds[: run.profile.study_seeds]
    jobs = [(run, name, seed) for name in names for seed in seeds]
    made = [pair for pairs in in_parallel(_models, jobs, "ideas") for pair in pairs]
    rows = []
    for name in names:
        test = load(run, name, "test")
        decided = list(_without_network(run, name, test))
        for idea, model in made:
            if model.scenario == name:
                decided += _of_network(run, idea, model, test)
        for idea, evaluations, seed, parameters, delays, spent in decided:
            regret = delays / test.delays - 1
            row = {"scenario": name, "idea": idea, "evaluations": evaluations, "seed": seed}
            row |= {"parameters": parameters, "regret": regret.mean()}
            rows.append(row | {"regret_p99": np.quantile(regret, 0.99), "spent": np.mean(spent)})
    return pd.DataFrame(rows)


def _without_network(run, name, test):
    """Yields (idea, evaluations, seed, parameters, delays (S,) s, evaluations spent)."""
    graph = scenario(name).graph
    singles = np.arange(3, dtype=np.int8)[:, None].repeat(graph.n, 1)
    start = np.tile(singles, (len(test.tasks), 1, 1))
    for budget in run.profile.study_evaluations:
        _, delays, spent = improve(graph, test.tasks, start, max(budget, 5))
        yield "the three single locations", max(budget, 5), "", 0, delays, spent
        whole = max(budget, 3)
        delays = anytime(graph, test.tasks, whole * graph.n)[1]
        yield "exact search, stopped", whole, "", 0, delays, whole


def _of_network(run, idea, model, test):
    """The same of a network alone, if it proposes one placement, and verified."""
    graph, least = scenario(model.scenario).graph, model.hypotheses + 2
    x = logits(model, test.tasks).argmax(-1).astype(np.int8)
    about = model.seed, model.parameters
    if model.hypotheses == 1:
        yield idea, 0, *about, delay(graph, test.tasks, x), 0
    x = x.reshape(len(x), -1, graph.n)
    for budget in sorted({least, default_evaluations(graph), *run.profile.study_evaluations}):
        if budget >= least:
            yield f"{idea}, verified", budget, *about, *improve(graph, test.tasks, x, budget)[1:]


def _models(run: Run, name: str, seed: int) -> list[tuple[str, Model]]:
    """The networks compared for one scenario and seed: the run's own, and three more."""
    p, price = run.profile, load_prices(run, name, "train")
    train, validation = load(run, name, "train"), load(run, name, "validation")
    found = [(idea, opened(run, role, name, seed)) for idea, role in OWN.items()]
    priced = part(train, len(price))
    soft = (-price / (SOFTNESS * priced.delays[:, None, None])).astype(np.float32)
    aware = replace(STUDENT, temperature=1.0, mix=0.0)
    for idea, recipe in (("soft targets from regret", aware), ("labels of the same tasks", PLAIN)):
        recipe = for_steps(recipe, len(price), p.study_steps, p.student_batch)
        found.append((idea, fit(recipe, name, priced, validation, seed, soft)[0]))
    imitating = replace(tuning(run, "student_verified", name), delay_steps=0)
    model, _ = fit_tuned(imitating, scenario(name), train, validation, seed)
    return [*found, ("K hypotheses, imitation alone", model)]
