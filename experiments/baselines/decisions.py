"""Decisions: one at a time for a clock, or all those on the test tasks, saved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments.run import Run, load, provenance
from kd_offload.data import written_aside


class Decider(NamedTuple):
    """One policy in one runtime, for one task at a time.

    Runtime "numba_loop" decides many, (S, F) -> (S, n), in a compiled loop over tasks.
    """

    policy: str
    runtime: str
    decide: Callable[[np.ndarray], np.ndarray]  # task (F,) -> placement (n,), which may be reused
    parameters: int = 0  # numbers that it has learned
    macs: int = 0  # multiply-adds of one decision
    bytes: int = 0  # of its constants


def looped(policy: str, batch: Callable, constants: tuple, n: int, size=(0, 0, 0)) -> Decider:
    """Runtime "numba_loop" of a compiled `batch(*constants, tasks (S, F), out int8 (S, n))`."""

    def decide(tasks):
        out = np.empty((len(tasks), n), np.int8)
        batch(*constants, tasks, out)
        return out

    return Decider(policy, "numba_loop", decide, *size)


def save_decisions(
    run: Run, policy: str, name: str, seed: int, placements: np.ndarray, **about
) -> None:
    """Write what a baseline decided on a scenario's test tasks as .npz, whole or not at all.

    Parameters
    ----------
    run : Run
    policy, name : str
        Of the policy and the scenario.
    seed : int
    placements : numpy.ndarray of int8, shape (S, n)
        For all test tasks.
    **about
        What made them, to be kept beside them.
    """
    digest = _digest(load(run, name, "test").tasks)
    text = json.dumps(provenance(run, **about), default=str)
    with written_aside(run.decisions_path(policy, name, seed)) as aside:
        np.savez_compressed(aside, placements=placements, tests=digest, about=text)


def saved_decisions(run: Run, policy: str, name: str, seed: int) -> np.ndarray:
    """What a baseline decided on a scenario's test tasks.

    Returns
    -------
    numpy.ndarray of int8, shape (S, n)

    Raises
    ------
    ValueError
        Naming a file that is missing, truncated, altered or made for other tasks.
    """
    path = run.decisions_path(policy, name, seed)
    try:
        with np.load(path, allow_pickle=False) as saved:
            placements, tests = saved["placements"], str(saved["tests"])
    except FileNotFoundError:
        raise ValueError(f"decisions: {path} is missing; train the baseline first") from None
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise ValueError(f"decisions: {path} is truncated or altered ({error})") from None
    if tests != _digest(load(run, name, "test").tasks):
        raise ValueError(f"decisions: {path} was made for other test tasks; train it anew")
    return placements


def _digest(tasks: np.ndarray) -> str:
    """The same on every processor, whose exponentials differ in the last digit."""
    return hashlib.sha256(np.round(np.log(tasks), 6) + 0.0).hexdigest()
