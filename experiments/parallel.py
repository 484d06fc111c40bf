"""Jobs side by side, behind a progress bar.

joblib decides where they run: by default in one process per available core. With
`joblib.parallel_config(backend="dask")` around a call they run on a Dask cluster.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from joblib import Parallel, cpu_count, delayed

from kd_offload.data import progress

__all__ = ["in_parallel", "progress", "workers"]


def workers() -> int:
    """Processes to use: as many as cores that this process may use, one on a machine with a GPU."""
    return 1 if torch.cuda.is_available() else cpu_count()


def _on_one_thread(function: Callable, arguments: tuple):
    torch.set_num_threads(1)
    return function(*arguments)


def in_parallel(function: Callable, jobs: list[tuple], what: str) -> list:
    """function(*arguments) for every entry of `jobs`, one thread each; results in their order."""
    with warnings.catch_warnings():
        # joblib replaces a worker that has grown, and says so in the thread that manages them;
        # where warnings are errors, that thread would die, and the call never return
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        results = Parallel(n_jobs=workers(), return_as="generator")(
            delayed(_on_one_thread)(function, arguments) for arguments in jobs
        )
        return list(progress(results, len(jobs), what, "job"))
