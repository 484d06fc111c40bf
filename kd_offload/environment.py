"""Offloading as a sequential decision problem, and deep Q-learning as a rival that needs no labels.

An episode is one task. Step i places subtask i; after the last one the result's delay is known. Nothing is
discounted, so the return is minus the delay, as a share of the best single location's: the best policy is the
formulation's. The environment is a Gymnasium one (Towers et al., "Gymnasium", arXiv 2407.17032), registered as
kd_offload/Offloading-v0; the agent is DQN (Mnih et al., "Human-level control through deep reinforcement learning",
Nature 2015) by stable-baselines3 (Raffin et al., JMLR 2021).

    env = gymnasium.make("kd_offload.environment:kd_offload/Offloading-v0", graph=graphs.fusion())
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import gymnasium
import numpy as np
import pandas as pd
from numba import njit

from .config import Run, fingerprint, is_current, provenance, set_current, written_aside
from .dataset import digest, load, scenario
from .delay import _transfer, delay, delay_table
from .graphs import TaskGraph, dag
from .labels import _prepare, solve
from .sampling import STATE, Ranges, check_tasks, sample_tasks

BLOCK = 256  # tasks drawn at a time
REWARDS = ("terminal", "finish", "bound")
FLOOR = "environment"  # of the package, that an agent's fingerprint starts from


@dataclass(frozen=True)
class Sizes:
    """How much deep Q-learning a profile does.

    budgets: episodes by scenario; the largest trains an agent a seed, each smaller one an agent of its own for the first
    `sweep_seeds` seeds. validation: tasks for the learning curves, of `evaluations` points.
    """

    budgets: dict[str, tuple[int, ...]]
    sweep_seeds: int = 3
    hidden: tuple[int, ...] = (512, 512, 512)
    validation: int = 2000
    evaluations: int = 12


SIZES = {
    "paper": Sizes({"dag": (3000, 10_000, 30_000), "fusion": (10_000,), "chain": (10_000,)}),
    "smoke": Sizes({"dag": (100, 200), "fusion": (100,), "chain": (100,)}, 1, (32, 32), 200, 4),
    "tiny": Sizes({"dag": (20, 40), "fusion": (20,), "chain": (20,)}, 1, (16,), 50, 2),
}


@njit(cache=True)
def _place_next(n, first, source, task, j, k, x, finish, free):
    """Finish of node j at location k in s, the nodes before it placed; the delay model's steps for one node.

    x (n,), finish (n + 2,), free (6,) as the delay kernel has them; all are updated. Node n + 1 is the sink.
    """
    ready = 0.0
    state = task[n + first[n + 2] :]
    for e in range(first[j], first[j + 1]):
        i = source[e]
        a = 0 if i == 0 else x[i - 1]
        ready = max(ready, _transfer(a, k, task[n + e], finish[i], state, free))
    if j <= n:
        x[j - 1] = k
        if k != 2:
            ready = max(ready, free[4 + k])
        ready += task[j - 1] / state[k]
        if k != 2:
            free[4 + k] = ready
    finish[j] = ready
    return ready


@dataclass(frozen=True)
class Scale:
    """Mean and deviation (F,) of the logarithms of tasks from log-uniform ranges, in closed form."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, graph: TaskGraph, ranges: Ranges = Ranges(), workload=None) -> Scale:
        """Of the tasks that `sample_tasks` draws with the same arguments; what is constant has deviation 1."""
        low_high = [ranges.cycles] * graph.n + [ranges.bytes] * len(graph.edges)
        low_high += [getattr(ranges, "down_over_up" if name == "B_down" else name) for name in STATE]
        low, high = np.log(np.array(low_high)).T
        mean, variance = (low + high) / 2, (high - low) ** 2 / 12
        up, down = graph.n_features - 5, graph.n_features - 4
        mean[down] += mean[up]
        variance[down] += variance[up]
        if workload is not None:
            mean[:-8], variance[:-8] = np.log(workload), 0.0
        return cls(mean, np.where(variance > 0, np.sqrt(variance), 1.0))

    def __call__(self, tasks) -> np.ndarray:
        """Standardised logarithms, float32, of tasks (..., F) in SI units."""
        return ((np.log(tasks) - self.mean) / self.deviation).astype(np.float32)


