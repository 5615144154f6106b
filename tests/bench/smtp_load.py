"""Mail for an SMTP server from a process of its own, so that its work is in nobody's figures.

`python -m tests.bench.smtp_load PORT --connections N --seconds S --octets N --to FILE` keeps every connection busy;
with `--rate N` mails arrive at fixed times whether or not those before them are answered (open loop), on connections
that are free. Pipelined as real senders do: MAIL, RCPT and DATA in one go, then the content. Prints one line of JSON.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import uvloop

WARM_UP_S = 0.3
# Prose without two lines alike, so that no server compresses it better than what people write.
_WORDS = (
    "please find the details of your order below and let us know within reason if anything seems to be missing".split()
)
_HEAD = (
    b"From: Acme <no-reply@acme.example>\r\nTo: <%b>\r\nSubject: Your Acme code is %06d\r\n"
    b"Date: Fri, 20 Nov 2026 10:02:23 +0000\r\nMessage-ID: <%b.%d@acme.example>\r\n\r\n"
    b"Your verification code is %06d. It expires in 10 minutes.\r\n"
)


class Load(NamedTuple):
    """What a load came to. took_ms: from the end of the content to its reply, sorted."""

    mails: int
    seconds: float
    took_ms: list[float]
    sender_cpu_us: float

    @property
    def rate(self) -> float:
        """Mails a second."""
        return self.mails / self.seconds


class Sending:
    """A sender at work in a process of its own; made once its warm-up is over."""

    def __init__(
        self,
        port: int,
        addresses: Sequence[str],
        *,
        connections: int,
        seconds: float,
        octets: int = 4096,
        rate: float = 0.0,
    ) -> None:
        """rate: mails a second; 0: as many as are taken."""
        options = ["--connections", str(connections), "--seconds", str(seconds), "--octets", str(octets)]
        argv = [sys.executable, "-m", "tests.bench.smtp_load", str(port), *options, "--rate", str(rate)]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n".join(addresses))
        self._process.stdin.close()
        self._said = self._process.stdout
        self._said.readline()

    def done(self) -> Load:
        """Wait for its end. SystemExit when the server refused a mail."""
        said = self._said.read()
        self._said.close()
        if self._process.wait():
            raise SystemExit(f"the sender gave up: {said.strip()}")
        return Load(**json.loads(said))


class _Course:
    """All senders of one run."""

    def __init__(self, addresses: Sequence[bytes], octets: int) -> None:
        self.addresses = addresses
        self.octets = octets
        self.filler = _prose(octets)
        self.mails = 0
        self.took: list[float] = []
        self.counts_from = float("inf")
        self.idle: deque[_Sender] | None = None
        self.due: deque[float] = deque()
        self.fault = ""

    def next(self) -> tuple[bytes, bytes]:
        """Envelope and content of the next mail."""
        number = self.mails
        self.mails += 1
        to = self.addresses[number % len(self.addresses)]
        head = _HEAD % (to, number % 1_000_000, to.partition(b"@")[0], time.monotonic_ns(), number % 1_000_000)
        envelope = b"MAIL FROM:<a@acme.example> SIZE=%d\r\nRCPT TO:<%b>\r\nDATA\r\n" % (self.octets, to)
        return envelope, head + self.filler[: max(0, self.octets - len(head))].rstrip(b"\r\n") + b"\r\n.\r\n"


def _prose(octets: int) -> bytes:
    chance = random.Random(1)
    lines = [" ".join(chance.choices(_WORDS, k=12)) for _ in range(octets // 40 + 1)]
    return "\r\n".join(lines).encode()[:octets].rstrip(b"\r")


class _Sender(asyncio.Protocol):
    """Sends one mail after the other. Counts reply lines, which is all that a polite server makes necessary."""

    def __init__(self, course: _Course) -> None:
        self._course = course
        self._transport: asyncio.Transport | None = None
        self._awaited = 1
        self._content: bytes | None = None
        self._greeted = False
        self._in_content = False
        self._since = 0.0
        self._due = 0.0
        self.ready = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_result(None)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if not self._greeted:
            return self._greet(data)
        self._awaited -= data.count(b"\n")
        if data[:1] not in {b"2", b"3"}:
            self._course.fault = self._course.fault or data.decode(errors="replace")
        if self._awaited > 0:
            return None
        if self._in_content:
            return self._accepted()
        self._in_content = True
        self._awaited = 1
        self._since = time.perf_counter()
        assert self._content is not None
        return self._transport.write(self._content)

    def begin(self, due: float = 0.0) -> None:
        """Send the next mail; due: when it should have gone out (open loop), which is what its time counts from."""
        assert self._transport is not None
        envelope, self._content = self._course.next()
        self._in_content, self._awaited, self._due = False, 3, due
        self._transport.write(envelope)

    def stop(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _accepted(self) -> None:
        course, now = self._course, time.perf_counter()
        if now >= course.counts_from:
            course.took.append((now - (self._due or self._since)) * 1000)
        if course.idle is None:
            self.begin()
        elif course.due:
            self.begin(course.due.popleft())
        else:
            course.idle.append(self)

    def _greet(self, data: bytes) -> None:
        assert self._transport is not None
        if data.startswith(b"220"):
            return self._transport.write(b"EHLO bench.example\r\n")
        # The last line of the reply to EHLO has a blank for the hyphen.
        self._greeted = data.endswith(b"\n") and data.rstrip(b"\r\n").rpartition(b"\n")[2][3:4] == b" "
        if self._greeted and not self.ready.done():
            self.ready.set_result(None)
        return None


async def _send(
    port: int, addresses: Sequence[bytes], connections: int, seconds: float, octets: int, rate: float
) -> None:
    loop = asyncio.get_running_loop()
    course = _Course(addresses, octets)
    senders = [
        (await loop.create_connection(lambda: _Sender(course), "127.0.0.1", port))[1] for _ in range(connections)
    ]
    await asyncio.gather(*(sender.ready for sender in senders))
    if rate:
        course.idle = deque(senders)
        pacing = asyncio.create_task(_pace(course, rate))
    else:
        for sender in senders:
            sender.begin()
    await asyncio.sleep(WARM_UP_S)
    print("counting", flush=True)
    course.counts_from, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    span, cpu = time.perf_counter() - course.counts_from, time.process_time() - cpu
    took = sorted(course.took)
    if rate:
        pacing.cancel()
    for sender in senders:
        sender.stop()
    if course.fault:
        print(course.fault)
        sys.exit(1)
    told: dict[str, Any] = {
        "mails": len(took),
        "seconds": span,
        "took_ms": took,
        "sender_cpu_us": cpu / max(1, len(took)) * 1e6,
    }
    print(json.dumps(told))


async def _pace(course: _Course, rate: float) -> None:
    assert course.idle is not None
    first, number = time.perf_counter(), 0
    while True:
        now = time.perf_counter()
        while first + number / rate <= now:
            due = first + number / rate
            number += 1
            if course.idle:
                course.idle.popleft().begin(due)
            else:
                course.due.append(due)
        await asyncio.sleep(max(0.0, first + number / rate - time.perf_counter()))


def _main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("port", type=int)
    options.add_argument("--connections", type=int, default=1)
    options.add_argument("--seconds", type=float, default=5.0)
    options.add_argument("--octets", type=int, default=4096)
    options.add_argument("--rate", type=float, default=0.0, help="mails a second; 0: as many as are taken")
    chosen = options.parse_args()
    addresses = sys.stdin.read().encode().split()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_send(chosen.port, addresses, chosen.connections, chosen.seconds, chosen.octets, chosen.rate))


if __name__ == "__main__":
    _main()
