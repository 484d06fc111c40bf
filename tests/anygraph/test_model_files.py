"""ONNX models as tasks: structure and bytes by hand, every kind of operator, clear refusals."""

import json
from math import prod
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from anygraph.model_files import CYCLES_PER_FLOP, read_model
from anygraph.operators import LIGHT

from .onnx_models import DIAMOND_EDGES, FLOAT, conditional, diamond, node, saved, value, weight


def edges(model) -> dict:
    """Bytes by edge."""
    return dict(zip(model.graph.edges, model.bytes))


def said(model) -> str:
    """The report's text."""
    return " ".join(note.text for note in model.report)


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "model.onnx"


# structure and bytes, by hand


def test_subtasks_edges_and_bytes_of_a_model_by_hand(file):
    model = read_model(diamond(file))
    assert model.names == ("relu", "sigmoid", "slice", "matmul", "add")
    assert edges(model) == DIAMOND_EDGES
    assert (model.cycles > 0).all() and model.graph.name == "model"
    assert model.weight_bytes.tolist() == [0, 0, 24, 128, 0]
    assert model.workload.tolist() == [*model.cycles, *model.bytes]
    assert "5 operators" in said(model) and "median of 5 runs" in said(model)


def test_what_a_body_captures_travels_to_it(file):
    """The If takes x and the loop's result; the Loop takes what Neg gives. Weights stay."""
    model = read_model(conditional(file))
    assert model.names == ("neg", "loop", "if")
    assert edges(model) == {(0, 1): 32, (1, 2): 32, (0, 3): 33, (2, 3): 32, (3, 4): 32}
    assert model.weight_bytes.tolist() == [0, 8 + 32 + 16, 0]
    assert "loop, if: measured with the branch" in said(model)


def test_time_within_a_body_counts_once_and_with_its_operator(file):
    """The Loop's own event spans its body's: names that the body shares with the graph are its."""
    body_adds = [node("Add", ["v", "v"], ["a0"], name="add")]
    body_adds += [node("Add", [f"a{k}", "v"], [f"a{k + 1}"]) for k in range(40)]
    body_adds += [node("Identity", ["go"], ["still"]), node("Identity", ["a40"], ["out"])]
    body = helper.make_graph(
        body_adds, "body",
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []),
         value("v", FLOAT, [9])],
        [value("still", TensorProto.BOOL, []), value("out", FLOAT, [9])],
    )  # fmt: skip
    nodes = [
        node("Add", ["x", "x"], ["start"], name="add"),
        node("Loop", ["rounds", "", "start"], ["y"], name="loop", body=body),
    ]
    model = read_model(
        saved(file, nodes, [("x", [9])], [("y", [9])], [weight("rounds", np.array(20))])
    )
    assert model.cycles[1] > 10 * model.cycles[0]


def test_a_tensor_that_an_operator_takes_twice_travels_once(file):
    nodes = [node("Relu", ["x"], ["r"]), node("Mul", ["r", "r"], ["y"])]
    model = read_model(saved(file, nodes, [("x", [3])], [("y", [3])]))
    assert edges(model) == {(0, 1): 12, (1, 2): 12, (2, 3): 12}


def test_more_operators_than_allowed_are_merged(file):
    model = read_model(diamond(file), most_subtasks=3)
    assert model.graph.n == 3 == len(model.names)
    placed = [name for group in model.members for name in group]
    assert sorted(placed) == ["add", "matmul", "relu", "sigmoid", "slice"]
    assert all(name in group for name, group in zip(model.names, model.members))
    assert "Merged to 3 subtasks" in said(model)
    assert model.unmerged.names == ("relu", "sigmoid", "slice", "matmul", "add")
    placed_alike = [model.members[group - 1] for group in model.group_of]
    assert all(name in group for name, group in zip(model.unmerged.names, placed_alike))


def test_merged_operators_take_a_tensor_once(file):
    nodes = [node("Exp", ["x"], ["a"])] + [node("Neg", ["a"], [f"n{k}"]) for k in range(3)]
    nodes += [node("Sum", ["n0", "n1", "n2"], ["y"])]
    counted = read_model(
        saved(file, nodes, [("x", [50])], [("y", [50])]), costs="flops", most_subtasks=1
    )
    assert edges(counted) == {(0, 1): 200, (1, 2): 200}
    assert counted.cycles[0] > 0


