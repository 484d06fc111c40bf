"""Studies of learning: where distillation helps, and what each idea of a better student brings.

Every row is one network trained anew or one decider tried, with its mean regret on test tasks. All networks of a study
take the same number of steps, so that the one with a teacher is compared with the same one trained as long without.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from .config import Run
from .dataset import Labelled, load, load_regret, scenario
from .delay import delay
from .labels import anytime
from .learning import RECIPES, Model, Recipe, fit, in_parallel, logits, model_path, open_model
from .sampling import sample_tasks
from .tuning import fit_tuned, tuning
from .verification import default_evaluations, improve

TEMPERATURES, MIXES, WIDTHS = (1.0, 2.0, 4.0, 8.0), (0.0, 0.25, 0.75), (16, 32, 128)
SOFTNESS = 0.1  # a wrong label that costs this share of the optimum keeps 1/e of the right one's weight


def _part(data: Labelled, count: int) -> Labelled:
    return Labelled(*(a[:count] for a in data))


def _regret(model: Model, test: Labelled) -> tuple[float, float]:
    """Mean regret and label accuracy of a network's own decisions."""
    graph, x = scenario(model.scenario).graph, logits(model, test.tasks).argmax(-1).astype(np.int8)
    regret = delay(graph, test.tasks, x) / test.delays - 1
    return float(regret.mean()), float((x == test.placements).mean())


def _fit(recipe: Recipe, name, train, validation, steps, batch, seed, soft=None) -> Model:
    """`fit` for about `steps` steps, whatever the number of tasks."""
    epochs = max(1, round(steps * batch / len(train.tasks)))
    return fit(recipe, name, train, validation, epochs, min(batch, len(train.tasks)), seed, soft)[0]


def distillation(run: Run, name: str = "dag") -> pd.DataFrame:
    """The table of the distillation study: factor, value, labels, variant, seed, regret, label_accuracy.

    variant: plain (no teacher), distilled (the teacher on the labelled tasks), transfer (besides, on fresh tasks without
    labels). A teacher has seen no more labels than its student. The base is 64-64, T = 2, equal parts.
    """
    p = run.profile
    seeds = p.seeds[: p.study_seeds]
    budgets = [b for b in p.study_labels if b <= p.train]
    teachers = in_parallel(
        _teacher, [(run, name, b, seed) for b in budgets for seed in seeds], "teachers of fewer labels"
    )
    taught = dict(zip([(b, seed) for b in budgets for seed in seeds], teachers))
    todo = []
    for seed in seeds:
        for b in budgets:
            for variant in ("plain", "distilled", "transfer"):
                todo.append(("labels", b, b, variant, [taught[b, seed]], seed, {}))
        b = budgets[min(2, len(budgets) - 1)]
        for field, values in (("temperature", TEMPERATURES), ("mix", MIXES)):
            todo += [(field, v, b, "distilled", [taught[b, seed]], seed, {field: v}) for v in values]
        for width in WIDTHS:
            for variant in ("plain", "distilled"):
                todo.append(("width", width, b, variant, [taught[b, seed]], seed, {"hidden": (width, width)}))
        todo.append(("teachers", len(seeds), b, "distilled", [taught[b, s] for s in seeds], seed, {}))
        todo.append(("teachers", len(seeds), b, "transfer", [taught[b, s] for s in seeds], seed, {}))
    rows = in_parallel(_student, [(run, name, *t) for t in todo], "distillation study")
    rows += [
        {"factor": "teacher", "value": b, "labels": b, "variant": "teacher", "seed": seed}
        | dict(zip(("regret", "label_accuracy"), _regret(taught[b, seed], load(run, name, "test"))))
        for b, seed in taught
    ]
    return pd.DataFrame(rows)


