"""Decisions of baselines: one at a time for a clock, or all those on the test tasks, saved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.run import Run, provenance, written_aside
from kd_offload.data import load


class Decider(NamedTuple):
    """One policy in one runtime, for one task at a time: `decide(task (F,)) -> placement (n,)`.

    Runtime "numba_loop" decides many, (S, F) -> (S, n), in a compiled loop over tasks.
    parameters: numbers that it has learned; macs: multiply-adds of one decision; bytes: of its
    constants. The next call may overwrite what `decide` returned.
    """

    policy: str
    runtime: str
    decide: Callable[[np.ndarray], np.ndarray]
    parameters: int = 0
    macs: int = 0
    bytes: int = 0


def in_a_loop(policy: str, batch: Callable, pack, n: int, size=(0, 0, 0)) -> Decider:
    """Runtime "numba_loop" from a compiled `batch(*pack, tasks (S, F), out int8 (S, n))`."""

    def decide(tasks):
        out = np.empty((len(tasks), n), np.int8)
        batch(*pack, tasks, out)
        return out

    return Decider(policy, "numba_loop", decide, *size)


def decisions_path(run: Run, policy: str, name: str, seed: int) -> Path:
    """Where a run keeps a trained baseline's decisions on the test tasks of scenario `name`."""
    return run.data / "decisions" / f"{policy}_{name}_{seed}.npz"


def save_decisions(run: Run, path: Path, tasks, placements, about: dict, curve=()) -> None:
    """Write placements (S, n) for test tasks (S, F) as .npz, whole or not at all.

    about: what made them, as JSON; curve: how they were learned, an array.
    """
    said = json.dumps(provenance(run) | about, default=str)
    arrays = {"placements": placements, "tests": _digest(tasks), "curve": curve, "about": said}
    with written_aside(path) as aside:
        np.savez_compressed(aside, **arrays)


def read_decisions(path: Path) -> dict[str, np.ndarray]:
    """placements, tests (a digest of the tasks), curve and about, as `save_decisions` wrote them.

    Raises ValueError naming a file that is missing, truncated or altered.
    """
    try:
        with np.load(path, allow_pickle=False) as saved:
            return {key: saved[key] for key in saved.files}
    except FileNotFoundError:
        raise ValueError(f"decisions: {path} is missing; run the notebook of baselines") from None
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise ValueError(f"decisions: {path} is truncated or altered ({error})") from None


def decisions(policy: str, train: Callable, run: Run, name: str, seed: int) -> np.ndarray:
    """Saved placements int8 (S, n) of a baseline for the test tasks of scenario `name`.

    Where an open notebook lacks them, train(run, policy, name, seed) makes them first. Raises
    ValueError naming a file that is missing, truncated, altered or made for other test tasks.
    """
    tests, path = _digest(load(run, name, "test").tasks), decisions_path(run, policy, name, seed)
    try:
        return _verified(run.found(path), tests)
    except ValueError:
        if not run.lab:
            raise
    return _verified(train(run, policy, name, seed), tests)


def _verified(path: Path, tests: str) -> np.ndarray:
    saved = read_decisions(path)
    if str(saved["tests"]) != tests:
        raise ValueError(f"decisions: {path} was made for other test tasks; train it anew")
    return saved["placements"]


def _digest(tasks: np.ndarray) -> str:
    """The same on every processor, whose exponentials differ in the last digit."""
    return hashlib.sha256(np.round(np.log(tasks), 6) + 0.0).hexdigest()