def test_constants_unused_operators_and_outputs_that_do_not_travel(file):
    nodes = [
        node("Constant", [], ["c"], value=weight("", [2.0, 3.0])),
        node("Mul", ["c", "w"], ["cw"]),  # of weights alone
        node("Add", ["x", "cw"], ["y"], name="add"),
        node("Relu", ["x"], ["never"], name="unused"),
    ]
    path = saved(
        file, nodes, [("x", [2]), ("idle", [7])],
        [("y", [2]), ("x", [2]), ("cw", [2])], [weight("w", [5.0, 7.0])],
    )  # fmt: skip
    model = read_model(path)
    assert model.names == ("add",) and edges(model) == {(0, 1): 8, (1, 2): 8}
    assert model.weight_bytes.tolist() == [16]  # w and the constant
    report = said(model)
    for text in ("2 operators depend on weights alone", "1 operators are left out",
                 "Output x is an input passed through", "Output cw is a constant",
                 "No operator takes the inputs idle"):  # fmt: skip
        assert text in report


def test_an_output_may_feed_operators_too(file):
    nodes = [node("Relu", ["x"], ["r"]), node("Neg", ["r"], ["y"])]
    model = read_model(saved(file, nodes, [("x", [3])], [("r", [3]), ("y", [3])]))
    assert edges(model) == {(0, 1): 12, (1, 2): 12, (1, 3): 12, (2, 3): 12}


def test_random_numbers_are_fed_by_the_source_with_nothing(file):
    nodes = [node("RandomNormal", [], ["z"], shape=[3], name="z"), node("Add", ["x", "z"], ["y"])]
    model = read_model(saved(file, nodes, [("x", [3])], [("y", [3])]))
    assert edges(model) == {(0, 1): 0, (0, 2): 12, (1, 2): 12, (2, 3): 12}
    assert "z draw random numbers" in said(model)


# files


@pytest.mark.parametrize("ir", [3, 8])
def test_weights_among_the_inputs_are_weights(file, ir):
    inputs = [("x", [2]), ("w", [2])]
    path = saved(file, [node("Add", ["x", "w"], ["y"])], inputs, [("y", [2])],
                 [weight("w", [1.0, 2.0])], opset=7, ir=ir)  # fmt: skip
    model = read_model(path)
    assert edges(model) == {(0, 1): 8, (1, 2): 8} and list(model.inputs) == ["x"]


@pytest.mark.parametrize("opset", range(7, 26))
def test_opsets(file, opset):
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Relu", ["c"], ["y"])]
    path = saved(file, nodes, [("x", [1, 1, 4, 4])], [("y", None)],
                 [weight("w", np.ones((2, 1, 3, 3), "f4"))], opset=opset)  # fmt: skip
    assert edges(read_model(path)) == {(0, 1): 64, (1, 2): 32, (2, 3): 32}


def test_weights_in_a_file_beside_the_model(file):
    diamond(file)
    expected = edges(read_model(file))
    onnx.save(
        onnx.load(file), file, save_as_external_data=True, location="weights", size_threshold=0
    )
    model = read_model(file)
    assert edges(model) == expected and model.weight_bytes.sum() == 128 + 24
    assert edges(read_model(file, costs="flops")) == expected
    (file.parent / "weights").unlink()
    for costs in ("measured", "flops"):
        with pytest.raises(ValueError, match=r"model\.onnx.*weights"):
            read_model(file, costs=costs)


def test_functions_of_the_file_are_inlined(file):
    """As are operators that ONNX Runtime has no kernel for."""
    twice = helper.make_function(
        "mine", "Twice", ["a"], ["b"],
        [node("Add", ["a", "a"], ["s"]), node("Neg", ["s"], ["b"])],
        [helper.make_opsetid("", 21)],
    )  # fmt: skip
    nodes = [
        node("Twice", ["x"], ["t"], domain="mine"),
        node("GroupNormalization", ["t", "w", "w"], ["y"], num_groups=2),
    ]
    path = saved(file, nodes, [("x", [2, 4, 3])], [("y", [2, 4, 3])], [weight("w", [1.0] * 4)],
                 opset=21, domains=["mine"], functions=[twice])  # fmt: skip
    kinds = [operator.kind for operator in read_model(path).structure.operators]
    assert kinds[:2] == ["Add", "Neg"] and {"ReduceMean", "Sqrt"} < set(kinds)


def test_models_with_the_same_names_do_not_mix(tmp_path):
    first = diamond(tmp_path / "a.onnx")
    second = saved(tmp_path / "b.onnx", [node("Relu", ["x"], ["y"], name="relu")],
                   [("x", [5])], [("y", [5])])  # fmt: skip
    read_model(first)
    assert edges(read_model(second)) == {(0, 1): 20, (1, 2): 20}
    assert edges(read_model(first)) == DIAMOND_EDGES


