"""One network for any task graph: proposals of a small graph network, improved by the delay model.

Our extension of the paper (see `kd_offload`), a library of its own.
"""

from anygraph.decision import EVALUATIONS, Decision, decide
from anygraph.network import GraphNetwork, open_network, save_network

__all__ = ["EVALUATIONS", "Decision", "GraphNetwork", "decide", "open_network", "save_network"]
