"""What is misused or damaged is refused by one clear ValueError, never decided in silence."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import run as artifact
from experiments.run import ROOT, kept, written_aside
from anygraph.decision import decide
from anygraph.network import GraphNetwork, save_network
from anygraph.training import first_weights
from kd_offload.delay import all_delays, delay
from experiments.runtimes.c import export_c
from experiments.runtimes.onnx_file import export_onnx
from kd_offload.graphs import TaskGraph, chain, dag, fusion, random_graph
from kd_offload.labels import search, solve
from kd_offload.model import Model, Network, decide, open_model, save, scaling
from experiments.baselines.environment import OffloadingEnv
from experiments.baselines import model_deciders, placements_of
from experiments.studies import statistics
from kd_offload.tasks import feature_names, sample_tasks

GRAPH = dag()
TASKS = sample_tasks(GRAPH, 30, np.random.default_rng(0))
ANY = GraphNetwork("anygraph", 0, 8, 4, first_weights(8, 4, np.random.default_rng(0)))


def network(graph=GRAPH, hidden=(8,)):
    """A network with the weights of the seed, for a graph."""
    drawn = sample_tasks(graph, 400, np.random.default_rng(0))
    net = Network([graph.n_features, *hidden, 3 * graph.n])
    rng = np.random.default_rng(1)
    weights = tuple(rng.normal(size=w.shape).astype(np.float32) for w in net.weights)
    biases = tuple(rng.normal(size=b.shape).astype(np.float32) for b in net.biases)
    return Model("student", graph.name, 0, *scaling(drawn), weights, biases)


DECIDERS = {
    "decide": lambda t: decide(network(), GRAPH, t),
    "decide": lambda t: decide(ANY, GRAPH, t),
    "solve": lambda t: solve(GRAPH, t),
    "search": lambda t: search(GRAPH, t, 1000),
    "place": lambda t: placements_of("greedy", GRAPH, t),
    "random": lambda t: placements_of("random", GRAPH, t),
    "delay": lambda t: delay(GRAPH, t, np.zeros((len(t), 10), int)),
    "all_delays": lambda t: all_delays(GRAPH, t, np.zeros((3, 10), int)),
}
SHUFFLED = pd.DataFrame(TASKS, columns=feature_names(GRAPH)).iloc[:, ::-1]
ODD = {
    "no tasks": TASKS[:0],
    "three dimensions": TASKS.reshape(2, 15, 33),
    "masked": np.ma.masked_array(TASKS, TASKS > 1e8),
    "complex": TASKS + 1e5j,
    "text": TASKS.astype(str),
    "objects": TASKS.astype(object),
    "shuffled columns": SHUFFLED,
    "unnamed columns": pd.DataFrame(TASKS),
    "ragged": [[1.0], [1.0, 2.0]],
    "narrow": TASKS[:, 1:],
    "nan": np.where(np.arange(33) == 3, np.nan, TASKS),
    "infinite": np.where(np.arange(33) == 30, np.inf, TASKS),
    "negative": -TASKS,
    "a delay that overflows": np.where(np.arange(33) < 25, 1e300, TASKS * 1e-150),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", DECIDERS)
@pytest.mark.filterwarnings("ignore:task. .* lies outside the training range")
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_odd_tasks_are_refused(name, odd):
    if odd == "a delay that overflows" and name in ("place", "random", "decide"):
        pytest.skip("the delay model is not asked")
    with pytest.raises(ValueError, match=r"^(task|delay|values)"):
        DECIDERS[name](ODD[odd])


def test_a_data_frame_in_order_and_one_task_are_as_good_as_an_array():
    frame = pd.DataFrame(TASKS, columns=feature_names(GRAPH))
    assert np.array_equal(solve(GRAPH, frame).placements, solve(GRAPH, TASKS).placements)
    assert placements_of("random", GRAPH, TASKS[0]).shape == (1, 10)
    assert np.array_equal(
        placements_of("heft", GRAPH, TASKS[0])[0], placements_of("heft", GRAPH, TASKS)[0]
    )
    wrong = pd.DataFrame(np.zeros((30, 10), int), columns=[f"x_{i}" for i in range(10, 0, -1)])
    with pytest.raises(ValueError, match="placement: columns x_10, x_9"):
        delay(GRAPH, TASKS, wrong)
    with pytest.raises(ValueError, match="placement: not numeric"):
        delay(GRAPH, TASKS, np.ma.masked_array(np.zeros((30, 10), int), True))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: search(GRAPH, TASKS, 0), "node_budget: 0"),
        (lambda: search(GRAPH, TASKS, 10**30), "node_budget: 1"),
        (lambda: decide(ANY, GRAPH, TASKS, 0), "evaluations: 0"),
        (lambda: sample_tasks(GRAPH, 0, np.random.default_rng(0)), "count: 0"),
        (lambda: sample_tasks(GRAPH, 10**20, np.random.default_rng(0)), "count: 1"),
        (lambda: chain(10**20), "chain: n must be"),
        (lambda: chain(2.5), "chain: n must be"),
        (lambda: random_graph(2.5), "random graph: n must be"),
        (lambda: TaskGraph("g", 10**20, [(0, 1), (1, 2)]), "graph 'g': 1.* subtasks, 2 edges"),
        (lambda: TaskGraph("g", 1, [(0, np.nan), (1, 2)]), "is not a pair of node numbers"),
        (lambda: TaskGraph("g", 1, [(0, np.inf), (1, 2)]), "is not a pair of node numbers"),
        (lambda: TaskGraph("g", 1, [(0, "1"), (1, 2)]), "is not a pair of node numbers"),
        (lambda: TaskGraph("g", 1, [(0, 1.5), (1, 2)]), "is not a pair of node numbers"),
        (lambda: OffloadingEnv(GRAPH, workload=np.zeros(25)), r"workload: shape \(25,\), least 0"),
        (lambda: OffloadingEnv(GRAPH, workload=np.ones(24)), r"workload: shape \(24,\)"),
        (lambda: save(network(), Path("m.bin")), "model: m.bin, expected a name that ends"),
        (lambda: save_network(ANY, Path("m")), "model: m, expected a name that ends"),
    ],
)
def test_odd_requests_are_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_edges_may_come_from_a_generator():
    assert TaskGraph("dag", 10, (edge for edge in GRAPH.edges)) == GRAPH


NAN = [0.1, np.nan, 0.3]


@pytest.mark.parametrize("values", [NAN, []], ids=["nan", "empty"])
@pytest.mark.parametrize(
    "call",
    [
        statistics.holm,
        statistics.superiority,
        statistics.cohens_d_paired,
        lambda v: statistics.quantile_intervals(v, [0.5]),
        lambda v: statistics.bootstrap_means([[v]], 10, np.random.default_rng(0)),
        lambda v: statistics.simultaneous_intervals(v, [v, v]),
        lambda v: statistics.bootstrap_means([], 10, np.random.default_rng(0)),
    ],
)
def test_statistics_refuse_what_is_no_number_and_what_is_nothing(call, values):
    with pytest.raises(ValueError, match=r"^(samples|p_values|gains|values|estimates): "):
        call(values)


def edited(path, **changes):
    """The arrays of a model's file, some changed or, with None, left out."""
    with np.load(path) as z:
        arrays = {key: z[key] for key in z.files} | changes
    np.savez(path, **{key: a for key, a in arrays.items() if a is not None})


