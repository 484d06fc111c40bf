"""Plans: units, constraints, memory, what is printed, and refusals."""

import io
import json
import math
import os
import re
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import anygraph
from anygraph import plan_command
from anygraph.__main__ import main
from anygraph.constraints import both, location_mask, read_masks, weights_of
from anygraph.drawing import changes
from anygraph.graph_files import Reading, read_graph
from anygraph.model_files import read_model
from anygraph.plan_text import as_dict, as_text
from anygraph.planning import SPLIT, Planner, cuts, plan, sweep_table, sweep_values, task_of
from anygraph.state import QUANTITIES, State, parse, read_state, shown
from kd_offload.delay import delay
from kd_offload.graphs import LOCATIONS
from kd_offload.labels import solve

from .networks import random_network
from .onnx_models import diamond, node, saved, weight

refuse = partial(pytest.raises, ValueError)
SLOW = State(device=2e8)


def graph_file(path, n=5):
    """Five subtasks: a fork and a join, with costs of their own."""
    tasks = [{"name": f"step_{i}", "cost": 1.0 + i} for i in range(n)]
    pairs = [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)]
    edges = [{"source": f"step_{i}", "target": f"step_{j}", "size": 1.0 + j} for i, j in pairs]
    path.write_text(json.dumps({"tasks": tasks, "dependencies": edges}))
    return path


@pytest.fixture
def file(tmp_path):
    return graph_file(tmp_path / "steps.json")


@pytest.fixture
def model(tmp_path):
    """A chain of three products: 4,096, 16,384 and 1,024 bytes of weights."""
    sizes = ((16, 64), (64, 64), (64, 4))
    nodes = [node("MatMul", [f"t{k}", f"w{k}"], [f"t{k + 1}"], name=f"m{k}") for k in range(3)]
    weights = [weight(f"w{k}", np.ones(shape)) for k, shape in enumerate(sizes)]
    return saved(tmp_path / "m.onnx", nodes, [("t0", [1, 16])], [("t3", [1, 4])], weights)


def run(capsys, *arguments):
    """The command's status, output and errors."""
    status = main(["plan", *map(str, arguments)])
    said = capsys.readouterr()
    return status, said.out, said.err


# units and states


@pytest.mark.parametrize(
    "text, kind, value",
    [
        ("2GHz", "speed", 2e9), ("2.5 GHz", "speed", 2.5e9), ("1e9 cycles/s", "speed", 1e9),
        ("20Mbit/s", "rate", 2.5e6), ("1 Mibit/s", "rate", 2**17), ("3 MB/s", "rate", 3e6),
        ("8 kbps", "rate", 1e3), ("5ms", "time", 5e-3), ("5 µs", "time", 5e-6), ("0s", "time", 0),
        ("64MiB", "size", 2**26), ("9kB", "size", 9e3), ("1e8", "cycles", 1e8),
    ],
)  # fmt: skip
def test_units(text, kind, value):
    assert parse("--x", text, kind) == pytest.approx(value)
    assert parse("--x", shown(value, kind), kind) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize(
    "text", ["20", "20Mb/s", "fast", "-2GHz", "2 GHz GHz", "nan GHz", "1e999 GHz"]
)
def test_a_bad_quantity_names_option_and_value(text):
    with refuse(match=f"--up: {re.escape(repr(text))}, expected a number and a unit"):
        parse("--up", text, "rate" if "b" in text else "speed")


def test_a_state_from_a_file_and_its_faults(tmp_path):
    path = tmp_path / "state.toml"
    path.write_text('up = "8 Mbit/s"\nwan-delay = "0 ms"\n')
    given = read_state(path)
    assert given == {"up": 1e6, "wan_delay": 0}
    assert State(**given).vector.tolist()[3:] == [1e6, 6.25e6, 1.25e7, 0.005, 0]
    path.write_text('uplink = "8 Mbit/s"\n')
    with refuse(match=r"state\.toml': uplink: no such quantity; near: up"):
        read_state(path)
    path.write_text("up = 8\n")
    with refuse(match=r"state\.toml': up: 8, expected a number and a unit, such as 20 Mbit/s"):
        read_state(path)
    path.write_text("up = \n")
    with refuse(match=r"state file .*state\.toml'"):
        read_state(path)
    with refuse(match=r"cloud: 0, expected a finite number, positive"):
        State(cloud=0)


