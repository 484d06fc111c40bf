"""Tasks and system states: what their quantities are, how random ones are drawn and checked."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields

import numpy as np

from .graphs import TaskGraph

MBIT = 1e6 / 8  # bytes/s in 1 Mbit/s
STATE = ("f_0", "f_1", "f_2", "B_up", "B_down", "B_wan", "tau_wireless", "tau_wan")
UNITS = ("cycles/s",) * 3 + ("bytes/s",) * 3 + ("s",) * 2


@dataclass(frozen=True)
class Ranges:
    """Log-uniform, independent ranges (low, high) in SI units; the defaults are the artifact's own.

    `down_over_up` is the ratio B_down / B_up, drawn in place of B_down.
    """

    cycles: tuple[float, float] = (1e7, 5e8)
    bytes: tuple[float, float] = (2e4, 1e6)
    f_0: tuple[float, float] = (1e9, 3e9)
    f_1: tuple[float, float] = (4e9, 16e9)
    f_2: tuple[float, float] = (16e9, 48e9)
    B_up: tuple[float, float] = (4 * MBIT, 100 * MBIT)
    down_over_up: tuple[float, float] = (1.0, 3.0)
    B_wan: tuple[float, float] = (10 * MBIT, 100 * MBIT)
    tau_wireless: tuple[float, float] = (2e-3, 15e-3)
    tau_wan: tuple[float, float] = (10e-3, 80e-3)

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if np.shape(value) != (2,) or not 0 < value[0] <= value[1] < np.inf:
                raise ValueError(f"range {field.name}: {value}, expected 0 < low <= high")


def feature_names(graph: TaskGraph) -> list[str]:
    """Names of a task vector's entries, in order: w_1.., d_0_1.., then the system state."""
    cycles = [f"w_{i}" for i in range(1, graph.n + 1)]
    return cycles + [f"d_{i}_{j}" for i, j in graph.edges] + list(STATE)


def unit(feature: str) -> str:
    """The SI unit of a task vector's entry, by its name."""
    return {"w": "cycles", "d": "bytes"}.get(feature[0]) or dict(zip(STATE, UNITS))[feature]


def sample_tasks(
    graph: TaskGraph,
    count: int,
    rng: np.random.Generator,
    ranges: Ranges = Ranges(),
    workload: np.ndarray | None = None,
) -> np.ndarray:
    """Random tasks of a graph.

    Parameters
    ----------
    graph : TaskGraph
    count : int
    rng : numpy.random.Generator
    ranges : Ranges, optional
    workload : numpy.ndarray of float64, shape (n + edges,), optional
        Fixed cycles and bytes; then only the system state varies.

    Returns
    -------
    numpy.ndarray of float64, shape (count, F), SI units

    Raises
    ------
    ValueError
        For a bad count, or a workload of another shape or with a value that is none.
    """
    if not isinstance(count, (int, np.integer)) or not 1 <= count <= 10**9:
        raise ValueError(f"count: {count!r}, expected an integer from 1 to 10**9")
    fixed = graph.n + len(graph.edges)
    names = ["down_over_up" if name == "B_down" else name for name in STATE]
    low_high = [ranges.cycles] * graph.n + [ranges.bytes] * len(graph.edges)
    low_high += [getattr(ranges, name) for name in names]
    low, high = np.log(np.array(low_high)).T
    tasks = np.exp(rng.uniform(low, high, size=(count, len(low_high))))
    tasks[:, fixed + STATE.index("B_down")] *= tasks[:, fixed + STATE.index("B_up")]
    if workload is not None:
        if np.shape(workload) != (fixed,):
            found = np.shape(workload)
            raise ValueError(f"workload: shape {found}, expected ({fixed},) for {graph.name!r}")
        tasks[:, :fixed] = workload
        check_tasks(graph, tasks[:1])
    return tasks


def real_array(field: str, values, columns: list[str]) -> np.ndarray:
    """`values` as an array of integers or real numbers; ValueError naming `field` for any other.

    columns: what those of a DataFrame have to be called.
    """
    names = getattr(values, "columns", None)
    if names is not None and [*names] != columns:
        raise ValueError(f"{field}: columns {', '.join(map(str, names))}, expected {columns}")
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{field}: not numeric ({error})") from None
    masked = isinstance(values, np.ma.MaskedArray)
    if masked or array.dtype.kind not in "fiu":
        kind = "masked" if masked else array.dtype
        raise ValueError(f"{field}: not numeric (type {kind}), expected real numbers")
    return array


def check_tasks(graph: TaskGraph, tasks, positive: bool = False) -> np.ndarray:
    """Tasks, checked.

    Parameters
    ----------
    graph : TaskGraph
    tasks : array_like of float, shape (F,) or (S, F), S at least 1, SI units
        A DataFrame's columns are the features' names, in order.
    positive : bool, optional
        Whether zero is refused everywhere, since a network sees logarithms; by default cycles,
        bytes and propagation delays may be zero.

    Returns
    -------
    numpy.ndarray of float64, contiguous, same shape; ValueError names field and value
    """
    t = real_array("task", tasks, feature_names(graph)).astype(np.float64, order="C", copy=False)
    if t.ndim not in (1, 2) or not t.size or t.shape[-1] != graph.n_features:
        raise ValueError(
            f"task: shape {t.shape}, expected (..., {graph.n_features}) for graph {graph.name!r}"
        )
    zero_allowed = np.zeros(graph.n_features, dtype=bool)
    if not positive:
        zero_allowed[: graph.n + len(graph.edges)] = True
        zero_allowed[[-2, -1]] = True
    good = np.isfinite(t) & ((t > 0) | (zero_allowed & (t == 0)))
    if not good.all():
        where = np.argwhere(~good)[0]
        feature = int(where[-1])
        name, value = feature_names(graph)[feature], t[tuple(where)]
        kind = "not negative" if zero_allowed[feature] else "positive"
        raise ValueError(f"task: {name} = {value} {unit(name)}, expected a finite number, {kind}")
    return t


def warn_of_range(names, values: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """One warning of the first quantity, if any, that leaves the range that was trained on.

    Parameters
    ----------
    names : sequence of str, K of them
    values : numpy.ndarray of float64, shape (S, K)
    low, high : array_like of float, shape (K,)
    """
    for name, column, least, most in zip(names, values.T, low, high):
        if column.min() < least * (1 - 1e-6) or column.max() > most * (1 + 1e-6):
            warnings.warn(
                f"task: {name} from {column.min():.4g} to {column.max():.4g} lies outside the "
                f"training range {least:.4g} to {most:.4g}; decided all the same",
                stacklevel=3,
            )
            return
