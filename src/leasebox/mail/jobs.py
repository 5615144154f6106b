"""Background work of mail: the parser makes messages of stored mails, the purge erases what nobody may read now.

The purge goes by rows, lease by lease, and each of its statements finds them by an index: it looks at what goes,
however much is kept (tests/mail/test_jobs.py, tests/bench/growth.py). Partitions by day would not spare it: a mail goes
72 hours after its lease's end, and leases last from an hour to months, so that each day's mail goes over many days, and
a day's partition could be dropped only after the last of its leases. Until then every list and thread would be looked
for in each of some forty partitions, and no unique key could number a mailbox's messages.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from itertools import compress
from operator import not_
from typing import Any, Protocol

import msgspec

from leasebox.infra import log, metrics
from leasebox.infra.db import Database
from leasebox.infra.together import Together
from leasebox.leases import service as leases
from leasebox.leases.model import LeasePolicy
from leasebox.mail import house, service, store
from leasebox.mail.model import BOUNCE, INSIDE, MAX_TRIES, SMALL_OCTETS, FreshMessage, PendingMail
from leasebox.mail.parse_worker import Reading, unreadable
from leasebox.mail.sender_auth import UNANSWERED, SenderAuth
from leasebox.values.clock import Clock
from leasebox.values.errors import Unavailable

_BATCH = 32
_GROUP = 64
_LOOK_AGAIN_S = 1.0
# Looking for large mails among many small ones reads all of these, so it is not done all the time.
_LARGE_REST_S = 0.05
# A mail becomes visible after this long even if DNS has not told yet who sent it: codes do not wait.
_AUTH_PATIENCE_S = 0.25
# What a purge takes at once: so many leases, or fewer with about so many messages (of one lease: all that it has).
_PURGE_LEASES = 500
_PURGE_MESSAGES = 1_000
_LARGEST_BYTES = 2**31 - 1
_Parsed = tuple[PendingMail, FreshMessage]


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


class Lane:
    """Mails of some sizes (bytes, both ends included), and how many more of them may be under way now.

    enough: with fewer free places none is claimed, for a claim of one costs what a claim of many does. rest_s: from one
    look to the next.
    """

    def __init__(self, smallest: int, largest: int, places: int, enough: int, rest_s: float) -> None:
        self.smallest = smallest
        self.largest = largest
        self.places = places
        self.enough = enough
        self.rest_s = rest_s
        self.woken = asyncio.Event()

    def leave(self) -> None:
        self.places += 1
        if self.places == self.enough:
            self.woken.set()  # mails may have waited for this place

    async def wait(self, seconds: float) -> None:
        """Until it is woken, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.woken.wait()