# plans


def test_a_plan_is_the_decision_and_what_it_is_compared_with(file):
    network = random_network()
    read = read_graph(file)
    planned = plan(file, SLOW, network=network)
    task = task_of(read, SLOW)
    decision = anygraph.decide(network, read.graph, task)
    assert planned.placement.tolist() == decision.placements[0].tolist()
    assert planned.delay == decision.delays[0] and planned.proven and planned.gap == 0
    assert planned.delay == pytest.approx(solve(read.graph, task).delays[0])
    for location, name in enumerate(LOCATIONS):
        assert planned.others[name] == delay(read.graph, task, np.full(5, location))
    best_cut = min(
        delay(read.graph, task, [0] * a + [1] * b + [2] * (5 - a - b))
        for a in range(6)
        for b in range(6 - a)
    )
    assert planned.others[SPLIT] == best_cut and planned.unmerged is None
    assert anygraph.plan is plan and anygraph.State is State


def test_all_cuts():
    found = {tuple(cut) for cut in cuts(3).tolist()}
    assert len(cuts(3)) == len(found) == 10
    assert all(list(cut) == sorted(cut) for cut in found)


def test_without_proof_there_is_a_gap(tmp_path):
    tasks = [{"name": f"t{k}", "cost": 1.0 + k % 5} for k in range(12)]
    path = tmp_path / "wide.json"
    path.write_text(json.dumps({"tasks": tasks, "dependencies": []}))
    quick = plan(path, effort=0)
    exact = plan(path, effort=math.inf)
    assert exact.proven and not quick.proven and quick.gap > 0
    assert quick.bound <= exact.delay <= quick.delay <= quick.bound * (1 + quick.gap) * (1 + 1e-9)
    assert "above the optimum, proven. More --effort" in as_text(quick)


def test_a_task_that_costs_nothing(tmp_path):
    path = tmp_path / "nothing.json"
    path.write_text(json.dumps({"tasks": [{"name": "t", "cost": 0}], "dependencies": []}))
    planned = plan(path)
    assert planned.delay == 0 and planned.gap == 0 and "the same" in as_text(planned)
    assert json.loads(json.dumps(as_dict(planned), allow_nan=False))["proven"]


def test_merged_graphs_are_evaluated_before_merging(file):
    read = read_graph(file, Reading(most_subtasks=3))
    planned = plan(read, SLOW)
    whole = read.unmerged
    each = planned.placement[read.group_of - 1]
    task = task_of(whole, SLOW)
    assert planned.unmerged.subtasks == 5
    assert planned.unmerged.delay == delay(whole.graph, task, each)
    assert planned.unmerged.bound <= solve(whole.graph, task).delays[0] * (1 + 1e-9)
    assert "of the merged graph, proven" in as_text(planned)
    assert "Before merging, 5 subtasks" in as_text(planned)


# constraints


def test_pins_and_masks_are_kept_and_the_best_split_obeys(file):
    allowed = {"step_1": ("cloud",), "step_4": ("edge", "cloud")}
    planned = plan(file, State(), allowed=allowed, effort=math.inf)
    read = planned.file
    mask = location_mask(read, allowed)
    assert planned.placement[read.names.index("step_1")] == 2
    assert mask[np.arange(5), planned.placement].all()
    every = np.stack(np.meshgrid(*[range(3)] * 5), -1).reshape(-1, 5)
    able = every[mask[np.arange(5), every].all(axis=1)]
    assert planned.delay == pytest.approx(delay(read.graph, planned.task, able).min())
    assert planned.others["device"] == planned.others["edge"] == np.inf
    in_order = able[(np.diff(able, axis=1) >= 0).all(axis=1)]
    assert planned.others[SPLIT] == delay(read.graph, planned.task, in_order).min()
    assert "not allowed" in as_text(planned)


def test_a_merged_subtask_may_run_where_all_of_its_members_may(file):
    read = read_graph(file, Reading(most_subtasks=2))
    group = max(read.members, key=len)
    mask = location_mask(read, {group[0]: ("device", "edge"), group[-1]: ("edge", "cloud")})
    assert mask[read.members.index(group)].tolist() == [False, True, False]


