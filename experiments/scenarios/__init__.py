"""The scenarios: what is compared, on which graphs and with which workloads.

A new scenario is one entry of SCENARIOS: its group and how to make its graph and workload. Networks
are trained for the groups "shown" and "networks"; "operators" are real networks unseen in training,
and "random" graphs show how cost grows with size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from experiments.scenarios import networks
from kd_offload.graphs import TaskGraph, chain, dag, fusion, random_graph


class Scenario(NamedTuple):
    """A graph, what it is shown with, and, for real networks, a fixed workload."""

    graph: TaskGraph
    group: str
    workload: np.ndarray | None = None  # float64 (n + edges,): cycles, then bytes


class Entry(NamedTuple):
    """How a scenario is made: its group, and a function that returns graph and workload."""

    group: str
    make: Callable[[], tuple[TaskGraph, np.ndarray | None]]


def _operators(name: str) -> tuple[TaskGraph, np.ndarray]:
    from anygraph import operators  # here, since reading ONNX files is all that needs it

    return operators.cut(name)


OPERATORS = (
    "alexnet",
    "zfnet",
    "vgg19",
    "squeezenet",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "shufflenet",
    "densenet121",
)
SCENARIOS = {
    "chain": Entry("shown", lambda: (chain(), None)),
    "dag": Entry("shown", lambda: (dag(), None)),
    "fusion": Entry("shown", lambda: (fusion(), None)),
    **{f"networks_{n}": Entry("networks", partial(networks.cut, n)) for n in networks.BUILDERS},
    **{f"operators_{n}": Entry("operators", partial(_operators, n)) for n in OPERATORS},
}
SHOWN = tuple(name for name, entry in SCENARIOS.items() if entry.group == "shown")
NETWORKS = tuple(name for name, entry in SCENARIOS.items() if entry.group == "networks")
TRAINED = SHOWN + NETWORKS
RANDOM = tuple(f"random_{n}" for n in (4, 8, 12, 16, 20, 24))


def scenario(name: str) -> Scenario:
    """The scenario of a name.

    Parameters
    ----------
    name : str
        One of SCENARIOS, or random_<n>[_<index>].

    Returns
    -------
    Scenario

    Raises
    ------
    ValueError
        For any other name, and for an entry whose graph has another.
    """
    if name in SCENARIOS:
        entry = SCENARIOS[name]
        graph, workload = entry.make()
        if graph.name != name:
            raise ValueError(f"scenario: {name!r}, but its graph is called {graph.name!r}")
        return Scenario(graph, entry.group, workload)
    kind, _, rest = name.partition("_")
    parts = rest.split("_")
    if kind == "random" and len(parts) < 3 and all(p.isascii() and p.isdigit() for p in parts):
        return Scenario(random_graph(*map(int, parts)), "random")
    known = ", ".join([*SCENARIOS, "random_<n>", "random_<n>_<index>"])
    raise ValueError(f"scenario: {name!r}, expected one of {known}")
