"""The network for any task graph: K placements proposed in one pass forward and one backward.

All inputs are in units of LB = time_to_result[0, 0], the task's delay if nothing ever waited, so
the network sees neither seconds nor bytes. With a(v) = min(max(v, 0), CAP), every vector of `width`
entries:

    forward    f_j = a(G g + X x_j + P f_(j-1) + M mean_e a(U f_i + E y_e))    e = (i, j)
    backward   b_j = a(G'g + X'x_j + S f_j + P'b_(j+1) + M'mean_e a(U'b_m + E'y_e))    e = (j, m)
    logits     O a(A f_j + B b_j + h_k) + o_k    of subtask j, in hypothesis k

x_j are a node's inputs, y_e an edge's, g the task's (see `propose.describe`). `mean` divides by the
square root of the number of edges. f_0 and b_(n+1), of source and sink, have neither x nor a
neighbour. The term in the node numbered before is there since resources serve in the order of
numbers: what waits for what is not in the edges alone. The way back is a forward sweep of the
reversed graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_offload.data import written_aside
from kd_offload.graphs import TaskGraph

ROLE = "anygraph"  # what files, tables and figures call such a network
FORMAT, VERSION = "kd_offload sweep", 1
NODE_INPUTS, EDGE_INPUTS, TASK_INPUTS = 15, 4, 12  # constants included
CAP = 10.0  # activations end here, so that long graphs cannot blow up
LOG_LOW, LOG_HIGH = -7.0, 3.0  # logarithms of times, in units of LB, are cut here
HALF = 0.1  # a time over the best, in units of LB, that counts half
MAX_WIDTH = 1024  # of a file, and of hypotheses


def layout(width: int, hypotheses: int) -> dict[str, tuple[int, int]]:
    """Names and shapes of all parameters, in the order in which they lie in one flat vector."""
    square = (width, width)
    sweep = {
        "G": (TASK_INPUTS, width),
        "X": (NODE_INPUTS, width),
        "P": square,
        "U": square,
        "M": square,
        "E": (EDGE_INPUTS, width),
    }
    backward = {f"{name}'": shape for name, shape in sweep.items()}
    head = {
        "S": square,
        "A": square,
        "B": square,
        "h": (hypotheses, width),
        "O": (width, 3),
        "o": (hypotheses, 3),
    }
    return sweep | backward | head


def count_parameters(width: int, hypotheses: int) -> int:
    """Number of weights and biases of a network."""
    return sum(rows * columns for rows, columns in layout(width, hypotheses).values())


def views(flat: np.ndarray, width: int, hypotheses: int) -> dict[str, np.ndarray]:
    """The parameters by name, as arrays that share the memory of `flat`."""
    start = 0
    parts = {}
    for name, (rows, columns) in layout(width, hypotheses).items():
        parts[name] = flat[start : start + rows * columns].reshape(rows, columns)
        start += rows * columns
    return parts


@dataclass(frozen=True)
class GraphNetwork:
    """A trained network.

    Raises ValueError for parameters of another number or type, or that are not finite.
    """

    role: str
    """"anygraph"."""
    seed: int
    """Of its training."""
    width: int
    """Entries of every activation."""
    hypotheses: int
    """K, the placements that it proposes."""
    flat: np.ndarray
    """float32 (parameters,), in the order of `layout`."""

    def __post_init__(self):
        expected = count_parameters(self.width, self.hypotheses)
        if self.flat.shape != (expected,) or self.flat.dtype != np.float32:
            got = f"{self.flat.dtype} {self.flat.shape}"
            raise ValueError(f"flat: {got}, expected float32 ({expected},)")
        finite = np.isfinite(self.flat)
        if not finite.all():
            raise ValueError(f"flat: entry {np.argmin(finite)} is not finite")

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return self.flat.size

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters by name, as `layout` has them."""
        return views(self.flat, self.width, self.hypotheses)

    def macs(self, graph: TaskGraph) -> int:
        """Multiply-adds of one pass: K proposals for a task of `graph`, before any is run."""
        w, n, edges = self.width, graph.n, len(graph.edges)
        sweeps = 2 * (n * (NODE_INPUTS + 3 * w) + edges * EDGE_INPUTS + TASK_INPUTS) * w
        return sweeps + 3 * n * w * w + 3 * n * w * self.hypotheses


def save_network(model: GraphNetwork, path: Path) -> None:
    """Write a model as .npz.

    Parameters
    ----------
    model : GraphNetwork
    path : pathlib.Path
        Ends in .npz. The file holds `format` (text), `about` (version, width, hypotheses, seed) and
        `flat`, the parameters.

    Raises
    ------
    ValueError
        For another suffix.
    """
    if Path(path).suffix != ".npz":
        raise ValueError(f"model: {path}, expected a name that ends in .npz")
    header = np.array([VERSION, model.width, model.hypotheses, model.seed], np.int64)
    with written_aside(path) as aside:
        np.savez(aside, format=FORMAT, about=header, flat=model.flat)


def open_network(path: Path) -> GraphNetwork:
    """The model of a file.

    Parameters
    ----------
    path : pathlib.Path
        What `save_network` wrote.

    Returns
    -------
    GraphNetwork

    Raises
    ------
    ValueError
        Naming the file and what is wrong with it.
    """
    if not Path(path).exists():
        raise ValueError(f"model {path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as file:
            kind = str(file["format"])
            header = file["about"]
            flat = file["flat"]
    except (OSError, KeyError, ValueError, EOFError):
        raise ValueError(f"model {path}: not a network for any graph") from None
    if kind != FORMAT or header.shape != (4,) or header[0] != VERSION:
        raise ValueError(f"model {path}: {kind} {header}, expected {FORMAT}, version {VERSION}")
    _, width, hypotheses, seed = map(int, header)
    if not (1 <= width <= MAX_WIDTH and 1 <= hypotheses <= MAX_WIDTH):
        raise ValueError(
            f"model {path}: width {width}, hypotheses {hypotheses}, expected 1 to {MAX_WIDTH}"
        )
    try:
        return GraphNetwork(ROLE, seed, width, hypotheses, flat)
    except ValueError as error:
        raise ValueError(f"model {path}: {error}") from None
