"""Jobs in processes of this machine or on a Dask cluster, behind a progress bar."""

from __future__ import annotations

import os
import sys
from functools import lru_cache

import torch
from joblib import Parallel, delayed, parallel_config
from tqdm.auto import tqdm


def progress(items, total: int, what: str, unit: str):
    """`items` behind a progress bar: on a terminal or in an open notebook, silent anywhere else."""
    quiet = bool(os.environ.get("KD_QUIET")) if "ipykernel" in sys.modules else None
    return tqdm(items, total=total, desc=what, unit=unit, disable=quiet)


def workers() -> int:
    """Processes to use: KD_WORKERS if set, else the number of cores."""
    value = os.environ.get("KD_WORKERS", str(os.cpu_count() or 1))
    if not value.isdigit() or int(value) < 1:
        raise ValueError(f"KD_WORKERS: {value!r}, expected a positive integer")
    return int(value)


def parallel(n_jobs: int) -> Parallel:
    """Where jobs run: `n_jobs` processes of this machine, or the Dask cluster whose scheduler's
    address is in DASK_SCHEDULER. Results come as they are done, in no fixed order."""
    address = os.environ.get("DASK_SCHEDULER")
    if not address:
        return Parallel(n_jobs=n_jobs, return_as="generator_unordered")
    try:
        _client(address)
    except ImportError:
        raise ValueError(
            "DASK_SCHEDULER is set, but dask is not installed: pip install kd-offload[cluster]"
        ) from None
    except (OSError, TimeoutError, ValueError) as error:
        raise ValueError(f"DASK_SCHEDULER: no scheduler answers at {address!r} ({error})") from None
    with parallel_config(backend="dask"):
        return Parallel(return_as="generator_unordered")


@lru_cache(maxsize=1)
def _client(address: str):
    """The one connection to a cluster; joblib finds it by itself, as the default one."""
    from dask.distributed import Client

    return Client(address, timeout="30s", set_as_default=True)


def _numbered(function, number: int, arguments: tuple):
    torch.set_num_threads(1)
    return number, function(*arguments)


def in_parallel(function, todo: list[tuple], what: str) -> list:
    """function(*arguments) for every entry of `todo`, results in its order.

    On a GPU one after another, on CPU as many at a time as there are workers, one thread each.
    """
    jobs = parallel(1 if torch.cuda.is_available() else workers())(
        delayed(_numbered)(function, i, arguments) for i, arguments in enumerate(todo)
    )
    done = sorted(progress(jobs, len(todo), what, "job"), key=lambda pair: pair[0])
    return [result for _, result in done]
