"""Links of our own that are slow and go down, with the statistics of public uplink traces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..tasks import MBIT


@dataclass(frozen=True)
class Uplink:
    """mean: bytes/s over all time; down: share of the time at zero; lasting: mean length of an
    outage in s; memory: correlation time of the bandwidth's logarithm in s; deviation: of it."""

    mean: float
    down: float
    lasting: float = 3.0
    memory: float = 10.0
    deviation: float = 0.7


UPLINKS = {  # named for what they are: Mbit/s on average, share of the time down
    "0.8_down_9": Uplink(0.83 * MBIT, 0.09),
    "6_down_2": Uplink(5.95 * MBIT, 0.02),
    "13_down_1": Uplink(13.3 * MBIT, 0.01),
}


def outages(rng: np.random.Generator, duration: float, uplink: Uplink, step: float = 0.5):
    """A link of `duration` s -> times (T,) in s and bandwidths (T,) in bytes/s, zero while down.

    The logarithm of the bandwidth is an Ornstein-Uhlenbeck process; outages and what is between
    last exponential times.
    """
    times, kept = np.arange(0.0, duration, step), np.exp(-step / uplink.memory)
    z = rng.standard_normal(len(times))
    for i in range(1, len(times)):
        z[i] = kept * z[i - 1] + np.sqrt(1 - kept**2) * z[i]
    up, t = np.ones(len(times), bool), 0.0
    between = uplink.lasting * (1 - uplink.down) / uplink.down
    while t < duration:
        t += rng.exponential(between)
        end = t + rng.exponential(uplink.lasting)
        up &= (times < t) | (times >= end)
        t = end
    median = uplink.mean / (1 - uplink.down) / np.exp(uplink.deviation**2 / 2)
    return times, median * np.exp(uplink.deviation * z) * up
