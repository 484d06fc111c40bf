"""Trained students for a device: ONNX for ONNX Runtime, and one file of dependency-free C99.

`python -m kd_offload.export` writes the trained students of seed 0 into `exports/`, with a model card.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from onnx import TensorProto, helper, numpy_helper

from ..artifact import ROOT, get_run, written_aside
from ..beyond.verification import default_evaluations, improve, moves
from ..graphs import TaskGraph
from ..models import FORMAT, Model, check_inputs, open_model
from ..scenarios import scenario
from ..tasks import STATE, UNITS, feature_names

# -O3 unrolls the inner loops away from the vector unit: twice to three times slower with gcc 12.
FAST = ("-O2", "-ftree-vectorize", "-ffp-contract=fast", "-march=native")
LIMIT = 64 * 1024  # bytes of constants of a C file
SCENARIOS, ROLES = ("chain", "dag", "fusion"), ("student", "student_tuned", "student_verified")


def export_onnx(model: Model, graph: TaskGraph, path: Path) -> None:
    """One ONNX graph of scaling, network and decision: task float64 (S, F) in SI units -> placement int8 (S, n).

    A network of K hypotheses gives proposals (S, K, n): their verification needs the delay model and is not in the file.
    """
    constants, nodes, name = [], [], "task"

    def constant(called, array):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), called))
        return called

    def node(operator, *inputs, **attributes):
        nonlocal name
        nodes.append(
            helper.make_node(
                operator,
                [name, *inputs],
                [name := f"{operator.lower()}_{len(nodes)}"],
                **attributes,
            )
        )

    node("Log")
    node("Sub", constant("mean", model.mean))
    node("Div", constant("deviation", model.deviation))
    node("Cast", to=TensorProto.FLOAT)
    for layer, (w, b) in enumerate(zip(model.weights, model.biases)):
        node("MatMul", constant(f"weight_{layer}", w))
        if b.ndim == 2 and (layer == 0 or model.biases[layer - 1].ndim == 1):
            node("Unsqueeze", constant("one", np.array([1])))
        node("Add", constant(f"bias_{layer}", b))
        if layer < len(model.weights) - 1:
            node("Relu")
    many = (model.hypotheses,) if model.hypotheses > 1 else ()
    node("Reshape", constant("shape", np.array([-1, *many, graph.n, 3])))
    node("ArgMax", axis=-1, keepdims=0)
    node("Cast", to=TensorProto.INT8)
    nodes[-1].output[0] = called = "proposals" if many else "placement"
    task = helper.make_tensor_value_info("task", TensorProto.DOUBLE, ["S", graph.n_features])
    out = helper.make_tensor_value_info(called, TensorProto.INT8, ["S", *many, graph.n])
    made = helper.make_model(
        helper.make_graph(nodes, model.scenario, [task], [out], constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="kd_offload",
    )
    about = {
        "format": FORMAT,
        "scenario": model.scenario,
        "role": model.role,
        "seed": str(model.seed),
    }
    helper.set_model_props(made, about | {"features": " ".join(feature_names(graph))})
    onnx.checker.check_model(made)
    with written_aside(path) as aside:
        onnx.save(made, aside)


def quantise_onnx(path: Path, target: Path) -> None:
    """The same with weights in int8, by ONNX Runtime's dynamic quantisation."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with written_aside(target) as aside:
        quantize_dynamic(str(path), str(aside), weight_type=QuantType.QInt8)


def open_onnx(path: Path, graph: TaskGraph) -> onnxruntime.InferenceSession:
    """The exported student in ONNX Runtime, one thread. ValueError for a damaged file or one of another scenario or version."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors have no common public base
        raise ValueError(
            f"model: {path} is missing, truncated or altered ({str(error).splitlines()[0]})"
        ) from None
    about = session.get_modelmeta().custom_metadata_map
    for key, expected in (("format", FORMAT), ("scenario", graph.name)):
        if about.get(key) != expected:
            raise ValueError(f"model: {path} has {key} {about.get(key)!r}, expected {expected!r}")
    return session


def decide_onnx(session, model: Model, graph: TaskGraph, tasks) -> np.ndarray:
    """Placements int8 (S, n) of tasks (S, F): ONNX Runtime proposes; several proposals are verified as everywhere."""
    t = check_inputs(model, graph, np.atleast_2d(tasks))
    x = session.run(None, {"task": t})[0]
    return improve(graph, t, x, default_evaluations(graph))[0] if x.ndim == 3 else x


def _padded(a: np.ndarray) -> np.ndarray:
    a = np.atleast_2d(a)
    return np.pad(a, ((0, 0), (0, -a.shape[1] % 8)))


def _table(kind: str, name: str, values) -> str:
    """A constant table; numbers of C99's hexadecimal notation are exact."""
    a = np.asarray(values)
    end = "f" if kind == "float" else ""
    text = (float(v).hex() + end if kind in ("float", "double") else str(v) for v in a.ravel())
    lines, row = [], a.shape[-1]
    flat = list(text)
    for at in range(0, len(flat), row):
        lines.append(
            "{" + ", ".join(flat[at : at + row]) + "}"
            if a.ndim == 2
            else ", ".join(flat[at : at + row])
        )
    size = "".join(f"[{d}]" for d in a.shape)
    return f"static const {kind} {name}{size} = {{" + ",\n".join(lines) + "};\n"


