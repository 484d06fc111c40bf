"""The exported students decide as torch does, refuse what is bad, and are what they say."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest
import torch
from test_verified import untrained

from kd_offload.config import ROOT
from kd_offload.dataset import scenario
from kd_offload.export import (
    ROLES,
    SCENARIOS,
    compile_c,
    decide_onnx,
    export_c,
    export_onnx,
    open_onnx,
    quantise_onnx,
    run_c,
)
from kd_offload.graphs import chain, dag, fusion, random_graph
from kd_offload.learning import open_model, standardise, torch_module
from kd_offload.sampling import sample_tasks
from kd_offload.verification import decide, default_evaluations, improve

needs_cc = pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")


def by_torch(model, graph, tasks):
    """Placements by torch, verified where there are several, and by how much each task's closest label was decided."""
    with torch.inference_mode():
        out = torch_module(model)(torch.from_numpy(standardise(model, tasks))).numpy()
    top = np.sort(out, -1)
    gap = (top[..., 2] - top[..., 1]).reshape(len(tasks), -1).min(1)
    x = out.argmax(-1).astype(np.int8)
    return (improve(graph, tasks, x, default_evaluations(graph))[0] if x.ndim == 3 else x), gap


def assert_agree(x, model, graph, tasks):
    expected, gap = by_torch(model, graph, tasks)
    wrong = (x != expected).any(1)
    assert x.shape == expected.shape and wrong.mean() <= 1e-4
    assert (gap[wrong] < 1e-4).all(), "they differ where no tie within rounding explains it"


@needs_cc
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_trained_students_agree_with_torch(name, role, tmp_path):
    """20,000 fresh tasks, ONNX Runtime and C compiled by plain cc; the committed files are of the committed models."""
    graph, model = scenario(name).graph, open_model(ROOT / "data" / "models" / f"{role}_{name}_0.npz")
    tasks = sample_tasks(graph, 20_000, np.random.default_rng(7))
    kept = ROOT / "exports" / f"{role}_{name}"
    assert_agree(decide_onnx(open_onnx(kept.with_suffix(".onnx"), graph), model, graph, tasks), model, graph, tasks)
    compile_c(kept.with_suffix(".c"), tmp_path / "student", flags=())
    assert_agree(run_c(tmp_path / "student", tasks), model, graph, tasks)
    size = export_c(model, graph, tmp_path / "again.c")
    assert (tmp_path / "again.c").read_bytes() == kept.with_suffix(".c").read_bytes()
    assert size["constants"] <= 64 * 1024 and model.parameters <= 15_000
    assert f"| {size['constants']} |" in (ROOT / "exports" / "README.md").read_text()


@needs_cc
@pytest.mark.parametrize("hypotheses", [1, 6])
@pytest.mark.parametrize("graph", [random_graph(12, 4), chain(5)], ids=lambda g: g.name)
def test_any_graph_and_network_compiles_without_a_warning_and_agrees(graph, hypotheses, tmp_path):
    model, _ = untrained(graph, hypotheses)
    tasks = sample_tasks(graph, 2000, np.random.default_rng(8))
    export_c(model, graph, tmp_path / "s.c")
    compile_c(tmp_path / "s.c", tmp_path / "s", flags=("-O2", "-Wall", "-Wextra", "-pedantic", "-Werror"))
    assert_agree(run_c(tmp_path / "s", tasks), model, graph, tasks)
    export_onnx(model, graph, tmp_path / "s.onnx")
    assert_agree(decide_onnx(open_onnx(tmp_path / "s.onnx", graph), model, graph, tasks), model, graph, tasks)
    about = subprocess.run([tmp_path / "s", "--about"], capture_output=True, text=True).stdout
    assert graph.name in about and f"{graph.n} subtasks" in about and f"{hypotheses} proposals" in about
    assert (run_c(tmp_path / "s", tasks[:20], "--time") > 0).all()


