"""The decision for any graph, with all that it needs and its proof, as one C99 file: any.c.in."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from anygraph.c_text import (
    LIMIT,
    Constant,
    CSize,
    answers,
    braces,
    checked_size,
    definition,
    task_lines,
    template,
    write_c,
)
from anygraph.decision import (
    EVALUATIONS,
    FIRST_NODES,
    LAST_NODES,
    MOST_LIVE,
    REMEMBER_FROM,
    ROWS,
    STATE_RANGES,
    WIDTH,
)
from anygraph.families import MAX_EDGES, MAX_SUBTASKS
from anygraph.network import (
    CAP,
    EDGE_INPUTS,
    HALF,
    LOG_HIGH,
    LOG_LOW,
    NODE_INPUTS,
    TASK_INPUTS,
    GraphNetwork,
)
from kd_offload.delay import (
    ALWAYS_FREE,
    FIRST_HOP,
    N_LINKS,
    N_LOCATIONS,
    N_RESOURCES,
    N_STATE,
    PROCESSOR,
    SECOND_HOP,
)
from kd_offload.graphs import TaskGraph
from kd_offload.labels import OWN_PATH, ROUNDING, ROW, TIE
from kd_offload.tasks import STATE

TEMPLATE = Path(__file__).parent / "any.c.in"
OTHER_CONSTANTS = 8 * 2 * N_STATE + 2 * N_LOCATIONS**2 + N_LOCATIONS  # bytes: ranges, hops


def export_any(model: GraphNetwork, path: Path) -> CSize:
    """Write a C99 file that decides for any graph as `decide` does at effort 1, and its header.

    Parameters
    ----------
    model : GraphNetwork
    path : pathlib.Path
        Ends in .c.

    Returns
    -------
    CSize
        Bytes of constants, and of a workspace.

    Raises
    ------
    ValueError
        For a model whose constants take more than 64 KiB.
    """
    constants = _constants(model)
    size = CSize(
        constants=checked_size(constants, model.role, LIMIT, OTHER_CONSTANTS),
        working=_workspace_bytes(model),
    )
    text = template(TEMPLATE).render(
        model=model,
        max_subtasks=MAX_SUBTASKS,
        max_edges=MAX_EDGES,
        width=_rounded_up(model.width, 8),
        lanes=_rounded_up(model.hypotheses, 8),
        node=_rounded_up(NODE_INPUTS, 4),
        node_inputs=NODE_INPUTS,
        task_inputs=TASK_INPUTS,
        beam=WIDTH,
        first_nodes=FIRST_NODES,
        evaluations=EVALUATIONS,
        last_nodes=LAST_NODES,
        rows=ROWS,
        row=ROW,
        most_live=MOST_LIVE,
        remember_from=REMEMBER_FROM,
        own_path=OWN_PATH,
        constants=size.constants,
        log_low=LOG_LOW,
        log_high=LOG_HIGH,
        half=HALF,
        cap=CAP,
        rounding=ROUNDING,
        tie=TIE,
        always_free=N_LINKS,
        first_hop=_resources(FIRST_HOP),
        second_hop=_resources(SECOND_HOP),
        processor=_resources(PROCESSOR),
        quantities=STATE,
        ranges=braces("double", [STATE_RANGES[name] for name in STATE]),
        tables=[definition(constant) for constant in constants],
    )
    header = f'#define KD_HEADER\n#include "{path.name}"\n#undef KD_HEADER\n'
    write_c(path, text, header)
    return size


def _rounded_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _resources(resources: np.ndarray) -> str:
    """A table of resources in C, where ALWAYS_FREE follows the links: a row of holds is shorter."""
    moved = np.where(resources >= N_LINKS, resources + 1, resources)
    moved = np.where(resources == ALWAYS_FREE, N_LINKS, moved)
    return braces("unsigned char", moved, between_rows=", ")


def _constants(model: GraphNetwork) -> list[Constant]:
    """The network's constants, filled up with zeros so that all inner loops are whole vectors."""
    a = model.arrays
    width, lanes = _rounded_up(model.width, 8), _rounded_up(model.hypotheses, 8)
    square = (width, width)
    shapes = {name: square for name in "SABPUM"}
    shapes |= {"G": (TASK_INPUTS, width), "X": (_rounded_up(NODE_INPUTS, 4), width)}
    shapes |= {"E": (EDGE_INPUTS, width)}

    def padded(name: str, values: np.ndarray, shape: tuple[int, int]) -> Constant:
        rows, columns = values.shape
        padding = ((0, shape[0] - rows), (0, shape[1] - columns))
        return Constant("float", name, np.pad(values, padding))

    constants = [padded(name, a[name], shapes[name]) for name in "SAB"]
    constants += [padded(name, a[name], shapes[name]) for name in "GXPUME"]
    constants += [padded(f"BACK_{name}", a[f"{name}'"], shapes[name]) for name in "GXPUME"]
    constants += [
        padded("HYPOTHESIS", a["h"].T, (width, lanes)),
        padded("LAST", a["O"], (width, 3)),
    ]
    return [*constants, padded("LAST_BIAS", a["o"].T, (3, lanes))]


def _workspace_bytes(model: GraphNetwork) -> int:
    """Bytes of kd_workspace_t, whose fields this lists in their order."""
    nodes, width = MAX_SUBTASKS + 2, _rounded_up(model.width, 8)
    links, children = N_LINKS + 1, N_LOCATIONS * WIDTH
    vector = MOST_LIVE + ALWAYS_FREE

    prepared = nodes * 3 * N_LOCATIONS + links + links * MAX_EDGES
    placements = nodes * (2 + 2 * N_RESOURCES) + N_LOCATIONS * N_RESOURCES
    beam = 2 * WIDTH * nodes + 2 * children * N_RESOURCES + 2 * WIDTH + 4 * children
    search = nodes * N_LOCATIONS * (N_RESOURCES + 2)
    table = ROWS * ROW * vector + vector + ROWS * ROW  # vectors and keys
    doubles = prepared + placements + beam + search + table

    integers = ROWS + nodes * WIDTH
    floats = nodes * _rounded_up(NODE_INPUTS, 4) + EDGE_INPUTS * MAX_EDGES + TASK_INPUTS
    floats += 3 * (MAX_SUBTASKS + 1) * width
    labels = 2 * nodes + 2 * WIDTH * nodes + (N_LOCATIONS + 1) * nodes
    labels += (WIDTH + model.hypotheses) * MAX_SUBTASKS
    return _rounded_up(8 * doubles + 4 * (integers + floats) + labels, 8)


def text_of(graph: TaskGraph, tasks: np.ndarray) -> str:
    """A graph and its tasks (S, F) as the command reads them."""
    pairs = " ".join(f"{i} {j}" for i, j in graph.edges)
    return f"{graph.n} {len(graph.edges)}\n{pairs}\n{task_lines(tasks)}"


def run_any(binary: Path, graph: TaskGraph, tasks: np.ndarray, mode: str = "") -> np.ndarray:
    """What the command answers for tasks (S, F) of any graph; see `c_text.answers`."""
    return answers(binary, text_of(graph, tasks), mode)
