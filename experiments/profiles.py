"""How much of everything a run does."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Profile:
    """The sizes of a run; the defaults are the reference run's."""

    name: str = "paper"
    seed: int = 2020
    """Of everything that is drawn."""
    seeds: tuple = (0, 1, 2, 3, 4)
    """Training seeds."""
    resamples: int = 1000
    """Bootstrap resamples."""
    train: int = 1_000_000
    """Training tasks of a scenario."""
    validation: int = 10_000
    """Validation tasks."""
    test: int = 20_000
    """Test tasks."""
    networks_train: int = 20_000
    """Training tasks of a real network, where only the system state varies."""
    random_test: int = 1000
    """Test tasks of a random graph."""
    block: int = 5000
    """Tasks drawn from one generator."""
    steps: int = 6000
    """Updates of teacher and students."""
    costs_steps: int = 4000
    """Updates of a student on the costs of labels."""
    costs_train: int = 100_000
    """Training tasks whose costs are searched."""
    networks_steps: int = 800
    """The same, on real networks."""
    batch: int = 512
    """Tasks in each update."""
    any_seeds: tuple = (0, 1, 2, 3, 4)
    """Training seeds of `anygraph`."""
    any_steps: tuple = (5500, 7500)
    """Its steps of imitation, and against the delay."""
    any_graphs: int = 4000
    """Graphs that its training draws from."""
    linear_labels: int = 100_000
    """Labels of the linear classifier."""
    random_forest_labels: tuple = (("chain", 7500), ("dag", 6000), ("fusion", 2000))
    """Labels of a forest, by scenario: as many as about 16 s of one core allow."""
    boosting_labels: tuple = (("chain", 64_000), ("dag", 53_000), ("fusion", 18_000))
    """Labels of boosted trees, by scenario: the same."""
    networks_labels: int = 5000
    """Labels of either on real networks."""
    trees: int = 40
    """Trees of a forest."""
    iterations: int = 50
    """Iterations of boosting."""
    dqn_episodes: tuple = (("dag", (10_000, 100_000)), ("fusion", (30_000,)), ("chain", (40_000,)))
    """Episodes of DQN by scenario, each number a training of its own: the largest for all of its
    seeds, smaller ones for the first."""
    dqn_seeds: int = 3
    """Training seeds of DQN."""
    dqn_hidden: tuple = (256, 256, 256)
    """Widths of its hidden layers."""
    dqn_validation: int = 2000
    """Validation tasks of its curve."""
    dqn_points: int = 12
    """Points of its curve."""
    grid_labels: tuple = (2000, 10_000, 50_000, 200_000, 1_000_000)
    """Numbers of labels in the study of distillation; the last is all of them."""
    grid_focus: int = 10_000
    """The number of labels at which it varies the recipe."""
    grid_steps: int = 2000
    """Steps of its students, at least."""
    grid_teachers: tuple = ((500, 3.0), (800, 1.0), (2000, 1.0), (3000, 0.3), (3000, 0.05))
    """Steps and weight decays of its teachers, to choose from."""
    grid_batch: int = 256
    """Tasks in each update of either."""
    dependence_seeds: tuple = (0, 1, 2)
    """Training seeds of chains and independent networks of several sizes."""
    dependence_labels: int = 200_000
    """Their labels."""
    dependence_steps: int = 600
    """Their steps."""
    cell_tasks: int = 600
    """Tasks of a cell of a study of conditions."""
    cell_resamples: int = 400
    """Bootstrap resamples of a cell."""
    sweep_values: int = 9
    """Values of a swept quantity."""
    online_tasks: int = 2500
    """Tasks of a trace."""
    online_points: int = 40
    """Windows that a trace is drawn in."""
    scale_sizes: tuple = (12, 24, 40, 64, 100)
    """Subtasks of the random graphs that show scale."""
    scale_graphs: int = 200
    """Graphs of each size."""
    scale_tasks: int = 2
    """Tasks of each graph."""
    scale_nodes: tuple = (300, 3000, 30_000, 300_000)
    """Nodes at which the exact search is stopped."""
    application_points: tuple = ((2000, 200), (20_000, 600), (100_000, 2000), (400_000, 4000))
    """Labels and steps that an application's networks are trained with."""
    application_seeds: tuple = (0, 1, 2)
    """Their training seeds."""
    application_sessions: tuple = (4, 3)
    """Its tasks that run in the testbed, and how often each."""
    public_tasks: int = 10
    """Tasks of a public graph."""
    operators_tasks: int = 200
    """Tasks of a network cut operator by operator."""
    testbed: tuple = (("held", "user", 40), ("held", "tc", 20), ("real", "user", 10))
    """The testbed: how subtasks are computed, who shapes the links, sessions of three tasks."""
    processes: int = 5
    """Fresh processes that times are measured in."""
    timing_inputs: int = 2000
    """Tasks that a policy is timed on."""
    speed: tuple = (3, 0.08, 10, 20_000)
    """Timing of the label generator: rounds, seconds, graphs of a size, tasks for each worker."""
    proofs: int = 1500
    """Tasks of each proof."""
    found: tuple = ()
    """Pairs of a policy and the training seeds whose networks or decisions a run finds, where it
    trains nothing itself; () says that there are none."""

    def count(self, scenario: str, split: str) -> int:
        """Tasks of a split of a scenario."""
        if scenario.startswith("random"):
            return self.random_test
        if split == "train" and scenario.startswith("networks"):
            return self.networks_train
        return getattr(self, split)


