"""Offloading as a sequential decision problem: a Gymnasium environment.

An episode is one task. Step i places subtask i; after the last one the result's delay is known.
Nothing is discounted, so the return is minus the delay, as a share of the best single location's:
the best policy is the formulation's. The interface is Gymnasium's (Towers et al., "Gymnasium",
arXiv 2407.17032).

    make = gymnasium.make
    env = make("experiments.baselines.environment:kd_offload/Offloading-v0", graph=graphs.fusion())
"""

from __future__ import annotations

import gymnasium
import numpy as np

from kd_offload.delay import delay_table, new_times, schedule_node, prepare
from kd_offload.graphs import TaskGraph, dag
from kd_offload.tasks import STATE, Ranges, check_tasks, real_array, sample_tasks

BLOCK = 256  # tasks drawn at a time


def scaling_of(graph: TaskGraph, ranges: Ranges = Ranges(), workload=None) -> tuple:
    """`models.scaling` of the tasks that `sample_tasks` draws with the same arguments, in closed
    form; low and high, each (F,), are where the ranges end."""
    low_high = [ranges.cycles] * graph.n + [ranges.bytes] * len(graph.edges)
    state = ("down_over_up" if name == "B_down" else name for name in STATE)
    low, high = np.log(np.array(low_high + [getattr(ranges, name) for name in state])).T
    mean, variance = (low + high) / 2, (high - low) ** 2 / 12
    for moment in (mean, variance, low, high):  # B_down is drawn as a ratio to B_up
        moment[-4] += moment[-5]
    if workload is not None:
        load = real_array("workload", workload, [])
        if load.shape != (len(mean) - 8,) or not (np.isfinite(load) & (load > 0)).all():
            expected = f"{len(mean) - 8} finite, positive numbers"
            raise ValueError(
                f"workload: shape {load.shape}, least {load.min()}, expected {expected}"
            )
        mean[:-8] = low[:-8] = high[:-8] = np.log(workload)
        variance[:-8] = 0.0
    return mean, np.where(variance > 0, np.sqrt(variance), 1.0), low, high


class OffloadingEnv(gymnasium.Env):
    """Place one task's subtasks, one a step.

    Observation, float32 (F + 4 n,): the task's standardised logarithms; the labels so far, one-hot,
    zeros for what is not placed; the subtask to place next, one-hot. Action: 0 = device, 1 = edge,
    2 = cloud. Reward, with every subtask: minus the increase of a lower bound of D, its finish plus
    the time from there to the result if nothing waited, over the delay of the best single location.
    The best policy is that for a reward at the end alone (Ng, Harada and Russell, "Policy
    invariance under reward transformations", 1999).

    ranges, workload: as for `tasks.sample_tasks`. seed: of the tasks, until `reset` is given one.
    `reset(options={"task": (F,)})` plays that task. ValueError for a bad task or action.
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
        self._mean, self._deviation, *_ = scaling_of(graph, ranges, workload)
        # A log-uniform value lies within sqrt(3) deviations, the product of two within sqrt(6); 10
        # leaves room for tasks of other ranges.
        high = np.concatenate([np.full(features, 10), np.ones(4 * n)]).astype(np.float32)
        low = np.concatenate([np.full(features, -10), np.zeros(4 * n)]).astype(np.float32)
        self.observation_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
        self.action_space = gymnasium.spaces.Discrete(3)
        self._structure = n, graph.first, graph.source
        self._times = new_times(n, len(graph.edges))
        self._x, self._finish, self._free = np.zeros(n + 2, np.uint8), np.zeros(n + 2), np.zeros(8)
        self._observation = np.zeros(features + 4 * n, np.float32)
        self._j, self._at = n + 1, BLOCK  # nothing to place, no tasks in hand
        if seed is not None:
            self._np_random, self._np_random_seed = gymnasium.utils.seeding.np_random(seed)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """The next task, or options["task"] (F,) -> observation, {"task": its vector}."""
        super().reset(seed=seed)
        if seed is not None:
            self._at = BLOCK
        if options and "task" in options:
            task = check_tasks(self.graph, options["task"], positive=True)
            if task.ndim != 1:
                raise ValueError(f"task: shape {task.shape}, expected ({self.graph.n_features},)")
            [ready] = self._prepared(task[None])
        else:
            if self._at == BLOCK:
                drawn = self.graph, BLOCK, self.np_random, self.ranges, self.workload
                self._block, self._at = self._prepared(sample_tasks(*drawn)), 0
            ready = self._block[self._at]
            self._at += 1
        self._begin(*ready)
        return self._observation.copy(), {"task": self._task.copy()}

    def _prepared(self, tasks):
        """Of every task: it, its network inputs (F,), the best single location's delay."""
        singles = np.arange(3, dtype=np.int8)[:, None].repeat(self.graph.n, axis=1)
        delays = np.empty((len(tasks), 3))
        delay_table(*self._structure, tasks, singles, delays)
        inputs = ((np.log(tasks) - self._mean) / self._deviation).astype(np.float32)
        return [*zip(tasks, inputs, delays.min(axis=1))]

    def _begin(self, task, inputs, reference):
        self._task, self._d_ref, self._j, self._charged = task, reference, 1, 0.0
        self._finish[:], self._free[:] = 0.0, 0.0
        prepare(*self._structure, task, 0, 0, self._times)
        f, n = self.graph.n_features, self.graph.n
        self._observation[:f], self._observation[f:] = inputs, 0.0
        self._observation[f + 3 * n] = 1.0

    def _place(self, j, k) -> float:
        """Put node j at location k, after the nodes before it; its finish in seconds."""
        run, hold, tau, _, _ = self._times
        prepared = self._times, self._x, self._finish, self._free
        self._x[j], self._finish[j] = k, schedule_node(j, k, *self._structure[1:], *prepared)
        return self._finish[j]

    def step(self, action):
        """Place the next subtask -> observation, reward, done, False, info.

        At the end, info has "delay_s" and "placement" int8 (n,).
        """
        n, f, j = self.graph.n, self.graph.n_features, self._j
        if j > n:
            raise ValueError("step: every subtask is placed; reset the environment")
        if action not in (0, 1, 2):
            raise ValueError(f"action: {action!r}, expected 0 (device), 1 (edge) or 2 (cloud)")
        k, info = int(action), {}
        end = self._place(j, k)
        self._observation[f + 3 * (j - 1) + k] = 1.0
        self._observation[f + 3 * n + j - 1] = 0.0
        if j < n:
            self._observation[f + 3 * n + j] = 1.0
            known = max(self._charged, end + self._times.time_to_result[j, k])
        else:
            known = self._place(n + 1, 0)
            info = {"delay_s": known, "placement": self._x[1:-1].astype(np.int8)}
        reward = float((self._charged - known) / self._d_ref)
        self._charged, self._j = known, j + 1
        return self._observation.copy(), reward, j == n, False, info


gymnasium.register("kd_offload/Offloading-v0", entry_point=OffloadingEnv)