@pytest.mark.parametrize("content", [b"", b"not a model", b"{}", None])
def test_a_file_that_is_no_model(file, content):
    if content is None:
        diamond(file)
        content = file.read_bytes()[:100]
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.onnx: not an ONNX model"):
        read_model(file)


def test_no_file(file):
    with pytest.raises(ValueError, match=r"no file .*model\.onnx"):
        read_model(file)


def test_a_model_without_anything_to_place(file):
    path = saved(file, [node("Relu", ["x"], ["n"])], [("x", [2])], [("x", [2])])
    with pytest.raises(ValueError, match="nothing to place"):
        read_model(path)


def test_a_tensor_from_nowhere_or_twice(file):
    saved(file, [node("Add", ["x", "lost"], ["y"], name="sum")], [("x", [2])], [("y", [2])])
    with pytest.raises(ValueError, match=r"operator 'sum' \(Add\) takes 'lost'"):
        read_model(file)
    saved(file, [node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"], name="again")],
          [("x", [2])], [("y", [2])])  # fmt: skip
    with pytest.raises(ValueError, match=r"operator 'again' \(Neg\) gives 'y'"):
        read_model(file)


# sizes of inputs


def free(file, *shape) -> Path:
    """A model of one operator whose input's shape is free."""
    return saved(file, [node("Relu", ["x"], ["y"])], [("x", shape)], [("y", None)])


def test_free_dimensions_are_given_by_name_or_place(file):
    free(file, "batch", "height", None, 0, -1, 2)
    with pytest.raises(
        ValueError, match="say --dim height=SIZE --dim x:2=SIZE --dim x:3=SIZE --dim x:4=SIZE"
    ):
        read_model(file)
    model = read_model(file, dims={"batch": 3, "height": 5, "x:2": 7, "x:3": 1, "x:4": 1})
    assert model.bytes.tolist() == [3 * 5 * 7 * 2 * 4] * 2
    assert "x (float32 3x5x7x1x1x2)" in said(model)
    whole = read_model(file, dims={"x": (1, 1, 1, 1, 1, 2)})
    assert whole.bytes.tolist() == [8, 8]


def test_question_marks_are_no_name(file):
    free(file, "?", "?")
    assert read_model(file, dims={"x:0": 2, "x:1": 3}).bytes.tolist() == [24, 24]


def test_nothing_may_be_sent(file):
    free(file, "batch", 4)
    model = read_model(file, dims={"batch": 0})
    assert model.bytes.tolist() == [0, 0] and model.cycles[0] > 0


def test_an_input_of_unknown_rank(file):
    path = saved(file, [node("Relu", ["x"], ["y"])], [("x", None)], [("y", None)])
    with pytest.raises(ValueError, match="--dim x=AxBxC"):
        read_model(path)
    assert read_model(path, dims={"x": (2, 2)}).bytes.tolist() == [16, 16]


def test_unknown_names_are_refused(file):
    free(file, "batch", 4)
    with pytest.raises(ValueError, match="dims: no 'hight' in this model, which has batch"):
        read_model(file, dims={"batch": 1, "hight": 3})
    with pytest.raises(ValueError, match="dims: no 'x:1' in this model"):  # it is 4
        read_model(file, dims={"batch": 1, "x:1": 3})
    for bad in (-1, "2", (1, None)):
        with pytest.raises(ValueError, match=r"dims: batch: .*, expected a size"):
            read_model(file, dims={"batch": bad})
    with pytest.raises(ValueError, match="inputs: no 'z' in this model, which has x"):
        read_model(file, inputs={"z": 3})


def test_an_input_of_another_form_is_refused_with_what_to_say(file):
    nodes = [node("Gather", ["w", "i"], ["y"], name="look-up")]
    path = saved(file, nodes, [value("i", TensorProto.INT64, [2])], [("y", [2])],
                 [weight("w", [1.0, 2.0])])  # fmt: skip
    with pytest.raises(ValueError, match=r"model\.onnx.*look-up.*--input NAME=VALUE"):
        read_model(path, inputs={"i": [0, 9]})
    assert read_model(path, inputs={"i": [0, 1]}).inputs["i"].dtype == np.int64


# kinds of operators


def kinds() -> dict:
    """Nodes, inputs, outputs and weights of models of one kind each, with the bytes of edges."""
    half, int4 = TensorProto.FLOAT16, TensorProto.INT4
    ones = np.ones
    return {
        "lstm": (
            [node("LSTM", ["x", "w", "r"], ["", "h"], hidden_size=3)],
            [("x", [5, 1, 4])], [("h", None)],
            [weight("w", ones((1, 12, 4), "f4")), weight("r", ones((1, 12, 3), "f4"))],
            {(0, 1): 80, (1, 2): 12},
        ),
        "gru": (
            [node("GRU", ["x", "w", "r"], ["all", "last"], hidden_size=3)],
            [("x", [5, 1, 4])], [("all", None), ("last", None)],
            [weight("w", ones((1, 9, 4), "f4")), weight("r", ones((1, 9, 3), "f4"))],
            {(0, 1): 80, (1, 2): 60 + 12},
        ),
        "conv_transpose": (
            [node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])],
            [("x", [1, 1, 4, 4])], [("y", None)], [weight("w", ones((1, 2, 2, 2), "f4"))],
            {(0, 1): 64, (1, 2): 2 * 8 * 8 * 4},
        ),
        "einsum": (
            [node("Einsum", ["x", "x"], ["y"], equation="ij,kj->ik")],
            [("x", [3, 4])], [("y", None)], [], {(0, 1): 48, (1, 2): 36},
        ),
        "resize": (
            [node("Resize", ["x", "", "scales"], ["y"], mode="nearest")],
            [("x", [1, 1, 2, 2])], [("y", None)], [weight("scales", [1.0, 1.0, 2.0, 3.0])],
            {(0, 1): 16, (1, 2): 96},
        ),
        "attention": (
            [node("Attention", ["x", "x", "x"], ["y"])],
            [("x", [1, 2, 3, 4])], [("y", None)], [], {(0, 1): 96, (1, 2): 96},
        ),
        "quantised": (
            [
                node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
                node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
                node("Relu", ["d"], ["a"]), node("Neg", ["d"], ["b"]),  # d is made twice
                node("Add", ["a", "b"], ["y"]),
            ],
            [("x", [10])], [("y", None)],
            [weight("scale", np.float32(0.1)), weight("zero", np.int8(0))],
            {(0, 1): 40, (1, 2): 10, (2, 3): 40, (2, 4): 40, (3, 5): 40, (4, 5): 40, (5, 6): 40},
        ),
        "integers": (
            [node("MatMulInteger", ["x", "w"], ["y"])],
            [value("x", TensorProto.UINT8, [2, 3])], [value("y", TensorProto.INT32, None)],
            [weight("w", ones((3, 4), np.uint8))], {(0, 1): 6, (1, 2): 32},
        ),
        "half": (  # ONNX Runtime computes in single and inserts casts; what travels is half
            [node("Conv", ["x", "w"], ["c"]), node("Relu", ["c"], ["y"])],
            [value("x", half, [1, 1, 2, 2])], [value("y", half, None)],
            [weight("w", ones((3, 1, 1, 1), np.float16))], {(0, 1): 8, (1, 2): 24, (2, 3): 24},
        ),
        "packed": (
            [node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
             node("DequantizeLinear", ["q", "scale"], ["y"])],
            [("x", [5])], [("y", None)],
            [weight("scale", np.float32(0.1)), helper.make_tensor("zero", int4, [], [0])],
            {(0, 1): 20, (1, 2): 3, (2, 3): 20},
        ),
        "strings": (
            [node("StringConcat", ["x", "tail"], ["y"])],
            [value("x", TensorProto.STRING, [3])], [value("y", TensorProto.STRING, None)],
            [helper.make_tensor("tail", TensorProto.STRING, [1], [b"bc"])],
            {(0, 1): 3, (1, 2): 9},
        ),
        "sequences": (
            [node("SplitToSequence", ["x"], ["s"]),
             node("ConcatFromSequence", ["s"], ["y"], axis=0)],
            [("x", [6, 2])], [("y", None)], [], {(0, 1): 48, (1, 2): 48, (2, 3): 48},
        ),
        "shapes": (  # shapes that depend on values
            [node("NonZero", ["x"], ["n"]), node("Shape", ["n"], ["y"])],
            [("x", [6])], [value("y", TensorProto.INT64, None)], [],
            {(0, 1): 24, (1, 2): 48, (2, 3): 16},
        ),
    }  # fmt: skip


