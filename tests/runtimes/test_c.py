"""The C files decide as torch does, refuse what is bad, and link into one program."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from anygraph import open_network
from anygraph.c import export_any
from anygraph.c_text import compile_c
from experiments.run import ROOT
from experiments.runtimes.c import export_c, run_c
from kd_offload.graphs import chain, dag, fusion, random_graph
from kd_offload.model import decide
from kd_offload.tasks import sample_tasks

STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wmissing-prototypes", "-Werror")
SANE = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
WRONG = "expected a finite, positive number"
pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")


def build(model, folder, flags=(), limit=None):
    """The file's command; without sanitizers where the compiler has none."""
    export_c(model, folder / "s.c", limit)
    try:
        compile_c(folder / "s.c", folder / "s", flags)
    except ValueError:
        if flags != SANE:
            raise
        compile_c(folder / "s.c", folder / "s", ())
    return folder / "s"


def ask(binary, text, **options):
    return subprocess.run([binary], input=text, text=True, **{"capture_output": True} | options)


@pytest.mark.parametrize("hidden, units", [
    ((24, 16), 0), ((16,), 0), ((), 0), ((24, 16), 8), ((9,), 17), ((), 1),
])  # fmt: skip
@pytest.mark.parametrize("graph", [random_graph(12, 4), chain(5), chain(1)], ids=lambda g: g.name)
def test_any_network_compiles_without_a_warning_and_agrees(
    graph, hidden, units, untrained, assert_agree, tmp_path
):
    model, _ = untrained(graph, hidden, units)
    tasks = sample_tasks(graph, 2000, np.random.default_rng(8))
    binary = build(model, tmp_path, ("-O2", *STRICT))
    assert_agree(run_c(binary, tasks), model, tasks)
    about = subprocess.run([binary, "--about"], capture_output=True, text=True).stdout
    assert f"{graph.name}: {graph.n} subtasks" in about
    for mode in ("hot", "cold"):
        assert (run_c(binary, tasks[:20], mode) > 0).all()


@pytest.mark.parametrize("units", [0, 3])
def test_128_subtasks_stay_inside_the_memory(units, untrained, assert_agree, tmp_path):
    model, tasks = untrained(random_graph(128, 1), units=units)
    assert_agree(run_c(build(model, tmp_path, SANE), tasks), model, tasks)


def test_c_returns_an_error_and_touches_nothing(untrained, tmp_path):
    model, tasks = untrained(dag())
    export_c(model, tmp_path / "s.c")
    command = ["cc", "-shared", "-fPIC", "-O1", tmp_path / "s.c", "-lm", "-o", tmp_path / "s.so"]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(str(tmp_path / "s.so"))
    double = ctypes.POINTER(ctypes.c_double)

    def call(task):
        placement = np.full(10, 9, np.uint8)
        feature = ctypes.c_int(-1)
        pointer = placement.ctypes.data_as(ctypes.POINTER(ctypes.c_ubyte))
        code = library.any_dag_decide(task.ctypes.data_as(double), pointer, ctypes.byref(feature))
        return code, placement, feature.value

    code, placement, _ = call(tasks[0])
    assert code == 0 and np.array_equal(placement, decide(model, dag(), tasks[0]))
    assert library.any_dag_outside(tasks[0].ctypes.data_as(double)) == 0
    for value, expected in ((np.nan, 1), (np.inf, 1), (-np.inf, 1), (0.0, 2), (-3.0, 2)):
        for feature in (0, 12, 32):
            bad = tasks[0].copy()
            bad[feature] = value
            code, placement, told = call(bad)
            assert (code, told) == (expected, feature) and (placement == 9).all()
    far = tasks[0].copy()
    far[25] *= 100
    assert library.any_dag_outside(far.ctypes.data_as(double)) == 26 and call(far)[0] == 0


def changed(line, word, to):
    """A line with another text in place of a word, counted from 1."""
    words = line.split()
    words[word - 1] = to
    return " ".join(words)


@pytest.fixture(scope="module")
def command():
    """A command for chains of four subtasks, with sanitizers, and three good lines; made once."""
    return {}


@pytest.fixture
def chain_command(command, untrained, tmp_path_factory):
    if not command:
        model, tasks = untrained(chain(4))
        command["tasks"] = tasks
        command["binary"] = build(model, tmp_path_factory.mktemp("chain"), SANE)
    lines = [" ".join(map(repr, row)) for row in command["tasks"][:3].tolist()]
    return command["binary"], command["tasks"].copy(), lines


