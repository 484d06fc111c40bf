"""The exported students decide as torch does, refuse what is bad, and are what they say."""

import ctypes
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.run import ROOT, save_table
from anygraph.network import GraphNetwork
from anygraph.training import first_weights
from experiments.runtimes import card
from experiments.studies import device_times as times
from anygraph.c import export_any
from experiments.runtimes.c import compile_c, export_c, run_c
from experiments.runtimes.onnx_file import export_onnx, open_onnx, quantise_onnx, run_onnx
from kd_offload.graphs import chain, dag, fusion, random_graph
from kd_offload.model import Model, Network, decide, open_model, scaling, standardise, torch_module
from experiments.scenarios import SHOWN, scenario
from kd_offload.tasks import sample_tasks

STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wmissing-prototypes", "-Werror")
SANE = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
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
    for end in (".c", ".h", ".onnx"):
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
        binary = build(model, graph, tmp_path, ("-O2", *STRICT))
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
        x, feature = np.full(10, 9, np.uint8), ctypes.c_int(-1)
        pointer = x.ctypes.data_as(ctypes.POINTER(ctypes.c_ubyte))
        code = library.any_dag_decide(task.ctypes.data_as(double), pointer, ctypes.byref(feature))
        return code, x, feature.value

    code, x, _ = call(tasks[0])
    assert code == 0 and np.array_equal(x, decide(model, dag(), tasks[0]))
    assert library.any_dag_outside(tasks[0].ctypes.data_as(double)) == 0
    for value, expected in ((np.nan, 1), (np.inf, 1), (-np.inf, 1), (0.0, 2), (-3.0, 2)):
        for at in (0, 12, 32):
            bad = tasks[0].copy()
            bad[at] = value
            code, x, feature = call(bad)
            assert (code, feature) == (expected, at) and (x == 9).all()
    far = tasks[0].copy()
    far[25] *= 100
    assert library.any_dag_outside(far.ctypes.data_as(double)) == 26 and call(far)[0] == 0


