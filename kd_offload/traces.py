"""Bandwidth over time: logs in two usual formats, and links of our own with a seed.

A trace begins at 0 s and is piecewise constant; at its end it begins anew, as in Mahimahi (R. Netravali et al.,
"Mahimahi: accurate record-and-replay for HTTP", USENIX ATC 2015).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .config import written_aside
from .sampling import MBIT

LONGEST = 10**9  # ms of a Mahimahi trace, some eleven days: beyond are clock times, not times from the start
PACKET = 1500  # bytes of one delivery opportunity in a Mahimahi trace
BANDWIDTH_UNITS = {"bit/s": 1 / 8, "kbit/s": 1e3 / 8, "Mbit/s": MBIT, "bytes/s": 1.0}  # in bytes/s
TIME_UNITS = {"s": 1.0, "ms": 1e-3}


@dataclass(frozen=True, eq=False)
class Trace:
    """A link's bandwidth: bandwidth[i] bytes/s from times[i] s on, both (T,); then over again.

    times begin at 0 and increase strictly. end: when the trace begins anew, in s; without it, the last value holds as
    long as the one before it, or 1 s if it is alone. Raises ValueError naming field and value.
    """

    name: str
    times: np.ndarray
    bandwidth: np.ndarray
    end: float | None = None

    def __post_init__(self):
        for field in ("times", "bandwidth"):
            try:
                value = np.array(getattr(self, field), dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{field}: not numeric ({error})") from None
            value.flags.writeable = False
            object.__setattr__(self, field, value)
        t, b = self.times, self.bandwidth
        if t.ndim != 1 or not len(t) or t.shape != b.shape:
            raise ValueError(f"times: shape {t.shape}, bandwidth {b.shape}, expected (T,) both, T at least 1")
        if not np.isfinite(t).all() or t[0] != 0:
            raise ValueError(f"times: {t[0] if np.isfinite(t).all() else 'not finite'}, expected seconds from 0 on")
        if (later := np.diff(t) <= 0).any():
            i = int(later.argmax())
            raise ValueError(f"times: {t[i + 1]:g} s after {t[i]:g} s, expected strictly increasing times")
        if (bad := ~(np.isfinite(b) & (b > 0))).any():
            i = int(bad.argmax())
            raise ValueError(f"bandwidth: {b[i]} bytes/s at {t[i]:g} s, expected a positive, finite number")
        if self.end is None:
            object.__setattr__(self, "end", t[-1] + (t[-1] - t[-2]) if len(t) > 1 else 1.0)
        object.__setattr__(self, "end", float(self.end))
        if not t[-1] < self.end < np.inf:
            raise ValueError(f"end: {self.end} s, expected a time after the last one, {t[-1]:g} s")

    @property
    def duration(self) -> float:
        """Seconds until the trace begins anew."""
        return self.end

    @property
    def mean(self) -> float:
        """Mean bandwidth over time, bytes/s."""
        return float(np.diff(self.times, append=self.end) @ self.bandwidth / self.end)

    def at(self, t) -> np.ndarray | float:
        """Bandwidth in bytes/s at times t in s, of any shape; beyond the end the trace is repeated."""
        t = np.asarray(t, dtype=np.float64)
        if not np.isfinite(t).all():
            raise ValueError("t: not finite, expected times in seconds")
        return self.bandwidth[np.searchsorted(self.times, np.mod(t, self.end), side="right") - 1]

    def clipped(self, low: float, high: float) -> Trace:
        """The same trace with its bandwidth held within low to high bytes/s."""
        return Trace(self.name, self.times, np.clip(self.bandwidth, low, high), self.end)


# --- logs -------------------------------------------------------------------------------------------------------------


def read_mahimahi(path, bin_s: float = 0.5, name: str | None = None) -> Trace:
    """A Mahimahi trace as bandwidth in bins of `bin_s` seconds, named `name` or after its file.

    Every line is a millisecond, counted from the start, at whose end the link can deliver one packet of 1,500 bytes; a
    repeated line, several packets. The trace is as long as its last line says and starts over there. Millisecond m
    belongs to the bin with bin_start < m <= bin_end; the last bin ends with the trace, and may be shorter. A bin of N
    lines has N * 1500 bytes over its length. A silent bin counts as one packet, the least that
    a bin can show: a delay over a link that is silent for good would be infinite. Format: K. Winstein, A. Sivaraman and H. Balakrishnan,
    "Stochastic forecasts achieve high throughput and low delay over cellular networks", NSDI 2013, and Mahimahi.

    Raises ValueError naming the file, and the line that is no millisecond or earlier than the one before it.
    """
    path, width = Path(path), round(1e3 * bin_s) if np.isfinite(bin_s) else 0
    if width < 1 or abs(width - 1e3 * bin_s) > 1e-6:
        raise ValueError(f"bin_s: {bin_s}, expected a whole number of milliseconds, at least 1")
    at, before = [], 0
    for number, line in enumerate(_lines(path), start=1):
        if not (line := line.strip()):
            continue
        if not (line.isascii() and line.isdigit()):
            raise _wrong(path, number, line, "expected a whole number of milliseconds")
        if (ms := int(line)) < before:
            raise _wrong(path, number, line, f"expected no time before {before} ms, the line above")
        at.append(before := ms)
    if before > LONGEST:
        raise ValueError(f"trace: {path} ends at {before} ms, expected milliseconds from its start, at most {LONGEST}")
    if not before:
        raise ValueError(f"trace: {path} has no packet after 0 ms, expected lines of milliseconds")
    starts = np.arange(0, before, width)
    packets = np.bincount((np.maximum(at, 1) - 1) // width, minlength=len(starts))
    seconds = np.diff(starts, append=before) / 1e3
    return Trace(name or path.stem, starts / 1e3, np.maximum(packets, 1) * PACKET / seconds, before / 1e3)


def write_mahimahi(trace: Trace, path) -> None:
    """Write a trace in Mahimahi's format, a millisecond a line and packet.

    A packet is delivered at the end of the millisecond by which its 1,500 bytes have come together, so that any bin has
    the trace's bytes but for less than a packet at either end. The last line is the trace's end, where it starts over: if
    no packet is due then, one is added. Raises ValueError for a trace that ends within its first millisecond.
    """
    end = round(1e3 * trace.duration)
    if end < 1:
        raise ValueError(f"trace: {trace.name!r} lasts {trace.duration} s, expected at least 1 ms")
    knots = np.append(trace.times, trace.end)
    came = np.concatenate([[0.0], np.cumsum(np.diff(knots) * trace.bandwidth)])
    by = np.floor(np.interp(np.arange(end + 1) / 1e3, knots, came) / PACKET + 1e-6).astype(np.int64)
    packets = np.diff(by)
    packets[-1] = max(packets[-1], 1)
    with written_aside(path) as aside:
        aside.write_text("".join(f"{ms}\n" for ms in np.repeat(np.arange(1, end + 1), packets)))


def read_csv(
    path,
    time: str = "time_s",
    bandwidth: str = "bandwidth_mbit_s",
    unit: str = "Mbit/s",
    time_unit: str = "s",
    floor: float | None = None,
    end: float | None = None,
    delimiter: str = ",",
    name: str | None = None,
) -> Trace:
    """A trace from columns `time` and `bandwidth` of a CSV file with a header, named `name` or after its file.

    unit: bit/s, kbit/s, Mbit/s or bytes/s; time_unit: s or ms. The first time becomes 0. Empty lines and lines that
    begin with # are passed over, other columns ignored. floor: what a smaller bandwidth counts as, zero included, in
    `unit`; without it, a log with a zero is refused. end: when the trace begins anew, in s after its first time; see `Trace`.

    Raises ValueError naming the file, and the line if one is wrong.
    """
    path = Path(path)
    for field, value, known in (("unit", unit, BANDWIDTH_UNITS), ("time_unit", time_unit, TIME_UNITS)):
        if value not in known:
            raise ValueError(f"{field}: {value!r}, expected one of {', '.join(known)}")
    if floor is not None and not 0 < floor < np.inf:
        raise ValueError(f"floor: {floor}, expected a positive number of {unit}")
    columns, times, values = None, [], []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
        if columns is None:
            if missing := [c for c in (time, bandwidth) if c not in cells]:
                raise ValueError(f"trace: {path} has no column {missing[0]!r}, its columns are {', '.join(cells)}")
            columns = cells.index(time), cells.index(bandwidth)
            continue
        try:
            t, b = (float(cells[c]) for c in columns)
        except (IndexError, ValueError):
            raise _wrong(path, number, line, f"expected numbers for {time} and {bandwidth}") from None
        if not np.isfinite(t) or (times and t <= times[-1]):
            after = f" after {times[-1]:g}" if times else ""
            raise _wrong(path, number, line, f"expected a finite {time}{after}")
        if floor is not None and 0 <= b < floor:
            b = floor
        if not 0 < b < np.inf:
            raise _wrong(path, number, line, f"expected a positive, finite {bandwidth}")
        times.append(t)
        values.append(b)
    if not times:
        raise ValueError(f"trace: {path} is empty, expected a header and lines of {time} and {bandwidth}")
    seconds = (np.array(times) - times[0]) * TIME_UNITS[time_unit]
    return Trace(name or path.stem, seconds, np.array(values) * BANDWIDTH_UNITS[unit], end)


def write_csv(
    trace: Trace, path, time: str = "time_s", bandwidth: str = "bandwidth_mbit_s", unit: str = "Mbit/s"
) -> None:
    """Write a trace as `read_csv` reads it. Its end is not written: give it to the reader if it is not the default.

    Raises ValueError for an unknown unit.
    """
    if unit not in BANDWIDTH_UNITS:
        raise ValueError(f"unit: {unit!r}, expected one of {', '.join(BANDWIDTH_UNITS)}")
    rows = zip(trace.times.tolist(), (trace.bandwidth / BANDWIDTH_UNITS[unit]).tolist())
    with written_aside(path) as aside:
        aside.write_text(f"{time},{bandwidth}\n" + "".join(f"{t!r},{b!r}\n" for t, b in rows))


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ValueError(f"trace: {path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError(f"trace: {path} is not text") from None
    if not any(line.strip() for line in lines):
        raise ValueError(f"trace: {path} is empty")
    return lines


def _wrong(path: Path, number: int, line: str, expected: str) -> ValueError:
    return ValueError(f"trace: {path}, line {number}: {line[:80]!r}, {expected}")


# --- links of our own -------------------------------------------------------------------------------------------------


def markov_trace(
    rng: np.random.Generator,
    duration: float = 600.0,
    levels=tuple(np.geomspace(4 * MBIT, 100 * MBIT, 4)),
    dwell: float = 60.0,
    name: str = "markov",
) -> Trace:
    """A Markov-modulated link: it jumps between `levels` (bytes/s), each for an exponential time of mean `dwell` s.

    Every jump goes to one of the other levels, all alike, so that each holds an equal share of the time. By default four
    levels, 4, 12, 34 and 100 Mbit/s. Raises ValueError naming the argument.
    """
    levels = np.array(levels, dtype=np.float64)
    if levels.ndim != 1 or not len(levels) or not (np.isfinite(levels) & (levels > 0)).all():
        raise ValueError(f"levels: {levels}, expected positive numbers of bytes/s")
    _check_positive(duration=duration, dwell=dwell)
    t, now, times, at = 0.0, int(rng.integers(len(levels))), [], []
    while t < duration:
        times.append(t)
        at.append(now)
        t += rng.exponential(dwell)
        now = (now + int(rng.integers(1, max(2, len(levels))))) % len(levels)
    return Trace(name, times, levels[at], duration)


def walking_trace(
    rng: np.random.Generator,
    duration: float = 600.0,
    step: float = 1.0,
    median: float = 25 * MBIT,
    deviation: float = 0.7,
    memory: float = 30.0,
    fade_every: float = 60.0,
    fade_s: float = 4.0,
    depth: float = 0.2,
    limits: tuple[float, float] = (4 * MBIT, 100 * MBIT),
    name: str = "walking",
) -> Trace:
    """A walk with a phone: shadowing, an Ornstein-Uhlenbeck process in the logarithm of the bandwidth, and fades.

    A value every `step` s. Without fades, the logarithm has mean log(median), standard deviation `deviation` and
    correlation exp(-lag / memory). Fades begin every `fade_every` s on average, last exponential times of mean `fade_s` s
    and leave the share `depth` of the bandwidth. All is held within `limits`. Bandwidths in bytes/s. The shadowing is
    that of M. Gudmundson, "Correlation model for shadow fading in mobile radio systems", Electronics Letters 27, 1991.
    Raises ValueError naming the argument.
    """
    _check_positive(duration=duration, step=step, median=median, memory=memory, fade_every=fade_every, fade_s=fade_s)
    if not 0 <= deviation < np.inf or not 0 < depth <= 1 or not 0 < limits[0] <= limits[1] < np.inf:
        raise ValueError(
            f"deviation, depth, limits: {deviation}, {depth}, {limits}, expected deviation >= 0, 0 < depth <= 1, 0 < low <= high"
        )
    times = np.arange(0.0, duration, step)
    kept = np.exp(-step / memory)
    shocks = rng.standard_normal(len(times))
    z = np.empty(len(times))
    z[0] = shocks[0]
    for i in range(1, len(times)):
        z[i] = kept * z[i - 1] + np.sqrt(1 - kept**2) * shocks[i]
    faded, t = np.zeros(len(times), bool), rng.exponential(fade_every)
    while t < duration:
        until = t + rng.exponential(fade_s)
        faded |= (times >= t) & (times < until)
        t = until + rng.exponential(fade_every)
    bandwidth = median * np.exp(deviation * z) * np.where(faded, depth, 1.0)
    return Trace(name, times, np.clip(bandwidth, *limits), duration)


def _check_positive(**arguments: float) -> None:
    for field, value in arguments.items():
        if not 0 < value < np.inf:
            raise ValueError(f"{field}: {value}, expected a positive, finite number")
