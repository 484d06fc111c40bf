"""One C file for every graph: it decides as `decide` does, and refuses what Python refuses."""

import contextlib
import ctypes
import io
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anygraph import __main__ as command
from anygraph.c import export_any, run_any, text_of
from anygraph.c_text import FAST, compile_c
from anygraph.decision import STATE_RANGES, decide
from anygraph.families import MAX_EDGES, draw
from anygraph.network import save_network
from anygraph.training import WIDE
from kd_offload.delay import delay
from kd_offload.graphs import TaskGraph, chain, dag, fusion, random_graph
from kd_offload.tasks import sample_tasks

from .networks import FAMILIES, random_network, with_zeros

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
SANE = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
TASKS = sample_tasks(dag(), 20, np.random.default_rng(3))
TEXT = text_of(dag(), TASKS[:2])
RANGES = list(STATE_RANGES.values())


class Known(ctypes.Structure):
    """kd_decision_t."""

    _fields_ = [
        ("delay", ctypes.c_double),
        ("bound", ctypes.c_double),
        ("cost", ctypes.c_double),
        ("is_proven", ctypes.c_int),
    ]


class Answer(NamedTuple):
    """What kd_decide leaves."""

    code: int
    bad: int
    placement: np.ndarray
    known: Known


class Library:
    """A model's C file as a library, with memory of its own that holds `fill` at first."""

    def __init__(self, source, flags=(), fill=0):
        target = source.with_suffix(".so")
        command = ["cc", "-std=c99", *STRICT, *flags, "-shared", "-fPIC", str(source), "-lm"]
        subprocess.run([*command, "-o", str(target)], check=True)
        self.library, self.bad = ctypes.CDLL(str(target)), ctypes.c_int(-1)
        command = source.with_suffix("")
        about = subprocess.run([command, "--about"], capture_output=True, text=True).stdout
        self.workspace = ctypes.create_string_buffer(int(about.split()[-6]))
        self.graph = ctypes.create_string_buffer(int(about.split()[-3]))
        ctypes.memset(self.workspace, fill, len(self.workspace))

    def set_graph(self, n, *edges):
        """-> the code, and what is bad."""
        pairs = (ctypes.c_int * (2 * len(edges)))(*(v for edge in edges for v in edge))
        code = self.library.kd_graph(n, len(edges), pairs, self.graph, ctypes.byref(self.bad))
        return code, self.bad.value

    def decide(self, task, allowed=None):
        """The decision of a task of the graph; two labels beyond the longest placement are kept."""
        x, known = np.full(130, 9, np.uint8), Known()
        code = self.library.kd_decide(
            self.graph,
            ctypes.c_void_p(task.ctypes.data),
            None if allowed is None else ctypes.c_void_p(allowed.ctypes.data),
            ctypes.c_void_p(x.ctypes.data),
            ctypes.byref(known),
            self.workspace,
            ctypes.byref(self.bad),
        )
        return Answer(code, self.bad.value, x, known)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of two models' files and commands; plain, with sanitizers where cc has them."""
    folder = tmp_path_factory.mktemp("any")
    for name, shape, flags in (("small", (12, 5), STRICT), ("fast", (24, 24), (*STRICT, *FAST))):
        export_any(random_network(0, *shape), folder / f"{name}.c")
        compile_c(folder / f"{name}.c", folder / name, flags)
    try:
        compile_c(folder / "small.c", folder / "sane", SANE)
    except ValueError:
        shutil.copy(folder / "small", folder / "sane")
    return folder


def dense(edges):
    """128 subtasks, each fed by the nearest ones before, with that many edges in all."""
    near = [(j - d, j) for d in range(1, 20) for j in range(d, 129)]
    return TaskGraph("dense", 128, (*near[: edges - 1], (128, 129)))


def parallel(n):
    """Subtasks that do not wait for one another: the most results that are still needed."""
    return TaskGraph(
        "parallel", n, [(0, j) for j in range(1, n + 1)] + [(j, n + 1) for j in range(1, n + 1)]
    )


def some_graphs():
    rng = np.random.default_rng(1)
    graphs = [draw(f, n, rng) for f in FAMILIES for n in (3, int(rng.integers(9, 70)))]
    graphs += [draw("wide", 128, rng), draw("in_tree", 128, rng), dense(MAX_EDGES), parallel(128)]
    return [chain(1), dag(), fusion(), random_graph(40), *graphs]


def a_mask(n, rng):
    """Two locations in three are allowed, and at least one for each subtask."""
    mask = rng.random((n, 3)) < 2 / 3
    mask[np.arange(n), rng.integers(0, 3, n)] = True
    return mask


