"""`python -m experiments.testbed --plan DIR`: a split model in the three processes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from anygraph import onnx_run, plan_command
from anygraph.model_files import read_model
from anygraph.split import INPUTS, MANIFEST, OUTPUTS, read_manifest, read_values, split_model
from anygraph.state import State
from experiments.testbed import __main__ as command
from experiments.testbed.parts import Parts, save_tensors
from experiments.testbed.plan import (
    HANDOVER_S,
    LATE,
    ROOM,
    Result,
    Trial,
    needed_slowdown,
    planned_state,
    run_plan,
    slower,
)
from tests.anygraph.onnx_models import node, saved, value

# Slow enough that what this computer needs besides is little of it.
STATE = State(device=1e7, edge=2e7, cloud=4e7, up=5e3, down=5e3, wan=1e4,
              wireless_delay=0.005, wan_delay=0.02)  # fmt: skip
SIZE = 201  # odd: in a message, floats after so many bytes begin where no float may


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """A model and its parts.

    0 -> relu, quantize (device: r, and q with scale and zero) -> dequantize (edge) -> add (device);
    quantize -> to_doubles, root (cloud); relu -> add; add and root to the sink.
    """
    folder = tmp_path_factory.mktemp("split")
    nodes = [
        node("Relu", ["x"], ["r"], name="relu"),
        node("DynamicQuantizeLinear", ["r"], ["q", "scale", "zero"], name="quantize"),
        node("DequantizeLinear", ["q", "scale", "zero"], ["f"], name="dequantize"),
        node("Cast", ["q"], ["d"], name="to_doubles", to=TensorProto.DOUBLE),
        node("Sqrt", ["d"], ["z"], name="root"),
        node("Add", ["f", "r"], ["y"], name="add"),
    ]
    outputs = [value("y", TensorProto.FLOAT, [1, SIZE]), value("z", TensorProto.DOUBLE, [1, SIZE])]
    file = saved(folder / "m.onnx", nodes, [("x", [1, SIZE])], outputs)
    model = read_model(file)
    model = replace(model, cycles=np.full(model.graph.n, 5e5))
    place = {"relu": 0, "quantize": 0, "dequantize": 1, "to_doubles": 2, "root": 2, "add": 0}
    split_model(model, [place[name] for name in model.names], folder / "parts")
    return file, folder / "parts"


def test_parts_in_three_processes_give_the_outputs_in_the_time_predicted(split):
    file, folder = split
    task = read_manifest(folder).as_task()
    assert task.placement.tolist() == [0, 1, 2, 0] and ("q", "scale", "zero") in task.tensors
    lines = []
    inputs = {"x": np.linspace(0, 9, SIZE)[None]}
    trial = Trial(folder, STATE, file, inputs=inputs, tasks=3, slowdown=1.0)
    result = run_plan(trial, lines.append)
    assert result.difference == 0 and result.row()["equal"] and result.notes == ()
    assert len(lines) == 5 and len(result.measured_s) == 3
    assert result.predicted_s > 0.5
    assert 0.99 < result.row()["ratio"] < 1.3, result


def test_bytes_and_back(split, tmp_path):
    """All types that NumPy has, strings too, and none at all."""
    _, folder = split
    values = {
        "f": np.array(["a", "", "ß€"], object),
        "q": np.array([True, False, True]),
        "r": np.array([[1.5], [2.5]], np.float16),
        "scale": np.array(1 + 2j),
        "x": np.zeros((0, 2), np.int64),
        "y": np.arange(3, dtype=np.uint64),
        "z": np.arange(3.0),
        "zero": np.array([-1], np.int8),
    }
    save_tensors(tmp_path / "t.npz", read_manifest(folder), values)
    parts = Parts(folder, tmp_path / "t.npz")
    for edge in range(len(parts.graph.edges)):
        data = parts.encode(edge, values)
        assert len(data) == parts.size(edge)
        again = parts.decode(edge, bytes(data))
        assert [*again] == [*parts.carried[edge]]
        for name, array in again.items():
            assert array.dtype == values[name].dtype and array.shape == values[name].shape
            assert (array == values[name]).all() and array.flags.aligned
    with pytest.raises(ValueError, match=r"m\.onnx: 'q' is a list, no tensor"):
        save_tensors(tmp_path / "t.npz", read_manifest(folder), values | {"q": [1]})


def without(name):
    return lambda folder: (folder / name).unlink()


def changed(kind, number, **fields):
    """Damage that changes a part or a transfer in the manifest."""

    def change(folder):
        file = folder / MANIFEST
        content = json.loads(file.read_text(encoding="utf-8"))
        content[kind][number] |= fields
        file.write_text(json.dumps(content), encoding="utf-8")

    return change


def cut_off(folder):
    part = next(folder.glob("part_002_*.onnx"))
    part.write_bytes(part.read_bytes()[:40])


def without_inputs(folder):
    changed("transfers", 0, tensors=["x", "w"])(folder)
    (folder / INPUTS).unlink()


def cut_inputs(folder):
    (folder / INPUTS).write_bytes((folder / INPUTS).read_bytes()[:-30])


def test_a_folder_holds_all_that_a_stranger_needs(split, tmp_path, capsys):
    """Inputs, state, plan and the whole model's outputs, which the parts are compared with."""
    file, _ = split
    folder = tmp_path / "parts"
    inputs = tmp_path / "x.npy"
    np.save(inputs, np.linspace(1, 9, SIZE, dtype=np.float32)[None])
    options = ["--wan", "50kbit/s", "--input", f"x={inputs}"]
    assert plan_command.main([str(file), *options, "--split", str(folder)]) == 0
    assert json.loads((folder / "plan.json").read_text(encoding="utf-8"))["proven"]
    assert State(**planned_state(folder)) == State(wan=6250.0)
    assert (read_values(folder, INPUTS)["x"] == np.load(inputs)).all()
    once = ["--plan", str(folder), "--tasks", "1", "--slowdown", "1"]
    command.main(once)
    assert "True" in capsys.readouterr().out.split("equal")[1]
    outputs = {name: array + 1 for name, array in read_values(folder, OUTPUTS).items()}
    onnx_run.save_tensors(folder / OUTPUTS, outputs)
    command.main(once)
    assert "False" in capsys.readouterr().out.split("equal")[1]


