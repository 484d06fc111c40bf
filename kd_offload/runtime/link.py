"""Links between machines: a token bucket paces what is sent, the receiver holds what arrives.

A message of d bytes on a link of B bytes/s that is free at s has left at s + d/B, and is handed on
tau seconds later: the delay model's rule. B may follow a trace, zeros included. Without `paced`,
messages go as fast as the kernel lets them, which then shapes the link, and tau is counted from
their arrival.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np
import zmq

from . import wire

clock = time.monotonic  # one clock for all machines: they are processes of one computer
POLL = 0.05  # s between looks at whether a task was given up
LATEST = 3600.0  # s: a bucket that fills no sooner counts as one that never does


class GivenUp(Exception):
    """The task that something was being done for was given up."""


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

    def __init__(self, socket: zmq.Socket, paced: bool):
        self.socket, self.paced, self.rate = socket, paced, Rate(LATEST)
        self.lock, self.free = threading.Lock(), 0.0

    def send(self, head: wire.Head, data: memoryview, ready: float, over) -> None:
        """A message whose data were ready at `ready` s. Raises GivenUp once `over()`."""
        with self.lock:
            begin = left = max(ready, self.free)
            for offset in range(0, len(data), wire.CHUNK):
                chunk = data[offset : offset + wire.CHUNK]
                bytes_sent = wire.FORM.size + len(head.placement) + len(chunk)
                left = self.rate.when(left, bytes_sent) if self.paced else clock()
                sleep_until(left, over)
                last = left if self.paced else -1.0
                this = head._replace(offset=offset, start=begin, sent=last)
                self._push([wire.packed(this), chunk], over)
            self.free = left

    def _push(self, frames, over) -> None:
        while not self.socket.poll(int(1e3 * POLL), zmq.POLLOUT):  # a full queue, or nobody there
            if over():
                raise GivenUp
        self.socket.send_multipart(frames)


class Receiver(threading.Thread):
    """One direction of a link, at the machine that receives; runs as long as that."""

    def __init__(
        self, link: int, socket: zmq.Socket, token: bytes, check: Callable, hand: Callable
    ):
        super().__init__(daemon=True)
        self.link, self.socket, self.token = link, socket, token
        self.check, self.hand = check, hand  # see `node.Node`
        self.tau, self.last, self.refused = 0.0, 0.0, deque(maxlen=100)
        self.head, self.buffer = None, bytearray()

    def run(self) -> None:
        while True:
            try:
                self._take(*wire.unpacked(self.socket.recv_multipart(), self.token))
            except ValueError as error:
                self.refused.append(str(error))
            except zmq.ZMQError:
                return  # closed

    def _take(self, head: wire.Head, chunk: bytes) -> None:
        if head.offset == 0:
            self.check(head, self.link)
            self.head, self.buffer = head, bytearray()
        of = self.head and (self.head.task, self.head.edge, len(self.buffer))
        if of != (head.task, head.edge, head.offset) or head.total != self.head.total:
            raise ValueError(f"message: {head.offset} of edge {head.edge} does not follow on {of}")
        self.buffer += chunk
        if len(self.buffer) == head.total:
            arrived = head.sent if head.sent >= 0 else clock()
            busy = max(head.start, self.last), arrived
            self.head, self.last = None, arrived
            wait = max(arrived + self.tau - clock(), 0)
            timer = threading.Timer(wait, self.hand, (self.link, head, self.buffer, busy))
            timer.daemon = True
            timer.start()