@pytest.mark.filterwarnings("ignore:task. ")
@pytest.mark.parametrize("name, shape", [("small", (12, 5)), ("fast", (24, 24))])
def test_c_decides_as_numba_does_for_every_graph(name, shape, built):
    """Default and wide ranges, zeros and masks; with padded and whole vectors; 1,024 edges."""
    model, library = random_network(0, *shape), Library(built / f"{name}.c", FAST)
    wrong = total = 0
    for graph in some_graphs():
        rng = np.random.default_rng(2)
        usual, wide = (sample_tasks(graph, 40, rng, **r) for r in ({}, {"ranges": WIDE}))
        zeros = with_zeros(usual, graph.n, len(graph.edges), rng)
        mask = a_mask(graph.n, rng)
        assert library.set_graph(graph.n, *graph.edges)[0] == 0
        for tasks, allowed in ((usual, None), (wide, None), (zeros, None), (wide, mask)):
            expected = decide(model, graph, tasks, allowed=allowed)
            for s, task in enumerate(tasks):
                answer = library.decide(task, allowed)
                x, known = answer.placement[: graph.n], answer.known
                assert answer.code == 0 and (answer.placement[graph.n :] == 9).all()
                assert allowed is None or allowed[np.arange(graph.n), x].all()
                assert known.delay == pytest.approx(delay(graph, task, x), rel=1e-12)
                assert known.bound <= known.delay
                total += 1
                if (x != expected.placements[s]).any():
                    wrong += 1
                    continue
                assert known.delay == expected.delays[s]
                assert known.bound == pytest.approx(expected.bounds[s], rel=1e-9)
                assert known.is_proven == expected.proven[s]
                assert known.cost == expected.evaluations[s]
    assert wrong <= 1e-3 * total


def in_python(text, with_bounds=False):
    """Status, output and errors of the Python command."""
    out, err, lines = io.StringIO(), io.StringIO(), io.BytesIO(text.encode()).readlines()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = command.decide_text(random_network(), lines, with_bounds)
    return status, out.getvalue(), err.getvalue()


def in_c(binary, text, *options):
    done = subprocess.run([binary, *options], input=text.encode(), capture_output=True)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def changed(line, word, to):
    """TEXT with one word (from 1) of a line (from 1) replaced; 0: at the end of the line."""
    lines = [row.split(" ") for row in TEXT.split("\n")]
    lines[line - 1][word - 1 if word else len(lines[line - 1]) :] = (
        [to, *lines[line - 1][word:]] if word else [to]
    )
    return "\n".join(" ".join(row) for row in lines)


HEAD, EDGES = TEXT.split("\n")[:2]
WHOLE = "expected a whole number from"
BAD = [
    ("", "line 1: n is missing, expected 2 numbers"),
    ("10", "line 1: E is missing, expected 2 numbers"),
    (HEAD, "line 2: edge 1 is missing, expected 30 numbers"),
    (changed(1, 0, "7"), "line 1: '7' after E, expected 2 numbers"),
    (changed(1, 1, "129"), f"line 1: n = '129', {WHOLE} 1 to 128"),
    (changed(1, 1, "ten"), f"line 1: n = 'ten', {WHOLE} 1 to 128"),
    (changed(1, 1, "0000000010"), f"line 1: n = '0000000010', {WHOLE} 1 to 128"),
    (changed(1, 2, "1025"), f"line 1: E = '1025', {WHOLE} 1 to 1024"),
    (changed(1, 2, "-3"), f"line 1: E = '-3', {WHOLE} 1 to 1024"),
    (changed(1, 2, "14"), "line 2: '10' after edge 14, expected 28 numbers"),
    (changed(1, 2, "16"), "line 2: edge 16 is missing, expected 32 numbers"),
    (changed(2, 4, "12"), f"line 2: edge 2 = '12', {WHOLE} 0 to 11"),
    (changed(2, 3, "1.5"), f"line 2: edge 2 = '1.5', {WHOLE} 0 to 11"),
    (changed(2, 4, "9"), "line 2: edge (1, 3) is not in order; sort edges by j, then i"),
    (changed(2, 3, "2"), "line 2: edge (2, 2) is out of order; number subtasks topologically"),
    (changed(2, 7, "5"), "line 2: edge (5, 4) is out of order; number subtasks topologically"),
    (changed(2, 29, "0"), "line 2: edge (0, 11) joins source and sink, which share the device"),
    (changed(2, 11, "2"), "line 2: edge (2, 5) appears twice"),
    ("2 2\n0 1 1 3\n", "line 2: subtask 2 lacks a predecessor or a successor"),
    ("2 3\n0 1 0 2 2 3\n", "line 2: subtask 1 lacks a predecessor or a successor"),
    (changed(3, 2, "nan"), "line 3: w_2 = 'nan', expected a finite number, not negative"),
    (changed(4, 26, "0"), "line 4: f_0 = '0', expected a finite number, positive"),
    (changed(4, 12, "-1"), "line 4: d_1_2 = '-1', expected a finite number, not negative"),
    (changed(4, 25, "fast"), "line 4: d_10_11 = 'fast', expected a finite number, not negative"),
    (changed(4, 26, "1e999"), "line 4: f_0 = '1e999', expected a finite number, positive"),
    (changed(4, 33, "0x1p3"), "line 4: tau_wan = '0x1p3', expected a finite number, not negative"),
    (
        changed(4, 1, "9" * 41),
        f"line 4: w_1 = '{'9' * 40}', expected a finite number, not negative",
    ),
    (changed(4, 0, "5"), "line 4: '5' after tau_wan, expected 33 numbers"),
    (TEXT + "1 2 3", "line 5: w_4 is missing, expected 33 numbers"),
    (TEXT + "\n", "line 5: w_1 is missing, expected 33 numbers"),
    (f"{HEAD}\n{EDGES}\n", "line 3: w_1 is missing, expected 33 numbers"),
]


