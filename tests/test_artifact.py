"""The repository as a reader finds it, and the machinery that decides what is made again."""

import hashlib
import json
import re
import shutil
import subprocess
import sys

import execute as runner
import pandas as pd
import pytest

from experiments import run as artifact
from experiments.run import (
    ROOT,
    Run,
    code_digest,
    fingerprint,
    get_run,
    kept,
    read_table,
    save_table,
    written_aside,
)
from experiments.claims.readme import BEGIN, END, expected, summary
from experiments.claims.terms import BADGES, NOTES, STATEMENTS

PAPER = get_run("paper")
COLUMNS = {
    "latency": "scenario policy seed n_test mean_delay_ms normalised_mean normalised_median "
    "normalised_p95 normalised_p99 regret_mean regret_ci_low regret_ci_high label_accuracy "
    "subset_accuracy hamming_loss",
    "inference_time": "scenario policy runtime n_subtasks median_us p99_us parameters macs bytes",
    "label_generation": "scenario method n_subtasks workers samples seconds samples_per_second",
    "claims": "claim scenario statement metric value ci_low ci_high reference verdict",
}


@pytest.mark.parametrize("name", COLUMNS)
def test_reference_tables_have_their_columns_and_provenance(name):
    frame = read_table(PAPER, name)
    assert list(frame.columns)[: len(COLUMNS[name].split())] == COLUMNS[name].split() and len(frame)
    about = json.loads((PAPER.figures / f"{name}.json").read_text())
    assert about["profile"] == "paper" and {"code", "seed", "versions", "sha256"} <= set(about)


def test_every_figure_is_there_twice_beside_its_table():
    names = {p.stem for p in PAPER.figures.glob("*.png")}
    pdfs = {p.stem for p in PAPER.figures.glob("*.pdf")} - {"claims"}
    assert names == pdfs and len(names) >= 10
    tables = {p.stem for p in PAPER.figures.glob("*.csv")}
    # drawn from `latency`, `sweeps` and `online`
    assert names - {"accuracy", "locations", "staleness"} <= tables


def test_the_readme_and_the_appendix_have_the_tables_results():
    claims, latency = (read_table(PAPER, t) for t in ("claims", "latency"))
    blocks = {"README.md": summary(claims, latency), "ARTIFACT.md": expected(claims)}
    for name, block in blocks.items():
        text = (ROOT / name).read_text()
        assert text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip() == block


def test_the_readme_is_short_and_its_links_lead_somewhere():
    assert len((ROOT / "README.md").read_text().split()) <= 1500
    for page in (ROOT / "README.md", ROOT / "ARTIFACT.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert link.startswith("https://") or (page.parent / link).exists(), (page, link)


def test_the_claims_are_judged_and_cover_all():
    claims = read_table(PAPER, "claims")
    assert set(claims.claim) == set(STATEMENTS) | set(NOTES)
    judged = claims[claims.verdict != "-"]
    assert set(judged.claim) == set(STATEMENTS)
    assert set(judged.verdict) <= set(BADGES)


def test_pins_stand_in_one_place():
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "requirements.txt").read_text(), re.M))
    listed = re.findall(r"- ([\w-]+)==(\S+)", (ROOT / "environment.yml").read_text())
    assert len(listed) > 20 and all(pins[name] == version for name, version in listed)


def test_tables_say_what_made_them_and_damage_is_named(fresh):
    frame = pd.DataFrame({"a": [1, 2]})
    assert save_table(fresh, "t", frame, models={"m": "x"}).equals(frame)
    first = (fresh.figures / "t.json").read_bytes()
    save_table(fresh, "t", frame, models={"m": "x"})
    assert (fresh.figures / "t.json").read_bytes() == first
    save_table(fresh, "t", frame, models={"m": "y"})
    assert (fresh.figures / "t.json").read_bytes() != first
    with pytest.raises(ValueError, match=r"table: u\.csv is missing"):
        read_table(fresh, "u")
    (fresh.figures / "u.csv").write_text("")
    (fresh.figures / "u.json").write_text("{}")
    with pytest.raises(ValueError, match=r"table: u\.csv cannot be read"):
        read_table(fresh, "u")
    (fresh.figures / "t.csv").write_text("a\n7\n")
    with pytest.raises(ValueError, match=r"table: t\.csv was altered"):
        read_table(fresh, "t")


def test_what_is_kept_is_made_again_only_when_it_must_be(tmp_path):
    path, made = tmp_path / "product", []

    def make():
        made.append(1)
        path.write_text(f"{len(made)}")

    for mark, count in (("a", 1), ("a", 1), ("b", 2)):
        kept(path, mark, make)
        assert len(made) == count
    path.write_text("altered")
    kept(path, "b", make)
    path.unlink()
    kept(path, "b", make)
    assert len(made) == 4 and path.read_text() == "4"