def test_files_of_masks(tmp_path):
    (tmp_path / "m.json").write_text('{"a b": ["edge"], "c": ["device", "cloud"]}')
    (tmp_path / "m.csv").write_text("a b,edge\n\nc, device, cloud\n")
    expected = {"a b": ("edge",), "c": ("device", "cloud")}
    assert read_masks(tmp_path / "m.json") == read_masks(tmp_path / "m.csv") == expected
    assert both(expected, {"c": ("cloud",)}) == {"a b": ("edge",), "c": ("cloud",)}
    bad = tmp_path / "bad.json"
    for text, message in (
        ('{"a": ["phone"]}', r"bad\.json': a: 'phone', expected one of device, edge, cloud"),
        ('{"a": []}', r"bad\.json': a: no location"),
        ('{"a": "edge"}', r"bad\.json': a: 'edge', expected a list"),
        ("[1]", r"bad\.json': list, expected names"),
        ("{", r"masks file .*bad\.json'"),
    ):
        bad.write_text(text)
        with refuse(match=message):
            read_masks(bad)
    (tmp_path / "twice.csv").write_text("a,edge\na,cloud\n")
    with refuse(match="'a' is given 2 times, expected once"):
        read_masks(tmp_path / "twice.csv")


# memory


def test_memory_forbids_what_does_not_fit(model):
    read = read_model(model, costs="flops")
    weights = weights_of(read)
    assert weights.each.tolist() == read.weight_bytes.tolist() == [4096, 16384, 1024]
    fast_edge = State(device=1e3, wan_delay=10.0)
    free = plan(read, fast_edge)
    assert free.placement.tolist() == [1, 1, 1] and free.weights is None
    single = plan(read, fast_edge, memory={"edge": 10_000})
    assert single.allowed[:, 1].tolist() == [True, False, True] and single.placement[1] != 1
    planned = plan(read, fast_edge, memory={"edge": 20_000})
    assert planned.allowed.all() and not planned.left[1, 1] and planned.placement[1] != 1
    assert planned.weights["edge"] <= 20_000
    assert planned.bound == pytest.approx(free.delay) and planned.gap > 0 and not planned.proven
    assert planned.others["edge"] == np.inf and np.isfinite(planned.others[SPLIT])
    assert "edge was forbidden to the heaviest 1" in as_text(planned)
    roomy = plan(read, fast_edge, memory={"edge": 21_504})
    assert roomy.placement.tolist() == [1, 1, 1] and roomy.proven


def test_shared_weights_count_once(tmp_path):
    nodes = [node("Add", ["x", "w"], ["a"]), node("Mul", ["a", "w"], ["y"])]
    path = saved(tmp_path / "m.onnx", nodes, [("x", [4])], [("y", [4])], [weight("w", [1.0] * 4)])
    weights = weights_of(read_model(path, costs="flops"))
    assert weights.each.tolist() == [16, 16]
    assert weights.by_location(np.array([1, 1])) == {"device": 0, "edge": 16, "cloud": 0}
    assert weights.by_location(np.array([1, 2])) == {"device": 0, "edge": 16, "cloud": 16}


def test_memory_that_cannot_do(model, file):
    read = read_model(model, costs="flops")
    with refuse(match="memory: subtask 'm1' needs 16.38 kB of weights, more than any location"):
        plan(read, memory=dict.fromkeys(LOCATIONS, 10_000))
    pinned = dict.fromkeys(("m0", "m1", "m2"), ("edge",))
    with refuse(match="memory: edge has 20 kB, and what must run there needs 21.5 kB"):
        plan(read, allowed=pinned, memory={"edge": 20_000})
    with refuse(match="memory: a graph file lists no weights"):
        plan(file, memory={"edge": 1})
    with refuse(match="memory: 'phone', expected one of device, edge, cloud"):
        plan(read, memory={"phone": 1})


# sweeps


