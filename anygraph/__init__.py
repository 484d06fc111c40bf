"""One network for any task graph: proposals of a small graph network, improved by the delay model.

Our extension of the paper (see `kd_offload`), a library of its own.
"""

import anygraph.compiled  # noqa: F401  before anything is compiled
from anygraph.decision import STATE_RANGES, Decider, Decision, decide
from anygraph.families import MAX_SUBTASKS
from anygraph.graph_files import GraphFile, Reading, read_graph
from anygraph.network import GraphNetwork, open_network, save_network
from anygraph.training import TrainingConfig

__all__ = [
    "MAX_SUBTASKS",
    "STATE_RANGES",
    "Decider",
    "Decision",
    "GraphFile",
    "GraphNetwork",
    "Planned",
    "Planner",
    "Reading",
    "State",
    "TrainingConfig",
    "decide",
    "open_network",
    "plan",
    "read_graph",
    "save_network",
]


def __getattr__(name: str):
    """Plans, imported when first asked for: they bring the readers of models."""
    if name in ("Planned", "Planner", "State", "plan"):
        from anygraph import planning

        return getattr(planning, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
