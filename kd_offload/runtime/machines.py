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
import shutil
import subprocess
import sys
import time

from ..artifact import ROOT
from ..delay import RATE
from ..graphs import LOCATIONS

LOOPBACK = "127.0.0.1"
SENDER, RECEIVER = (0, 1, 1, 2), (1, 0, 2, 1)  # locations at the ends of each of `delay.LINKS`
STARTED, ANSWERED = 600.0, 60.0  # s that a machine may take to start, compiling; to answer
BURST = 1600  # bytes: one packet
CONGESTION = "reno"


class Lost(RuntimeError):
    """A machine is gone, or does not answer."""


class Machine:
    """One process, and a line of JSON each way."""

    def __init__(self, where: int, settings: dict, prefix: tuple[str, ...] = ()):
        self.where, self.rest = where, b""
        command = [
            *prefix,
            sys.executable,
            "-m",
            f"kd_offload.runtime.{'node' if where else 'device'}",
        ]
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
        self.process = subprocess.Popen(
            command, env=environment, start_new_session=True, **pipes
        )  # an interrupt from the keyboard reaches the run alone, which then ends its machines
        self.tell(settings | {"where": where})

    def tell(self, what: dict) -> None:
        """Send a line. Raises Lost."""
        try:
            self.process.stdin.write(json.dumps(what).encode() + b"\n")
        except OSError:
            raise Lost(self.why()) from None

    def hear(self, seconds: float) -> dict:
        """The next answer. Raises Lost if there is none within so many seconds, RuntimeError if it
        is an error."""
        end = time.monotonic() + seconds
        while b"\n" not in self.rest:
            left = max(end - time.monotonic(), 0)
            if not select.select([self.process.stdout], [], [], left)[0]:
                raise Lost(f"{LOCATIONS[self.where]}: no answer within {seconds:g} s")
            if not (more := os.read(self.process.stdout.fileno(), 1 << 16)):
                raise Lost(self.why())
            self.rest += more
        line, self.rest = self.rest.split(b"\n", 1)
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{LOCATIONS[self.where]}: {answer['error']}")
        return answer

    def why(self) -> str:
        """What became of the process."""
        try:
            code = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return f"{LOCATIONS[self.where]}: the process does not answer"
        return f"{LOCATIONS[self.where]}: the process ended ({code})"

    def end(self) -> None:
        """End the process, and wait for that."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def refusal() -> str:
    """Why there can be no namespaces here, or nothing."""
    if not (shutil.which("tc") and shutil.which("ip")):
        return "tc or ip is missing"
    if os.geteuid():
        return "not root"
    name = f"kd{secrets.token_hex(3)}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return tried.stderr.strip() if tried.returncode else ""


class Namespaces:
    """A network namespace a machine, joined by two pairs of interfaces, each end shaped."""

    def __init__(self):
        self.run = f"kd{secrets.token_hex(3)}"
        self.names = [f"{self.run}-{where}" for where in LOCATIONS]
        clean = f"cat; for n in {' '.join(self.names)}; do ip netns del $n; done 2>/dev/null"
        self.cleaner = subprocess.Popen(
            ["sh", "-c", clean], stdin=subprocess.PIPE, start_new_session=True
        )
        try:
            self._make()
        except subprocess.CalledProcessError as error:
            self.end()
            raise RuntimeError(f"namespaces: {error.cmd}: {error.stderr}") from None

    def _make(self) -> None:
        for name in self.names:
            _call(f"ip netns add {name}")
            _call(f"ip -n {name} link set lo up")
            pin = f"echo {CONGESTION} > /proc/sys/net/ipv4/tcp_congestion_control"
            _call(f"ip netns exec {name} sh -c", pin)
        for hop in (0, 1):
            ends = [f"{self.run}{hop}{side}" for side in "ab"]
            _call(f"ip link add {ends[0]} type veth peer name {ends[1]}")
            for side, end in enumerate(ends):
                name = self.names[hop + side]
                _call(f"ip link set {end} netns {name}")
                _call(f"ip -n {name} addr add {self.address(hop + side, hop)}/24 dev {end}")
                _call(f"ip -n {name} link set {end} up")

    def address(self, where: int, hop: int) -> str:
        """A machine's address on a hop: 0 wireless, 1 WAN."""
        return f"10.77.{hop}.{where + 1}"

    def shape(self, state: list) -> None:
        """Give the links their bandwidths: state (8,)."""
        for link, where in enumerate(SENDER):
            hop = link // 2
            device = f"{self.run}{hop}{'ab'[where - hop]}"
            rate = f"rate {max(8 * state[RATE[link]], 8):.0f}bit burst {BURST} limit 4000000"
            _call(f"tc -n {self.names[where]} qdisc replace dev {device} root tbf {rate}")

    def end(self) -> None:
        """Remove everything."""
        self.cleaner.stdin.close()
        self.cleaner.wait()


def _call(command: str, *more: str) -> None:
    subprocess.run([*command.split(), *more], check=True, capture_output=True, text=True)


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
            self.ask_one(0, STARTED, do="learn", models=self.models)

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

    def ask_one(self, where: int, seconds: float = ANSWERED, **what) -> dict:
        """Tell one machine -> its answer. Raises as `Machine.hear`."""
        self.all[where].tell(what)
        return self.all[where].hear(seconds)

    def set(self, state: list, trace: list | None = None) -> None:
        """Give machines and links the true state (8,), see `node.Node.set`."""
        if self.spaces:
            self.spaces.shape(state)
        self.ask(do="set", state=state, trace=trace)
