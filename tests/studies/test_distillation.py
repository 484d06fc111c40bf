"""The grid of distillation compares pairs, and has every cell."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from experiments.run import Run, load
from experiments.scenarios import SHOWN, scenario
from experiments.studies import distillation
from kd_offload.delay import delay
from kd_offload.distill import PLAIN, fit
from kd_offload.model import decide


def test_a_cell_compares_pairs_over_seeds_and_tasks():
    rng = np.random.default_rng(2)
    hard = rng.exponential(1.0, (1, 400))
    plain = hard + rng.normal(0, 0.02, (5, 400))
    row = distillation.compare(plain - 0.05, plain, plain + 0.01, 500, rng)
    assert row["teacher_better"] and row["difference"] == pytest.approx(0.01)
    assert row["p"] < 1e-6 and row["ci_low"] == pytest.approx(row["ci_high"])
    shift = np.array([-0.02, 0.0, 0.02, 0.01, -0.01])[:, None]  # as large as the seeds' own
    row = distillation.compare(plain + 0.001, plain, plain + shift, 500, rng)
    assert not row["teacher_better"] and row["ci_low"] < 0 < row["ci_high"] and row["p"] > 0.5
    half = 2.776445 * shift.std(ddof=1) / 5**0.5  # Student's t, four degrees of freedom
    assert row["ci_high"] - row["ci_low"] == pytest.approx(2 * half, rel=0.15)


def test_the_grid_has_every_cell(tiny):
    table = distillation.distillation_grid(tiny)
    profile = tiny.profile
    cells = {*product(SHOWN, profile.grid_labels, distillation.WIDTHS)}
    assert {*table[["scenario", "labels", "width"]].itertuples(index=False, name=None)} == cells
    assert len(table) == len(cells) and (table.seeds == len(profile.seeds)).all()
    assert np.allclose(table.difference, table.regret_distilled - table.regret_plain)
    assert set(table.weight_decay) <= set(distillation.WEIGHT_DECAYS)
    assert (table.p_holm >= table.p).all() and (table.ci_low <= table.ci_high).all()
    few = Run(replace(profile, grid_labels=(200,), seeds=profile.seeds[:1]), tiny.out)
    one_seed = distillation.cells(few, "dag", 200)
    assert len(one_seed) == 3 and all(0 <= cell["p"] <= 1 for cell in one_seed)


def test_the_weight_decay_is_the_best_on_validation_tasks(tiny, monkeypatch):
    graph, train, validation = scenario("dag").graph, *_splits(tiny)
    monkeypatch.setattr(distillation, "WEIGHT_DECAYS", (0.0, 30.0))
    recipe = replace(PLAIN, hidden=(16,), units=2, steps=60, batch=50)
    chosen = distillation.chosen_decay(recipe, graph, train, validation, 0)
    regret = {}
    for decay in (0.0, 30.0):
        (model,) = fit(replace(recipe, weight_decay=decay), graph, train, validation, [0]).models
        delays = delay(graph, validation.tasks, decide(model, graph, validation.tasks))
        regret[decay] = (delays / validation.delays - 1).mean()
    assert regret[0.0] != regret[30.0] and chosen == min(regret, key=regret.get)


def _splits(run):
    return (load(run, "dag", split) for split in ("train", "validation"))
