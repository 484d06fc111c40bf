"""Baselines that cut the task once: what practitioners do with neural networks.

- `split`: the first subtasks on the device, the next at the edge, the rest in the cloud, and the
  result comes back. All (n + 1)(n + 2) / 2 cuts of the topological order are weighed by the delay
  model. The idea is Neurosurgeon's (Kang et al., "Neurosurgeon: collaborative intelligence between
  the cloud and mobile edge", ASPLOS 2017), there with two places and a chain of layers.
- `min_cut`: the subtasks divided between the device and one server so that the sum of all execution
  and transfer times is least, a minimum cut. That is the idea of DADS (Hu et al., "Dynamic adaptive
  DNN surgery for inference acceleration on the edge", INFOCOM 2019, its case of light load). The
  server is the edge or the cloud, whichever gives the smaller delay.
"""

from __future__ import annotations

import networkx as nx
import numpy as np
from numba import njit

from kd_offload.delay import all_delays, transfer_time, new_times, schedule_node, prepare
from kd_offload.graphs import TaskGraph
from kd_offload.tasks import check_tasks
from experiments.baselines.heuristics import one_at_a_time

UNIT = 1e-12  # s


@njit(cache=True, error_model="numpy")
def _split(n, first, source, task, out, times, x, finish, free):
    """Scratch: times; x, finish (n + 2,); free (3, 8), when resources are free after the device's
    part, after the edge's, and now.

    A cut is left as soon as the finish of a subtask plus its time to go, the least from there if
    nothing ever waited, reaches the best delay known; so are all cuts with the same first subtasks.
    Of equal cuts the one with the fewest subtasks on the device, then at the edge, wins.
    """
    (run, hold, tau, time_to_result, _), (on_device, on_edge, now) = (
        times,
        (free[0], free[1], free[2]),
    )
    prepare(n, first, source, task, 0, 0, times)
    x[0], finish[0], on_device[:] = 0, 0.0, 0.0
    best, best_a, best_b = np.inf, 0, 0
    for a in range(n + 1):  # subtasks 1..a on the device
        if a > 0:
            x[a] = 0
            finish[a] = schedule_node(a, 0, first, source, times, x, finish, on_device)
            if finish[a] + time_to_result[a, 0] >= best:
                break
        on_edge[:] = on_device
        for b in range(a, n + 1):  # a + 1..b at the edge
            if b > a:
                x[b] = 1
                finish[b] = schedule_node(b, 1, first, source, times, x, finish, on_edge)
                if finish[b] + time_to_result[b, 1] >= best:
                    break
            now[:] = on_edge
            j = b + 1
            while j <= n:  # the rest in the cloud
                x[j] = 2
                finish[j] = schedule_node(j, 2, first, source, times, x, finish, now)
                if finish[j] + time_to_result[j, 2] >= best:
                    break
                j += 1
            if j > n:
                end = schedule_node(n + 1, 0, first, source, times, x, finish, now)
                if end < best:
                    best, best_a, best_b = end, a, b
    for j in range(n):
        out[j] = 0 if j < best_a else 1 if j < best_b else 2


@njit(cache=True)
def _split_loop(n, first, source, tasks, out, times, x, finish, free):
    for s in range(len(tasks)):
        _split(n, first, source, tasks[s], out[s], times, x, finish, free)


def split(graph: TaskGraph):
    """The best cut, for one task at a time, as in `heuristics`."""
    n, times = graph.n, tuple(new_times(graph.n, len(graph.edges)))
    scratch = np.empty(n + 2, np.uint8), np.empty(n + 2), np.empty((3, 8))
    return one_at_a_time(_split, _split_loop, graph, times, *scratch)


def _cut_network(graph: TaskGraph, task: np.ndarray, server: int) -> nx.DiGraph:
    """A flow network whose cut between "device" and "server" is the sum of all times, in UNIT.

    Subtask v costs its run time at the server (where arc device-v is cut) or on the device (arc
    v-server). An edge costs its transfer_time, up (arc i-j) or back (arc j-i). Source and sink are at
    home. Capacities are integers: with floats, networkx returns cuts that are far from minimal.
    """
    n, state, flow = graph.n, task[-8:], nx.DiGraph()

    def add(a, b, seconds):
        before = flow.get_edge_data(a, b, {"capacity": 0})["capacity"]
        flow.add_edge(a, b, capacity=before + round(seconds / UNIT))

    def node(v):
        return v if 1 <= v <= n else "device"

    for v in range(1, n + 1):
        add("device", v, task[v - 1] / state[server])
        add(v, "server", task[v - 1] / state[0])
    for e, (i, j) in enumerate(graph.edges):
        add(node(i), node(j), transfer_time(0, server, task[n + e], state))
        add(node(j), node(i), transfer_time(server, 0, task[n + e], state))
    return flow


def min_cut(graph: TaskGraph, tasks) -> np.ndarray:
    """Placements int8 (S, n) by minimum cuts for tasks (S, F) in SI units; some ms a task.

    Of the cut between device and edge and that between device and cloud, the one of smaller delay.
    Raises ValueError for a bad task.
    """
    t = np.atleast_2d(check_tasks(graph, tasks))
    out = np.zeros((len(t), graph.n), np.int8)
    for task, x in zip(t, out):
        cuts = np.zeros((2, graph.n), np.int8)
        for server, cut in zip((1, 2), cuts):
            _, (_, away) = nx.minimum_cut(_cut_network(graph, task, server), "device", "server")
            cut[[v - 1 for v in away if v != "server"]] = server
        x[:] = cuts[all_delays(graph, task, cuts)[0].argmin()]
    return out