@pytest.mark.parametrize(
    "damage, error",
    [
        (shutil.rmtree, "manifest.json: not a manifest of a split model"),
        (without(MANIFEST), "manifest.json: not a manifest of a split model"),
        (without("part_001_device.onnx"), "no file '"),
        (cut_off, "part_002_"),
        (changed("parts", 0, location="moon"), "location 'moon', expected device, edge, cloud"),
        (changed("parts", 0, outputs=["q"]), "which part_001_device.onnx does not give"),
        (changed("parts", 3, inputs=["y"]), "part_004_device.onnx: takes 'y', which no transfer"),
        (changed("parts", 1, outputs=["f", "g"]), "part_002_edge.onnx: ONNX Runtime cannot run it"),
        (changed("transfers", 0, sender=7), "transfer from 7 to 1: expected rising numbers"),
        (changed("transfers", 0, tensors=[]), "takes 'x', which no transfer brings"),
        (changed("transfers", 0, tensors=["x", "w"]), "inputs.npz: no input 'w'"),
        (without_inputs, "no part takes the input 'w'"),
        (cut_inputs, "inputs.npz: not a file of tensors"),
    ],
)
def test_a_broken_folder_is_one_error(split, tmp_path, damage, error):
    _, folder = split
    copy = Path(shutil.copytree(folder, tmp_path / "parts"))
    damage(copy)
    with pytest.raises(SystemExit) as raised:
        command.main(["--plan", str(copy)])
    assert str(raised.value).startswith("error: ") and error in str(raised.value)


@pytest.mark.parametrize(
    "options, error",
    [
        (["--tasks", "0"], "tasks: 0, expected 1 or more"),
        (["--slowdown", "0.5"], "slowdown: 0.5, expected a number of at least 1"),
        (["--slowdown", "2", "--compute", "real"], "slowdown: 2.0, but parts that take their own"),
        (["--sessions", "3"], "sessions: 3, expected only without --plan"),
        (["--up", "20 Mb"], "--up: '20 Mb', expected a number and a unit"),
        (["--model", "no.onnx"], "model: no file 'no.onnx'"),
    ],
)
def test_an_option_that_cannot_be_met_is_one_error(split, options, error):
    with pytest.raises(SystemExit) as raised:
        command.main(["--plan", str(split[1]), *options])
    assert str(raised.value).startswith("error: ") and error in str(raised.value)


def test_options_of_plans_need_one(tmp_path):
    with pytest.raises(SystemExit, match="error: wan-delay: 5ms, expected only with --plan"):
        command.main(["--wan-delay", "5ms"])


def test_the_command_prints_measured_beside_predicted(split, monkeypatch, capsys):
    file, folder = split
    asked = []
    placement = np.array([0, 1, 2])
    result = Result("m.onnx", placement, 0.1, np.array([0.1, 0.102, 0.11]), 4.0, 0.0, 1e-5, ("n",))
    monkeypatch.setattr(command, "run_plan", lambda trial, tell: asked.append(trial) or result)
    command.main(["--plan", str(folder), "--model", str(file), "--tasks", "3", "--up", "8kbit/s"])
    assert asked == [Trial(folder, State(up=1e3), file, tasks=3)]
    printed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert printed["note:"] == "n"
    assert float(printed["predicted_ms"]) == 100 and float(printed["measured_ms"]) == 102
    assert float(printed["ratio"]) == 1.02 and printed["equal"] == "True"


def test_the_slowdown_leaves_parts_time_enough():
    """One part takes twice its time here with room, another is quick, a third has no cycles."""
    seconds, held = np.array([0.1, 0.001, 1e-5]), np.array([0.1, 0.1, 0.0])
    assert needed_slowdown(seconds / 2, held, predicted_s=0.3) == 1
    slowdown = needed_slowdown(seconds, held, predicted_s=0.3)
    late = ROOM * 0.1 - slowdown * 0.1
    assert 0 < late <= LATE * slowdown * 0.3 and 1.7 < slowdown < 2
    short = needed_slowdown(seconds / 1e3, held / 1e3, predicted_s=1e-3)
    assert 3 * HANDOVER_S <= LATE * short * 1e-3 and short < 100


def test_no_delay_is_no_trial(split, tmp_path):
    copy = Path(shutil.copytree(split[1], tmp_path / "parts"))
    for number in range(4):
        changed("parts", number, cycles=0.0, location="device")(copy)
    with pytest.raises(ValueError, match="parts: the delay is 0 s"):
        run_plan(Trial(copy))


def test_everything_is_slower_alike():
    state = STATE.vector
    assert (slower(state, 2.0) == [*(state[:6] / 2), *(state[6:] * 2)]).all()
