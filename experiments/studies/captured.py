"""How much of the delay that adapting can save a policy saves, by network condition and device.

(best fixed placement - policy) / (best fixed placement - optimum), of mean delays. 1 is the
optimum, 0 is deciding nothing: one placement for every task, the best on training tasks.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from kd_offload.delay import delay
from kd_offload.graphs import TaskGraph
from kd_offload.labels import Labelled
from kd_offload.tasks import STATE
from experiments.studies.statistics import (
    bootstrap_means,
    bounded,
    effective_freedom,
    simultaneous_intervals,
)

BINS = 8
FOLLOWED = ("student", "anygraph", "best_single", "lookahead")  # whose share is shown
TRIED = 2000  # training tasks on which a fixed placement is chosen


def octiles(tasks: np.ndarray) -> np.ndarray:
    """The octile of each quantity of the state that a task is in: one-hot (S, quantities, BINS)."""
    state = tasks[:, -len(STATE) :].T
    edges = np.quantile(state, np.arange(1, BINS) / BINS, axis=1).T
    octile = np.array([np.searchsorted(e, v, side="right") for e, v in zip(edges, state)]).T
    return octile[..., None] == np.arange(BINS)


def best_fixed(graph: TaskGraph, tasks: np.ndarray) -> np.ndarray:
    """The one placement int8 (n,) with the least mean delay over tasks (S, F).

    A search from each single location: one subtask, or a run of neighbours in the order, goes to
    another location while that lowers the mean. It ends where no such move helps.
    """

    def mean(x):
        return delay(graph, tasks, np.tile(x, (len(tasks), 1))).mean()

    runs, found = [(i, j) for i in range(graph.n) for j in range(i + 1, graph.n + 1)], []
    for start in range(3):
        x = np.full(graph.n, start, np.int8)
        least, better = mean(x), True
        while better:
            better = False
            for (i, j), k in product(runs, range(3)):
                moved = x.copy()
                moved[i:j] = k
                if (now := mean(moved)) < least * (1 - 1e-12):
                    x, least, better = moved, now, True
        found.append((least, start, x))
    return min(found)[-1]


def captured_rows(
    name: str, test: Labelled, fixed: np.ndarray, delays: dict[str, np.ndarray], resamples: int, rng
) -> list[dict]:
    """A row for every policy, quantity of the state and octile of it, and one for all test tasks.

    fixed (S,): delays of the fixed placement; delays: those of each policy (K seeds, S). Columns:
    scenario, policy, quantity, bin, median (of the quantity, SI units), tasks, attainable_ms (the
    fixed placement's mean delay minus the optimum's), captured. Its intervals are over test tasks
    and training seeds, and hold for all octiles of a policy together, as if they shared no tasks.
    """
    state, rows, drawn = test.tasks[:, -len(STATE) :], [], []
    inside = octiles(test.tasks).reshape(len(fixed), -1).T  # (64, S)
    spare = (fixed - test.delays)[None]
    saved = {policy: fixed - d for policy, d in delays.items()}
    for c, cell in enumerate([*inside, np.ones(len(fixed), bool)]):
        draws = bootstrap_means([v[:, cell] for v in (*saved.values(), spare)], resamples, rng)
        drawn.append(draws[:, :-1] / draws[:, -1:])  # (resamples, policies)
        total, whole = spare[0, cell].sum(), c == len(inside)
        about = {"quantity": "all" if whole else STATE[c // BINS], "bin": c % BINS}
        about["median"] = np.nan if whole else np.median(state[cell, c // BINS])
        about |= {"tasks": int(cell.sum()), "attainable_ms": 1e3 * total / cell.sum()}
        rows.append(about | {policy: v[:, cell].sum(1) / total for policy, v in saved.items()})
    out = []
    for samples, policy in zip(np.stack(drawn, axis=-1).swapaxes(0, 1), saved):  # (R, 65) each
        by_seed = [row[policy] for row in rows]
        freedom = [effective_freedom([s], v) for s, v in zip(by_seed, samples.var(axis=0))]
        share = np.mean(by_seed, axis=1)
        ends = simultaneous_intervals(share, samples, np.array(freedom)).T
        for row, value, pair in zip(rows, share, ends):
            about = {key: v for key, v in row.items() if key not in saved}
            own = {"scenario": name, "policy": policy} | about
            out.append(own | bounded("captured", value, pair))
    return out
