"""One network for any task graph of up to twelve subtasks, trained on random graphs and asked about graphs it never saw.

A task and its graph are padded into one vector of fixed length, so the network is a Model like any other and runs on the
same runtimes: it proposes K placements of twelve subtasks, of which those that exist count, and verification picks and
mends the best (see `verification`). Training is that of `tuning`, with a new random graph for every task.

The padded vector (FEATURES,), all positive, since a Model takes logarithms. For each position j = 1..12:
    cycles, there; then for each of the nodes j - 1, .., j - 4: bytes from it, there; then bytes to the sink, there;
and at last the eight quantities of the system state. `there` is e or 1, whose logarithms are 1 and 0; what is not there has
the middle of its range, which the scaling makes 0.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from numba import njit
from torch import nn

from .config import Run
from .delay import all_delays, delay
from .graphs import TaskGraph, random_graph
from .heuristics import local_search
from .labels import solve
from .learning import Model, Network, in_parallel, logits, model_path, save
from .sampling import STATE, Ranges, check_tasks, sample_tasks
from .tuning import Tuning, delay_gradient, imitation_gradient
from .verification import improve

SCENARIO = "any"
FEWEST, MOST = 4, 12  # subtasks of the graphs trained on; fewer are padded like any other
WINDOW = 4  # a subtask's inputs come from the nodes this close before it, as in `graphs.random_graph`
BLOCK = 2 + 2 * WINDOW + 2
FEATURES = BLOCK * MOST + len(STATE)
EDGES = WINDOW * MOST + MOST
TRAINING = 1000  # labels are of random graphs from this index on; those before are for tests
TASKS_PER_GRAPH = 20
THERE = np.e

ANY = Tuning("student_any", (128, 96), 8, 2, 3000, 6000, 2e-3)


def padded_names() -> list[str]:
    """Names of a padded vector's entries, in order."""
    names = []
    for j in range(1, MOST + 1):
        blocks = [f"w_{j}", *(f"d_{j - back}_{j}" for back in range(1, WINDOW + 1)), f"d_{j}_sink"]
        names += [name for block in blocks for name in (block, f"{block} there")]
    return names + list(STATE)


@lru_cache
def padded_scaling(ranges: Ranges = Ranges()) -> tuple[np.ndarray, ...]:
    """(mean, deviation, low, high), each (FEATURES,), of the logarithms of padded tasks drawn from `ranges`.

    Exact, for quantities that are there; flags stay 0 and 1.
    """
    low, high = np.zeros(FEATURES), np.ones(FEATURES)
    for at, name in enumerate(padded_names()):
        if not name.endswith("there"):
            field = {"w": "cycles", "d": "bytes"}.get(name[0], "down_over_up" if name == "B_down" else name)
            low[at], high[at] = np.log(getattr(ranges, field))
    mean, deviation = (low + high) / 2, (high - low) / np.sqrt(12)
    up, down = (FEATURES - len(STATE) + STATE.index(name) for name in ("B_up", "B_down"))
    deviation[down] = np.hypot(deviation[down], deviation[up])
    for bound in (mean, low, high):
        bound[down] += bound[up]
    flags = np.array([name.endswith("there") for name in padded_names()])
    mean[flags], deviation[flags] = 0.0, 1.0
    deviation[deviation == 0] = 1.0  # a constant tells nothing
    return mean, deviation, low, high


@njit(cache=True)
def pad_one(n, first, source, task, absent, out):
    """Pad one task (F,) or longer -> `out` (FEATURES,), unchecked. absent (FEATURES,): what stands where nothing is."""
    out[:] = absent
    for j in range(1, n + 1):
        block = BLOCK * (j - 1)
        out[block], out[block + 1] = task[j - 1], THERE
        for e in range(first[j], first[j + 1]):
            at = block + 2 * (j - source[e])
            out[at], out[at + 1] = task[n + e], THERE
    for e in range(first[n + 1], first[n + 2]):
        at = BLOCK * source[e] - 2
        out[at], out[at + 1] = task[n + e], THERE
    for q in range(8):
        out[FEATURES - 8 + q] = task[n + first[n + 2] + q]


