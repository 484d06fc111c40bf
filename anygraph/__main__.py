"""Decide for any task graph, from text: `python -m anygraph [--model FILE] [-b] < tasks.txt`.

Does as the C file's command does, in its words. Input: a line `n E`; a line of the E edges `i j`,
sorted by j, then i (0 is the source, n + 1 the sink); then one task per line: n cycles, the edges'
bytes, f_0 f_1 f_2 B_up B_down B_wan tau_wireless tau_wan, in SI units. Output: one placement per
line, n labels 0 = device, 1 = edge, 2 = cloud; with -b, its delay and its bound follow, in seconds.
Bad input ends it with status 1, line and field named.

`python -m anygraph plan FILE`, or `anygraph plan FILE`, reads a file instead (see `plan_command`).
"""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from threading import Timer
from typing import NamedTuple

import numpy as np

from anygraph.decision import Decider, Decision, decide, warn_outside
from anygraph.families import MAX_EDGES, MAX_SUBTASKS
from anygraph.network import GraphNetwork, open_network
from kd_offload.graphs import TaskGraph
from kd_offload.tasks import feature_names

MODEL = Path(__file__).resolve().parents[1] / "data" / "models" / "anygraph_0.npz"
FIRST_TASK = 3  # its line
PATIENCE = 2.0  # seconds before a first decision is explained
POSITIVE = ("f_0", "f_1", "f_2", "B_up", "B_down", "B_wan")


class Field(NamedTuple):
    """A number of a line."""

    name: str
    expected: str
    whole: bool
    low: float
    high: float


def whole(name: str, low: int, high: int) -> Field:
    """A whole number."""
    return Field(name, f"a whole number from {low} to {high}", True, low, high)


def quantity(name: str) -> Field:
    """A number of a task: of the state, only propagation delays may be zero."""
    if name in POSITIVE:
        return Field(name, "a finite number, positive", False, 5e-324, sys.float_info.max)
    return Field(name, "a finite number, not negative", False, 0.0, sys.float_info.max)


def parsed(word: str, field: Field) -> float | None:
    """A word's value, or None if it is none that the field takes."""
    if not re.fullmatch("[0-9]{1,9}" if field.whole else "[0-9+.eE-]{1,40}", word):
        return None
    try:
        value = float(word)
    except ValueError:
        return None
    return value if field.low <= value <= field.high else None


def read_line(number: int, line: bytes, fields: Sequence[Field]) -> list[float]:
    """A line's numbers. Raises ValueError naming the line and the field."""
    words = [re.sub(rb"[^!-~]", b"?", word).decode("ascii") for word in line.split()]
    values, count = [], f"expected {len(fields)} numbers"
    for field, word in zip(fields, words):
        value = parsed(word, field)
        if value is None:
            shown = f"{field.name} = '{word[:40]}'"
            raise ValueError(f"line {number}: {shown}, expected {field.expected}")
        values.append(value)
    if len(words) < len(fields):
        raise ValueError(f"line {number}: {fields[len(words)].name} is missing, {count}")
    if len(words) > len(fields):
        extra = words[len(fields)][:40]
        raise ValueError(f"line {number}: '{extra}' after {fields[-1].name}, {count}")
    return values


def read_graph_lines(lines: Sequence[bytes]) -> TaskGraph:
    """The graph of the first two lines. Raises ValueError naming the line and what is wrong."""
    head, body = [*lines, b"", b""][:2]
    sizes = read_line(1, head, [whole("n", 1, MAX_SUBTASKS), whole("E", 1, MAX_EDGES)])
    n, count = int(sizes[0]), int(sizes[1])
    fields = [whole(f"edge {i // 2 + 1}", 0, n + 1) for i in range(2 * count)]
    ends = [int(value) for value in read_line(2, body, fields)]
    edges = tuple(zip(ends[::2], ends[1::2]))
    for one, two in pairwise(edges):
        if one[::-1] > two[::-1]:
            raise ValueError(f"line 2: edge {two} is not in order; sort edges by j, then i")
    for i, j in edges:
        if i >= j:  # an edge of every cycle, too
            raise ValueError(
                f"line 2: edge {(i, j)} is out of order; number subtasks topologically"
            )
    try:
        return TaskGraph("input", n, edges)
    except ValueError as error:
        raise ValueError(f"line 2: {str(error).partition(': ')[2]}") from None


def decide_text(model: GraphNetwork, lines: Sequence[bytes], with_bounds: bool = False) -> int:
    """Print the placements of all tasks up to the first bad line; returns the exit status."""
    tasks, error = [], ""
    try:
        graph = read_graph_lines(lines)
        fields = [quantity(name) for name in feature_names(graph)]
        for number, line in enumerate(lines[FIRST_TASK - 1 :] or [b""], start=FIRST_TASK):
            tasks.append(read_line(number, line, fields))
    except ValueError as refusal:
        error = str(refusal)
    warning = ""
    if tasks:
        decision = Decider(model, graph).decide(np.array(tasks))
        infinite = np.flatnonzero(np.isinf(decision.delays))
        if len(infinite):
            error = f"line {FIRST_TASK + infinite[0]}: no finite delay was found"
            tasks = tasks[: infinite[0]]
        print_decision(decision, len(tasks), with_bounds)
        warning = outside(np.array(tasks))
    if error:
        print(f"error: {error}", file=sys.stderr)
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
    return int(bool(error))


def print_decision(decision: Decision, count: int, with_bounds: bool) -> None:
    """The first placements, one per line, and what is known of each."""
    for s in range(count):
        known = f" {decision.delays[s]:.9g} {decision.bounds[s]:.9g}" if with_bounds else ""
        print(*decision.placements[s], sep=" ", end=f"{known}\n")


def outside(tasks: np.ndarray) -> str:
    """The warning of tasks, if any, whose state leaves the training range."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if len(tasks):
            warn_outside(tasks)
    return str(caught[0].message) if caught else ""


def explain_wait() -> None:
    """Say why a first decision takes long."""
    print(
        "anygraph: compiling; the first decision on a machine takes about a minute, later ones "
        "start at once",
        file=sys.stderr,
        flush=True,
    )


def compile_first(model: GraphNetwork) -> None:
    """Compile what decides, or find it compiled, and say so if that takes long."""
    timer = Timer(PATIENCE, explain_wait)
    timer.daemon = True
    timer.start()
    graph = TaskGraph("first", 1, ((0, 1), (1, 2)))
    decide(model, graph, [[1e8, 1e5, 1e5, 1e9, 1e10, 1e11, 1e6, 1e6, 1e7, 0.01, 0.01]])
    timer.cancel()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["plan"]:
        from anygraph import plan_command  # imports readers of files that text needs not

        return plan_command.main(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="python -m anygraph",
        description=__doc__.splitlines()[0],
        epilog="For a model or a graph file: anygraph plan FILE; see anygraph plan --help.",
    )
    parser.add_argument("--model", type=Path, default=MODEL, help="a network's .npz file")
    parser.add_argument("-b", "--bounds", action="store_true", help="print delay and bound, too")
    options = parser.parse_args(arguments)
    path = options.model
    if not path.exists():
        print(
            f"error: model {path}: no such file. Models are in the repository's folder data/models "
            "(an installed package has none): name one with --model, or train your own by "
            "notebooks/training/09_any_graph.ipynb",
            file=sys.stderr,
        )
        return 1
    try:
        model = open_network(path)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    lines = sys.stdin.buffer.readlines()
    compile_first(model)
    return decide_text(model, lines, options.bounds)


if __name__ == "__main__":
    sys.exit(main())
