"""Profiles, folders, provenance, and files that are either whole or absent."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = ("alexnet", "vgg16", "resnet18", "mobilenetv2", "inception")
TRAINED = ("chain", "dag", "fusion", *(f"networks_{name}" for name in NETWORKS))
RANDOM = tuple(f"random_{n}" for n in (4, 8, 12, 16, 20, 24))
# The floors of the package, lowest first: a product depends on its own floor and on those below.
FLOORS = (
    "graphs",
    "networks",
    "sampling",
    "delay",
    "labels",
    "dataset",
    "learning",
    "verification",
    "tuning",
    "studies",
    "heuristics",
    "heft",
    "policies",
    "classifiers",
    "environment",
    "statistics",
    "evaluation",
    "any_graph",
    "questions",
    "traces",
    "online",
    "export",
    "claims",
    "sensitivity",
)


@dataclass(frozen=True)
class Profile:
    """How much of everything a run does.

    networks_train replaces train where only the state varies, networks_steps the steps of imitation and of fine-tuning;
    regret is the number of tasks of a split whose wrong labels are priced where that takes long (`fusion`).
    """

    name: str
    train: int = 200_000
    validation: int = 10_000
    test: int = 20_000
    networks_train: int = 20_000
    random_test: int = 1000
    regret: int = 20_000
    shard: int = 5000
    teacher_epochs: int = 8
    teacher_batch: int = 1024
    student_epochs: int = 20
    student_batch: int = 512
    imitation_steps: int = 3000
    delay_steps: int = 2000
    networks_steps: tuple[int, int] = (300, 200)
    study_labels: tuple[int, ...] = (2000, 10_000, 50_000, 200_000)
    study_steps: int = 3000
    study_seeds: int = 3
    study_evaluations: tuple[int, ...] = (6, 10, 16, 24, 32, 48, 64)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    timing_inputs: int = 2000
    resamples: int = 1000
    seed: int = 2020

    def train_count(self, scenario: str) -> int:
        """Training tasks of a scenario."""
        return self.networks_train if scenario.startswith("networks") else self.train


_SMOKE = Profile(
    "smoke", train=4000, validation=500, test=500, networks_train=1500, random_test=100, regret=200, shard=500,
    teacher_epochs=4, teacher_batch=256, student_epochs=8, student_batch=128, imitation_steps=300, delay_steps=200, networks_steps=(100, 50), seeds=(0, 1), study_labels=(500, 2000, 4000), study_steps=150, study_seeds=2, study_evaluations=(10, 24), timing_inputs=150, resamples=100,
)  # fmt: skip
_TINY = replace(
    _SMOKE, name="tiny", train=400, validation=100, test=100, networks_train=200, random_test=20, regret=20, shard=100,
    teacher_epochs=1, student_epochs=1, imitation_steps=20, delay_steps=10, networks_steps=(5, 3), study_labels=(200, 400), study_steps=3, timing_inputs=10, resamples=20,
)  # fmt: skip
# `full` is `paper` and what is too slow for it, in the same place: see `full.slow`.
PROFILES = {p.name: p for p in (Profile("paper"), Profile("full"), _SMOKE, _TINY)}
REFERENCE = ("paper", "full")


def get_profile(name: str) -> Profile:
    """The profile called `name`; ValueError if there is none."""
    if name not in PROFILES:
        raise ValueError(f"profile: {name!r}, expected one of {', '.join(PROFILES)}")
    return PROFILES[name]


@dataclass(frozen=True)
class Run:
    """One run: its profile and where its products go (`data`, `figures`, `models`)."""

    profile: Profile
    out: Path

    @property
    def data(self) -> Path:
        """Folder of the data sets."""
        return self.out / "data"

    @property
    def models(self) -> Path:
        """Folder of the trained models."""
        return self.out / "data" / "models"

    @property
    def figures(self) -> Path:
        """Folder of the tables and figures."""
        return self.out / "figures"


def get_run(profile: str, out: str = "") -> Run:
    """The run of a profile. `out`: a folder, relative to the repository; by default the repository itself
    for `paper` and `full`, and `build/<profile>` for the others, which so never touch the reference results."""
    chosen = get_profile(profile)
    return Run(chosen, ROOT / (out or ("." if profile in REFERENCE else f"build/{profile}")))


def progress(items, total: int, what: str, unit: str):
    """`items` behind a progress bar: on a terminal or in an open notebook, silent anywhere else."""
    quiet = bool(os.environ.get("KD_QUIET")) if "ipykernel" in sys.modules else None
    return tqdm(items, total=total, desc=what, unit=unit, disable=quiet)


@contextmanager
def written_aside(path: Path):
    """A temporary path beside `path`, moved into its place only if the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def fingerprint(floor: str, **inputs) -> str:
    """Digest of everything a product of `floor` depends on: the code of that floor and those below
    (comments and docstrings aside) and `inputs`."""
    code = _code_digest(floor)
    return hashlib.sha256((code + json.dumps(inputs, sort_keys=True, default=str)).encode()).hexdigest()[:16]


