"""Contests on graphs that no network was trained for: who decides, and what is best known.

Beside `anygraph` stand policies that compute, alone and with the same help as it has: `_proved`
says that a policy's placements are improved and then searched from, as `anygraph` does with its
own. So `beam_8_proved` is `anygraph` without its network, and `network_proved` is `anygraph`
without its beam.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import numpy as np

from anygraph import Decider, GraphNetwork
from experiments.baselines import ANY, POLICIES, open_trained, policies_for, seeds_of
from experiments.baselines.beam import beam
from experiments.baselines.local_search import descent
from experiments.baselines.search_orders import search_best_first, search_limited_discrepancy
from experiments.run import Run
from experiments.studies.latency import with_added
from kd_offload.delay import delay
from kd_offload.graphs import TaskGraph
from kd_offload.labels import TIE, search

EFFORTS = (1, 4, 16)  # of anygraph
WIDTHS = (8, 64, 512)  # of beams alone
PROVED_WIDTHS = {"lookahead": 0, "beam_8": 8, "beam_16": 16, "beam_64": 64}
PROVED_EFFORTS = (1, 4)  # of `beam_8_proved`
PLAIN = (
    "best_single",
    "split",
    "local_search_3",
    "lookahead",
    "lookahead_joins",
    "lookahead_mended",
)
ORDERS = (  # of the exact search, besides depth first, with the nodes at which it is stopped
    ("best_first", search_best_first, (3000,)),
    ("limited_discrepancy", search_limited_discrepancy, (3000, 300_000)),
)
LAST_EFFORT = 1000  # of the search for the best known: 3,000,000 nodes


class Who(NamedTuple):
    """A contestant."""

    policy: str
    seed: int | str = ""  # "" where nothing is trained


class Placed(NamedTuple):
    """What a contestant finds for S tasks."""

    placements: np.ndarray  # int8 (S, n)
    bounds: np.ndarray  # float64 (S,), s: lower bounds of the optimum, 0 where it has none


Contestant = Callable[[np.ndarray], Placed]  # of tasks (S, F)


class Played(NamedTuple):
    """What all contestants do on S tasks of one graph."""

    delays: dict[Who, np.ndarray]  # float64 (S,), s
    bounds: dict[Who, np.ndarray]  # float64 (S,), s
    best: Placed  # the best placements known, and the largest bounds
    best_delays: np.ndarray  # float64 (S,), s

    @property
    def regret(self) -> dict[Who, np.ndarray]:
        """Against the best known, float64 (S,)."""
        return {who: delays / self.best_delays - 1 for who, delays in self.delays.items()}

    @property
    def proven(self) -> np.ndarray:
        """Whether the best known is proven optimal, bool (S,)."""
        return self.best.bounds >= self.best_delays * (1 - TIE)

    def gaps(self, who: Who) -> np.ndarray:
        """By what share each delay may exceed the optimum, by the contestant's own bounds."""
        with np.errstate(divide="ignore"):
            return np.maximum(self.delays[who] / self.bounds[who] - 1, 0)


def named(name: str, effort: float) -> str:
    """A policy's name at an effort."""
    return name if effort == 1 else f"{name}_{effort:g}"


def networks(run: Run) -> dict[int, GraphNetwork]:
    """anygraph's network, by training seed."""
    return {seed: open_trained(run, ANY, "dag", seed) for seed in seeds_of(run, ANY)}


def contestants(
    graph: TaskGraph,
    trained: dict[int, GraphNetwork],
    plain: Iterable[str] = PLAIN,
    widths: Iterable[int] = WIDTHS,
    stops: Iterable[int] = (),
    efforts: Iterable[float] = EFFORTS,
) -> dict[Who, Contestant]:
    """All contestants for a graph.

    Parameters
    ----------
    graph : TaskGraph
    trained : dict of int to GraphNetwork
        anygraph's networks by seed.
    plain : iterable of str
        Registered policies. Those registered besides the artifact's own take part in any case, if
        they need no training.
    widths : iterable of int
        Of beams alone.
    stops : iterable of int
        Numbers of nodes at which the exact search is stopped.
    efforts : iterable of float
        Of anygraph.
    """
    able = {}
    for name in with_added(plain, policies_for(graph)):
        able[Who(name)] = _by_policy(name, graph)
    for width in widths:
        able[Who(f"beam_{width}")] = partial(_by_loop, beam(width, graph).loop)
    for nodes in stops:
        able[Who(f"exact_{nodes}")] = partial(_by_search, graph, nodes)
    for name, order, limits in ORDERS:
        for nodes in limits:
            able[Who(f"{name}_{nodes}")] = partial(_by_order, order, graph, nodes)
    for name, width in PROVED_WIDTHS.items():
        able[Who(f"{name}_proved")] = partial(_by_decider, Decider(None, graph, 1, width))
    for effort in PROVED_EFFORTS[1:]:
        name = named("beam_8_proved", effort)
        able[Who(name)] = partial(_by_decider, Decider(None, graph, effort))
    able[Who("local_search_3_proved")] = _mended_local_search(graph)
    for seed, model in trained.items():
        for effort in efforts:
            who = Who(named(ANY, effort), seed)
            able[who] = partial(_by_decider, Decider(model, graph, effort))
        alone = Decider(model, graph, 1, width=0)
        able[Who("network_proved", seed)] = partial(_by_decider, alone)
    return able


def _by_loop(loop: Callable, tasks: np.ndarray) -> Placed:
    return Placed(loop(tasks), np.zeros(len(tasks)))


def _by_policy(name: str, graph: TaskGraph) -> Contestant:
    """A registered policy, in its compiled loop if it has one."""
    policy = POLICIES[name]
    place = partial(policy.place, graph)
    if policy.decider is not None:
        place = getattr(policy.decider(graph), "loop", place)
    return partial(_by_loop, place)


def _by_search(graph: TaskGraph, nodes: int, tasks: np.ndarray) -> Placed:
    found = search(graph, tasks, nodes)
    return Placed(found.placements, found.bounds)


def _by_order(order: Callable, graph: TaskGraph, nodes: int, tasks: np.ndarray) -> Placed:
    found = order(graph, tasks, nodes)
    return Placed(found.placements, found.bounds)


def _by_decider(decider: Decider, tasks: np.ndarray) -> Placed:
    decision = decider.decide(tasks)
    return Placed(decision.placements, np.where(decision.proven, decision.delays, decision.bounds))


def _mended_local_search(graph: TaskGraph) -> Contestant:
    decider, place = Decider(None, graph, 1, width=0), descent(3, graph).loop

    def decide(tasks: np.ndarray) -> Placed:
        decision = decider.mend(tasks, place(tasks))
        return Placed(decision.placements, decision.bounds)

    return decide


def play(graph: TaskGraph, tasks: np.ndarray, able: dict[Who, Contestant]) -> Played:
    """All contestants on the same tasks (S, F); the best known is searched on from their best.

    The best known is proven optimal where it is at most the largest of all lower bounds.
    """
    delays, bounds, placed = {}, {}, {}
    for who, contestant in able.items():
        placed[who], bounds[who] = contestant(tasks)
        delays[who] = delay(graph, tasks, placed[who])
    best = np.argmin(list(delays.values()), axis=0)
    ways = list(placed.values())
    start = np.array([ways[b][s] for s, b in enumerate(best)])
    last = Decider(None, graph, LAST_EFFORT, width=0).mend(tasks, start)
    largest = np.max([last.bounds, *bounds.values()], axis=0)
    return Played(delays, bounds, Placed(last.placements, largest), last.delays)
