"""Claims of a rerun against committed ones, with planted differences; the generated blocks."""

import subprocess

import numpy as np
import pandas as pd
import pytest

from experiments.run import ROOT, get_run, read_table
from experiments.claims import check
from experiments.claims.check import DIFFERS, SAME, TOLERATED, answers
from experiments.claims.readme import BEGIN, END, expected, summary, write_block
from experiments.claims.terms import NO, PARTLY, UNDECIDED, YES

CLAIMS = read_table(get_run("paper"), "claims")
REGRET = "student: regret (%)"
LOOPS = "student: inference delay (µs, in compiled loops)"
PAIRS = "pairs of learned policies in which more right labels mean less regret (%)"


def table(value=10.0, low=9.0, high=11.0, verdict=PARTLY, metric=REGRET):
    about = dict(claim="C5", scenario="dag", metric=metric, reference="", interval="tasks")
    other = about | dict(value=1.0, ci_low=np.nan, ci_high=np.nan, verdict="-")
    row = about | dict(value=value, ci_low=low, ci_high=high, verdict=verdict)
    return pd.DataFrame([row, other])


NONE = dict(low=np.nan, high=np.nan)


@pytest.mark.parametrize(
    "here, about, answer",
    [
        ({}, {}, SAME),
        (dict(value=10.00001), {}, SAME),
        (dict(value=10.01), {}, TOLERATED),
        (dict(value=13, low=10.9, high=15), {}, TOLERATED),
        (dict(value=13, low=11.1, high=15), {}, DIFFERS),  # intervals apart
        (dict(verdict=NO), {}, DIFFERS),
        (dict(verdict=UNDECIDED), {}, TOLERATED),
        (dict(value=10.9), dict(metric=PAIRS, **NONE), TOLERATED),
        (dict(value=11.1), dict(metric=PAIRS, **NONE), DIFFERS),
        (dict(value=10.9), dict(metric=LOOPS), SAME),  # within the reference's interval
        (dict(value=29, low=28, high=30), dict(metric=LOOPS), TOLERATED),
        (dict(value=31, low=9, high=50), dict(metric=LOOPS), DIFFERS),
        (dict(value=3.2), dict(metric=LOOPS), DIFFERS),
        (dict(value=10.5, verdict=YES), dict(metric=LOOPS), DIFFERS),
    ],
)
def test_planted_differences_are_found(here, about, answer):
    ((said, text),) = answers(table(**about | here), table(**about))
    assert said == answer and text.startswith("C5 dag, ") and "; reference: 10" in text


def test_a_verdict_that_is_missing_or_new_differs():
    for ours, theirs, where in ((table()[1:], table(), "in the ref"), (table(), table()[1:], "he")):
        ((said, text),) = answers(ours, theirs)
        assert said == DIFFERS and f"only {where}" in text


def test_the_command_ends_with_status_1_if_a_claim_differs(tmp_path, capsys, monkeypatch):
    planted, alike = tmp_path / "planted.csv", tmp_path / "alike.csv"
    CLAIMS.to_csv(alike, index=False)
    check.main([str(alike)])
    said = capsys.readouterr().out.splitlines()
    assert all(line.startswith(SAME) for line in said[:-1]) and "reference's own" in said[-1]
    assert len(said) - 1 == (CLAIMS.verdict != "-").sum()
    edited = CLAIMS.copy()
    at = edited.index[(edited.metric == REGRET) & (edited.scenario == "dag")]
    edited.loc[at, ["value", "ci_low", "ci_high"]] = 99.0
    edited.to_csv(planted, index=False)
    with pytest.raises(SystemExit, match=r"error: 1 of \d+ verdicts differ"):
        check.main([str(planted)])
    assert "differs                   C5 dag, student: regret: " in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"error: reference: 'nowhere' has no claims\.csv"):
        check.main(["nowhere"])
    shown = subprocess.CompletedProcess([], 0, stdout=alike.read_text())
    monkeypatch.setattr(check.subprocess, "run", lambda *_, **__: shown)
    assert check.committed("HEAD").equals(CLAIMS)


def test_the_readme_tells_six_claims_from_the_table():
    latency = read_table(get_run("paper"), "latency")
    lines = summary(CLAIMS, latency).splitlines()
    assert [line[4:6] for line in lines[2:8]] == ["C1", "C2", "C3", "C4", "C5", "C6"]
    edited = CLAIMS.assign(verdict=CLAIMS.verdict.where(CLAIMS.verdict == "-", YES))
    baseline = edited.metric == "regret, student minus greedy (points)"
    edited.loc[baseline, "reference"] = "worse; "
    edited.loc[(edited.metric == REGRET) & (edited.scenario == "dag"), "value"] = 77.7
    told = summary(edited, latency).splitlines()
    assert "always loses to `greedy`, " in told[6] and "| 77.7 % [" in told[6]
    assert "| **reproduced** | [" in told[6] and "always loses to `greedy`" not in lines[6]


def test_every_claim_has_a_command_and_a_number_to_expect():
    judged = CLAIMS[(CLAIMS.verdict != "-") & ~CLAIMS.scenario.str.startswith("networks")]
    lines = expected(CLAIMS).splitlines()[2:]
    assert len(lines) == len(judged)
    for line, row in zip(lines, judged.itertuples()):
        claim, where, command, time, told, allowed = line.strip("| ").split(" | ")
        assert (claim, where) == (row.claim, row.scenario) and f"**{row.verdict}**" in told
        step = command.removeprefix("`make build/paper/").removesuffix(".done`")
        assert (ROOT / "notebooks" / f"{step}.ipynb").exists() and time.startswith("about ")
        assert allowed in ("a factor of 3", "10 %", "overlapping intervals")


def test_a_block_goes_between_its_marks(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_block(page, r"new \1")
    assert page.read_text() == f"before\n{BEGIN}\nnew \\1\n{END}\nafter\n"
    page.write_text(f"before\n{BEGIN}\n")
    with pytest.raises(ValueError, match=r"README\.md: the marks of the generated block are"):
        write_block(page, "new")
