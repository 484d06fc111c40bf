"""How often a rerun's times fall within a run's intervals: `inference_time`, again and again."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd

from ..artifact import Run
from ..parallel import progress
from ..scenarios import SHOWN
from .timing import OVER, inference_time

QUANTITIES = ("median_us", "p99_us", *OVER.values())
KEYS = ["scenario", "policy", "runtime"]


def again(run: Run) -> pd.DataFrame:
    """`inference_time` on SHOWN, profile.reruns times after a first, compared by `within`."""
    times = range(run.profile.reruns + 1)
    return within([inference_time(run, SHOWN) for _ in progress(times, len(times), "runs", "run")])


def within(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """How often the values of one table lie in the intervals of another, of the same rows.

    A row a runtime and quantity. values: of a table, those with an interval, apart from the ratio
    of a policy to itself; pairs: of tables, each being the run and each other its rerun; within:
    share of all values and pairs; first: with the first table as the run; least: with the run that
    has it smallest.
    """
    tables, rows = [table.set_index(KEYS) for table in tables], []
    for quantity in QUANTITIES:
        value, low, high = (
            pd.concat([t[column] for t in tables], axis=1).to_numpy()
            for column in (quantity, f"{quantity}_low", f"{quantity}_high")
        )
        judged = np.isfinite(low).all(axis=1) & (low < high).any(axis=1)
        for runtime in tables[0].index.unique("runtime"):
            some = judged & (tables[0].index.get_level_values("runtime") == runtime)
            if not some.any():
                continue
            pairs = [*permutations(range(len(tables)), 2)]
            inside = pd.Series(
                [
                    ((low[:, i] <= value[:, j]) & (value[:, j] <= high[:, i]))[some].mean()
                    for i, j in pairs
                ],
                index=[i for i, _ in pairs],
            )
            by_run = inside.groupby(level=0).mean()
            row = {
                "runtime": runtime,
                "quantity": quantity,
                "values": some.sum(),
                "pairs": len(pairs),
            }
            rows.append(row | {"within": inside.mean(), "first": by_run[0], "least": by_run.min()})
    return pd.DataFrame(rows)
