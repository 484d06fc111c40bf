"""Messages between machines: a tensor in chunks, each with a header that is checked.

Nothing that arrives is unpickled, evaluated or trusted: a header has a fixed form, a secret of the
run, a type and a shape; a chunk is plain bytes. What does not fit is refused.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import torch
import zmq

CHUNK = 16 * 1024  # bytes of a message sent at once
LARGEST = 4 * 2**20  # bytes of a tensor; more is refused
QUEUE = 64  # chunks that may wait in a socket, each way
PROBE = 0xFFFF  # edge of a message that only measures
FORM = struct.Struct("<16sIHHBBBx4IIIdd")  # see Head
FLOAT32 = 1  # the only type there is
MOST = FORM.size + 128  # bytes of a header, placement included


class Head(NamedTuple):
    """A chunk's header. token: the run's secret. task, network, edge: their numbers.

    shape: of the tensor, up to 4 sizes; offset: of the chunk within its `total` bytes; start: when
    the message's sending began; sent: when its last byte has left, both in s of the machine's
    clock; placement: the task's, one byte a subtask, from which a machine learns what to do.
    """

    token: bytes
    task: int
    edge: int
    network: int
    shape: tuple[int, ...]
    offset: int
    total: int
    start: float
    sent: float
    placement: bytes


def packed(head: Head) -> bytes:
    """A header as bytes."""
    sizes = (*head.shape, 0, 0, 0, 0)[:4]
    first = head.token, head.task, head.edge, head.network, FLOAT32, len(head.shape)
    last = head.offset, head.total, head.start, head.sent
    return FORM.pack(*first, len(head.placement), *sizes, *last) + head.placement


def unpacked(frames: list[bytes], token: bytes) -> tuple[Head, bytes]:
    """Header and chunk of what came over a socket. ValueError for anything else than a message."""
    if len(frames) != 2 or not FORM.size <= len(frames[0]) <= MOST:
        raise ValueError(f"message: {len(frames)} frames, expected a header and a chunk")
    secret, task, edge, network, kind, ndim, n, *rest = FORM.unpack(frames[0][: FORM.size])
    sizes, (offset, total, start, sent) = rest[:4], rest[4:]
    placement, chunk = frames[0][FORM.size :], frames[1]
    values = 1
    for size in sizes[:ndim]:
        values *= size
    if secret != token:
        raise ValueError("message: not of this run")
    if kind != FLOAT32 or not 1 <= ndim <= 4 or any(sizes[ndim:]):
        raise ValueError(f"message: type {kind}, {ndim} sizes, expected float32 of 1 to 4 sizes")
    if total != 4 * values or not 0 < total <= LARGEST:
        raise ValueError(f"message: {total} bytes for a shape of {values}, at most {LARGEST}")
    if offset % CHUNK or len(chunk) != min(CHUNK, total - offset):
        raise ValueError(f"message: {len(chunk)} bytes at {offset} of {total}")
    if len(placement) != n or any(label > 2 for label in placement):
        raise ValueError(f"message: placement of {len(placement)} labels, expected {n} of 0, 1, 2")
    if not (abs(start) < 1e12 and abs(sent) < 1e12):
        raise ValueError(f"message: sent at {sent} s")
    shape = tuple(sizes[:ndim])
    return Head(secret, task, edge, network, shape, offset, total, start, sent, placement), chunk


def tensor(buffer: bytearray, shape: tuple[int, ...]) -> torch.Tensor:
    """Bytes as the float32 tensor that they are, without a copy."""
    return torch.frombuffer(buffer, dtype=torch.float32).reshape(shape)


def plain(value: torch.Tensor) -> memoryview:
    """A tensor's bytes, without a copy where it is contiguous."""
    return memoryview(value.contiguous().numpy()).cast("B")


def receiving(context: zmq.Context, host: str) -> tuple[zmq.Socket, int]:
    """A socket that receives on a free port of `host` alone, and the port."""
    socket = context.socket(zmq.PULL)
    socket.setsockopt(zmq.MAXMSGSIZE, CHUNK + MOST)  # a peer that sends more is cut off
    socket.setsockopt(zmq.RCVHWM, QUEUE)
    return socket, socket.bind_to_random_port(f"tcp://{host}")


def sending(context: zmq.Context, address: str) -> zmq.Socket:
    """A socket that sends to `address`; it comes back by itself after a lost connection."""
    socket = context.socket(zmq.PUSH)
    socket.setsockopt(zmq.SNDHWM, QUEUE)
    socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing waits for a peer that is not there
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RECONNECT_IVL, 20)
    socket.connect(address)
    return socket
