"""The runner: takes hops that are due, hands them over, and writes down what became of them."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

from leasebox.infra import log, metrics
from leasebox.infra.db import Database
from leasebox.sending import queue, queue_store
from leasebox.sending.dkim_sign import Signer, signed
from leasebox.sending.model import SendPolicy
from leasebox.sending.queue_model import Cargo, Claimed, Hop, Pace
from leasebox.sending.relay import NoRoute, Router
from leasebox.sending.transport import Parcel, wire_form
from leasebox.sending.transport_carrier import Carrier, Outcome, stopped
from leasebox.sending.transport_reply import Reply, reply
from leasebox.values.clock import Clock
from leasebox.values.errors import Unavailable
from leasebox.values.ids import SendAttemptId, TenantId

CLAIM: Final = timedelta(seconds=15)
"""How long a dead worker's hops wait for another one. The living extend their claims every BEAT_S; that needs neither a
connection of its own nor session locks, which PgBouncer would break."""
BEAT_S: Final = 4.0
LOOK_AGAIN_S: Final = 1.0
DRAIN_S: Final = 15.0
"""For replies that are still to come when we are told to stop."""
OCTETS: Final = 96 * 1024 * 1024
"""Content under way at once in one process; a single mail may always go."""
_RETRY_S: Final = 0.3
# Put off, so that it goes out if the operator relents, or the mailbox is resumed, before its time is over.
_STOPPED: Final = {
    "tenant": reply("leasebox", 450, "4.7.1 The tenant is not active"),
    "mailbox": reply("leasebox", 450, "4.7.1 The mailbox is frozen"),
    "paused": reply("leasebox", 450, "4.7.1 The mailbox is paused"),
    # Not put off: From would not be the leased address, and no key of its author's may sign.
    "domain": reply("leasebox", 550, "5.7.1 The domain of From is not a verified one of this tenant any more"),
    "ended": reply("leasebox", 550, "5.7.1 The lease ended before this mail was to go out"),
}
_MOMENT_S: Final = 0.01


class Desk(Protocol):
    """What a mail needs before it goes out."""

    async def signers(self, tenant_id: TenantId, domain: str) -> Sequence[Signer]:
        """The keys that sign a tenant's mail from a domain, its own or ours. Raises Unavailable."""

    def return_path(self, attempt_id: SendAttemptId, domain: str) -> str:
        """The envelope sender."""


