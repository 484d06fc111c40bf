"""Bandwidth over time: logs in two usual formats, and links of our own with a seed.

A trace begins at 0 s and is piecewise constant; at its end it begins anew, as in Mahimahi (R.
Netravali et al., "Mahimahi: accurate record-and-replay for HTTP", USENIX ATC 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kd_offload.tasks import MBIT, Ranges

LONGEST = 10**9  # ms of a Mahimahi trace, some eleven days: beyond are clock times
PACKET, BIN = 1500, 500  # bytes of a delivery opportunity in a Mahimahi trace; ms
LIMITS = Ranges().B_up  # of our own links


@dataclass(frozen=True, eq=False)
class Trace:
    """A link's bandwidth: bandwidth[i] bytes/s from times[i] s on, both (T,); then over again.

    times begin at 0 and increase strictly. end: when the trace begins anew, in s; without it, the
    last value holds as long as the one before, or 1 s. A link may be down, at 0 bytes/s, but not
    for good. Raises ValueError naming field and value.
    """

    name: str
    times: np.ndarray
    bandwidth: np.ndarray
    end: float | None = None

    def __post_init__(self):
        for field in ("times", "bandwidth"):
            value = np.array(getattr(self, field), dtype=np.float64)
            value.flags.writeable = False
            object.__setattr__(self, field, value)
        t, b = self.times, self.bandwidth
        if t.ndim != 1 or not len(t) or t.shape != b.shape:
            raise ValueError(f"times: shape {t.shape}, bandwidth {b.shape}, expected (T,) both")
        if not (np.isfinite(t).all() and t[0] == 0 and (np.diff(t) > 0).all()):
            raise ValueError(f"times: {t}, expected finite seconds from 0 on, strictly increasing")
        if (bad := ~(np.isfinite(b) & (b >= 0))).any():
            value, at = b[bad][0], t[bad][0]
            raise ValueError(f"bandwidth: {value} bytes/s at {at:g} s, expected 0 or more")
        if not b.any():
            raise ValueError("bandwidth: 0 bytes/s all the time, expected a link that is ever up")
        if self.end is None:
            last = t[-1] - t[-2] if len(t) > 1 else 1.0
            object.__setattr__(self, "end", float(t[-1] + last))
        if not t[-1] < self.end < np.inf:
            raise ValueError(f"end: {self.end} s, expected a time after the last, {t[-1]:g} s")

    def at(self, t) -> np.ndarray:
        """Bandwidth in bytes/s at times t in s, of any shape; beyond its end the trace repeats."""
        return self.bandwidth[np.searchsorted(self.times, np.mod(t, self.end), side="right") - 1]


def read_mahimahi(path) -> Trace:
    """A Mahimahi trace as bandwidth in bins of BIN ms, named after its file.

    Every line is a millisecond, counted from the start, at whose end the link can deliver one
    packet of 1,500 bytes; a repeated line, several packets. The trace is as long as its last line
    says and starts over there. Millisecond m belongs to the bin with bin_start < m <= bin_end; the
    last bin ends with the trace, and may be shorter. In a silent bin the link is down. Format: K.
    Winstein, A. Sivaraman and H. Balakrishnan, "Stochastic forecasts achieve high throughput and
    low delay over cellular networks", NSDI 2013, and Mahimahi. Raises ValueError naming the file
    and what is wrong with it.
    """
    at = _read(path, names=["ms"], dtype=np.int64).ms.to_numpy()
    if (back := np.diff(at, prepend=0) < 0).any():
        raise ValueError(f"trace: {path} has {at[back][0]} ms after a later time")
    last = int(at[-1]) if len(at) else 0
    if not 0 < last <= LONGEST:
        raise ValueError(f"trace: {path} ends at {last} ms, expected 1 to {LONGEST}")
    starts = np.arange(0, last, BIN)
    packets = np.bincount((np.maximum(at, 1) - 1) // BIN, minlength=len(starts))
    bandwidth = packets * PACKET / (np.diff(starts, append=last) / 1e3)
    return Trace(Path(path).stem, starts / 1e3, bandwidth, last / 1e3)


def _read(path, **options) -> pd.DataFrame:
    try:
        shape = {"comment": "#", "skipinitialspace": True, "index_col": False}
        return pd.read_csv(path, encoding="utf-8-sig", **shape, **options)
    except (OSError, ValueError) as error:  # pandas' own and unicode's errors are ValueErrors
        raise ValueError(f"trace: {path} cannot be read ({error})") from None


def read_csv(path) -> Trace:
    """A trace from columns time_s and bandwidth_mbit_s of a CSV file, named after its file.

    The first time becomes 0. Empty lines and what follows a # are passed over, other columns
    ignored. Raises ValueError naming the file and what is wrong with it.
    """
    frame, names = _read(path).rename(columns=str.strip), ["time_s", "bandwidth_mbit_s"]
    if missing := [c for c in names if c not in frame]:
        known = ", ".join(frame)
        raise ValueError(f"trace: {path} has no column {missing[0]!r}, its columns are {known}")
    try:
        t, b = frame[names].to_numpy(dtype=float).T
        return Trace(Path(path).stem, t - t[:1], b * MBIT)
    except ValueError as error:
        raise ValueError(f"trace: {path}: {error}") from None


@dataclass(frozen=True)
class Walk:
    """A walk with a phone: shadowing, and fades. Bandwidths in bytes/s, times in s.

    Without fades, the logarithm of the bandwidth has mean log(median), standard deviation
    `deviation` and correlation exp(-lag / memory). Fades begin `fade_every` s after the end of the
    last on average, last exponential times of mean `fade_s` and leave the share `depth`. All is
    within `limits`.
    """

    step: float = 1.0
    median: float = 25 * MBIT
    deviation: float = 0.7
    memory: float = 30.0
    fade_every: float = 60.0
    fade_s: float = 4.0
    depth: float = 0.2
    limits: tuple[float, float] = LIMITS


def _uplink(mean: float, down: float) -> Walk:
    """A link of `mean` bytes/s that is down for the share `down` of the time, 3 s on average."""
    median = mean / (1 - down) / np.exp(0.7**2 / 2)
    return Walk(0.5, median, 0.7, 10.0, 3 * (1 - down) / down, 3.0, 0.0, (0.0, np.inf))


# Links with the statistics of public uplink traces: Mbit/s on average, share of the time down.
UPLINKS = {
    "0.8_down_9": _uplink(0.83 * MBIT, 0.09),
    "6_down_2": _uplink(5.95 * MBIT, 0.02),
    "13_down_1": _uplink(13.3 * MBIT, 0.01),
}


def walk(rng: np.random.Generator, duration: float, how: Walk) -> tuple[np.ndarray, np.ndarray]:
    """A link of `duration` s -> times (T,) in s and bandwidths (T,) in bytes/s.

    The logarithm is an Ornstein-Uhlenbeck process, the shadowing of M. Gudmundson, "Correlation
    model for shadow fading in mobile radio systems", Electronics Letters 27, 1991; with fades.
    """
    times, kept = np.arange(0.0, duration, how.step), np.exp(-how.step / how.memory)
    z = rng.standard_normal(len(times))
    for i in range(1, len(times)):
        z[i] = kept * z[i - 1] + np.sqrt(1 - kept**2) * z[i]
    faded, t = np.zeros(len(times), bool), rng.exponential(how.fade_every)
    while t < duration:
        until = t + rng.exponential(how.fade_s)
        faded |= (times >= t) & (times < until)
        t = until + rng.exponential(how.fade_every)
    bandwidth = how.median * np.exp(how.deviation * z) * np.where(faded, how.depth, 1.0)
    return times, np.clip(bandwidth, *how.limits)


def uplink(name: str, rng: np.random.Generator, duration: float) -> Trace:
    """One of UPLINKS, of `duration` s."""
    return Trace(name, *walk(rng, duration, UPLINKS[name]), duration)


def walking_trace(rng: np.random.Generator, duration: float, how: Walk = Walk()) -> Trace:
    """A `walk` of `duration` s as a trace, which never stands still."""
    return Trace("walking", *walk(rng, duration, how), duration)
