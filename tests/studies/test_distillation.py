"""Students with a teacher and without: the recipes chosen, the networks compared, the intervals."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.run import Run, load
from experiments.scenarios import scenario
from experiments.studies import distillation
from experiments.studies.distillation import (
    CHAIN,
    DISTILLED,
    HALF,
    INDEPENDENT,
    MAP,
    PLAINLY,
    TEACHES,
    UNLABELLED,
    WIDTH,
    Point,
    Setting,
)
from kd_offload.delay import delay
from kd_offload.distill import PLAIN, STUDENT, fit
from kd_offload.labels import Labelled
from kd_offload.model import decide, logits, open_model


def point(run: Run, labels: int = 200, dependence: str = CHAIN) -> Point:
    everything, validation = (load(run, "dag", split) for split in ("train", "validation"))
    return Point(run, "dag", labels, dependence, everything, validation)


def setting(network: str, **changes) -> Setting:
    values = ("labels", "dag", 200, CHAIN, network, 64, 2.0, 0.5, 0.0, 20)
    return Setting(*values)._replace(**changes)


def test_students_are_compared_with_the_plain_one_over_seeds_and_tasks():
    rng = np.random.default_rng(2)
    hard = rng.exponential(1.0, (1, 400))
    plain = hard + rng.normal(0, 0.02, (5, 400))
    shift = np.array([-0.02, 0.0, 0.02, 0.01, -0.01])[:, None]  # as large as the seeds' own
    regret = {
        setting(TEACHES): plain - 0.05,
        setting(PLAINLY): plain,
        setting(DISTILLED): plain + 0.01,
        setting(UNLABELLED): plain + shift,
        setting(PLAINLY, width=32): plain + 1,
        setting(DISTILLED, width=32): plain + 1.1,
        setting(TEACHES, labels=400): plain + 0.2,
        setting(PLAINLY, labels=400): plain + 0.1,
        setting(DISTILLED, labels=400): plain,
    }
    rows = distillation.compare(regret, 500, rng)
    assert [row["regret"] for row in rows] == pytest.approx([v.mean() for v in regret.values()])
    assert [row.get("difference") for row in rows] == [
        None, None, pytest.approx(0.01), pytest.approx(0), None, pytest.approx(0.1),
        None, None, pytest.approx(-0.1),
    ]  # fmt: skip
    better = [row["teacher_better"] for row in rows if "teacher_better" in row]
    assert better == [True, True, True, False]
    exact, noisy = rows[2], rows[3]
    assert exact["p"] < 1e-6
    assert exact["difference_low"] == pytest.approx(exact["difference_high"])
    assert noisy["difference_low"] < 0 < noisy["difference_high"] and noisy["p"] > 0.5
    half = 2.776445 * shift.std(ddof=1) / 5**0.5  # Student's t, four degrees of freedom
    width = noisy["difference_high"] - noisy["difference_low"]
    assert width == pytest.approx(2 * half, rel=0.15)
    assert rows[1]["regret_low"] < plain.mean() < rows[1]["regret_high"]


def test_every_setting_is_there_and_the_shipped_networks_are_those_of_the_run(tiny, monkeypatch):
    monkeypatch.setattr(distillation, "SHOWN", ("chain", "dag"))
    monkeypatch.setattr(distillation, "TEMPERATURES", (1.0, 2.0))
    monkeypatch.setattr(distillation, "MIXES", (0.0, 0.5))
    profile = tiny.profile
    table = distillation.distillation(tiny)
    count = table.groupby(["study", "scenario"]).size()
    by_labels = 4 + 3  # 200 labels, and the shipped ones
    independent = 3 + 3
    assert (count["labels"] == by_labels + independent).all() and set(table.scenario) == {
        "chain",
        "dag",
    }
    assert (count[HALF] == 2).all() and (count[WIDTH] == 4).all()
    assert count[MAP].to_dict() == {"dag": 3}
    assert (table.seeds == len(profile.seeds)).all()
    compared = table.network.isin([DISTILLED, UNLABELLED])
    assert (table.p_holm.notna() == compared).all()
    assert (table.p_holm[compared] >= table.p[compared]).all()
    assert (table.regret_low <= table.regret).all()
    row = table[(table.scenario == "dag") & (table.labels == profile.train)]
    row = row[(row.dependence == CHAIN) & (row.network == PLAINLY)].iloc[0]
    test, regrets = load(tiny, "dag", "test"), []
    for seed in profile.seeds:
        model = open_model(tiny.model_path("student_plain", "dag", seed))
        delays = delay(scenario("dag").graph, test.tasks, decide(model, model.graph, test.tasks))
        regrets.append((delays / test.delays - 1).mean())
    assert row.regret == pytest.approx(np.mean(regrets)) and row.steps == profile.steps


def test_the_recipe_is_the_best_on_validation_tasks(tiny, monkeypatch):
    monkeypatch.setattr(distillation, "DECAYS", (0.0, 30.0))
    at = point(tiny)
    candidates = at.candidates(PLAINLY)
    assert [recipe.weight_decay for recipe in candidates] == [0.0, 30.0]
    regret = []
    for recipe in candidates:
        (model,) = fit(recipe, at.graph, at.train, at.validation, [0]).models
        delays = delay(at.graph, at.validation.tasks, decide(model, at.graph, at.validation.tasks))
        regret.append((delays / at.validation.delays - 1).mean())
    chosen, model = at.chosen(PLAINLY, 0)
    assert regret[0] != regret[1] and chosen == candidates[int(np.argmin(regret))]
    assert (model.weights[0] != 0).any() and model.units == PLAIN.units
    teachers = point(tiny, dependence=INDEPENDENT).candidates(TEACHES)
    assert [(r.steps, r.weight_decay) for r in teachers] == [*tiny.profile.grid_teachers]
    assert {recipe.units for recipe in teachers} == {0}


def test_unlabelled_tasks_are_learned_as_the_teacher_decides_them(tiny):
    """By hand: exact labels first, the teacher's decisions behind them, its logits given either."""
    at = point(tiny, labels=50)
    teacher = open_model(tiny.model_path("teacher", "dag", 0))
    soft = logits(teacher, at.train.tasks, at.train.placements)
    recipe = replace(STUDENT, steps=20, batch=15, mix=0.25)  # it sees 300 of the 400
    model = distillation.with_unlabelled(at, recipe, teacher, soft, seed=1)
    exact = Labelled(*(part[:300] for part in at.everything))
    tasks, labels = exact.tasks, decide(teacher, at.graph, exact.tasks)
    labels[:50] = exact.placements[:50]
    seen = exact._replace(placements=labels)
    expected = logits(teacher, tasks, labels)[None]
    (again,) = fit(recipe, at.graph, seen, at.validation, [1], expected).models
    assert np.allclose(model.weights[0], again.weights[0], atol=1e-5)
    assert (labels != exact.placements).any()  # not the exact ones