def test_a_digest_follows_code_down_to_the_core(tmp_path, monkeypatch):
    """On a copy of the package: text changes nothing, code itself and what imports it."""
    package = tmp_path / "kd_offload"
    shutil.copytree(artifact.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(artifact, "PACKAGE", package)
    modules = ("tasks", "delay", "labels", "beyond.training", "baselines.dqn", "device.c_any")

    def digests():
        code_digest.cache_clear()
        artifact._source.cache_clear()
        return [code_digest(m) for m in modules]

    def changed(file, edit):
        before, text = digests(), (package / file).read_text()
        (package / file).write_text(edit(text))
        return [m for m, a, b in zip(modules, before, digests()) if a != b]

    try:
        assert changed("delay.py", lambda t: t.replace('"""', '"""A ', 1) + "# more\n") == []
        assert changed("delay.py", lambda t: t + "SOMETHING = 1\n") == list(modules[1:])
        assert changed("artifact.py", lambda t: t + "SOMETHING = 1\n") == []
        assert changed("studies/grid.py", lambda t: t + "SOMETHING = 1\n") == []
        assert changed("beyond/training.py", lambda t: t + "SOMETHING = 1\n") == ["beyond.training"]
        assert changed("device/student.c.in", lambda t: t + "\n") == ["device.c_any"]
        assert fingerprint("labels", a=1) != fingerprint("labels", a=2)
    finally:
        monkeypatch.undo()
        digests()


def test_a_failed_write_leaves_what_there_was(tmp_path):
    path = tmp_path / "f.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), written_aside(path) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "arguments, text",
    [
        ("notebooks/01_problem.ipynb --profile papper", "error: profile: 'papper'"),
        (
            "notebooks/99.ipynb --profile smoke",
            "error: notebook: notebooks/99.ipynb does not exist",
        ),
        ("notebooks/01_problem.ipynb --profile smoke -p speed 3", "error: parameter: 'speed'"),
        ("notebooks/07_latency.ipynb -p profile smoke", "error: parameter: say --profile instead"),
    ],
)
def test_bad_arguments_end_in_one_line(arguments, text, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["run", *arguments.split()])
    with pytest.raises(SystemExit) as ended:
        runner.main()
    assert text in str(ended.value)


FAKE = """#!{python}
import hashlib, pathlib, sys
if "notebooks/execute.py" in sys.argv:
    stamp = pathlib.Path(sys.argv[sys.argv.index("--stamp") + 1])
    with open("log", "a") as log: log.write(stamp.stem + "\\n")
    product = stamp.with_suffix(".csv")
    product.parent.mkdir(parents=True, exist_ok=True)
    product.write_text("made")
    stamp.write_text(hashlib.sha256(b"made").hexdigest() + "  " + str(product) + "\\n")
"""


def test_make_does_each_step_once_and_again_what_is_missing(tmp_path):
    """The Makefile with a Python that only makes files."""
    for folder in ("kd_offload", "notebooks", "data/traces"):
        ignored = shutil.ignore_patterns("__pycache__", "executed")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(ROOT / "Makefile", tmp_path)
    fake, log = tmp_path / "fake", tmp_path / "log"
    fake.write_text(FAKE.format(python=sys.executable))
    fake.chmod(0o755)

    def make(*arguments):
        log.unlink(missing_ok=True)
        command = ["make", "smoke", "PYTHON=./fake", *arguments]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        return log.read_text().split() if log.exists() else []

    everything = sorted(p.stem for p in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
    assert make("-j2") == everything and make() == [] and make("-j2") == []
    step = tmp_path / "build" / "smoke"
    (step / "10_inference_time.csv").write_text("altered")
    assert make() == ["10_inference_time", "11_effective_latency", "14_claims"] and make() == []
    (step / "01_problem.csv").unlink()
    assert make("-j2") == ["01_problem"]
    (tmp_path / "kd_offload" / "claims" / "judge.py").touch()
    assert make() == ["14_claims"]
    (tmp_path / "data" / "traces" / "tram.mahimahi").touch()
    assert make() == ["09_online"]
    (tmp_path / "kd_offload" / "device" / "student.c.in").touch()
    assert make() == ["10_inference_time", "11_effective_latency", "14_claims"]
    (tmp_path / "kd_offload" / "labels.py").touch()
    assert make() == everything
    subprocess.run(["make", "-n", "help"], cwd=tmp_path, check=True, capture_output=True)
    assert make() == []


def test_a_stamp_lists_what_a_step_made(tmp_path):
    product = tmp_path / "a.csv"
    product.write_text("1")
    record = tmp_path / "record"
    record.write_text(f"{product}\n{product}\n{tmp_path / 'gone'}\n")
    runner.stamp(tmp_path / "s.done", record)
    (line,) = (tmp_path / "s.done").read_text().splitlines()
    assert line.startswith(hashlib.sha256(b"1").hexdigest())


def test_an_open_notebook_starts_from_the_reference_and_writes_elsewhere():
    lab = get_run("lab")
    assert lab.lab and lab.out == ROOT / "build" / "lab"
    assert lab.found(lab.models / "student_dag_0.npz").exists()
    assert (
        read_table(lab, "latency").equals(read_table(PAPER, "latency"))
        or (lab.figures / "latency.csv").exists()
    )
    assert not Run(lab.profile, ROOT / "nowhere").found(ROOT / "nowhere" / "x").exists()


def test_the_readmes_lines_of_python_run(capsys, monkeypatch):
    """The block "From Python", with the trained student that the repository brings."""
    monkeypatch.chdir(ROOT)
    text = (ROOT / "README.md").read_text()
    block = re.search(r"From Python.*?\n\n```python\n(.*?)```", text, re.S).group(1)
    exec(compile(block, "README.md", "exec"), {})
    mean_delay, normalised = map(float, capsys.readouterr().out.split())
    assert 0 < mean_delay < 10 and 1 <= normalised < 1.02
