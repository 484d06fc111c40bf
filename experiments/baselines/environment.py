"""Offloading as a sequential decision problem: a Gymnasium environment.

An episode is one task. Step i places subtask i; after the last one the result's delay is known.
Nothing is discounted, so the return is minus the delay, as a share of the best single location's:
the best policy is the formulation's. The interface is Gymnasium's (Towers et al., "Gymnasium",
arXiv 2407.17032).

    import gymnasium
    from kd_offload.graphs import fusion

    name = "experiments.baselines.environment:kd_offload/Offloading-v0"
    env = gymnasium.make(name, graph=fusion())
"""

from __future__ import annotations

from typing import NamedTuple

import gymnasium
import numpy as np

from kd_offload.delay import (
    EVERYWHERE,
    N_LOCATIONS,
    N_RESOURCES,
    N_STATE,
    delay_many,
    new_times,
    prepare,
    schedule_node,
)
from kd_offload.graphs import TaskGraph, dag
from kd_offload.model import Scaling, standardise
from kd_offload.tasks import STATE, Ranges, check_tasks, real_array, sample_tasks

BLOCK = 256  # tasks drawn at a time
B_UP, B_DOWN = STATE.index("B_up") - N_STATE, STATE.index("B_down") - N_STATE  # from the end


def scaling_of(graph: TaskGraph, ranges: Ranges = Ranges(), workload=None) -> Scaling:
    """The scaling of the tasks that `sample_tasks` draws with the same arguments, in closed form.

    Parameters
    ----------
    graph : TaskGraph
    ranges : Ranges, optional
    workload : array_like of float, shape (n + edges,), optional

    Returns
    -------
    Scaling
        `low` and `high` are where the ranges end.

    Raises
    ------
    ValueError
        For a workload of another shape, or with an entry that is not finite and positive.
    """
    pairs = [ranges.cycles] * graph.n + [ranges.bytes] * len(graph.edges)
    for name in STATE:
        pairs.append(getattr(ranges, "down_over_up" if name == "B_down" else name))
    low, high = np.log(np.array(pairs)).T
    mean, variance = (low + high) / 2, (high - low) ** 2 / 12
    for moment in (mean, variance, low, high):  # B_down is drawn as a ratio to B_up
        moment[B_DOWN] += moment[B_UP]
    if workload is not None:
        load = real_array("workload", workload, [])
        expected = (len(mean) - N_STATE,)
        if load.shape != expected or not (np.isfinite(load) & (load > 0)).all():
            raise ValueError(
                f"workload: shape {load.shape}, least {load.min()}, expected {expected[0]} finite, "
                "positive numbers"
            )
        for moment in (mean, low, high):
            moment[:-N_STATE] = np.log(load)
        variance[:-N_STATE] = 0.0
    return Scaling(mean, np.where(variance > 0, np.sqrt(variance), 1.0), low, high)


class Episode(NamedTuple):
    """A task, ready to be played."""

    task: np.ndarray  # float64 (F,), SI units
    inputs: np.ndarray  # float32 (F,): standardised logarithms
    reference: float  # s: delay of the best single location