class OffloadingEnv(gymnasium.Env):
    """Place one task's subtasks, one a step.

    Observation, float32 (F + 4 n,): the task's standardised logarithms; the labels so far, one-hot, zeros for what is
    not placed; the subtask to place next, one-hot. Action: 0 = device, 1 = edge, 2 = cloud. The rewards sum to
    -D / D_ref, D_ref the delay of the best single location; `reward` says when they come:
    "terminal", all at the end; "finish", with every subtask minus the increase of the latest finish so far;
    "bound", with every subtask minus the increase of a lower bound of D: its finish plus the time from there to the
    result if nothing waited. The sums are the same, so is the best policy (Ng, Harada and Russell, "Policy invariance
    under reward transformations", 1999).

    ranges, workload: as for `sampling.sample_tasks`. seed: of the tasks, until `reset` is given another.
    `reset(options={"task": (F,)})` plays the given task. Raises ValueError for a bad task, action or reward.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (Gymnasium's interface)

    def __init__(
        self,
        graph: TaskGraph = dag(),
        ranges: Ranges = Ranges(),
        seed: int | None = None,
        workload=None,
        reward="bound",
    ):
        if not isinstance(graph, TaskGraph):
            raise ValueError(f"graph: {graph!r}, expected a TaskGraph")
        if reward not in REWARDS:
            raise ValueError(f"reward: {reward!r}, expected one of {', '.join(REWARDS)}")
        n, features = graph.n, graph.n_features
        self.graph, self.ranges, self.workload, self.reward = graph, ranges, workload, reward
        self.scale = Scale.of(graph, ranges, workload)
        # A log-uniform value lies within sqrt(3) deviations, the product of two within sqrt(6); 10 leaves room for
        # tasks of other ranges.
        low = np.concatenate([np.full(features, -10), np.zeros(4 * n)]).astype(np.float32)
        high = np.concatenate([np.full(features, 10), np.ones(4 * n)]).astype(np.float32)
        self.observation_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
        self.action_space = gymnasium.spaces.Discrete(3)
        self._structure = n, graph.first, graph.source
        self._singles = np.arange(3, dtype=np.int8)[:, None].repeat(n, axis=1)
        self._x, self._finish, self._free = np.zeros(n, np.int8), np.zeros(n + 2), np.zeros(6)
        levels = (n + 2, 3)
        self._times = np.empty(levels), np.zeros((len(graph.edges), 7)), np.zeros(7), np.empty(levels)
        self._observation = np.zeros(features + 4 * n, np.float32)
        self._j, self._at = n + 1, BLOCK  # nothing to place, no tasks in hand
        if seed is not None:
            self._np_random, self._np_random_seed = gymnasium.utils.seeding.np_random(seed)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """The next task, or options["task"] (F,) in SI units -> (observation, {"task": its vector})."""
        super().reset(seed=seed)
        if seed is not None:
            self._at = BLOCK
        if options and "task" in options:
            task = check_tasks(self.graph, options["task"], positive=True)
            if task.ndim != 1:
                raise ValueError(f"task: shape {task.shape}, expected ({self.graph.n_features},)")
            self._begin(task, *self._prepared(task[None]))
        else:
            if self._at == BLOCK:
                self._tasks = sample_tasks(self.graph, BLOCK, self.np_random, self.ranges, self.workload)
                self._inputs, self._reference = self._prepared(self._tasks)
                self._at = 0
            i = self._at
            self._begin(self._tasks[i], self._inputs[i : i + 1], self._reference[i : i + 1])
            self._at += 1
        return self._observation.copy(), {"task": self._task.copy()}

    def _prepared(self, tasks):
        """Network inputs (S, F) and the best single location's delay (S,) of tasks."""
        singles = np.empty((len(tasks), 3))
        delay_table(*self._structure, tasks, self._singles, singles)
        return self.scale(tasks), singles.min(axis=1)

    def _begin(self, task, inputs, reference):
        self._task, self._d_ref, self._j, self._charged = task, reference[0], 1, 0.0
        self._finish[:], self._free[:] = 0.0, 0.0
        if self.reward == "bound":
            _prepare(*self._structure, task, 0, 0, self._times)
        f, n = self.graph.n_features, self.graph.n
        self._observation[:f], self._observation[f:] = inputs[0], 0.0
        self._observation[f + 3 * n] = 1.0

    def step(self, action):
        """Place the next subtask -> (observation, reward, done, False, info); at the end info has "delay_s"."""
        n, f, j = self.graph.n, self.graph.n_features, self._j
        if j > n:
            raise ValueError("step: every subtask is placed; reset the environment")
        if action not in (0, 1, 2):
            raise ValueError(f"action: {action!r}, expected 0 (device), 1 (edge) or 2 (cloud)")
        k, info = int(action), {}
        end = _place_next(*self._structure, self._task, j, k, self._x, self._finish, self._free)
        self._observation[f + 3 * (j - 1) + k] = 1.0
        self._observation[f + 3 * n + j - 1] = 0.0
        if j < n:
            self._observation[f + 3 * n + j] = 1.0
            known = {"terminal": 0.0, "finish": end, "bound": end + self._times[3][j, k]}[self.reward]
            known = max(known, self._charged)
        else:
            known = _place_next(*self._structure, self._task, n + 1, 0, self._x, self._finish, self._free)
            info = {"delay_s": known, "placement": self._x.copy()}
        reward = float((self._charged - known) / self._d_ref)
        self._charged, self._j = known, j + 1
        return self._observation.copy(), reward, j == n, False, info


