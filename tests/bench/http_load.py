"""A client in a process of its own that sends prepared HTTP/1.1 requests, so that its work is in nobody's figures.

`python -m tests.bench.http_load HOST PORT` takes jobs on stdin and answers on stdout, each as msgpack after its length.
"""

import asyncio
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import msgspec
import uvloop

_LENGTH = struct.Struct("<I")
_PATIENCE_S = 120.0


class Job(msgspec.Struct, array_like=True):
    """Requests as they go over the wire. in_flight: connections, each of which waits for its answer."""

    requests: list[bytes]
    in_flight: int


class Done(msgspec.Struct, array_like=True):
    """In the order of the job: seconds, statuses and bodies. span_s: from the first request to the last answer."""

    seconds: list[float]
    statuses: list[int]
    bodies: list[bytes]
    span_s: float


class Client:
    """The bench's end of the client."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def send(self, requests: Sequence[bytes], in_flight: int, expected: int = 0) -> Done:
        """Send all and wait for the answers. SystemExit when one has another status than the one expected."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        _write(self._process.stdin, msgspec.msgpack.encode(Job(list(requests), in_flight)))
        done = msgspec.msgpack.decode(_read(self._process.stdout), type=Done)
        for status, body in zip(done.statuses, done.bodies, strict=True):
            if expected and status != expected:
                raise SystemExit(f"answered {status}, not {expected}: {body[:300]!r}")
        return done


@contextmanager
def client(host: str, port: int) -> Iterator[Client]:
    """A client for as long as the block lasts."""
    argv = [sys.executable, "-m", "tests.bench.http_load", host, str(port)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield Client(process)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()  # type: ignore[union-attr]
        process.stdout.close()  # type: ignore[union-attr]


def request(method: str, path: str, token: str | None = None, body: Any = None, **headers: str) -> bytes:
    """One request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "host: leasebox.test", *(f"{name}: {text}" for name, text in headers.items())]
    if token is not None:
        lines.append(f"authorization: Bearer {token}")
    raw = b"" if body is None else msgspec.json.encode(body)
    if method != "GET":
        lines += ["content-type: application/json", f"content-length: {len(raw)}"]
    return "\r\n".join([*lines, "", ""]).encode() + raw


class _Connection(asyncio.Protocol):
    """Takes the next request as soon as the last one is answered."""

    transport: asyncio.Transport

    def __init__(self, left: "deque[int]", job: Job, done: Done, over: "asyncio.Future[None]") -> None:
        self._left = left
        self._job = job
        self._done = done
        self._over = over
        self._buffer = b""
        self._need = -1
        self._body_at = 0
        self._index = -1
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._next()

    def connection_lost(self, fault: Exception | None) -> None:
        if not self._over.done():
            self._over.set_exception(ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._need < 0 and not self._head():
            return
        if len(self._buffer) < self._need:
            return
        done, index = self._done, self._index
        done.seconds[index] = time.perf_counter() - self._sent
        done.statuses[index] = int(self._buffer[9:12])
        done.bodies[index] = self._buffer[self._body_at : self._need]
        self._buffer, self._need = self._buffer[self._need :], -1
        self._next()

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self._buffer[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        length = 0 if at < 0 else int(head[at + 17 : at + 30].partition(b"\r\n")[0])
        self._body_at, self._need = end + 4, end + 4 + length
        return True

    def _next(self) -> None:
        if not self._left:
            self._over.set_result(None)
            self.transport.close()
            return
        self._index = self._left.popleft()
        self._sent = time.perf_counter()
        self.transport.write(self._job.requests[self._index])


async def _run(job: Job, host: str, port: int) -> Done:
    loop, count = asyncio.get_running_loop(), len(job.requests)
    done, left = Done([0.0] * count, [0] * count, [b""] * count, 0.0), deque(range(count))
    began, overs = time.perf_counter(), []
    for _ in range(min(job.in_flight, count)):
        over = loop.create_future()
        overs.append(over)
        await loop.create_connection(lambda over=over: _Connection(left, job, done, over), host, port)  # type: ignore[misc]
    try:
        await asyncio.wait_for(asyncio.gather(*overs), _PATIENCE_S)
    except TimeoutError:
        missing = [index for index, status in enumerate(done.statuses) if not status]
        sys.exit(f"no answer to {len(missing)} of {count} requests, the first: {job.requests[missing[0]][:120]!r}")
    done.span_s = time.perf_counter() - began
    return done


def _write(stream: IO[bytes], raw: bytes) -> None:
    stream.write(_LENGTH.pack(len(raw)) + raw)
    stream.flush()


def _read(stream: IO[bytes]) -> bytes:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    return stream.read(_LENGTH.unpack(head)[0])


def _main(host: str, port: int) -> None:
    # Not sys.stdout.buffer: with PYTHONUNBUFFERED that is a bare file, whose `write` may take a part only.
    answers = open(sys.stdout.fileno(), "wb", closefd=False)  # noqa: SIM115 it lasts as long as we do
    while True:
        try:
            job = msgspec.msgpack.decode(_read(sys.stdin.buffer), type=Job)
        except EOFError:
            return
        _write(answers, msgspec.msgpack.encode(uvloop.run(_run(job, host, port))))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
