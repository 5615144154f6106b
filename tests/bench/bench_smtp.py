"""How many mails the SMTP server takes when nothing is stored: `python -m tests.bench smtp [--quick]`.

Server and sender are processes of their own; mails have 4 KB and come pipelined (smtp_load.py).
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop

from leasebox.mail.smtp import AcceptVerdict, IncomingMail, Limits, Offer, RcptVerdict, Stored, serve
from leasebox.values.addresses import Mailbox
from leasebox.values.clock import SystemClock
from tests.bench import figures, http_cpu
from tests.bench.figures import Row
from tests.bench.peers import place
from tests.bench.peers.place import Peer
from tests.bench.smtp_load import Sending

QUICK = {"seconds": 0.5}
LEAST_MAILS_PER_SECOND = 8_000
CONNECTIONS = (1, 16, 64)


def rows(seconds: float = 5.0) -> list[Row]:
    """For each count of connections: mails a second, and the server's CPU for one mail."""
    with null_sink() as sink:
        return [_row(sink, connections, seconds) for connections in CONNECTIONS]


@contextmanager
def null_sink() -> Iterator[Peer]:
    """Our SMTP server in front of a house that takes everything and keeps nothing, in a process of its own."""
    with place.folder() as folder:
        port = place.free_port()
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        argv = [sys.executable, "-m", "tests.bench.bench_smtp", "--serve", str(port)]
        with place.serving(argv, port, folder / "log", env=env) as peer:
            yield peer


def _row(sink: Peer, connections: int, seconds: float) -> Row:
    sending = Sending(sink.port, ["box@inbox.example"], connections=connections, seconds=seconds)
    before = http_cpu.seconds([sink.pid])
    load = sending.done()
    cpu_us = http_cpu.spent(before, http_cpu.seconds([sink.pid])) / max(1, load.mails) * 1e6
    name, goal = f"smtp: null sink, {connections} connections", LEAST_MAILS_PER_SECOND if connections >= 16 else None
    return figures.row(name, "mails/s", [load.rate], n=load.mails, cpu_us=cpu_us, goal=goal)


class _NullIntake:
    """Takes everything and keeps nothing."""

    async def rcpt(self, address: Mailbox, size: int) -> RcptVerdict:
        return RcptVerdict.ACCEPT

    async def accept(self, mail: IncomingMail) -> AcceptVerdict:
        return Stored()


async def _serve(port: int) -> None:
    offer = Offer("mx.inbox.example", "inbox.example")
    limits = Limits(per_client=0)
    await serve(_NullIntake(), host="127.0.0.1", port=port, offer=offer, clock=SystemClock(), limits=limits)
    await asyncio.Event().wait()


def _main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--serve", type=int, metavar="PORT", help="be the server")
    chosen = options.parse_args()
    if chosen.serve:
        return uvloop.run(_serve(chosen.serve))
    for row in rows():
        print(row)
    return None


if __name__ == "__main__":
    _main()
