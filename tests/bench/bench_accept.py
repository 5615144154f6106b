"""Taking mail: our smtp role with its durable commit beside other servers, in alternating rounds of one run.

`leasebox up` runs as a user has it: roles in processes of their own, embedded engines, fsync on, limits counted but out
of the way, DNS off. The parser is at work too, except in rows that say `parser paused`: these tell what taking a mail
costs by itself. Every round waits until the mail before it has been parsed, so that nobody pays for it. Peers store
nothing but Postfix, which queues.

Mail of our own sender (smtp_load.py) goes to 64 mailboxes, pipelined; `smtp-source` rows are Postfix's own sender,
which waits for each reply. CPU is that of the smtp role; `with PostgreSQL` adds the engine's.
`python -m tests.bench accept [--quick]` prints the figures.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from leasebox.infra import db
from leasebox.infra.embedded import attach
from tests.bench import figures, house, http_cpu
from tests.bench.bench_smtp import null_sink
from tests.bench.figures import Row
from tests.bench.peers import aiosmtpd_null, haraka, place, postfix, smtp_sink
from tests.bench.peers.place import Absent, Peer
from tests.bench.smtp_load import Sending

QUICK = {"rounds": 1, "seconds": 0.5, "sizes": (4_096,), "connections": (64,), "patience_s": 5.0}
MAILBOXES = 64
_PEERS = (postfix, haraka, aiosmtpd_null, smtp_sink)
_OURS, _PAUSED, _NULL = "leasebox, durable", "leasebox, durable, parser paused", "leasebox, forgetting"
_PENDING = "SELECT count(*) FROM mails WHERE state = 'pending'"
_KB = 1_024
# By connections: about a second's mails of 4 KB.
_MAILS_OF_SMTP_SOURCE = {1: 400, 16: 1_500, 64: 2_000}


def rows(
    rounds: int = 3,
    seconds: float = 1.0,
    sizes: tuple[int, ...] = (4_096, 102_400),
    connections: tuple[int, ...] = (1, 16, 64),
    patience_s: float = 60.0,
) -> list[Row]:
    """Mails a second, p99 of the reply to the content, and CPU, by server, size and connections."""
    shots: dict[str, list[_Shot]] = {}
    absent: list[Row] = []
    with ExitStack() as stack:
        ours = Leasebox(stack.enter_context(house.opened()), patience_s)
        targets: dict[str, _Target] = {_OURS: ours, _PAUSED: _Paused(ours)}
        targets[_NULL] = _Other(stack.enter_context(null_sink()))
        for peer in _PEERS:
            try:
                targets[peer.NAME] = _Other(stack.enter_context(peer.serving()))
            except Absent as why:
                absent.append(figures.absent(_name(peer.NAME, 4_096, 64), "mails/s", str(why)))
        for _ in range(rounds):
            for size, count in ((size, count) for size in sizes for count in connections):
                for name, target in targets.items():
                    # All others are compared at 64 connections and 4 KB; more would make the run long.
                    if name in (_OURS, _NULL) or (size, count) == (sizes[0], connections[-1]):
                        shots.setdefault(_name(name, size, count), []).append(target.shot(size, count, seconds))
        found = [row for name, taken in shots.items() for row in _rows_of(name, taken)]
        found += _by_smtp_source(targets, rounds, sizes, connections)
    return [*found, *absent]


def ratios(rows: list[Row]) -> list[Row | None]:
    """What was promised of 4 KB mails on 64 connections."""
    ours, paused, null = (_name(name, 4_096, 64) for name in (_OURS, _PAUSED, _NULL))
    named = {peer.NAME: _name(peer.NAME, 4_096, 64) for peer in _PEERS}
    return [
        figures.ratio("accept, 64 connections: durable ÷ Postfix queueing", rows, ours, named[postfix.NAME], 6),
        figures.ratio("accept, 64 connections: durable ÷ Haraka discarding", rows, ours, named[haraka.NAME], 2),
        figures.ratio("accept, 64 connections: durable ÷ own parser without database", rows, ours, null, 0.7),
        figures.ratio("accept, 64 connections: the same, parser paused", rows, paused, null, 0.7),
    ]


def versions() -> dict[str, str]:
    """Of the peers that are here."""
    found = {}
    for peer in _PEERS:
        with contextlib.suppress(Absent):
            found[peer.NAME.partition(",")[0]] = peer.version()
    return found


class _Shot(NamedTuple):
    """One load on one server. cpu_us, all_us: of the server's processes for one mail, without and with its engines."""

    rate: float
    took_ms: list[float]
    cpu_us: float
    all_us: float


class _Target(Protocol):
    def shot(self, octets: int, connections: int, seconds: float) -> _Shot: ...

    @property
    def port(self) -> int: ...

    @property
    def addresses(self) -> list[str]: ...


