"""What a reader relies on: pins in one place, results generated, figures beside their tables."""

import ast
import json
import re
import subprocess
import sys
import tomllib

import pandas as pd
import pytest

from kd_offload.claims import BEGIN, END, STATEMENTS, summary
from kd_offload.config import FLOORS, ROOT, fingerprint, get_run, is_current, read_table, table, written_aside

PAPER = get_run("paper")
COLUMNS = {
    "latency": "scenario policy seed n_test mean_delay_ms normalised_mean normalised_median normalised_p95 normalised_p99 "
    "regret_mean regret_ci_low regret_ci_high label_accuracy subset_accuracy hamming_loss",
    "inference_time": "scenario policy runtime n_subtasks median_us p99_us parameters macs bytes",
    "label_generation": "scenario method n_subtasks workers samples seconds samples_per_second",
    "claims": "claim scenario statement metric value ci_low ci_high reference verdict",
}  # fmt: skip


def pins(text):
    return dict(re.findall(r"^\s*(?:- )?([A-Za-z0-9_.-]+)==(\S+)$", text, re.M))


def test_environment_has_the_pins_of_the_one_list():
    listed = {k.lower(): v for k, v in pins((ROOT / "requirements.txt").read_text()).items()}
    conda = pins((ROOT / "environment.yml").read_text())
    assert conda and all(listed[k.lower()] == v for k, v in conda.items())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["dependencies"]) | set(project["optional-dependencies"]["test"]) <= set(conda)
    assert listed["torch"] == "2.13.0"


def test_modules_import_downwards_only():
    floors = ["config", *FLOORS, "plotting", "bench", "run"]
    allowed_below = {"config": set()}
    for name in floors[1:]:
        tree = ast.parse((ROOT / "kd_offload" / f"{name}.py").read_text())
        imported = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                imported |= {node.module} if node.module else {a.name for a in node.names}
        assert imported <= set(floors[: floors.index(name)]), f"{name} imports {imported}"
        allowed_below[name] = imported
    assert {p.stem for p in (ROOT / "kd_offload").glob("*.py")} == {*floors, "__init__"}


@pytest.mark.parametrize("name", COLUMNS)
def test_reference_tables_have_their_columns_and_provenance(name):
    frame = read_table(PAPER, name)
    assert list(frame.columns)[: len(COLUMNS[name].split())] == COLUMNS[name].split() and len(frame)
    about = json.loads((PAPER.figures / f"{name}.json").read_text())
    assert about["profile"] == "paper" and {"commit", "seed", "versions"} <= set(about)


def test_every_figure_is_there_twice_beside_its_table():
    names = {p.stem for p in PAPER.figures.glob("*.png")}
    assert names == {p.stem for p in PAPER.figures.glob("*.pdf")} and len(names) >= 10
    assert names <= {p.stem for p in PAPER.figures.glob("*.csv")}


def test_the_readme_has_the_tables_results():
    text = (ROOT / "README.md").read_text()
    block = text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip()
    assert block == summary(*(read_table(PAPER, t) for t in ("claims", "latency", "inference_time"))).strip()


def test_the_claims_are_judged_and_cover_all():
    claims = read_table(PAPER, "claims")
    assert set(claims.claim) == set(STATEMENTS)
    judged = claims[claims.verdict != "-"]
    assert set(judged.claim) == set(STATEMENTS) and set(judged.verdict) <= {"reproduced", "partly", "not reproduced"}


def test_a_table_is_made_once_and_again_when_its_inputs_change(tmp_path):
    run = get_run("tiny", str(tmp_path))
    calls = []

    def compute():
        calls.append(1)
        return pd.DataFrame({"a": [len(calls)]})

    for _ in range(2):
        assert table(run, "t", "delay", compute, what=1).a[0] == 1
    assert table(run, "t", "delay", compute, what=2).a[0] == 2
    (run.figures / "t.csv").write_text("a\n7\n")
    assert table(run, "t", "delay", compute, what=2).a[0] == 3
    assert not is_current(run.figures / "none.csv", "x")
    with pytest.raises(ValueError, match=r"table: u\.csv is missing"):
        read_table(run, "u")
    (run.figures / "u.csv").write_text("")
    with pytest.raises(ValueError, match=r"table: u\.csv cannot be read"):
        read_table(run, "u")


def test_a_fingerprint_knows_its_floor_and_those_below(monkeypatch):
    assert fingerprint("delay") != fingerprint("labels") != fingerprint("labels", a=1)
    assert len({fingerprint(f) for f in FLOORS}) == len(FLOORS)


def test_a_failed_write_leaves_what_there_was(tmp_path):
    path = tmp_path / "f.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), written_aside(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_bad_arguments_end_in_one_line():
    for arguments, text in (
        (["notebooks/01_problem.ipynb", "--profile", "papper"], "error: profile: 'papper'"),
        (["notebooks/99.ipynb", "--profile", "tiny"], "error: notebook: notebooks/99.ipynb does not exist"),
        (["notebooks/01_problem.ipynb", "--profile", "tiny", "-p", "speed", "3"], "error: parameter: 'speed'"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "kd_offload.run", *arguments], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode != 0 and text in done.stderr and "Traceback" not in done.stderr


def test_the_whole_story_on_tiny_sizes(tmp_path):
    """Benchmark, proofs and all notebooks, in order, into a temporary folder; then again, doing nothing anew."""
    figures = tmp_path / "figures"
    run = [
        sys.executable,
        "-m",
        "kd_offload.bench",
        "labels",
        "--profile",
        "tiny",
        "--out",
        figures / "label_generation.csv",
    ]
    subprocess.run(run, cwd=ROOT, check=True)
    subprocess.run(
        [sys.executable, "tests/proofs.py", "--tasks", "2", "--profile", "tiny", "--out", figures / "proofs.csv"],
        cwd=ROOT,
        check=True,
    )
    before = {p: p.read_bytes() for p in (ROOT / "figures").glob("*")}
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        command = [sys.executable, "-m", "kd_offload.run", notebook, "--profile", "tiny", "--out", tmp_path]
        subprocess.run(command, cwd=ROOT, check=True)
    made = {p.name for p in figures.iterdir()}
    assert {f"{n}.csv" for n in COLUMNS} | {p.name for p in (ROOT / "figures").glob("*.p*")} <= made
    assert set(read_table(get_run("tiny", str(tmp_path)), "claims").claim) == set(STATEMENTS)
    assert before == {p: p.read_bytes() for p in (ROOT / "figures").glob("*")}