@needs_cc
def test_c_returns_an_error_and_touches_nothing(tmp_path):
    model, tasks = untrained(dag(), 4)
    export_c(model, dag(), tmp_path / "s.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", tmp_path / "s.c", "-lm", "-o", tmp_path / "s.so"], check=True)
    library, double = ctypes.CDLL(str(tmp_path / "s.so")), ctypes.POINTER(ctypes.c_double)

    def call(task):
        x, feature = np.full(10, 9, np.int8), ctypes.c_int(-1)
        pointer = x.ctypes.data_as(ctypes.POINTER(ctypes.c_byte))
        return library.kd_decide(task.ctypes.data_as(double), pointer, ctypes.byref(feature)), x, feature.value

    code, x, _ = call(tasks[0])
    assert code == 0 and np.array_equal(x, decide(model, dag(), tasks[0]))
    assert library.kd_outside(tasks[0].ctypes.data_as(double)) == 0
    for value, expected in ((np.nan, 1), (np.inf, 1), (-np.inf, 1), (0.0, 2), (-3.0, 2)):
        for at in (0, 12, 32):
            bad = tasks[0].copy()
            bad[at] = value
            code, x, feature = call(bad)
            assert (code, feature) == (expected, at) and (x == 9).all()
    far = tasks[0].copy()
    far[25] *= 100
    assert library.kd_outside(far.ctypes.data_as(double)) == 26 and call(far)[0] == 0


@needs_cc
def test_the_command_refuses_what_is_no_task(tmp_path):
    model, tasks = untrained(chain(4), 1)
    export_c(model, chain(4), tmp_path / "s.c")
    compile_c(tmp_path / "s.c", tmp_path / "s", flags=())
    line = " ".join(map(repr, tasks[0].tolist()))
    for text, expected in (
        (line + " 5", "the last task has 1 values, expected 17"),
        (line.replace(repr(float(tasks[0, 1])), "fast"), "w_2 = 'fast' is not a number"),
        (line.replace(repr(float(tasks[0, 2])), "-1"), "error 2: w_3 = -1"),
        (line.replace(repr(float(tasks[0, 0])), "nan"), "error 1: w_1 = "),
    ):
        done = subprocess.run([tmp_path / "s"], input=text, capture_output=True, text=True)
        assert done.returncode == 2 and expected in done.stderr
    bad = tasks.copy()
    bad[3, 4] = np.nan
    with pytest.raises(ValueError, match="error 1: d_0_1"):
        run_c(tmp_path / "s", bad)
    assert subprocess.run([tmp_path / "s", "--tme"], input="", capture_output=True, text=True).returncode == 2


def test_files_that_are_not_for_this_are_refused(tmp_path):
    model, tasks = untrained(dag(), 1)
    path = tmp_path / "m.onnx"
    export_onnx(model, dag(), path)
    with pytest.raises(ValueError, match="has scenario 'dag', expected 'fusion'"):
        open_onnx(path, fusion())
    path.write_bytes(path.read_bytes().replace(b"kd_offload 2", b"kd_offload 1"))
    with pytest.raises(ValueError, match="has format 'kd_offload 1', expected 'kd_offload 2'"):
        open_onnx(path, dag())
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"m\.onnx is missing, truncated or altered"):
        open_onnx(path, dag())
    large, _ = untrained(dag(), 1, (256, 128))
    with pytest.raises(ValueError, match=r"constants: \d+ bytes, expected at most 65536"):
        export_c(large, dag(), tmp_path / "large.c")
    assert not (tmp_path / "large.c").exists()
    (tmp_path / "bad.c").write_text("int main(void) { return }\n")
    if shutil.which("cc"):
        with pytest.raises(ValueError, match=r"bad\.c does not compile"):
            compile_c(tmp_path / "bad.c", tmp_path / "bad")
    export_onnx(model, dag(), path)
    quantise_onnx(path, tmp_path / "q.onnx")
    rough = decide_onnx(open_onnx(tmp_path / "q.onnx", dag()), model, dag(), tasks)
    assert (rough == decide(model, dag(), tasks)).mean() > 0.9
