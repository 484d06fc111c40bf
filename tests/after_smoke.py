"""What a finished `make smoke` must have left; run by it, not by `make test`."""

import nbformat

from experiments.run import get_run, load, read_table
from experiments.scenarios import RANDOM, SHOWN, TRAINED

SMOKE, PAPER = get_run("smoke"), get_run("paper")
PUBLIC = (
    "public_graphs",
    "public_models",
    "public_solutions",
)  # tables of graphs that the artifact lacks


def test_everything_that_the_reference_has_is_there_with_the_same_columns():
    made = {p.name for p in SMOKE.figures.iterdir() if not p.name.startswith(".")}
    reference = {p.name for p in PAPER.figures.iterdir() if not p.name.startswith(".")}
    tables = {path.stem for path in PAPER.figures.glob("*.csv")} - {*PUBLIC}
    reference -= {f"{name}{suffix}" for name in PUBLIC for suffix in (".csv", ".json")}
    assert reference <= made
    for name in sorted(tables):
        ours, theirs = read_table(SMOKE, name), read_table(PAPER, name)
        assert list(ours.columns) == list(theirs.columns) and len(ours), name


def test_every_notebook_ran_to_its_end():
    stamps = [p.relative_to(SMOKE.out).with_suffix("") for p in SMOKE.out.rglob("*.done")]
    assert len([s for s in stamps if s.parent.name == ""]) == 14
    for stamp in stamps:
        path = (SMOKE.out / "notebooks" / stamp).with_suffix(".ipynb")
        code = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
        assert all(c.execution_count for c in code), path.name


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
    assert {claim[:2] for claim in claims.claim} >= {"C1", "C2", "C3", "C4", "C5", "C6"}
    times = read_table(SMOKE, "inference_time")
    assert set(times.scenario) >= set(SHOWN) and (times.median_us > 0).all()
    calls = times[times.runtime != "numba_loop"]  # loops have no p99
    assert (calls.p99_us >= calls.median_us).all() and len(calls) < len(times)
