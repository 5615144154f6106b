"""Background work of mail: the parser turns stored mails into messages, the purge erases what nobody may read any more."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

import msgspec

from leasebox.infra import log, metrics
from leasebox.infra.db import Database
from leasebox.leases import service as leases
from leasebox.leases.model import LeasePolicy
from leasebox.mail import service, store
from leasebox.mail.model import MAX_TRIES, PendingMail
from leasebox.mail.parse_worker import Reading, unreadable
from leasebox.mail.sender_auth import SenderAuth
from leasebox.values.clock import Clock
from leasebox.values.errors import Unavailable

_BATCH = 32
_AT_ONCE = 64
_LOOK_AGAIN_S = 1.0
# A mail becomes visible after this long even if DNS has not told yet who sent it: codes do not wait.
_AUTH_PATIENCE_S = 0.25
_PURGE_LEASES = 200


class Reader(Protocol):
    """Reads a mail under a CPU bound: mailbombs come back as `failed`, they do not slow others."""

    async def read(self, raw: bytes) -> Reading: ...


class SenderJudge(Protocol):
    """Asks DNS whether a mail is from whom it says; answers within seconds, whatever DNS does."""

    async def check(
        self, raw: bytes, client_ip: str, helo: str, mail_from: str, *, at: datetime | None = None
    ) -> SenderAuth: ...


class Parser:
    """Claims stored mails and publishes their messages, many at once, each in its own transaction."""

    def __init__(self, db: Database, reader: Reader, judge: SenderJudge, clock: Clock) -> None:
        self._db = db
        self._reader = reader
        self._judge = judge
        self._clock = clock
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._under_way: set[asyncio.Task[None]] = set()
        self._log = log.get("parser")

    async def run(self, woken: asyncio.Event, stop: asyncio.Event) -> None:
        """Parse until `stop`; then finish what was claimed. `woken` is set whenever mail was accepted."""
        while not stop.is_set():
            woken.clear()
            if not await self._claim():
                await self._idle(woken, stop)
        await asyncio.gather(*self._under_way)

    async def _claim(self) -> int:
        """Start on the next batch; how many mails it has."""
        async with self._places:
            pass
        try:
            now = self._clock.now()
            batch = await self._db.transact(lambda tx: store.claim_mails(tx, now, _BATCH))
        except Unavailable:
            return 0
        for mail in batch:
            await self._places.acquire()
            self._start(self._parse(mail), self._places.release)
        return len(batch)

    async def _idle(self, woken: asyncio.Event, stop: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(woken.wait()), asyncio.ensure_future(stop.wait())]
        await asyncio.wait(waits, timeout=_LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def _start(self, work: Awaitable[None], done: Callable[[], None]) -> None:
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        task.add_done_callback(lambda _: done())

    async def _parse(self, mail: PendingMail) -> None:
        started = time.perf_counter()
        checking = asyncio.ensure_future(
            self._judge.check(mail.raw, mail.client_address, mail.helo, mail.mail_from, at=mail.received_at)
        )
        try:
            reading = await self._read(mail)
            await asyncio.wait([checking], timeout=_AUTH_PATIENCE_S)
            auth = msgspec.to_builtins(checking.result()) if checking.done() else service.CHECKING
            fresh = service.fresh_message(reading.mail, reading.extraction, auth)
            now = self._clock.now()
            await self._db.transact(lambda tx: service.publish(tx, mail, fresh, now))
            metrics.PARSED_MAILS.labels(fresh.parsed_status).inc()
            metrics.PARSE_SECONDS.observe(time.perf_counter() - started)
            if auth is service.CHECKING:
                late = msgspec.to_builtins(await checking)
                await self._db.transact(lambda tx: store.set_auth(tx, mail.mail_id, late))
        except Unavailable:
            # The claim runs out and the mail is parsed again.
            self._log.warning("mail not published, database away", mail_id=str(mail.mail_id))
        except Exception:
            self._log.exception("mail not published", mail_id=str(mail.mail_id), tries=mail.tries)
        finally:
            checking.cancel()

    async def _read(self, mail: PendingMail) -> Reading:
        if mail.tries > MAX_TRIES:
            # Whatever it is that kills us each time, the mail is kept: its header and its raw form can be read.
            return unreadable(mail.raw, "parser_died")
        return await self._reader.read(mail.raw)


async def purge(db: Database, policy: LeasePolicy, clock: Clock) -> int:
    """Erase the mail of leases whose retention is over; how many messages. Safe to run twice or late."""
    total = 0
    while True:
        now = clock.now()
        ended, erased = await db.transact(
            lambda tx: leases.purge_due(tx, service.erase_of_leases, policy, now, _PURGE_LEASES)
        )
        total += erased
        metrics.PURGED_MESSAGES.inc(erased)
        if ended < _PURGE_LEASES:
            return total


async def every(seconds: float, job: Callable[[], Awaitable[object]], name: str, stop: asyncio.Event) -> None:
    """Run `job` now and every so many seconds until `stop`; a failure is logged and tried again next time."""
    while not stop.is_set():
        try:
            await job()
        except Unavailable:
            log.get("worker").warning("database away", job=name)
        except Exception:
            log.get("worker").exception("job failed", job=name)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stop.wait()
