"""One run: its profile, its folders, its data sets, its tables and what they say of themselves."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from experiments.profiles import PROFILES, Profile
from experiments.scenarios import scenario
from kd_offload import data
from kd_offload.data import save_json, sha256, written_aside
from kd_offload.labels import Labelled
from kd_offload.tasks import feature_names

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("numpy", "numba", "torch", "pandas", "scikit-learn", "matplotlib", "pyarrow")


@dataclass(frozen=True)
class Run:
    """One run: its profile, and the folder that its products go to."""

    profile: Profile
    out: Path

    @property
    def figures(self) -> Path:
        """Folder of the tables and figures."""
        return self.out / "figures"

    def data_path(self, name: str, split: str) -> Path:
        """File of a scenario's data set."""
        return self.out / "data" / name / f"{split}.parquet"

    def model_path(self, role: str, name: str, seed: int) -> Path:
        """File of a network; one that serves all graphs has no scenario in its name."""
        parts = (role, str(seed)) if role == "anygraph" else (role, name, str(seed))
        return self.out / "data" / "models" / f"{'_'.join(parts)}.npz"

    def decisions_path(self, policy: str, name: str, seed: int) -> Path:
        """File of what a baseline that is no network decided on a scenario's test tasks."""
        return self.out / "data" / "decisions" / f"{policy}_{name}_{seed}.npz"


def get_run(profile: str, out: str = "") -> Run:
    """The run of a profile.

    Parameters
    ----------
    profile : {"paper", "smoke", "verify", "lab"}
    out : str, optional
        A folder, relative to the repository: by default the repository itself for `paper`, and
        `build/<profile>` for the others, which leave the reference results alone.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        For an unknown profile.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile: {profile!r}, expected one of {', '.join(PROFILES)}")
    default = "." if profile == "paper" else f"build/{profile}"
    return Run(PROFILES[profile], ROOT / (out or default))


def generator(run: Run, name: str) -> np.random.Generator:
    """The generator of what is called `name` in a run: a new one each time, of the same seed."""
    return np.random.default_rng([run.profile.seed, crc32(name.encode())])


def generate(run: Run, name: str, split: str) -> Path:
    """Make and save a scenario's data set; returns its file.

    A Parquet file with one row per task: the task vector by name (`tasks.feature_names`, SI units),
    the optimal placement `x_1..x_n`, its delay `delay_s` and the search's `nodes`.
    """
    graph, _, workload = scenario(name)
    profile, path = run.profile, run.data_path(name, split)
    labelled = data.generate(
        replace(graph, name=name),  # random_8 is the graph random_8_0
        split,
        profile.count(name, split),
        profile.seed,
        workload=workload,
        block=profile.block,
    )
    columns = dict(zip(feature_names(graph), labelled.tasks.T))
    columns |= {f"x_{i + 1}": labelled.placements[:, i] for i in range(graph.n)}
    columns |= {"delay_s": labelled.delays, "nodes": labelled.nodes}
    table = pa.table({name: np.ascontiguousarray(column) for name, column in columns.items()})
    with written_aside(path) as aside:
        pq.write_table(table, aside, compression="none", use_dictionary=False)
    save_json(path.with_suffix(".json"), {"sha256": sha256(path), **provenance(run)})
    return path


def load(run: Run, name: str, split: str) -> Labelled:
    """A scenario's data set, verified; ValueError naming a file that is missing or altered."""
    path, graph = run.data_path(name, split), scenario(name).graph
    try:
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if sha256(path) != about["sha256"]:
            raise ValueError("its SHA-256 differs")
        table = pq.read_table(path)
        tasks = np.column_stack([table[name].to_numpy() for name in feature_names(graph)])
        labels = [table[f"x_{i + 1}"].to_numpy() for i in range(graph.n)]
        placements = np.column_stack(labels).astype(np.int8)
        return Labelled(tasks, placements, table["delay_s"].to_numpy(), table["nodes"].to_numpy())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"data: {path} is missing, truncated or altered ({error}); generate the data again"
        ) from None


def provenance(run: Run, **inputs) -> dict:
    """What made a product: profile, seed, versions, and `inputs`, such as digests of files.

    It changes only when one of these does: a rerun writes the same file.
    """
    made_by = {"profile": run.profile.name, "seed": run.profile.seed}
    made_by |= {"python": platform.python_version()}
    return made_by | {"versions": {name: version(name) for name in PACKAGES}} | inputs


def save_table(run: Run, name: str, table: pd.DataFrame, **inputs) -> pd.DataFrame:
    """Write `figures/<name>.csv`, with its digest and provenance as .json beside it.

    Returns
    -------
    pandas.DataFrame
        The table as read back: what a later notebook will see.
    """
    path = run.figures / f"{name}.csv"
    with written_aside(path) as aside:
        table.to_csv(aside, index=False, float_format="%.6g")
    save_json(path.with_suffix(".json"), {"sha256": sha256(path), **provenance(run, **inputs)})
    return read_table(run, name)


def read_table(run: Run, name: str) -> pd.DataFrame:
    """A saved table; ValueError naming one that is missing or altered, and what to do."""
    path = run.figures / f"{name}.csv"
    try:
        table = pd.read_csv(path)
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(
            f"table: {Path(error.filename).name} is missing; docs/notebooks.md says which notebook "
            "makes it"
        ) from None
    except ValueError as error:  # pandas', json's and unicode's errors are all of them
        raise ValueError(
            f"table: {path.name} cannot be read ({error}); delete it and make it again"
        ) from None
    if about.get("sha256") != sha256(path):
        raise ValueError(
            f"table: {path.name} was altered since it was made; delete it and make it again"
        )
    return table