def test_a_model_brings_its_graph(tmp_path):
    """Its edges, not its name, say what it is for; files of the format before are still read."""
    path, model = tmp_path / "m.npz", network()
    save(model, path)
    again = open_model(path)
    assert again.graph == GRAPH and np.array_equal(again.weights[0], model.weights[0])
    same_name = TaskGraph("dag", 10, (*GRAPH.edges[:-1][:10], (5, 8), *GRAPH.edges[11:]))
    assert same_name.n_features == GRAPH.n_features
    for use in (decide, model_deciders, lambda m, g, _: export_c(m, g, tmp_path / "x.c"),
                lambda m, g, _: export_onnx(m, g, tmp_path / "x.onnx")):  # fmt: skip
        arguments = (TASKS,) if use is not model_deciders else ()
        with pytest.raises(ValueError, match="model: trained for another graph called 'dag'"):
            use(again, same_name, *arguments)
        with pytest.raises(ValueError, match="model: trained for 'dag', asked to decide for 'fu"):
            use(again, fusion(), *arguments)
    before = np.array(["kd_offload 2", "student", "dag", "0", "3"])
    edited(path, edges=None, about=before)
    with pytest.raises(ValueError, match="is of format 'kd_offload 2', not 'kd_offload 3'"):
        open_model(path)