KINDS = kinds()


def of_kind(name: str, file: Path) -> Path:
    """A model with operators or types of a kind."""
    nodes, inputs, outputs, weights, _ = KINDS[name]
    return saved(file, nodes, inputs, outputs, weights, opset=23, ir=11)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_operator_and_type(file, name):
    model = read_model(of_kind(name, file))
    assert edges(model) == KINDS[name][-1]
    assert (model.cycles > 0).all()


def test_operators_of_other_domains(file):
    nodes = [node("FusedMatMul", ["x", "x"], ["y"], domain="com.microsoft", transB=1)]
    path = saved(file, nodes, [("x", [3, 4])], [("y", None)], domains=["com.microsoft"])
    assert edges(read_model(path)) == {(0, 1): 48, (1, 2): 36}
    saved(file, [node("Secret", ["x"], ["y"], domain="mine", name="s")], [("x", [3])],
          [("y", None)], domains=["mine"])  # fmt: skip
    with pytest.raises(ValueError, match=r"model\.onnx.*mine:Secret.*replace that operator"):
        read_model(file)
    with pytest.raises(ValueError, match=r"'s' \(Secret\) is not known to onnx-tool"):
        read_model(file, costs="flops")


def test_an_input_that_cannot_be_made_up(file):
    sequence = helper.make_tensor_sequence_value_info("s", FLOAT, None)
    path = saved(file, [node("ConcatFromSequence", ["s"], ["y"], axis=0)], [sequence],
                 [("y", None)])  # fmt: skip
    with pytest.raises(ValueError, match="input 's' is no tensor"):
        read_model(path)
    model = read_model(path, inputs={"s": [np.ones((2, 2), "f4"), np.ones((1, 2), "f4")]})
    assert edges(model) == {(0, 1): 24, (1, 2): 24}
    path = saved(file, [node("Cast", ["x"], ["y"], to=FLOAT)],
                 [value("x", TensorProto.BFLOAT16, [2])], [("y", None)])  # fmt: skip
    with pytest.raises(ValueError, match="input 'x' is of type BFLOAT16"):
        read_model(path)


