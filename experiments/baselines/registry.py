"""Every policy of the comparison, in one table.

To add one without training, write a function and register it; all tables and figures have it:

    def mine(graph, tasks):  # tasks (S, F) in SI units -> placements (S, n)
        fast = tasks[:, feature_names(graph).index("f_0")] > 2e9
        return np.where(fast, 0, 1)[:, None].repeat(graph.n, axis=1)

    register(Policy("mine", "heuristic", mine))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

import anygraph
from anygraph import GraphNetwork
from experiments.baselines.beam import beam
from experiments.baselines.best_single import best_single
from experiments.baselines.chain_dp import chain_dp, is_chain
from experiments.baselines.decisions import Decider, looped
from experiments.baselines.exact import exact, exact_batch
from experiments.baselines.fixed import everything, uniform, uniform_batch
from experiments.baselines.greedy import greedy
from experiments.baselines.heft import heft
from experiments.baselines.local_search import descent
from experiments.baselines.lookahead import lookahead, lookahead_mended
from experiments.baselines.split import split
from experiments.baselines.student_mended import Mended, student_mended
from experiments.run import Run
from experiments.runtimes.compiled import compile_network, decide_batch, decide_one
from experiments.scenarios import SHOWN, TRAINED
from kd_offload.delay import check_placements
from kd_offload.graphs import TaskGraph
from kd_offload.model import (
    Model,
    check_graph,
    decide,
    logits,
    open_model,
    standardise,
    torch_network,
)
from kd_offload.tasks import check_tasks

STOPPED = 300  # nodes after which `exact_stopped` gives the best it has: some 10 to 20 µs
ANY = "anygraph"  # one network for all scenarios
# Whom the others are compared with, and the prefix of the columns that do so.
OURS = {"student": "", "student_independent": "independent_", "anygraph": "any_"}

Network = Model | GraphNetwork | Mended
PlacementFunction = Callable[[TaskGraph, np.ndarray], np.ndarray]
OneTaskFunction = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Policy:
    """What decides, and what it is to the comparison."""

    name: str
    kind: str
    """"fixed" (looks at nothing), "heuristic", "optimal", "learned" (a baseline that learns),
    "student" or "ours"."""
    place: PlacementFunction | None = None
    """(graph, tasks (S, F)) -> placements (S, n); by default by `decider`. None if trained."""
    decider: Callable[[TaskGraph], OneTaskFunction] | None = None
    """graph -> (task (F,) -> placement (n,)), its fastest form, for timing. An attribute `loop` of
    what it returns, tasks (S, F) -> placements (S, n), is its compiled loop, if it has one."""
    applies: Callable[[TaskGraph], bool] = lambda graph: True
    """Whether it can decide for a graph."""
    saved: str = ""
    """What training saves: "network", or its "decisions" on the test tasks; "" if not trained."""
    network_of: str = ""
    """Whose network it decides with, if it has none of its own."""
    scenarios: tuple[str, ...] = ()
    """What it is trained for."""

    def __post_init__(self):
        if self.place is None and self.decider is not None:
            object.__setattr__(self, "place", partial(_one_by_one, self.decider))


def _one_by_one(decider, graph: TaskGraph, tasks: np.ndarray) -> np.ndarray:
    decide_one_task = decider(graph)
    placements = np.empty((len(tasks), graph.n), np.int8)
    for task, row in zip(tasks, placements):
        row[:] = decide_one_task(task)
    return placements


POLICIES: dict[str, Policy] = {}  # in the order of all tables


def register(policy: Policy) -> Policy:
    """Add a policy to all tables and figures; ValueError for a name that is taken."""
    if policy.name in POLICIES:
        raise ValueError(f"policy: {policy.name!r} is registered already")
    POLICIES[policy.name] = policy
    return policy


for _policy in (
    Policy("all_device", "fixed", decider=partial(everything, 0)),
    Policy("all_edge", "fixed", decider=partial(everything, 1)),
    Policy("all_cloud", "fixed", decider=partial(everything, 2)),
    Policy("random", "fixed", uniform_batch, uniform),
    Policy("greedy", "heuristic", decider=greedy),
    Policy("heft", "heuristic", decider=heft),
    Policy("best_single", "heuristic", decider=best_single),
    Policy("local_search_1", "heuristic", decider=partial(descent, 1)),
    Policy("local_search_3", "heuristic", decider=partial(descent, 3)),
    Policy("split", "heuristic", decider=split),
    Policy("lookahead", "heuristic", decider=lookahead),
    Policy("lookahead_mended", "heuristic", decider=lookahead_mended),
    Policy("lookahead_joins", "heuristic", decider=partial(beam, 1)),
    Policy("beam_8", "heuristic", decider=partial(beam, 8)),
    Policy("beam_64", "heuristic", decider=partial(beam, 64)),
    Policy("exact_stopped", "heuristic", decider=partial(exact, budget=STOPPED)),
    Policy("chain_dp", "optimal", decider=chain_dp, applies=is_chain),
    Policy("exact", "optimal", exact_batch, exact),
    Policy("random_forest", "learned", saved="decisions", scenarios=TRAINED),
    Policy("boosting", "learned", saved="decisions", scenarios=TRAINED),
    Policy("dqn", "learned", saved="decisions", scenarios=SHOWN),
    Policy("linear", "learned", saved="network", scenarios=TRAINED),
    Policy("teacher", "learned", saved="network", scenarios=TRAINED),
    Policy("student", "student", saved="network", scenarios=TRAINED),
    Policy("student_plain", "learned", saved="network", scenarios=TRAINED),
    Policy("student_costs", "learned", saved="network", scenarios=SHOWN),
    Policy("student_mended", "learned", saved="network", network_of="student", scenarios=TRAINED),
    Policy("teacher_independent", "learned", saved="network", scenarios=TRAINED),
    Policy("student_independent", "learned", saved="network", scenarios=TRAINED),
    Policy("anygraph", "ours", saved="network", scenarios=TRAINED),
):
    register(_policy)

LEARNED = tuple(name for name, policy in POLICIES.items() if policy.saved == "network")
FIXED = tuple(name for name, policy in POLICIES.items() if policy.kind == "fixed")
OPTIMAL = tuple(name for name, policy in POLICIES.items() if policy.kind == "optimal")


def policies_for(graph: TaskGraph) -> list[str]:
    """Names of the policies without training that can decide for this graph."""
    return [name for name, p in POLICIES.items() if p.place is not None and p.applies(graph)]


def placements_of(
    name: str, graph: TaskGraph, tasks, function: PlacementFunction | None = None
) -> np.ndarray:
    """What a policy without training, or `function`, decides.

    Parameters
    ----------
    name : str
    graph : TaskGraph
    tasks : array_like of float, shape (S, F), SI units
    function : callable, optional
        (graph, tasks) -> placements, in place of the registered one.

    Returns
    -------
    numpy.ndarray of int8, shape (S, n)

    Raises
    ------
    ValueError
        For a bad task, an unknown policy, or placements of a wrong shape or value, naming the
        policy.
    """
    tasks = np.atleast_2d(check_tasks(graph, tasks))
    able = policies_for(graph)
    if function is None and name not in able:
        known = ", ".join(able)
        raise ValueError(f"policy: {name!r}, expected one of {known} for graph {graph.name!r}")
    placements = np.asarray((function or POLICIES[name].place)(graph, tasks))
    expected = (len(tasks), graph.n)
    if placements.shape != expected:
        raise ValueError(f"policy {name!r}: returned shape {placements.shape}, expected {expected}")
    try:
        return check_placements(graph, placements)
    except ValueError as error:
        raise ValueError(f"policy {name!r}: {error}") from None


def seeds_of(run: Run, policy: str) -> tuple[int, ...]:
    """Seeds that a policy is trained with: fewer for DQN, which takes long, and for the one network
    that serves all scenarios; and those found, where a run trains nothing itself."""
    profile = run.profile
    fewer = {ANY: profile.any_seeds, "dqn": profile.seeds[: profile.dqn_seeds]}
    return (fewer | dict(profile.found)).get(policy, profile.seeds)


def learned_for(name: str) -> list[str]:
    """The policies that decide on a scenario with a network."""
    return [role for role in LEARNED if name in POLICIES[role].scenarios]


def network_path(run: Run, role: str, name: str, seed: int) -> Path:
    """Where the network that a policy decides with is saved."""
    return run.model_path(POLICIES[role].network_of or role, name, seed)


def as_policy(model: Network) -> PlacementFunction:
    """A trained network as a function (graph, tasks (S, F)) -> placements (S, n)."""
    if isinstance(model, GraphNetwork):
        return lambda graph, tasks: anygraph.decide(model, graph, tasks).placements
    if isinstance(model, Mended):
        return lambda graph, tasks: student_mended(model, graph).loop(tasks)
    return lambda graph, tasks: decide(model, graph, tasks)


def open_trained(run: Run, role: str, name: str, seed: int) -> Network:
    """A network of a run; ValueError for an unknown role, or a file missing or altered."""
    if role not in LEARNED:
        raise ValueError(f"role: {role!r}, expected one of {', '.join(LEARNED)}")
    path = network_path(run, role, name, seed)
    if role == ANY:
        return anygraph.open_network(path)
    model = open_model(path)
    return Mended(model) if role == "student_mended" else model


def size_of(model: Network, graph: TaskGraph) -> tuple[int, int, int]:
    """A network's parameters, multiply-adds of a decision, and bytes."""
    if isinstance(model, GraphNetwork):
        return model.parameters, model.macs(graph), 4 * model.parameters
    if isinstance(model, Mended):
        model = model.student
    return model.parameters, model.macs, model.bytes


