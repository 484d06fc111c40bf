"""Delay-aware students: trained for the delay of their decisions, not for the share of labels right.

A network of K hypotheses (see `learning.Model`) is trained in two stages.
1. Imitation of exact labels: the likelihood of the hypotheses' mixture, so that whichever explains a label best learns
   from it most, and the hypotheses part ways.
2. Fine-tuning against the delay model, on fresh tasks that no solver ever saw: policy gradient (Williams, "Simple
   statistical gradient-following algorithms", 1992) of the expected delay of the best hypothesis. With one hypothesis,
   that is the delay of its decision.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numba import njit
from torch import nn

from .config import TRAINED, Run, fingerprint, is_current, provenance, save_json, set_current
from .dataset import Labelled, Scenario, digest, load, scenario
from .delay import delay
from .labels import _prepare
from .learning import Model, Network, curves, in_parallel, model_path, save, scaling
from .sampling import Ranges, sample_tasks
from .verification import _run_from, decide

WORST = 3.0  # regrets count up to this, so that a few hopeless draws do not drown the rest


@dataclass(frozen=True)
class Tuning:
    """What is trained and how: a network of two hidden layers and K hypotheses.

    labels: exact labels imitated; samples: placements drawn of every hypothesis; steps are batches of `batch` tasks.
    share: what of the imitation every hypothesis learns alike, lest one is never used; more in the first tenth.
    """

    role: str
    hidden: tuple[int, int]
    hypotheses: int
    samples: int
    imitation_steps: int
    delay_steps: int
    delay_rate: float
    imitation_rate: float = 4e-3
    labels: int = 100_000
    batch: int = 512
    share: float = 0.05

    def __post_init__(self):
        for field in ("hypotheses", "imitation_steps", "labels", "batch"):
            value = getattr(self, field)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{field}: {value!r}, expected a positive integer")
        if not isinstance(self.delay_steps, int) or self.delay_steps < 0:
            raise ValueError(f"delay_steps: {self.delay_steps!r}, expected an integer, not negative")
        if not isinstance(self.samples, int) or self.samples < 2:
            raise ValueError(f"samples: {self.samples!r}, expected at least 2, to compare")
        for field in ("delay_rate", "imitation_rate"):
            if not 0 < getattr(self, field) < 1:
                raise ValueError(f"{field}: {getattr(self, field)!r}, expected a number between 0 and 1")


TUNED = ("student_tuned", "student_verified")


def tuning(run: Run, role: str, name: str) -> Tuning:
    """The recipe of `role` for scenario `name` at a run's sizes. ValueError for an unknown role."""
    n, p = scenario(name).graph.n, run.profile
    imitation, steps = (p.imitation_steps, p.delay_steps) if not name.startswith("networks") else p.networks_steps
    if role not in TUNED:
        raise ValueError(f"role: {role!r}, expected one of {', '.join(TUNED)}")
    if role == "student_tuned":
        small = Tuning(role, (96, 64), 1, 6, imitation, 2 * steps, 4e-3)
        return small if n <= 12 else replace(small, hidden=(80, 72), delay_steps=4 * steps, delay_rate=2e-3)
    small = Tuning(role, (96, 64), 8, 2, imitation, steps, 2e-3)
    return small if n <= 12 else replace(small, hidden=(64, 64), hypotheses=16, delay_steps=2 * steps)


@njit(cache=True, fastmath=True)
def _softmax(logits, p):
    for k in range(p.shape[0]):
        for i in range(p.shape[1]):
            a, b, c = logits[k, i, 0], logits[k, i, 1], logits[k, i, 2]
            top = max(a, max(b, c))
            a, b, c = np.exp(a - top), np.exp(b - top), np.exp(c - top)
            z = 1 / (a + b + c)
            p[k, i, 0], p[k, i, 1], p[k, i, 2] = a * z, b * z, c * z