# costs


def test_measured_seconds_become_cycles_at_the_machines_speed(file):
    """A matrix product of 4e7 multiply-adds takes most of the time, and time scales with speed."""
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Relu", ["m"], ["y"])]
    saved(file, nodes, [("x", [64, 800])], [("y", None)], [weight("w", np.ones((800, 800), "f4"))])
    model = read_model(file, machine_speed=1e9)
    assert model.cycles[0] > 3 * model.cycles[1]
    seconds = model.cycles.sum() / 1e9
    assert 1e-4 < seconds < 1
    assert "1 GHz" in said(model)


@pytest.mark.parametrize(
    "field, bad", [("machine_speed", 0), ("machine_speed", np.nan), ("most_subtasks", 0)]
)
def test_bad_numbers(file, field, bad):
    with pytest.raises(ValueError, match=f"{field}: {bad}"):
        read_model(diamond(file), **{field: bad})


def written_profile(path: Path, folder: Path, feeds: dict, optimised=False, runs=3) -> Path:
    """A profile as ONNX Runtime writes it for anyone."""
    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "elsewhere")
    session = onnxruntime.InferenceSession(str(path), options)
    for _ in range(runs):
        session.run(None, feeds)
    return Path(session.end_profiling())


def test_costs_of_a_profile_written_elsewhere(file, tmp_path):
    """Nodes without names, constants among them; times changed: they must be the file's."""
    nodes = [
        node("Constant", [], ["c"], value=weight("", [2.0])),
        node("Relu", ["x"], ["r"]),
        node("Constant", [], ["d"], value=weight("", [3.0])),
        node("Mul", ["r", "c"], ["m"]),
        node("Mul", ["m", "d"], ["y"]),
    ]
    saved(file, nodes, [("x", ["batch", 5])], [("y", None)])
    profile = written_profile(file, tmp_path, {"x": np.ones((3, 5), "f4")})
    events = json.loads(profile.read_text())
    run = 0
    for event in events:
        if event["cat"] == "Node":
            event["dur"] = {"Relu": 100, "Mul": 10}[event["args"]["op_name"]] + run
        run += event["name"] == "model_run"
    profile.write_text(json.dumps(events))
    model = read_model(file, costs=profile, machine_speed=1e9)
    assert model.cycles == pytest.approx([102e3, 12e3, 12e3])  # runs 1 and 2, rounded down
    assert model.bytes.tolist() == [60] * 4  # sizes of the profile, not of dims
    assert "median of 2 runs" in said(model)