class Parser:
    """Claims stored mails and publishes their messages: whatever was read while the last transaction ran goes into the
    next one.

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
        self._lanes = (
            Lane(0, SMALL_OCTETS, 2 * _BATCH, _BATCH, 0.0),
            Lane(SMALL_OCTETS + 1, _LARGEST_BYTES, 4, 1, _LARGE_REST_S),
        )
        self._publishing = Together(self._publish_group, _GROUP)
        self._under_way: set[asyncio.Task[None]] = set()
        self._log = log.get("parser")

    async def run(self, small: asyncio.Event, large: asyncio.Event, stop: asyncio.Event) -> None:
        """Parse until `stop`; then finish what was claimed. small, large: set whenever such mail was accepted."""
        for lane, woken in zip(self._lanes, (small, large), strict=True):
            lane.woken = woken
        async with asyncio.TaskGroup() as lanes:
            for lane in self._lanes:
                lanes.create_task(self._serve(lane, stop))
            await stop.wait()
            for lane in self._lanes:
                lane.woken.set()
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _serve(self, lane: Lane, stop: asyncio.Event) -> None:
        """Claim a lane's mails: again at once while there are more than it takes, else when woken."""
        while not stop.is_set():
            lane.woken.clear()
            if lane.places < lane.enough or not await self._claim(lane):
                await lane.wait(_LOOK_AGAIN_S)
            if lane.rest_s:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), lane.rest_s)

    async def _claim(self, lane: Lane) -> bool:
        """Start on a lane's next mails, as many as it has places for; whether there may be more."""
        limit, now = min(_BATCH, lane.places), self._clock.now()
        try:
            # One statement, so it needs no BEGIN to be a transaction.
            batch = await self._db.read(lambda tx: store.claim_mails(tx, now, limit, lane.smallest, lane.largest))
        except Unavailable:
            return False
        for mail in batch:
            lane.places -= 1
            self._start(self._parse(mail), lane.leave)
        return len(batch) == limit

    def _start(self, work: Coroutine[Any, Any, None], done: Callable[[], None] = lambda: None) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        task.add_done_callback(lambda _: done())

    async def _parse(self, mail: PendingMail) -> None:
        checking = asyncio.create_task(self._check(mail))
        if not await self._try(mail, checking):
            checking.cancel()
        elif len(mail.raw) > SMALL_OCTETS:
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
        await asyncio.sleep(0)  # a check that asks nobody has its answer by now
        if not checking.done():
            await asyncio.wait([checking], timeout=_AUTH_PATIENCE_S)
        auth = checking.result() if checking.done() else service.CHECKING
        fresh = service.fresh_message(reading.mail, reading.extraction, auth, reading.extracted)
        if mail.protocol == INSIDE and not mail.mail_from:
            # Our own notice to an author whose mail could not be handed over.
            fresh = msgspec.structs.replace(fresh, labels=(BOUNCE,))
        if mail.purpose == "lease":
            is_first = await self._publishing.ask((mail, fresh))
            if isinstance(is_first, Exception):
                raise is_first
            if not is_first:
                return False
        else:
            await self._desk.take(mail, fresh)
        metrics.PARSED_MAILS.labels(fresh.parsed_status).inc()
        metrics.PARSE_SECONDS.observe(time.perf_counter() - started)
        return auth is service.CHECKING

    async def _publish_group(self, group: Sequence[_Parsed]) -> list[bool | Exception]:
        """Whether each was published by us, or what kept it from that: one mail's fault must not stop the others."""
        told = service.plain(group)
        plain = await self._publish_at_once([*compress(group, told)])
        # These may belong to what those were.
        others = await self._publish_each([*compress(group, map(not_, told))])
        found = {True: iter(plain), False: iter(others)}
        return [next(found[is_plain]) for is_plain in told]

    async def _publish_at_once(self, group: Sequence[_Parsed]) -> Sequence[bool | Exception]:
        if not group:
            return ()
        now = self._clock.now()
        try:
            if await self._db.at_once(lambda tx: service.publish_at_once(tx, group, now)):
                return [True] * len(group)
        except Unavailable as fault:
            return [fault] * len(group)
        except Exception:  # noqa: BLE001 - whose fault it was is found below
            self._log.warning("mails not published together", mails=len(group), exc_info=True)
        return await self._publish_each(group)

    async def _publish_each(self, group: Sequence[_Parsed]) -> Sequence[bool | Exception]:
        """The same with statements that decide each mail by itself."""
        if not group:
            return ()
        now = self._clock.now()
        try:
            return [*await self._db.transact(lambda tx: service.publish_all(tx, group, now))]
        except Exception as fault:  # noqa: BLE001 - told to whom it belongs
            if len(group) == 1 or isinstance(fault, Unavailable):
                return [fault] * len(group)
            return [found for each in group for found in await self._publish_each([each])]

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


async def purge(
    db: Database, policy: LeasePolicy, clock: Clock, erase: leases.EraseOfLeases = service.erase_of_leases
) -> int:
    """Erase the mail of leases whose retention is over; how many messages. Safe to run twice or late.

    erase: erases all that these leases leave behind; how many messages that were.
    """
    at, total, ended = clock.now(), 0, 1
    while ended:
        ended, erased = await db.transact(
            lambda tx: leases.purge_due(tx, erase, policy, at, _PURGE_LEASES, _PURGE_MESSAGES)
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
