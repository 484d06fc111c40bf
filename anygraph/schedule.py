"""When each resource is held, and by what: the delay model in plain Python, for Gantt charts."""

from __future__ import annotations

from typing import NamedTuple

from kd_offload.delay import (
    BANDWIDTH,
    LINKS,
    N_STATE,
    PROPAGATION,
    ROUTES,
    SERIAL,
    check_placements,
)
from kd_offload.graphs import LOCATIONS, TaskGraph
from kd_offload.tasks import STATE, check_tasks


class Event(NamedTuple):
    """One reservation of a resource, for Gantt charts."""

    resource: str  # "device", "edge", "cloud" or a name in LINKS
    what: str  # a subtask's number, "i→j" for a transfer, or "result"
    start: float  # s
    end: float  # s


def schedule(graph: TaskGraph, task, placement) -> list[Event]:
    """What happens when, by the compiled kernel's rules in plain Python, for Gantt charts.

    For one task (F,) and placement (n,). Events are in the order in which resources are reserved;
    the last one is the result. Raises ValueError for a bad task or placement.
    """
    t, x = check_tasks(graph, task), check_placements(graph, placement)
    if t.ndim != 1 or x.ndim != 1:
        raise ValueError(f"schedule: {t.shape} tasks, {x.shape} placements, expected one of each")
    state = dict(zip(STATE, t[-N_STATE:]))
    location = [0, *map(int, x), 0]
    free_at: dict[str, float] = {}
    finish = [0.0] * (graph.n + 2)
    events = []
    for j in range(1, graph.n + 2):
        ready = 0.0
        for e in range(graph.first[j], graph.first[j + 1]):
            i = int(graph.source[e])
            arrival = finish[i]
            for link in ROUTES.get((location[i], location[j]), ()):
                name = LINKS[link]
                start = max(arrival, free_at.get(name, 0.0))
                free_at[name] = start + t[graph.n + e] / state[BANDWIDTH[link]]
                events.append(Event(name, f"{i}→{j}", start, free_at[name]))
                arrival = free_at[name] + state[PROPAGATION[link]]
            ready = max(ready, arrival)
        finish[j] = ready
        if j <= graph.n:
            name = LOCATIONS[location[j]]
            start = max(ready, free_at.get(name, 0.0)) if SERIAL[location[j]] else ready
            finish[j] = free_at[name] = start + t[j - 1] / state[f"f_{location[j]}"]
            events.append(Event(name, str(j), start, finish[j]))
    events.append(Event("device", "result", finish[-1], finish[-1]))
    return events