PAPER = Profile()
SMOKE = Profile(
    name="smoke",
    seeds=(0, 1),
    resamples=100,
    train=4000,
    validation=500,
    test=500,
    networks_train=1500,
    random_test=100,
    block=500,
    steps=250,
    costs_steps=100,
    costs_train=1000,
    networks_steps=100,
    batch=128,
    any_seeds=(0, 1),
    any_steps=(60, 100),
    any_graphs=200,
    linear_labels=2000,
    random_forest_labels=(("chain", 1000), ("dag", 1000), ("fusion", 1000)),
    boosting_labels=(("chain", 1000), ("dag", 1000), ("fusion", 1000)),
    networks_labels=500,
    trees=10,
    iterations=5,
    dqn_episodes=(("dag", (100, 200)), ("fusion", (100,)), ("chain", (100,))),
    dqn_seeds=2,
    dqn_hidden=(32, 32),
    dqn_validation=200,
    dqn_points=4,
    grid_labels=(500, 4000),
    grid_focus=500,
    grid_steps=60,
    grid_teachers=((20, 0.3), (40, 0.3)),
    grid_batch=64,
    dependence_seeds=(0, 1),
    dependence_labels=4000,
    dependence_steps=60,
    cell_tasks=200,
    cell_resamples=100,
    sweep_values=5,
    online_tasks=400,
    online_points=20,
    scale_sizes=(12, 24, 40, 64),
    scale_graphs=3,
    scale_tasks=5,
    scale_nodes=(300, 3000, 300_000),
    application_points=((500, 20), (2000, 60)),
    application_seeds=(0, 1),
    application_sessions=(1, 1),
    public_tasks=2,
    operators_tasks=20,
    testbed=(("held", "user", 2), ("real", "user", 1)),
    processes=2,
    timing_inputs=150,
    speed=(2, 0.03, 1, 1500),
    proofs=20,
)
# `make verify`: all test tasks, and as many training tasks as a fixed placement is chosen on.
VERIFY = replace(PAPER, name="verify", train=5000, processes=4, timing_inputs=800, proofs=150)
LAB = replace(
    SMOKE, name="lab", seeds=(0,), any_seeds=(0,), dependence_seeds=(0,)
)  # a notebook opened by hand
PROFILES = {profile.name: profile for profile in (PAPER, SMOKE, VERIFY, LAB)}