class OffloadingEnv(gymnasium.Env):
    """Place one task's subtasks, one per step.

    Observation, float32 (F + 4 n,): the task's standardised logarithms; the labels so far, one-hot,
    zeros for what is not placed; the subtask to place next, one-hot. Action: 0 = device, 1 = edge,
    2 = cloud. Reward, with every subtask: minus the increase of a lower bound of the delay, the
    subtask's finish plus its time to the result if nothing waited, over the delay of the best
    single location. The best policy is that for a reward at the end alone (Ng, Harada and Russell,
    "Policy invariance under reward transformations", ICML 1999).

    Parameters
    ----------
    graph : TaskGraph, optional
    ranges : Ranges, optional
    seed : int, optional
        Of the tasks, until `reset` is given one.
    workload : array_like of float, shape (n + edges,), optional
        Fixed cycles and bytes, as for `tasks.sample_tasks`.

    Raises
    ------
    ValueError
        For a graph that is none, and a bad workload.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (Gymnasium's interface)

    def __init__(
        self,
        graph: TaskGraph = dag(),
        ranges: Ranges = Ranges(),
        seed: int | None = None,
        workload=None,
    ):
        if not isinstance(graph, TaskGraph):
            raise ValueError(f"graph: {graph!r}, expected a TaskGraph")
        n, features = graph.n, graph.n_features
        self.graph, self.ranges, self.workload = graph, ranges, workload
        self._scaling = scaling_of(graph, ranges, workload)
        # A log-uniform value lies within sqrt(3) deviations, the product of two within sqrt(6); 10
        # leaves room for tasks of other ranges.
        one_hot = (N_LOCATIONS + 1) * n
        low = np.concatenate([np.full(features, -10), np.zeros(one_hot)]).astype(np.float32)
        high = np.concatenate([np.full(features, 10), np.ones(one_hot)]).astype(np.float32)
        self.observation_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
        self.action_space = gymnasium.spaces.Discrete(N_LOCATIONS)
        # Views of one observation: writing to them changes it.
        self._observation = np.zeros(features + one_hot, np.float32)
        self._inputs = self._observation[:features]
        self._placed = self._observation[features:-n].reshape(n, N_LOCATIONS)
        self._next = self._observation[-n:]
        self._times = new_times(n, len(graph.edges))
        self._placement = np.zeros(n + 2, np.uint8)
        self._finish = np.zeros(n + 2)
        self._free_at = np.zeros(N_RESOURCES)
        self._node = n + 1  # to place next: none
        self._episodes: list[Episode] = []  # drawn and not played
        if seed is not None:
            self._np_random, self._np_random_seed = gymnasium.utils.seeding.np_random(seed)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """Begin the next task, or options["task"] (F,) -> observation, {"task": its vector}.

        seed: from which tasks are drawn anew. Raises ValueError for a bad task.
        """
        super().reset(seed=seed)
        if seed is not None:
            self._episodes = []
        if options and "task" in options:
            task = check_tasks(self.graph, options["task"], positive=True)
            if task.ndim != 1:
                raise ValueError(f"task: shape {task.shape}, expected ({self.graph.n_features},)")
            (episode,) = self._prepared(task[None])
        else:
            if not self._episodes:
                tasks = sample_tasks(self.graph, BLOCK, self.np_random, self.ranges, self.workload)
                self._episodes = self._prepared(tasks)[::-1]
            episode = self._episodes.pop()
        self._begin(episode)
        return self._observation.copy(), {"task": episode.task.copy()}

    def _prepared(self, tasks: np.ndarray) -> list[Episode]:
        n, first, source = self.graph.n, self.graph.first, self.graph.source
        delays = np.empty((N_LOCATIONS, len(tasks)))
        for location in range(N_LOCATIONS):
            single = np.full((len(tasks), n), location, np.int8)
            delay_many(n, first, source, tasks, single, delays[location])
        inputs = standardise(self._scaling, tasks)
        return [Episode(*parts) for parts in zip(tasks, inputs, delays.min(axis=0))]

    def _begin(self, episode: Episode) -> None:
        graph = self.graph
        prepare(graph.n, graph.first, graph.source, episode.task, EVERYWHERE, self._times)
        self._finish[:] = 0.0
        self._free_at[:] = 0.0
        self._observation[:] = 0.0
        self._inputs[:] = episode.inputs
        self._next[0] = 1.0
        self._node = 1
        self._reference = episode.reference
        self._bound = 0.0  # of the delay, in s: what was charged so far

    def _place(self, node: int, location: int) -> float:
        """Put a node at a location, after the nodes before it; its finish in seconds."""
        self._placement[node] = location
        self._finish[node] = schedule_node(
            node,
            location,
            self.graph.first,
            self.graph.source,
            self._times,
            self._placement,
            self._finish,
            self._free_at,
        )
        return self._finish[node]

    def step(self, action):
        """Place the next subtask at location `action`.

        -> observation, reward, whether that was the last one, False (never truncated), info: at the
        end "delay_s" and "placement" int8 (n,). Raises ValueError for another action, or if every
        subtask is placed.
        """
        n, node = self.graph.n, self._node
        if node > n:
            raise ValueError("step: every subtask is placed; reset the environment")
        if action not in range(N_LOCATIONS):
            raise ValueError(f"action: {action!r}, expected 0 (device), 1 (edge) or 2 (cloud)")
        location, info = int(action), {}
        finish = self._place(node, location)
        self._placed[node - 1, location] = 1.0
        self._next[node - 1] = 0.0
        if node < n:
            self._next[node] = 1.0
            bound = max(self._bound, finish + self._times.time_to_result[node, location])
        else:
            bound = self._place(n + 1, 0)  # the result, on the device
            info = {"delay_s": bound, "placement": self._placement[1:-1].astype(np.int8)}
        reward = float((self._bound - bound) / self._reference)
        self._bound = bound
        self._node = node + 1
        return self._observation.copy(), reward, node == n, False, info


gymnasium.register("kd_offload/Offloading-v0", entry_point=OffloadingEnv)
