"""A placed model as several: the parts give what the whole gives, and say what travels."""

from functools import partial

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anygraph import split
from anygraph.model_files import read_model
from anygraph.split import Transfer, check_split, read_manifest, split_model
from kd_offload.delay import delay

from .onnx_models import conditional, diamond, node, saved, weight
from .test_model_files import KINDS, of_kind


def check(file, folder, placement):
    """Split, and check against the whole, what the manifest says too. Returns manifest, check."""
    model = read_model(file)
    manifest = split_model(model, placement, folder)
    assert read_manifest(folder) == manifest
    found = check_split(folder, file, model.inputs)
    for transfer in manifest.transfers:
        assert transfer.bytes == sum(found.sent[name] for name in transfer.tensors)
        assert transfer.sender < transfer.receiver
    assert sorted(j for part in manifest.parts for j in part.subtasks) == [
        *range(1, model.graph.n + 1)
    ]
    assert sum(part.cycles for part in manifest.parts) == pytest.approx(model.cycles.sum())
    return manifest, found


def test_parts_transfers_and_weights_by_hand(tmp_path):
    """relu 0, sigmoid 1, slice 0, matmul 1, add 0: relu sends, and slice need not be done then."""
    manifest, found = check(diamond(tmp_path / "m.onnx"), tmp_path / "parts", [0, 1, 0, 1, 0])
    assert [(part.location, part.names) for part in manifest.parts] == [
        ("device", ["relu"]),
        ("edge", ["sigmoid", "matmul"]),
        ("device", ["slice"]),
        ("device", ["add"]),
    ]
    assert manifest.transfers == [
        Transfer(0, 1, ["x"], 64.0),
        Transfer(1, 2, ["r"], 64.0),
        Transfer(1, 3, ["r"], 64.0),
        Transfer(3, 4, ["half"], 32.0),
        Transfer(2, 4, ["m"], 32.0),
        Transfer(4, 5, ["y"], 32.0),
    ]
    assert [part.weight_bytes for part in manifest.parts] == [0, 128, 24, 0]
    assert manifest.location_weight_bytes == {"device": 24, "edge": 128, "cloud": 0}
    task = manifest.as_task()
    assert task.graph.edges == ((0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (4, 5))
    assert task.workload[4:].tolist() == [64, 64, 64, 32, 32, 32]
    assert task.placement.tolist() == [0, 1, 0, 0]
    assert found.equal and found.largest_difference == 0 and found.differences == {"y": 0.0}
    assert {p.name for p in (tmp_path / "parts").iterdir()} == {
        "inputs.npz",
        "manifest.json",
        "part_001_device.onnx",
        "part_002_edge.onnx",
        "part_003_device.onnx",
        "part_004_device.onnx",
    }


def test_weights_that_parts_share_count_once_for_each_location(tmp_path):
    nodes = [
        node("Add", ["x", "w"], ["a"]),
        node("Mul", ["a", "w"], ["b"]),
        node("Sub", ["b", "w"], ["c"]),
        node("Div", ["c", "w"], ["y"]),
    ]
    file = saved(tmp_path / "m.onnx", nodes, [("x", [3])], [("y", [3])],
                 [weight("w", [1.0, 2.0, 3.0])])  # fmt: skip
    manifest, found = check(file, tmp_path / "parts", [0, 1, 0, 0])
    assert [part.weight_bytes for part in manifest.parts] == [12, 12, 12]
    assert manifest.location_weight_bytes == {"device": 12, "edge": 12, "cloud": 0}
    assert found.equal


def test_what_bodies_capture_is_sent(tmp_path):
    file = conditional(tmp_path / "m.onnx")
    manifest, found = check(file, tmp_path / "parts", [0, 1, 2])
    assert [part.inputs for part in manifest.parts] == [["x"], ["n"], ["l", "which", "x"]]
    assert manifest.location_weight_bytes == {"device": 0, "edge": 56, "cloud": 0}
    assert found.equal


def test_constants_and_inputs_among_the_outputs(tmp_path):
    nodes = [node("Mul", ["w", "w"], ["ww"]), node("Add", ["x", "ww"], ["y"])]
    file = saved(tmp_path / "m.onnx", nodes, [("x", [2])],
                 [("y", [2]), ("x", [2]), ("ww", [2]), ("w", [2])],
                 [weight("w", [5.0, 7.0])])  # fmt: skip
    manifest, found = check(file, tmp_path / "parts", [2])
    assert [(part.location, part.outputs) for part in manifest.parts] == [
        ("cloud", ["y"]),
        ("device", ["w", "ww"]),
    ]
    assert manifest.transfers == [Transfer(0, 1, ["x"], 8.0), Transfer(1, 3, ["y"], 8.0)]
    assert found.equal and found.differences == {"y": 0, "x": 0, "ww": 0, "w": 0}
    task = manifest.as_task()
    assert task.graph.edges == ((0, 1), (1, 2)) and task.placement.tolist() == [2]


def test_weights_beside_the_model_go_into_the_parts(tmp_path, monkeypatch):
    file = diamond(tmp_path / "m.onnx")
    onnx.save(onnx.load(file), file, save_as_external_data=True, location="w", size_threshold=0)
    _, found = check(file, tmp_path / "parts", [0, 0, 0, 1, 1])
    assert found.equal
    monkeypatch.setattr(split, "LARGEST_FILE", 100)
    _, found = check(file, tmp_path / "large", [0, 0, 0, 1, 1])
    assert found.equal


@pytest.mark.parametrize("name", sorted(KINDS.keys() - {"packed"}))
def test_every_kind_split_at_every_operator(tmp_path, name):
    file = of_kind(name, tmp_path / "m.onnx")
    n = read_model(file).graph.n
    manifest, found = check(file, tmp_path / "parts", np.arange(n) % 3)
    assert len(manifest.parts) >= min(n, 2) and found.equal, found


def test_functions_and_operators_without_a_kernel(tmp_path):
    nodes = [node("GroupNormalization", ["x", "w", "w"], ["y"], num_groups=2)]
    file = saved(tmp_path / "m.onnx", nodes, [("x", [2, 4, 3])], [("y", [2, 4, 3])],
                 [weight("w", [1.0] * 4)], opset=21)  # fmt: skip
    _, found = check(file, tmp_path / "parts", np.arange(read_model(file).graph.n) % 3)
    assert found.equal


def test_random_numbers_in_a_part_of_their_own(tmp_path):
    nodes = [node("RandomNormal", [], ["z"], shape=[3]), node("Add", ["x", "z"], ["y"])]
    file = saved(tmp_path / "m.onnx", nodes, [("x", [3])], [("y", [3])])
    manifest = split_model(read_model(file), [1, 0], tmp_path / "parts")
    assert manifest.as_task().graph.edges == ((0, 1), (0, 2), (1, 2), (2, 3))


def test_a_type_that_cannot_travel_is_refused(tmp_path):
    model = read_model(of_kind("packed", tmp_path / "m.onnx"))
    with pytest.raises(ValueError, match=r"m\.onnx: tensor 'q' is of type int4, which cannot"):
        split_model(model, [0, 1], tmp_path / "parts")
    assert not (tmp_path / "parts").exists()
    assert len(split_model(model, [1, 1], tmp_path / "parts").parts) == 1


# random models and placements


OPERATORS = (
    ("Relu", 1), ("Sigmoid", 1), ("Add", 2), ("Mul", 2), ("Sub", 2), ("MatMul", 1),
    ("Concat", 2), ("Split", 1),
)  # fmt: skip


@st.composite
def models(draw):
    """Nodes of a random model on (2, 4) tensors, with forks, joins and some outputs; locations."""
    tensors = ["x", "z"]
    nodes = []
    for k in range(draw(st.integers(1, 12))):
        kind, count = draw(st.sampled_from(OPERATORS))
        takes = [draw(st.sampled_from(tensors)) for _ in range(count)]
        if kind == "MatMul":
            nodes.append(node("MatMul", [*takes, draw(st.sampled_from(("w", "ww")))], [f"t{k}"]))
        elif kind == "Concat":
            nodes.append(node("Concat", takes, [f"c{k}"], axis=1))
            nodes.append(node("MatMul", [f"c{k}", "narrow"], [f"t{k}"]))
        elif kind == "Split":
            nodes.append(node("Split", takes, [f"a{k}", f"b{k}"], axis=1, num_outputs=2))
            nodes.append(node("Concat", [f"b{k}", f"a{k}"], [f"t{k}"], axis=1))
        else:
            nodes.append(node(kind, takes, [f"t{k}"]))
        tensors.append(f"t{k}")
    outputs = draw(st.lists(st.sampled_from(tensors[2:]), min_size=1, max_size=3, unique=True))
    locations = draw(st.lists(st.integers(0, 2), min_size=len(nodes), max_size=len(nodes)))
    return nodes, outputs, locations


STATE = [1e9, 4e9, 2e10, 1e15, 1e15, 1e15, 1e-6, 3e-6]  # no transfer waits for another
FIXTURE = [HealthCheck.function_scoped_fixture]


@settings(max_examples=60, deadline=None, suppress_health_check=FIXTURE)
@given(drawn=models(), most=st.sampled_from((128, 4)))
def test_parts_of_random_models_equal_the_whole(tmp_path, drawn, most):
    nodes, outputs, locations = drawn
    rng = np.random.default_rng(0)
    weights = [weight("w", rng.normal(size=(4, 4))), weight("narrow", rng.normal(size=(8, 4)))]
    nodes = [node("MatMul", ["w", "w"], ["ww"]), *nodes]
    file = saved(tmp_path / "m.onnx", nodes, [("x", [2, 4]), ("z", ["batch", 4])],
                 [(name, [2, 4]) for name in outputs], weights)  # fmt: skip
    model = read_model(file, dims={"batch": 2}, most_subtasks=most)
    manifest = split_model(model, locations[: model.graph.n], tmp_path / "parts")
    found = check_split(tmp_path / "parts", file, model.inputs)
    assert found.equal and found.largest_difference <= 1e-6
    for transfer in manifest.transfers:
        assert transfer.sender < transfer.receiver
    parts = manifest.as_task()
    assert parts.graph.n == len(manifest.parts)
    whole_delay = delay(model.graph, [*model.workload, *STATE], locations[: model.graph.n])
    parts_delay = delay(parts.graph, [*parts.workload, *STATE], parts.placement)
    assert parts_delay == pytest.approx(whole_delay)
    # between locations, the same tensors travel as the task graph's edges say
    place = [0, *locations[: model.graph.n], 0]
    crossing = {edge for edge in model.graph.edges if place[edge[0]] != place[edge[1]]}
    part_of = {j: k for k, part in enumerate(manifest.parts, 1) for j in part.subtasks}
    ends = part_of | {0: 0, model.graph.n + 1: len(manifest.parts) + 1}
    pairs = {(transfer.sender, transfer.receiver) for transfer in manifest.transfers}
    assert {(ends[i], ends[j]) for i, j in crossing} <= pairs


# refusals


def test_bad_placements_and_folders(tmp_path):
    model = read_model(diamond(tmp_path / "m.onnx"))
    refuse = partial(pytest.raises, ValueError)
    with refuse(match=r"placement: shape \(2,\), expected one location for 5 subtasks"):
        split_model(model, [0, 1], tmp_path / "parts")
    with refuse(match="placement: .*3.*, expected 0"):
        split_model(model, [0, 1, 3, 0, 0], tmp_path / "parts")
    with refuse(match="folder: .* holds other things than a split"):
        split_model(model, [0] * 5, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx"]
    with refuse(match=r"manifest\.json: not a manifest"):
        read_manifest(tmp_path)


def test_an_earlier_split_is_replaced(tmp_path):
    file = diamond(tmp_path / "m.onnx")
    check(file, tmp_path / "parts", [0, 1, 2, 0, 1])
    manifest, _ = check(file, tmp_path / "parts", [0] * 5)
    assert len(manifest.parts) == 1 and len(list((tmp_path / "parts").iterdir())) == 3


def test_another_model_than_the_one_that_was_split(tmp_path):
    model = read_model(diamond(tmp_path / "m.onnx"))
    split_model(model, [0] * 5, tmp_path / "parts")
    other = conditional(tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=r"other\.onnx: not the model that was split, m\.onnx"):
        check_split(tmp_path / "parts", other, model.inputs)


def test_a_difference_is_seen(tmp_path):
    """A part whose weights were changed."""
    file = diamond(tmp_path / "m.onnx")
    model = read_model(file)
    split_model(model, [0, 1, 0, 1, 0], tmp_path / "parts")
    part = tmp_path / "parts" / "part_002_edge.onnx"
    changed = onnx.load(part)
    (w,) = changed.graph.initializer
    w.CopyFrom(weight("w", onnx.numpy_helper.to_array(w) * 1.001))
    onnx.save(changed, part)
    found = check_split(tmp_path / "parts", file, model.inputs)
    assert not found.equal and 1e-5 < found.largest_difference < 1e-2


@pytest.mark.parametrize(
    "a, b, difference",
    [
        (np.array([1.0, 2.0]), np.array([1.0, 4.0]), 0.5),
        (np.array([np.nan, 1.0]), np.array([np.nan, 1.0]), 0),
        (np.array([1.0, 1.0]), np.array([np.inf, 1.0]), np.inf),
        (np.array([1, 2]), np.array([1, 3]), np.inf),
        (np.array(["a"], object), np.array(["a"], object), 0),
        ([np.zeros(1)], [np.zeros(1), np.zeros(1)], np.inf),
        ({1: 2.0}, {1: 1.0}, 1),
        (np.zeros(0), np.zeros(0), 0),
    ],
)
def test_differences(a, b, difference):
    assert split.difference(a, b) == difference


def test_classifiers_that_give_maps(tmp_path):
    labels = {"domain": "ai.onnx.ml", "classlabels_int64s": [7, 9]}
    nodes = [node("Neg", ["x"], ["n"]), node("ZipMap", ["n"], ["y"], **labels)]
    file = saved(tmp_path / "m.onnx", nodes, [("x", [1, 2])],
                 [onnx.ValueInfoProto(name="y")], domains=["ai.onnx.ml"])  # fmt: skip
    _, found = check(file, tmp_path / "parts", [0, 1])
    assert found.equal
