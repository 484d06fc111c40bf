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

from ..artifact import Run
from ..beyond.delay_aware import train_tuned
from ..beyond.verification import decide, decide_one, default_evaluations, improve, packed
from ..delay import check_placements
from ..distill import RECIPES, TEACHER, train
from ..graphs import TaskGraph
from ..labels import Solver, solve
from ..models import Model, logits, model_path, open_model, standardise, torch_module
from ..scenarios import SHOWN, TRAINED
from ..tasks import check_tasks
from . import heuristics as h
from .classifiers import train_classifier
from .decisions import Decider, decisions
from .dqn import train_agent
from .heft import heft

Place = Callable[[TaskGraph, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Policy:
    """What decides, and what it is to the comparison.

    kind: "fixed" (looks at nothing), "heuristic", "optimal", "learned" (a rival that learns),
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
        train(run, TEACHER, name, seed)
    return train(run, RECIPES[role], name, seed)


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
    Policy("chain_dp", "optimal", decider=h.chain_dp, applies=h.is_chain),
    Policy("exact", "optimal", _exact, lambda graph: Solver(graph).solve_one),
    Policy("random_forest", "learned", train=train_classifier, scenarios=TRAINED),
    Policy("boosting", "learned", train=train_classifier, scenarios=TRAINED),
    Policy("dqn", "learned", train=train_agent, scenarios=SHOWN),
    Policy("linear", "learned", train=train_classifier, role=True, scenarios=TRAINED),
    Policy("teacher", "learned", train=_imitate, role=True, scenarios=TRAINED),
    Policy("student", "student", train=_imitate, role=True, scenarios=TRAINED),
    Policy("student_plain", "learned", train=_imitate, role=True, scenarios=TRAINED),
    Policy("student_tuned", "ours", train=train_tuned, role=True, scenarios=TRAINED),
    Policy("student_verified", "ours", train=train_tuned, role=True, scenarios=TRAINED),
)
POLICIES = {policy.name: policy for policy in _RECORDS}  # in the order of all tables
LEARNED = tuple(name for name, policy in POLICIES.items() if policy.role)
FIXED = tuple(name for name, policy in POLICIES.items() if policy.kind == "fixed")
OPTIMAL = tuple(name for name, policy in POLICIES.items() if policy.kind == "optimal")
# Whom the others are compared with, and the prefix of the columns that do so.
OURS = {"student": "", "student_verified": "verified_"}


def policies_for(graph: TaskGraph) -> list[str]:
    """Names of the policies without training that can decide for this graph."""
    return [name for name, p in POLICIES.items() if p.place is not None and p.applies(graph)]


def place(name: str, graph: TaskGraph, tasks: np.ndarray, function: Place | None = None):
    """Placements (S, n) of a policy without training, or of `function`, for tasks (S, F).

    Raises ValueError for a bad task, an unknown policy, or placements of a wrong shape or value,
    naming the policy.
    """
    tasks = check_tasks(graph, tasks)
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


def learned(model: Model) -> Place:
    """A trained network as a policy; with several hypotheses, its proposals are verified."""
    return lambda graph, tasks: decide(model, graph, tasks)


def opened(run: Run, role: str, name: str, seed: int) -> Model:
    """A network of a run; one that an open notebook lacks is trained first, at the lab's size.

    Raises ValueError for an unknown role and for a file that is missing or altered.
    """
    if role not in LEARNED:
        raise ValueError(f"role: {role!r}, expected one of {', '.join(LEARNED)}")
    path = run.found(model_path(run, role, name, seed))
    if run.lab and not path.exists():
        POLICIES[role].train(run, role, name, seed)
    return open_model(path)


def compiled_deciders(graph: TaskGraph) -> list[Decider]:
    """The policies without training in their fastest form, for one task at a time."""
    able = [p for p in map(POLICIES.get, policies_for(graph)) if p.decider]
    runtimes = {"fixed": "numpy"}  # all others are compiled
    return [Decider(p.name, runtimes.get(p.kind, "numba"), p.decider(graph)) for p in able]


def model_deciders(model: Model, graph: TaskGraph) -> list[Decider]:
    """A network in the runtimes numba, numpy and torch, from the raw task to the placement.

    Whatever proposes, verification is the same compiled code.
    """
    n, net, pack = graph.n, torch_module(model), packed(model, graph)
    x, evaluations = np.empty(n, np.int8), default_evaluations(graph)

    def chosen(proposals, task):
        if model.hypotheses == 1:
            return proposals
        return improve(graph, task, proposals[None], evaluations)[0][0]

    def by_numba(task):
        decide_one(*pack, task, x)
        return x

    def by_numpy(task):
        return chosen(logits(model, task[None])[0].argmax(-1), task)

    @torch.inference_mode()
    def by_torch(task):
        inputs = torch.from_numpy(standardise(model, task[None]))
        return chosen(net(inputs)[0].argmax(-1).numpy(), task)

    size = model.parameters, model.macs, model.bytes
    runtimes = {"numba": by_numba, "numpy": by_numpy, "torch": by_torch}
    return [Decider(model.role, runtime, f, *size) for runtime, f in runtimes.items()]