@njit(cache=True)
def _pad_many(n, first, source, tasks, absent, out):
    for s in range(len(tasks)):
        pad_one(n, first, source, tasks[s], absent, out[s])


def check_fit(graph: TaskGraph) -> None:
    """Raises ValueError naming a graph that cannot be padded, and why."""
    if graph.n > MOST:
        raise ValueError(f"graph {graph.name!r}: {graph.n} subtasks, expected at most {MOST}")
    for i, j in graph.edges:
        if j <= graph.n and j - i > WINDOW:
            raise ValueError(f"graph {graph.name!r}: edge ({i}, {j}) spans more than {WINDOW} nodes, cannot be padded")


def pad(graph: TaskGraph, tasks, ranges: Ranges = Ranges()) -> np.ndarray:
    """Tasks (S, F) in SI units, all positive -> padded (S, FEATURES).

    `ranges` as in training: what is not there gets their middle. Raises ValueError naming a bad graph or value.
    """
    check_fit(graph)
    t = check_tasks(graph, np.atleast_2d(tasks), positive=True)
    out = np.empty((len(t), FEATURES))
    _pad_many(graph.n, graph.first, graph.source, t, _absent(ranges), out)
    return out


def _absent(ranges: Ranges) -> np.ndarray:
    return np.exp(padded_scaling(ranges)[0])


@njit(cache=True)
def draw_graph(n, rng, first, source):
    """A random graph of n subtasks from the family of `graphs.random_graph` -> `first` (n + 3,), `source` (edges,)."""
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
def draw_many(low_high, rng, n, first, source, tasks):
    """A random graph and task in every row: n (B,), first (B, MOST + 3), source (B, EDGES), tasks (B, MOST + EDGES + 8).

    Rows are filled from the left as for one graph, so that the kernels for one graph take a row as it is.
    low_high (10, 2): logarithms of the ranges of cycles, bytes, and the state with B_down / B_up for B_down.
    """
    for b in range(len(n)):
        n[b] = FEWEST + int((MOST + 1 - FEWEST) * rng.random())
        draw_graph(n[b], rng, first[b], source[b])
        edges, task = first[b, n[b] + 2], tasks[b]
        for q in range(n[b] + edges + 8):
            kind = 0 if q < n[b] else max(1, q - n[b] - edges + 2)
            low, high = low_high[kind]
            task[q] = np.exp(low + (high - low) * rng.random())
        task[n[b] + edges + 4] *= task[n[b] + edges + 3]


@njit(cache=True)
def pad_rows(n, first, source, tasks, absent, out):
    """Pad rows as `draw_many` fills them -> out (B, FEATURES)."""
    for b in range(len(n)):
        pad_one(n[b], first[b], source[b], tasks[b], absent, out[b])


@njit(cache=True)
def delay_gradient_rows(n, first, source, tasks, logits, samples, rng, gradient):
    """`tuning.delay_gradient` with a graph for every row -> mean best delay drawn; positions that are not there get 0."""
    total = 0.0
    gradient[:] = 0
    for b in range(len(n)):
        m, one = n[b], slice(b, b + 1)
        edges = first[b, m + 2]
        total += delay_gradient(
            m,
            first[b, : m + 3],
            source[b, :edges],
            tasks[one],
            logits[one, :, :m],
            samples,
            rng,
            gradient[one, :, :m],
        )
    gradient /= len(n)
    return total / len(n)


@njit(cache=True)
def imitation_gradient_rows(n, logits, labels, share, gradient):
    """`tuning.imitation_gradient` with a number of subtasks for every row, labels (B, MOST) -> mean loss."""
    total = 0.0
    gradient[:] = 0
    for b in range(len(n)):
        m, one = n[b], slice(b, b + 1)
        total += imitation_gradient(logits[one, :, :m], labels[one, :m], share, gradient[one, :, :m])
    gradient /= len(n)
    return total / len(n)


