"""Decide for any task graph, from text: `python -m anygraph.command [MODEL] < tasks.txt`.

Does as the C file's command does, with its words. Input: a line `n E`; a line of the E edges `i j`,
sorted by j, then i (0 is the source, n + 1 the sink); then a task a line: n cycles, the edges'
bytes, f_0 f_1 f_2 B_up B_down B_wan tau_wireless tau_wan, in SI units. Output: a placement a line,
n labels 0 = device, 1 = edge, 2 = cloud. Bad input ends it with status 1, line and field named.
"""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from itertools import pairwise, zip_longest
from pathlib import Path

import numpy as np

from experiments.run import get_run
from anygraph.decision import decide
from anygraph.families import MOST
from anygraph.network import open_network
from anygraph.training import any_path
from kd_offload.graphs import TaskGraph
from kd_offload.tasks import feature_names
from anygraph.c import MAX_EDGES

Bounds = tuple[int, int]


def _number(word: str, bounds: Bounds | None) -> float:
    """A word's value: a whole number within bounds, or a finite, positive one; or ValueError."""
    if not re.fullmatch("[0-9]{1,9}" if bounds else "[0-9+.eE-]{1,40}", word):
        raise ValueError
    value = float(word)
    if not (bounds[0] <= value <= bounds[1] if bounds else 0 < value < np.inf):
        raise ValueError
    return value


def _fields(number: int, line: bytes, names: list[str], bounds: list[Bounds | None]) -> list:
    """A line's numbers, or ValueError naming the line and the field."""
    words, values = [re.sub(rb"[^!-~]", b"?", w).decode() for w in line.split()], []
    for name, word, between in zip_longest(names, words, bounds):
        where = f"line {number}: {name} "
        if word is None:
            raise ValueError(f"{where}is missing, expected {len(names)} numbers")
        if name is None:
            where = f"line {number}: '{word[:40]}' after {names[-1]}"
            raise ValueError(f"{where}, expected {len(names)} numbers")
        try:
            values.append(_number(word, between))
        except ValueError:
            kind = "a whole number from {} to {}".format(*between) if between else ""
            expected = f"expected {kind or 'a finite, positive number'}"
            raise ValueError(f"{where}= '{word[:40]}', {expected}") from None
    return values


def read_graph(lines: list[bytes]) -> TaskGraph:
    """The graph of the first two lines. Raises ValueError naming the line and what is wrong."""
    head, body = (*lines, b"", b"")[:2]
    n, count = map(int, _fields(1, head, ["n", "E"], [(1, MOST), (1, MAX_EDGES)]))
    names = [f"edge {i // 2 + 1}" for i in range(2 * count)]
    flat = list(map(int, _fields(2, body, names, [(0, n + 1)] * len(names))))
    edges = tuple(zip(flat[::2], flat[1::2]))
    if bad := [f for e, f in pairwise(edges) if e[::-1] > f[::-1]]:
        raise ValueError(f"line 2: edge {bad[0]} is not in order; sort edges by j, then i")
    if bad := [e for e in edges if e[0] >= e[1]]:  # a cycle has one, too
        raise ValueError(f"line 2: edge {bad[0]} is out of order; number subtasks topologically")
    try:
        return TaskGraph("input", n, edges)
    except ValueError as error:
        raise ValueError(f"line 2: {str(error).partition(': ')[2]}") from None


def decide_text(model, lines: list[bytes]) -> int:
    """Print the placements of all tasks up to the first bad line; the exit status."""
    tasks, status = [], 0
    try:
        graph = read_graph(lines)
        names = feature_names(graph)
        for number, line in enumerate(lines[2:] or [b""], 3):
            tasks.append(_fields(number, line, names, [None] * len(names)))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 1
    if tasks:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            placements = decide(model, graph, np.array(tasks))[0]
        for x in placements:
            print(*x)
        for warning in told:
            print(f"warning: {warning.message}", file=sys.stderr)
    return status


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="by default the repository's")
    try:
        model = open_network(parser.parse_args().model or any_path(get_run("paper"), 0))
    except ValueError as error:
        sys.exit(f"error: {error}")
    sys.exit(decide_text(model, sys.stdin.buffer.readlines()))


if __name__ == "__main__":
    main()
