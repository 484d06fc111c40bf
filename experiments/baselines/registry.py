"""Every policy of the comparison, in one table.

To add one without training, write a function and give it a record; all tables and figures have it:

    def mine(graph, tasks):  # tasks (S, F) in SI units -> labels (S, n)
        return np.where(tasks[:, -8:-7] > 2e9, 0, 1).repeat(graph.n, axis=1)

    Policy("mine", "heuristic", mine)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from experiments.run import Run
from anygraph.decision import decide, decider, loop
from anygraph.network import GraphNetwork, open_network
from anygraph.training import any_path, course, train_any
from kd_offload.delay import check_placements
from kd_offload.distill import RECIPES, TEACHER, train
from kd_offload.graphs import TaskGraph
from kd_offload.labels import solve
from kd_offload.model import (
    Model,
    check_graph,
    decide,
    logits,
    model_path,
    open_model,
    standardise,
    torch_module,
)
from experiments.scenarios import SHOWN, TRAINED
from kd_offload.tasks import check_tasks
from experiments.baselines import heuristics as h
from experiments.baselines.classifiers import train_classifier
from experiments.runtimes.compiled import decide_batch, decide_one, packed
from experiments.baselines.decisions import Decider, decisions, in_a_loop
from experiments.baselines.dqn import agent_loop, train_agent
from experiments.baselines.heft import heft
from experiments.baselines.lookahead import beam, lookahead, lookahead_mended
from experiments.baselines.split import split

STOPPED = 300  # nodes after which `exact_stopped` gives the best it has: some 10 to 20 µs
Place = Callable[[TaskGraph, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Policy:
    """What decides, and what it is to the comparison.

    kind: "fixed" (looks at nothing), "heuristic", "optimal", "learned" (a baseline that learns),
      "student" or "ours".
    place: (graph, tasks (S, F)) -> placements (S, n); by default by `decider`. None if trained.
    decider: graph -> (task (F,) -> placement (n,)), its fastest form, for timing.
    applies: whether it can decide for a graph.
    train: (run, its name, scenario, seed) -> path of what it saves, made unless current: a
      `models.Model` if `role`, else its decisions on the test tasks.
    scenarios: what it is trained for.
    """

    name: str
    kind: str
    place: Place | None = None
    decider: Callable[[TaskGraph], Callable[[np.ndarray], np.ndarray]] | None = None
    applies: Callable[[TaskGraph], bool] = lambda graph: True
    train: Callable[[Run, str, str, int], Path] | None = None
    role: bool = False
    scenarios: tuple[str, ...] = ()

    def __post_init__(self):
        if self.place is None and self.decider is not None:
            object.__setattr__(self, "place", partial(_each, self.decider))

    @property
    def decided(self) -> Callable[[Run, str, int], np.ndarray] | None:
        """(run, scenario, seed) -> its saved decisions int8 (S, n) on the test tasks, or None."""
        saves = self.train is not None and not self.role
        return partial(decisions, self.name, self.train) if saves else None


def _each(decider, graph: TaskGraph, tasks) -> np.ndarray:
    decide, x = decider(graph), np.empty((len(tasks), graph.n), np.int8)
    for task, row in zip(tasks, x):
        row[:] = decide(task)
    return x


def _imitate(run: Run, role: str, name: str, seed: int) -> Path:
    if RECIPES[role].distilled:
        train(run, TEACHER, name, [seed])
    return train(run, RECIPES[role], name, [seed])[0]


def _any(run: Run, role: str, name: str, seed: int) -> Path:
    return train_any(run, course(run), seed)


def _exact(graph: TaskGraph, tasks) -> np.ndarray:
    return solve(graph, tasks).placements


_RECORDS = (
    Policy("all_device", "fixed", decider=partial(h.everything, 0)),
    Policy("all_edge", "fixed", decider=partial(h.everything, 1)),
    Policy("all_cloud", "fixed", decider=partial(h.everything, 2)),
    Policy("random", "fixed", h.uniform_batch, h.uniform),
    Policy("greedy", "heuristic", decider=h.greedy),
    Policy("heft", "heuristic", decider=heft),
    Policy("best_single", "heuristic", decider=h.best_single),
    Policy("local_search_1", "heuristic", decider=partial(h.searched, 1)),
    Policy("local_search_3", "heuristic", decider=partial(h.searched, 3)),
    Policy("split", "heuristic", decider=split),
    Policy("lookahead", "heuristic", decider=lookahead),
    Policy("lookahead_mended", "heuristic", decider=lookahead_mended),
    Policy("lookahead_joins", "heuristic", decider=partial(beam, 1)),
    Policy("beam_8", "heuristic", decider=partial(beam, 8)),
    Policy("beam_64", "heuristic", decider=partial(beam, 64)),
    Policy("exact_stopped", "heuristic", decider=lambda g: h.searched_exactly(g, STOPPED)),
    Policy("chain_dp", "optimal", decider=h.chain_dp, applies=h.is_chain),
    Policy("exact", "optimal", _exact, h.searched_exactly),
    Policy("random_forest", "learned", train=train_classifier, scenarios=TRAINED),
    Policy("boosting", "learned", train=train_classifier, scenarios=TRAINED),
    Policy("dqn", "learned", train=train_agent, scenarios=SHOWN),
    Policy("linear", "learned", train=train_classifier, role=True, scenarios=TRAINED),
    Policy("teacher", "learned", train=_imitate, role=True, scenarios=TRAINED),
    Policy("student", "student", train=_imitate, role=True, scenarios=TRAINED),
    Policy("student_plain", "learned", train=_imitate, role=True, scenarios=TRAINED),
    Policy("anygraph", "ours", train=_any, role=True, scenarios=TRAINED),
)
POLICIES = {policy.name: policy for policy in _RECORDS}  # in the order of all tables
LEARNED = tuple(name for name, policy in POLICIES.items() if policy.role)
FIXED = tuple(name for name, policy in POLICIES.items() if policy.kind == "fixed")
OPTIMAL = tuple(name for name, policy in POLICIES.items() if policy.kind == "optimal")
ANY = "anygraph"  # one network for all scenarios
# Whom the others are compared with, and the prefix of the columns that do so.
OURS = {"student": "", "anygraph": "any_"}


def policies_for(graph: TaskGraph) -> list[str]:
    """Names of the policies without training that can decide for this graph."""
    return [name for name, p in POLICIES.items() if p.place is not None and p.applies(graph)]


def placements_of(name: str, graph: TaskGraph, tasks: np.ndarray, function: Place | None = None):
    """Placements (S, n) of a policy without training, or of `function`, for tasks (S, F).

    Raises ValueError for a bad task, an unknown policy, or placements of a wrong shape or value,
    naming the policy.
    """
    tasks = np.atleast_2d(check_tasks(graph, tasks))
    if function is None and name not in (able := policies_for(graph)):
        known = ", ".join(able)
        raise ValueError(f"policy: {name!r}, expected one of {known} for graph {graph.name!r}")
    x = np.asarray((function or POLICIES[name].place)(graph, tasks))
    if x.shape != (expected := (len(tasks), graph.n)):
        raise ValueError(f"policy {name!r}: returned shape {x.shape}, expected {expected}")
    try:
        return check_placements(graph, x)
    except ValueError as error:
        raise ValueError(f"policy {name!r}: {error}") from None


def seeds_of(run: Run, policy: str) -> tuple[int, ...]:
    """Seeds that a policy is trained with: fewer for DQN, which takes long, and for the one network
    that serves all scenarios."""
    p = run.profile
    return {ANY: p.any_seeds, "dqn": p.seeds[: p.dqn_seeds]}.get(policy, p.seeds)


def path_of(run: Run, role: str, name: str, seed: int) -> Path:
    """Where a run keeps a network: one a scenario, or one for all."""
    return any_path(run, seed) if role == ANY else model_path(run, role, name, seed)


def as_policy(model: Model | GraphNetwork) -> Place:
    """A trained network as a policy."""
    if isinstance(model, GraphNetwork):
        return lambda graph, tasks: decide(model, graph, tasks)[0]
    return lambda graph, tasks: decide(model, graph, tasks)


def open_trained(run: Run, role: str, name: str, seed: int) -> Model | GraphNetwork:
    """A network of a run; one that an open notebook lacks is trained first, at the lab's size.

    Raises ValueError for an unknown role and for a file that is missing or altered.
    """
    if role not in LEARNED:
        raise ValueError(f"role: {role!r}, expected one of {', '.join(LEARNED)}")
    path = run.found(path_of(run, role, name, seed))
    if run.lab and not path.exists():
        POLICIES[role].train(run, role, name, seed)
    return open_network(path) if role == ANY else open_model(path)


def compiled_deciders(graph: TaskGraph) -> list[Decider]:
    """The policies without training in their fastest form, for one task at a time."""
    able = [p for p in map(POLICIES.get, policies_for(graph)) if p.decider]
    runtimes = {"fixed": "numpy"}  # all others are compiled
    return [Decider(p.name, runtimes.get(p.kind, "numba"), p.decider(graph)) for p in able]


def size_of(model: Model | GraphNetwork, graph: TaskGraph) -> tuple[int, int, int]:
    """A network's parameters, multiply-adds of a decision, and bytes."""
    if isinstance(model, GraphNetwork):
        return model.parameters, model.macs(graph), 4 * model.parameters
    return model.parameters, model.macs, model.bytes


