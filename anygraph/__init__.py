"""One network for any task graph: proposals of a small graph network, improved by the delay model.

Our extension of the paper (see `kd_offload`), a library of its own.
"""

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
    "Reading",
    "TrainingConfig",
    "decide",
    "open_network",
    "read_graph",
    "save_network",
]
