"""Notebooks are clean, the executed copies are theirs, and the runner accepts nothing by halves."""

import json
import re

import nbformat
import pytest
from execute import execute

from experiments.run import ROOT
from experiments.profiles import PROFILES

SOURCES = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def test_all_are_there():
    assert [int(p.stem.split("_")[0]) for p in SOURCES] == list(range(1, len(SOURCES) + 1))
    executed = (ROOT / "notebooks" / "executed").glob("*.ipynb")
    assert {p.name for p in executed} == {p.name for p in SOURCES}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_sources_are_clean(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert len(book.cells) <= 16
    assert book.cells[0].cell_type == "markdown" and "Run time" in book.cells[0].source
    assert book.cells[0].source.startswith(f"# {path.stem.split('_')[0].lstrip('0')}. ")
    assert sum("parameters" in c.metadata.get("tags", []) for c in book.cells) == 1
    for cell in book.cells:
        assert set(cell.metadata) <= {"tags"}
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_executed_copies_are_of_these_sources(path):
    executed = ROOT / "notebooks" / "executed" / path.name
    source, copy = (nbformat.read(p, as_version=4).cells for p in (path, executed))
    copy = [c for c in copy if "injected-parameters" not in c.metadata.get("tags", [])]
    texts = [[(c.cell_type, c.source) for c in cells] for cells in (source, copy)]
    assert texts[0] == texts[1]
    assert all(c.execution_count for c in copy if c.cell_type == "code")
    assert not [
        o for c in copy if c.cell_type == "code" for o in c.outputs if o.output_type == "error"
    ]
    assert not re.search(
        r"(?<![\w.])/(?:[\w.-]+/)*(?:site-packages|ipykernel_\d+|kd_offload|home|tmp|root)/",
        executed.read_text(),
    )


def notebook(path, *code):
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
    with pytest.raises(ValueError, match="stopped before cell 1"):
        execute(
            notebook(tmp_path / "quit.ipynb", "a = 1", "import sys; sys.exit(0)", "print(a)"),
            target,
            {},
        )
    assert target.read_bytes() == before and [p.name for p in target.parent.iterdir()] == [
        "n.ipynb"
    ]


def test_profiles_differ_only_in_size():
    assert len({p.seed for p in PROFILES.values()}) == 1


def test_executed_copies_name_no_folder_of_this_machine(tmp_path):
    target = tmp_path / "done.ipynb"
    code = "import pandas, kd_offload; print(pandas.__file__, kd_offload.__file__, '/elsewhere/x')"
    execute(notebook(tmp_path / "n.ipynb", "a = 1", code), target, {})
    said = nbformat.read(target, as_version=4).cells[1].outputs[0].text
    assert said.startswith("lib/") and said.endswith(" kd_offload/__init__.py /elsewhere/x\n")
