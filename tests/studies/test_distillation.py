"""Studies that train anew, and what is too slow for `paper`."""

import pandas as pd
import pytest

from kd_offload.artifact import Run, get_run, read_table
from kd_offload.beyond.families import edges_hash, held_apart
from kd_offload.beyond.sweep import layout
from kd_offload.beyond.training import fit_any
from kd_offload.distill import PLAIN
from kd_offload.profiles import PROFILES
from kd_offload.studies import design, slow
from kd_offload.studies import distillation as study
from kd_offload.studies.distillation import FACTORS, Case, distillation, for_steps


def test_the_study_has_every_factor_by_seed(tiny):
    table, p = distillation(tiny), tiny.profile
    for factor, (values, variants) in FACTORS.items():
        part = table[table.factor == factor]
        assert {*part.value} == {*values} and {*part.variant} == {*variants}
        assert len(part) == len(values) * len(variants) * p.study_seeds
    labels = table[table.factor == "labels"]
    assert labels.groupby("labels").variant.nunique().to_dict() == dict.fromkeys(p.study_labels, 3)
    assert {*table[table.variant == "teacher"].seed} == {*p.seeds[: p.study_seeds]}
    assert (table.regret >= 0).all() and table.label_accuracy.between(0, 1).all()
    recipe = for_steps(PLAIN, 1000, 50, 128)
    assert (recipe.epochs, recipe.batch) == (6, 128)


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


def test_nothing_is_chosen_on_test_data(fresh, tiny, monkeypatch):
    """Designs are compared on graphs that are no test graphs, students on validation tasks."""
    for parts in design.validation_sets(fresh).values():
        assert not {edges_hash(graph) for graph, *_ in parts} & held_apart()
    splits, load = [], study.load
    monkeypatch.setattr(study, "load", lambda *a: splits.append(a[2]) or load(*a))
    monkeypatch.setattr(study, "in_parallel", lambda f, todo, _: [f(*a) for a in todo[:2]])
    monkeypatch.setattr(study, "_cases", lambda *_: [Case("labels", 200, 200, "plain", 0)])
    distillation(tiny)
    assert {*splits} == {"train", "validation"}


def test_paper_reads_and_others_make(fresh, monkeypatch):
    calls = []

    def compute(run):
        calls.append(run.profile.name)
        return pd.DataFrame({"a": [len(calls)]})

    compute.__module__ = "kd_offload.studies.design"
    monkeypatch.setitem(slow.SLOW, "design", slow.Slow(compute))
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
    """The data; models that are missing are trained from them."""
    for name in ("distillation_study", "dqn_curves"):
        with pytest.raises(ValueError, match=r"manifest.json is missing"):
            slow.slow(fresh, name)
    with pytest.raises(SystemExit, match="error: table: 'ideal', expected one of distillation_"):
        slow.main(["ideal"])


def test_the_reference_tables_are_there():
    for name in slow.SLOW:
        assert len(read_table(get_run("paper"), name))