@njit(cache=True)
def imitation_gradient(logits, labels, share, gradient):
    """Of the mean over tasks of -[(1 - share) log sum_k p_k(x*) + share mean_k log p_k(x*)] / n -> that mean.

    logits (B, K, n, 3), labels (B, n) -> gradient, as logits.
    """
    count, hypotheses, n = logits.shape[:3]
    p, likelihood, total = np.empty((hypotheses, n, 3), np.float32), np.empty(hypotheses), 0.0
    for b in range(count):
        _softmax(logits[b], p)
        for k in range(hypotheses):
            likelihood[k] = 0.0
            for i in range(n):
                likelihood[k] += np.log(max(p[k, i, labels[b, i]], np.float32(1e-30)))
        top = likelihood.max()
        mixture = np.exp(likelihood - top)
        total -= (1 - share) * (top + np.log(mixture.sum())) + share * likelihood.mean()
        mixture /= mixture.sum()
        for k in range(hypotheses):
            w = np.float32(((1 - share) * mixture[k] + share / hypotheses) / (count * n))
            for i in range(n):
                for c in range(3):
                    gradient[b, k, i, c] = w * p[k, i, c]
                gradient[b, k, i, labels[b, i]] -= w
    return total / (count * n)


@njit(cache=True)
def team_values(regrets, values):
    """Expected regret of the best of a team, given one member: regrets (K, S) -> values (K, S).

    A team is one sample of every hypothesis. values[k, s]: sample s of hypothesis k is in it, the others are drawn
    uniformly from theirs. Exact: E[min(v, M)] is the integral from 0 to v of the chance that M, the others' best, is larger.
    """
    hypotheses, samples = regrets.shape
    flat = regrets.ravel()
    order, left = np.argsort(flat), np.empty(hypotheses)
    for k in range(hypotheses):
        left[:] = samples
        survival, value, before = 1.0, 0.0, 0.0
        for q in order:
            h, v = q // samples, flat[q]
            value += survival * (v - before)
            before = v
            if h == k:
                values[k, q - h * samples] = value
            else:
                survival *= (left[h] - 1) / left[h]
                left[h] -= 1


@njit(cache=True)
def delay_gradient(n, first, source, tasks, logits, samples, rng, gradient):
    """Policy gradient of the expected regret of the best hypothesis, against the best delay drawn -> mean best delay drawn.

    tasks (B, F), logits (B, K, n, 3) -> gradient, as logits. The return of a sample is its `team_values`, its baseline the
    mean of its hypothesis. What is worse than all samples of another hypothesis can never be a team's best, and is not
    run to its end.
    """
    count, hypotheses = logits.shape[:2]
    p, x = np.empty((hypotheses, n, 3), np.float32), np.zeros((hypotheses, samples, n + 2), np.uint8)
    delays, values = np.empty((hypotheses, samples)), np.empty((hypotheses, samples))
    times = np.empty((n + 2, 3)), np.zeros((len(source), 7)), np.zeros(7), np.empty((n + 2, 3))
    finish, free, total = np.zeros(n + 2), np.zeros((n + 2, 8)), 0.0
    for b in range(count):
        _prepare(n, first, source, tasks[b], 0, 0, times)
        _softmax(logits[b], p)
        limit, least = np.inf, np.inf
        for k in range(hypotheses):
            worst = 0.0
            for s in range(samples):
                for i in range(n):
                    u = rng.random()
                    x[k, s, i + 1] = 0 if u < p[k, i, 0] else (1 if u < p[k, i, 0] + p[k, i, 1] else 2)
                known = limit if hypotheses > 1 else np.inf
                delays[k, s], _ = _run_from(1, n, first, source, times, x[k, s], finish, free, known)
                least, worst = min(least, delays[k, s]), max(worst, delays[k, s])
            limit = min(limit, worst)
        total += least
        top = min(limit / least - 1, WORST)
        team_values(np.minimum(delays / least - 1, top), values)
        for k in range(hypotheses):
            mean = values[k].mean()
            gradient[b, k] = 0
            for s in range(samples):
                gain = np.float32((values[k, s] - mean) / ((samples - 1) * count))
                if gain != 0:
                    for i in range(n):
                        for c in range(3):
                            gradient[b, k, i, c] -= gain * p[k, i, c]
                        gradient[b, k, i, x[k, s, i + 1]] += gain
    return total / count


