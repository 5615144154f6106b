"""Whether the parser keeps up, and whether taking mail suffers from it: OTP-sized mails at a steady rate, real roles.

Mails come at fixed times on 64 connections (open loop), to 64 mailboxes. Parsed a second: those that are messages when
the sender ends. The same load with the parser paused tells what its work costs the senders.
`python -m tests.bench backlog` prints the figures; a short run leaves it out.
"""

import asyncio

from tests.bench import figures, house
from tests.bench.bench_accept import Leasebox, stopped
from tests.bench.figures import Row
from tests.bench.smtp_load import WARM_UP_S, Load, Sending

QUICK = None
RATE = 1_500
OTP_OCTETS = 500
CONNECTIONS = 64


def rows(seconds: float = 10.0, patience_s: float = 120.0) -> list[Row]:
    """Mails parsed a second, CPU of each role for one mail, and the p99 of the reply to the content."""
    with house.opened() as opened:
        ours = Leasebox(opened, patience_s)
        with stopped(ours.pids("parser")):
            alone = _sending(ours, seconds).done()
        asyncio.run(ours.drained())
        before = asyncio.run(ours.parsed())
        meter = house.Meter(opened.instance.process.pid)
        sending = _sending(ours, seconds)
        meter.begin()
        beside = sending.done()
        parsed = asyncio.run(ours.parsed()) - before
        asyncio.run(ours.drained())
        spent = meter.spent_us(["smtp", "parser", "worker", "postgres"])
    name = f"parse: OTP mails at {RATE}/s"
    told = f"{name}: read and visible when the last has come"
    return [
        figures.row(told, "mails/s", [parsed / (beside.seconds + WARM_UP_S)], n=parsed, goal=RATE * 0.98),
        *(
            figures.row(f"{name}: CPU of {role}", "µs", [cpu / beside.mails], n=beside.mails)
            for role, cpu in spent.items()
        ),
        *_waits(name, "parser at work", beside, goal=RATE * 0.98),
        *_waits(name, "parser paused", alone, goal=None),
    ]


def _sending(ours: Leasebox, seconds: float) -> Sending:
    return Sending(ours.port, ours.addresses, connections=CONNECTIONS, seconds=seconds, octets=OTP_OCTETS, rate=RATE)


def _waits(name: str, how: str, load: Load, *, goal: float | None) -> list[Row]:
    """goal: mails a second that must be taken, for none is to be kept waiting."""
    return [
        figures.row(f"{name}: due to 250, {how}", "ms", load.took_ms),
        figures.row(f"{name}: taken, {how}", "mails/s", [load.rate], n=load.mails, goal=goal),
    ]


if __name__ == "__main__":
    for row in rows():
        print(row)