def model_deciders(model: Model | GraphNetwork, graph: TaskGraph) -> list[Decider]:
    """A network in the runtimes that it has, from the raw task to the placement.

    numba, numpy and torch; `anygraph`, whose decision is more than its network, numba alone.
    """
    size = size_of(model, graph)
    if isinstance(model, GraphNetwork):
        return [Decider(model.role, "numba", decider(model, graph), *size)]
    check_graph(model, graph)
    net, pack, x = torch_module(model), packed(model), np.empty(graph.n, np.int8)

    def by_numba(task):
        decide_one(*pack, task, x)
        return x

    @torch.inference_mode()
    def by_torch(task):
        return net(torch.from_numpy(standardise(model, task[None])))[0].argmax(-1).numpy()

    by_numpy = lambda task: logits(model, task[None])[0].argmax(-1)
    runtimes = {"numba": by_numba, "numpy": by_numpy, "torch": by_torch}
    return [Decider(model.role, runtime, f, *size) for runtime, f in runtimes.items()]


def loop_deciders(
    graph: TaskGraph, models: list[Model | GraphNetwork], agent=None
) -> list[Decider]:
    """Runtime "numba_loop": all that is compiled decides many tasks in a compiled loop, without the
    cost of a call from Python. The policies without training, networks, and, where it learns,
    DQN as `agent_loop`."""
    able = [(name, POLICIES[name].decider) for name in policies_for(graph)]
    made = [(name, make(graph)) for name, make in able if make and name not in FIXED]
    out = [Decider(name, "numba_loop", one.loop) for name, one in made]
    for model in models:
        size = size_of(model, graph)
        if isinstance(model, GraphNetwork):
            out.append(Decider(model.role, "numba_loop", loop(model, graph), *size))
        else:
            out.append(in_a_loop(model.role, decide_batch, packed(model), graph.n, size))
    learns = graph.name in POLICIES["dqn"].scenarios
    return [*out, agent_loop(graph, agent)] if learns else out
