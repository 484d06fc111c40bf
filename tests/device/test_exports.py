"""The exported students decide as torch does, refuse what is bad, and are what they say."""

import ctypes
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from kd_offload.artifact import ROOT, save_table
from kd_offload.device import card, times
from kd_offload.device.c_file import compile_c, export_c, run_c
from kd_offload.device.onnx_file import export_onnx, open_onnx, quantise_onnx, run_onnx
from kd_offload.graphs import chain, dag, fusion, random_graph
from kd_offload.models import (
    Model,
    Network,
    decide,
    open_model,
    scaling,
    standardise,
    torch_module,
)
from kd_offload.scenarios import SHOWN, scenario
from kd_offload.studies import timing
from kd_offload.tasks import sample_tasks

needs_cc = pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")


def untrained(graph, hidden=(24, 16), classes=3):
    """A network with random weights, biases too, and some tasks."""
    tasks = sample_tasks(graph, 400, np.random.default_rng(0))
    net = Network([graph.n_features, *hidden, classes * graph.n], classes)
    generator = torch.Generator().manual_seed(0)
    for p in (*net.weights, *net.biases):
        torch.nn.init.normal_(p, 0, 0.4, generator=generator)
    return Model("any", graph.name, 0, *scaling(tasks), *net.arrays(), classes), tasks


def assert_agree(x, model, graph, tasks):
    """Placements are torch's; they differ only in ties."""
    with torch.inference_mode():
        out = torch_module(model)(torch.from_numpy(standardise(model, tasks))).numpy()
    expected, top = out.argmax(-1).astype(np.int8), np.sort(out, -1)
    gap = (top[..., 2] - top[..., 1]).reshape(len(tasks), -1).min(1)
    wrong = (x != expected).any(1)
    assert x.shape == expected.shape and wrong.mean() <= 1e-4 and (gap[wrong] < 1e-4).all()


def build(model, graph, folder, flags=()):
    """The file's command."""
    export_c(model, graph, folder / "s.c")
    compile_c(folder / "s.c", folder / "s", flags)
    return folder / "s"


@needs_cc
@pytest.mark.parametrize("name", SHOWN)
def test_the_trained_students_agree_with_torch(name, tmp_path):
    """20,000 fresh tasks, ONNX Runtime and plain cc; the committed files are the models'."""
    graph = scenario(name).graph
    model = open_model(ROOT / "data" / "models" / f"student_{name}_0.npz")
    tasks = sample_tasks(graph, 20_000, np.random.default_rng(7))
    kept = ROOT / "exports" / f"student_{name}"
    session = open_onnx(kept.with_suffix(".onnx"), graph)
    assert_agree(run_onnx(session, tasks), model, graph, tasks)
    compile_c(kept.with_suffix(".c"), tmp_path / "student", flags=())
    assert_agree(run_c(tmp_path / "student", tasks), model, graph, tasks)
    size = export_c(model, graph, tmp_path / "again.c")
    export_onnx(model, graph, tmp_path / "again.onnx")
    for end in (".c", ".onnx"):
        again = tmp_path / f"again{end}"
        assert again.read_bytes() == kept.with_suffix(end).read_bytes()
    assert size["constants"] <= 64 * 1024 and model.parameters <= 15_000
    assert f"| {size['constants']} |" in (ROOT / "exports" / "README.md").read_text()


@needs_cc
@pytest.mark.parametrize("graph", [random_graph(12, 4), chain(5)], ids=lambda g: g.name)
def test_any_network_compiles_without_a_warning_and_agrees(graph, tmp_path):
    for hidden in ((24, 16), (16,), ()):
        model, _ = untrained(graph, hidden)
        tasks = sample_tasks(graph, 2000, np.random.default_rng(8))
        binary = build(model, graph, tmp_path, ("-O2", "-Wall", "-Wextra", "-pedantic", "-Werror"))
        assert_agree(run_c(binary, tasks), model, graph, tasks)
        export_onnx(model, graph, tmp_path / "s.onnx")
        session = open_onnx(tmp_path / "s.onnx", graph)
        assert_agree(run_onnx(session, tasks), model, graph, tasks)
    about = subprocess.run([binary, "--about"], capture_output=True, text=True).stdout
    assert f"{graph.name}: {graph.n} subtasks" in about
    assert all((run_c(binary, tasks[:20], mode) > 0).all() for mode in ("hot", "cold"))