def _teacher(run: Run, name: str, labels: int, seed: int) -> Model:
    """A teacher of the first `labels` labels; where that is all of them, the run's own."""
    p = run.profile
    if labels == p.train_count(name):
        return open_model(model_path(run, "teacher", name, seed))
    train, validation = _part(load(run, name, "train"), labels), load(run, name, "validation")
    steps = max(p.study_steps // 10, p.teacher_epochs * labels // 256)  # a few labels are seen more often
    return _fit(RECIPES["teacher"], name, train, validation, steps, min(256, p.teacher_batch), seed)


def _student(run: Run, name, factor, value, labels, variant, teachers, seed, changes) -> dict:
    """One student of the study."""
    p = run.profile
    train, validation = _part(load(run, name, "train"), labels), load(run, name, "validation")
    recipe = replace(RECIPES["student_plain" if variant == "plain" else "student"], **changes)
    if variant == "transfer":
        where, rng = scenario(name), np.random.default_rng([seed, labels])
        fresh = sample_tasks(where.graph, p.train_count(name), rng, workload=where.workload)
        unknown = np.full((len(fresh), where.graph.n), -1, np.int8)
        train = Labelled(np.concatenate([train.tasks, fresh]), np.concatenate([train.placements, unknown]), None, None)
    soft = None if variant == "plain" else np.mean([logits(t, train.tasks) for t in teachers], axis=0)
    model = _fit(recipe, name, train, validation, p.study_steps, p.student_batch, seed, soft)
    about = {"factor": factor, "value": value, "labels": labels, "variant": variant, "seed": seed}
    return about | dict(zip(("regret", "label_accuracy"), _regret(model, load(run, name, "test"))))


def ideas(run: Run, names: tuple[str, ...] = ("dag", "fusion")) -> pd.DataFrame:
    """The table of what each idea brings: scenario, idea, evaluations, seed, parameters, regret, regret_p99, spent.

    evaluations: the budget of the delay model, 0 for none; spent: the mean number used. The exact search is stopped when it has
    placed as many subtasks as the budget allows.
    """
    p = run.profile
    seeds = p.seeds[: p.study_seeds]
    jobs = [(run, name, seed) for name in names for seed in seeds]
    models = [m for made in in_parallel(_idea_models, jobs, "ideas") for m in made]
    rows = []
    for name in names:
        graph, test = scenario(name).graph, load(run, name, "test")
        start = {
            "the three single locations": np.tile(np.arange(3, dtype=np.int8)[:, None], (len(test.tasks), 1, graph.n))
        }
        for budget in p.study_evaluations:
            for idea, x in start.items():
                _, d, spent = improve(graph, test.tasks, x, max(budget, 5))
                rows.append(_idea_row(name, idea, max(budget, 5), "", 0, d, test, spent.mean()))
            nodes = max(budget * graph.n, 3 * graph.n)
            _, d, _ = anytime(graph, test.tasks, nodes)
            rows.append(_idea_row(name, "exact search, stopped", nodes / graph.n, "", 0, d, test, nodes / graph.n))
        for idea, m in models:
            if m.scenario != name:
                continue
            x = logits(m, test.tasks).argmax(-1).astype(np.int8)
            if m.hypotheses == 1:
                d = delay(graph, test.tasks, x)
                rows.append(_idea_row(name, idea, 0, m.seed, m.parameters, d, test, 0))
            x = x.reshape(len(x), -1, graph.n)
            for budget in sorted({m.hypotheses + 2, default_evaluations(graph), *p.study_evaluations}):
                if budget >= m.hypotheses + 2:
                    _, d, spent = improve(graph, test.tasks, x, budget)
                    rows.append(
                        _idea_row(name, f"{idea}, verified", budget, m.seed, m.parameters, d, test, spent.mean())
                    )
    return pd.DataFrame(rows)


def _idea_row(name, idea, evaluations, seed, parameters, delays, test, spent) -> dict:
    regret = delays / test.delays - 1
    about = {"scenario": name, "idea": idea, "evaluations": evaluations, "seed": seed, "parameters": parameters}
    return about | {"regret": regret.mean(), "regret_p99": np.quantile(regret, 0.99), "spent": spent}


def _idea_models(run: Run, name: str, seed: int) -> list[tuple[str, Model]]:
    """The networks compared for one scenario and seed: the run's own, and three more."""
    p, where = run.profile, scenario(name)
    train, validation = load(run, name, "train"), load(run, name, "validation")
    found = [
        (idea, open_model(model_path(run, role, name, seed)))
        for idea, role in (
            ("labels alone", "student_plain"),
            ("distilled", "student"),
            ("fine-tuned on delay", "student_tuned"),
            ("K hypotheses, fine-tuned", "student_verified"),
        )
    ]
    price = load_regret(run, name, "train")
    part = _part(train, len(price))
    soft = (-price / (SOFTNESS * part.delays[:, None, None])).astype(np.float32)
    aware = replace(RECIPES["student"], temperature=1.0, mix=0.0)
    for idea, recipe, targets in (
        ("soft targets from regret", aware, soft),
        ("labels of the same tasks", RECIPES["student_plain"], None),
    ):
        found.append((idea, _fit(recipe, name, part, validation, p.study_steps, p.student_batch, seed, targets)))
    imitating = replace(tuning(run, "student_verified", name), delay_steps=0)
    found.append(("K hypotheses, imitation alone", fit_tuned(imitating, name, where, train, validation, seed)[0]))
    return found