def nan(array):
    out = np.array(array, copy=True)
    out.flat[1] = np.nan
    return out


BROKEN = {
    "nan weight": lambda m: {"weight_0": nan(m.weights[0])},
    "nan bias": lambda m: {"bias_1": nan(m.biases[1])},
    "infinite mean": lambda m: {"mean": m.mean + np.inf},
    "no deviation": lambda m: {"deviation": m.deviation * 0},
    "crossed range": lambda m: {"low": m.high + 1},
    "doubled layer": lambda m: {
        "weight_1": np.hstack([m.weights[1]] * 2),
        "bias_1": np.hstack([m.biases[1]] * 2),
    },
    "short layer": lambda m: {"weight_1": m.weights[1][:-1]},
    "lacking bias": lambda m: {"bias_0": m.biases[0][:-1]},
    "fewer inputs": lambda m: {key: getattr(m, key)[1:] for key in ("mean", "deviation")},
    "other type": lambda m: {"weight_0": m.weights[0].astype(np.float64)},
    "other edges": lambda m: {"edges": np.array(fusion().edges)},
    "cycle": lambda m: {"edges": np.array([(1, 2), (2, 1)])},
    "no edges": lambda m: {"edges": np.zeros((0, 2), int)},
    "other classes": lambda m: {"about": np.array(["kd_offload 3", "student", "dag", "0", "2"])},
    "no seed": lambda m: {"about": np.array(["kd_offload 3", "student", "dag", "x", "3"])},
    "lacking edges": lambda m: {"edges": None},
    "lacking layer": lambda m: {"bias_1": None},
    "other format": lambda m: {"about": np.array(["kd_offload 1", "student", "dag", "0", "3"])},
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_damaged_model_is_refused(damage, tmp_path):
    save(network(), tmp_path / "m.npz")
    edited(tmp_path / "m.npz", **BROKEN[damage](network()))
    with pytest.raises(ValueError, match=r"model: .*m\.npz (is|has)"):
        open_model(tmp_path / "m.npz")


def test_a_product_without_its_json_is_made_again(tmp_path):
    path, made = tmp_path / "p.npz", []

    def make():
        made.append(1)
        path.write_text("product")
        path.with_suffix(".json").write_text("how")

    for _ in range(2):
        kept(path, "m", make)
    assert len(made) == 1
    path.with_suffix(".json").unlink()
    kept(path, "m", make)
    path.with_suffix(".json").write_text("altered")
    kept(path, "m", make)
    kept(path, "m", make)
    assert len(made) == 3 and path.with_suffix(".json").read_text() == "how"


def test_what_the_dead_left_goes_and_what_the_living_write_stays(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with written_aside(tmp_path / "a.csv") as aside:
        aside.write_text("in hand")
        dead, others = (
            aside.with_name(aside.name.replace(f".{os.getpid()}.", f".{mark}."))
            for mark in (child.pid, os.getppid())
        )
    foreign = dead.with_name(dead.name.replace(artifact.platform.node(), "elsewhere"))
    for left in (dead, others, foreign):
        left.write_text("half")
    with written_aside(tmp_path / "b.csv") as aside:
        aside.write_text("b")
    assert dead.exists()  # of another product
    with written_aside(tmp_path / "a.csv") as aside:
        aside.write_text("whole")
    assert not dead.exists() and others.exists() and foreign.exists()
    assert (tmp_path / "a.csv").read_text() == "whole"


CACHE = "import os, kd_offload; print(os.environ['NUMBA_CACHE_DIR'])"


def cache_of(code=CACHE, **environment):
    """The folder of compiled code that a new process uses."""
    kept_names = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "HOME")}
    told = kept_names | {"PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run(
        [sys.executable, "-c", code], env=told, capture_output=True, text=True, check=True
    )
    return Path(done.stdout.strip())


