"""A trained student as one file of C99 and its header, from `student.c.in` and `student.h.in`:
writing, compiling, running it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import jinja2
import numpy as np

from experiments.run import written_aside
from kd_offload.graphs import TaskGraph
from kd_offload.model import FORMAT, Model, check_graph
from kd_offload.tasks import feature_names

# -O3 unrolls the inner loops away from the vector unit: two to three times slower with gcc 12.
FAST = ("-O2", "-ftree-vectorize", "-ffp-contract=fast", "-march=native")
LIMIT = 64 * 1024  # bytes of constants of a C file
BYTES = {"float": 4, "double": 8}
MODES = {"hot": "--time", "cold": "--cold"}  # times of the file's own command
TEMPLATE, HEADER = map(
    jinja2.Environment(
        variable_start_string="@", variable_end_string="@", line_statement_prefix="//%",
        keep_trailing_newline=True, undefined=jinja2.StrictUndefined,
    ).from_string,
    ((Path(__file__).parent / f"student.{end}.in").read_text() for end in "ch"),
)  # fmt: skip


def export_c(
    model: Model, graph: TaskGraph, path: Path, limit: int | None = LIMIT
) -> dict[str, int]:
    """Write a C99 file that decides as `models.decide` does, and beside it its header, .h.

    Returns {"constants": bytes, "working": bytes of stack}. Raises ValueError for a model of
    another graph, one that does not choose among three locations, or constants of more than `limit`
    bytes.
    """
    check_graph(model, graph)
    if model.classes != 3:
        raise ValueError(f"classes: {model.classes}, expected a model of 3 locations")
    tables = _tables(model)
    constants = bytes_of(tables, model.role, limit)
    widths = [_rows(b).shape[1] for b in model.biases]
    widest = 8 + max(*widths, graph.n_features)
    working = 4 * (4 * widest + 8)
    prefix = re.sub(r"\W", "_", f"{model.role}_{model.scenario}")
    header = HEADER.render(prefix=prefix, n=graph.n, graph=graph)
    text = TEMPLATE.render(
        model=model, graph=graph, format=FORMAT, names=feature_names(graph), widest=widest,
        constants=constants, working=working, last=len(widths) - 1, widths=widths,
        tables=[table(*t) for t in tables], prefix=prefix, header=header, n=graph.n,
    )  # fmt: skip
    write(path, text, header)
    return {"constants": constants, "working": working}


def bytes_of(tables: list[tuple], role: str, limit: int | None, more: int = 0) -> int:
    """Bytes of constants (type in C, name, values) and `more`; ValueError above the limit."""
    size = more + sum(BYTES[kind] * np.size(values) for kind, _, values in tables)
    if limit is not None and size > limit:
        expected = f"expected at most {limit}; model {role!r} is too large"
        raise ValueError(f"constants: {size} bytes, {expected}")
    return size


def write(path: Path, text: str, header: str) -> None:
    """Write a C file and its header."""
    for file, content in ((path, text), (path.with_suffix(".h"), header)):
        with written_aside(file) as aside:
            aside.write_text(content)


def _rows(a: np.ndarray) -> np.ndarray:
    """A matrix whose rows are filled up with zeros to a multiple of eight."""
    a = np.atleast_2d(a)
    return np.pad(a, ((0, 0), (0, -a.shape[1] % 8)))


def _tables(model: Model) -> list[tuple[str, str, np.ndarray]]:
    """The file's constants: (type in C, name, values)."""
    tables = [("double", "MEAN", model.mean), ("double", "INVERSE", 1 / model.deviation)]
    tables += [("double", "LOW", model.low), ("double", "HIGH", model.high)]
    for layer, (w, b) in enumerate(zip(model.weights, model.biases)):
        tables += [("float", f"W{layer}", _rows(w)), ("float", f"B{layer}", _rows(b))]
    return tables


def table(kind: str, name: str, values) -> str:
    """A constant's definition in C: its type, name and values."""
    size = "".join(f"[{d}]" for d in np.shape(values))
    return f"static const {kind} {name}{size} = {braces(kind, values)};\n"


def braces(kind: str, values, between: str = ",\n") -> str:
    """A vector or matrix as C writes it; numbers in C99's hexadecimal notation are exact."""
    if np.ndim(values) == 2:
        return "{" + between.join(braces(kind, row) for row in values) + "}"
    end = {"float": "f", "double": ""}.get(kind)
    numbers = (str(v) if end is None else float(v).hex() + end for v in values)
    return "{" + ", ".join(numbers) + "}"


def compile_c(path: Path, target: Path, flags=FAST) -> None:
    """The file's own command, by `cc`; ValueError with the compiler's words if that fails."""
    command = ["cc", "-std=c99", *flags, "-DKD_MAIN", str(path), "-lm", "-o", str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise ValueError("cc: no C compiler is on the PATH") from None
    if done.returncode:
        raise ValueError(f"cc: {path} does not compile: {done.stderr[:500]}")


def lines_of(tasks: np.ndarray) -> str:
    """Tasks (S, F) as a command reads them, a task a line; every number is exact."""
    return "".join(" ".join(map(repr, task)) + "\n" for task in np.atleast_2d(tasks).tolist())


def ask(binary: Path, text: str, mode: str = "") -> np.ndarray:
    """What a command says of its input: placements int8 (S, n).

    With mode "hot" or "cold": nanoseconds of each decision (S,). Raises ValueError with the
    command's own words for what it refuses.
    """
    command = [str(binary), *([MODES[mode]] if mode else [])]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    rows = [line.split() for line in done.stdout.splitlines()]
    return np.array(rows, float)[:, 0] if mode else np.array(rows, np.int8)


def run_c(binary: Path, tasks: np.ndarray, mode: str = "") -> np.ndarray:
    """See `ask`: what the command says of tasks (S, F) of its graph."""
    return ask(binary, lines_of(tasks), mode)