BYTES = {"float": 4, "double": 8, "signed char": 1, "unsigned char": 1}


def export_c(
    model: Model, graph: TaskGraph, path: Path, limit: int | None = LIMIT
) -> dict[str, int]:
    """One C99 file that decides as `verification.decide` does -> {"constants": bytes, "working": bytes}.

    Raises ValueError if its constants take more than `limit` bytes.
    """
    n, depth, verifies = graph.n, len(model.weights), model.hypotheses > 1
    tables = [("double", "MEAN", model.mean), ("double", "INVERSE", 1 / model.deviation)]
    tables += [("double", "LOW", model.low), ("double", "HIGH", model.high)]
    for layer, (w, b) in enumerate(zip(model.weights, model.biases)):
        tables += [("float", f"W{layer}", _padded(w)), ("float", f"B{layer}", _padded(b))]
    if verifies:
        tables += [
            ("unsigned char", "FIRST", graph.first),
            ("unsigned char", "SOURCE", graph.source),
        ]
        tables += [("signed char", "MOVES", moves(graph))]
    constants = sum(BYTES[kind] * np.size(values) for kind, _, values in tables)
    if limit is not None and constants > limit:
        raise ValueError(
            f"constants: {constants} bytes, expected at most {limit}; model {model.role!r} is too large"
        )
    widest = max(_padded(b).shape[1] for b in model.biases) + 8
    widest = max(widest, graph.n_features + 8)
    edges = len(graph.edges)
    working = (
        4 * (4 * widest + 8)
        + model.hypotheses * n
        + (8 * (20 * (n + 2) + 7 * edges + 7) + n + 2) * verifies
    )
    lines = []
    for layer in range(depth):
        width, last = _padded(model.biases[layer]).shape[1], layer == depth - 1
        if last and layer > 0:
            lines += ["for (int k = 0; k < KD_K; k++) {"]
            lines += [
                f"m = relu(z, B{layer - 1}[{'k' if verifies else 0}], {model.weights[layer].shape[0]}, active, value);"
            ]
        elif last:
            lines += ["for (int k = 0; k < KD_K; k++) {"]
        elif layer > 0:
            lines += [
                f"m = relu(z, B{layer - 1}[0], {model.weights[layer].shape[0]}, active, value);"
            ]
        target = "out" if last else "z"
        begin = f"B{layer}[{'k' if verifies else 0}][o]" if last else "0.0f"
        lines += [
            f"for (int o = 0; o < {width}; o++) {target}[o] = {begin};",
            f"PRODUCT(W{layer}, {width}, {target})",
        ]
    lines += [
        "for (int i = 0; i < KD_N; i++) {",
        "const float u = out[3 * i], v = out[3 * i + 1], w = out[3 * i + 2];",
        "proposals[k][i] = u >= v ? (u >= w ? 0 : 2) : (v >= w ? 1 : 2);",
        "}",
        "}",
    ]
    if depth == 1:
        lines.insert(0, "(void)z;")
    head = f"#define KD_VERIFIES {int(verifies)}\n#define KD_CONSTANTS {constants}\n#define KD_WORKING {working}\n"
    fields = {
        "ROLE": model.role,
        "SCENARIO": model.scenario,
        "SEED": model.seed,
        "FORMAT": FORMAT,
        "N": n,
        "F": graph.n_features,
        "EDGES": edges,
        "K": model.hypotheses,
        "BUDGET": (default_evaluations(graph) - 1) * n,
        "MOVES": len(moves(graph)),
        "WIDEST": widest,
        "NAMES": ", ".join(f'"{f}"' for f in feature_names(graph)),
        "TABLES": head + "".join(_table(*t) for t in tables),
        "LAYERS": "\n".join(f"    {line}" for line in lines),
    }
    text = (Path(__file__).parent / "student.c.in").read_text()
    for key, value in fields.items():
        text = text.replace(f"@{key}@", str(value))
    with written_aside(path) as aside:
        aside.write_text(text)
    return {"constants": constants, "working": working}