@needs_cc
def test_c_returns_an_error_and_touches_nothing(tmp_path):
    model, tasks = untrained(dag())
    export_c(model, dag(), tmp_path / "s.c")
    command = ["cc", "-shared", "-fPIC", "-O1", tmp_path / "s.c", "-lm", "-o", tmp_path / "s.so"]
    subprocess.run(command, check=True)
    library, double = ctypes.CDLL(str(tmp_path / "s.so")), ctypes.POINTER(ctypes.c_double)

    def call(task):
        x, feature = np.full(10, 9, np.int8), ctypes.c_int(-1)
        pointer = x.ctypes.data_as(ctypes.POINTER(ctypes.c_byte))
        code = library.kd_decide(task.ctypes.data_as(double), pointer, ctypes.byref(feature))
        return code, x, feature.value

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
    model, tasks = untrained(chain(4))
    binary = build(model, chain(4), tmp_path)
    line = " ".join(map(repr, tasks[0].tolist()))
    for text, expected in (
        (line + " 5", "the last task has 1 values, expected 17"),
        (line.replace(repr(float(tasks[0, 1])), "fast"), "w_2 = 'fast' is not a number"),
        (line.replace(repr(float(tasks[0, 2])), "-1"), "error 2: w_3 = -1"),
        (line.replace(repr(float(tasks[0, 0])), "nan"), "error 1: w_1 = "),
    ):
        done = subprocess.run([binary], input=text, capture_output=True, text=True)
        assert done.returncode == 2 and expected in done.stderr
    bad = tasks.copy()
    bad[3, 4] = np.nan
    with pytest.raises(ValueError, match="error 1: d_0_1"):
        run_c(binary, bad)
    assert subprocess.run([binary, "--tme"], input="", capture_output=True).returncode == 2


def test_files_that_are_not_for_this_are_refused(tmp_path):
    model, tasks = untrained(dag())
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
    large, _ = untrained(dag(), (256, 128))
    with pytest.raises(ValueError, match=r"constants: \d+ bytes, expected at most 65536"):
        export_c(large, dag(), tmp_path / "large.c")
    with pytest.raises(ValueError, match="classes: 2, expected a model of 3 locations"):
        export_c(untrained(dag(), classes=2)[0], dag(), tmp_path / "large.c")
    assert not (tmp_path / "large.c").exists()
    (tmp_path / "bad.c").write_text("int main(void) { return }\n")
    if shutil.which("cc"):
        with pytest.raises(ValueError, match=r"bad\.c does not compile"):
            compile_c(tmp_path / "bad.c", tmp_path / "bad")
    export_onnx(model, dag(), path)
    quantise_onnx(path, tmp_path / "q.onnx")
    rough = run_onnx(open_onnx(tmp_path / "q.onnx", dag()), tasks)
    assert (rough == decide(model, dag(), tasks)).mean() > 0.9


def test_times_on_a_device(tiny, monkeypatch):
    """A row a policy and runtime; without a compiler those of ONNX Runtime."""
    monkeypatch.setattr(times, "SHOWN", ("dag",))
    monkeypatch.setattr(timing, "PROCESSES", 2)
    if shutil.which("cc"):
        table = times.device_times(tiny).set_index(["runtime", "policy"])
        assert len(table) == 3 + 2 * 2 and (table.over_student.xs("student", level=1) == 1).all()
        assert table.cold_us.notna().tolist() == [True] * 3 + [False] * 4
        assert table.constants_bytes["c", "teacher"] > 64 * 1024 and (table.median_us > 0).all()
    monkeypatch.setattr(shutil, "which", lambda _: None)
    table = times.device_times(tiny)
    assert set(table.runtime) == {"onnxruntime", "onnxruntime_int8"} and len(table) == 2 * 2


def test_the_card_tells_of_every_model(tiny, tmp_path, monkeypatch, capsys):
    roles = "student", "student_any"
    keys = [dict(policy=role, scenario=name, seed=0) for name in SHOWN for role in roles]
    run = replace(tiny, out=tmp_path)
    (tmp_path / "data").symlink_to(tiny.data)
    save_table(run, "latency", pd.DataFrame(keys).assign(regret_mean=0.1234))
    monkeypatch.setattr(card, "get_run", lambda profile: run)
    monkeypatch.setattr(sys, "argv", ["card", "--out", str(tmp_path / "exports")])
    card.main()
    written = {f.name for f in (tmp_path / "exports").iterdir()}
    students = {f"student_{name}.{end}" for name in SHOWN for end in ("c", "onnx")}
    assert written == students | {"student_any.c", "README.md"}
    text = (tmp_path / "exports" / "README.md").read_text()
    assert text.count("12.34 %") == 6 and all(f"`student_{n}`" in text for n in SHOWN)
    assert text.count("| `tau_wan` | s | ") == 2 and "| `w_i` | cycles | " in text
    (run.figures / "latency.csv").unlink()
    with pytest.raises(SystemExit, match=r"error: table: latency\.csv is missing"):
        card.main()
