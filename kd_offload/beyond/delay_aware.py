"""Delay-aware students: trained for the delay of their decisions, not for the share of labels hit.

A network of K hypotheses (see `models.Model`) is trained in two stages.
1. Imitation of exact labels: the likelihood of the hypotheses' mixture, so that whichever explains
   a label best learns from it most, and the hypotheses part ways.
2. Fine-tuning against the delay model, on fresh tasks that no solver ever saw: policy gradient
   (Williams, "Simple statistical gradient-following algorithms", 1992) of the expected delay of the
   best hypothesis. With one hypothesis, that is the delay of its decision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numba import njit
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from ..artifact import Run, fingerprint, kept, provenance, save_json
from ..dataset import digest, load
from ..delay import delay, new_times, prepare, run_from
from ..distill import curves
from ..models import Model, Network, model_path, save, scaling
from ..parallel import in_parallel
from ..scenarios import TRAINED, Scenario, scenario
from ..tasks import Ranges, sample_tasks
from .verification import decide

WORST = 3.0  # regrets count up to this, so that a few hopeless draws do not drown the rest
TUNED = ("student_tuned", "student_verified")


@dataclass(frozen=True)
class Tuning:
    """What is trained and how: a network of two hidden layers and K hypotheses.

    labels: exact labels imitated; samples: placements drawn of every hypothesis; steps are batches
    of `batch` tasks. share: what of the imitation every hypothesis learns alike, lest one is never
    used.
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
        for field, least in (
            ("hypotheses", 1), ("imitation_steps", 1), ("labels", 1), ("batch", 1),
            ("delay_steps", 0), ("samples", 2),
        ):  # fmt: skip
            value = getattr(self, field)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{field}: {value!r}, expected an integer of at least {least}")
        for field in ("delay_rate", "imitation_rate"):
            if not 0 < (value := getattr(self, field)) < 1:
                raise ValueError(f"{field}: {value!r}, expected a number between 0 and 1")

    def share_at(self, step: int) -> float:
        """`share`, but more in the first tenth of the imitation."""
        return self.share if step > self.imitation_steps // 10 else 0.3


