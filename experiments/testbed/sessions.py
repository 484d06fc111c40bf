"""Sessions of the testbed: many tasks, each run under every policy, predicted and measured.

Links are emulated: paced to a state's bandwidths. What subtasks take is either emulated too (they
are held until their cycles are over), or real: they are computed at this computer's own pace, and
predicted from costs that were measured before (see `calibration`).

A session has a state of its own, drawn from the ranges of all other tables; its links and speeds
are measured by probes, then by what its tasks send and compute. In a session each network is run
once under each policy, in random order; all policies decide with the same measured state.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.baselines import POLICIES
from experiments.run import ROOT, Run, save_table
from experiments.scenarios import scenario
from experiments.studies import links
from experiments.testbed.calibration import REPEATS, Calibration, calibrate
from experiments.testbed.device import PATIENCE_DELAYS, SEED
from experiments.testbed.layers import NETWORKS, SCALE, STATE_SCALE, Layers, layers
from experiments.testbed.link import SENDER, clock
from experiments.testbed.machines import ANSWER_S, Lost, Machines
from experiments.testbed.node import PROBE_SIZES, Event
from kd_offload.delay import BANDWIDTH_INDEX, LINKS, N_STATE, UP, delay
from kd_offload.tasks import sample_tasks

SHOWN = ("all_device", "all_edge", "all_cloud", "lookahead", "student", "anygraph")
MODES = {"user": False, "tc": True}  # who shapes the links: we, or the kernel's token bucket
COMPUTE = ("held", "real")  # whether subtasks take the cycles that are counted, or their own time
PROBE_S = 1.0  # that probes may take beyond what their link needs
UPLINK_S = 3600.0  # length of a link of our own
RESULT_S = 30.0  # and twice the device's patience, after which it counts as lost


class Decision(NamedTuple):
    """What the device decided."""

    placement: list[int]
    decision_us: float
    predicted_s: float  # delay in the state as known
    down: Sequence[int] = ()  # links that no probe came over: the placement avoids them


class Outcome(NamedTuple):
    """What became of a task."""

    measured_s: float = np.nan  # NaN without the device
    label: int = -1  # the class with the largest output
    value: float = np.nan  # that output
    alone: str = ""  # why the device finished the task alone
    lost: str = ""  # which machine was lost
    events: tuple[Event, ...] = ()


class Uplink(NamedTuple):
    """A wireless link up whose bandwidth changes in steps."""

    bandwidths: list[float]  # bytes/s, at the testbed's scale
    times: list[float]  # s after `start`
    start: float  # s on the clock


class Measurement(NamedTuple):
    """One task under one policy."""

    network: str
    policy: str
    task: int
    mode: str
    decision: Decision
    outcome: Outcome
    true_s: float  # delay predicted in the true state, with measured costs where there are any
    counted_s: float  # the same with counted costs
    parts: dict[str, float]  # see `parts`; empty for what is no chain or was not finished in place
    calibration: Calibration | None = None  # where subtasks were really computed

    @property
    def compute(self) -> str:
        """Which of COMPUTE."""
        return "held" if self.calibration is None else "real"

    def line(self) -> str:
        """A line of progress."""
        text = f"{self.compute} {self.mode} {self.task:4d} {self.network:12} {self.policy:12}"
        text += f" predicted {self.decision.predicted_s:.3f} s,"
        text += f" measured {self.outcome.measured_s:.3f} s"
        notes = [f"{LINKS[link]} is down: no probe came over it" for link in self.decision.down]
        notes += [self.outcome.alone, self.outcome.lost]
        return "; ".join([text, *filter(None, notes)])


def models_folder(run: Run, folder: str = "") -> Path:
    """The folder of the run whose networks decide.

    Parameters
    ----------
    run : Run
    folder : str, optional
        Relative to the repository. By default that of `run` if it has all networks that decide,
        else the repository itself, which has the reference run's.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        Naming a network that is missing.
    """
    folders = [ROOT / folder] if folder else [run.out, ROOT]
    for out in folders:
        missing = _missing_model(Run(run.profile, out))
        if missing is None:
            return out
    raise ValueError(f"models: {missing} is missing; give the folder of a run that has trained")


def _missing_model(run: Run) -> Path | None:
    for network, policy in product(NETWORKS, SHOWN):
        path = run.model_path(policy, f"networks_{network}", SEED)
        if POLICIES[policy].saved and not path.exists():
            return path
    return None


def uplink(name: str, seed: int) -> Uplink:
    """A wireless link up at the testbed's scale, from now on.

    Parameters
    ----------
    name : str
        One of `links.UPLINKS`, or the path of a Mahimahi file, which is repeated.
    seed : int

    Returns
    -------
    Uplink

    Raises
    ------
    ValueError
        For neither.
    """
    if name in links.UPLINKS:
        trace = links.uplink(name, np.random.default_rng(seed), UPLINK_S)
    elif Path(name).is_file():
        trace = links.read_mahimahi(name)
    else:
        known = ", ".join(links.UPLINKS)
        raise ValueError(f"uplink: {name!r}, expected one of {known} or a Mahimahi file")
    repeats = int(np.ceil(UPLINK_S / trace.end))
    times = np.concatenate([trace.times + k * trace.end for k in range(repeats)])
    bandwidths = np.tile(trace.bandwidth / SCALE, repeats)
    return Uplink(bandwidths.tolist(), times.tolist(), clock())


def states(count: int, seed: int) -> np.ndarray:
    """States (count, 8) of the testbed: the usual ranges, at its scale."""
    graph, _, workload = scenario(f"networks_{NETWORKS[0]}")
    rng = np.random.default_rng([seed, count])
    return sample_tasks(graph, count, rng, workload=workload)[:, -N_STATE:] / STATE_SCALE


def probe_seconds(state: np.ndarray, uplink: Uplink | None) -> float:
    """How long a link's probes may take: PROBE_S, and twice what the slowest link needs."""
    bandwidths = state[BANDWIDTH_INDEX].copy()
    if uplink:
        bandwidths[UP] = np.mean(uplink.bandwidths)
    return PROBE_S + 2 * sum(PROBE_SIZES) / bandwidths.min()


