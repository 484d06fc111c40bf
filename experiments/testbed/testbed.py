"""The testbed: many tasks, each run under every policy, predicted and measured.

`make testbed`, or `python -m experiments.testbed.testbed`. A session has a state of its own, drawn
from the ranges of all other tables; its links and speeds are measured by probes, then by what its
tasks send and compute. In a session each network is run once under each policy, in random order;
all policies decide with the same measured state.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import pandas as pd

from experiments.run import Run, get_run, read_table, save_table
from kd_offload.delay import LINKS, RATE, delay, schedule
from kd_offload.graphs import LOCATIONS
from experiments.baselines import POLICIES, open_trained, path_of
from experiments.scenarios import scenario
from experiments.studies import traces
from experiments.studies.traces import UPLINKS
from kd_offload.tasks import sample_tasks
from experiments.testbed.device import PATIENCE
from experiments.testbed.layers import NETWORKS, RATES, SCALE, layers
from experiments.testbed.machines import Lost, Machines, refusal

SHOWN = ("all_device", "all_edge", "all_cloud", "lookahead", "student", "anygraph")
MODES = {"user": False, "tc": True}  # who shapes the links: we, or the kernel's token bucket
PROBING = 1.5  # s to wait for what probes report
LONG = 3600.0  # s, of a link of our own
ANSWER = 30.0  # s, and twice the device's patience, after which it counts as lost
TABLES = "testbed", "testbed_parts", "testbed_example"
COLUMNS = "network policy task seed predicted_s measured_s decision_us mode".split()


def models(run: Run, seed: int = 0) -> dict[str, dict[str, str]]:
    """What the device decides with: network -> policy -> file of its trained model, if it has one.

    An open notebook trains what it lacks.
    """
    out = {}
    for network in NETWORKS:
        name = f"networks_{network}"
        files = out[network] = dict.fromkeys(SHOWN, "")
        for policy in (p for p in SHOWN if POLICIES[p].role):
            open_trained(run, policy, name, seed)
            files[policy] = str(run.found(path_of(run, policy, name, seed)).resolve())
    return out


def uplink(run: Run, name: str) -> tuple[list, list]:
    """A wireless link up at the testbed's scale: times in s, bandwidths in bytes/s.

    name: one of UPLINKS, or the path of a reader's Mahimahi file.
    """
    rng = np.random.default_rng(run.profile.seed)
    trace = traces.uplink(name, rng, LONG) if name in UPLINKS else traces.read_mahimahi(name)
    return trace.times.tolist(), (trace.bandwidth / SCALE).tolist()


def states(count: int, seed: int) -> np.ndarray:
    """States (count, 8) of the testbed: the usual ranges, at its scale."""
    some = scenario(f"networks_{NETWORKS[0]}")
    rng = np.random.default_rng([seed, count])
    return sample_tasks(some.graph, count, rng, workload=some.workload)[:, -8:] / RATES


class Session:
    """Machines with one state, and what the device knows of it."""

    def __init__(self, machines: Machines, state: np.ndarray, trace=None):
        self.machines, self.state = machines, state.tolist()
        self.trace, self.events = trace, []
        machines.set(self.state, trace)
        self.measure()

    def measure(self) -> dict:
        """Probe everything -> the state as known, and the links that are down."""
        self.machines.ask(do="report")
        self.machines.ask(do="probe")
        reports, end = [], time.monotonic() + PROBING
        while time.monotonic() < end and sum(len(r["transfers"]) for r in reports) < 12:
            time.sleep(0.02)
            reports += self.machines.ask(do="report")
        return self.machines.ask_device(do="observe", reports=reports, anew=True)

    def decide(self, network: str, policy: str) -> dict:
        """See `device.Device.decide`. Machines that are gone are started again."""
        if any(machine.process.poll() is not None for machine in self.machines.all):
            self._again()
        return self.machines.ask_device(do="decide", network=network, policy=policy)

    def _again(self) -> None:
        self.machines.stop()
        self.machines.start()
        self.machines.set(self.state, self.trace)
        self.measure()

    def run(self, network: str, seed: int, decided: dict) -> dict:
        """Run a task as decided -> see `device.Device.execute`, and `lost`: a machine that is gone.

        Without the device there is no result, and measured_s is NaN. All machines are then started
        again, so that the next task finds them.
        """
        self.machines.tasks += 1
        task, expected = self.machines.tasks, decided["predicted_s"]
        what = {"task": task, "network": network, "seed": seed, "placement": decided["placement"]}
        said = {"measured_s": np.nan, "alone": "", "lost": ""}
        try:
            seconds = ANSWER + 2 * PATIENCE[1] * expected
            said |= self.machines.ask_device(seconds, do="execute", expected=expected, **what)
            self.machines.ask(do="forget", task=task)
            reports = self.machines.ask(do="report")
            self.machines.ask_device(do="observe", reports=reports)
            self.events = [e for r in reports for e in r["events"] if e[0] == task]
        except Lost as error:
            said["lost"], self.events = str(error), []
            self._again()
        return said


def gantt(session: Session, network: str, decided: dict, said: dict) -> pd.DataFrame:
    """The session's last task as modelled, in its true state, and as measured: a row an event.

    Columns as `draw.problem.gantt` has them; its `policy` is "modelled" or "measured".
    """
    net, x, begin = layers(network), decided["placement"], said.get("begin", 0.0)
    events = schedule(net.graph, net.small(np.array(session.state)), x)
    rows = [("modelled", *event, events[-1][-1]) for event in events]
    for _, kind, where, number, start, end in session.events:
        name = "{}→{}".format(*net.graph.edges[number]) if kind == "send" else str(number)
        resource = (LINKS if kind == "send" else LOCATIONS)[where]
        rows.append(("measured", resource, name, start - begin, end - begin, said["measured_s"]))
    columns = ["policy", "resource", "what", "start_ms", "end_ms", "delay_ms"]
    table = pd.DataFrame(rows, columns=columns)
    table[columns[3:]] *= 1e3
    return table


def parts(session: Session, network: str, decided: dict, said: dict) -> dict[str, float]:
    """Where a chain's measured delay differs from the predicted one, in s, in parts that add up.

    state: D in the true state less D in the state as known; transfers and executions: what they
    took beyond bytes / B and cycles / f in the true state; between: all else.
    """
    net, state = layers(network), np.array(session.state)
    task, sums = net.small(state), {"transfers": 0.0, "executions": 0.0}
    for _, kind, where, number, start, end in session.events:
        if kind == "send":
            sums["transfers"] += end - start - net.size(number) / state[RATE[where]]
        else:
            sums["executions"] += end - start - net.workload[number - 1] / state[where]
    true = delay(net.graph, task, np.array(decided["placement"], np.int8))
    rest = said["measured_s"] - true - sum(sums.values())
    return {"state": true - decided["predicted_s"]} | sums | {"between": rest}


class Kept:
    """The rows of the tables, as they come."""

    def __init__(self):
        self.rows, self.parts, self.example = [], [], None

    def add(self, session: Session, where: dict, decided: dict, said: dict) -> None:
        """A task that was run; where: network, policy, task, seed, mode."""
        row = where | {k: decided[k] for k in ("predicted_s", "decision_us")}
        self.rows.append(row | {"measured_s": said["measured_s"]})
        network, x = where["network"], decided["placement"]
        if said["lost"] or said["alone"]:
            return
        if len(layers(network).graph.edges) == len(x) + 1:  # a chain
            of = parts(session, network, decided, said).items()
            key = {"mode": where["mode"], "network": network}
            self.parts += [key | {"part": k, "ms": 1e3 * v} for k, v in of]
        if self.example is None or len({*x}) > self.example[0]:  # the most locations, the first
            self.example = len({*x}), gantt(session, network, decided, said)

    def save(self, run: Run) -> None:
        """Write testbed, testbed_parts (means over runs) and testbed_example."""
        order = {name: k for k, name in enumerate((*MODES, *SHOWN))}
        table = pd.DataFrame(self.rows)[COLUMNS].sort_values(
            ["mode", "task", "policy"], key=lambda c: c.replace(order), ignore_index=True
        )
        of = pd.DataFrame(self.parts).groupby(["mode", "network", "part"], sort=False).ms
        means = of.agg(runs="count", mean_ms="mean", median_ms="median").reset_index()
        for name, frame in zip(TABLES, (table, means, self.example[1])):
            save_table(run, name, frame)


def testbed(run: Run, sessions: dict[str, int], held=True, trace=None, say=lambda _: None) -> Kept:
    """Run everything: mode -> how many sessions. say: what to do with a line of progress."""
    kept, seed, files = Kept(), run.profile.seed, models(run)
    for mode, count in sessions.items():
        rng = np.random.default_rng([seed, count])
        with Machines(files, MODES[mode], held) as machines:
            for number, state in enumerate(states(count, seed)):
                session = Session(machines, state, trace)
                for k in rng.permutation(len(NETWORKS)).tolist():
                    task = len(NETWORKS) * number + k
                    about = {"network": NETWORKS[k], "task": task, "seed": task, "mode": mode}
                    _task(kept, session, rng, about, say)
    return kept


def _task(kept: Kept, session: Session, rng, about: dict, say) -> None:
    """One task under every policy, in random order."""
    network, seed = about["network"], about["seed"]
    decided = {policy: session.decide(network, policy) for policy in SHOWN}
    for policy in rng.permutation(SHOWN).tolist():
        said = session.run(network, seed, decided[policy])
        kept.add(session, about | {"policy": policy}, decided[policy], said)
        line = f"{about['mode']} {seed:4d} {network:12} {policy:12}"
        line += f" predicted {decided[policy]['predicted_s']:.3f} s,"
        say(f"{line} measured {said['measured_s']:.3f} s {said['alone']}{said['lost']}")


def tables(run: Run) -> list[pd.DataFrame]:
    """testbed, testbed_parts and testbed_example: read in `paper` and open notebooks, else made, on
    links shaped in user space."""
    if run.profile.name != "paper" and not run.lab:
        testbed(run, {"user": run.profile.testbed[0]}).save(run)
    return [read_table(run, name) for name in TABLES]


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="paper")
    parser.add_argument("--out", default="", help="folder, relative to the repository")
    about = "default: all that can be had here"
    parser.add_argument("--mode", choices=MODES, nargs="*", help=about)
    parser.add_argument("--sessions", type=int, help="of three tasks each; default: the profile's")
    parser.add_argument("--compute", choices=("held", "real"), default="held")
    about = f"{', '.join(UPLINKS)}, or a Mahimahi file: the wireless link up, user space only"
    parser.add_argument("--uplink", help=about)
    args = parser.parse_args(arguments)
    try:
        run, why = get_run(args.profile, args.out), refusal()
        sizes = {m: args.sessions or n for m, n in zip(MODES, run.profile.testbed)}
        wanted = args.mode or [m for m, n in sizes.items() if n and not (MODES[m] and why)]
        if "tc" in wanted and why:
            raise ValueError(f"mode: 'tc' cannot be had here: {why}")
        trace = uplink(run, args.uplink) if args.uplink else None
        sizes = {m: sizes[m] for m in wanted if not (trace and MODES[m])}
        testbed(run, sizes, args.compute == "held", trace, print).save(run)
    except (ValueError, RuntimeError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
