"""What it brings that labels see each other: classifier chains against independent networks.

The optimal places of two subtasks depend on each other. A network with independent labels knows
each one's place by itself; a classifier chain decides the second knowing where the first went.
Networks of both kinds learn from the same labels, for the same number of steps and without a
teacher, in several sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.special import softmax

from experiments.baselines.decisions import looped
from experiments.parallel import in_parallel
from experiments.run import Run, load
from experiments.runtimes.compiled import compile_network, decide_batch
from experiments.scenarios import SHOWN, scenario
from experiments.studies.clock import in_fresh_processes, time_interleaved
from kd_offload.delay import delay
from kd_offload.distill import PLAIN, fit
from kd_offload.graphs import TaskGraph
from kd_offload.labels import Labelled
from kd_offload.model import Model, logits

# Width of both hidden layers, and units of each subtask in the chain; 0: independent.
SIZES = ((32, 0), (128, 0), (256, 0), (32, 4), (64, 8), (128, 16))
CURVE = 1000  # validation tasks of the training curves, which nobody looks at
CHUNK = 100  # tasks of one compiled loop
CHUNKS = 10  # such loops that a process times


def dependence(run: Run) -> pd.DataFrame:
    """Regret and time of chains and independent networks.

    Returns
    -------
    pandas.DataFrame
        A row for each scenario, size and training seed: scenario, dependence ("chain" or
        "independent"), hidden, units, parameters, macs, seed; regret_mean and regret_p99 on test
        tasks; time_us: a decision's time in a compiled loop, the median over fresh processes.
    """
    largest_first = sorted(SIZES, key=lambda size: size[0] * (1 + size[1]), reverse=True)
    jobs = [(run, name, *size) for size in largest_first for name in reversed(SHOWN)]
    trained = in_parallel(train, jobs, "chains and independent networks")
    models = {name: [] for name in SHOWN}
    for (_, name, *_), part in zip(jobs, trained):
        models[name] += part
    times = in_fresh_processes(_time, run, models, what="timing")
    rows = []
    for name in SHOWN:
        microseconds = np.median(np.concatenate([part[name] for part in times], 1), 1)
        for model, time_us in zip(models[name], microseconds):
            rows.append(_row(run, name, model) | {"time_us": time_us})
    order = ["scenario", "dependence", "parameters", "seed"]
    return pd.DataFrame(rows).sort_values(order, ignore_index=True)


def train(run: Run, name: str, width: int, units: int) -> list[Model]:
    """The networks of one size for a scenario: one for each training seed."""
    profile = run.profile
    labelled = Labelled(*(part[: profile.dependence_labels] for part in load(run, name, "train")))
    watched = Labelled(*(part[:CURVE] for part in load(run, name, "validation")))
    recipe = replace(PLAIN, hidden=(width, width), units=units)
    recipe = replace(recipe, steps=profile.dependence_steps, batch=profile.batch)
    return fit(recipe, scenario(name).graph, labelled, watched, profile.dependence_seeds).models


def _row(run: Run, name: str, model: Model) -> dict:
    graph, test = scenario(name).graph, load(run, name, "test")
    regret = delay(graph, test.tasks, _decided(model, test.tasks)) / test.delays - 1
    return {
        "scenario": name,
        "dependence": "chain" if model.units else "independent",
        "hidden": "-".join(str(len(bias)) for bias in model.biases[:-1]),
        "units": model.units,
        "parameters": model.parameters,
        "macs": model.macs,
        "seed": model.seed,
        "regret_mean": regret.mean(),
        "regret_p99": np.quantile(regret, 0.99),
    }


def _decided(model: Model, tasks: np.ndarray) -> np.ndarray:
    return logits(model, tasks).argmax(-1).astype(np.int8)


def _time(p: int, run: Run, models: dict[str, list[Model]]) -> dict[str, np.ndarray]:
    """Microseconds of a decision that process p measures, by scenario: (models, CHUNKS)."""
    measured = {}
    for name, of_name in models.items():
        tasks = load(run, name, "test").tasks
        start = CHUNK * CHUNKS * p
        rows = np.arange(start, start + CHUNK * CHUNKS).reshape(CHUNKS, CHUNK) % len(tasks)
        loops = [_loop(model) for model in of_name]
        measured[name] = time_interleaved(loops, [*tasks[rows]], warmup=1) / CHUNK
    return measured


def _loop(model: Model) -> Callable[[np.ndarray], np.ndarray]:
    """A compiled loop of a network's decisions: tasks (S, F) -> placements int8 (S, n)."""
    return looped(model.role, decide_batch, compile_network(model), model.graph.n).decide


def linked_labels(
    graph: TaskGraph, test: Labelled, independent: Model, chain: Model
) -> pd.DataFrame:
    """Two linked subtasks that must go together, as an independent network and a chain see them.

    Of the tasks in which the chain is right and the independent network tears such a pair apart,
    its only mistake, the one where that costs most. The other subtasks are where they should be.

    Returns
    -------
    pandas.DataFrame
        A row for each place of the two, of the optimum's and the other: task, its number; first
        and second, the subtasks' numbers; first_at and second_at; delay_ms; alone_first and
        alone_second, the independent network's probabilities; chain_first, the chain's;
        chain_second, the chain's of the second subtask's place given the first's.
    """
    s, i, j, a, b = _torn_apart(graph, test, independent, chain)
    places = [(a, a), (a, b), (b, a), (b, b)]
    tasks = test.tasks[[s] * len(places)]
    labels = test.placements[[s] * len(places)]
    labels[:, [i, j]] = places
    alone = softmax(logits(independent, tasks), -1)
    given = softmax(logits(chain, tasks, labels), -1)
    rows, (first, second) = np.arange(len(places)), np.transpose(places)
    columns = {"task": s, "first": i + 1, "second": j + 1, "first_at": first, "second_at": second}
    columns |= {"delay_ms": 1e3 * delay(graph, tasks, labels)}
    for who, p in (("alone", alone), ("chain", given)):
        columns |= {f"{who}_first": p[rows, i, first], f"{who}_second": p[rows, j, second]}
    return pd.DataFrame(columns)


def _torn_apart(graph: TaskGraph, test: Labelled, independent: Model, chain: Model) -> tuple:
    """Task, the two subtasks, the place where both should be, and the one that tears them apart."""
    decided, right = _decided(independent, test.tasks), test.placements
    wrong = decided != right
    usable = (wrong.sum(1) == 1) & (_decided(chain, test.tasks) == right).all(1)
    worst, found = 0.0, None
    for i, j in [(i - 1, j - 1) for i, j in graph.edges if 1 <= i and j <= graph.n]:
        pair = usable & (right[:, i] == right[:, j]) & (wrong[:, i] | wrong[:, j])
        for s in np.flatnonzero(pair):
            a, b = right[s, i], decided[s, i if wrong[s, i] else j]
            placements = right[[s] * 4]
            placements[:, [i, j]] = [(a, a), (b, b), (a, b), (b, a)]
            delays = delay(graph, test.tasks[[s] * 4], placements)
            cost = delays[2:].min() / delays[:2].max()
            if cost > worst:
                worst, found = cost, (s, i, j, a, b)
    if found is None:
        raise ValueError(f"dependence: no task of {graph.name!r} where only the chain is right")
    return found
