"""Minimum cuts: the subtasks divided between the device and one server.

The sum of all execution and transfer times is least, which is a minimum cut. That is the idea of
DADS (Hu et al., "Dynamic adaptive DNN surgery for inference acceleration on the edge", INFOCOM
2019, its case of light load). The server is the edge or the cloud, whichever gives the smaller
delay. It takes milliseconds, so it is compared on public graphs only and is not in the registry.
"""

from __future__ import annotations

import networkx as nx
import numpy as np

from kd_offload.delay import N_STATE, delay, transfer_time
from kd_offload.graphs import TaskGraph
from kd_offload.tasks import check_tasks

UNIT = 1e-12  # s
DEVICE, SERVERS = 0, (1, 2)


def _cut_network(graph: TaskGraph, task: np.ndarray, server: int) -> nx.DiGraph:
    """A flow network whose cut between "device" and "server" is the sum of all times, in UNIT.

    Subtask v costs its execution at the server (where arc device-v is cut) or on the device (arc
    v-server). An edge costs its transfer, up (arc i-j) or back (arc j-i). Source and sink are on
    the device. Capacities are integers: with floats, networkx returns cuts that are far from
    minimal.
    """
    n, state = graph.n, task[-N_STATE:]
    flow = nx.DiGraph()

    def add(a, b, seconds):
        before = flow.get_edge_data(a, b, {"capacity": 0})["capacity"]
        flow.add_edge(a, b, capacity=before + round(seconds / UNIT))

    def node(v):
        return v if 1 <= v <= n else "device"

    for v in range(1, n + 1):
        add("device", v, task[v - 1] / state[server])
        add(v, "server", task[v - 1] / state[DEVICE])
    for e, (i, j) in enumerate(graph.edges):
        add(node(i), node(j), transfer_time(DEVICE, server, task[n + e], state))
        add(node(j), node(i), transfer_time(server, DEVICE, task[n + e], state))
    return flow


def min_cut(graph: TaskGraph, tasks) -> np.ndarray:
    """Placements by minimum cuts.

    Parameters
    ----------
    graph : TaskGraph
    tasks : array_like of float, shape (F,) or (S, F), SI units

    Returns
    -------
    numpy.ndarray of int8, shape (S, n)
        Of the cut between device and edge and that between device and cloud, the one of smaller
        delay.

    Raises
    ------
    ValueError
        For a bad task.
    """
    tasks = np.atleast_2d(check_tasks(graph, tasks))
    placements = np.empty((len(tasks), graph.n), np.int8)
    for task, placement in zip(tasks, placements):
        cuts = np.full((len(SERVERS), graph.n), DEVICE, np.int8)
        for server, cut in zip(SERVERS, cuts):
            flow = _cut_network(graph, task, server)
            _, (_, at_server) = nx.minimum_cut(flow, "device", "server")
            cut[[v - 1 for v in at_server if v != "server"]] = server
        placement[:] = cuts[delay(graph, task, cuts).argmin()]
    return placements