@pytest.mark.parametrize(
    "word, to, expected",
    [
        (17, "", "tau_wan is missing, expected 17 numbers"),
        (17, "0.01 5", "'5' after tau_wan, expected 17 numbers"),
        (2, "fast", f"w_2 = 'fast', {WRONG}"),
        (3, "-1", f"w_3 = '-1', {WRONG}"),
        (1, "nan", f"w_1 = 'nan', {WRONG}"),
        (5, "1e999", f"d_0_1 = '1e999', {WRONG}"),
        (5, "0x1p3", f"d_0_1 = '0x1p3', {WRONG}"),
        (5, "0" * 70 + "5", f"d_0_1 = '{'0' * 40}', {WRONG}"),
        (5, "5\0", f"d_0_1 = '5?', {WRONG}"),
    ],
)
def test_the_first_bad_line_ends_the_command_and_is_named(chain_command, word, to, expected):
    binary, _, good = chain_command
    text = "\n".join([good[0], changed(good[1], word, to), good[2], ""])
    done = ask(binary, text)
    assert (done.returncode, done.stderr) == (1, f"error: line 2: {expected}\n")
    assert done.stdout.count("\n") == 1


def test_the_command_refuses_lines_that_are_no_tasks(chain_command):
    binary, tasks, good = chain_command
    missing = "is missing, expected 17 numbers\n"
    for text, decided, expected in (
        ("", 0, f"error: line 1: w_1 {missing}"),
        ("\n", 0, f"error: line 1: w_1 {missing}"),
        (good[0] + "\n\n", 1, f"error: line 2: w_1 {missing}"),
        ("\n".join([*good, "7 8"]), 3, f"error: line 4: w_3 {missing}"),
    ):
        done = ask(binary, text)
        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (1, expected, decided)
    tasks[3, 4] = np.nan
    with pytest.raises(ValueError, match=r"line 4: d_0_1 = 'nan'"):
        run_c(binary, tasks)
    assert subprocess.run([binary, "--tme"], input="", capture_output=True).returncode == 2


def test_the_command_takes_any_line_ending_warns_and_notices_a_full_disk(chain_command):
    binary, tasks, good = chain_command
    for ending in ("\r\n", "\t\n", "\n", ""):
        done = ask(binary, good[0] + ending)
        assert done.returncode == 0 and done.stdout.count("\n") == 1 and not done.stderr
    tasks[0, -8] *= 100
    done = ask(binary, " ".join(map(repr, tasks[0].tolist())))
    assert done.returncode == 0 and done.stderr.startswith("warning: task: f_0 = ")
    if Path("/dev/full").exists():
        with open("/dev/full", "w") as full:
            done = ask(binary, good[0], capture_output=False, stdout=full, stderr=-1)
        assert done.returncode == 1 and "output cannot be written" in done.stderr


def test_files_that_cannot_be_are_refused(untrained, tmp_path):
    large, _ = untrained(dag(), (256, 128))
    with pytest.raises(ValueError, match=r"constants: \d+ bytes, expected at most 65536"):
        export_c(large, tmp_path / "large.c")
    assert not (tmp_path / "large.c").exists()
    (tmp_path / "bad.c").write_text("int main(void) { return }\n")
    with pytest.raises(ValueError, match=r"bad\.c does not compile"):
        compile_c(tmp_path / "bad.c", tmp_path / "bad")


PROGRAM = """\
{includes}
int main(void)
{{
    static double task[1200];
    static unsigned char placement[128];
    int bad = 0;
{calls}
    bad += kd_outside(task, task);
    return bad == 0;
}}
"""


def test_exports_link_into_one_program_of_c_or_c_plus_plus(untrained, tmp_path):
    """Names do not collide; the headers alone declare what is there; no NaN check can vanish."""
    graphs = {"dag": dag(), "fusion": fusion(), "random_128_1": random_graph(128, 1)}
    for name, graph in graphs.items():
        units = 4 if name == "fusion" else 0
        export_c(untrained(graph, units=units)[0], tmp_path / f"{name}.c", limit=None)
    general = open_network(ROOT / "data" / "models" / "anygraph_0.npz")
    export_any(general, tmp_path / "general.c")
    objects = [compile_object(tmp_path / f"{name}.c") for name in (*graphs, "general")]
    calls = "".join(
        f"    bad += any_{name}_decide(task, placement, &bad) + any_{name}_outside(task);\n"
        f"    bad += ANY_{name.upper()}_N + (int)sizeof any_{name}_feature_names[0];\n"
        for name in graphs
    )
    includes = "".join(f'#include "{name}.h"\n' for name in (*graphs, "general", "dag"))
    for compiler, end in (("cc", "c"), ("c++", "cc")):
        if shutil.which(compiler):
            use = tmp_path / f"use.{end}"
            use.write_text(PROGRAM.format(includes=includes, calls=calls))
            command = [compiler, "-Wall", "-Werror", use, *objects, "-lm", "-o", tmp_path / "use"]
            subprocess.run(command, check=True)
            assert subprocess.run([tmp_path / "use"]).returncode == 0


def compile_object(source):
    """The object file, strictly; with flags that would drop checks for NaN it is refused."""
    target = source.with_suffix(".o")
    command = ["cc", "-std=c99", *STRICT, "-c", source, "-o"]
    subprocess.run([*command, target], check=True)
    for flag in ("-ffast-math", "-ffinite-math-only"):
        done = subprocess.run([*command, source.with_suffix(".x"), flag], capture_output=True)
        assert done.returncode and b"drop the checks for NaN" in done.stderr
    return target
