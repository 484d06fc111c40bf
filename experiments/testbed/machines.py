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

from experiments.run import ROOT
from kd_offload.delay import RATE
from kd_offload.graphs import LOCATIONS

LOOPBACK = "127.0.0.1"
SENDER, RECEIVER = (0, 1, 1, 2), (1, 0, 2, 1)  # locations at the ends of each of `delay.LINKS`
STARTED, ANSWERED = 600.0, 60.0  # s that a machine may take to start, compiling; to answer
BURST = 1600  # bytes: one packet


class Lost(RuntimeError):
    """A machine is gone, or does not answer."""


class Machine:
    """One process, and a line of JSON each way."""

    def __init__(self, where: int, settings: dict, prefix: tuple[str, ...] = ()):
        self.name = LOCATIONS[where]
        module = f"experiments.testbed.{'node' if where else 'device'}"
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", module],
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # an interrupt from the keyboard reaches the run alone
        )
        self.tell(settings | {"where": where})

    def tell(self, what: dict) -> None:
        """Send a line. Raises Lost."""
        try:
            self.process.stdin.write(json.dumps(what).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise Lost(self.why()) from None

    def hear(self, seconds: float) -> dict:
        """The answer, one line to each that was sent. Raises Lost if there is none within so many
        seconds, RuntimeError if it is an error."""
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            raise Lost(f"{self.name}: no answer within {seconds:g} s")
        if not (line := self.process.stdout.readline()).endswith(b"\n"):
            raise Lost(self.why())
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {answer['error']}")
        return answer

    def why(self) -> str:
        """What became of the process."""
        try:
            return f"{self.name}: the process ended ({self.process.wait(1)})"
        except subprocess.TimeoutExpired:
            return f"{self.name}: the process does not answer"

    def end(self) -> None:
        """End the process, and wait for that."""
        self.process.kill()
        self.process.communicate()


def refusal() -> str:
    """Why there can be no namespaces here, or nothing."""
    try:
        Namespaces().end()
    except RuntimeError as error:
        return str(error)
    return ""


class Namespaces:
    """A network namespace a machine, joined by two pairs of interfaces, each end shaped.

    Raises RuntimeError where that cannot be: without root, ip or tc.
    """

    def __init__(self):
        self.run = f"kd{secrets.token_hex(3)}"
        self.names = [f"{self.run}-{where}" for where in LOCATIONS]
        clean = f"cat; for n in {' '.join(self.names)}; do ip netns del $n; done 2>/dev/null"
        self.cleaner = subprocess.Popen(
            ["sh", "-c", clean], stdin=subprocess.PIPE, start_new_session=True
        )
        pin = "sh -c 'echo reno > /proc/sys/net/ipv4/tcp_congestion_control'"
        script = ["tc -V"]
        for name in self.names:
            script += [f"ip netns add {name}", f"ip -n {name} link set lo up"]
            script += [f"ip netns exec {name} {pin}"]
        for hop in (0, 1):
            script += [f"ip link add {self.run}{hop}a type veth peer name {self.run}{hop}b"]
            for where, end in ((hop, f"{self.run}{hop}a"), (hop + 1, f"{self.run}{hop}b")):
                here = f"ip -n {self.names[where]}"
                script += [f"ip link set {end} netns {self.names[where]}"]
                script += [f"{here} addr add {self.address(where, hop)}/24 dev {end}"]
                script += [f"{here} link set {end} up"]
        self._do(script)

    def _do(self, script: list[str]) -> None:
        command = ["sh", "-ec", "\n".join(script)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            self.end()
            raise RuntimeError(f"namespaces: {done.stderr.strip()}")

    def address(self, where: int, hop: int) -> str:
        """A machine's address on a hop: 0 wireless, 1 WAN."""
        return f"10.77.{hop}.{where + 1}"

    def shape(self, state: list) -> None:
        """Give the links their bandwidths: state (8,)."""
        script = []
        for link, where in enumerate(SENDER):
            device = f"{self.run}{link // 2}{'ab'[where - link // 2]}"
            rate = f"rate {max(8 * state[RATE[link]], 8):.0f}bit burst {BURST} limit 4000000"
            script += [f"tc -n {self.names[where]} qdisc replace dev {device} root tbf {rate}"]
        self._do(script)

    def end(self) -> None:
        """Remove everything."""
        self.cleaner.communicate()


class Machines:
    """Device, edge and cloud, wired; a context, at whose end nothing is left.

    namespaces: whether the kernel shapes the links; held: whether subtasks are held until their
    cycles are over. models: what the device decides with, see `device.Device.learn`.
    """

    def __init__(self, models: dict, namespaces: bool = False, held: bool = True):
        self.models, self.held = models, held
        self.spaces = Namespaces() if namespaces else None
        self.all: list[Machine] = []
        self.token, self.ports, self.tasks = b"", {}, 0  # ports by link; tasks run so far

    def __enter__(self) -> Machines:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        self.stop()
        if self.spaces:
            self.spaces.end()

    def start(self) -> None:
        """Start the processes and wire them."""
        token = self.token = secrets.token_bytes(16)  # what is not of this run is refused
        about = {"token": token.hex(), "paced": not self.spaces, "held": self.held}
        for where in range(3):
            inside = ("ip", "netns", "exec", self.spaces.names[where]) if self.spaces else ()
            self.all.append(Machine(where, about, inside))
        hosts = {link: self.host(link) for link in range(4)}
        for answer in self.ask(STARTED, do="bind", hosts=hosts):
            self.ports |= answer["ports"]
        addresses = {link: self.address(link, port) for link, port in self.ports.items()}
        self.ask(do="connect", addresses=addresses)
        if self.models:
            self.ask_device(STARTED, do="learn", models=self.models)

    def host(self, link: int) -> str:
        """The address at which a link's receiver listens: never one that others can reach."""
        return self.spaces.address(RECEIVER[link], link // 2) if self.spaces else LOOPBACK

    def address(self, link: str, port: int) -> str:
        """Where a link's sender finds its receiver."""
        return f"tcp://{self.host(int(link))}:{port}"

    def stop(self) -> None:
        """End all processes."""
        while self.all:
            self.all.pop().end()

    def ask(self, seconds: float = ANSWERED, **what) -> list[dict]:
        """Tell all machines the same -> their answers. Raises as `Machine.hear`."""
        for machine in self.all:
            machine.tell(what)
        return [machine.hear(seconds) for machine in self.all]

    def ask_device(self, seconds: float = ANSWERED, **what) -> dict:
        """Tell the device -> its answer. Raises as `Machine.hear`."""
        self.all[0].tell(what)
        return self.all[0].hear(seconds)

    def set(self, state: list, trace: list | None = None) -> None:
        """Give machines and links the true state (8,), see `node.Node.set`."""
        if self.spaces:
            self.spaces.shape(state)
        self.ask(do="set", state=state, trace=trace)
