"""Where distillation helps: a grid of labels by widths, against the same student without a teacher.

The networks of one cell differ in their seed and in whether a teacher helps. They are trained side
by side, as slices of the same arrays: on networks so small, most of the time goes into calls.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch.nn.functional import cross_entropy

from ..artifact import Run
from ..dataset import load
from ..delay import delay
from ..distill import STUDENT, TEACHER, Recipe, distillation_loss
from ..labels import Labelled
from ..models import scaling
from ..parallel import in_parallel
from ..scenarios import SHOWN, scenario
from .conditions import generator
from .statistics import bootstrap_means, effective_freedom, holm

WIDTHS = (32, 64, 128)
BATCH = 256
PASSES = 4  # of a teacher over its labels; at least a sixth of its student's steps
LEAST = 20  # steps: of exactly ten, torch's one-cycle schedule divides by zero
FEW = replace(TEACHER, weight_decay=0.3)  # with few labels it overfits


class Stack(torch.nn.Module):
    """Networks of one shape, side by side: x (G, B, F) -> logits (G, B, n, 3)."""

    def __init__(self, sizes: list[int], seeds: list[int]):
        super().__init__()
        generators, layers = [torch.Generator().manual_seed(s) for s in seeds], []
        for a, b in zip(sizes, sizes[1:]):
            each = [(2 * torch.rand(a, b, generator=g) - 1) / a**0.5 for g in generators]
            layers += [torch.stack(each), torch.zeros(len(seeds), 1, b)]
        self.layers = torch.nn.ParameterList(layers)

    def forward(self, x):
        for w, b in zip(self.layers[::2], self.layers[1::2]):
            x = torch.baddbmm(b, x if w is self.layers[0] else torch.relu(x), w)
        return x.unflatten(-1, (-1, 3))


def fit_stack(recipe: Recipe, seeds: list[int], data, steps: int, soft=None) -> Stack:
    """Train a network a seed, by `steps` batches; twice as many with soft: also without a teacher.

    data: inputs (S, F), labels (S, n). soft (seeds, S, n, 3): the teachers' logits; then the first
    half of the networks is distilled, and the second is not, from the same start and in the same
    order.
    """
    (x, y), count, half = data, len(data[0]), len(seeds)
    stack = Stack([x.shape[1], *recipe.hidden, 3 * y.shape[1]], seeds * (1 if soft is None else 2))
    rate = recipe.learning_rate
    how = {"weight_decay": recipe.weight_decay, "fused": True}
    optimiser = torch.optim.AdamW(stack.parameters(), rate, **how)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)
    generators = [torch.Generator().manual_seed(1000 + s) for s in seeds]
    batch, own = min(BATCH, count), torch.arange(half)[:, None]
    order = torch.empty(half, 0, dtype=torch.long)
    for _ in range(steps):
        if order.shape[1] < batch:
            order = torch.stack([torch.randperm(count, generator=g) for g in generators])
        rows, order = order[:, :batch], order[:, batch:]
        if soft is None:
            loss = _hard(stack(x[rows]), y[rows])
        else:
            out = stack(x[rows].repeat(2, 1, 1))
            parts = out[:half].flatten(0, 1), soft[own, rows].flatten(0, 1), y[rows].flatten(0, 1)
            loss = half * distillation_loss(*parts, recipe.temperature, recipe.mix)
            loss = loss + _hard(out[half:], y[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    return stack


def _hard(out, y):
    """The sum over networks of their mean cross-entropy."""
    return len(out) * cross_entropy(out.flatten(0, 2), y.flatten())


@torch.no_grad()
def _logits(stack: Stack, x, rows: int = 10_000) -> np.ndarray:
    count = len(stack.layers[0])
    parts = [stack(part.expand(count, *part.shape)) for part in x.split(rows)]
    return torch.cat(parts, 1).numpy()


def _regrets(name: str, test: Labelled, out: np.ndarray) -> np.ndarray:
    """Of logits (G, S, n, 3): (G, S)."""
    graph, placed = scenario(name).graph, out.argmax(-1).astype(np.int8)
    return np.array([delay(graph, test.tasks, x) for x in placed]) / test.delays - 1


def _cells(run: Run, name: str, labels: int) -> list[dict]:
    """The cells of one scenario and number of labels, a row a width."""
    p, seeds = run.profile, list(run.profile.seeds)
    train, test = load(run, name, "train"), load(run, name, "test")
    tasks, placements = train.tasks[:labels], train.placements[:labels]
    mean, deviation = scaling(tasks)[:2]
    x, held_out = (
        torch.from_numpy(((np.log(t) - mean) / deviation).astype(np.float32))
        for t in (tasks, test.tasks)
    )
    y = torch.from_numpy(placements.astype(np.int64))
    steps = max(LEAST, p.grid_steps // 6, PASSES * labels // BATCH)
    teachers = fit_stack(FEW, seeds, (x, y), steps)
    soft, rows = torch.from_numpy(_logits(teachers, x)), []
    taught = _regrets(name, test, _logits(teachers, held_out))
    for width in WIDTHS:
        recipe = replace(STUDENT, hidden=(width, width))
        stack = fit_stack(recipe, seeds, (x, y), p.grid_steps, soft)
        distilled, plain = np.split(_regrets(name, test, _logits(stack, held_out)), 2)
        about = {"scenario": name, "labels": labels, "width": width, "seeds": len(seeds)}
        rng = generator(run, f"grid {name} {labels} {width}")
        rows.append(about | compared(taught, plain, distilled, p.resamples, rng))
    return rows


def compared(teacher, plain, distilled, resamples: int, rng: np.random.Generator) -> dict:
    """Of regrets (K, S), K seeds by the same tasks: the numbers of a cell.

    difference: distilled minus plain, mean regrets, with a 95 % interval and a p-value by Student's
    t: the standard deviation is the bootstrap's over seeds and tasks, its degrees of freedom
    Satterthwaite's. teacher_better: whether the teacher's regret is lower than the plain student's
    by such an interval.
    """
    draws = bootstrap_means([teacher, plain, distilled], resamples, rng)
    gaps = []
    for ours, sample in ((distilled, draws[:, 2]), (teacher, draws[:, 0])):
        deviation = (sample - draws[:, 1]).std(ddof=1)
        freedom = effective_freedom([(ours - plain).mean(1)], deviation**2)
        gap = (ours - plain).mean()
        half = stats.t.ppf(0.975, freedom) * deviation
        p = 2 * stats.t.sf(abs(gap) / deviation, freedom) if deviation else float(gap == 0)
        gaps.append((gap, gap - half, gap + half, p))
    (difference, low, high, p), (_, _, worse, _) = gaps
    regrets = {"regret_teacher": teacher, "regret_plain": plain, "regret_distilled": distilled}
    row = {"teacher_better": bool(worse < 0)} | {k: v.mean() for k, v in regrets.items()}
    return row | {"difference": difference, "ci_low": low, "ci_high": high, "p": p}


def distillation_grid(run: Run) -> pd.DataFrame:
    """The table of the grid: a row a scenario, number of labels and width; see `compared`.

    Students of a cell take the same number of steps from the same starts. A teacher has no more
    labels than its student. p_holm: adjusted for the whole grid.
    """
    p = run.profile
    counts = [c for c in p.grid_labels if c <= p.train]
    todo = [(run, name, count) for count, name in product(sorted(counts, reverse=True), SHOWN)]
    rows = [row for part in in_parallel(_cells, todo, "grid of distillation") for row in part]
    table = pd.DataFrame(rows).sort_values(["scenario", "labels", "width"], ignore_index=True)
    return table.assign(p_holm=holm(table.p))
