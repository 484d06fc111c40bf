"""One network for any task graph: proposals of a small graph network, improved by the delay model.

Our extension of the paper (see `kd_offload`), a library of its own.
"""

from anygraph.decision import EVALUATIONS, STATE_RANGES, Decision, decide
from anygraph.families import MAX_SUBTASKS
from anygraph.graph_files import GraphFile, Reading, read_graph
from anygraph.network import GraphNetwork, open_network, save_network
from anygraph.training import TrainingConfig

__all__ = [
    "EVALUATIONS",
    "MAX_SUBTASKS",
    "STATE_RANGES",
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
