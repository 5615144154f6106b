"""Background work of mail: the parser makes messages of stored mails, the purge erases what nobody may read now."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from typing import Any, Protocol

import msgspec

from leasebox.infra import log, metrics
from leasebox.infra.db import Database
from leasebox.leases import service as leases
from leasebox.leases.model import LeasePolicy
from leasebox.mail import house, service, store
from leasebox.mail.model import BOUNCE, INSIDE, MAX_TRIES, FreshMessage, PendingMail
from leasebox.mail.parse_pool import INLINE_COLD_BYTES
from leasebox.mail.parse_worker import Reading, unreadable
from leasebox.mail.sender_auth import UNANSWERED, SenderAuth
from leasebox.values.clock import Clock
from leasebox.values.errors import Unavailable

_BATCH = 32
_LOOK_AGAIN_S = 1.0
# A mail becomes visible after this long even if DNS has not told yet who sent it: codes do not wait.
_AUTH_PATIENCE_S = 0.25
# A lease holds up to its quota of mails, and all of them are erased by one statement.
_PURGE_LEASES = 20
SMALL_BYTES = INLINE_COLD_BYTES
_LARGEST_BYTES = 2**31 - 1


class Reader(Protocol):
    """Reads a mail under a CPU bound: mailbombs come back as `failed`, they do not slow others."""

    async def read(self, raw: bytes) -> Reading: ...


class SenderJudge(Protocol):
    """Asks DNS whether a mail is from whom it says; answers within seconds, whatever DNS does."""

    async def check(
        self, raw: bytes, client_ip: str, helo: str, mail_from: str, *, at: datetime | None = None
    ) -> SenderAuth: ...


class HouseDesk(Protocol):
    """Takes care of mail for the house once it has been read; done when that is committed. Raises Unavailable."""

    async def take(self, mail: PendingMail, fresh: FreshMessage) -> None: ...


class _Lane:
    """Mails of some sizes (bytes, both ends included), and how many more of them may be under way now."""

    def __init__(self, smallest: int, largest: int, places: int) -> None:
        self.smallest = smallest
        self.largest = largest
        self.places = places


class Parser:
    """Claims stored mails and publishes their messages, many at once, each in its own transaction.

    Small mails are read within milliseconds; large ones need a worker process, up to 2 s of its CPU, and memory. Each
    kind has places of its own, so that no flood of mailbombs holds up the mail with the code in it.
    """

    def __init__(
        self, db: Database, reader: Reader, judge: SenderJudge, clock: Clock, desk: HouseDesk | None = None
    ) -> None:
        self._db = db
        self._desk = desk or _Shelf(db)
        self._reader = reader
        self._judge = judge
        self._clock = clock
        self._lanes = (_Lane(0, SMALL_BYTES, 64), _Lane(SMALL_BYTES + 1, _LARGEST_BYTES, 4))
        self._under_way: set[asyncio.Task[None]] = set()
        self._log = log.get("parser")

    async def run(self, woken: asyncio.Event, stop: asyncio.Event) -> None:
        """Parse until `stop`; then finish what was claimed. `woken` is set whenever mail was accepted."""
        while not stop.is_set():
            woken.clear()
            claimed = [await self._claim(lane, woken) for lane in self._lanes]
            if not any(claimed):
                await self._idle(woken, stop)
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _claim(self, lane: _Lane, woken: asyncio.Event) -> int:
        """Start on a lane's next mails, as many as it has places for; how many these are."""
        limit, now = min(_BATCH, lane.places), self._clock.now()
        if not limit:
            return 0
        try:
            batch = await self._db.transact(lambda tx: store.claim_mails(tx, now, limit, lane.smallest, lane.largest))
        except Unavailable:
            return 0
        for mail in batch:
            lane.places -= 1
            self._start(self._parse(mail), lambda: _leave(lane, woken))
        return len(batch)

    async def _idle(self, woken: asyncio.Event, stop: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(woken.wait()), asyncio.ensure_future(stop.wait())]
        await asyncio.wait(waits, timeout=_LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def _start(self, work: Coroutine[Any, Any, None], done: Callable[[], None] = lambda: None) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        task.add_done_callback(lambda _: done())

    async def _parse(self, mail: PendingMail) -> None:
        checking = asyncio.create_task(self._check(mail))
        if not await self._try(mail, checking):
            checking.cancel()
        elif len(mail.raw) > SMALL_BYTES:
            # The check holds the mail in memory, so a large one keeps its place until DNS has answered.
            await self._tell(mail, checking)
        else:
            self._start(self._tell(mail, checking))

    async def _try(self, mail: PendingMail, checking: "asyncio.Task[dict[str, str]]") -> bool:
        """Publish a mail; True when it is still to be told who sent it."""
        try:
            return await self._publish(mail, checking)
        except Unavailable:
            # The claim runs out and the mail is parsed again.
            self._log.warning("mail not published, database away", mail_id=str(mail.mail_id))
        except Exception:  # noqa: BLE001 - one mail's fault must not stop the others; it is tried again
            self._log.exception("mail not published", mail_id=str(mail.mail_id), tries=mail.tries)
        return False

    async def _publish(self, mail: PendingMail, checking: "asyncio.Task[dict[str, str]]") -> bool:
        started = time.perf_counter()
        reading = await self._read(mail)
        await asyncio.wait([checking], timeout=_AUTH_PATIENCE_S)
        auth = checking.result() if checking.done() else service.CHECKING
        fresh = service.fresh_message(reading.mail, reading.extraction, auth, reading.extracted)
        if mail.protocol == INSIDE and not mail.mail_from:
            # Our own notice to an author whose mail could not be handed over.
            fresh = msgspec.structs.replace(fresh, labels=(BOUNCE,))
        now = self._clock.now()
        if mail.purpose != "lease":
            await self._desk.take(mail, fresh)
        elif not await self._db.transact(lambda tx: service.publish(tx, mail, fresh, now)):
            return False
        metrics.PARSED_MAILS.labels(fresh.parsed_status).inc()
        metrics.PARSE_SECONDS.observe(time.perf_counter() - started)
        return auth is service.CHECKING

    async def _check(self, mail: PendingMail) -> dict[str, str]:
        if mail.protocol == INSIDE:
            return service.KNOWN
        try:
            found = await self._judge.check(
                mail.raw, mail.client_address, mail.helo, mail.mail_from, at=mail.received_at
            )
        except Exception:  # noqa: BLE001 - whatever goes wrong about the sender, the code in the mail must be read
            self._log.exception("sender not checked", mail_id=str(mail.mail_id))
            found = UNANSWERED
        return msgspec.structs.asdict(found)

    async def _tell(self, mail: PendingMail, checking: "asyncio.Task[dict[str, str]]") -> None:
        """Add to a message that is visible already who sent it."""
        auth = await checking
        try:
            await self._db.transact(lambda tx: store.set_auth(tx, mail.mail_id, auth))
        except Unavailable:
            self._log.warning("sender not told, database away", mail_id=str(mail.mail_id))

    async def _read(self, mail: PendingMail) -> Reading:
        if mail.tries > MAX_TRIES:
            # Whatever it is that kills us each time, the mail is kept: its header and its raw form can be read.
            return unreadable(mail.raw, "parser_died")
        return await self._reader.read(mail.raw)


class _Shelf:
    """The desk of a process that knows nothing of sending: mail for the house can be read, and nothing follows."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def take(self, mail: PendingMail, fresh: FreshMessage) -> None:
        await self._db.transact(lambda tx: house.file(tx, mail, fresh))


def _leave(lane: _Lane, woken: asyncio.Event) -> None:
    if not lane.places:
        woken.set()  # mails may have waited for this place
    lane.places += 1


async def purge(db: Database, policy: LeasePolicy, clock: Clock) -> int:
    """Erase the mail of leases whose retention is over; how many messages. Safe to run twice or late."""
    at, total, ended = clock.now(), 0, _PURGE_LEASES
    while ended == _PURGE_LEASES:
        ended, erased = await db.transact(
            lambda tx: leases.purge_due(tx, service.erase_of_leases, policy, at, _PURGE_LEASES)
        )
        total += erased
        metrics.PURGED_MESSAGES.inc(erased)
    return total


async def every(seconds: float, job: Callable[[], Awaitable[object]], name: str, stop: asyncio.Event) -> None:
    """Run `job` now and every so many seconds until `stop`; a failure is logged and tried again next time."""
    while not stop.is_set():
        try:
            await job()
        except Unavailable:
            log.get("worker").warning("database away", job=name)
        except Exception:  # noqa: BLE001 - a job that failed once is tried again, whatever it was
            log.get("worker").exception("job failed", job=name)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stop.wait()
