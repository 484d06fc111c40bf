"""What takes too long for the `paper` profile: `make full`, or `python -m kd_offload.studies.slow`.

Its tables are part of the repository; `paper` and open notebooks read them, every other profile
makes its own. It goes on where it was interrupted, and makes again only what is no longer current.
It needs data sets and models.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

import pandas as pd

from ..artifact import Run, fingerprint, get_run, kept, read_table, save_table
from ..dataset import SPLITS, digest
from ..parallel import progress
from ..rivals.dqn import dqn
from ..scenarios import SHOWN
from .again import again
from .design import design
from .timing import model_digests

# What makes a table, the scenarios whose data it reads, and whether it needs models.
SLOW = {
    "design": (design, (), False),
    "dqn_curves": (dqn, SHOWN, False),
    "reruns": (again, SHOWN, True),
}


def slow(run: Run, name: str) -> pd.DataFrame:
    """The slow table called `name`: read in `paper` and open notebooks, else made unless current.

    Raises ValueError for an unknown name, or a table, model or data set that is missing.
    """
    if name not in SLOW:
        raise ValueError(f"table: {name!r}, expected one of {', '.join(SLOW)}")
    if run.profile.name == "paper" or run.lab:
        return read_table(run, name)
    make, scenarios, models = SLOW[name]
    about = {"data": [digest(run, where, split) for where in scenarios for split in SPLITS]}
    about["models"] = model_digests(run) if models else {}
    module = make.__module__.removeprefix("kd_offload.")
    mark = fingerprint(module, profile=asdict(run.profile), **about)
    kept(run.figures / f"{name}.csv", mark, lambda: save_table(run, name, make(run), **about))
    return read_table(run, name)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="full")
    parser.add_argument("--out", default="", help="folder, relative to the repository")
    parser.add_argument("tables", nargs="*", default=[*SLOW], help=f"of {', '.join(SLOW)}; or all")
    args = parser.parse_args(arguments)
    try:
        run = get_run(args.profile, args.out)
        for name in progress(args.tables, len(args.tables), "slow tables", "table"):
            slow(run, name)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
