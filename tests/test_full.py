"""What `full` makes: read by `paper`, made by every other profile, once."""

import subprocess
import sys

import pandas as pd
import pytest

from kd_offload import full
from kd_offload.config import ROOT, get_run, made_by, read_table, save_table


def test_paper_reads_and_others_make(tmp_path, monkeypatch):
    calls = []

    def compute(run):
        calls.append(run.profile.name)
        return pd.DataFrame({"a": [len(calls)]})

    monkeypatch.setitem(full.SLOW, "any_graph", ("any_graph", compute, None))
    paper, tiny, whole = (get_run(p, str(tmp_path)) for p in ("paper", "tiny", "full"))
    with pytest.raises(ValueError, match=r"table: any_graph\.csv is missing; .*`make full` makes it"):
        full.slow(paper, "any_graph")
    assert calls == []
    for _ in range(2):
        assert full.slow(tiny, "any_graph").a[0] == 1
    assert full.slow(whole, "any_graph").a[0] == 2 and calls == ["tiny", "full"]
    assert full.slow(paper, "any_graph").a[0] == 2 and calls == ["tiny", "full"]
    assert "any_graph: profile full, seed 2020, commit" in made_by(paper, "any_graph")
    (tmp_path / "figures" / "any_graph.csv").write_text("a\n9\n")
    with pytest.raises(ValueError, match=r"any_graph\.csv was altered"):
        full.slow(paper, "any_graph")


def test_what_a_slow_table_needs_is_named(tmp_path):
    run = get_run("tiny", str(tmp_path))
    with pytest.raises(ValueError, match="table: 'ideal', expected one of distillation_study, ideas"):
        full.slow(run, "ideal")
    with pytest.raises(ValueError, match=r"manifest\.json is missing"):
        full.slow(run, "ideas")
    save_table(run, pd.DataFrame({"a": [1]}), run.figures / "t.csv")
    assert len(read_table(run, "t")) == 1
    with pytest.raises(ValueError, match=r"table: u\.csv is missing"):
        made_by(run, "t", "u")


def test_the_command_ends_in_one_line():
    done = subprocess.run([sys.executable, "-m", "kd_offload.full", "ideal"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and "error: table: 'ideal'" in done.stderr and "Traceback" not in done.stderr


def test_the_reference_tables_are_there():
    for name in full.SLOW:
        assert len(read_table(get_run("paper"), name))