@pytest.mark.parametrize("text, expected", BAD)
def test_bad_input_is_named_and_nothing_is_said_of_it(text, expected, built):
    said = in_python(text)
    good = max(0, int(expected.split(":")[0].split()[1]) - 3)
    assert said == in_c(built / "sane", text) and said[0] == 1
    assert said[2] == f"error: {expected}\n" and said[1].count("\n") == good


def test_a_task_without_a_finite_delay_is_refused(built):
    """Its line ends the command; what follows it is not read."""
    tasks = np.array([TASKS[0], TASKS[1], TASKS[2]])
    tasks[1, 3], tasks[1, -8:-5] = 1e308, 1e-5
    text = text_of(dag(), tasks) + "bad\n"
    said = in_python(text)
    assert said == in_c(built / "sane", text) and said[1].count("\n") == 1
    assert said[2] == "error: line 4: no finite delay was found\n"
    library = Library(built / "small.c")
    library.set_graph(10, *dag().edges)
    answer = library.decide(tasks[1])
    assert answer.code == 11 and (answer.placement == 9).all()


def test_with_bounds_both_commands_print_what_is_known(built):
    """Delay and bound, in seconds, behind each placement."""
    graph = random_graph(40)
    tasks = sample_tasks(graph, 20, np.random.default_rng(5))
    text = text_of(graph, tasks)
    said = in_c(built / "sane", text, "-b")
    assert said == in_python(text, with_bounds=True) and said[0] == 0
    rows = run_any(built / "small", graph, tasks, "bounds")
    decision = decide(random_network(), graph, tasks)
    assert np.array_equal(rows[:, :40], decision.placements)
    np.testing.assert_allclose(rows[:, 40], decision.delays, rtol=1e-8)
    np.testing.assert_allclose(rows[:, 41], decision.bounds, rtol=1e-8)
    assert (rows[:, 41] < rows[:, 40]).any() and (rows[:, 41] <= rows[:, 40]).all()


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    st.integers(1, 4),
    st.integers(0, 33),
    st.one_of(
        st.integers(0, 12).map(str),
        st.floats().map(repr),
        st.text("0123456789+-.eE", max_size=6),
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=50),
        st.sampled_from(["\n", "\r\n", "\t", "\0", "1\0", "9" * 41, "1e-400", "1_0", "inf", "٣"]),
    ),
)
def test_both_commands_say_the_same_of_anything(built, line, word, to):
    text = changed(line, word, to)
    assert in_python(text) == in_c(built / "sane", text)


def test_a_state_outside_the_training_range_is_decided_with_one_warning(built):
    for q in range(8):
        for side, factor in ((0, 1), (1, 1), (0, 0.5), (1, 2)):
            tasks = TASKS.copy()
            tasks[4:6, q - 8] = RANGES[q][side] * np.array([1, factor])
            status, out, err = said = in_c(built / "sane", text_of(dag(), tasks))
            assert said == in_python(text_of(dag(), tasks)) and status == 0
            assert err.count("warning: task: ") == (factor != 1) and out.count("\n") == len(tasks)
    with warnings.catch_warnings(record=True):
        x = decide(random_network(), dag(), tasks).placements
    assert out == "".join(" ".join(map(str, row)) + "\n" for row in x.tolist())


def test_the_largest_graphs_stay_inside_the_memory(built):
    for graph in (dense(MAX_EDGES), parallel(128), chain(128), random_graph(128), chain(1)):
        tasks = sample_tasks(graph, 10, np.random.default_rng(4), WIDE)
        expected = decide(random_network(), graph, tasks).placements
        assert np.array_equal(run_any(built / "sane", graph, tasks), expected)
    with pytest.raises(ValueError, match=r"line 1: E = '1025', expected .* 1 to 1024"):
        run_any(built / "sane", dense(MAX_EDGES + 1), np.ones(5))


