"""How often a rerun's times fall within a run's intervals: `inference_time`, again and again."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..artifact import Run
from ..parallel import progress
from ..scenarios import SHOWN
from .timing import OVER, inference_time


def again(run: Run) -> pd.DataFrame:
    """Times on SHOWN, without the policies that take milliseconds, profile.reruns times after a
    first: each table the run, all others reruns.

    A row a quantity and runtime. values: those of a table that have an interval, but the ratio of
    ours to itself; runs; within: share of values of another run inside the interval; first: with
    the first run's intervals; least: with those of the run that holds fewest.
    """
    count = run.profile.reruns + 1
    tables = [
        inference_time(run, SHOWN, few=False) for _ in progress(range(count), count, "runs", "run")
    ]
    rows = []
    for quantity in ("median_us", "p99_us", *OVER.values()):
        ends = f"{quantity}_low", quantity, f"{quantity}_high"
        low, value, high = (np.array([table[column] for table in tables]) for column in ends)
        inside = (low[:, None] <= value) & (value <= high[:, None])  # (run, rerun, values)
        inside[np.diag_indices(count)] = False
        held = pd.DataFrame(inside.sum(axis=1).T / (count - 1), index=tables[0].runtime)
        held = held[np.isfinite(low).all(axis=0) & (low < high).any(axis=0)]
        for runtime, part in held.groupby(level=0, sort=False):
            mean, row = part.mean(), {"quantity": quantity, "runtime": runtime}
            row |= {"values": len(part), "runs": count, "within": mean.mean()}
            rows.append(row | {"first": mean[0], "least": mean.min()})
    return pd.DataFrame(rows)