def compiled_deciders(graph: TaskGraph) -> list[Decider]:
    """The policies without training in their fastest form, for one task at a time.

    Runtime "numba" of those that are compiled, "numpy" of the others.
    """
    deciders = []
    for name in policies_for(graph):
        policy = POLICIES[name]
        if policy.decider is not None:
            decide_one_task = policy.decider(graph)
            runtime = "numba" if hasattr(decide_one_task, "loop") else "numpy"
            deciders.append(Decider(name, runtime, decide_one_task))
    return deciders


def model_deciders(model: Network, graph: TaskGraph) -> list[Decider]:
    """A network in the runtimes that it has, from the raw task to the placement.

    numba, numpy and torch; where the decision is more than the network, numba alone.
    """
    size = size_of(model, graph)
    if isinstance(model, GraphNetwork):
        return [Decider(model.role, "numba", anygraph.Decider(model, graph).one, *size)]
    if isinstance(model, Mended):
        return [Decider(model.role, "numba", student_mended(model, graph), *size)]
    check_graph(model, graph)
    network, constants = torch_network(model), compile_network(model)
    placement = np.empty(graph.n, np.int8)

    def by_numba(task):
        decide_one(*constants, task, placement)
        return placement

    def by_numpy(task):
        return logits(model, task[None])[0].argmax(-1)

    @torch.inference_mode()
    def by_torch(task):
        inputs = torch.from_numpy(standardise(model.scaling, task[None]))
        return network(inputs)[0, 0].argmax(-1).numpy()

    runtimes = {"numba": by_numba, "numpy": by_numpy, "torch": by_torch}
    return [Decider(model.role, runtime, f, *size) for runtime, f in runtimes.items()]


def loop_deciders(graph: TaskGraph, models: list[Network]) -> list[Decider]:
    """Runtime "numba_loop": what is compiled decides many tasks in a compiled loop, without the
    cost of a call from Python."""
    deciders = []
    for decider in compiled_deciders(graph):
        if decider.runtime == "numba":
            deciders.append(Decider(decider.policy, "numba_loop", decider.decide.loop))
    for model in models:
        size = size_of(model, graph)
        if isinstance(model, GraphNetwork):
            loop = anygraph.Decider(model, graph).loop
            deciders.append(Decider(model.role, "numba_loop", loop, *size))
        elif isinstance(model, Mended):
            loop = student_mended(model, graph).loop
            deciders.append(Decider(model.role, "numba_loop", loop, *size))
        else:
            deciders.append(looped(model.role, decide_batch, compile_network(model), graph.n, size))
    return deciders