def compile_c(path: Path, target: Path, flags=FAST) -> None:
    """The file's own command, by `cc`; ValueError with the compiler's words if that fails."""
    command = ["cc", "-std=c99", *flags, "-DKD_MAIN", str(path), "-lm", "-o", str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise ValueError("cc: no C compiler is on the PATH") from None
    if done.returncode:
        raise ValueError(f"cc: {path} does not compile: {done.stderr[:500]}")


def run_c(binary: Path, tasks: np.ndarray, mode: str = "") -> np.ndarray:
    """What the command says of tasks (S, F): placements (S, n); with mode "--time" or "--cold", nanoseconds (at most 4096,).

    Raises ValueError with the command's own words for a task that it refuses.
    """
    text = "\n".join(" ".join(float(v).hex() for v in task) for task in np.atleast_2d(tasks))
    done = subprocess.run(
        [str(binary), *([mode] if mode else [])], input=text, capture_output=True, text=True
    )
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return np.array(
        [line.split() for line in done.stdout.splitlines()], float if mode else np.int8
    ).squeeze(-1 if mode else ())


def device_times(run, names: tuple[str, ...] = SCENARIOS, rounds: int = 5) -> pd.DataFrame:
    """The table of time a decision in C and ONNX Runtime, batch 1, one thread, hot and cold.

    C is timed by the exported file's own command, in interleaved rounds, on the first test tasks; the teacher too, without
    the limit on constants. over_student: the median over that of `student` in the same runtime.
    Medians and p99 have intervals from order statistics. Without a C compiler on the
    PATH, ONNX Runtime alone.
    """
    from ..dataset import load
    from ..models import model_path
    from ..studies.quality import time_interleaved, timed

    rows, compiler = [], shutil.which("cc")
    for name in names:
        graph, tasks = (
            scenario(name).graph,
            load(run, name, "test").tasks[: min(1000, run.profile.timing_inputs)],
        )
        models = {
            role: open_model(model_path(run, role, name, run.profile.seeds[0]))
            for role in (*ROLES, "teacher")
        }
        with tempfile.TemporaryDirectory() as folder:
            where, spent, sizes = Path(folder), {}, {}
            for role, model in models.items():
                sizes[role] = export_c(model, graph, where / f"{role}.c", limit=None)
                if compiler:
                    compile_c(where / f"{role}.c", where / role)
                export_onnx(model, graph, where / f"{role}.onnx")
                quantise_onnx(where / f"{role}.onnx", where / f"{role}.int8.onnx")
            for mode in ("--time", "--cold") if compiler else ():
                part = tasks if mode == "--time" else tasks[: max(2, len(tasks) // 20)]
                found = {role: [] for role in models}
                for _ in range(rounds):
                    for role in models:
                        found[role].append(run_c(where / role, part, mode) / 1e3)
                spent |= {("c", role, mode): np.min(times, axis=0) for role, times in found.items()}
            sessions = {}
            for role, model in models.items():
                for runtime, end in (("onnxruntime", ""), ("onnxruntime_int8", ".int8")):
                    session = open_onnx(where / f"{role}{end}.onnx", graph)
                    sessions[runtime, role] = partial(_onnx_one, session, model, graph)
            times = time_interleaved(list(sessions.values()), list(tasks))
            spent |= {(*key, "--time"): t for key, t in zip(sessions, times)}
        for runtime in (*(["c"] if compiler else []), "onnxruntime", "onnxruntime_int8"):
            for role, model in models.items():
                hot = spent[runtime, role, "--time"]
                row = {"scenario": name, "policy": role, "runtime": runtime, "n_subtasks": graph.n}
                row |= timed(hot)
                row |= {"parameters": model.parameters, "macs": model.macs}
                row |= {f"{key}_bytes": value for key, value in sizes[role].items()}
                row["cold_us"] = (
                    np.median(spent[runtime, role, "--cold"]) if runtime == "c" else np.nan
                )
                row["over_student"] = np.median(hot) / np.median(
                    spent[runtime, "student", "--time"]
                )
                rows.append(row)
    return pd.DataFrame(rows)


def _onnx_one(session, model: Model, graph: TaskGraph, task) -> np.ndarray:
    x = session.run(None, {"task": task[None]})[0]
    return improve(graph, task, x, default_evaluations(graph))[0][0] if x.ndim == 3 else x[0]


def card(models: list[tuple[Model, TaskGraph, dict[str, int]]]) -> str:
    """The model card, in Markdown, from the models themselves and the reference run's table."""
    try:
        latency = pd.read_csv(ROOT / "figures" / "latency.csv").set_index(
            ["scenario", "policy", "seed"]
        )
    except OSError:
        latency = None
    rows = []
    for m, graph, size in models:
        key = (m.scenario, m.role, m.seed)
        known = latency is not None and key in latency.index
        regret = f"{100 * latency.loc[key].regret_mean:.2f} %" if known else "–"
        name = f"{m.role}_{m.scenario}"
        rows.append(
            f"| `{name}` | {graph.n} | {graph.n_features} | {m.hypotheses} | {m.parameters} | {m.macs} | {size['constants']} | {size['working']} | {regret} |"
        )
    units = dict(zip(STATE, UNITS))
    m, graph, _ = models[0]
    names = feature_names(graph)
    ranges = [
        f"| `{'w_i' if f[0] == 'w' else 'd_i_j' if f[0] == 'd' else f}` | {'cycles' if f[0] == 'w' else 'bytes' if f[0] == 'd' else units[f]} | {np.exp(m.low[i]):.3g} | {np.exp(m.high[i]):.3g} |"
        for i, f in enumerate(names)
        if i in (0, graph.n) or f in units
    ]
    return "\n".join(
        [
            "# Trained students: model card",
            "",
            "Generated by `make export` from the trained networks of seed 0; MIT licence. Each decides, for one task graph, where",
            "every subtask runs: 0 = device, 1 = edge, 2 = cloud. `student` is the paper's recipe, `student_tuned` is fine-tuned on the",
            "delay model, `student_verified` proposes K placements of which the delay model picks and mends the best. Trained on random",
            "tasks of this artifact's ranges, labelled exactly; nobody's data. Not for another graph, and not for any use where a",
            "late result does harm: regret is a mean, and has a tail.",
            "",
            "| model | subtasks | inputs | K | parameters | multiply-adds | bytes of constants in C | bytes of working memory in C | mean test regret |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"Inputs are doubles in SI units, in this order (for `{m.scenario}`): {', '.join(f'`{f}`' for f in names)}. In the C file they are",
            "`kd_feature_names`, in the ONNX file the metadata's `features`. What counts as the training range:",
            "",
            "| input | unit | from | to |",
            "| --- | --- | --- | --- |",
            *ranges,
            "",
            "## C",
            "",
            "```c",
            "int kd_decide(const double *task, signed char *placement, int *feature);",
            "signed char placement[KD_N];  /* task: KD_F doubles */",
            "int bad_feature, error = kd_decide(task, placement, &bad_feature);",
            "```",
            "",
            "0 is success; 1 a value that is not finite, 2 one that is not positive: then nothing was touched but `bad_feature`.",
            "`kd_outside` tells whether a task lies outside the training range. As a command: `cc -O2 -ftree-vectorize -DKD_MAIN student_dag.c -lm -o student`,",
            "then `./student < tasks.txt`, a task a line; `--about`, `--time` and `--cold` say more.",
            "",
            "## ONNX Runtime",
            "",
            "```python",
            "import onnxruntime",
            "",
            'session = onnxruntime.InferenceSession("exports/student_tuned_dag.onnx")',
            'placement = session.run(None, {"task": tasks})[0]  # tasks float64 (S, F) -> int8 (S, n)',
            "```",
            "",
            "`student_verified` gives `proposals` (S, K, n): pass them to `kd_offload.verification.improve`.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="paper")
    parser.add_argument("--out", default="exports", help="folder, relative to the repository")
    args = parser.parse_args()
    try:
        run, done = get_run(args.profile), []
        for name in SCENARIOS:
            graph = scenario(name).graph
            for role in ROLES:
                model = open_model(run.models / f"{role}_{name}_{run.profile.seeds[0]}.npz")
                base = ROOT / args.out / f"{role}_{name}"
                export_onnx(model, graph, base.with_suffix(".onnx"))
                done.append((model, graph, export_c(model, graph, base.with_suffix(".c"))))
        with written_aside(ROOT / args.out / "README.md") as aside:
            aside.write_text(card(done))
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
