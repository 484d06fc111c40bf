"""The sweep network in torch: the plainest form, which the compiled ones are held against."""

from __future__ import annotations

import numpy as np
import torch

from kd_offload.graphs import TaskGraph
from anygraph.propose import described, routes
from anygraph.network import CAP, layout


def torch_logits(flat: torch.Tensor, shape: tuple[int, int], graph: TaskGraph, tasks: np.ndarray):
    """Logits (S, K, n, 3) of tasks (S, F) in torch, with gradients to `flat`; shape: width,
    hypotheses.

    The plainest form of the network: what the compiled ones are held against.
    """
    sizes = [a * b for a, b in layout(*shape).values()]
    parts = [p.reshape(s) for p, s in zip(flat.split(sizes), layout(*shape).values())]
    a = dict(zip(layout(*shape), parts))
    nodes, links, whole = (torch.from_numpy(v).to(flat.dtype) for v in described(graph, tasks))
    route = routes(graph)

    def sweep(base, side, first, source, edge):
        states: list[torch.Tensor] = []
        for j in range(graph.n + 1):
            h = base[j]
            if j > 0:
                each = range(first[j], first[j + 1])
                sent = [states[source[e]] @ a["U" + side] for e in each]
                sent = [u + links[:, edge[e]] @ a["E" + side] for u, e in zip(sent, each)]
                total = sum(u.clamp(0, CAP) for u in sent) / len(sent) ** 0.5
                h = h + states[j - 1] @ a["P" + side] + total @ a["M" + side]
            states.append(h.clamp(0, CAP))
        return states

    inner = range(1, graph.n + 1)
    base = whole @ a["G"]
    base = [base] + [base + nodes[:, j] @ a["X"] for j in inner]
    f = sweep(base, "", route.first, route.source, np.arange(len(graph.edges)))
    base = whole @ a["G'"]
    base = [base] + [base + nodes[:, j] @ a["X'"] + f[j] @ a["S"] for j in reversed(inner)]
    b = sweep(base, "'", route.back_first, route.back_source, route.back_edge)
    z = torch.stack([f[j] @ a["A"] + b[graph.n + 1 - j] @ a["B"] for j in inner], 1)  # (S, n, W)
    v = (z[:, None] + a["h"][:, None]).clamp(0, CAP)  # (S, K, n, W)
    return v @ a["O"] + a["o"][:, None]