class Session:
    """Machines with one true state (8,), and what the device knows of it."""

    def __init__(self, machines: Machines, state: np.ndarray, uplink: Uplink | None = None):
        self.machines = machines
        self.state = state
        self.uplink = uplink
        machines.set_state(state.tolist(), uplink)
        self.measure()

    def measure(self) -> dict:
        """Probe everything; the state as known, and the links that are down.

        One machine after another: what others compute and send would change what is measured.
        """
        seconds = probe_seconds(self.state, self.uplink)
        self._events()  # those from before the probe
        patience = ANSWER_S + len(SENDER) * seconds
        events = []
        for machine in self.machines.all:
            answer = machine.ask(patience, {"do": "probe", "seconds": seconds})
            expected = len(events) + answer["sent"] + 1  # and one subtask
            deadline = time.monotonic() + seconds
            while len(events) < expected and time.monotonic() < deadline:
                time.sleep(0.02)
                events += self._events()
        return self.machines.ask_device(do="observe", events=events, anew=True)

    def network(self, name: str) -> Layers:
        """A network, its subtasks with the costs that were measured, if they were."""
        costs = self.machines.costs
        return layers(name).with_cycles(costs[name]) if costs else layers(name)

    def _events(self) -> list[Event]:
        reports = self.machines.ask(do="report")
        return [Event(*event) for report in reports for event in report["events"]]

    def decide(self, network: str, policy: str) -> Decision:
        """Let the device decide. Machines that are gone are started again."""
        if not all(machine.is_running() for machine in self.machines.all):
            self._restart()
        return Decision(**self.machines.ask_device(do="decide", network=network, policy=policy))

    def _restart(self) -> None:
        self.machines.stop()
        self.machines.start()
        self.machines.set_state(self.state.tolist(), self.uplink)
        self.measure()

    def run(self, network: str, seed: int, decision: Decision) -> Outcome:
        """Run a task as decided. Machines that are lost are started again, for the next task."""
        self.machines.tasks += 1
        number = self.machines.tasks
        command = {"do": "execute", "task": number, "network": network, "seed": seed}
        command |= {"placement": decision.placement, "predicted_s": decision.predicted_s}
        outcome = Outcome()
        try:
            seconds = RESULT_S + 2 * PATIENCE_DELAYS * decision.predicted_s
            outcome = Outcome(**self.machines.ask_device(seconds, **command))
            self.machines.ask(do="forget", task=number)
            events = self._events()
            self.machines.ask_device(do="observe", events=events, anew=False)
        except Lost as error:
            self._restart()
            return outcome._replace(lost=str(error))
        return outcome._replace(events=tuple(e for e in events if e.task == number))


