"""Public graphs: a folder's files are read, sorted by name; clashes and nothing are refused."""

import json

import pytest

from anygraph.graph_files import Reading
from experiments.public import graphs_of

ONE = json.dumps({"tasks": [{"name": "a", "cost": 1}], "dependencies": []})


def test_a_folder_is_read_by_name(tmp_path):
    for path in ("b.json", "set/c/graph.json", "set/a.JSON", ".git/hidden.json"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(ONE)
    (tmp_path / "LICENSE").write_text("free")
    (tmp_path / "d.dot").write_text("digraph { x [cycles=5] }")
    files = graphs_of(tmp_path)
    assert [file.graph.name for file in files] == ["a", "b", "c", "d"]
    assert [file.cycles.tolist() for file in files] == [[1e8], [1e8], [1e8], [5]]
    assert graphs_of(str(tmp_path), Reading(cycles_per_cost=3.0))[0].cycles.tolist() == [3]


def test_nothing_a_clash_and_a_broken_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no file of .json, .dot, .gv in it"):
        graphs_of(tmp_path)
    (tmp_path / "a.json").write_text(ONE)
    (tmp_path / "a.gv").write_text("digraph { x [cycles=5] }")
    with pytest.raises(ValueError, match=r"a\.gv and .*a\.json are both named 'a'"):
        graphs_of(tmp_path)
    (tmp_path / "a.gv").write_text("digraph {")
    with pytest.raises(ValueError, match=r"a\.gv': not DOT, or cut off"):
        graphs_of(tmp_path)
