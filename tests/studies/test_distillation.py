"""Studies that train anew, and what is too slow for `paper`."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from experiments.run import Run, get_run, read_table
from anygraph.families import edges_hash, held_apart
from anygraph.network import layout
from anygraph.training import fit_any
from experiments.profiles import PROFILES
from experiments.scenarios import SHOWN
from experiments.studies import design
from experiments.studies import grid
from experiments.studies import slow


def test_a_cell_compares_pairs_over_seeds_and_tasks():
    rng = np.random.default_rng(2)
    hard = rng.exponential(1.0, (1, 400))
    plain = hard + rng.normal(0, 0.02, (5, 400))
    row = grid.compared(plain - 0.05, plain, plain + 0.01, 500, rng)
    assert row["teacher_better"] and row["difference"] == pytest.approx(0.01)
    assert row["p"] < 1e-6 and row["ci_low"] == pytest.approx(row["ci_high"])
    shift = np.array([-0.02, 0.0, 0.02, 0.01, -0.01])[:, None]  # as large as the seeds' own
    row = grid.compared(plain + 0.001, plain, plain + shift, 500, rng)
    assert not row["teacher_better"] and row["ci_low"] < 0 < row["ci_high"] and row["p"] > 0.5
    half = 2.776445 * shift.std(ddof=1) / 5**0.5  # Student's t, four degrees of freedom
    assert row["ci_high"] - row["ci_low"] == pytest.approx(2 * half, rel=0.15)


def test_the_grid_has_every_cell(tiny):
    table = grid.distillation_grid(tiny)
    p = tiny.profile
    cells = {*product(SHOWN, p.grid_labels, grid.WIDTHS)}
    assert {*table[["scenario", "labels", "width"]].itertuples(index=False, name=None)} == cells
    assert len(table) == len(cells) and (table.seeds == len(p.seeds)).all()
    assert np.allclose(table.difference, table.regret_distilled - table.regret_plain)
    assert (table.p_holm >= table.p).all() and (table.ci_low <= table.ci_high).all()
    few = Run(replace(p, grid_labels=(200,), seeds=p.seeds[:1]), tiny.out)
    again = grid.distillation_grid(few)
    assert len(again) == 9 and again.p.between(0, 1).all()


def test_the_study_of_the_design_has_every_variant(fresh, monkeypatch):
    monkeypatch.setattr(design, "WIDTHS", (4, 6))
    monkeypatch.setattr(design, "TEACHER", 8)
    monkeypatch.setattr(design, "ABLATIONS", ("no sweeps", "8 hypotheses", "imitation alone"))
    table = design.design(fresh)
    counts = table[table.graphs == "10 subtasks"].groupby("variant").width.apply(sorted).to_dict()
    assert counts.pop("plain") == counts.pop("distilled") == [4, 6] and counts.pop("teacher") == [8]
    assert counts == {key: [24] for key in design.ABLATIONS}
    assert {*table.graphs} == {f"{n} subtasks" for n in design.SIZES}
    assert (table.regret > -1e-3).all() and (table.regret <= table.best_of_k + 1e-12).all()
    held = design.course(fresh, without=design.SWEEPS)
    model, _ = fit_any(held, 0)
    assert not any(a.any() for n, a in zip(layout(24, 24), model.arrays) if n[0] in design.SWEEPS)


def test_nothing_is_chosen_on_a_test_graph(fresh):
    for parts in design.validation_sets(fresh).values():
        assert not {edges_hash(graph) for graph, *_ in parts} & held_apart()


def test_paper_reads_and_others_make(fresh, monkeypatch):
    calls = []

    def compute(run):
        calls.append(run.profile.name)
        return pd.DataFrame({"a": [len(calls)]})

    compute.__module__ = "experiments.studies.design"
    monkeypatch.setitem(slow.SLOW, "design", (compute, (), False))
    paper, whole = (Run(PROFILES[p], fresh.out) for p in ("paper", "full"))
    missing = r"table: design\.csv is missing; .*`make full`"
    with pytest.raises(ValueError, match=missing):
        slow.slow(paper, "design")
    assert calls == []
    for _ in range(2):
        assert slow.slow(fresh, "design").a[0] == 1
    assert slow.slow(whole, "design").a[0] == 2 and calls == ["tiny", "full"]
    assert slow.slow(paper, "design").a[0] == 2 and calls == ["tiny", "full"]
    (fresh.figures / "design.csv").write_text("a\n9\n")
    with pytest.raises(ValueError, match=r"design\.csv was altered"):
        slow.slow(paper, "design")
    slow.main(["--profile", "full", "--out", str(fresh.out), "design"])
    assert calls == ["tiny", "full", "full"]


def test_what_a_slow_table_needs_is_named(fresh, capsys):
    with pytest.raises(ValueError, match=r"manifest.json is missing"):
        slow.slow(fresh, "dqn_curves")
    with pytest.raises(SystemExit, match="error: table: 'ideal', expected one of design"):
        slow.main(["ideal"])


def test_the_reference_tables_are_there():
    for name in slow.SLOW:
        assert len(read_table(get_run("paper"), name))