gymnasium.register("kd_offload/Offloading-v0", entry_point=OffloadingEnv)


@dataclass(frozen=True)
class Agent:
    """A Q network and how it was learned: weights[l] (in, out) and biases[l] (out,), float32.

    curve: a row an evaluation: delay_evaluations (complete episodes so far), regret_mean on validation tasks.
    """

    graph: TaskGraph
    seed: int
    scale: Scale
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    curve: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False)

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(a.size for a in (*self.weights, *self.biases))

    def decide(self, tasks, chunk: int = 4096) -> np.ndarray:
        """Greedy placements int8 (S, n) of tasks (S, F) in SI units, all tasks a step at once.

        Raises ValueError for tasks of another graph or that are not positive and finite.
        """
        tasks = check_tasks(self.graph, tasks, positive=True)
        if tasks.ndim != 2:
            raise ValueError(f"task: shape {tasks.shape}, expected (S, {self.graph.n_features})")
        parts = [self._decide(tasks[i : i + chunk]) for i in range(0, len(tasks), chunk)]
        return np.concatenate([np.empty((0, self.graph.n), np.int8), *parts])

    def _decide(self, tasks) -> np.ndarray:
        n, f, first = self.graph.n, self.graph.n_features, self.weights[0]
        x = np.empty((len(tasks), n), np.int8)
        hidden = self.scale(tasks) @ first[:f] + self.biases[0]  # of the first layer, before its rectifier
        for i in range(n):
            h = np.maximum(hidden + first[f + 3 * n + i], 0)
            for layer in range(1, len(self.weights)):
                h = h @ self.weights[layer] + self.biases[layer]
                if layer < len(self.weights) - 1:
                    np.maximum(h, 0, out=h)
            x[:, i] = h.argmax(axis=1)
            hidden += first[f + 3 * i + x[:, i]]
        return x


