"""What a finished `make smoke` must have left; run by it, not by `make test`."""

import subprocess

import nbformat
import pytest
from execute import execute

from experiments.run import ROOT, get_run, read_table
from experiments.claims.terms import NOTES, STATEMENTS
from kd_offload.data import load
from experiments.scenarios import RANDOM, SHOWN, TRAINED

SMOKE, PAPER = get_run("smoke"), get_run("paper")


def test_everything_that_the_reference_has_is_there_with_the_same_columns():
    made = {p.name for p in SMOKE.figures.iterdir() if not p.name.startswith(".")}
    assert {p.name for p in PAPER.figures.iterdir() if not p.name.startswith(".")} <= made
    for path in PAPER.figures.glob("*.csv"):
        ours, theirs = read_table(SMOKE, path.stem), read_table(PAPER, path.stem)
        assert list(ours.columns) == list(theirs.columns) and len(ours), path.name


def test_every_notebook_ran_to_its_end():
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        book = nbformat.read(SMOKE.out / "notebooks" / path.name, as_version=4)
        code = [c for c in book.cells if c.cell_type == "code"]
        assert all(c.execution_count for c in code), path.name
        assert (SMOKE.out / f"{path.stem}.done").read_text()


def test_data_are_whole_and_no_label_differs_from_an_independent_method():
    for name in (*TRAINED, *RANDOM):
        assert len(load(SMOKE, name, "test").delays) == SMOKE.profile.count(name, "test")
    assert read_table(SMOKE, "proofs").label_mismatches.sum() == 0


def test_the_tables_make_sense():
    """Exact is never beaten; all policies of a scenario decided the same tasks."""
    latency = read_table(SMOKE, "latency")
    assert (latency.regret_mean >= -1e-9).all()
    assert (latency[latency.policy == "exact"].regret_mean < 1e-9).all()
    assert latency.groupby("scenario").n_test.nunique().eq(1).all()
    claims = read_table(SMOKE, "claims")
    assert set(claims.claim) == set(STATEMENTS) | set(NOTES)
    assert set(claims[claims.verdict != "-"].claim) == set(STATEMENTS)
    times = read_table(SMOKE, "inference_time")
    assert set(times.scenario) >= set(SHOWN) and (times.median_us > 0).all()
    told = times[times.runtime != "numba_loop"]  # loops have no p99
    assert (told.p99_us >= told.median_us).all() and len(told) < len(times)


@pytest.mark.parametrize("name", ["01_problem", "09_online", "14_claims"])
def test_an_open_notebook_runs_by_itself_and_touches_nothing(name, tmp_path):
    """With its default profile, from the reference's tables and models alone."""

    def status():
        command = ["git", "status", "--porcelain"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout

    before = status()
    execute(ROOT / "notebooks" / f"{name}.ipynb", tmp_path / "done.ipynb", {"out": str(tmp_path)})
    assert status() == before and list((tmp_path / "figures").glob("*.csv"))