class Runner:
    """Hands over hops, many at once, each in a task of its own."""

    def __init__(
        self,
        db: Database,
        router: Router,
        carrier: Carrier,
        desk: Desk,
        policy: SendPolicy,
        clock: Clock,
        pace: Pace | None = None,
        chance: queue.Chance = random.random,
    ) -> None:
        self._db = db
        self._router = router
        self._carrier = carrier
        self._desk = desk
        self._policy = policy
        self._clock = clock
        self._pace = pace or Pace()
        self._chance = chance
        self._under_way: dict[UUID, tuple[Hop, asyncio.Task[None]]] = {}
        self._after = ""
        self._scales = Scales(OCTETS)
        self._log = log.get("sender")

    async def run(self, woken: asyncio.Event, stop: asyncio.Event) -> None:
        """Hand over until `stop`; then wait for replies to what may have been taken, and give back the rest."""
        beating = asyncio.create_task(self._beat())
        try:
            while not stop.is_set():
                woken.clear()
                await self._round(woken)
                await _idle(woken, stop)
                if self._under_way:
                    # One claim for all the places that come free within a moment.
                    await asyncio.sleep(_MOMENT_S)
            await self._drain()
        finally:
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating

    async def _round(self, woken: asyncio.Event) -> None:
        """Once around all destinations, as long as there are places."""
        began = self._after
        while free := self._pace.places - len(self._under_way):
            try:
                claimed = await self._claim(free)
            except Unavailable:
                return
            for hop in claimed.hops:
                self._start(hop, woken)
            self._after = claimed.last or ""
            if claimed.last is None:
                if not began:
                    return
                began = ""

    async def _claim(self, free: int) -> Claimed:
        at, after, live = self._clock.now(), self._after, list(self._under_way)
        cap = self._pace.per_destination
        return await self._db.transact(
            lambda tx: queue_store.claim(tx, at, at + CLAIM, after=after, live=live, per_destination=cap, places=free)
        )

    def _start(self, hop: Hop, woken: asyncio.Event) -> None:
        task = asyncio.create_task(self._guarded(hop))
        self._under_way[hop.claim] = (hop, task)

        def leave(_: "asyncio.Task[None]") -> None:
            del self._under_way[hop.claim]
            woken.set()  # another may have waited for this place

        task.add_done_callback(leave)

    async def _guarded(self, hop: Hop) -> None:
        try:
            async with self._scales.carrying(hop.size_bytes):
                await self._work(hop)
        except Unavailable:
            self._log.warning("mail not handed over, database away", attempt=str(hop.attempt_id))
        except asyncio.CancelledError:
            await self._give_back(hop)
            raise
        except Exception:  # noqa: BLE001 - one mail's fault must not stop the others
            self._log.exception("mail not handed over", attempt=str(hop.attempt_id), tries=hop.number)
            await self._give_up_for_now(hop)

    async def _work(self, hop: Hop) -> None:
        at = self._clock.now()
        cargo = await self._db.read(lambda tx: queue.look(tx, hop, self._policy, at))
        if cargo is not None and cargo.refused:
            cargo = await self._without_refused(hop, cargo)
        if cargo is None or not cargo.recipients:
            await self._db.transact(lambda tx: queue.finish(tx, hop, self._clock.now()))
            return
        entry = Entry(self._db, self._policy, self._clock, hop, cargo, self._chance)
        if cargo.stopped is not None:
            await entry.settle(stopped([address for _, address in cargo.recipients], _STOPPED[cargo.stopped]))
            return
        if hop.route == "local":
            await self._db.transact(lambda tx: queue.hand_in(tx, hop, self._policy, at, self._chance))
            return
        try:
            route = await self._router.route(hop.destination)
        except NoRoute as nowhere:
            await entry.settle(stopped([address for _, address in cargo.recipients], nowhere.reply))
            return
        await self._carrier.carry(route, await self._parcel(hop, cargo), entry)

    async def _without_refused(self, hop: Hop, cargo: Cargo) -> Cargo:
        at = self._clock.now()
        return await self._db.transact(lambda tx: queue.refuse(tx, hop, cargo, self._policy, at))

    async def _parcel(self, hop: Hop, cargo: Cargo) -> Parcel:
        domain = cargo.sender.rpartition("@")[2]
        content = wire_form(cargo.content)
        signers = await self._desk.signers(cargo.tenant_id, domain)
        return Parcel(
            self._desk.return_path(hop.attempt_id, domain),
            tuple(address for _, address in cargo.recipients),
            signed(content, signers, self._clock.now()),
        )

    async def _give_back(self, hop: Hop) -> None:
        with contextlib.suppress(Unavailable):
            await self._db.transact(lambda tx: queue.release(tx, hop, self._clock.now()))

    async def _give_up_for_now(self, hop: Hop) -> None:
        try:
            await self._db.transact(lambda tx: queue.stumble(tx, hop, self._clock.now(), self._chance))
        except Exception:  # noqa: BLE001 - then its claim runs out
            self._log.exception("mail not put off", attempt=str(hop.attempt_id))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            hops = [hop for hop, _ in self._under_way.values()]
            if hops:
                until = self._clock.now() + CLAIM
                with contextlib.suppress(Unavailable):
                    await self._db.transact(lambda tx: queue_store.extend(tx, hops, until))  # noqa: B023

    async def _drain(self) -> None:
        tasks = [task for _, task in self._under_way.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=DRAIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


class Entry:
    """The `Book` of one try, in the database."""

    def __init__(
        self, db: Database, policy: SendPolicy, clock: Clock, hop: Hop, cargo: Cargo, chance: queue.Chance
    ) -> None:
        self._db = db
        self._policy = policy
        self._clock = clock
        self._hop = hop
        self._cargo = cargo
        self._chance = chance
        self._began_at = clock.now()

    async def begin(self, remote: str, said: Sequence[Reply]) -> bool:
        """Raises Unavailable; then the end of the mail must not be sent."""
        at = self._clock.now()
        shown = queue.replies(said)
        return await self._db.transact(
            lambda tx: queue_store.begin(tx, self._hop, self._began_at, at + CLAIM, remote, shown)
        )

    async def settle(self, outcome: Outcome) -> None:
        """Write it down, however long the database is away: nobody else knows that the mail was taken."""
        metrics.SEND_TRIES.labels(outcome.word).inc()
        at, write = self._clock.now(), self._record
        while True:
            try:
                await write(outcome, at)
            except Unavailable:
                await asyncio.sleep(_RETRY_S)
            except Exception:
                if write == self._record_bluntly:
                    raise
                log.get("sender").exception("try not recorded in full", attempt=str(self._hop.attempt_id))
                write = self._record_bluntly
            else:
                return

    async def _record(self, outcome: Outcome, at: datetime) -> None:
        hop, cargo, policy = self._hop, self._cargo, self._policy
        await self._db.transact(
            lambda tx: queue.record(tx, hop, cargo, outcome, policy, self._began_at, at, self._chance)
        )

    async def _record_bluntly(self, outcome: Outcome, at: datetime) -> None:
        hop, cargo, began_at = self._hop, self._cargo, self._began_at
        await self._db.transact(lambda tx: queue.record_bluntly(tx, hop, cargo, outcome, began_at, at, self._chance))


class Scales:
    """Room for so many octets: those who carry more than is left wait for their turn, and nobody passes them."""

    def __init__(self, octets: int) -> None:
        self._left = octets
        self._most = octets
        self._turn = asyncio.Lock()
        self._lighter = asyncio.Event()

    @contextlib.asynccontextmanager
    async def carrying(self, octets: int) -> AsyncIterator[None]:
        """Be within the limit; what is heavier than all of it is let through alone."""
        weight = min(octets, self._most)
        async with self._turn:
            while weight > self._left:
                self._lighter.clear()
                await self._lighter.wait()
            self._left -= weight
        try:
            yield
        finally:
            self._left += weight
            self._lighter.set()


async def measure(db: Database, at: datetime) -> None:
    """Show how much waits, and for how long the one that has been due for longest."""
    depth = await db.read(lambda tx: queue_store.depth(tx, at))
    metrics.SEND_QUEUE.labels("waiting").set(depth.waiting)
    metrics.SEND_QUEUE.labels("under_way").set(depth.under_way)
    metrics.SEND_OLDEST_SECONDS.set(max(0.0, (at - depth.oldest).total_seconds()) if depth.oldest else 0.0)


async def _idle(woken: asyncio.Event, stop: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(woken.wait()), asyncio.ensure_future(stop.wait())]
    await asyncio.wait(waits, timeout=LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