def test_a_profile_that_does_not_fit(file, tmp_path):
    nodes = [node("Conv", ["x", "w"], ["c"], name="conv"), node("Relu", ["c"], ["y"], name="relu")]
    saved(
        file,
        nodes,
        [("x", [1, 1, 4, 4])],
        [("y", None)],
        [weight("w", np.ones((1, 1, 1, 1), "f4"))],
    )
    fused = written_profile(file, tmp_path, {"x": np.ones((1, 1, 4, 4), "f4")}, optimised=True)
    with pytest.raises(ValueError, match=r"no time for .*'relu' \(Relu\).*ORT_DISABLE_ALL"):
        read_model(file, costs=fused)
    fused.write_text("[]")
    with pytest.raises(ValueError, match="a profile without a run"):
        read_model(file, costs=fused)
    fused.write_text('{"traceEvents": 1}')
    with pytest.raises(ValueError, match="not a profile of ONNX Runtime"):
        read_model(file, costs=fused)
    with pytest.raises(ValueError, match=r'costs: .*nowhere\.json.*expected "measured", "flops"'):
        read_model(file, costs="nowhere.json")


def test_the_size_of_strings_needs_a_run_beside_a_profile(file, tmp_path):
    of_kind("strings", file)
    profile = written_profile(file, tmp_path, {"x": np.array(["aa", "b", "c"], object)})
    assert edges(read_model(file, costs=profile)) == {(0, 1): 3, (1, 2): 9}


def test_counted_operations_by_hand(file):
    """Convolution: two operations for each of 9 weights and 2 x 2 x 3 values. Relu: one a value."""
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Relu", ["c"], ["r"]),
             node("Reshape", ["r", "flat"], ["y"])]  # fmt: skip
    weights = [weight("w", np.ones((3, 1, 3, 3), "f4")), weight("flat", [-1])]
    saved(file, nodes, [("x", ["batch", 1, 4, 4])], [("y", None)], weights)
    model = read_model(file, costs="flops")
    assert model.bytes.tolist() == [64, 48, 48, 48]
    conv, relu, reshape = model.cycles / CYCLES_PER_FLOP
    assert conv == pytest.approx(2 * 9 * 12, rel=0.06)  # onnx-tool may count a bias
    assert 12 <= relu <= 48 and reshape == 12


@pytest.mark.parametrize("name, giga", [("resnet50", 4.09), ("squeezenet", 0.35), ("vgg19", 19.63)])
def test_counted_operations_of_known_networks(name, giga):
    file = LIGHT / f"light_{name}.onnx"
    model = read_model(file, costs="flops")
    multiply_adds = model.cycles.sum() / CYCLES_PER_FLOP / 2
    assert multiply_adds == pytest.approx(giga * 1e9, rel=0.1)  # additions count too


def test_counted_and_measured_models_have_the_same_bytes(file):
    for name in ("einsum", "resize", "conv_transpose"):
        of_kind(name, file)
        counted, measured = read_model(file, costs="flops"), read_model(file)
        assert edges(counted) == edges(measured)
    saved(file, [node("ReduceMax", ["x"], ["m"], keepdims=0), node("Sub", ["x", "m"], ["y"])],
          [("x", [3])], [("y", [3])])  # fmt: skip
    assert edges(read_model(file, costs="flops"))[1, 2] == 4  # a scalar


def test_what_cannot_be_counted_is_refused(file):
    with pytest.raises(ValueError, match=r"'loop' \(Loop\) runs a subgraph.*--costs measured"):
        read_model(conditional(file), costs="flops")
    with pytest.raises(ValueError, match=r"cannot count operator 'LSTM_0' \(LSTM\)"):
        read_model(of_kind("lstm", file), costs="flops")  # without a bias
    with pytest.raises(ValueError, match=r"\(Attention\) is not known to onnx-tool"):
        read_model(of_kind("attention", file), costs="flops")
    nodes = [node("GridSample", ["x", "g"], ["y"], name="sample")]
    saved(file, nodes, [("x", [1, 1, 2, 2]), ("g", [1, 2, 2, 2])], [("y", None)])
    with pytest.raises(ValueError, match=r"'sample' \(GridSample\) is not counted"):
        read_model(file, costs="flops")


def test_sizes_in_the_file_match_the_arrays(file):
    """Every tensor's bytes against the arrays of a run."""
    model = read_model(conditional(file))
    assert model.tensor_bytes["n"] == prod((2, 4)) * 4
    assert model.tensor_bytes["which"] == 1
