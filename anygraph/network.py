"""The sweep network: K placements proposed for any task graph, in one pass forward and one back.

All inputs are in units of LB = time_to_result[0, 0], the task's delay if nothing ever waited, so the network
sees neither seconds nor bytes. With a(v) = min(max(v, 0), CAP), every vector of `width` entries:

    forward    f_j = a(G g + X x_j + P f_(j-1) + M mean_e a(U f_i + E y_e))    e = (i, j)
    backward   b_j = a(G'g + X'x_j + S f_j + P'b_(j+1) + M'mean_e a(U'b_m + E'y_e))    e = (j, m)
    logits     O a(A f_j + B b_j + h_k) + o_k    of subtask j, in hypothesis k

x_j are a node's inputs, y_e an edge's, g the task's (see `describe`). `mean` divides by the square
root of the number of edges. f_0 and b_(n+1), of source and sink, have neither x nor a neighbour.
The term in the node numbered before is there since resources serve in the order of numbers: what
waits for what is not in the edges alone. The way back is a forward sweep of the reversed graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_offload.data import written_aside
from kd_offload.graphs import TaskGraph

FORMAT, VERSION = "kd_offload sweep", 1
NODE, LINK, WHOLE = 15, 4, 12  # inputs of a node, of an edge and of the task, constants included
CAP = 10.0  # activations end here, so that long graphs cannot blow up
LEAST, MOST = -7.0, 3.0  # logarithms of times, in units of LB, are cut here
SOON = 0.1  # times over the best, in units of LB, that count half


def layout(width: int, hypotheses: int) -> dict[str, tuple[int, int]]:
    """Names and shapes of all parameters, in the order in which they lie in one flat vector."""
    square = (width, width)
    forward = {"G": (WHOLE, width), "X": (NODE, width), "P": square, "U": square, "M": square}
    forward["E"] = (LINK, width)
    back = {f"{name}'": shape for name, shape in forward.items()}
    head = {"S": square, "A": square, "B": square, "h": (hypotheses, width)}
    return forward | back | head | {"O": (width, 3), "o": (hypotheses, 3)}


def views(flat: np.ndarray, width: int, hypotheses: int) -> tuple[np.ndarray, ...]:
    """The parameters as arrays that share the memory of `flat`, in the order of `layout`."""
    at, out = 0, []
    for rows, columns in layout(width, hypotheses).values():
        out.append(flat[at : at + rows * columns].reshape(rows, columns))
        at += rows * columns
    return tuple(out)


@dataclass(frozen=True)
class GraphNetwork:
    """A trained network: `flat` (parameters,) float32, as `layout` has them."""

    role: str
    seed: int
    width: int
    hypotheses: int
    flat: np.ndarray

    def __post_init__(self):
        expected = sum(a * b for a, b in layout(self.width, self.hypotheses).values())
        if self.flat.shape != (expected,) or self.flat.dtype != np.float32:
            got = f"{self.flat.dtype} {self.flat.shape}"
            raise ValueError(f"flat: {got}, expected float32 ({expected},)")
        if not np.isfinite(self.flat).all():
            raise ValueError(f"flat: entry {np.argmin(np.isfinite(self.flat))} is not finite")

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return self.flat.size

    def macs(self, graph: TaskGraph) -> int:
        """Multiply-adds of one pass: K proposals for a task of `graph`, before any is run."""
        w, n, edges = self.width, graph.n, len(graph.edges)
        sweeps = 2 * (n * (NODE + 3 * w) + edges * LINK + WHOLE) * w
        return sweeps + 3 * n * w * w + 3 * n * w * self.hypotheses

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The parameters in the order of `layout`."""
        return views(self.flat, self.width, self.hypotheses)


def save_network(model: GraphNetwork, path: Path) -> None:
    """Write a model as .npz: format, version, width, hypotheses, seed, role and parameters.

    Raises ValueError for another suffix.
    """
    if Path(path).suffix != ".npz":
        raise ValueError(f"model: {path}, expected a name that ends in .npz")
    about = np.array([VERSION, model.width, model.hypotheses, model.seed], np.int64)
    with written_aside(path) as aside:
        np.savez(aside, format=FORMAT, about=about, role=model.role, flat=model.flat)


def open_network(path: Path) -> GraphNetwork:
    """The model of a file. Raises ValueError naming the file and what is wrong with it."""
    try:
        with np.load(path, allow_pickle=False) as f:
            kind, about, role, flat = (f[name] for name in ("format", "about", "role", "flat"))
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"model {path}: not a sweep network ({error})") from None
    if str(kind) != FORMAT or about.shape != (4,) or about[0] != VERSION:
        raise ValueError(f"model {path}: {kind} {about}, expected {FORMAT}, version {VERSION}")
    _, width, hypotheses, seed = map(int, about)
    if not (1 <= width <= 1024 and 1 <= hypotheses <= 1024):
        raise ValueError(
            f"model {path}: width {width}, hypotheses {hypotheses}, expected 1 to 1024"
        )
    try:
        return GraphNetwork(str(role), seed, width, hypotheses, flat)
    except ValueError as error:
        raise ValueError(f"model {path}: {error}") from None