def test_compiled_code_is_kept_in_a_folder_of_ones_own_or_nowhere(tmp_path):
    mine = cache_of(XDG_CACHE_HOME=str(tmp_path / "mine"))
    assert mine.parent == tmp_path / "mine" / "kd_offload" and mine == cache_of(HOME=str(tmp_path),
        XDG_CACHE_HOME=str(tmp_path / "mine"))  # fmt: skip
    assert [stat.S_IMODE(f.stat().st_mode) for f in (mine, mine.parent)] == [0o700, 0o700]
    planted = tmp_path / "shared" / "kd_offload"
    planted.parent.mkdir()
    planted.symlink_to(tmp_path / "mine" / "kd_offload")
    no_home = "import pathlib\ndef no(cls=None): raise RuntimeError('no home')\n"
    no_home += "pathlib.Path.home = no\n"
    for code, told in (
        (CACHE, {"XDG_CACHE_HOME": str(planted.parent)}),
        (CACHE, {"XDG_CACHE_HOME": "/dev/null/nowhere"}),
        (no_home + CACHE, {"XDG_CACHE_HOME": ""}),
    ):
        one, two = (cache_of(code, TMPDIR=str(tmp_path), **told) for _ in range(2))
        assert one != two and one.parent.parent == tmp_path and not one.parent.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")
def test_another_users_cache_is_not_used(tmp_path):
    theirs = tmp_path / "kd_offload"
    theirs.mkdir()
    os.chown(theirs, 12345, 12345)
    assert theirs not in cache_of(XDG_CACHE_HOME=str(tmp_path)).parents


def test_installed_without_its_repository_it_writes_where_it_is_told(tmp_path):
    """The wheel has all templates; the folder it lies in is not taken for the repository."""
    wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(["cp", "-r", ROOT / "kd_offload", source], check=True)
    told = os.environ | {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([*wheel, "-w", tmp_path, source], check=True, env=told, capture_output=True)
    site = tmp_path / "site"
    (file,) = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", file, site], check=True)
    templates = {p.name for p in (ROOT / "kd_offload").rglob("*.in")}
    assert {p.name for p in site.rglob("*.in")} == templates and len(templates) >= 5
    code = (
        "from kd_offload import artifact; from experiments.runtimes import c_file, c_any, card;"
        "print(artifact.CHECKOUT, artifact.ROOT, artifact.get_run('smoke', 'here').out)\n"
        "artifact.get_run('paper')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(site)},
    )  # fmt: skip
    assert done.stdout.split() == ["False", str(tmp_path), str(tmp_path / "here")]
    assert "ValueError: out: kd_offload runs without its repository" in done.stderr
    assert not (site / "figures").exists() and not (site / "data").exists()


def test_every_supported_python_is_named_alike():
    said = [(ROOT / f).read_text() for f in ("pyproject.toml", ".ci/check.py", "README.md")]
    assert 'requires-python = ">=3.11,<3.14"' in said[0] and "(3, 11), (3, 13)" in said[1]
    assert "Python 3.11 to 3.13" in said[1] and "Python 3.11 to 3.13" in said[2]
    assert re.search(r'"scipy"', said[0])