def train_dqn(
    graph: TaskGraph,
    episodes: int,
    seed: int,
    hidden: tuple[int, ...] = (512, 512, 512),
    ranges: Ranges = Ranges(),
    workload=None,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    evaluations: int = 12,
    reward: str = "bound",
    environments: int = 32,
    gradient_steps: int = 4,
    learning_rate: float = 1e-3,
    batch: int = 64,
    exploration: tuple[float, float] = (0.5, 0.05),
    n_steps: int = 1,
    target_every: int = 4000,
    progress: Callable[[dict], None] | None = None,
) -> Agent:
    """Deep Q-learning on fresh tasks, without labels; for a seed, the same agent each time (on one machine).

    episodes: the budget: tasks placed and priced, each by one delay evaluation; rounded up to whole rounds of the
      `environments` that run side by side. The rewards' scale takes three more a task, their bound a pass over it.
    hidden: widths of the Q network's layers, the teacher's by default.
    validation: tasks (S, F) and their optimal delays (S,) in s, for the curve alone; by default 1,000 tasks of its own.
    evaluations: points of the curve. progress: called with each.
    reward: as for `OffloadingEnv`. n_steps: rewards summed before the network is asked for the rest.
    gradient_steps: of `batch` transitions each, for every step of all environments.
    learning_rate: Adam's at the start; it falls linearly to 2 % of that.
    exploration: the share of the budget over which random actions go from all to few, and how few.
    target_every: environment steps between updates of the target network; at least ten updates a training.

    One thread. Raises ValueError naming the argument for a value that cannot be.
    """
    for name, value, least in (
        ("episodes", episodes, 1), ("seed", seed, 0), ("evaluations", evaluations, 1),
        ("environments", environments, 1), ("gradient_steps", gradient_steps, 1), ("batch", batch, 1),
        ("n_steps", n_steps, 1), ("target_every", target_every, 1), *(("hidden", width, 1) for width in hidden),
    ):  # fmt: skip
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ValueError(f"{name}: {value!r}, expected an integer of at least {least}")
    if not 0 < learning_rate < 1:
        raise ValueError(f"learning_rate: {learning_rate!r}, expected a number between 0 and 1")
    if len(exploration) != 2 or not (0 < exploration[0] <= 1 and 0 <= exploration[1] <= 1):
        raise ValueError(f"exploration: {exploration!r}, expected a share in (0, 1] and a probability")
    if validation is None:
        tasks = sample_tasks(graph, 1000, np.random.default_rng([seed, 1]), ranges, workload)
        validation = tasks, solve(graph, tasks).delays

    import torch
    from stable_baselines3 import DQN
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import DummyVecEnv

    n, scale = graph.n, Scale.of(graph, ranges, workload)
    rounds = -(-episodes // environments)
    due = [environments * n * (rounds * i // evaluations) for i in range(1, evaluations + 1)]  # steps

    def agent(model, curve=()):
        layers = [m for m in model.q_net.q_net if hasattr(m, "weight")]
        arrays = [(m.weight.detach().numpy().T.copy(), m.bias.detach().numpy().copy()) for m in layers]
        return Agent(graph, seed, scale, *zip(*arrays), pd.DataFrame(curve))

    class Curve(BaseCallback):
        rows: list[dict]

        def _on_training_start(self):
            self.rows = []

        def _on_step(self):
            if self.num_timesteps in due:
                regret = delay(graph, validation[0], agent(self.model).decide(validation[0])) / validation[1] - 1
                self.rows.append({"delay_evaluations": self.num_timesteps // n, "regret_mean": float(regret.mean())})
                if progress:
                    progress(self.rows[-1])
            return True

    steps, curve, threads = rounds * environments * n, Curve(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = DQN(
            "MlpPolicy",
            DummyVecEnv([lambda: OffloadingEnv(graph, ranges, workload=workload, reward=reward)] * environments),
            learning_rate=lambda left: learning_rate * max(left, 0.02),
            buffer_size=min(steps, 300_000),
            learning_starts=min(2000, steps // 5),
            batch_size=batch,
            gamma=1.0,
            train_freq=1,
            gradient_steps=gradient_steps,
            target_update_interval=min(target_every, max(1, steps // 10)),
            exploration_fraction=exploration[0],
            exploration_final_eps=exploration[1],
            n_steps=n_steps,
            policy_kwargs={"net_arch": list(hidden), "optimizer_kwargs": {"fused": True}},
            seed=int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1),
            device="cpu",
        )
        model.learn(steps, callback=curve)
    finally:
        torch.set_num_threads(threads)
    return agent(model, curve.rows)


def dqn_path(run: Run, name: str, seed: int) -> Path:
    """Where a run keeps the decisions of scenario `name`'s agent on the test tasks."""
    return run.data / "decisions" / f"dqn_{name}_{seed}.npz"


def _learned(run: Run, name: str, seed: int, episodes: int, path: Path) -> dict:
    """Train an agent and keep what it is judged by, unless that is there: its test decisions and its curve."""
    sizes = SIZES.get(run.profile.name, SIZES["paper"])
    about = dict(scenario=name, seed=seed, episodes=episodes, hidden=sizes.hidden, evaluations=sizes.evaluations)
    data = [digest(run, name, split) for split in ("validation", "test")]
    mark = fingerprint(FLOOR, data=data, validation=sizes.validation, **about)
    if not is_current(path, mark):
        where, test, held_out = scenario(name), load(run, name, "test"), load(run, name, "validation")
        validation = held_out.tasks[: sizes.validation], held_out.delays[: sizes.validation]
        agent = train_dqn(
            where.graph, episodes, seed, sizes.hidden, workload=where.workload,
            validation=validation, evaluations=sizes.evaluations,
        )  # fmt: skip
        with written_aside(path) as aside:
            np.savez_compressed(
                aside,
                placements=agent.decide(test.tasks),
                tests=_digest(test.tasks),
                curve=agent.curve.to_numpy(),
                about=json.dumps(provenance(run) | about, default=str),
            )
        set_current(path, mark)
    evaluations, regret = _read(path)["curve"].T
    return pd.DataFrame(
        {"scenario": name, "seed": seed, "budget": episodes, "delay_evaluations": evaluations, "regret_mean": regret}
    ).astype({"delay_evaluations": int})


def _digest(tasks: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(tasks)).hexdigest()


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as z:
            return {key: z[key] for key in ("placements", "tests", "curve", "about")}
    except FileNotFoundError:
        raise ValueError(f"decisions: {path} is missing; `make full` makes it") from None
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise ValueError(f"decisions: {path} is truncated or altered ({error}); `make full` makes it anew") from None


def dqn(run: Run, budgets: dict[str, tuple[int, ...]] | None = None) -> pd.DataFrame:
    """Train a run's agents, save their decisions on the test tasks, and return the table of learning curves.

    budgets: as in `Sizes`, by default the profile's. The table: scenario, seed, budget (episodes of the whole training;
    exploration and learning rate follow it, so a smaller budget is a training of its own), delay_evaluations so far,
    regret_mean on validation tasks. What is there and current is not made again. Raises ValueError for missing data.
    """
    from .learning import in_parallel

    sizes, todo = SIZES.get(run.profile.name, SIZES["paper"]), []
    for name, each in (budgets or sizes.budgets).items():
        for budget in sorted(each, reverse=True):
            full = budget == max(each)
            for seed in run.profile.seeds if full else run.profile.seeds[: sizes.sweep_seeds]:
                smaller = run.data / "dqn" / f"{name}_{seed}_{budget}.npz"
                todo.append((run, name, seed, budget, dqn_path(run, name, seed) if full else smaller))
    return pd.concat(in_parallel(_learned, todo, "deep Q-learning"), ignore_index=True)


def dqn_decisions(run: Run, name: str, seed: int) -> np.ndarray:
    """Saved placements int8 (S, n) of an agent for the test tasks of scenario `name`.

    Raises ValueError naming a file that is missing, truncated, altered or made for other test tasks.
    """
    path = dqn_path(run, name, seed)
    saved, tasks = _read(path), load(run, name, "test").tasks
    if str(saved["tests"]) != _digest(tasks) or saved["placements"].shape != (len(tasks), scenario(name).graph.n):
        raise ValueError(f"decisions: {path} was made for other test tasks; `make full` makes it anew")
    return saved["placements"]


def untrained(graph: TaskGraph, hidden: tuple[int, ...] = (512, 512, 512), seed: int = 0) -> Agent:
    """An agent with random weights: its decisions are worthless, its size and its time are a trained one's."""
    rng = np.random.default_rng(seed)
    widths = [graph.n_features + 4 * graph.n, *hidden, 3]
    weights = [rng.normal(0, a**-0.5, (a, b)).astype(np.float32) for a, b in zip(widths, widths[1:])]
    return Agent(graph, seed, Scale.of(graph), tuple(weights), tuple(np.zeros(b, np.float32) for b in widths[1:]))


def agent_deciders(graph: TaskGraph, agent: Agent | None = None) -> list:
    """DQN's decision in numpy and torch, for one task at a time, as `policies.Decider`s: n passes through the network.

    By default the agent is an untrained one of the teacher's size: the time of a dense product does not depend on
    its numbers.
    """
    import torch

    from .policies import Decider

    agent = agent or untrained(graph)
    n, f = graph.n, graph.n_features
    layers = []
    for w, b in zip(agent.weights, agent.biases):
        linear = torch.nn.utils.skip_init(torch.nn.Linear, *w.shape)
        linear.weight.data, linear.bias.data = torch.from_numpy(w.T.copy()), torch.from_numpy(b)
        layers += [linear, torch.nn.ReLU()]
    net, x, observation = torch.nn.Sequential(*layers[:-1]), np.empty(n, np.int8), torch.zeros(1, f + 4 * n)
    seen = observation[0].numpy()

    @torch.inference_mode()
    def by_torch(task):
        seen[:f], seen[f:] = agent.scale(task), 0.0
        for i in range(n):
            seen[f + 3 * n + i] = 1.0
            x[i] = k = int(net(observation).argmax())
            seen[f + 3 * n + i], seen[f + 3 * i + k] = 0.0, 1.0
        return x

    macs = n * sum(w.size for w in agent.weights)
    size = 4 * agent.parameters + 8 * 2 * f
    runtimes = {"numpy": lambda task: agent._decide(task[None])[0], "torch": by_torch}
    return [Decider("dqn", r, decide, agent.parameters, macs, size) for r, decide in runtimes.items()]
