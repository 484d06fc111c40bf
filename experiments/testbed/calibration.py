"""What subtasks cost on this computer, measured before sessions in which they are really computed.

Every machine runs each subtask of each network, as it will in sessions: in its own process, on one
thread, as many times as it is slower than the cloud. One machine measures at a time. What counts is
the time of a processor core, so that other work on this computer changes it little.

The delay model has one cost per subtask and one speed per machine. Both come from all three
measurements; counted cycles only fix the unit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.testbed.layers import NETWORKS, layers
from experiments.testbed.machines import START_S, Machines
from kd_offload.graphs import LOCATIONS

# How many times a machine does each subtask's work, which makes it so many times slower. In the
# middle of the scenarios' ranges, the cloud is 16 times as fast as the device and 3.5 times as fast
# as the edge.
REPEATS = (16, 4, 1)
TRIES = 5  # of which the median counts


class Calibration(NamedTuple):
    """What was measured, and the delay model's costs and speeds for it."""

    seconds: np.ndarray  # float64 (3, N): of a core, by location and subtask of all networks
    counted: np.ndarray  # float64 (N,): cycles that are counted from operations
    cycles: np.ndarray  # float64 (N,): measured costs, in sum those that are counted
    speeds: np.ndarray  # float64 (3,): cycles/s

    def costs(self) -> dict[str, list[float]]:
        """Measured cycles of each network's subtasks."""
        ends = np.cumsum([layers(name).graph.n for name in NETWORKS])[:-1]
        return {name: part.tolist() for name, part in zip(NETWORKS, np.split(self.cycles, ends))}

    def table(self) -> pd.DataFrame:
        """One row per subtask and location: cycles, seconds measured, and those of the model."""
        rows = []
        subtasks = [(name, j) for name in NETWORKS for j in range(1, layers(name).graph.n + 1)]
        for k, (network, subtask) in enumerate(subtasks):
            for location, name in enumerate(LOCATIONS):
                rows.append(
                    {
                        "network": network,
                        "subtask": subtask,
                        "location": name,
                        "repeats": REPEATS[location],
                        "counted_cycles": self.counted[k],
                        "cycles": self.cycles[k],
                        "seconds": self.seconds[location, k],
                        "model_seconds": self.cycles[k] / self.speeds[location],
                    }
                )
        return pd.DataFrame(rows)


def fit(seconds: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Costs and speeds of the delay model from seconds measured.

    Parameters
    ----------
    seconds : numpy.ndarray
        Of each subtask on each machine, float64 (3, N).
    counted : numpy.ndarray
        Cycles counted, float64 (N,). Only their sum matters: it fixes the unit.

    Returns
    -------
    cycles : numpy.ndarray
        float64 (N,): in proportion to the geometric mean over machines of a subtask's share.
    speeds : numpy.ndarray
        float64 (3,), cycles/s: all cycles over all seconds.
    """
    shares = seconds / seconds.sum(axis=1, keepdims=True)
    mean_shares = np.exp(np.log(shares).mean(axis=0))
    cycles = counted.sum() * mean_shares / mean_shares.sum()
    return cycles, cycles.sum() / seconds.sum(axis=1)


def calibrate(machines: Machines) -> Calibration:
    """Measure on machines that compute at their own pace, and give them the costs.

    Parameters
    ----------
    machines : Machines
        Started, with `repeats`.

    Returns
    -------
    Calibration
    """
    answers = [
        machine.ask(START_S, {"do": "calibrate", "tries": TRIES}) for machine in machines.all
    ]
    seconds = np.array([np.concatenate([answer[name] for name in NETWORKS]) for answer in answers])
    counted = np.concatenate([layers(name).cycles() for name in NETWORKS])
    measured = Calibration(seconds, counted, *fit(seconds, counted))
    machines.set_costs(measured.costs())
    return measured
