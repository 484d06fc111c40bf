"""Links between machines: what a message is, how it is paced, who sends and who receives.

A message of d bytes on a link of B bytes/s that is free at s has left at s + d / B, and is handed
on tau seconds later: the delay model's rule. B may follow a trace, zeros included. Without `paced`,
messages go as fast as the kernel lets them, which then shapes the link, and tau is counted from
their arrival.

A message is a header of a fixed form, with a secret of the run, and the plain bytes of an edge's
tensors. Nothing that arrives is unpickled, evaluated or trusted: what does not fit is refused.
"""

from __future__ import annotations

import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import zmq

from kd_offload.delay import N_LOCATIONS, ROUTES

# The locations at the two ends of each link, from the routes of one hop.
SENDER = {links[0]: origin for (origin, _), links in ROUTES.items() if len(links) == 1}
RECEIVER = {links[0]: target for (_, target), links in ROUTES.items() if len(links) == 1}

clock = time.monotonic  # one clock for all machines: they are processes of one computer
POLL_S = 0.05  # between looks at whether a task was given up
NEVER_S = 3600.0  # a message that has not left after so long never will
LAYOUT = struct.Struct("<16sIHBdd")  # of a Header, without the placement
LONGEST_HEADER = LAYOUT.size + 128  # bytes
LARGEST_MESSAGE = 2**20  # bytes, where no edge carries more
QUEUE = 64  # messages that may wait in a socket, each way
PROBE = 0xFFFF  # the edge of a message that only measures


class GivenUp(Exception):
    """The task for which something was being done was given up."""


class Header(NamedTuple):
    """What a message says of its tensors."""

    token: bytes  # the run's secret
    task: int
    edge: int
    network: int  # its place in what `network.open_networks` gives
    start: float = 0.0  # s on the clock: when sending began
    sent: float = -1.0  # s: when the last byte has left; negative where the kernel shapes the link
    placement: bytes = b""  # one byte per subtask, from which a machine learns what to do


def encode(header: Header) -> bytes:
    """A header as bytes."""
    return LAYOUT.pack(*header[:-1]) + header.placement


def decode(frames: list[bytes], token: bytes) -> tuple[Header, bytes]:
    """Header and data of what came over a socket; ValueError for anything but a message."""
    if len(frames) != 2 or not LAYOUT.size <= len(frames[0]) <= LONGEST_HEADER:
        raise ValueError(f"message: {len(frames)} frames, expected a header and a tensor")
    head, data = frames
    header = Header(*LAYOUT.unpack_from(head), head[LAYOUT.size :])
    if header.token != token:
        raise ValueError("message: not of this run")
    if any(label >= N_LOCATIONS for label in header.placement):
        raise ValueError(f"message: placement {[*header.placement]}, expected labels 0, 1, 2")
    if not (abs(header.start) < 1e12 and abs(header.sent) < 1e12):
        raise ValueError(f"message: sent at {header.sent} s")
    return header, data


def sleep_until(due: float, is_over: Callable[[], bool]) -> None:
    """Wait for `due` on the clock; raises GivenUp once `is_over()`."""
    while clock() < due:
        time.sleep(max(min(due - clock(), POLL_S), 0))
        if is_over():
            raise GivenUp


class Pacing:
    """When bytes have left a link whose bandwidth changes in steps.

    bandwidths[i], in bytes/s, holds from times[i] s after `start` on; the last one stays.
    """

    def __init__(self, bandwidths, times=(0.0,), start: float = 0.0):
        self.bandwidths = np.asarray(bandwidths, dtype=float)
        self.times = start + np.asarray(times, dtype=float)

    def finish(self, begin: float, size: float) -> float:
        """When `size` bytes, sent from `begin` on, have left: s on the clock, or infinity."""
        first = max(int(np.searchsorted(self.times, begin, side="right")) - 1, 0)
        for step in range(first, len(self.times)):
            is_last = step + 1 == len(self.times)
            end = begin + NEVER_S if is_last else self.times[step + 1]
            room = self.bandwidths[step] * (end - begin)
            if room >= size:
                return begin + size / self.bandwidths[step]
            size -= max(room, 0.0)
            begin = max(begin, end)
        return np.inf


class Sender:
    """One direction of a link, at the machine that sends."""

    def __init__(self, context: zmq.Context, address: str, paced: bool):
        self.socket = context.socket(zmq.PUSH)
        self.socket.setsockopt(zmq.SNDHWM, QUEUE)
        self.socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing waits for a peer that is not there
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SNDTIMEO, int(1e3 * POLL_S))
        self.socket.setsockopt(zmq.RECONNECT_IVL, 20)  # ms until it reconnects by itself
        self.socket.connect(address)
        self.paced = paced
        self.pacing = Pacing([1e9])
        self.lock = threading.Lock()
        self.free_at = 0.0  # s on the clock

    def send(
        self, header: Header, data: memoryview, ready: float, is_over: Callable[[], bool]
    ) -> None:
        """Send a message whose data were ready at `ready` s; raises GivenUp once `is_over()`."""
        with self.lock:
            begin = max(ready, self.free_at)
            size = LAYOUT.size + len(header.placement) + len(data)
            left = self.pacing.finish(begin, size) if self.paced else clock()
            sleep_until(left, is_over)
            header = header._replace(start=begin, sent=left if self.paced else -1.0)
            while not self._leaves([encode(header), data]):
                if is_over():
                    raise GivenUp
            self.free_at = left

    def _leaves(self, frames: list) -> bool:
        try:
            self.socket.send_multipart(frames)
        except zmq.Again:  # the queue is full, or has no peer
            return False
        return True


class Receiver(threading.Thread):
    """One direction of a link, at the machine that receives, on a free port of `host` alone.

    A peer that sends more than `largest` bytes is cut off.

    `check(header, size)` raises ValueError for what is not expected; what passes goes to
    `deliver(header, data, start, arrived)` once its propagation is over.
    """

    def __init__(self, context: zmq.Context, host: str, token: bytes, largest: int, check, deliver):
        super().__init__(daemon=True)
        self.socket = context.socket(zmq.PULL)
        self.socket.setsockopt(zmq.MAXMSGSIZE, largest)
        self.socket.setsockopt(zmq.RCVHWM, QUEUE)
        self.port = self.socket.bind_to_random_port(f"tcp://{host}")
        self.token = token
        self.check = check
        self.deliver = deliver
        self.propagation = 0.0  # s
        self.refused = deque(maxlen=100)  # why messages were refused

    def run(self) -> None:
        """Receive for as long as the process lives."""
        last_arrival = 0.0
        while True:
            try:
                header, data = decode(self.socket.recv_multipart(), self.token)
                self.check(header, len(data))
            except ValueError as error:
                self.refused.append(str(error))
                continue
            arrived = header.sent if header.sent >= 0 else clock()
            start = max(header.start, last_arrival)
            last_arrival = arrived
            wait = max(arrived + self.propagation - clock(), 0)
            timer = threading.Timer(wait, self.deliver, (header, data, start, arrived))
            timer.daemon = True
            timer.start()
