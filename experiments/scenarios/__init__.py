"""The scenarios: what is compared, on which graphs and with which workloads.

A new scenario is one entry of SCENARIOS: its group and how to make its graph and workload. Networks
are trained for the groups "shown" and "networks"; "operators" are real networks unseen in training,
and "random" graphs show how cost grows with size.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from kd_offload import graphs
from kd_offload.graphs import TaskGraph
from experiments.scenarios import networks
from anygraph import operators


class Scenario(NamedTuple):
    """A graph, what it is shown with, and, for real networks, a fixed workload (n + edges,)."""

    graph: TaskGraph
    group: str
    workload: np.ndarray | None = None  # cycles, then bytes


SCENARIOS = {  # name, which is the graph's too: group, and what makes graph and workload
    "chain": ("shown", lambda: (graphs.chain(), None)),
    "dag": ("shown", lambda: (graphs.dag(), None)),
    "fusion": ("shown", lambda: (graphs.fusion(), None)),
    **{f"networks_{n}": ("networks", partial(networks.cut, n)) for n in networks.BUILDERS},
    **{f"operators_{n}": ("operators", partial(operators.cut, n)) for n in operators.FILES},
}
SHOWN = tuple(name for name, (group, _) in SCENARIOS.items() if group == "shown")
TRAINED = tuple(name for name, (group, _) in SCENARIOS.items() if group in ("shown", "networks"))
RANDOM = tuple(f"random_{n}" for n in (4, 8, 12, 16, 20, 24))


def scenario(name: str) -> Scenario:
    """The scenario called `name`: one of SCENARIOS, or random_<n>[_<index>].

    Raises ValueError for any other name, and for an entry whose graph has another.
    """
    if name in SCENARIOS:
        group, make = SCENARIOS[name]
        graph, workload = make()
        if graph.name != name:
            raise ValueError(f"scenario: {name!r}, but its graph is called {graph.name!r}")
        return Scenario(graph, group, workload)
    kind, _, rest = name.partition("_")
    parts = rest.split("_")
    if kind == "random" and len(parts) < 3 and all(p.isascii() and p.isdigit() for p in parts):
        return Scenario(graphs.random_graph(*map(int, parts)), "random")
    known = ", ".join([*SCENARIOS, "random_<n>", "random_<n>_<index>"])
    raise ValueError(f"scenario: {name!r}, expected one of {known}")