@cache
def _code_digest(floor: str) -> str:
    digest = hashlib.sha256()
    for name in FLOORS[: FLOORS.index(floor) + 1]:
        tree = ast.parse((Path(__file__).parent / f"{name}.py").read_text())
        for node in ast.walk(tree):
            match getattr(node, "body", None):
                case [ast.Expr(value=ast.Constant()), *_] as body:
                    body.pop(0)
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()


def provenance(run: Run) -> dict:
    """Who made a product: profile, seed, commit and versions."""

    def git(*args):
        try:
            return subprocess.run(
                ["git", "-C", str(ROOT), *args], capture_output=True, text=True, check=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None  # no git, or not a clone

    changed = git("status", "--porcelain", "--", "kd_offload", ":(glob)notebooks/*.ipynb")

    return {
        "profile": run.profile.name,
        "seed": run.profile.seed,
        "commit": git("rev-parse", "--short=12", "HEAD"),
        "code_changed_since_commit": None if changed is None else bool(changed),
        "python": platform.python_version(),
        "versions": {p: version(p) for p in ("numpy", "numba", "torch", "pandas", "matplotlib", "pyarrow")},
    }


def save_json(path: Path, content: dict) -> None:
    """Write JSON whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(json.dumps(content, indent=1, default=str) + "\n")


def _mark_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.mark")


def is_current(path: Path, mark: str) -> bool:
    """Whether product `path` was made here from what `mark` stands for, and is unaltered since.

    Marks are never committed: on a fresh clone everything is made anew.
    """
    try:
        return _mark_path(path).read_text() == f"{mark} {sha256(path)}"
    except OSError:
        return False


def set_current(path: Path, mark: str) -> None:
    """Note beside `path` what it was made from."""
    with written_aside(_mark_path(path)) as aside:
        aside.write_text(f"{mark} {sha256(path)}")


def sha256(path: Path) -> str:
    """Digest of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def table(run: Run, name: str, floor: str, compute, **inputs) -> pd.DataFrame:
    """The table `figures/<name>.csv`: read if it is current, else `compute()`d and saved with its provenance.

    It is current if neither the code of `floor` and below, nor the profile, nor `inputs`, nor the code of the
    notebook that asks (which the runner tells) has changed since.
    """
    path = run.figures / f"{name}.csv"
    asking = os.environ.get("KD_NOTEBOOK_CODE", "")
    mark = fingerprint(floor, profile=asdict(run.profile), asking=asking, **inputs)
    if not is_current(path, mark):
        frame = compute()
        save_table(run, frame, path)
        set_current(path, mark)
    return read_table(run, name)


def made_by(run: Run, *names: str) -> str:
    """Who made the saved tables, for a reader: profile and commit of each, from their provenance."""
    parts = []
    for name in names:
        read_table(run, name)  # missing or altered: says so
        about = json.loads((run.figures / f"{name}.json").read_text())
        parts.append(f"{name}: profile {about['profile']}, seed {about['seed']}, commit {about['commit']}")
    return "\n".join(parts)


def save_table(run: Run, frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, with its provenance as .json beside it."""
    with written_aside(path) as aside:
        frame.to_csv(aside, index=False, float_format="%.6g")
    save_json(path.with_suffix(".json"), {"sha256": sha256(path), **provenance(run)})


def read_table(run: Run, name: str) -> pd.DataFrame:
    """A saved table; ValueError naming it and what makes it if it is missing, unreadable or altered."""
    path = run.figures / f"{name}.csv"
    try:
        frame, about = pd.read_csv(path), json.loads(path.with_suffix(".json").read_text())
    except FileNotFoundError as error:
        raise ValueError(
            f"table: {Path(error.filename).name} is missing; `make reproduce` or, if it is a slow one, `make full` makes it"
        ) from None
    except ValueError as error:  # pandas', json's and unicode's errors are all of them
        raise ValueError(f"table: {path.name} cannot be read ({error}); delete it and make it again") from None
    if about.get("sha256") != sha256(path):
        raise ValueError(f"table: {path.name} was altered since it was made; delete it and make it again")
    return frame
