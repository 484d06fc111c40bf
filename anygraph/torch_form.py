"""The network in torch: the plainest form, the oracle of the two fast ones."""

from __future__ import annotations

import numpy as np
import torch

from anygraph.network import CAP, layout
from anygraph.propose import Direction, described, routes
from kd_offload.graphs import TaskGraph

Weights = dict[str, torch.Tensor]


def torch_logits(
    flat: torch.Tensor, width: int, hypotheses: int, graph: TaskGraph, tasks: np.ndarray
) -> torch.Tensor:
    """Logits of tasks of one graph, with gradients to `flat`.

    Parameters
    ----------
    flat : torch.Tensor, shape (parameters,)
        In the order of `network.layout`.
    width, hypotheses : int
    graph : TaskGraph
    tasks : numpy.ndarray of float64, shape (S, F), SI units

    Returns
    -------
    torch.Tensor, shape (S, K, n, 3)
    """
    shapes = layout(width, hypotheses)
    parts = flat.split([rows * columns for rows, columns in shapes.values()])
    a = {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts)}
    nodes, edges, task = (torch.from_numpy(v).to(flat.dtype) for v in described(graph, tasks))
    route = routes(graph)
    subtasks = range(1, graph.n + 1)

    base = task @ a["G"]
    start = [base] + [base + nodes[:, j] @ a["X"] for j in subtasks]
    f = _sweep(start, a, "", route.forward, edges)

    base = task @ a["G'"]
    start = [base] + [base + nodes[:, j] @ a["X'"] + f[j] @ a["S"] for j in reversed(subtasks)]
    b = _sweep(start, a, "'", route.backward, edges)

    z = [f[j] @ a["A"] + b[graph.n + 1 - j] @ a["B"] for j in subtasks]
    hidden = torch.stack(z, dim=1)[:, None] + a["h"][:, None]  # (S, K, n, width)
    return hidden.clamp(0, CAP) @ a["O"] + a["o"][:, None]


def _sweep(
    start: list[torch.Tensor], a: Weights, side: str, direction: Direction, edges: torch.Tensor
) -> list[torch.Tensor]:
    """The activations (S, width) of every node; `start` has all terms without a neighbour."""
    states: list[torch.Tensor] = []
    for j, h in enumerate(start):
        if j > 0:
            fed_by = range(direction.first[j], direction.first[j + 1])
            messages = [
                states[direction.source[e]] @ a["U" + side]
                + edges[:, direction.edge[e]] @ a["E" + side]
                for e in fed_by
            ]
            total = sum(message.clamp(0, CAP) for message in messages) / len(messages) ** 0.5
            h = h + states[j - 1] @ a["P" + side] + total @ a["M" + side]
        states.append(h.clamp(0, CAP))
    return states