def test_a_sweep_has_a_plan_for_each_value_and_says_where_it_changes(file):
    planner = Planner(file)
    values = sweep_values(State(), "up")
    plans = planner.sweep(State(), "up", values)
    table = sweep_table("up", plans)
    assert values[0] == pytest.approx(2.5e5) and values[-1] == pytest.approx(2.5e7)
    assert table["value"].tolist() == values.tolist()
    for index in (0, 20, 40):
        alone = planner.plan(State(up=values[index]))
        assert table["plan"][index] == alone.delay
        assert table["placement"][index] == "".join(map(str, alone.placement))
    assert (np.diff(table["plan"]) <= 1e-12).all()
    shares = table["device_share"] + table["edge_share"] + table["cloud_share"]
    assert shares == pytest.approx(np.ones(41))
    found = changes(table)
    assert len(found) == sum(a != b for a, b in zip(table["placement"], table["placement"][1:]))
    assert len(found) and values[0] < found[0] < values[-1]
    with refuse(match="sweep: no quantity 'upp'; near: up"):
        planner.sweep(State(), "upp", [1.0])
    with refuse(match="sweep: wan_delay is 0"):
        sweep_values(State(wan_delay=0), "wan_delay")


# the command


def test_the_command_prints_what_json_has(file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [file, "--device", "200 MHz", "--effort", "inf"]
    status, text, _ = run(capsys, *arguments)
    assert status == 0 and "device 200 MHz, edge 10 GHz*" in text and "Optimal, proven." in text
    assert "* assumed, not given" in text and "One unit of cost is" in text
    status, text, errors = run(capsys, *arguments, "--json", "--sweep", "wan=1Mbit/s..1Gbit/s",
                               "--gantt", tmp_path / "plan.png")  # fmt: skip
    assert status == 0 and "Figure: " in errors
    found = json.loads(text)
    expected = as_dict(plan(file, SLOW, effort=math.inf))
    for key in ("subtasks", "delay_s", "bound_s", "proven", "others_s", "state", "notes"):
        assert found[key] == expected[key], key
    assert [row["value"] for row in found["sweeps"]["wan"]][::40] == pytest.approx([1.25e5, 1.25e8])
    for name in ("plan.png", "steps_sweep_wan.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG"
    assert not list(tmp_path.glob(".*"))


def test_the_command_splits_and_checks(model, tmp_path, capsys):
    options = "--costs flops --device 1kHz --pin m1=cloud --memory edge=64MiB --split".split()
    status, text, _ = run(capsys, model, *options, tmp_path / "parts")
    assert status == 0 and "Together they give the model's outputs" in text
    assert "Subtasks that may not run everywhere: 1." in text
    assert (tmp_path / "parts" / "manifest.json").exists()
    status, text, _ = run(
        capsys, model, "--costs", "flops", "--split", tmp_path / "p", "--no-check"
    )
    assert status == 0 and "The parts were not run." in text


def test_a_measured_model_and_a_state_file(tmp_path, capsys):
    (tmp_path / "s.toml").write_text('device = "1 GHz"\nup = "9 Mbit/s"\n')
    status, text, _ = run(capsys, diamond(tmp_path / "d.onnx"), "--state", tmp_path / "s.toml",
                          "--up", "12 Mbit/s", "--only", "device,edge=re.*|add")  # fmt: skip
    assert status == 0 and "device 1 GHz, edge 10 GHz*, cloud 30 GHz*, up 12 Mbit/s" in text
    assert "Measured by ONNX Runtime" in text and "relu" in text


def test_without_a_network_it_plans_and_says_so_once(file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(plan_command, "MODEL", tmp_path / "none.npz")
    status, _, errors = run(capsys, file)
    assert status == 0 and errors.count("note: no network") == 1
    status, _, errors = run(capsys, file, "--model", tmp_path / "none.npz")
    assert status == 1 and "--model: " in errors and "no such file" in errors


@pytest.mark.parametrize(
    "options, message",
    [
        ("--up fast", "--up: 'fast', expected a number and a unit, such as 20 Mbit/s"),
        ("--cloud 0GHz", "cloud: 0.0, expected a finite number, positive"),
        ("--effort -1", "--effort: '-1', expected a number of at least 0, or inf"),
        ("--pin step_9=edge", "allowed: no subtask 'step_9'; near: step_"),
        ("--pin step_1", "--pin: 'step_1', expected NAME=VALUE"),
        ("--pin step_1=phone", "--pin: 'phone', expected one of device, edge, cloud"),
        ("--pin step_1=edge --only cloud=step_1", "subtask 'step_1' may run nowhere"),
        ("--only edge=conv.*", "only: 'conv.*' matches no subtask"),
        ("--only edge=(", "only: '(' is no regular expression"),
        ("--memory edge=1MB", "--memory: steps.json is a graph file"),
        ("--split parts", "--split: steps.json is a graph file"),
        ("--dim batch=2", "--dim: steps.json is a graph file"),
        ("--sweep upp", "sweep: no quantity 'upp'; near: up"),
        ("--sweep up=3bps..1bps", "--sweep: 'up=3bps..1bps', expected QUANTITY=FROM..TO"),
        ("--sweep up=3", "--sweep up: '3', expected a number and a unit"),
        ("--mean-bytes 3", "--mean-bytes: '3', expected a number and a unit, such as 64 MiB"),
        ("--gantt plan.txt", "--gantt: 'plan.txt', expected a .png, .pdf or .svg file"),
    ],
)  # fmt: skip
def test_refusals_are_one_line(file, capsys, options, message):
    status, _, errors = run(capsys, file, *options.split())
    assert status == 1 and errors.startswith("error: ") and errors.count("\n") == 1
    assert message in errors


def test_files_that_are_none(tmp_path, capsys):
    (tmp_path / "x.bin").write_bytes(b"x")
    (tmp_path / "x.onnx").write_bytes(b"x")
    for name, message in (
        ("none.onnx", "none.onnx': there is none"),
        ("x.bin", "suffix '.bin', expected one of .onnx, .json, .dot, .gv"),
        ("x.onnx", "x.onnx: not an ONNX model"),
    ):
        status, _, errors = run(capsys, tmp_path / name)
        assert status == 1 and message in errors and errors.count("\n") == 1
    status, _, errors = run(capsys, tmp_path / "x.onnx", "--mean-cycles", "1e8")
    assert status == 1 and "--mean-cycles: x.onnx is an ONNX model" in errors


# platforms

UNWRITABLE = """
import sys
from numba.core import caching
caching.CacheImpl._locator_classes = [caching.UserProvidedCacheLocator]
import anygraph
from numba import config
print(config.CACHE_DIR)
"""


def in_a_process(command, **environment):
    """What a fresh Python prints; it must end well."""
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, env=kept | environment, check=False
    )
    assert done.returncode == 0, done.stderr.decode("latin-1")
    return done.stdout.decode("latin-1").strip()


def test_compiled_code_finds_a_place_where_home_and_package_cannot_be_written(tmp_path):
    tmp_path.chmod(0o755)
    root = str(Path(anygraph.__file__).parents[1])
    where = in_a_process(["-c", UNWRITABLE], TMPDIR=str(tmp_path), PYTHONPATH=root)
    assert Path(where).parent == tmp_path and stat.S_IMODE(Path(where).stat().st_mode) == 0o700
    Path(where).chmod(0o777)  # anybody might have put code there
    again = in_a_process(["-c", UNWRITABLE], TMPDIR=str(tmp_path), PYTHONPATH=root)
    assert again != where and Path(again).parent == tmp_path


def test_letters_that_a_terminal_lacks(tmp_path, monkeypatch):
    """A Latin-1 terminal, a blank in the path; JSON stays JSON."""
    file = tmp_path / "my gräph.json"
    tasks = [{"name": "étape", "cost": 1}, {"name": "決定", "cost": 2}]
    edges = [{"source": "étape", "target": "決定", "size": 1}]
    content = json.dumps({"tasks": tasks, "dependencies": edges}, ensure_ascii=False)
    file.write_text(content, encoding="utf-8")
    for options, expected in ([], "étape, \\u6c7a\\u5b9a"), (["--json"], '"my gr'):
        screen = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
        monkeypatch.setattr(sys, "stdout", screen)
        assert main(["plan", str(file), "--effort", "0", *options]) == 0
        screen.seek(0)
        text = screen.read()
        assert expected in text
    assert [subtask["name"] for subtask in json.loads(text)["subtasks"]] == ["étape", "決定"]


def test_every_quantity_has_an_option_and_a_column():
    assert [*QUANTITIES] == [*State.__dataclass_fields__]
    text = plan_command.parser().format_help()
    assert all(f"--{name.replace('_', '-')} X" in text for name in QUANTITIES)