def parts(session: Session, network: str, decision: Decision, outcome: Outcome) -> dict[str, float]:
    """Where a chain's measured delay differs from the predicted one, in s, in parts that add up.

    Parameters
    ----------
    session : Session
    network : str
    decision : Decision
    outcome : Outcome
        Of a task that was finished as decided.

    Returns
    -------
    dict of str to float
        state: the delay predicted in the true state less that in the state as known. transfers:
        what they took beyond bytes / B in the true state. executions: what subtasks took beyond
        cycles / f. Where they are really computed, two parts instead: computing, the seconds of a
        core beyond cycles / f, and waiting, without a core. between: all else.
    """
    net = session.network(network)
    state = session.state
    is_real = bool(session.machines.costs)
    running = ["computing", "waiting"] if is_real else ["executions"]
    found = dict.fromkeys(["transfers", *running], 0.0)
    for event in outcome.events:
        seconds = event.end - event.start
        if event.what == "send":
            found["transfers"] += seconds - event.amount / state[BANDWIDTH_INDEX[event.resource]]
        elif is_real:
            found["computing"] += event.core - event.amount / state[event.resource]
            found["waiting"] += seconds - event.core
        else:
            found["executions"] += seconds - event.amount / state[event.resource]
    true_s = delay(net.graph, net.task(state), np.array(decision.placement, np.int8))
    between = outcome.measured_s - true_s - sum(found.values())
    return {"state": true_s - decision.predicted_s} | found | {"between": between}


def run_sessions(
    run: Run, mode: str, count: int, models: Path, held: bool = True, uplink: Uplink | None = None
) -> Iterator[Measurement]:
    """Run sessions of one mode: every network once under every policy in each.

    Parameters
    ----------
    run : Run
        Its profile has the seed.
    mode : {"user", "tc"}
    count : int
        Sessions.
    models : pathlib.Path
        See `models_folder`.
    held : bool, optional
        Whether subtasks are held until their cycles are over. If not, their costs are measured
        first, on the same machines, and every state has the speeds that were found.
    uplink : Uplink, optional
        In place of the states' wireless bandwidth up; in mode "user" only.

    Yields
    ------
    Measurement
    """
    seed = run.profile.seed
    rng = np.random.default_rng([seed, count])
    repeats = (1, 1, 1) if held else REPEATS
    with Machines(NETWORKS, SHOWN, models, MODES[mode], held, repeats) as machines:
        calibration = None if held else calibrate(machines)
        for number, state in enumerate(states(count, seed)):
            if calibration:
                state[: len(REPEATS)] = calibration.speeds
            session = Session(machines, state, uplink)
            for k in rng.permutation(len(NETWORKS)).tolist():
                task = len(NETWORKS) * number + k
                for measurement in _run_task(session, NETWORKS[k], task, mode, rng):
                    yield measurement._replace(calibration=calibration)


def _run_task(session: Session, network: str, task: int, mode: str, rng) -> Iterator[Measurement]:
    net = session.network(network)
    graph = net.graph
    is_chain = len(graph.edges) == graph.n + 1
    decisions = {policy: session.decide(network, policy) for policy in SHOWN}
    for policy in rng.permutation(SHOWN).tolist():
        decision = decisions[policy]
        placement = np.array(decision.placement, np.int8)
        true_s = delay(graph, net.task(session.state), placement)
        counted_s = delay(graph, layers(network).task(session.state), placement)
        outcome = session.run(network, task, decision)
        in_place = not (outcome.alone or outcome.lost)
        split = parts(session, network, decision, outcome) if is_chain and in_place else {}
        yield Measurement(network, policy, task, mode, decision, outcome, true_s, counted_s, split)


def save_measurements(run: Run, measurements: list[Measurement], **inputs) -> pd.DataFrame:
    """Save what was measured.

    Parameters
    ----------
    run : Run
    measurements : list of Measurement
    **inputs
        What else they were made from, for their provenance.

    Returns
    -------
    pandas.DataFrame
        The table `testbed`. Saved are also `testbed_parts`, means over runs, and, where subtasks
        were really computed, `testbed_costs`.
    """
    rows = []
    part_rows = []
    for m in measurements:
        key = {"compute": m.compute, "mode": m.mode, "network": m.network}
        row = key | {"session": m.task // len(NETWORKS), "task": m.task, "policy": m.policy}
        row |= {"predicted_s": m.decision.predicted_s, "true_s": m.true_s}
        row |= {"counted_s": m.counted_s, "measured_s": m.outcome.measured_s}
        rows.append(row | {"decision_us": m.decision.decision_us})
        for part, seconds in m.parts.items():
            part_rows.append(key | {"part": part, "ms": 1e3 * seconds})
    order = {name: k for k, name in enumerate((*COMPUTE, *MODES, *SHOWN))}
    keys = ["compute", "mode", "task", "policy"]
    table = pd.DataFrame(rows).sort_values(keys, key=lambda c: c.replace(order))
    columns = ["compute", "mode", "network", "part"]
    groups = pd.DataFrame(part_rows, columns=[*columns, "ms"]).groupby(columns, sort=False).ms
    means = groups.agg(runs="count", mean_ms="mean", median_ms="median").reset_index()
    save_table(run, "testbed_parts", means, **inputs)
    calibrations = [m.calibration for m in measurements if m.calibration]
    if calibrations:
        save_table(run, "testbed_costs", calibrations[0].table(), **inputs)
    return save_table(run, "testbed", table, **inputs)
