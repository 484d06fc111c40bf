"""The three machines as processes of this computer: started, wired, asked, and all gone at the end.

Without root they share loopback and pace their links themselves. With `namespaces` each has a
network namespace of its own, named by the run, and the kernel's token bucket (`tc tbf`) shapes the
links; a process that waits for its input to end removes the namespaces, whatever ends the run.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue

from experiments.run import ROOT
from experiments.testbed.link import RECEIVER, SENDER
from kd_offload.delay import BANDWIDTH_INDEX, N_LINKS
from kd_offload.graphs import DEVICE, LOCATIONS

LOOPBACK = "127.0.0.1"
START_S, ANSWER_S = 600.0, 60.0  # that a machine may take to start, compiling; to answer or to end
# The kernel's token bucket lets one packet pass at once after every pause, and counts the headers
# of each. With small packets whose headers are not counted, a transfer takes its bytes over B.
MTU = 256  # bytes of a packet
HEADERS = 66  # bytes of Ethernet, IP and TCP, with the time stamps of Linux
BURST = MTU + 14  # bytes: one packet with its Ethernet header


class Lost(RuntimeError):
    """A machine is gone, or does not answer."""


class Machine:
    """One process, and a line of JSON each way. Nothing here waits for ever."""

    def __init__(self, location: int, settings: dict, prefix: tuple[str, ...] = ()):
        self.name = LOCATIONS[location]
        module = "device" if location == DEVICE else "node"
        python_path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", f"experiments.testbed.{module}"],
            env=os.environ | {"PYTHONPATH": python_path, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # an interrupt from the keyboard reaches the run alone
        )
        os.set_blocking(self.process.stdin.fileno(), False)
        self.answers: SimpleQueue[bytes] = SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self.tell(settings | {"location": location})

    def _read(self) -> None:
        with self.process.stdout as lines:
            for line in lines:
                self.answers.put(line)
        self.answers.put(b"")  # the process ended

    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process.poll() is None

    def tell(self, message: dict) -> None:
        """Send a line; raises Lost."""
        rest = json.dumps(message).encode() + b"\n"
        pipe = self.process.stdin.fileno()
        try:
            while rest:
                if not select.select([], [pipe], [], ANSWER_S)[1]:
                    raise Lost(f"{self.name}: takes no message within {ANSWER_S:g} s")
                rest = rest[os.write(pipe, rest) :]
        except OSError:
            raise Lost(self._fate()) from None

    def answer(self, seconds: float) -> dict:
        """The answer to what was told, one line to each.

        Raises
        ------
        Lost
            If there is none within so many seconds.
        RuntimeError
            If the answer is an error.
        """
        try:
            line = self.answers.get(timeout=seconds)
        except Empty:
            raise Lost(f"{self.name}: no answer within {seconds:g} s") from None
        if not line.endswith(b"\n"):
            raise Lost(self._fate())
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {answer['error']}")
        return answer

    def ask(self, seconds: float, command: dict) -> dict:
        """Tell it something; what `answer` has to it."""
        self.tell(command)
        return self.answer(seconds)

    def _fate(self) -> str:
        try:
            return f"{self.name}: the process ended ({self.process.wait(1)})"
        except subprocess.TimeoutExpired:
            return f"{self.name}: the process does not answer"

    def end(self) -> None:
        """End the process, and wait for that."""
        self.process.kill()
        self.process.stdin.close()
        self.process.wait(ANSWER_S)


def refusal() -> str:
    """Why there can be no namespaces here; empty if there can."""
    try:
        Namespaces().end()
    except RuntimeError as error:
        return str(error)
    return ""


class Namespaces:
    """A network namespace per machine, joined by two pairs of interfaces, each end shaped.

    Raises RuntimeError where that cannot be: without root, ip or tc.
    """

    def __init__(self):
        self.prefix = f"kd{secrets.token_hex(3)}"
        self.names = [f"{self.prefix}-{location}" for location in LOCATIONS]
        clean = f"cat; for n in {' '.join(self.names)}; do ip netns del $n; done"
        self.cleaner = subprocess.Popen(
            ["sh", "-c", clean],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # it outlives the run, whose readers would wait for it
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        pin = "sh -c 'echo reno > /proc/sys/net/ipv4/tcp_congestion_control'"
        script = ["tc -V"]
        for name in self.names:
            script.append(f"ip netns add {name}")
            script.append(f"ip -n {name} link set lo up")
            script.append(f"ip netns exec {name} {pin}")
        for hop in (0, 1):
            near, far = self._interface(hop, hop), self._interface(hop, hop + 1)
            script.append(f"ip link add {near} type veth peer name {far}")
            for location, interface in ((hop, near), (hop + 1, far)):
                ip = f"ip -n {self.names[location]}"
                script.append(f"ip link set {interface} netns {self.names[location]}")
                script.append(f"{ip} addr add {self.address(location, hop)}/24 dev {interface}")
                script.append(f"{ip} link set {interface} mtu {MTU} gso_max_segs 1 up")
        self._execute(script)

    def _interface(self, hop: int, location: int) -> str:
        return f"{self.prefix}{hop}{'a' if location == hop else 'b'}"

    def _execute(self, script: list[str]) -> None:
        command = ["sh", "-ec", "\n".join(script)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            self.end()
            raise RuntimeError(f"namespaces: {error}") from None
        if done.returncode:
            self.end()
            raise RuntimeError(f"namespaces: {done.stderr.strip()}")

    def address(self, location: int, hop: int) -> str:
        """A location's address on a hop: 0 wireless, 1 WAN."""
        return f"10.77.{hop}.{location + 1}"

    def shape(self, state: list[float]) -> None:
        """Give the links the bandwidths of a state (8,)."""
        script = []
        for link, location in SENDER.items():
            interface = self._interface(_hop(link), location)
            bits = max(8 * state[BANDWIDTH_INDEX[link]], 8)
            bucket = f"tbf rate {bits:.0f}bit burst {BURST} limit 4000000"
            namespace = self.names[location]
            root = f"dev {interface} root stab overhead -{HEADERS}"
            script.append(f"tc -n {namespace} qdisc replace {root} {bucket}")
        self._execute(script)

    def end(self) -> None:
        """Remove everything; RuntimeError if that takes too long."""
        try:
            self.cleaner.communicate(timeout=ANSWER_S)
        except subprocess.TimeoutExpired:
            self.cleaner.kill()
            names = ", ".join(self.names)
            raise RuntimeError(f"namespaces: {names} not gone within {ANSWER_S:g} s") from None


