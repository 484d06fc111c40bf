"""The ONNX file decides as torch does, is the same every time, and is refused when damaged."""

import numpy as np
import onnx
import pytest

from experiments.runtimes.onnx import export_onnx, open_onnx, run_onnx
from kd_offload.graphs import chain, dag, fusion, random_graph
from kd_offload.model import FORMAT
from kd_offload.tasks import feature_names, sample_tasks


@pytest.mark.parametrize("hidden, units", [((24, 16), 0), ((), 0), ((9,), 17), ((), 1)])
@pytest.mark.parametrize("graph", [random_graph(12, 4), chain(5), chain(1)], ids=lambda g: g.name)
def test_any_network_agrees(graph, hidden, units, untrained, assert_agree, tmp_path):
    model, _ = untrained(graph, hidden, units)
    tasks = sample_tasks(graph, 2000, np.random.default_rng(8))
    export_onnx(model, tmp_path / "s.onnx")
    session = open_onnx(tmp_path / "s.onnx", graph)
    assert_agree(run_onnx(session, tasks), model, tasks)
    assert_agree(run_onnx(session, tasks[:1]), model, tasks[:1])


def test_the_file_tells_what_it_is_and_nothing_of_this_machine(untrained, tmp_path):
    model, _ = untrained(dag(), units=8)
    export_onnx(model, tmp_path / "a.onnx")
    export_onnx(model, tmp_path / "b.onnx")
    content = (tmp_path / "a.onnx").read_bytes()
    assert content == (tmp_path / "b.onnx").read_bytes()
    assert b".py" not in content and b"experiments" not in content
    made = onnx.load(tmp_path / "a.onnx")
    about = {prop.key: prop.value for prop in made.metadata_props}
    assert about["features"].split() == feature_names(dag())
    assert about["graph"] == "dag" and about["role"] == "any" and about["seed"] == "0"


def test_files_that_are_not_for_this_are_refused(untrained, tmp_path):
    model, _ = untrained(dag())
    path = tmp_path / "m.onnx"
    export_onnx(model, path)
    with pytest.raises(ValueError, match="has graph 'dag', expected 'fusion'"):
        open_onnx(path, fusion())
    content = path.read_bytes()
    path.write_bytes(content.replace(FORMAT.encode(), b"kd_offload model 1"))
    with pytest.raises(ValueError, match="has format 'kd_offload model 1', expected 'kd_offload"):
        open_onnx(path, dag())
    path.write_bytes(content[:500])
    with pytest.raises(ValueError, match=r"m\.onnx is missing, truncated or altered"):
        open_onnx(path, dag())
