"""Writing, compiling and asking the C files of exported networks, whatever the network is."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import jinja2
import numpy as np

from kd_offload.data import written_aside

# -O3 unrolls the inner loops away from the vector unit: two to three times slower with gcc 12.
FAST = ("-O2", "-ftree-vectorize", "-ffp-contract=fast", "-march=native")
LIMIT = 64 * 1024  # bytes of constants of a C file, as much as a small device has
MODES = {"hot": "--time", "cold": "--cold", "bounds": "-b"}  # of a command, and its options
BYTES = {"float": 4, "double": 8}
SUFFIX = {"float": "f", "double": ""}


class CSize(NamedTuple):
    """What a C file needs, in bytes."""

    constants: int
    working: int


class Constant(NamedTuple):
    """One constant of a C file."""

    kind: str  # its type in C
    name: str
    values: np.ndarray  # a vector or a matrix


def template(path: Path) -> jinja2.Template:
    """A C file with @expressions@, and control statements in lines that begin with //%."""
    environment = jinja2.Environment(
        variable_start_string="@",
        variable_end_string="@",
        line_statement_prefix="//%",
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.from_string(path.read_text(encoding="utf-8"))


def definition(constant: Constant) -> str:
    """A constant's definition in C."""
    dimensions = "".join(f"[{size}]" for size in constant.values.shape)
    values = braces(constant.kind, constant.values)
    return f"static const {constant.kind} {constant.name}{dimensions} = {values};\n"


def braces(kind: str, values, between_rows: str = ",\n") -> str:
    """A vector or matrix as C writes it; floating-point numbers in hexadecimal, which is exact."""
    if np.ndim(values) == 2:
        return "{" + between_rows.join(braces(kind, row) for row in values) + "}"
    if kind in SUFFIX:
        numbers = [float(value).hex() + SUFFIX[kind] for value in values]
    else:
        numbers = [str(value) for value in values]
    return "{" + ", ".join(numbers) + "}"


def checked_size(constants: list[Constant], role: str, limit: int | None, more: int = 0) -> int:
    """Bytes of all constants and `more`; ValueError above the limit."""
    size = more + sum(BYTES[constant.kind] * np.size(constant.values) for constant in constants)
    if limit is not None and size > limit:
        raise ValueError(
            f"constants: {size} bytes, expected at most {limit}; model {role!r} is too large"
        )
    return size


def write_c(path: Path, source: str, header: str) -> None:
    """Write a C file and its header."""
    for file, text in ((path, source), (path.with_suffix(".h"), header)):
        with written_aside(file) as aside:
            aside.write_text(text, encoding="utf-8")


def compile_c(path: Path, target: Path, flags: tuple[str, ...] = FAST) -> None:
    """Compile a file's own command with `cc`; ValueError with its words if that fails."""
    command = ["cc", "-std=c99", *flags, "-DKD_MAIN", str(path), "-lm", "-o", str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    except FileNotFoundError:
        raise ValueError("cc: no C compiler is on the PATH") from None
    if done.returncode:
        raise ValueError(f"cc: {path} does not compile: {done.stderr[:500]}")


def task_lines(tasks: np.ndarray) -> str:
    """Tasks (S, F) as a command reads them, one per line; every number is exact."""
    return "".join(" ".join(map(repr, task)) + "\n" for task in np.atleast_2d(tasks).tolist())


def answers(binary: Path, text: str, mode: str = "") -> np.ndarray:
    """What a command answers to its input.

    Parameters
    ----------
    binary : Path
    text : str
        Its input.
    mode : {"", "hot", "cold", "bounds"}

    Returns
    -------
    numpy.ndarray
        Placements, int8 (S, n). In the modes hot and cold, the nanoseconds of each decision,
        float64 (S,); in the mode bounds, placements with delay and bound in s, float64 (S, n + 2).

    Raises
    ------
    ValueError
        With the command's own words for what it refuses.
    """
    command = [str(binary)]
    if mode:
        command.append(MODES[mode])
    done = subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise ValueError(done.stderr.strip())
    rows = [line.split() for line in done.stdout.splitlines()]
    if mode == "bounds":
        return np.array(rows, float)
    return np.array(rows, float)[:, 0] if mode else np.array(rows, np.int8)
