"""Claims of a rerun against committed ones, with planted differences."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from experiments.baselines import OURS
from experiments.claims import check
from experiments.claims.check import DIFFERS, SAME, TOLERATED, answers
from experiments.claims.rows import LOOP, Estimate, row
from experiments.claims.rules import certain
from experiments.claims.terms import NOT_SUPPORTED, PARTLY, SUPPORTED, UNDECIDED
from experiments.run import ROOT

NONE = {"low": np.nan, "high": np.nan}
PAIRS = {"quantity": "concordant_pairs", **NONE}
LOOPS = {"quantity": "inference_delay", "runtime": LOOP}


def table(value=10.0, low=9.0, high=11.0, verdict=PARTLY, quantity="regret", **columns):
    columns |= {"policy": "student", "judgement": certain(verdict)}
    return pd.DataFrame([row("C5a", "dag", quantity, Estimate(value, low, high), **columns)])


@pytest.mark.parametrize(
    "here, about, answer",
    [
        ({}, {}, SAME),
        ({"value": 10.00001}, {}, SAME),
        ({"value": 10.01}, {}, TOLERATED),
        ({"value": 13, "low": 10.9, "high": 15}, {}, TOLERATED),
        ({"value": 13, "low": 11.1, "high": 15}, {}, DIFFERS),  # intervals apart
        ({"verdict": NOT_SUPPORTED}, {}, DIFFERS),
        ({"verdict": UNDECIDED}, {}, TOLERATED),
        ({"value": 10.9}, PAIRS, TOLERATED),
        ({"value": 11.1}, PAIRS, DIFFERS),
        ({"value": 10.9}, LOOPS, SAME),  # within the reference's interval
        ({"value": 29, "low": 28, "high": 30}, LOOPS, TOLERATED),
        ({"value": 31, "low": 9, "high": 50}, LOOPS, DIFFERS),
        ({"value": 3.2}, LOOPS, DIFFERS),
        ({"value": 10.5, "verdict": SUPPORTED}, LOOPS, DIFFERS),
    ],
)
def test_planted_differences_are_found(here, about, answer):
    ((found, text),) = answers(table(**about | here), table(**about))
    assert found == answer and text.startswith("C5a dag, ") and "; reference: 10" in text


def test_a_verdict_that_is_missing_or_new_differs():
    for ours, theirs, where in (
        (table()[1:], table(), "only in the reference"),
        (table(), table()[1:], "only here"),
        (table(policy="student"), table(runtime="c"), "only"),
    ):
        found = answers(ours, theirs)
        assert {answer for answer, _ in found} == {DIFFERS} and where in found[0][1]


def test_what_was_run_here_is_said_first(judged, tmp_path, capsys):
    run, claims = judged
    reference = tmp_path / "alike.csv"
    claims.to_csv(reference, index=False)
    check.check(run, tmp_path / "none", str(reference))
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "nothing was run here: these are the committed results"
    assert len(lines) == (claims.verdict != "-").sum()
    assert all(line.startswith("same  ") for line in lines)
    for step in ("training/02_data", "02_labels"):
        stamp = tmp_path / "stamps" / f"{step}.done"
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
    assert check.run_here(tmp_path / "stamps").startswith("run here: 02_labels, training/02_data;")


def test_the_command_ends_with_status_1_if_a_claim_differs(judged, tmp_path, capsys):
    run, claims = judged
    planted = claims.copy()
    regret = (claims.quantity == "regret") & (claims.policy == "student")
    planted.loc[regret & (claims.scenario == "dag"), ["value", "ci_low", "ci_high"]] = 99.0
    reference = tmp_path / "planted.csv"
    planted.to_csv(reference, index=False)
    with pytest.raises(SystemExit, match=r"error: 2 of \d+ verdicts differ"):
        check.check(run, tmp_path, str(reference))
    assert f"{DIFFERS:18}C5a dag, student's regret: " in capsys.readouterr().out


def test_one_claim_is_judged_alone_from_the_tables(judged, tmp_path, capsys, monkeypatch):
    run, claims = judged
    reference = tmp_path / "reference.csv"
    claims.to_csv(reference, index=False)
    monkeypatch.setattr(check, "read_table", None)  # claims.csv is not read
    check.check(run, tmp_path, str(reference), "C5a", "dag")
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == [f"{SAME:18}C5a dag"] * len(OURS)
    with pytest.raises(ValueError, match="claim: 'C9', expected one of C1, C2"):
        check.chosen(claims, "C9", "")
    with pytest.raises(ValueError, match="scenario: 'tree', expected one of all"):
        check.chosen(claims, "C3", "tree")


@pytest.mark.parametrize("name", ["v1.0", "--output=x", "no/such.csv"])
def test_a_reference_that_does_not_exist_is_named(name):
    with pytest.raises(ValueError, match=f"reference: '{name}' is neither a file, nor a commit"):
        check.committed(name)


def test_a_table_of_long_ago_is_named():
    with pytest.raises(ValueError, match=r"claims\.csv: lacks 'quantity', so it is older than"):
        check.chosen(table().drop(columns="quantity"), "", "")


def test_any_locale_will_do(judged, tmp_path):
    """All is read as UTF-8: what git prints, tables, and notes beside them."""
    run, claims = judged
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x"]
    shutil.copytree(run.figures, tmp_path / "figures")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    program = f"""if True:
        from pathlib import Path
        from experiments.claims import check
        here = check.ROOT = Path({str(tmp_path)!r})
        check.get_run = lambda profile: check.Run(None, here)
        check.main([])"""
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    plain |= {"PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | plain, capture_output=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.decode("latin-1").splitlines()
    assert "µs, partly; reference: " in done.stdout.decode("latin-1")
    assert len(lines) == 1 + (claims.verdict != "-").sum()
    assert all(line.startswith("same") for line in lines[1:])
