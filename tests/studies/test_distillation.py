"""Studies that train anew, and what is too slow for `paper`."""

import shutil
from dataclasses import replace

import pandas as pd
import pytest

from kd_offload.artifact import Run, get_run, read_table
from kd_offload.beyond.prices import price
from kd_offload.distill import PLAIN
from kd_offload.graphs import dag
from kd_offload.profiles import PROFILES
from kd_offload.rivals.policies import OURS, policies_for
from kd_offload.studies import sensitivity, slow
from kd_offload.studies.any_graph import any_graph
from kd_offload.studies.distillation import FACTORS, distillation, for_steps
from kd_offload.studies.ideas import OWN, ideas
from kd_offload.studies.verdicts import lower_regret


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


def test_ideas_are_never_worse_for_verification(tiny, fresh):
    shutil.copytree(tiny.data, fresh.data)
    price(fresh, "dag", "train", fresh.profile.regret)
    table = ideas(fresh, ("dag",))
    mean = table.groupby(["idea", "evaluations"]).regret.mean()
    for idea in OWN:
        if idea in table.idea.values:
            assert mean[f"{idea}, verified"].max() <= mean[idea, 0] + 1e-12
    stopped = mean["exact search, stopped"]
    assert stopped.is_monotonic_decreasing and (table.spent <= table.evaluations + 1e-9).all()
    anew = table[table.idea == "K hypotheses, imitation alone, verified"]
    assert {*anew.seed} == {*tiny.profile.seeds} and (table.regret_p99 >= table.regret).all()


def test_sensitivity_trains_anew_and_its_verdicts_follow_from_its_numbers(fresh):
    run = Run(replace(fresh.profile, seeds=(3, 4)), fresh.out)
    variants = {v: sensitivity.VARIANTS[v] for v in ("default", "weak_device")}
    table = sensitivity.sensitivity(run, variants)
    assert {*table.policy} == {*policies_for(dag()), *sensitivity.ANEW}
    assert {*table[table.policy == "student"].seed} == {3, 4}
    for _, part in table.groupby("variant"):
        mean, one = part.groupby("policy").regret.mean(), part.groupby("policy").first()
        for own, prefix in OURS.items():
            difference = one[f"{prefix}regret_difference"].to_dict()
            assert difference == pytest.approx((mean[own] - mean).to_dict())
            rivals = one.drop([own, "exact", *(["student_verified"] if own == "student" else [])])
            lower = rivals[f"{prefix}regret_difference_all_high"] < 0
            assert ({*part[f"{own}_verdict"]} == {"reproduced"}) == bool(lower.all())
            assert part[f"{own}_verdict"].nunique() == 1
    assert table.groupby("variant").regret.sum().nunique() == 2


@pytest.mark.parametrize(
    ("highs", "verdict"),
    [
        ({"greedy": -0.1, "teacher": -0.1, "all_edge": -1}, "reproduced"),
        ({"greedy": -0.1, "teacher": 0.1, "all_edge": -1}, "partly"),
        ({"greedy": 0.1, "teacher": 0.1, "all_edge": -1}, "not reproduced"),
    ],
)
def test_the_rule_of_c5(highs, verdict):
    rows = highs | {"student": None, "exact": 0.5, "student_tuned": 0.5}
    paired = pd.DataFrame({"regret_difference": 0.0, "regret_difference_all_low": -2.0}, [*rows])
    paired["regret_difference_all_high"] = pd.Series(rows, dtype=float)
    found = lower_regret(paired)
    assert (found.verdict, found.rivals) == (verdict, [*highs])
    assert found.beaten == [policy for policy, high in highs.items() if high < 0]


def test_any_graph_on_graphs_of_every_size(fresh):
    table = any_graph(fresh)
    assert {*table.n_subtasks} == {*range(4, 13)} and (table.regret >= -1e-9).all()
    assert table.groupby("n_subtasks").policy.nunique().eq(6).all()
    assert table[table.policy == "student_any, verified"].evaluations.max() <= 16
    saved = {f.name for f in fresh.models.glob("*.npz")}
    assert saved == {f"student_any_any_{seed}.npz" for seed in fresh.profile.seeds}


def test_paper_reads_and_others_make(fresh, monkeypatch):
    calls = []

    def compute(run):
        calls.append(run.profile.name)
        return pd.DataFrame({"a": [len(calls)]})

    compute.__module__ = "kd_offload.studies.any_graph"
    monkeypatch.setitem(slow.SLOW, "any_graph", slow.Slow(compute))
    paper, whole = (Run(PROFILES[p], fresh.out) for p in ("paper", "full"))
    missing = r"table: any_graph\.csv is missing; .*`make full`"
    with pytest.raises(ValueError, match=missing):
        slow.slow(paper, "any_graph")
    assert calls == []
    for _ in range(2):
        assert slow.slow(fresh, "any_graph").a[0] == 1
    assert slow.slow(whole, "any_graph").a[0] == 2 and calls == ["tiny", "full"]
    assert slow.slow(paper, "any_graph").a[0] == 2 and calls == ["tiny", "full"]
    (fresh.figures / "any_graph.csv").write_text("a\n9\n")
    with pytest.raises(ValueError, match=r"any_graph\.csv was altered"):
        slow.slow(paper, "any_graph")
    slow.main(["--profile", "full", "--out", str(fresh.out), "any_graph"])
    assert calls == ["tiny", "full", "full"]


def test_what_a_slow_table_needs_is_named(fresh, capsys):
    """The data; models that are missing are trained from them."""
    for name in ("ideas", "dqn_curves"):
        with pytest.raises(ValueError, match=r"manifest.json is missing"):
            slow.slow(fresh, name)
    with pytest.raises(SystemExit, match="error: table: 'ideal', expected one of distillation_"):
        slow.main(["ideal"])


def test_the_reference_tables_are_there():
    for name in slow.SLOW:
        assert len(read_table(get_run("paper"), name))
