"""Measuring how long decisions take, with intervals that hold for a rerun.

A process differs from the next by where its memory lies and by what the machine does meanwhile.
Everything is therefore timed in several fresh processes, one after another, and within each process
all functions take turns. Times are in microseconds, arrays of shape (processes, inputs).
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from threadpoolctl import threadpool_limits

from experiments.parallel import progress
from experiments.run import Run
from experiments.studies.statistics import bounded, interval

RESAMPLES = 400
COLD_BYTES = 48 * 2**20  # touched between calls: more than one core's share of the last cache
# So many times are needed for the largest of them to bound the 99th percentile: 0.99**367 < 0.025.
P99_NEEDS = 367
OVER = {  # the columns of ratios to our policies
    "student": "over_student",
    "student_independent": "over_independent",
    "anygraph": "over_any",
}
Times = dict[tuple[str, str], np.ndarray]  # microseconds, by (policy, runtime)


def processor() -> str:
    """The processor's name, for the provenance of times."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = re.search("model name.*: (.*)", cpuinfo.read_text(encoding="utf-8"))
        if named:
            return named[1]
    return platform.processor() or platform.machine()


def time_interleaved(
    functions: list[Callable], inputs: list, warmup: int = 5, cold: bool = False
) -> np.ndarray:
    """Time every function on every input.

    All functions take turns on each input, so that whatever disturbs the machine disturbs all
    alike. An untimed call on another input precedes each timed one, so that the cache holds the
    function's own code and constants and not what the function before it left there.

    Parameters
    ----------
    functions : list of callable
    inputs : list
    warmup : int
        Inputs that each function is called with before anything is timed.
    cold : bool
        Touch COLD_BYTES of memory before each timed call instead, which leaves the caches cold.

    Returns
    -------
    numpy.ndarray of float64, shape (len(functions), len(inputs)), microseconds
    """
    clock = time.perf_counter_ns
    touched = np.zeros(COLD_BYTES // 8 if cold else 0)
    nanoseconds = np.empty((len(functions), len(inputs)))
    for function in functions:
        for value in inputs[:warmup]:
            function(value)
    for s, value in enumerate(inputs):
        for f, function in enumerate(functions):
            if cold:
                touched += 1
            else:
                function(inputs[s - 1])
            start = clock()
            function(value)
            nanoseconds[f, s] = clock() - start
    return nanoseconds / 1e3


def in_fresh_processes(function: Callable, run: Run, *arguments, what: str = "processes") -> list:
    """Call a function in fresh processes, one after another, each with one thread.

    Parameters
    ----------
    function : callable
        function(p, run, *arguments), of a module's top level, since all is pickled.
    run : Run
        Its profile says how many processes.
    what : str
        For the progress bar.

    Returns
    -------
    list
        What the function returned for p = 0, 1, ...
    """
    results = []
    count = run.profile.processes
    context = get_context("spawn")
    for p in progress(range(count), count, what, "process"):
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            results.append(pool.submit(_on_one_thread, function, p, run, *arguments).result())
    return results


def _on_one_thread(function: Callable, *arguments):
    torch.set_num_threads(1)
    with threadpool_limits(1):
        return function(*arguments)


@lru_cache(maxsize=8)
def _draws(processes: int, inputs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """RESAMPLES draws: of processes, and of inputs within each drawn process.

    Of K processes K - 1 are drawn, which keeps the variance over few of them unbiased.
    """
    rng = np.random.default_rng(seed)
    drawn = max(1, processes - 1)
    which_process = rng.integers(0, processes, (RESAMPLES, drawn, 1))
    which_input = rng.integers(0, inputs, (RESAMPLES, drawn, inputs))
    return which_process, which_input


def resampled(us: np.ndarray, seed: int, of: Callable = np.median) -> np.ndarray:
    """A statistic of times (processes, inputs) in every draw: float64 (RESAMPLES,).

    The draws are the same for the same seed and shape, which pairs what is compared.
    """
    processes, inputs = us.shape
    drawn = us[_draws(processes, inputs, seed)]
    return of(drawn.reshape(RESAMPLES, -1), axis=1)


def rerun_interval(value: float, samples: np.ndarray, processes: int) -> np.ndarray:
    """The 95 % interval in which a rerun's value falls.

    The percentile interval of the resamples, stretched around the value on a logarithmic scale: by
    the square root of 2, since a rerun varies as much as this run did, and by Student's t over the
    normal quantile, since the processes are few.

    Parameters
    ----------
    value : float
        Positive.
    samples : numpy.ndarray of float64, shape (RESAMPLES,)
    processes : int

    Returns
    -------
    numpy.ndarray of float64, shape (2,)
    """
    few = stats.t.ppf(0.975, processes - 1) / stats.norm.ppf(0.975)
    return value * (interval(samples) / value) ** (np.sqrt(2) * few)


def timed(us: np.ndarray, seed: int) -> dict[str, float]:
    """Columns median_us and p99_us of times (processes, inputs), with `rerun_interval`s.

    The interval of p99_us is nan where there are too few times to bound it.
    """
    median, p99_of = np.median(us), partial(np.quantile, q=0.99)
    row = bounded("median_us", median, rerun_interval(median, resampled(us, seed), len(us)))
    p99 = p99_of(us)
    ends = (np.nan, np.nan)
    if us.size >= P99_NEEDS:
        ends = rerun_interval(p99, resampled(us, seed, p99_of), len(us))
    return row | bounded("p99_us", p99, ends)


def ratio(
    column: str, us: np.ndarray, ours: list[np.ndarray], seed: int, of: Callable = np.median
) -> dict[str, float]:
    """A column: a statistic of times over the mean of that of `ours`, with its interval."""
    value = of(us) / np.mean([of(own) for own in ours])
    samples = resampled(us, seed, of) / np.mean([resampled(own, seed, of) for own in ours], axis=0)
    return bounded(column, value, rerun_interval(value, samples, len(us)))


def ratios(times: Times, runtime: str, us: np.ndarray, seed: int) -> dict[str, float]:
    """The columns of OVER: `ratio` to our policies in the same runtime.

    nan where those were not timed on as many inputs.
    """
    row = {}
    for policy, column in OVER.items():
        ours = times.get((policy, runtime))
        if ours is not None and ours.shape == us.shape:
            row |= ratio(column, us, [ours], seed)
        else:
            row |= bounded(column, np.nan, (np.nan, np.nan))
    return row


def together(parts: list[Times]) -> Times:
    """What every process measured, as arrays (processes, inputs)."""
    return {key: np.array([part[key] for part in parts]) for key in parts[0]}
