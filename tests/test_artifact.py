"""What a reader relies on: pins in one place, results generated, figures beside their tables."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib

import pandas as pd
import pytest

from kd_offload.claims import BEGIN, END, NOTES, STATEMENTS, summary
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
    assert set(project["dependencies"]) | set(project["optional-dependencies"]["test"]) | {"dask"} <= set(conda)
    assert listed["torch"] == "2.13.0"


def test_modules_import_downwards_only():
    floors = [
        "config",
        *FLOORS,
        "full",
        "plotting",
        "plotting_learning",
        "plotting_questions",
        "plotting_online",
        "report",
        "bench",
        "run",
    ]
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
    assert names == {p.stem for p in PAPER.figures.glob("*.pdf")} - {"claims"} and len(names) >= 10
    assert names <= {p.stem for p in PAPER.figures.glob("*.csv")}


def test_the_readme_has_the_tables_results():
    text = (ROOT / "README.md").read_text()
    block = text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip()
    assert block == summary(*(read_table(PAPER, t) for t in ("claims", "latency", "inference_time"))).strip()


def test_the_claims_are_judged_and_cover_all():
    claims = read_table(PAPER, "claims")
    assert set(claims.claim) == set(STATEMENTS) | set(NOTES)
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
    (run.figures / "u.json").write_text("{}")
    with pytest.raises(ValueError, match=r"table: u\.csv cannot be read"):
        read_table(run, "u")
    (run.figures / "t.csv").write_text("a\n7\n")
    with pytest.raises(ValueError, match=r"table: t\.csv was altered"):
        read_table(run, "t")


def test_a_fingerprint_knows_its_floor_and_those_below(tmp_path):
    """On a copy of the package: a comment changes nothing, code changes its own floor and those above."""
    shutil.copytree(ROOT / "kd_offload", tmp_path / "kd_offload", ignore=shutil.ignore_patterns("__pycache__"))
    code = "from kd_offload.config import *; print(*(fingerprint(f) for f in FLOORS))"

    def marks():
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.split()

    before, delay = marks(), tmp_path / "kd_offload" / "delay.py"
    assert before == [fingerprint(f) for f in FLOORS] and len(set(before)) == len(FLOORS)
    assert fingerprint("labels", a=1) != fingerprint("labels", a=2)
    text = delay.read_text()
    delay.write_text(text.replace('"""', '"""Another text. ', 1) + "# a comment\n")
    assert marks() == before
    delay.write_text(text + "SOMETHING = 1\n")
    same = [a == b for a, b in zip(before, marks())]
    assert same == [f in ("graphs", "networks", "sampling") for f in FLOORS]


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
        (["notebooks/05_latency.ipynb", "-p", "profile", "tiny"], "error: parameter: say --profile instead"),
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
    assert set(read_table(get_run("tiny", str(tmp_path)), "claims").claim) == set(STATEMENTS) | set(NOTES)
    assert before == {p: p.read_bytes() for p in (ROOT / "figures").glob("*")}
    data = {
        p: p.stat().st_mtime_ns
        for p in [*tmp_path.rglob("*.parquet"), *tmp_path.rglob("*.npz"), *figures.glob("*.csv")]
    }
    for name in (
        "02_generate_data",
        "04_distill_student",
        "04b_better_student",
        "04c_rivals",
        "05_latency",
        "05b_conditions",
    ):  # again: nothing is computed anew
        command = [
            sys.executable,
            "-m",
            "kd_offload.run",
            f"notebooks/{name}.ipynb",
            "--profile",
            "tiny",
            "--out",
            tmp_path,
        ]
        subprocess.run(command, cwd=ROOT, check=True)
    assert data == {p: p.stat().st_mtime_ns for p in data}
    bad = ["notebooks/04_distill_student.ipynb", "--profile", "tiny", "--out", tmp_path, "-p", "temperature", "hot"]
    done = subprocess.run([sys.executable, "-m", "kd_offload.run", *bad], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0 and "error: temperature: 'hot', expected a positive number" in done.stderr


def test_make_does_each_step_once_and_again_what_is_missing(tmp_path):
    """The Makefile with a Python that only makes files: order, nothing twice, deleted products, changed sources."""
    for folder in ("kd_offload", "notebooks", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "executed"))
    for file in ("Makefile", "environment.yml"):
        shutil.copy(ROOT / file, tmp_path)
    products = subprocess.run(
        ["make", "-pn", "smoke", "PYTHON=true"], cwd=tmp_path, capture_output=True, text=True
    ).stdout
    rules = re.findall(
        r"^(build/smoke/\S+\.(?:csv|png|pdf|html|ipynb|npz|json)): build/smoke/(\w+)\.done$", products, re.M
    )
    assert len(rules) > 60
    (tmp_path / "rules.json").write_text(json.dumps(rules))
    fake = tmp_path / "fake"
    fake.write_text(
        f"#!{sys.executable}\n"
        "import json, pathlib, re, sys\n"
        "step = re.search(r'(0\\d[bc]?_\\w+)\\.ipynb|bench|proofs', ' '.join(sys.argv[1:]))\n"
        "if step and sys.argv[1] != '-c':\n"
        "    name = step.group(1) or {'bench': 'label_generation', 'proofs': 'proofs'}[step.group(0)]\n"
        "    with open('log', 'a') as log: log.write(name + '\\n')\n"
        "    for product, maker in json.load(open('rules.json')):\n"
        "        if maker == name:\n"
        "            path = pathlib.Path(product); path.parent.mkdir(parents=True, exist_ok=True)\n"
        "            path.exists() and path.suffix == '.csv' or path.write_text('made')\n"
    )
    fake.chmod(0o755)

    def make(*arguments):
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        subprocess.run(["make", "smoke", "PYTHON=./fake", *arguments], cwd=tmp_path, check=True, capture_output=True)
        return log.read_text().split() if log.exists() else []

    order = "01_problem label_generation proofs 02_generate_data 03_train_teacher 04_distill_student 04b_better_student 04c_rivals 05_latency 05b_conditions 05c_online 06_inference_time 06b_effective_latency 07_claims"
    assert make("-j2") == order.split()
    assert make() == [] and make("-j2") == []
    for name in ("latency.png", "latency.pdf", "paired.csv"):
        (tmp_path / "build" / "smoke" / "figures" / name).unlink()
    assert make("-j2")[0] == "05_latency" and len(make()) == 0
    (tmp_path / "kd_offload" / "plotting.py").touch()
    assert "label_generation" not in make() and make() == []
    (tmp_path / "kd_offload" / "claims.py").touch()
    assert make() == ["07_claims"]


def test_the_readmes_lines_of_python_run(capsys, monkeypatch):
    """The block "Use from Python", with the trained student that the repository brings."""
    monkeypatch.chdir(ROOT)
    block = re.search(r"## Use from Python\n\n```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S).group(1)
    exec(compile(block, "README.md", "exec"), {})
    mean_delay, normalised = map(float, capsys.readouterr().out.split())
    assert 0 < mean_delay < 10 and 1 <= normalised < 1.02
