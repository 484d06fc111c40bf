"""Deep Q-learning, a baseline that learns from delays alone and needs no labels.

The agent is DQN (Mnih et al., "Human-level control through deep reinforcement learning", Nature
2015) by stable-baselines3 (Raffin et al., JMLR 2021), on `environment.OffloadingEnv`. Trained, it
decides greedily: its Q network is asked once per subtask.
`experiments.studies.other_learners` trains the agents of a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from experiments.baselines.decisions import Decider
from experiments.baselines.environment import OffloadingEnv, scaling_of
from experiments.scenarios import Scenario
from kd_offload.delay import N_LOCATIONS, delay
from kd_offload.graphs import TaskGraph
from kd_offload.labels import Labelled
from kd_offload.model import Scaling, standardise
from kd_offload.tasks import check_tasks

LEARNING_STARTS = 2000  # transitions before the first gradient step, or a fifth of all
TARGET_EVERY = 4000  # environment steps between updates of the target network; at least ten in all
REPLAY = 300_000  # transitions in the replay buffer, at most


@dataclass(frozen=True)
class DqnConfig:
    """How an agent is trained."""

    episodes: int
    """The budget: tasks placed and priced, each by one delay evaluation; rounded up to whole rounds
    of the `environments`. The rewards' scale takes three more evaluations per task."""
    hidden: tuple[int, ...] = (256, 256, 256)
    """Widths of the Q network's hidden layers. In 44 s of one core, on chain, these come to 8.5 %
    of regret (10,000 episodes), and 512-512-512 to about 12 % (4,000, between runs of 2,000 and of
    10,000)."""
    points: int = 12
    """Points of the learning curve."""
    environments: int = 32
    """Environments side by side."""
    gradient_steps: int = 4
    """Updates for every step of all environments."""
    batch: int = 64
    """Transitions in each update."""
    learning_rate: float = 1e-3
    """Adam's at the start; it falls linearly to 2 % of that."""

    @property
    def rounds(self) -> int:
        """Episodes of each of the environments."""
        return -(-self.episodes // self.environments)

    def steps(self, n: int) -> int:
        """Steps of all environments together, on tasks of n subtasks."""
        return self.rounds * self.environments * n

    def learning_starts(self, n: int) -> int:
        """Transitions before the first gradient step, on tasks of n subtasks."""
        return min(LEARNING_STARTS, self.steps(n) // 5)

    def updates(self, n: int) -> int:
        """Gradient steps of the whole training, on tasks of n subtasks."""
        before = self.learning_starts(n) // self.environments
        return (self.rounds * n - before) * self.gradient_steps


@dataclass(frozen=True)
class Agent:
    """A trained Q network: from an observation of `OffloadingEnv` to a value per location."""

    graph: TaskGraph
    scaling: Scaling
    weights: tuple[np.ndarray, ...]  # float32 (inputs, outputs) of each layer
    biases: tuple[np.ndarray, ...]  # float32 (outputs,)

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(a.size for a in (*self.weights, *self.biases))

    @property
    def macs(self) -> int:
        """Multiply-adds of one decision: a pass through the network for every subtask."""
        return self.graph.n * sum(w.size for w in self.weights)

    @property
    def bytes(self) -> int:
        """Constants: weights and biases in float32, mean and deviation of inputs in float64."""
        return 4 * self.parameters + 8 * 2 * len(self.scaling.mean)


class CurvePoint(NamedTuple):
    """How far training is."""

    delay_evaluations: int  # complete episodes so far
    regret_mean: float  # on validation tasks


class TrainedAgent(NamedTuple):
    """What `train_agent` returns."""

    agent: Agent
    curve: list[CurvePoint]


def decide(agent: Agent, tasks: np.ndarray) -> np.ndarray:
    """An agent's greedy placements, one step of all tasks at once.

    Unchecked. An observation changes by two ones per step, hence the first layer's sum does by two
    rows of its weights.

    Parameters
    ----------
    agent : Agent
    tasks : numpy.ndarray of float64, shape (S, F), SI units

    Returns
    -------
    numpy.ndarray of int8, shape (S, n)
    """
    n, features = agent.graph.n, tasks.shape[1]
    by_input = agent.weights[0]  # (F + 4 n, width)
    by_label = by_input[features:-n].reshape(n, N_LOCATIONS, -1)
    by_turn = by_input[-n:]
    placements = np.empty((len(tasks), n), np.int8)
    known = standardise(agent.scaling, tasks) @ by_input[:features] + agent.biases[0]  # (S, width)
    for i in range(n):
        values = np.maximum(known + by_turn[i], 0)
        for layer in range(1, len(agent.weights)):
            values = values @ agent.weights[layer] + agent.biases[layer]
            if layer < len(agent.weights) - 1:
                np.maximum(values, 0, out=values)
        placements[:, i] = values.argmax(axis=1)
        known += by_label[i, placements[:, i]]
    return placements


def train_agent(
    scenario: Scenario, config: DqnConfig, seed: int, validation: Labelled
) -> TrainedAgent:
    """Deep Q-learning on fresh tasks, without labels.

    On one thread, a seed always gives the same agent (on one machine).

    Parameters
    ----------
    scenario : Scenario
    config : DqnConfig
    seed : int
    validation : Labelled
        For the learning curve; it serves nothing else.

    Returns
    -------
    TrainedAgent
    """
    graph, n = scenario.graph, scenario.graph.n
    scaling = scaling_of(graph, workload=scenario.workload)
    tasks = check_tasks(graph, validation.tasks, positive=True)
    round_steps = config.environments * n
    measured_after = {
        round_steps * (config.rounds * i // config.points) for i in range(1, config.points + 1)
    }
    curve: list[CurvePoint] = []

    def measure(*_) -> bool:
        steps = network.num_timesteps
        if steps in measured_after:
            placements = decide(_agent(graph, scaling, network), tasks)
            regrets = delay(graph, tasks, placements) / validation.delays - 1
            curve.append(CurvePoint(steps // n, float(regrets.mean())))
        return True  # go on

    start = int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1)
    network = _network(scenario, config, start)
    network.learn(config.steps(n), callback=measure)
    return TrainedAgent(_agent(graph, scaling, network), curve)


def _network(scenario: Scenario, config: DqnConfig, seed: int) -> DQN:
    n = scenario.graph.n
    steps = config.steps(n)
    environment = lambda: OffloadingEnv(scenario.graph, workload=scenario.workload)
    return DQN(
        "MlpPolicy",
        DummyVecEnv([environment] * config.environments),
        learning_rate=lambda left: config.learning_rate * max(left, 0.02),
        buffer_size=min(steps, REPLAY),
        learning_starts=config.learning_starts(n),
        batch_size=config.batch,
        gamma=1.0,
        train_freq=1,
        gradient_steps=config.gradient_steps,
        target_update_interval=min(TARGET_EVERY, max(1, steps // 10)),
        exploration_fraction=0.5,
        exploration_final_eps=0.05,
        policy_kwargs={"net_arch": list(config.hidden), "optimizer_kwargs": {"fused": True}},
        seed=seed,
        device="cpu",
    )


def _agent(graph: TaskGraph, scaling: Scaling, network: DQN) -> Agent:
    layers = [layer for layer in network.q_net.q_net if isinstance(layer, nn.Linear)]
    weights = tuple(layer.weight.detach().numpy().T.copy() for layer in layers)
    biases = tuple(layer.bias.detach().numpy().copy() for layer in layers)
    return Agent(graph, scaling, weights, biases)


def untrained(graph: TaskGraph) -> Agent:
    """An agent with random weights: its size and its time are those of a trained one."""
    rng = np.random.default_rng(0)
    widths = [graph.n_features + (N_LOCATIONS + 1) * graph.n, *DqnConfig(1).hidden, N_LOCATIONS]
    shapes = list(zip(widths, widths[1:]))
    weights = tuple(rng.normal(0, a**-0.5, (a, b)).astype(np.float32) for a, b in shapes)
    biases = tuple(np.zeros(b, np.float32) for _, b in shapes)
    return Agent(graph, scaling_of(graph), weights, biases)


def agent_deciders(graph: TaskGraph, agent: Agent | None = None) -> list[Decider]:
    """DQN's decision in numpy and in torch, one task at a time.

    By default the agent is an untrained one of the usual size: the time of a dense product does not
    depend on its numbers.
    """
    agent = agent or untrained(graph)
    n, network = graph.n, _torch_network(agent)
    placement = np.empty(n, np.int8)
    observation = torch.zeros(1, len(agent.weights[0]))
    inputs = observation[0, : graph.n_features].numpy()  # views: writing to them changes it
    labels = observation[0, graph.n_features : -n].numpy()
    turn = observation[0, -n:].numpy()

    @torch.inference_mode()
    def by_torch(task):
        inputs[:] = standardise(agent.scaling, task)
        labels[:] = 0.0
        for i in range(n):
            turn[i] = 1.0
            location = int(network(observation).argmax())
            turn[i] = 0.0
            labels[N_LOCATIONS * i + location] = 1.0
            placement[i] = location
        return placement

    def by_numpy(task):
        return decide(agent, task[None])[0]

    size = agent.parameters, agent.macs, agent.bytes
    return [Decider("dqn", "numpy", by_numpy, *size), Decider("dqn", "torch", by_torch, *size)]


def _torch_network(agent: Agent) -> nn.Sequential:
    layers: list[nn.Module] = []
    for weights, bias in zip(agent.weights, agent.biases):
        layer = nn.Linear(*weights.shape)
        layer.weight.data = torch.from_numpy(weights.T.copy())
        layer.bias.data = torch.from_numpy(bias.copy())
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval()
