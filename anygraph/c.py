"""The network for any graph, with look-ahead, moves and delay model, as one C99 file: any.c.in."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anygraph.decision import EVALUATIONS, STATES, packed
from anygraph.families import MOST
from anygraph.network import CAP, LEAST, LINK, NODE, SOON, WHOLE, GraphNetwork, layout
from anygraph.network import MOST as GREATEST
from kd_offload.delay import ALWAYS_FREE, SECOND_HOP, FIRST_HOP
from kd_offload.graphs import TaskGraph, chain
from kd_offload.tasks import STATE
from experiments.runtimes.c import LIMIT, TEMPLATE, ask, braces, bytes_of, lines_of, table, write

MAX_EDGES = 1024  # more than any family draws for 128 subtasks
TEXT = (Path(__file__).parent / "any.c.in").read_text()


def export_any(model: GraphNetwork, path: Path, evaluations: int = EVALUATIONS) -> dict[str, int]:
    """Write a C99 file that decides for any graph as `decide` does, and beside it its header.

    Returns {"constants": bytes, "working": bytes of workspace}. Raises ValueError for too few
    evaluations, or a model whose constants take more than 64 KiB.
    """
    packed(model, chain(1), evaluations)  # refuses too few
    tables = _tables(model)
    constants = bytes_of(tables, model.role, LIMIT, 8 * 2 * 8 + 21)
    routes = {name: braces("unsigned char", np.where(links == ALWAYS_FREE, 4, links), ", ")
              for name, links in (("this", FIRST_HOP), ("that", SECOND_HOP))}  # fmt: skip
    text = TEMPLATE.environment.from_string(TEXT).render(
        model=model, most=MOST, edges=MAX_EDGES, width=_up(model.width, 8), node=_up(NODE, 4),
        lanes=_up(model.hypotheses, 8), whole=WHOLE, node_inputs=NODE, evaluations=evaluations,
        constants=constants, least=LEAST, greatest=GREATEST, soon=SOON, cap=CAP, quantities=STATE,
        states=braces("double", STATES), tables=[table(*t) for t in tables], **routes,
    )  # fmt: skip
    header = f'#define KD_HEADER\n#include "{path.name}"\n#undef KD_HEADER\n'
    write(path, text, header)
    return {"constants": constants, "working": _working(model)}


def _up(size: int, to: int) -> int:
    return -(-size // to) * to


def _tables(model: GraphNetwork) -> list[tuple[str, str, np.ndarray]]:
    """The network's constants, filled up with zeros so that all inner loops are whole vectors."""
    a = dict(zip(layout(model.width, model.hypotheses), model.arrays))
    arrays = {letter: a[letter] for letter in "SAB"}
    for prefix, side in (("", ""), ("BACK_", "'")):
        arrays |= {prefix + letter: a[letter + side] for letter in "GXPUME"}
    arrays |= {"HYPOTHESIS": a["h"].T, "LAST": a["O"], "LAST_BIAS": a["o"].T}
    w, k, tables = _up(model.width, 8), _up(model.hypotheses, 8), []
    shapes = {"HYPOTHESIS": (w, k), "LAST": (w, 3), "LAST_BIAS": (3, k)}
    shapes |= {"G": (WHOLE, w), "X": (_up(NODE, 4), w), "E": (LINK, w)}
    for name, a in arrays.items():
        rows, columns = shapes.get(name.removeprefix("BACK_"), (w, w))
        padding = (0, rows - a.shape[0]), (0, columns - a.shape[1])
        tables.append(("float", name, np.pad(a, padding)))
    return tables


def _working(model: GraphNetwork) -> int:
    """Bytes of kd_workspace_t."""
    nodes, width = MOST + 2, _up(model.width, 8)
    doubles = nodes * (3 * 3 + 2 + 2 * 8) + 5 + 5 * MAX_EDGES + 3 * 8
    floats = nodes * _up(NODE, 4) + LINK * MAX_EDGES + WHOLE + 3 * (MOST + 1) * width
    return _up(8 * doubles + 4 * floats + 2 * nodes + model.hypotheses * MOST, 8)


def text_of(graph: TaskGraph, tasks: np.ndarray) -> str:
    """A graph and its tasks (S, F) as the command reads them."""
    pairs = " ".join(f"{i} {j}" for i, j in graph.edges)
    return f"{graph.n} {len(graph.edges)}\n{pairs}\n{lines_of(tasks)}"


def run_any(binary: Path, graph: TaskGraph, tasks: np.ndarray, mode: str = "") -> np.ndarray:
    """See `c_file.ask`: what the command says of tasks (S, F) of any graph."""
    return ask(binary, text_of(graph, tasks), mode)
