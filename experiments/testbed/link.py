"""Links between machines: what a message is, a token bucket that paces it, who sends and receives.

A message of d bytes on a link of B bytes/s that is free at s has left at s + d/B, and is handed on
tau seconds later: the delay model's rule. B may follow a trace, zeros included. Without `paced`,
messages go as fast as the kernel lets them, which then shapes the link, and tau is counted from
their arrival.

A message is a header of a fixed form, with a secret of the run, and the plain bytes of a float32
tensor. Nothing that arrives is unpickled, evaluated or trusted: what does not fit is refused.
"""

from __future__ import annotations

import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import zmq

clock = time.monotonic  # one clock for all machines: they are processes of one computer
POLL = 0.05  # s between looks at whether a task was given up
LATEST = 3600.0  # s: a bucket that fills no sooner counts as one that never does
FORM = struct.Struct("<16sIHBdd")  # of Head, but for the placement
MOST = FORM.size + 128  # bytes of a header
LARGEST = 2**20  # bytes of a tensor
QUEUE = 64  # messages that may wait in a socket, each way
PROBE = 0xFFFF  # edge of a message that only measures


class GivenUp(Exception):
    """The task that something was being done for was given up."""


class Head(NamedTuple):
    """A header. start: when sending began; sent: when the last byte has left, negative where the
    kernel shapes the link, both in s on the clock."""

    token: bytes  # the run's secret
    task: int
    edge: int
    network: int
    start: float = 0.0
    sent: float = -1.0
    placement: bytes = b""  # one byte a subtask, from which a machine learns what to do


def packed(head: Head) -> bytes:
    """A header as bytes."""
    return FORM.pack(*head[:-1]) + head.placement


def unpacked(frames: list[bytes], token: bytes) -> tuple[Head, bytes]:
    """Header and tensor of what came over a socket. ValueError for anything else than a message."""
    if len(frames) != 2 or not FORM.size <= len(frames[0]) <= MOST:
        raise ValueError(f"message: {len(frames)} frames, expected a header and a tensor")
    head = Head(*FORM.unpack_from(frames[0]), frames[0][FORM.size :])
    if head.token != token:
        raise ValueError("message: not of this run")
    if any(label > 2 for label in head.placement):
        raise ValueError(f"message: placement {[*head.placement]}, expected labels 0, 1, 2")
    if not (abs(head.start) < 1e12 and abs(head.sent) < 1e12):
        raise ValueError(f"message: sent at {head.sent} s")
    return head, frames[1]


def plain(value: torch.Tensor) -> memoryview:
    """A tensor's bytes, without a copy where it is contiguous."""
    return memoryview(value.contiguous().numpy()).cast("B")


def sleep_until(due: float, over: Callable[[], bool]) -> None:
    """Wait for `due` on the clock; raises GivenUp once `over()`."""
    while (left := due - clock()) > 0:
        time.sleep(min(left, POLL))
        if over():
            raise GivenUp


class Rate:
    """A bandwidth over time: rate[i] bytes/s from times[i] s after `start`; the last one stays."""

    def __init__(self, rate, times=(0.0,), start: float = 0.0):
        self.rate = np.atleast_1d(np.asarray(rate, dtype=float))
        self.times = start + np.asarray(times, dtype=float)

    def when(self, begin: float, size: float) -> float:
        """When `size` bytes, sent from `begin` on, have left: s on the clock, or infinity."""
        at = max(int(np.searchsorted(self.times, begin, side="right")) - 1, 0)
        for i in range(at, len(self.rate)):
            end = self.times[i + 1] if i + 1 < len(self.times) else begin + LATEST
            if (room := self.rate[i] * (end - begin)) >= size:
                return begin + size / self.rate[i]
            size, begin = size - max(room, 0.0), max(end, begin)
        return np.inf


class Sender:
    """One direction of a link, from the machine that sends."""

    def __init__(self, context: zmq.Context, address: str, paced: bool):
        self.socket = context.socket(zmq.PUSH)
        self.socket.setsockopt(zmq.SNDHWM, QUEUE)
        self.socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing waits for a peer that is not there
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 20)  # ms after which it comes back by itself
        self.socket.connect(address)
        self.paced, self.rate = paced, Rate(LATEST)
        self.lock, self.free = threading.Lock(), 0.0

    def send(self, head: Head, data: memoryview, ready: float, over: Callable[[], bool]) -> None:
        """A message whose data were ready at `ready` s. Raises GivenUp once `over()`."""
        with self.lock:
            begin, size = max(ready, self.free), FORM.size + len(head.placement) + len(data)
            left = self.rate.when(begin, size) if self.paced else clock()
            sleep_until(left, over)
            while not self.socket.poll(int(1e3 * POLL), zmq.POLLOUT):  # full, or nobody there
                if over():
                    raise GivenUp
            head = head._replace(start=begin, sent=left if self.paced else -1.0)
            self.socket.send_multipart([packed(head), data])
            self.free = left


class Receiver(threading.Thread):
    """One direction of a link, at the machine that receives on a free port of `host` alone.

    check: (head, bytes) -> raises ValueError; hand: (head, tensor's bytes, when it held the link).
    """

    def __init__(self, context: zmq.Context, host: str, token: bytes, check, hand):
        super().__init__(daemon=True)
        self.socket, self.token, self.check, self.hand = (
            context.socket(zmq.PULL),
            token,
            check,
            hand,
        )
        self.socket.setsockopt(zmq.MAXMSGSIZE, LARGEST)  # a peer that sends more is cut off
        self.socket.setsockopt(zmq.RCVHWM, QUEUE)
        self.port = self.socket.bind_to_random_port(f"tcp://{host}")
        self.tau, self.last, self.refused = 0.0, 0.0, deque(maxlen=100)

    def run(self) -> None:
        while True:
            try:
                head, data = unpacked(self.socket.recv_multipart(), self.token)
                self.check(head, len(data))
            except ValueError as error:
                self.refused.append(str(error))
                continue
            arrived = head.sent if head.sent >= 0 else clock()
            busy, self.last = (max(head.start, self.last), arrived), arrived
            wait = max(arrived + self.tau - clock(), 0)
            timer = threading.Timer(wait, self.hand, (head, data, busy))
            timer.daemon = True
            timer.start()
