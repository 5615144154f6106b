"""How many mails the SMTP server takes when nothing is stored: `python -m tests.bench.bench_smtp [--quick]`.

A process of its own sends 4 KB mails, pipelined as real senders do: MAIL, RCPT and DATA in one go, then the content.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator
from typing import Any, cast

import uvloop

from leasebox.mail.smtp import AcceptVerdict, IncomingMail, Limits, Offer, RcptVerdict, Stored, serve
from leasebox.values.addresses import Mailbox
from leasebox.values.clock import SystemClock

LEAST_MAILS_PER_SECOND = 8_000
CONNECTIONS = (1, 16, 64)
_WARM_UP_S = 0.5
_LINE = b"0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ .,:;\r\n"
_MAIL = b"From: a@sender.example\r\nSubject: Your code\r\n\r\n" + _LINE * 57 + b".\r\n"
_ENVELOPE = b"MAIL FROM:<a@sender.example> SIZE=4096\r\nRCPT TO:<box@inbox.example>\r\nDATA\r\n"


def rows(seconds: float = 5.0) -> list[dict[str, Any]]:
    """For each count of connections: mails a second, and the server's CPU for one mail."""
    return [row for connections in CONNECTIONS for row in _rows_with(connections, seconds)]


def _rows_with(connections: int, seconds: float) -> Iterator[dict[str, Any]]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        mails, cpu_s, span_s = runner.run(_measure(connections, seconds))
    name, goal = f"smtp: null sink, {connections} connections", LEAST_MAILS_PER_SECOND if connections >= 16 else None
    yield {"name": name, "unit": "mails/s", "median": mails / span_s, "n": mails, "goal": goal}
    yield {"name": name, "unit": "µs CPU a mail", "median": cpu_s / mails * 1_000_000, "n": mails}


class _NullIntake:
    """Takes everything and keeps nothing."""

    def __init__(self) -> None:
        self.mails = 0
        self.begun = asyncio.Event()

    async def rcpt(self, address: Mailbox, size: int) -> RcptVerdict:
        return RcptVerdict.ACCEPT

    async def accept(self, mail: IncomingMail) -> AcceptVerdict:
        self.mails += 1
        self.begun.set()
        return Stored()


async def _measure(connections: int, seconds: float) -> tuple[int, float, float]:
    intake = _NullIntake()
    offer = Offer("mx.inbox.example", "inbox.example")
    limits = Limits(per_client=0)
    server = await serve(intake, host="127.0.0.1", port=0, offer=offer, clock=SystemClock(), limits=limits)
    port = str(server.addresses[0][1])
    load = ("-m", "tests.bench.bench_smtp", "--load", port, "--connections", str(connections))
    sender = await asyncio.create_subprocess_exec(sys.executable, *load, "--seconds", str(seconds + 2 * _WARM_UP_S))
    await intake.begun.wait()
    await asyncio.sleep(_WARM_UP_S)
    mails, cpu, start = intake.mails, time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    mails, cpu, span = intake.mails - mails, time.process_time() - cpu, time.perf_counter() - start
    await sender.wait()
    await server.close()
    return mails, cpu, span


class _Sender(asyncio.Protocol):
    """Sends one mail after the other. Counts reply lines, which is all that a polite server makes necessary."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._awaited = 1
        self._next = b"EHLO bench.example\r\n"
        self._greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self._greeted:
            return self._greet(data)
        self._awaited -= data.count(b"\n")
        if self._awaited > 0:
            return None
        if data[:1] not in {b"2", b"3"}:
            sys.exit(f"refused: {data!r}")
        content = self._next is _MAIL
        self._transport.write(self._next)
        self._next = _ENVELOPE if content else _MAIL
        self._awaited = 1 if content else 3
        return None

    def _greet(self, data: bytes) -> None:
        if data.startswith(b"220"):
            return self._transport.write(self._next)
        self._greeted = data.endswith(b"\n")
        self._next = _MAIL
        self._awaited = 3
        return self._transport.write(_ENVELOPE)


async def _send(port: int, connections: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(_Sender, "127.0.0.1", port) for _ in range(connections)]
    await asyncio.sleep(seconds)
    for transport, _ in opened:
        transport.abort()


def _main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="a second for each count of connections")
    options.add_argument("--load", type=int, metavar="PORT", help="be the sender")
    options.add_argument("--connections", type=int, default=1)
    options.add_argument("--seconds", type=float, default=5.0)
    chosen = options.parse_args()
    if chosen.load:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_send(chosen.load, chosen.connections, chosen.seconds))
    for row in rows(1.0 if chosen.quick else chosen.seconds):
        print(f"{row['name']:40} {row['median']:10,.1f} {row['unit']}")
    return None


if __name__ == "__main__":
    _main()
