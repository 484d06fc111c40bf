"""Notebooks are clean, the executed copies are theirs, and the runner accepts nothing by halves."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from experiments.execute import execute, main, write_stamp
from experiments.run import ROOT

STORY = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
WORK = sorted((ROOT / "notebooks").glob("*/[0-9]*.ipynb"))
WORK = [path for path in WORK if path.parent.name in ("training", "slow")]
# Slow notebooks have an executed copy once `make slow` has run; their tables may be older.
REFERENCE = [path for path in (*STORY, *WORK) if path.parent.name != "slow"]
EXECUTED = ROOT / "notebooks" / "executed"


def copies(path: Path) -> list[Path]:
    """The executed copies of a notebook: one, or one for each value of its parameter."""
    folder = EXECUTED / path.parent.relative_to(ROOT / "notebooks")
    if path.parent.name == "training" and path.stem == "03_teacher_and_student":
        return [folder / f"03_{name}.ipynb" for name in ("chain", "dag", "fusion", "networks")]
    return [folder / path.name]


def test_all_are_there():
    assert {int(p.stem.split("_")[0]) for p in STORY} == set(range(1, 13))
    expected = {copy for path in REFERENCE for copy in copies(path)}
    slow = {copy for path in WORK for copy in copies(path)} - expected
    assert set(EXECUTED.rglob("*.ipynb")) - slow == expected


def test_sources_are_clean():
    for path in (*STORY, *WORK):
        book = nbformat.read(path, as_version=4)
        nbformat.validate(book)
        opening = book.cells[0].source
        assert opening.startswith(f"# {int(path.stem.split('_')[0])}. "), path.name
        assert "Run time" in opening, path.name
        tags = [tag for c in book.cells for tag in c.metadata.get("tags", [])]
        assert tags == ["parameters"], path.name
        for cell in book.cells:
            assert set(cell.metadata) <= {"tags"}, path.name
            if cell.cell_type == "code":
                assert cell.outputs == [] and cell.execution_count is None, path.name


def test_executed_copies_are_of_these_sources():
    machine = r"(?<![\w.])/(?:[\w.-]+/)*(?:site-packages|ipykernel_\d+|kd_offload|home|tmp|root)/"
    for source in [*REFERENCE, *(p for p in WORK if all(c.exists() for c in copies(p)))]:
        cells = [(c.cell_type, c.source) for c in nbformat.read(source, as_version=4).cells]
        for path in copies(source):
            book = nbformat.read(path, as_version=4).cells
            injected = "injected-parameters"
            book = [c for c in book if injected not in c.metadata.get("tags", [])]
            assert [(c.cell_type, c.source) for c in book] == cells, path.name
            code = [c for c in book if c.cell_type == "code"]
            assert all(c.execution_count for c in code), path.name
            assert not [o for c in code for o in c.outputs if o.output_type == "error"], path.name
            assert not re.search(machine, path.read_text(encoding="utf-8")), path.name


def notebook(path: Path, *code: str) -> Path:
    cells = [nbformat.v4.new_code_cell(c) for c in code]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def test_the_runner_refuses_and_keeps_what_there_was(tmp_path):
    target = tmp_path / "done" / "n.ipynb"
    good = notebook(tmp_path / "n.ipynb", "a = 1", "print(a)")
    execute(good, target, {"a": 5})
    before = target.read_bytes()
    assert b'"5\\n"' in before and "papermill" not in json.loads(before)["metadata"]
    with pytest.raises(ValueError, match="parameter: 'b' is not one of"):
        execute(good, target, {"b": 5})
    with pytest.raises(Exception, match="ZeroDivisionError"):
        execute(notebook(tmp_path / "bad.ipynb", "a = 1", "1 / 0"), target, {})
    ended = notebook(tmp_path / "quit.ipynb", "a = 1", "import sys; sys.exit(0)", "print(a)")
    with pytest.raises(ValueError, match="stopped before cell 1"):
        execute(ended, target, {})
    assert target.read_bytes() == before
    assert [p.name for p in target.parent.iterdir()] == ["n.ipynb"]


def test_an_executed_copy_names_no_folder_and_the_runner_knows_its_imports(tmp_path):
    target = tmp_path / "done.ipynb"
    code = "import pandas, kd_offload; print(pandas.__file__, kd_offload.__file__, '/elsewhere/x')"
    imported = execute(notebook(tmp_path / "n.ipynb", "a = 1", code), target, {})
    output = nbformat.read(target, as_version=4).cells[1].outputs[0].text
    assert output.startswith("lib/") and output.endswith(" kd_offload/__init__.py /elsewhere/x\n")
    names = {str(path.relative_to(ROOT)) for path in imported}
    assert {"kd_offload/__init__.py", "kd_offload/labels.py"} <= names
    assert "experiments/run.py" not in names
    write_stamp(ROOT / "build" / "test_stamp.done", imported)
    lines = (ROOT / "build" / "test_stamp.d").read_text().splitlines()
    assert lines[0].startswith("build/test_stamp.done: ") and "kd_offload/labels.py:" in lines
    (ROOT / "build" / "test_stamp.d").unlink()
    (ROOT / "build" / "test_stamp.done").unlink()


@pytest.mark.parametrize(
    "arguments, text",
    [
        ("notebooks/01_problem.ipynb --profile papper", "error: profile: 'papper'"),
        ("notebooks/99.ipynb --profile smoke", "error: notebook: notebooks/99.ipynb does not"),
        ("notebooks/01_problem.ipynb --profile smoke -p speed 3", "error: parameter: 'speed'"),
        ("notebooks/01_problem.ipynb -p profile smoke", "error: parameter: say --profile instead"),
        ("notebooks/01_problem.ipynb -p scenario 3", "error: parameter: one that is changed needs"),
    ],
)
def test_bad_arguments_end_in_one_line(arguments, text, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    assert text in str(ended.value)


FAKE = """#!{python}
import pathlib, sys
if "experiments.execute" in sys.argv:
    stamp = pathlib.Path(sys.argv[sys.argv.index("--stamp") + 1])
    stamp.parent.mkdir(parents=True, exist_ok=True)
    with open("log", "a") as log: log.write(str(stamp.relative_to("build/smoke")) + "\\n")
    name = stamp.stem.partition("_")[2]
    modules = ["kd_offload/labels.py", *pathlib.Path(".").glob("experiments/*/" + name + ".py")]
    stamp.with_suffix(".d").write_text(f"{{stamp}}: {{' '.join(map(str, modules))}}\\n")
    stamp.write_text("")