def labelled(count: int, rng: np.random.Generator, ranges: Ranges = Ranges()):
    """At least `count` tasks of random graphs with exact labels -> n (S,), padded float32 logs (S, FEATURES), labels (S, MOST)."""
    sizes, inputs, labels = [], [], []
    for index in range(-(-count // TASKS_PER_GRAPH)):
        graph = random_graph(FEWEST + index % (MOST + 1 - FEWEST), TRAINING + index)
        tasks = sample_tasks(graph, TASKS_PER_GRAPH, rng, ranges)
        sizes.append(np.full(len(tasks), graph.n))
        inputs.append(np.log(pad(graph, tasks, ranges)).astype(np.float32))
        labels.append(np.pad(solve(graph, tasks).placements, ((0, 0), (0, MOST - graph.n))))
    return np.concatenate(sizes), np.concatenate(inputs), np.concatenate(labels)


def fit_any(recipe: Tuning = ANY, seed: int = 0, ranges: Ranges = Ranges()):
    """Train one network: (Model, list of one dict every 500 steps: stage, step, objective).

    Imitation of exact labels, then fine-tuning with a fresh random graph for every task. All is drawn from `seed`.
    """
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    mean, deviation, low, high = padded_scaling(ranges)
    absent, batch = _absent(ranges), recipe.batch
    net = Network([FEATURES, *recipe.hidden, 3 * MOST], recipe.hypotheses)
    for layer, w in enumerate(net.weights):
        nn.init.kaiming_uniform_(w.data.T, nonlinearity="relu", generator=generator)
        w.data *= 0.5 if layer == len(net.weights) - 1 else 1.0
    if recipe.hypotheses > 1:
        nn.init.normal_(net.biases[-2], 0, 0.5, generator=generator)
    gradient = np.empty((batch, recipe.hypotheses, MOST, 3), np.float32)
    shape = gradient.shape if recipe.hypotheses > 1 else (batch, MOST, 3)
    curve: list[dict] = []

    def model():
        return Model(recipe.role, SCENARIO, seed, mean, deviation, low, high, *net.arrays())

    def stage(called, steps, optimiser, schedule, draw, gradient_of):
        total, since = 0.0, 0
        for step in range(1, steps + 1):
            logs, *rows = draw()
            out = net(torch.from_numpy(((logs - mean) / deviation).astype(np.float32)))
            total += gradient_of(step, *rows, out.detach().numpy().reshape(gradient.shape))
            since += 1
            optimiser.zero_grad(set_to_none=True)
            out.backward(torch.from_numpy(gradient.reshape(shape)))
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            if step % 500 == 0 or step == steps:
                curve.append({"stage": called, "step": step, "objective": total / since})
                total, since = 0.0, 0

    sizes, inputs, labels = labelled(recipe.labels, rng, ranges)

    def drawn():
        rows = rng.integers(0, len(sizes), batch)
        return inputs[rows], sizes[rows], labels[rows]

    def imitated(step, n, wanted, logits):
        share = recipe.share if step > recipe.imitation_steps // 10 else 0.3
        return imitation_gradient_rows(n, logits, wanted, share, gradient)

    kinds = ["cycles", "bytes", *("down_over_up" if name == "B_down" else name for name in STATE)]
    low_high = np.log([getattr(ranges, kind) for kind in kinds])
    n, first = np.empty(batch, np.int64), np.zeros((batch, MOST + 3), np.int64)
    source, tasks = np.zeros((batch, EDGES), np.int64), np.ones((batch, MOST + EDGES + 8))
    padded = np.empty((batch, FEATURES))

    def fresh():
        draw_many(low_high, rng, n, first, source, tasks)
        pad_rows(n, first, source, tasks, absent, padded)
        return (np.log(padded),)

    def priced(_, logits):
        return delay_gradient_rows(n, first, source, tasks, logits, recipe.samples, rng, gradient)

    optimiser = torch.optim.Adam(net.parameters(), recipe.imitation_rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.imitation_rate, recipe.imitation_steps, pct_start=0.05
    )
    stage("imitation", recipe.imitation_steps, optimiser, schedule, drawn, imitated)
    if recipe.delay_steps:
        optimiser = torch.optim.Adam(net.parameters(), recipe.delay_rate, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda s: min(1, (s + 1) / 100) * (1 - s / recipe.delay_steps) + 1e-3
        )
        stage("delay", recipe.delay_steps, optimiser, schedule, fresh, priced)
    return model(), curve


def propose_any(model: Model, graph: TaskGraph, tasks) -> np.ndarray:
    """The K proposals of a model for a graph it need not have seen: tasks (S, F) in SI units -> int8 (S, K, n).

    Raises ValueError for a graph that cannot be padded, a bad task or a model of another scenario.
    """
    if model.scenario != SCENARIO:
        raise ValueError(f"model: trained for {model.scenario!r}, expected {SCENARIO!r}")
    out = logits(model, pad(graph, tasks))
    return out.reshape(len(out), model.hypotheses, MOST, 3)[:, :, : graph.n].argmax(-1).astype(np.int8)


def any_graph(run: Run, tasks: int = 200) -> pd.DataFrame:
    """Train and save a network a seed; the table of what they are worth: n_subtasks, policy, seed, regret, regret_p99, evaluations, parameters.

    On graphs never seen in training, 20 of each size in the reference run, with `tasks` tasks each. Rivals start from the three single
    locations: the best of them, the same verification, and local search to its end.
    """
    p = run.profile
    recipe = replace(
        ANY, imitation_steps=max(40, p.imitation_steps), delay_steps=3 * p.delay_steps, labels=min(ANY.labels, p.train)
    )
    models = [m for m, _ in in_parallel(fit_any, [(recipe, seed) for seed in p.seeds], "student_any")]
    for m in models:
        save(m, model_path(run, m.role, m.scenario, m.seed))
    found: dict[tuple, list] = {}
    for n in range(FEWEST, MOST + 1):
        for index in range(max(1, p.random_test // 50)):
            graph = random_graph(n, index)
            t = sample_tasks(graph, tasks, np.random.default_rng([p.seed, n, index]))
            best = solve(graph, t).delays
            singles = np.tile(np.arange(3, dtype=np.int8)[:, None], (len(t), 1, n))
            none, sixteen = np.zeros(len(t)), 16
            decided = {
                ("best_single", "", 0): (all_delays(graph, t, singles[0]).min(1), none + 3),
                ("three single locations, verified", "", 0): improve(graph, t, singles, sixteen)[1:],
                ("local_search_3", "", 0): local_search(graph, t)[1:],
            }
            for m in models:
                x = propose_any(m, graph, t)
                alone = [delay(graph, t, np.ascontiguousarray(x[:, k])) for k in range(m.hypotheses)]
                decided["student_any, one proposal", m.seed, m.parameters] = (alone[0], none)
                decided["student_any, best proposal", m.seed, m.parameters] = (
                    np.min(alone, axis=0),
                    none + m.hypotheses,
                )
                decided["student_any, verified", m.seed, m.parameters] = improve(graph, t, x, sixteen)[1:]
            for key, (delays, evaluations) in decided.items():
                found.setdefault((n, *key), []).append((delays / best - 1, evaluations))
    rows = []
    for (n, policy, seed, parameters), parts in found.items():
        regret, evaluations = map(np.concatenate, zip(*parts))
        row = {"n_subtasks": n, "policy": policy, "seed": seed, "n_test": len(regret), "regret": regret.mean()}
        rows.append(
            row | {"regret_p99": np.quantile(regret, 0.99), "evaluations": evaluations.mean(), "parameters": parameters}
        )
    return pd.DataFrame(rows)