def test_the_library_touches_nothing_that_is_not_its_own(built, tmp_path):
    """Errors by code; memory is the caller's; the file is its own header."""
    (tmp_path / "use.c").write_text('#define KD_HEADER\n#include "small.c"\nint use = KD_TWICE;\n')
    command = ["cc", "-std=c99", *STRICT, "-c", f"-I{built}", tmp_path / "use.c"]
    subprocess.run([*command, "-o", tmp_path / "use.o"], check=True)
    size = export_any(random_network(), tmp_path / "again.c")
    about = subprocess.run([built / "small", "--about"], capture_output=True, text=True).stdout
    assert f"{size.constants} bytes of constants, {size.working} of workspace" in about
    assert (tmp_path / "again.c").read_bytes() == (built / "small.c").read_bytes()
    assert size.constants <= 64 * 1024
    library = Library(built / "small.c", fill=255)
    graph = library.set_graph
    assert graph(0, (0, 1)) == (1, 0) and graph(129, (0, 1)) == (1, 129)
    assert graph(1) == (2, 0) and graph(1, *[(0, 1)] * 1025) == (2, 1025)
    assert graph(1, (1, 2), (0, 1)) == (3, 1) and graph(1, (1, 1), (1, 2)) == (4, 0)
    assert graph(1, (0, 1), (1, 3)) == graph(1, (0, 1), (-1, 2)) == (5, 1)
    assert graph(1, (0, 1), (0, 2)) == (6, 1) and graph(1, (0, 1), (0, 1)) == (7, 1)
    assert graph(2, (0, 2), (2, 3)) == (8, 1) and graph(10, *dag().edges)[0] == 0
    for task in TASKS:
        answer = library.decide(task)
        assert answer.code == 0 and (answer.placement[10:] == 9).all()
        assert np.array_equal(
            answer.placement[:10], decide(random_network(), dag(), task).placements[0]
        )
    for at, value in ((0, np.nan), (12, np.inf), (25, 0.0), (32, -1.0)):
        task = TASKS[0].copy()
        task[at] = value
        answer = library.decide(task)
        assert answer[:2] == (9, at) and (answer.placement == 9).all()
    nowhere = np.ones((10, 3), bool)
    nowhere[6] = False
    answer = library.decide(TASKS[0], nowhere)
    assert answer[:2] == (10, 7) and (answer.placement == 9).all()


def test_times_and_what_is_refused(built, tmp_path):
    for mode in ("hot", "cold"):
        spent = run_any(built / "fast", dag(), TASKS, mode)
        assert spent.shape == (20,) and (spent > 0).all()
    assert subprocess.run([built / "fast", "--tme"], capture_output=True).returncode == 2
    if Path("/dev/full").exists():
        with open("/dev/full", "w") as full:
            said = subprocess.run([built / "fast"], input=TEXT.encode(), stdout=full, stderr=-1)
        assert said.returncode == 1 and b"output cannot be written" in said.stderr
    with pytest.raises(ValueError, match=r"constants: \d+ bytes, expected at most 65536"):
        export_any(random_network(0, 48, 24), tmp_path / "large.c")
    assert not (tmp_path / "large.c").exists()


def test_the_command_of_python(built, tmp_path, monkeypatch, capsys):
    save_network(random_network(), tmp_path / "m.npz")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    monkeypatch.setattr(command, "PATIENCE", 60)
    assert command.main(["--model", str(tmp_path / "m.npz")]) == 0
    assert capsys.readouterr().out == in_c(built / "small", TEXT)[1]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    assert command.main(["--model", str(tmp_path / "m.npz"), "-b"]) == 0
    assert capsys.readouterr().out == in_c(built / "small", TEXT, "-b")[1]
    assert command.main(["--model", str(tmp_path / "none.npz")]) == 1
    assert (
        "no such file. Models are in the repository's folder data/models" in capsys.readouterr().err
    )
    (tmp_path / "bad.npz").write_text("x")
    assert command.main(["--model", str(tmp_path / "bad.npz")]) == 1
    assert "bad.npz: not a network for any graph" in capsys.readouterr().err
    assert command.MODEL.parts[-3:] == ("data", "models", "anygraph_0.npz")


def test_a_first_decision_that_compiles_says_so(monkeypatch, capsys):
    monkeypatch.setattr(command, "PATIENCE", 0.01)
    monkeypatch.setattr(command, "decide", lambda *_: time.sleep(0.5))
    command.compile_first(random_network())
    assert "anygraph: compiling" in capsys.readouterr().err
