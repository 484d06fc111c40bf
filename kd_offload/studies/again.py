"""Whether a rerun of the times falls within their intervals: `python -m kd_offload.studies.again`.

It times everything of `inference_time` again, some times over, and writes the run's table
`timing_again`. Run it on the machine that made the table, and nothing beside it.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import pandas as pd

from ..artifact import Run, get_run, read_table, save_table
from ..parallel import progress
from .timing import OVER, inference_time, processor

KEYS = ["scenario", "policy", "runtime"]
QUANTITIES = ("median_us", *OVER.values())
ASKED = 0.9  # share of reruns that is to fall within


def within(table: pd.DataFrame, reruns: list[pd.DataFrame]) -> pd.DataFrame:
    """How many reruns fall within the table's interval: a row a scenario, policy, runtime and
    quantity.

    value, low, high: the table's; least, most: of the reruns; reruns: how many; inside: of them.
    Ratios of a policy with itself are left out. Raises ValueError for reruns of other rows.
    """
    first, rows = table.set_index(KEYS), []
    again = [one.set_index(KEYS) for one in reruns]
    if any(not one.index.equals(first.index) for one in again):
        raise ValueError("reruns: other policies or runtimes than the table's; make it again")
    for quantity in QUANTITIES:
        ends = [first[quantity + end] for end in ("", "_low", "_high")]
        for key, value, low, high in zip(first.index, *ends):
            values = np.array([float(f"{one.loc[key, quantity]:.6g}") for one in again])
            if np.isnan(value) or value == low == high == 1:
                continue
            inside = int(((low <= values) & (values <= high)).sum())
            row = dict(zip(KEYS, key)) | {"quantity": quantity, "value": value, "low": low}
            row |= {"high": high, "least": values.min(), "most": values.max()}
            rows.append(row | {"reruns": len(values), "inside": inside})
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """The share of reruns inside, by quantity and runtime, and over all."""
    counts = table.groupby(["quantity", "runtime"], sort=False)[["inside", "reruns"]].sum()
    counts.loc[("all", "all"), :] = table[["inside", "reruns"]].sum().to_numpy()
    return counts.assign(share=counts.inside / counts.reruns)


def timing_again(run: Run, times: int) -> pd.DataFrame:
    """The table of `times` reruns against the run's `inference_time`, saved; ValueError if that is
    missing or `times` is below 1."""
    if times < 1:
        raise ValueError(f"again: {times}, expected at least 1")
    table = read_table(run, "inference_time")
    reruns = [inference_time(run) for _ in progress(range(times), times, "reruns", "run")]
    return save_table(run, "timing_again", within(table, reruns), processor=processor())


def main(arguments: list[str] | None = None) -> None:
    """The command line; its status is 1 where fewer than nine in ten fall within."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="paper")
    parser.add_argument("--out", default="", help="folder, relative to the repository")
    parser.add_argument("--again", type=int, default=10, help="reruns; some minutes each")
    args = parser.parse_args(arguments)
    try:
        shares = summary(timing_again(get_run(args.profile, args.out), args.again))
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(shares.round(3).to_string())
    sys.exit(int(shares.share.iloc[-1] < ASKED))


if __name__ == "__main__":
    main()