def fit_tuned(
    recipe: Tuning, name: str, where: Scenario, train: Labelled, validation: Labelled, seed: int, ranges=Ranges()
):
    """Train one network: (Model, list of one dict every 500 steps: stage, step, objective, validation_regret).

    train: the labels imitated, and the scaling; the second stage draws its tasks from `ranges`. All is drawn from `seed`.
    """
    graph, n = where.graph, where.graph.n
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    tasks, labels = train.tasks[: recipe.labels], train.placements[: recipe.labels]
    mean, deviation, low, high = scaling(train.tasks)
    net = Network([graph.n_features, *recipe.hidden, 3 * n], recipe.hypotheses)
    for layer, w in enumerate(net.weights):
        nn.init.kaiming_uniform_(w.data.T, nonlinearity="relu", generator=generator)
        w.data *= 0.5 if layer == len(net.weights) - 1 else 1.0
    if recipe.hypotheses > 1:
        nn.init.normal_(net.biases[-2], 0, 0.5, generator=generator)
    gradient = np.empty((recipe.batch, recipe.hypotheses, n, 3), np.float32)
    shape = gradient.shape if recipe.hypotheses > 1 else (recipe.batch, n, 3)
    curve: list[dict] = []

    def inputs(batch):
        return torch.from_numpy(((np.log(batch) - mean) / deviation).astype(np.float32))

    def model():
        return Model(recipe.role, name, seed, mean, deviation, low, high, *net.arrays())

    def stage(called, steps, optimiser, schedule, draw, gradient_of):
        total, since = 0.0, 0
        for step in range(1, steps + 1):
            batch = draw()
            out = net(inputs(batch[0]))
            total += gradient_of(step, *batch, out.detach().numpy().reshape(gradient.shape))
            since += 1
            optimiser.zero_grad(set_to_none=True)
            out.backward(torch.from_numpy(gradient.reshape(shape)))
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            if step % 500 == 0 or step == steps:
                d = delay(graph, validation.tasks, decide(model(), graph, validation.tasks))
                about = {"stage": called, "step": step, "objective": total / since}
                curve.append(about | {"validation_regret": (d / validation.delays).mean() - 1})
                total, since = 0.0, 0

    def labelled():
        rows = rng.integers(0, len(tasks), recipe.batch)
        return tasks[rows], labels[rows]

    def imitated(step, _, wanted, logits):
        share = recipe.share if step > recipe.imitation_steps // 10 else 0.3
        return imitation_gradient(logits, wanted, share, gradient)

    def fresh():
        return (sample_tasks(graph, recipe.batch, rng, ranges, where.workload),)

    def priced(_, batch, logits):
        return delay_gradient(n, graph.first, graph.source, batch, logits, recipe.samples, rng, gradient)

    def falling(rate, steps, warm, shape):
        """Adam whose rate rises for `warm` steps and then falls to nothing."""
        optimiser = torch.optim.Adam(net.parameters(), rate, fused=True)
        return optimiser, torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda s: min(1, (s + 1) / warm) * shape(s / steps)
        )

    steps = recipe.imitation_steps
    cosine = falling(recipe.imitation_rate, steps, max(1, steps // 20), lambda at: (1 + np.cos(np.pi * at)) / 2)
    stage("imitation", steps, *cosine, labelled, imitated)
    if steps := recipe.delay_steps:
        stage("delay", steps, *falling(recipe.delay_rate, steps, 100, lambda at: 1 - at), fresh, priced)
    return model(), curve


def train_tuned(run: Run, role: str, name: str, seed: int, recipe: Tuning | None = None) -> Path:
    """Train and save one delay-aware student of a run, unless a current one is there; returns its path."""
    recipe = recipe or tuning(run, role, name)
    data = [digest(run, name, split) for split in ("train", "validation")]
    mark = fingerprint("tuning", recipe=asdict(recipe), data=data, scenario=name, seed=seed)
    path = model_path(run, role, name, seed)
    if is_current(path, mark):
        return path
    labelled, held_out = load(run, name, "train"), load(run, name, "validation")
    model, curve = fit_tuned(recipe, name, scenario(name), labelled, held_out, seed)
    save(model, path)
    save_json(path.with_suffix(".json"), {"recipe": asdict(recipe), "curve": curve, **provenance(run)})
    set_current(path, mark)
    return path


def train_all_tuned(run: Run) -> pd.DataFrame:
    """Train the delay-aware students of every scenario and seed of a run, in parallel; returns the curves."""
    todo = [(run, role, name, seed) for name in TRAINED for role in TUNED for seed in run.profile.seeds]
    return curves(in_parallel(train_tuned, todo, "training"))