@needs_cc
def test_the_command_refuses_what_is_no_task(tmp_path):
    """Line by line: the first bad one ends it, is named with its field, not decided."""
    model, tasks = untrained(chain(4))
    try:
        binary = build(model, chain(4), tmp_path, SANE)
    except ValueError:  # no sanitizers here
        binary = build(model, chain(4), tmp_path)
    good = [" ".join(map(repr, row)) for row in tasks[:3].tolist()]
    wrong = "expected a finite, positive number"

    def changed(word, to):
        words = good[1].split()
        words[word - 1 : word] = [to]
        return "\n".join([good[0], " ".join(words), good[2], ""])

    for text, done_before, expected in (
        ("", 0, "line 1: w_1 is missing, expected 17 numbers"),
        ("\n", 0, "line 1: w_1 is missing, expected 17 numbers"),
        (good[0] + "\n\n", 1, "line 2: w_1 is missing, expected 17 numbers"),
        (changed(17, ""), 1, "line 2: tau_wan is missing, expected 17 numbers"),
        (changed(17, "0.01 5"), 1, "line 2: '5' after tau_wan, expected 17 numbers"),
        (changed(2, "fast"), 1, f"line 2: w_2 = 'fast', {wrong}"),
        (changed(3, "-1"), 1, f"line 2: w_3 = '-1', {wrong}"),
        (changed(1, "nan"), 1, f"line 2: w_1 = 'nan', {wrong}"),
        (changed(5, "1e999"), 1, f"line 2: d_0_1 = '1e999', {wrong}"),
        (changed(5, "0x1p3"), 1, f"line 2: d_0_1 = '0x1p3', {wrong}"),
        (changed(5, "0" * 70 + "5"), 1, f"line 2: d_0_1 = '{'0' * 40}', {wrong}"),
        (changed(5, "5\0"), 1, f"line 2: d_0_1 = '5?', {wrong}"),
        ("\n".join([*good, "7 8"]), 3, "line 4: w_3 is missing, expected 17 numbers"),
    ):
        done = subprocess.run([binary], input=text, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (1, f"error: {expected}\n")
        assert done.stdout.count("\n") == done_before
    bad = tasks.copy()
    bad[3, 4] = np.nan
    with pytest.raises(ValueError, match=r"line 4: d_0_1 = 'nan'"):
        run_c(binary, bad)
    assert subprocess.run([binary, "--tme"], input="", capture_output=True).returncode == 2
    for ending in ("\r\n", "\t\n", "\n"):
        said = subprocess.run([binary], input=good[0] + ending, capture_output=True, text=True)
        assert said.returncode == 0 and said.stdout.count("\n") == 1 and not said.stderr
    tasks[0, -8] *= 100
    said = subprocess.run(
        [binary], input=" ".join(map(repr, tasks[0].tolist())), capture_output=True, text=True
    )
    assert said.returncode == 0 and said.stderr.startswith("warning: task: f_0 = ")
    if Path("/dev/full").exists():
        with open("/dev/full", "w") as full:
            said = subprocess.run([binary], input=good[0], stdout=full, stderr=-1, text=True)
        assert said.returncode == 1 and "output cannot be written" in said.stderr


@needs_cc
def test_exports_link_into_one_program_of_c_or_c_plus_plus(tmp_path):
    """Names do not collide; the headers alone declare what is there; no NaN check can vanish."""
    graphs = {"dag": dag(), "fusion": fusion(), "random_128_1": random_graph(128, 1)}
    for name, graph in graphs.items():
        export_c(untrained(graph)[0], graph, tmp_path / f"{name}.c", limit=None)
    flat = first_weights(8, 4, np.random.default_rng(0))
    export_any(GraphNetwork("anygraph", 0, 8, 4, flat), tmp_path / "general.c")
    calls = "".join(
        f"    bad += any_{name}_decide(task, placement, &bad) + any_{name}_outside(task);\n"
        f"    bad += ANY_{name.upper()}_N + (int)sizeof any_{name}_feature_names[0];\n"
        for name in graphs
    )
    includes = "".join(f'#include "{name}.h"\n' for name in (*graphs, "general", "dag"))
    body = (
        "    static double task[1200]; static unsigned char placement[128]; int bad = 0;\n" + calls
    )
    body += "    bad += kd_outside(task, task);\n    return bad == 0;\n"
    objects = []
    for source in (*graphs, "general"):
        objects.append(tmp_path / f"{source}.o")
        command = ["cc", "-std=c99", *STRICT, "-c", tmp_path / f"{source}.c", "-o", objects[-1]]
        subprocess.run(command, check=True)
        for flag in ("-ffast-math", "-ffinite-math-only"):
            done = subprocess.run(
                [*command[:-2], flag, "-o", tmp_path / "x.o"], capture_output=True
            )
            assert done.returncode and b"drop the checks for NaN" in done.stderr
    for compiler, end in (("cc", "c"), ("c++", "cc")):
        if shutil.which(compiler):
            use = tmp_path / f"use.{end}"
            use.write_text(f"{includes}int main(void)\n{{\n{body}}}\n")
            command = [compiler, "-Wall", "-Werror", use, *objects, "-lm", "-o", tmp_path / "use"]
            subprocess.run(command, check=True)
            assert subprocess.run([tmp_path / "use"]).returncode == 0


@needs_cc
def test_128_subtasks_stay_inside_the_memory(tmp_path):
    graph = random_graph(128, 1)
    model, tasks = untrained(graph)
    export_c(model, graph, tmp_path / "s.c", limit=None)
    try:
        compile_c(tmp_path / "s.c", tmp_path / "s", SANE)
    except ValueError:
        compile_c(tmp_path / "s.c", tmp_path / "s", ())
    assert_agree(run_c(tmp_path / "s", tasks), model, graph, tasks)


def test_files_that_are_not_for_this_are_refused(tmp_path):
    model, tasks = untrained(dag())
    path = tmp_path / "m.onnx"
    export_onnx(model, dag(), path)
    with pytest.raises(ValueError, match="has scenario 'dag', expected 'fusion'"):
        open_onnx(path, fusion())
    path.write_bytes(path.read_bytes().replace(b"kd_offload 3", b"kd_offload 1"))
    with pytest.raises(ValueError, match="has format 'kd_offload 1', expected 'kd_offload 3'"):
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
    if shutil.which("cc"):
        table = times.device_times(tiny).set_index(["runtime", "policy"])
        assert len(table) == 3 + 2 * 2 and (table.over_student.xs("student", level=1) == 1).all()
        assert table.cold_us.notna().tolist() == [True] * 3 + [False] * 4
        assert table.constants_bytes["c", "teacher"] > 64 * 1024 and (table.median_us > 0).all()
    monkeypatch.setattr(shutil, "which", lambda _: None)
    table = times.device_times(tiny)
    assert set(table.runtime) == {"onnxruntime", "onnxruntime_int8"} and len(table) == 2 * 2


def test_the_card_tells_of_every_model(tiny, tmp_path, monkeypatch, capsys):
    roles = "student", "anygraph"
    keys = [dict(policy=role, scenario=name, seed=0) for name in SHOWN for role in roles]
    run = replace(tiny, out=tmp_path)
    (tmp_path / "data").symlink_to(tiny.data)
    save_table(run, "latency", pd.DataFrame(keys).assign(regret_mean=0.1234))
    monkeypatch.setattr(card, "get_run", lambda profile: run)
    monkeypatch.setattr(sys, "argv", ["card", "--out", str(tmp_path / "exports")])
    card.main()
    written = {f.name for f in (tmp_path / "exports").iterdir()}
    students = {f"student_{name}.{end}" for name in SHOWN for end in ("c", "h", "onnx")}
    assert written == students | {"anygraph.c", "anygraph.h", "README.md"}
    text = (tmp_path / "exports" / "README.md").read_text()
    assert text.count("12.34 %") == 6 and all(f"`student_{n}`" in text for n in SHOWN)
    assert text.count("| `tau_wan` | s | ") == 2 and "| `w_i` | cycles | " in text
    (run.figures / "latency.csv").unlink()
    with pytest.raises(SystemExit, match=r"error: table: latency\.csv is missing"):
        card.main()
