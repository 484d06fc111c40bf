"""What takes too long for the `paper` profile: `make full`, or `python -m kd_offload.full`.

Its results are part of the repository; `paper` reads them, every other profile makes its own. It goes on where it was
interrupted, and makes again only what is no longer current. It needs the data and models of notebooks 02 to 04b.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import pandas as pd

from .any_graph import any_graph
from .config import Run, get_run, progress, read_table, sha256, table
from .dataset import digest
from .environment import dqn
from .learning import model_path
from .sensitivity import sensitivity
from .studies import distillation, ideas

OURS = ("student", "student_plain", "student_tuned", "student_verified")
# table -> its floor, what makes it, and the models (role, scenario) and data it is made from; None: it needs neither
SLOW: dict[str, tuple[str, Callable[[Run], pd.DataFrame], tuple | None]] = {
    "distillation_study": ("studies", distillation, (("teacher", "dag"),)),
    "ideas": ("studies", ideas, tuple((role, name) for role in OURS for name in ("dag", "fusion"))),
    "dqn_curves": ("environment", dqn, ()),
    "any_graph": ("any_graph", any_graph, None),
    "sensitivity": ("sensitivity", sensitivity, None),
}


def slow(run: Run, name: str) -> pd.DataFrame:
    """The slow table called `name` of a run: read in `paper`, else made unless it is current.

    Raises ValueError for an unknown name, or a table, model or data set that is missing.
    """
    if name not in SLOW:
        raise ValueError(f"table: {name!r}, expected one of {', '.join(SLOW)}")
    floor, compute, needed = SLOW[name]
    if run.profile.name == "paper":
        return read_table(run, name)
    data = [] if needed is None else [digest(run, scenario, "train") for scenario in ("chain", "dag", "fusion")]
    paths = [model_path(run, role, where, seed) for role, where in needed or () for seed in run.profile.seeds]
    if missing := [path.name for path in paths if not path.exists()]:
        raise ValueError(f"model: {missing[0]} is missing; run notebooks 03 to 04b")
    models = {path.name: sha256(path) for path in paths}
    return table(run, name, floor, lambda: compute(run), models=models, data=data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="full")
    parser.add_argument("--out", default="", help="folder, relative to the repository")
    parser.add_argument("tables", nargs="*", default=[*SLOW], help=f"which: {', '.join(SLOW)}; all by default")
    args = parser.parse_args()
    try:
        run = get_run(args.profile, args.out)
        for name in progress(args.tables, len(args.tables), "slow tables", "table"):
            slow(run, name)
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
