"""One network for any task graph of up to twelve subtasks, also for graphs that it never saw.

A task and its graph are padded into one vector, so the network is a Model like any other. It
proposes K placements of twelve subtasks, of which those that exist count; `verification` picks and
mends the best. Training is that of `delay_aware`, with a new random graph for every task.

The padded vector (FEATURES,) is positive, since a Model takes logarithms. Each of twelve positions
j has cycles, the bytes from each of the nodes j - 1 to j - 4, and the bytes to the sink, each with
a flag behind it. The system state comes last. A flag is e for what is there, else 1: its logarithm
is 1 or 0. What is not there has the middle of its range, which the scaling makes 0.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numba import njit
from torch.optim.lr_scheduler import OneCycleLR

from ..artifact import Run
from ..graphs import TaskGraph, random_graph
from ..labels import solve
from ..models import Model, logits, model_path, save
from ..parallel import in_parallel
from ..tasks import STATE, Ranges, check_tasks, sample_tasks
from .delay_aware import (
    Stage,
    Tuning,
    delay_gradient,
    falling,
    imitation_gradient,
    new_network,
    train_stages,
)

SCENARIO = "any"
FEWEST, MOST = 4, 12  # subtasks of the graphs trained on; fewer are padded like any other
WINDOW = 4  # a subtask's inputs come from the nodes this close before it, as in `random_graph`
BLOCK = 2 + 2 * WINDOW + 2
FEATURES = BLOCK * MOST + len(STATE)
EDGES = WINDOW * MOST + MOST
TRAINING = 1000  # labels are of random graphs from this index on; those before are for tests
TASKS_PER_GRAPH = 20
THERE = np.e
KINDS = ("cycles", "bytes", *("down_over_up" if q == "B_down" else q for q in STATE))  # of Ranges

ANY = Tuning("student_any", (128, 96), 8, 2, 3000, 6000, 2e-3)


@lru_cache
def padded_scaling(ranges: Ranges = Ranges()) -> tuple[np.ndarray, ...]:
    """(mean, deviation, low, high), each (FEATURES,), of the logarithms of padded tasks drawn from
    `ranges`: exact, for quantities that are there; flags stay 0 and 1."""
    block = [entry for kind in ("cycles", *["bytes"] * (WINDOW + 1)) for entry in (kind, "flag")]
    kinds = block * MOST + list(KINDS[2:])
    low, high = np.log([getattr(ranges, kind, (1, THERE)) for kind in kinds]).T
    mean, deviation = (low + high) / 2, (high - low) / np.sqrt(12)
    up, down = (kinds.index(kind) for kind in ("B_up", "down_over_up"))
    deviation[down] = np.hypot(deviation[down], deviation[up])
    for bound in (mean, low, high):
        bound[down] += bound[up]
    flags = np.array(kinds) == "flag"
    mean[flags], deviation[flags] = 0.0, 1.0
    deviation[deviation == 0] = 1.0  # a constant tells nothing
    return mean, deviation, low, high


def absent(ranges: Ranges = Ranges()) -> np.ndarray:
    """A padded vector (FEATURES,) where nothing is there but the middle of the ranges."""
    return np.exp(padded_scaling(ranges)[0])


def pad(graph: TaskGraph, tasks, ranges: Ranges = Ranges()) -> np.ndarray:
    """Tasks (S, F) in SI units, all positive -> padded (S, FEATURES); `ranges` as in training.

    Raises ValueError naming a graph that cannot be padded, and why, or a bad value.
    """
    n, edges = graph.n, graph.edges
    if n > MOST:
        raise ValueError(f"graph {graph.name!r}: {n} subtasks, expected at most {MOST}")
    if far := [(i, j) for i, j in edges if j <= n and j - i > WINDOW]:
        raise ValueError(f"graph {graph.name!r}: edge {far[0]} spans more than {WINDOW} nodes")
    t = check_tasks(graph, np.atleast_2d(tasks), positive=True)
    at = [BLOCK * j for j in range(n)]
    at += [BLOCK * (j - 1) + 2 * (j - i) if j <= n else BLOCK * i - 2 for i, j in edges]
    out = np.tile(absent(ranges), (len(t), 1))
    out[:, np.array(at) + 1] = THERE
    out[:, at + list(range(BLOCK * MOST, FEATURES))] = t
    return out


class Rows(NamedTuple):
    """A graph and a task a row, filled from the left: kernels take a row as it is."""

    n: np.ndarray  # (B,)
    first: np.ndarray  # (B, MOST + 3)
    source: np.ndarray  # (B, EDGES)
    tasks: np.ndarray  # (B, MOST + EDGES + 8)


def new_rows(count: int) -> Rows:
    """Room for `draw_rows`."""
    first, source = np.zeros((count, MOST + 3), np.int64), np.zeros((count, EDGES), np.int64)
    return Rows(np.empty(count, np.int64), first, source, np.ones((count, MOST + EDGES + 8)))


@njit(cache=True)
def _draw_graph(n, rng, first, source):
    """A random graph of n subtasks from the family of `random_graph`, into `first` and `source`."""
    used, window = np.zeros(n + 1, np.bool_), np.empty(WINDOW, np.int64)
    edges = first[0] = first[1] = 0
    for j in range(1, n + 1):
        width = min(WINDOW, j)
        for q in range(width):
            window[q] = j - width + q
        inputs = min(1 + int(3 * rng.random()), width)
        for q in range(inputs):  # without replacement
            r = q + int((width - q) * rng.random())
            window[q], window[r] = window[r], window[q]
        window[:inputs].sort()
        for q in range(inputs):
            source[edges] = window[q]
            used[window[q]] = True
            edges += 1
        first[j + 1] = edges
    for i in range(1, n + 1):
        if not used[i]:
            source[edges] = i
            edges += 1
    first[n + 2] = edges


@njit(cache=True)
def draw_rows(low_high, rng, rows):
    """A random graph and task in every row. low_high (10, 2): logarithms of the ranges of KINDS."""
    for b in range(len(rows.n)):
        n = rows.n[b] = FEWEST + int((MOST + 1 - FEWEST) * rng.random())
        _draw_graph(n, rng, rows.first[b], rows.source[b])
        edges, task = rows.first[b, n + 2], rows.tasks[b]
        for q in range(n + edges + 8):
            low, high = low_high[0 if q < n else max(1, q - n - edges + 2)]
            task[q] = np.exp(low + (high - low) * rng.random())
        task[n + edges + 4] *= task[n + edges + 3]


@njit(cache=True)
def pad_rows(rows, nothing, out):
    """Pad rows -> out (B, FEATURES). nothing (FEATURES,): `absent`."""
    for b in range(len(rows.n)):
        n, first, source = rows.n[b], rows.first[b], rows.source[b]
        task, padded = rows.tasks[b], out[b]
        padded[:] = nothing
        for j in range(1, n + 2):
            if j <= n:
                padded[BLOCK * (j - 1)], padded[BLOCK * (j - 1) + 1] = task[j - 1], THERE
            for e in range(first[j], first[j + 1]):
                i = source[e]
                at = BLOCK * (j - 1) + 2 * (j - i) if j <= n else BLOCK * i - 2
                padded[at], padded[at + 1] = task[n + e], THERE
        for q in range(8):
            padded[FEATURES - 8 + q] = task[n + first[n + 2] + q]


@njit(cache=True)
def delay_gradient_rows(rows, logits, samples, rng, gradient):
    """`delay_gradient` with a graph a row -> mean best delay drawn; what is not there gets 0."""
    total = 0.0
    gradient[:] = 0
    for b in range(len(rows.n)):
        n, one = rows.n[b], slice(b, b + 1)
        first, source = rows.first[b, : n + 3], rows.source[b, : rows.first[b, n + 2]]
        drawn, part = logits[one, :, :n], gradient[one, :, :n]
        total += delay_gradient(n, first, source, rows.tasks[one], drawn, samples, rng, part)
    gradient /= len(rows.n)
    return total / len(rows.n)


@njit(cache=True)
def imitation_gradient_rows(n, logits, labels, share, gradient):
    """`imitation_gradient` with n (B,) subtasks and labels (B, MOST) -> mean loss."""
    total = 0.0
    gradient[:] = 0
    for b in range(len(n)):
        m, one = n[b], slice(b, b + 1)
        drawn, part = logits[one, :, :m], gradient[one, :, :m]
        total += imitation_gradient(drawn, labels[one, :m], share, part)
    gradient /= len(n)
    return total / len(n)


def labelled(count: int, rng: np.random.Generator, ranges: Ranges = Ranges()):
    """At least `count` tasks of random graphs with exact labels: n (S,), float32 logarithms of the
    padded tasks (S, FEATURES), labels (S, MOST)."""
    sizes, inputs, labels = [], [], []
    for index in range(-(-count // TASKS_PER_GRAPH)):
        graph = random_graph(FEWEST + index % (MOST + 1 - FEWEST), TRAINING + index)
        tasks = sample_tasks(graph, TASKS_PER_GRAPH, rng, ranges)
        sizes.append(np.full(len(tasks), graph.n))
        inputs.append(np.log(pad(graph, tasks, ranges)).astype(np.float32))
        labels.append(np.pad(solve(graph, tasks).placements, ((0, 0), (0, MOST - graph.n))))
    return np.concatenate(sizes), np.concatenate(inputs), np.concatenate(labels)


def fit_any(recipe: Tuning = ANY, seed: int = 0, ranges: Ranges = Ranges()):
    """Train one network: (Model, curve as of `train_stages`).

    Imitation of exact labels, then fine-tuning with a fresh random graph for every task. All is
    drawn from `seed`.
    """
    rng, numbers = np.random.default_rng(seed), padded_scaling(ranges)
    net = new_network(recipe, FEATURES, MOST, seed)
    sizes, inputs, labels = labelled(recipe.labels, rng, ranges)
    rows, padded = new_rows(recipe.batch), np.empty((recipe.batch, FEATURES))
    low_high, nothing = np.log([getattr(ranges, kind) for kind in KINDS]), absent(ranges)

    def drawn():
        some = rng.integers(0, len(sizes), recipe.batch)
        return inputs[some], sizes[some], labels[some]

    def imitated(step, n, wanted, logits, gradient):
        return imitation_gradient_rows(n, logits, wanted, recipe.share_at(step), gradient)

    def fresh():
        draw_rows(low_high, rng, rows)
        pad_rows(rows, nothing, padded)
        return (np.log(padded),)

    def priced(_, logits, gradient):
        return delay_gradient_rows(rows, logits, recipe.samples, rng, gradient)

    first, second = recipe.imitation_steps, recipe.delay_steps
    rate, line = recipe.imitation_rate, falling(second, 100, lambda at: 1 - at, 1e-3)
    cycle = partial(OneCycleLR, max_lr=rate, total_steps=first, pct_start=0.05)
    stages = [
        Stage("imitation", first, rate, cycle, drawn, imitated),
        Stage("delay", second, recipe.delay_rate, line, fresh, priced),
    ]
    curve = train_stages(net, *numbers[:2], stages)
    return Model(recipe.role, SCENARIO, seed, *numbers, *net.arrays()), curve


def propose_any(model: Model, graph: TaskGraph, tasks) -> np.ndarray:
    """The K proposals of a model for a graph it need not have seen: int8 (S, K, n).

    tasks (S, F) in SI units. Raises ValueError for a graph that cannot be padded, a bad task or a
    model of another scenario.
    """
    if model.scenario != SCENARIO:
        raise ValueError(f"model: trained for {model.scenario!r}, expected {SCENARIO!r}")
    out = logits(model, pad(graph, tasks))  # (S, K, MOST, 3) or, of one hypothesis, (S, MOST, 3)
    out = out.reshape(len(out), model.hypotheses, MOST, 3)[:, :, : graph.n]
    return out.argmax(-1).astype(np.int8)


def train_all_any(run: Run) -> list[Model]:
    """Train and save a network for every seed of a run, in parallel."""
    p = run.profile
    steps = {"imitation_steps": max(40, p.imitation_steps), "delay_steps": 3 * p.delay_steps}
    recipe = replace(ANY, labels=min(ANY.labels, p.train), **steps)
    trained = in_parallel(fit_any, [(recipe, seed) for seed in p.seeds], recipe.role)
    for model, _ in trained:
        save(model, model_path(run, model.role, model.scenario, model.seed))
    return [model for model, _ in trained]