"""


def test_make_runs_what_changed_and_what_follows(tmp_path):
    """The Makefile with a Python that only makes stamps, its dependencies those of its name."""
    folder = tmp_path / "a folder"
    for name in ("kd_offload", "experiments", "notebooks"):
        for path in (*(ROOT / name).rglob("*.py"), *(ROOT / name).rglob("*.ipynb")):
            if "executed" not in path.parts:
                target = folder / path.relative_to(ROOT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text("")
    for name in ("Makefile", "requirements.txt"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder / "anygraph").mkdir()
    fake, log = folder / "a fake", folder / "log"
    fake.write_text(FAKE.format(python=sys.executable))
    fake.chmod(0o755)

    def make(*touched: str) -> set[str]:
        log.unlink(missing_ok=True)
        for name in touched:
            os.utime(folder / name)
        command = ["make", "reproduce", "PROFILE=smoke", "PYTHON=./a fake"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        made = log.read_text().split() if log.exists() else []
        assert len(made) == len(set(made))
        return {name.removesuffix(".done") for name in made}

    everything = make()
    assert {p.stem for p in STORY} < everything and {f"slow/{p.stem}" for p in WORK} & everything
    assert make() == set()
    assert make("experiments/plots/testbed.py") == {"11_testbed", "slow/11_testbed"}
    assert make("notebooks/12_claims.ipynb") == {"12_claims"}
    assert make("notebooks/06_latency.ipynb") == {
        "06_latency",
        "08_inference_time",
        "12_claims",
    }
    assert make("requirements.txt") == everything
    assert make("experiments/execute.py") == everything
    assert make("kd_offload/labels.py") == everything
