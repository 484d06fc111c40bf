"""Training saves what it says, and the tables of mistakes and sizes are those of the networks."""

import shutil

import numpy as np
import pytest

from experiments.run import load, save_table
from experiments.scenarios import SHOWN, TRAINED, scenario
from experiments.studies import teacher_and_student as study
from kd_offload.model import decide, open_model


def test_training_again_gives_the_same_networks_and_whole_curves(fresh, tiny):
    shutil.copytree(tiny.out / "data" / "chain", fresh.out / "data" / "chain")
    curves = study.train_all(fresh, ["chain"])
    roles, seeds = sorted(recipe.role for recipe in study.RECIPES), tiny.profile.seeds
    for role in roles:
        for seed in seeds:
            again, before = (run.model_path(role, "chain", seed) for run in (fresh, tiny))
            assert again.read_bytes() == before.read_bytes()
    keys = [*curves.groupby(["role", "scenario", "seed"]).groups]
    assert keys == [(role, "chain", seed) for role in roles for seed in seeds]
    assert curves.groupby(["role", "seed"]).step.max().eq(tiny.profile.steps).all()
    for name in (*SHOWN, "networks"):
        save_table(fresh, f"training_curves_{name}", curves.assign(scenario=name))
    assert study.training_curves(fresh).scenario.unique().tolist() == [*SHOWN, "networks"]


def test_mistakes_are_the_students(tiny):
    table = study.mistakes(tiny, "dag").set_index("wrong_labels")
    assert table.tasks.sum() == pytest.approx(1)
    assert (table.regret_mean <= table.regret_max).all() and (table.regret_max > -1e-9).all()
    test, right = load(tiny, "dag", "test"), []
    for seed in tiny.profile.seeds:
        model = open_model(tiny.model_path("student", "dag", seed))
        placements = decide(model, scenario("dag").graph, test.tasks)
        right.append((placements == test.placements).all(1).mean())
    assert table.tasks.get(0, 0.0) == pytest.approx(np.mean(right))


def test_the_student_is_lighter_everywhere(tiny):
    sizes = study.model_sizes(tiny).pivot(index="scenario", columns="role")
    assert {*sizes.index} == {*TRAINED}
    for quantity in ("parameters", "macs", "bytes"):
        assert (sizes[quantity].student < sizes[quantity].teacher / 5).all()
