"""What the device knows of the system: estimates from probes, transfers and executions.

A transfer of d bytes takes tau + d / B seconds. Both are found by least squares over all transfers
seen on a link since it was last probed; each new one makes the weight of those before KEPT times
smaller. B is bytes of tensors a second: headers are part of what a link is found to cost. A speed
is cycles over seconds, both summed with such weights.
"""

from __future__ import annotations

import numpy as np

KEPT = 0.95  # weight of what was known before, at each new transfer or execution
DOWN = 1.0  # bytes/s that a link counts as of which nothing has come
LEAST = 1e-5  # s, of propagation


class Line:
    """seconds = tau + bytes / B, by least squares with fading weights."""

    def __init__(self):
        self.sums = np.zeros(5)  # of the weights, bytes, seconds, bytes^2, bytes * seconds

    def add(self, size: float, seconds: float) -> None:
        """A transfer: bytes and seconds."""
        new = [1, size, seconds, size * size, size * seconds]
        self.sums = KEPT * self.sums + np.array(new)

    def fit(self) -> tuple[float, float]:
        """(B in bytes/s, tau in s); B is DOWN where nothing was seen."""
        w, x, y, xx, xy = self.sums
        spread = w * xx - x * x
        if w == 0 or spread <= 0:
            return DOWN, LEAST
        slope = max((w * xy - x * y) / spread, 1e-10)
        return 1 / slope, max((y - slope * x) / w, LEAST)


class Known:
    """The system state as measured: three speeds, four links."""

    def __init__(self):
        self.work = np.zeros((3, 2))  # sums of cycles and of seconds, by location
        self.lines = [Line() for _ in range(4)]

    def add(self, report: dict) -> None:
        """A machine's report: transfers [link, bytes, s] and runs [location, cycles, s]."""
        for link, size, seconds in report["transfers"]:
            self.lines[link].add(size, seconds)
        for where, cycles, seconds in report["runs"]:
            self.work[where] = KEPT * self.work[where] + [cycles, seconds]

    def state(self) -> np.ndarray:
        """The state (8,) of the delay model, SI units. Each hop has one propagation delay, the WAN
        one bandwidth: the means of both directions."""
        speeds = np.maximum(self.work[:, 0], 1) / np.maximum(self.work[:, 1], 1e-9)
        (up, t_0), (down, t_1), (wan_up, t_2), (wan_down, t_3) = (x.fit() for x in self.lines)
        wan = min(wan_up, wan_down) if DOWN in (wan_up, wan_down) else (wan_up + wan_down) / 2
        return np.array([*speeds, up, down, wan, (t_0 + t_1) / 2, (t_2 + t_3) / 2])

    def down(self) -> set[int]:
        """The links of which nothing has come."""
        return {link for link, line in enumerate(self.lines) if line.fit()[0] == DOWN}
