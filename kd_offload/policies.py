"""Every policy of the comparison, behind one interface: (graph, tasks) -> placements.

A policy is a function of a graph and a batch of tasks (S, F) in SI units that returns labels (S, n).
To add one, decorate it; every table and figure then has it:

    @policy("mine")
    def mine(graph, tasks):
        return np.where(tasks[:, -8:-7] > 2e9, 0, 1).repeat(graph.n, axis=1)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .delay import all_delays, check_placements
from .graphs import TaskGraph
from .heft import heft_one, place_heft
from .heuristics import best_single_one, chain_dp_many, greedy_many, local_search, search_many
from .labels import Solver, solve
from .learning import Model, logits, standardise, torch_module
from .sampling import check_tasks
from .verification import decide, decide_one, default_evaluations, improve, packed

REGISTRY: dict[str, Callable[[TaskGraph, np.ndarray], np.ndarray]] = {}
_ONLY_FOR: dict[str, Callable[[TaskGraph], bool]] = {}
LOOKS_AT_NOTHING = ("all_device", "all_edge", "all_cloud", "random")
LEARNED = ("linear", "teacher", "student", "student_plain", "student_tuned", "student_verified")


def policy(name: str, only_for: Callable[[TaskGraph], bool] | None = None):
    """Register a function (graph, tasks (S, F)) -> placements (S, n) as policy `name`.

    only_for: which graphs it can decide for; all by default.
    """

    def register(function):
        REGISTRY[name] = function
        if only_for:
            _ONLY_FOR[name] = only_for
        return function

    return register


def policies_for(graph: TaskGraph) -> list[str]:
    """Names of the registered policies that can decide for this graph."""
    return [name for name in REGISTRY if name not in _ONLY_FOR or _ONLY_FOR[name](graph)]


@policy("all_device")
def all_device(graph, tasks):
    """Everything on the end device."""
    return np.zeros((len(tasks), graph.n), np.int8)


@policy("all_edge")
def all_edge(graph, tasks):
    """Everything on the edge server."""
    return np.full((len(tasks), graph.n), 1, np.int8)


@policy("all_cloud")
def all_cloud(graph, tasks):
    """Everything in the cloud."""
    return np.full((len(tasks), graph.n), 2, np.int8)


@policy("random")
def uniformly_random(graph, tasks):
    """Uniform labels, the same for the same batch length: the generator is fixed."""
    return np.random.default_rng(0).integers(0, 3, (len(tasks), graph.n), dtype=np.int8)


@policy("greedy")
def greedy(graph, tasks):
    """Earliest finish: each subtask in turn goes where it finishes first, given all before it."""
    out = np.empty((len(tasks), graph.n), np.int8)
    greedy_many(graph.n, graph.first, graph.source, tasks, out, np.empty(graph.n + 1), np.empty((4, 6)))
    return out


@policy("heft")
def heft(graph, tasks):
    """Heterogeneous earliest finish time, as published: by upward rank, into gaps, blind to busy links."""
    return place_heft(graph, tasks)


@policy("best_single")
def best_single(graph, tasks):
    """The best of all on the device, all at the edge, all in the cloud, by the delay model."""
    singles = np.arange(3, dtype=np.int8)[:, None].repeat(graph.n, axis=1)
    return singles[all_delays(graph, tasks, singles).argmin(axis=1)]


@policy("local_search_1")
def local_search_1(graph, tasks):
    """Each subtask in turn to its best location until none moves, from the best single location."""
    return local_search(graph, tasks, starts=1)[0]


@policy("local_search_3")
def local_search_3(graph, tasks):
    """The same from each of the three single locations; the best result."""
    return local_search(graph, tasks, starts=3)[0]


def is_chain(graph: TaskGraph) -> bool:
    """Whether the subtasks are in sequence: then nothing ever waits."""
    return graph.edges == tuple((i, i + 1) for i in range(graph.n + 1))


@policy("chain_dp", only_for=is_chain)
def chain_dp(graph, tasks):
    """On a chain, exact in O(n): the delay is a plain sum, so a dynamic programme from the end."""
    out = np.empty((len(tasks), graph.n), np.int8)
    chain_dp_many(graph.n, tasks, out, np.empty((graph.n + 1, 3)))
    return out


@policy("exact")
def exact(graph, tasks):
    """The label generator itself, run online."""
    return solve(graph, tasks).placements


def learned(model: Model):
    """A trained network as a policy; with several hypotheses, its proposals are verified."""
    return lambda graph, tasks: decide(model, graph, tasks)


def place(name: str, graph: TaskGraph, tasks: np.ndarray, function=None) -> np.ndarray:
    """Placements (S, n) of a registered policy (or of `function`) for tasks (S, F) in SI units.

    Raises ValueError for a bad task, an unknown policy, or placements of a wrong shape or value, naming the policy.
    """
    tasks = check_tasks(graph, tasks)
    if function is None and name not in policies_for(graph):
        raise ValueError(f"policy: {name!r}, expected one of {', '.join(policies_for(graph))} for graph {graph.name!r}")
    x = np.asarray((function or REGISTRY[name])(graph, tasks))
    if x.shape != (len(tasks), graph.n):
        raise ValueError(f"policy {name!r}: returned shape {x.shape}, expected {(len(tasks), graph.n)}")
    try:
        return check_placements(graph, x)
    except ValueError as error:
        raise ValueError(f"policy {name!r}: {error}") from None


class Decider(NamedTuple):
    """One policy in one runtime, for one task at a time: `decide(task (F,)) -> placement (n,)`."""

    policy: str
    runtime: str
    decide: Callable[[np.ndarray], np.ndarray]
    parameters: int = 0
    macs: int = 0
    bytes: int = 0


def model_deciders(model: Model, graph: TaskGraph) -> list[Decider]:
    """A network in the runtimes numba, numpy and torch, from the raw task vector to the placement.

    Whatever proposes, verification is the same compiled code.
    """
    import torch

    n, net, pack = graph.n, torch_module(model), packed(model, graph)
    x, evaluations = np.empty(n, np.int8), default_evaluations(graph)

    def chosen(proposals, task):
        return proposals if model.hypotheses == 1 else improve(graph, task, proposals[None], evaluations)[0][0]

    def by_numba(task):
        decide_one(*pack, task, x)
        return x

    def by_numpy(task):
        return chosen(logits(model, task[None])[0].argmax(-1), task)

    @torch.inference_mode()
    def by_torch(task):
        return chosen(net(torch.from_numpy(standardise(model, task[None])))[0].argmax(-1).numpy(), task)

    runtimes = {"numba": by_numba, "numpy": by_numpy, "torch": by_torch}
    return [Decider(model.role, r, f, model.parameters, model.macs, model.bytes) for r, f in runtimes.items()]


def compiled_deciders(graph: TaskGraph) -> list[Decider]:
    """The policies without training in their compiled form, for one task at a time, nothing allocated but results."""
    n, first, source = graph.n, graph.first, graph.source
    x, finish, free = np.empty(n, np.int8), np.empty(n + 1), np.empty((4, 6))
    togo, solver, rng = np.empty((n + 1, 3)), Solver(graph), np.random.default_rng(0)

    def single(task):
        best_single_one(n, first, source, task, x, finish, free[0])
        return x

    def earliest(task):
        greedy_many(n, first, source, task[None], x[None], finish, free)
        return x

    def programme(task):
        chain_dp_many(n, task[None], x[None], togo)
        return x

    def searching(starts):
        found, d, evaluations = np.empty((1, n), np.int8), np.empty(1), np.empty(1, np.int64)

        def search(task):
            search_many(n, first, source, task[None], starts, found, d, evaluations)
            return found[0]

        return search

    fixed = [
        Decider(name, "numpy", lambda task, k=k: np.full(n, k, np.int8)) for k, name in enumerate(LOOKS_AT_NOTHING[:3])
    ]
    functions = {
        "best_single": single,
        "greedy": earliest,
        "heft": heft_one(graph),
        "local_search_1": searching(1),
        "local_search_3": searching(3),
        "chain_dp": programme,
        "exact": solver.solve_one,
    }
    random = Decider("random", "numpy", lambda task: rng.integers(0, 3, n, dtype=np.int8))
    able = policies_for(graph)
    return [*fixed, random, *(Decider(name, "numba", f) for name, f in functions.items() if name in able)]
