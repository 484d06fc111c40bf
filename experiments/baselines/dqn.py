"""Deep Q-learning, a baseline that learns from delays alone and needs no labels.

The agent is DQN (Mnih et al., "Human-level control through deep reinforcement learning", Nature
2015) by stable-baselines3 (Raffin et al., JMLR 2021), on `environment.OffloadingEnv`. Trained, its
Q network is a `models.Model` of one label that is asked n times, from observations (F + 4 n,).
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import DummyVecEnv

from experiments.run import Run, fingerprint, kept, save_json
from kd_offload.data import digest, load
from kd_offload.delay import delay
from kd_offload.graphs import TaskGraph
from kd_offload.labels import Labelled
from kd_offload.model import Model, standardise, torch_module
from experiments.parallel import in_parallel
from experiments.scenarios import Scenario, scenario
from kd_offload.tasks import check_tasks
from experiments.runtimes.compiled import packed, walk_batch, walk_one
from experiments.baselines.decisions import (
    Decider,
    decisions_path,
    in_a_loop,
    read_decisions,
    save_decisions,
)
from experiments.baselines.environment import OffloadingEnv, scaling_of

# Widths of the hidden layers. In 44 s of one core, on chain, 256-256-256 comes to 8.5 % of regret
# (10,000 episodes), 512-512-512 to about 12 % (4,000, between runs of 2,000 and of 10,000).
HIDDEN = (256, 256, 256)
START = 2000  # transitions before the first gradient step, or a fifth of all
TARGET_EVERY = 4000  # environment steps between updates of the target network; at least ten in all


@dataclass(frozen=True)
class Training:
    """How an agent is trained.

    episodes: the budget: tasks placed and priced, each by one delay evaluation; rounded up to whole
      rounds of the `environments` side by side. The rewards' scale takes three more a task.
    hidden: widths of the Q network's layers. points: of the learning curve.
    gradient_steps: of `batch` transitions each, for every step of all environments.
    learning_rate: Adam's at the start; it falls linearly to 2 % of that.
    """

    episodes: int
    hidden: tuple[int, ...] = HIDDEN
    points: int = 12
    environments: int = 32
    gradient_steps: int = 4
    batch: int = 64
    learning_rate: float = 1e-3

    @property
    def rounds(self) -> int:
        """Episodes of each of the environments."""
        return -(-self.episodes // self.environments)

    def starts_after(self, n: int) -> int:
        """Transitions of tasks of n subtasks before the first gradient step."""
        return min(START, self.rounds * self.environments * n // 5)

    def updates(self, n: int) -> int:
        """Gradient steps of the whole training, on tasks of n subtasks."""
        before = self.starts_after(n) // self.environments
        return (self.rounds * n - before) * self.gradient_steps


def _agent(where: Scenario, network: DQN, seed: int) -> Model:
    layers = [m for m in network.q_net.q_net if hasattr(m, "weight")]
    weights = tuple(m.weight.detach().numpy().T.copy() for m in layers)
    biases = tuple(m.bias.detach().numpy().copy() for m in layers)
    scale = scaling_of(where.graph, workload=where.workload)
    return Model("dqn", where.graph.name, seed, *scale, weights, biases)


def walk(agent: Model, n: int, tasks: np.ndarray) -> np.ndarray:
    """An agent's greedy placements int8 (S, n) of tasks (S, F), all tasks a step at once.

    Unchecked. The observation changes by two ones a step, hence the first layer's input does by two
    rows of its weights.
    """
    x, f, first = np.empty((len(tasks), n), np.int8), tasks.shape[1], agent.weights[0]
    hidden = standardise(agent, tasks) @ first[:f] + agent.biases[0]  # before its rectifier
    for i in range(n):
        h = np.maximum(hidden + first[f + 3 * n + i], 0)
        for layer in range(1, len(agent.weights)):
            h = h @ agent.weights[layer] + agent.biases[layer]
            if layer < len(agent.weights) - 1:
                np.maximum(h, 0, out=h)
        x[:, i] = h.argmax(axis=1)
        hidden += first[f + 3 * i + x[:, i]]
    return x


def train_dqn(
    where: Scenario, recipe: Training, seed: int, validation: Labelled
) -> tuple[Model, pd.DataFrame]:
    """Deep Q-learning on fresh tasks, without labels -> the agent and its learning curve.

    The curve: delay_evaluations (complete episodes so far), regret_mean on `validation`, which
    serves nothing else. One thread: for a seed, always the same agent (on one machine).
    """
    n, points, rows = where.graph.n, recipe.points, []
    tasks, best = check_tasks(where.graph, validation.tasks, positive=True), validation.delays
    a_round, threads = recipe.environments * n, torch.get_num_threads()
    due = [a_round * (recipe.rounds * i // points) for i in range(1, points + 1)]
    start = int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1)

    def note(*_):
        if (steps := network.num_timesteps) in due:
            d = delay(where.graph, tasks, walk(_agent(where, network, seed), n, tasks))
            regret = float((d / best - 1).mean())
            rows.append({"delay_evaluations": steps // n, "regret_mean": regret})
        return True

    torch.set_num_threads(1)
    try:
        network = _network(where, recipe, start)
        network.learn(recipe.rounds * a_round, callback=note)
    finally:
        torch.set_num_threads(threads)
    return _agent(where, network, seed), pd.DataFrame(rows)


def _network(where: Scenario, recipe: Training, seed: int) -> DQN:
    steps = recipe.rounds * recipe.environments * where.graph.n
    environment = lambda: OffloadingEnv(where.graph, workload=where.workload)
    return DQN(
        "MlpPolicy",
        DummyVecEnv([environment] * recipe.environments),
        learning_rate=lambda left: recipe.learning_rate * max(left, 0.02),
        buffer_size=min(steps, 300_000),
        learning_starts=recipe.starts_after(where.graph.n),
        batch_size=recipe.batch,
        gamma=1.0,
        train_freq=1,
        gradient_steps=recipe.gradient_steps,
        target_update_interval=min(TARGET_EVERY, max(1, steps // 10)),
        exploration_fraction=0.5,
        exploration_final_eps=0.05,
        policy_kwargs={"net_arch": list(recipe.hidden), "optimizer_kwargs": {"fused": True}},
        seed=seed,
        device="cpu",
    )


def train_agent(run: Run, policy: str, name: str, seed: int, episodes: int = 0) -> Path:
    """Train an agent of a run and save its decisions on the test tasks and its learning curve.

    Beside it a .json says how long that took. Nothing is done where they are current. episodes: by
    default the scenario's largest budget; with fewer, the file stands apart. Returns the path.
    Raises ValueError for another scenario or missing data.
    """
    p, budgets = run.profile, dict(run.profile.dqn_episodes)
    if name not in budgets:
        raise ValueError(f"scenario: {name!r}, expected one of {', '.join(budgets)}")
    largest, path = max(budgets[name]), decisions_path(run, policy, name, seed)
    recipe = Training(episodes or largest, p.dqn_hidden, p.dqn_points)
    if recipe.episodes != largest:
        path = run.data / policy / f"{name}_{seed}_{episodes}.npz"
    about = {"scenario": name, "seed": seed, **asdict(recipe)}
    data = [digest(run, name, split) for split in ("validation", "test")]
    mark = fingerprint("baselines.dqn", data=data, validation=p.dqn_validation, **about)

    def make():
        where, tasks = scenario(name), load(run, name, "test").tasks
        held_out = Labelled(*(part[: p.dqn_validation] for part in load(run, name, "validation")))
        start = time.process_time()
        agent, curve = train_dqn(where, recipe, seed, held_out)
        spent = time.process_time() - start
        x = walk(agent, where.graph.n, tasks)
        save_decisions(run, path, tasks, x, about, curve.to_numpy())
        save_json(path.with_suffix(".json"), about | {"training_seconds": spent})

    return kept(path, mark, make)


def _curve(run: Run, name: str, seed: int, episodes: int) -> pd.DataFrame:
    path = train_agent(run, "dqn", name, seed, episodes)
    evaluations, regret = read_decisions(path)["curve"].T
    about = {"scenario": name, "seed": seed, "budget": episodes}
    columns = {"delay_evaluations": evaluations.astype(int), "regret_mean": regret}
    spent = json.loads(path.with_suffix(".json").read_text())["training_seconds"]
    return pd.DataFrame(about | columns | {"training_seconds": spent})


def dqn(run: Run) -> pd.DataFrame:
    """Train a run's agents in parallel, unless current, and return the table of learning curves.

    Columns: scenario, seed, budget (episodes of the whole training; exploration and learning rate
    follow it, so a smaller budget is a training of its own, for the first seed), delay_evaluations
    so far, regret_mean on validation tasks, training_seconds (of a CPU, of the whole training).
    Raises ValueError for missing data.
    """
    todo, seeds = [], run.profile.seeds[: run.profile.dqn_seeds]
    for name, budgets in run.profile.dqn_episodes:
        for budget in sorted(budgets, reverse=True):
            full = budget == max(budgets)
            trained = seeds if full else seeds[:1]
            todo += [(run, name, seed, budget) for seed in trained]
    return pd.concat(in_parallel(_curve, todo, "deep Q-learning"), ignore_index=True)


def untrained(graph: TaskGraph) -> Model:
    """An agent with random weights: its size and its time are those of a trained one."""
    rng, widths = np.random.default_rng(0), [graph.n_features + 4 * graph.n, *HIDDEN, 3]
    shapes = list(zip(widths, widths[1:]))
    weights = tuple(rng.normal(0, a**-0.5, (a, b)).astype(np.float32) for a, b in shapes)
    biases = tuple(np.zeros(b, np.float32) for _, b in shapes)
    return Model("dqn", graph.name, 0, *scaling_of(graph), weights, biases)


def agent_deciders(graph: TaskGraph, agent: Model | None = None) -> list[Decider]:
    """DQN's decision in numba, numpy and torch, one task at a time: n passes through the network.

    By default the agent is an untrained one of the usual size: the time of a dense product does
    not depend on its numbers.
    """
    agent = agent or untrained(graph)
    n, f, net, pack = graph.n, graph.n_features, torch_module(agent), packed(agent)
    x, observation = np.empty(n, np.int8), torch.zeros(1, f + 4 * n)
    seen = observation[0].numpy()

    @torch.inference_mode()
    def by_torch(task):
        seen[:f], seen[f:] = standardise(agent, task), 0.0
        for i in range(n):
            seen[f + 3 * n + i] = 1.0
            x[i] = k = int(net(observation).argmax())
            seen[f + 3 * n + i], seen[f + 3 * i + k] = 0.0, 1.0
        return x

    def by_numba(task):
        walk_one(*pack, task, x)
        return x

    by_numpy = lambda task: walk(agent, n, task[None])[0]
    runtimes = {"numba": by_numba, "numpy": by_numpy, "torch": by_torch}
    size = agent.parameters, n * agent.macs, agent.bytes
    return [Decider("dqn", *pair, *size) for pair in runtimes.items()]


def agent_loop(graph: TaskGraph, agent: Model | None = None) -> Decider:
    """DQN's decision in a compiled loop over tasks; the agent as in `agent_deciders`."""
    agent = agent or untrained(graph)
    size = agent.parameters, graph.n * agent.macs, agent.bytes
    return in_a_loop("dqn", walk_batch, packed(agent), graph.n, size)