def tuning(run: Run, role: str, name: str) -> Tuning:
    """The recipe of `role` for scenario `name` at a run's sizes. ValueError for an unknown role."""
    if role not in TUNED:
        raise ValueError(f"role: {role!r}, expected one of {', '.join(TUNED)}")
    p, (graph, group, _) = run.profile, scenario(name)
    networks, small = group == "networks", graph.n <= 12
    imitation, steps = p.networks_steps if networks else (p.imitation_steps, p.delay_steps)
    if role == "student_tuned" and small:
        return Tuning(role, (96, 64), 1, 6, imitation, 2 * steps, 4e-3)
    if role == "student_tuned":
        return Tuning(role, (80, 72), 1, 6, imitation, 4 * steps, 2e-3)
    if small:
        return Tuning(role, (96, 64), 8, 2, imitation, steps, 2e-3)
    return Tuning(role, (64, 64), 16, 2, imitation, 2 * steps, 2e-3)


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
    """Gradient of the mean over tasks of
    -[(1 - share) log sum_k p_k(x*) + share mean_k log p_k(x*)] / n -> that mean.

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

    A team is one sample of every hypothesis. values[k, s]: sample s of hypothesis k is in it, the
    others are drawn uniformly from theirs. Exact: E[min(v, M)] is the integral from 0 to v of the
    chance that M, the others' best, is larger.
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
    """Policy gradient of the expected regret of the best hypothesis, against the best delay drawn
    -> mean best delay drawn.

    tasks (B, F), logits (B, K, n, 3) -> gradient, as logits. The return of a sample is its
    `team_values`, its baseline the mean of its hypothesis. What is worse than all samples of
    another hypothesis can never be a team's best, and is not run to its end.
    """
    count, hypotheses = logits.shape[:2]
    p = np.empty((hypotheses, n, 3), np.float32)
    x = np.zeros((hypotheses, samples, n + 2), np.uint8)
    delays, values = np.empty((hypotheses, samples)), np.empty((hypotheses, samples))
    times, finish = new_times(n, len(source)), np.zeros(n + 2)
    free, total = np.zeros((n + 2, 8)), 0.0
    for b in range(count):
        prepare(n, first, source, tasks[b], 0, 0, times)
        _softmax(logits[b], p)
        limit, least = np.inf, np.inf
        for k in range(hypotheses):
            worst = 0.0
            for s in range(samples):
                for i in range(n):
                    u, device = rng.random(), p[k, i, 0]
                    x[k, s, i + 1] = 0 if u < device else (1 if u < device + p[k, i, 1] else 2)
                known = limit if hypotheses > 1 else np.inf
                delays[k, s], _ = run_from(1, n, first, source, times, x[k, s], finish, free, known)
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


class Stage(NamedTuple):
    """One stage of training."""

    name: str
    steps: int
    rate: float
    schedule: Callable  # optimiser -> its learning rates
    draw: Callable  # () -> logarithms of a batch (B, F), and what else `gradient_of` is given
    gradient_of: Callable  # (step, *else, logits (B, K, n, 3), gradient) -> objective


def new_network(recipe: Tuning, features: int, n: int, seed: int) -> Network:
    """The network to start from: small outputs, and hypotheses that differ."""
    generator = torch.Generator().manual_seed(seed)
    net = Network([features, *recipe.hidden, 3 * n], recipe.hypotheses)
    for layer, w in enumerate(net.weights):
        nn.init.kaiming_uniform_(w.data.T, nonlinearity="relu", generator=generator)
        w.data *= 0.5 if layer == len(net.weights) - 1 else 1.0
    if recipe.hypotheses > 1:
        nn.init.normal_(net.biases[-2], 0, 0.5, generator=generator)
    return net


def train_stages(net: Network, mean, deviation, stages: list[Stage], held_out=dict) -> list[dict]:
    """Train a network in place -> a dict every 500 steps: stage, step, objective, `held_out()`.

    mean, deviation (F,): of the inputs' logarithms. Stages without steps are passed over.
    """
    curve: list[dict] = []
    for name, steps, rate, schedule_of, draw, gradient_of in (s for s in stages if s.steps):
        optimiser = torch.optim.Adam(net.parameters(), rate, fused=True)
        schedule, total, since = schedule_of(optimiser), 0.0, 0
        for step in range(1, steps + 1):
            logs, *others = draw()
            out = net(torch.from_numpy(((logs - mean) / deviation).astype(np.float32)))
            logits = out.detach().numpy().reshape(len(out), -1, *out.shape[-2:])  # (B, K, n, 3)
            gradient = np.empty_like(logits)
            total += gradient_of(step, *others, logits, gradient)
            since += 1
            optimiser.zero_grad(set_to_none=True)
            out.backward(torch.from_numpy(gradient.reshape(out.shape)))
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            if step % 500 == 0 or step == steps:
                about = {"stage": name, "step": step, "objective": total / since}
                curve.append(about | held_out())
                total, since = 0.0, 0
    return curve


def falling(steps: int, warm: int, shape: Callable[[float], float], least: float = 0.0):
    """A schedule: the rate rises for `warm` steps and falls as `shape`(share of the steps made)."""

    def factor(step):
        return min(1, (step + 1) / warm) * shape(step / steps) + least

    return lambda optimiser: LambdaLR(optimiser, factor)


def fit_tuned(recipe: Tuning, where: Scenario, train, validation, seed: int, ranges=Ranges()):
    """Train one network: (Model, curve as of `train_stages`, with validation_regret).

    train, validation: `Labelled`. The scaling and the labels imitated are of `train`; the second
    stage draws its tasks from `ranges`. All is drawn from `seed`.
    """
    graph, rng = where.graph, np.random.default_rng(seed)
    tasks, labels = train.tasks[: recipe.labels], train.placements[: recipe.labels]
    numbers, net = scaling(train.tasks), new_network(recipe, graph.n_features, graph.n, seed)

    def model():
        return Model(recipe.role, graph.name, seed, *numbers, *net.arrays())

    def held_out():
        d = delay(graph, validation.tasks, decide(model(), graph, validation.tasks))
        return {"validation_regret": (d / validation.delays).mean() - 1}

    def labelled():
        rows = rng.integers(0, len(tasks), recipe.batch)
        return np.log(tasks[rows]), labels[rows]

    def imitated(step, wanted, logits, gradient):
        return imitation_gradient(logits, wanted, recipe.share_at(step), gradient)

    def fresh():
        drawn = sample_tasks(graph, recipe.batch, rng, ranges, where.workload)
        return np.log(drawn), drawn

    def priced(_, drawn, logits, gradient):
        known = graph.n, graph.first, graph.source
        return delay_gradient(*known, drawn, logits, recipe.samples, rng, gradient)

    one, two = recipe.imitation_steps, recipe.delay_steps
    cosine = falling(one, max(1, one // 20), lambda at: (1 + np.cos(np.pi * at)) / 2)
    line = falling(two, 100, lambda at: 1 - at)
    imitation = Stage("imitation", one, recipe.imitation_rate, cosine, labelled, imitated)
    fine = Stage("delay", two, recipe.delay_rate, line, fresh, priced)
    curve = train_stages(net, *numbers[:2], [imitation, fine], held_out)
    return model(), curve


def train_tuned(run: Run, role: str, name: str, seed: int) -> Path:
    """Train and save one delay-aware student of a run, unless a current one is there; its path.

    Beside it, a .json with the curve, the recipe and the provenance.
    """
    recipe, path = tuning(run, role, name), model_path(run, role, name, seed)
    about = {"recipe": asdict(recipe), "scenario": name, "seed": seed}
    about["data"] = [digest(run, name, split) for split in ("train", "validation")]

    def make():
        labelled, held_out = load(run, name, "train"), load(run, name, "validation")
        model, curve = fit_tuned(recipe, scenario(name), labelled, held_out, seed)
        save(model, path)
        save_json(path.with_suffix(".json"), {"curve": curve, **about, **provenance(run)})

    return kept(path, fingerprint("beyond.delay_aware", **about), make)


def train_all_tuned(run: Run) -> pd.DataFrame:
    """Train the delay-aware students of all scenarios and seeds of a run; returns the curves."""
    seeds = run.profile.seeds
    todo = [(run, role, name, seed) for name in TRAINED for role in TUNED for seed in seeds]
    return curves(in_parallel(train_tuned, todo, "training"))