def _hop(link: int) -> int:
    return min(SENDER[link], RECEIVER[link])


class Machines:
    """Device, edge and cloud, wired; a context, at whose end nothing is left.

    Parameters
    ----------
    networks, policies : sequence of str, optional
        What the device makes deciders for.
    models : pathlib.Path, optional
        Folder of the run whose trained networks decide.
    namespaces : bool, optional
        Whether the kernel shapes the links.
    held : bool, optional
        Whether subtasks are held until their cycles are over.
    repeats : sequence of int, optional
        How many times each location computes a subtask.
    plan : mapping of str to str, optional
        A split model in place of the networks of `layers`: the arguments of `parts.Parts`.
    """

    def __init__(
        self,
        networks: Sequence[str] = (),
        policies: Sequence[str] = (),
        models: Path = ROOT,
        namespaces: bool = False,
        held: bool = True,
        repeats: Sequence[int] = (1, 1, 1),
        plan: Mapping[str, str] | None = None,
    ):
        self.networks = networks
        self.policies = policies
        self.models = models
        self.held = held
        self.repeats = repeats
        self.plan = plan
        self.costs: dict[str, list[float]] = {}  # by network, see `set_costs`
        self.namespaces = Namespaces() if namespaces else None
        self.all: list[Machine] = []
        self.token = b""
        self.ports: dict[int, int] = {}  # by link
        self.tasks = 0  # that were run so far

    def __enter__(self) -> Machines:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop()
        if self.namespaces:
            self.namespaces.end()

    def start(self) -> None:
        """Start the processes and wire them."""
        self.token = secrets.token_bytes(16)  # what is not of this run is refused
        settings = {"token": self.token.hex(), "paced": not self.namespaces, "held": self.held}
        settings["plan"] = self.plan
        for location in range(len(LOCATIONS)):
            prefix = ()
            if self.namespaces:
                prefix = ("ip", "netns", "exec", self.namespaces.names[location])
            own = {"repeats": self.repeats[location]}
            self.all.append(Machine(location, settings | own, prefix))
        hosts = [self.host(link) for link in range(N_LINKS)]
        for answer in self.ask(START_S, do="bind", hosts=hosts):
            self.ports |= dict(answer["ports"])
        addresses = [self.address(link) for link in range(N_LINKS)]
        self.ask(do="connect", addresses=addresses)
        if self.networks:
            deciders = {"networks": self.networks, "policies": self.policies}
            self.ask_device(START_S, do="learn", models=str(self.models), **deciders)
        if self.costs:
            self.set_costs(self.costs)

    def host(self, link: int) -> str:
        """The address at which a link's receiver listens: never one that others can reach."""
        if self.namespaces:
            return self.namespaces.address(RECEIVER[link], _hop(link))
        return LOOPBACK

    def address(self, link: int) -> str:
        """Where a link's sender finds its receiver."""
        return f"tcp://{self.host(link)}:{self.ports[link]}"

    def stop(self) -> None:
        """End all processes."""
        while self.all:
            self.all.pop().end()

    def ask(self, seconds: float = ANSWER_S, /, **command) -> list[dict]:
        """Tell all machines the same; their answers, or what `Machine.answer` raises."""
        for machine in self.all:
            machine.tell(command)
        return [machine.answer(seconds) for machine in self.all]

    def ask_device(self, seconds: float = ANSWER_S, /, **command) -> dict:
        """Tell the device; its answer, or what `Machine.answer` raises."""
        return self.all[DEVICE].ask(seconds, command)

    def set_costs(self, costs: dict[str, list[float]]) -> None:
        """Give all machines measured cycles, by network and subtask."""
        self.costs = costs
        self.ask(do="set_costs", costs=costs)

    def set_state(self, state: list[float], uplink: tuple | None = None) -> None:
        """Give machines and links the true state (8,), see `node.Node.set_state`."""
        if self.namespaces:
            self.namespaces.shape(state)
        self.ask(do="set_state", state=state, uplink=uplink)