class _Other:
    """A server that takes any recipient."""

    def __init__(self, peer: Peer) -> None:
        self.port = peer.port
        self.addresses = [f"box{number}@inbox.example" for number in range(MAILBOXES)]
        self._pid = peer.pid

    def shot(self, octets: int, connections: int, seconds: float) -> _Shot:
        sending = Sending(self.port, self.addresses, connections=connections, seconds=seconds, octets=octets)
        before = http_cpu.seconds(house.family(self._pid))
        load = sending.done()
        spent = http_cpu.spent(before, http_cpu.seconds(house.family(self._pid))) / max(1, load.mails) * 1e6
        return _Shot(load.rate, load.took_ms, spent, spent)


class Leasebox:
    """Ourselves, with mailboxes. patience_s: how long to wait for the parser between two loads."""

    def __init__(self, opened: house.House, patience_s: float) -> None:
        self.house = opened
        self.port = opened.instance.smtp_port
        self.addresses = [lease["address"] for lease in opened.leases(MAILBOXES)]
        self._patience_s = patience_s
        urls = attach(opened.instance.home)
        assert urls is not None
        assert urls.database_url is not None
        self._database_url = urls.database_url

    def shot(self, octets: int, connections: int, seconds: float) -> _Shot:
        asyncio.run(self.drained())
        meter = house.Meter(self.house.instance.process.pid)
        sending = Sending(self.port, self.addresses, connections=connections, seconds=seconds, octets=octets)
        meter.begin()
        load = sending.done()
        spent = meter.spent_us(["smtp", "postgres"])
        return _Shot(load.rate, load.took_ms, spent["smtp"] / load.mails, sum(spent.values()) / load.mails)

    def pids(self, role: str) -> list[int]:
        """The processes of a role."""
        return house.by_role(self.house.instance.process.pid)[role]

    async def parsed(self) -> int:
        """How many messages there are."""
        database = await db.connect(self._database_url, at_most=1)
        count = int(await database.read(lambda tx: tx.value("SELECT count(*) FROM messages")))
        await database.close()
        return count

    async def drained(self) -> None:
        """Wait until all mail has been parsed, or patience is over."""
        database = await db.connect(self._database_url, at_most=1)
        ends = time.monotonic() + self._patience_s
        while await database.read(lambda tx: tx.value(_PENDING)) and time.monotonic() < ends:
            await asyncio.sleep(0.1)
        await database.close()


class _Paused:
    """The same while the parser does nothing."""

    def __init__(self, ours: Leasebox) -> None:
        self._ours = ours
        self.port, self.addresses = ours.port, ours.addresses

    def shot(self, octets: int, connections: int, seconds: float) -> _Shot:
        asyncio.run(self._ours.drained())
        with stopped(self._ours.pids("parser")):
            return self._ours.shot(octets, connections, seconds)


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Let processes do nothing until the block ends."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _name(server: str, octets: int, connections: int) -> str:
    return f"accept {octets // _KB} KB, {connections} connection{'s' if connections > 1 else ''}: {server}"


def _rows_of(name: str, shots: list[_Shot]) -> Iterator[Row]:
    cpu = sorted(shot.cpu_us for shot in shots)[len(shots) // 2]
    mails = sum(len(shot.took_ms) for shot in shots)
    yield figures.row(name, "mails/s", [shot.rate for shot in shots], n=mails, cpu_us=cpu)
    if "durable" in name:
        took = [each for shot in shots for each in shot.took_ms]
        every = sorted(shot.all_us for shot in shots)[len(shots) // 2]
        yield figures.row(f"{name}: content to reply, CPU with PostgreSQL", "ms", took, cpu_us=every)


def _by_smtp_source(
    targets: Mapping[str, _Target], rounds: int, sizes: tuple[int, ...], connections: tuple[int, ...]
) -> list[Row]:
    """Postfix's own sender against ourselves, and against Postfix where all others are compared: mails a second."""
    try:
        program = place.program("smtp-source", "postfix")
    except Absent as why:
        return [figures.absent("accept 4 KB, smtp-source", "mails/s", str(why))]
    cells = [(size, count, _OURS) for size in sizes for count in connections]
    cells += [(sizes[0], connections[-1], postfix.NAME)] if postfix.NAME in targets else []
    found: dict[str, list[tuple[int, float]]] = {}
    for _ in range(rounds):
        for size, count, name in cells:
            mails = _MAILS_OF_SMTP_SOURCE[count] // (1 if size < 10 * _KB else 5)
            took = _seconds_of(program, targets[name], size, count, mails)
            found.setdefault(_name(f"smtp-source to {name}", size, count), []).append((mails, took))
    return [
        figures.row(name, "mails/s", [mails / took for mails, took in shots], n=sum(mails for mails, _ in shots))
        for name, shots in found.items()
    ]


def _seconds_of(program: str, target: _Target, octets: int, connections: int, mails: int) -> float:
    """How long smtp-source took to send some mails over connections that it keeps."""
    to = ["-f", "a@acme.example", "-t", target.addresses[0]]
    load = ["-d", "-s", str(connections), "-m", str(mails), "-l", str(octets)]
    began = time.perf_counter()
    subprocess.run(
        [program, *load, *to, f"127.0.0.1:{target.port}"], cwd=Path("/"), check=True, timeout=120, capture_output=True
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    for row in rows():
        print(row)
