"""Background work of webhooks: the runner, which tries deliveries; forgetting old ones."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

import leasebox
from leasebox.infra import fetch_target, log, metrics
from leasebox.infra.db import Database
from leasebox.infra.facts_order import PublishedFact, envelope
from leasebox.infra.fetch import Reply
from leasebox.infra.fetch_target import Target, UrlFault
from leasebox.infra.seal import CannotOpen
from leasebox.values.clock import Clock
from leasebox.values.errors import Unavailable
from leasebox.values.keys import KeyRing
from leasebox.values.secret import Secret
from leasebox.webhooks import deliveries, signing
from leasebox.webhooks.model import Claimed, Tried, tried
from leasebox.webhooks.places import QUICK_S, Places

_LOOK_AGAIN_S = 1.0
_BATCH = 64
_SETTLED_AT_ONCE = 256
_GIVE_UP_S = 10.0
_AGENT = f"leasebox/{leasebox.__version__}"


class Poster(Protocol):
    """Sends a request and says how it ended, within seconds and without raising."""

    async def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Reply: ...


class Runner:
    """Tries what is due, many at once; no transaction is open while a receiver is waited for.

    A try counts as under way until its outcome is written down. Of each endpoint and of each tenant only so many are
    under way, so one that hangs or floods holds few places, and none of those that quick receivers need.
    """

    def __init__(self, db: Database, poster: Poster, keys: KeyRing, clock: Clock) -> None:
        self._db = db
        self._poster = poster
        self._keys = keys
        self._clock = clock
        self._places = Places()
        # Whether the last claim was stopped by a want of places, so that more may be due than was taken.
        self._is_short = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Queue[Tried] = asyncio.Queue()
        self._freed = asyncio.Event()
        self._log = log.get("webhooks")

    async def run(self, woken: asyncio.Event, stop: asyncio.Event) -> None:
        """Deliver until `stop`; then finish the tries under way. `woken` is set whenever deliveries were made."""
        self._freed = woken
        settling = asyncio.create_task(self._settle_all())
        try:
            while not stop.is_set():
                woken.clear()
                claimed = await self._claim(_BATCH)
                for one in claimed:
                    self._start(one)
                if not claimed or not self._is_short:
                    await _idle(woken, stop)
            while self._tasks:
                await asyncio.wait(self._tasks)
            await self._drained()
        finally:
            settling.cancel()
            await asyncio.gather(settling, return_exceptions=True)

    async def deliver_due(self) -> int:
        """Try everything that is due now, once through; how many tries that were. For callers without a loop."""
        total = 0
        while claimed := await self._claim(_BATCH):
            ended = await asyncio.gather(*(self._try(one) for one in claimed))
            await self._settle(ended)
            total += len(claimed)
        return total

    async def _claim(self, most: int) -> list[Claimed]:
        """At most so many at quick endpoints, and as many at slow ones."""
        offer, now = self._places.offer(), self._clock.now()
        room = offer.room.at_most(most)
        self._is_short = True
        if not room.quick and not room.slow:
            return []
        wanted = msgspec.structs.replace(offer, room=room)
        try:
            # One statement: a transaction around it would only cost two more trips.
            claimed = await self._db.read(lambda tx: deliveries.claim(tx, wanted, now))
        except Unavailable:
            return []
        for one in claimed:
            self._places.take(one)
        slow = sum(one.is_slow for one in claimed)
        was_all = len(claimed) < deliveries.LANES_A_CLAIM and slow < room.slow and len(claimed) - slow < room.quick
        self._is_short = not was_all or any(one.is_cut for one in claimed)
        return claimed

    def _start(self, one: Claimed) -> None:
        task = asyncio.create_task(self._try_and_tell(one))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try_and_tell(self, one: Claimed) -> None:
        task = asyncio.create_task(self._try(one))
        done, _ = await asyncio.wait([task], timeout=QUICK_S)
        if not done:
            self._places.lasts(one)
            self._freed.set()
            await asyncio.wait([task])
        self._ended.put_nowait(task.result())

    async def _try(self, one: Claimed) -> Tried:
        """One HTTP try; whatever goes wrong with it is an outcome."""
        began = self._clock.now()
        if one.attempt == 1:
            # Not from the fact on: that of a replay may be weeks old. What lies before shows in the fan-out's gauge.
            metrics.WEBHOOK_DELAY_SECONDS.observe(max(0.0, (began - one.made_at).total_seconds()))
        try:
            reply = await self._send(one)
        except Exception:  # noqa: BLE001 - one delivery's fault must not stop the others; it is tried again
            self._log.exception("delivery not tried", delivery_id=str(one.delivery_id))
            return Tried(one, began, 0, None, "internal", None)
        if isinstance(reply, str):
            return Tried(one, began, 0, None, reply, None)
        metrics.WEBHOOK_SECONDS.observe(reply.took_s)
        return tried(one, began, reply)

    async def _send(self, one: Claimed) -> Reply | str:
        target = fetch_target.read(one.target_url)
        if isinstance(target, UrlFault):
            return "address_refused"
        good = self._opened(one)
        if not good:
            return "secret_lost"
        body = _body(one)
        headers = {"User-Agent": _AGENT, "Content-Type": "application/json", "Accept": "*/*"}
        return await self._poster.post(
            target, headers | signing.headers(good, one.event_id, self._clock.now(), body), body
        )

    def _opened(self, one: Claimed) -> list[Secret]:
        good = []
        for stored in one.secrets:
            try:
                good.append(signing.unseal(self._keys, one.webhook_id, stored))
            except CannotOpen as fault:
                self._log.error("webhook secret cannot be opened", webhook_id=str(one.webhook_id), why=str(fault))
        return good

    async def _settle_all(self) -> None:
        """Write outcomes down: whatever has ended while the last ones were written goes together."""
        while True:
            ended = [await self._ended.get()]
            while not self._ended.empty() and len(ended) < _SETTLED_AT_ONCE:
                ended.append(self._ended.get_nowait())
            await self._settle_surely(ended)
            for _ in ended:
                self._ended.task_done()

    async def _settle_surely(self, ended: Sequence[Tried]) -> None:
        """Until it is written; what takes longer than its claim is tried again by whoever claims it next."""
        while True:
            try:
                await self._settle(ended)
            except Unavailable:
                self._log.warning("outcomes not written, database away", outcomes=len(ended))
                await asyncio.sleep(_LOOK_AGAIN_S)
            except Exception:  # noqa: BLE001 - their claims run out, and they are tried again
                self._log.exception("outcomes not written", outcomes=len(ended))
                self._let_go(ended)
                return
            else:
                return

    async def _settle(self, ended: Sequence[Tried]) -> None:
        now = self._clock.now()
        disabled = await self._db.transact(lambda tx: deliveries.settle(tx, ended, now))
        for webhook_id in disabled:
            metrics.WEBHOOKS_DISABLED.inc()
            self._log.warning("webhook disabled", webhook_id=str(webhook_id))
        for one in ended:
            metrics.WEBHOOK_ATTEMPTS.labels(_word(one)).inc()
        self._let_go(ended)

    def _let_go(self, ended: Sequence[Tried]) -> None:
        was_short = self._is_short or any(self._places.is_full(one.delivery.tenant_id) for one in ended)
        for one in ended:
            self._places.free(one.delivery)
        if was_short or any(one.delivery.has_more for one in ended):
            self._freed.set()

    async def _drained(self) -> None:
        """Wait until all outcomes are written, but not for ever: what is left is tried again after its claim."""
        try:
            async with asyncio.timeout(_GIVE_UP_S):
                await self._ended.join()
        except TimeoutError:
            self._log.warning("stopped with outcomes unwritten", outcomes=self._ended.qsize())


async def forget(db: Database, clock: Clock) -> int:
    """Drop deliveries that ended 30 days ago; how many. Safe to run twice or late."""
    total, now = 0, clock.now()
    while forgotten := await db.transact(lambda tx: deliveries.forget(tx, now)):
        total += forgotten
    return total


async def measure(db: Database, clock: Clock) -> None:
    """Show how much waits, and for how long what has been due for longest."""
    now = clock.now()
    depth = await db.read(lambda tx: deliveries.depth(tx, now))
    for state in ("waiting", "under_way", "due", "dead"):
        metrics.WEBHOOK_QUEUE.labels(state).set(getattr(depth, state))
    metrics.WEBHOOK_OLDEST_SECONDS.set(_age_s(depth.oldest_due, now))
    metrics.WEBHOOK_FACTS.set(depth.facts)
    metrics.WEBHOOK_OLDEST_FACT_SECONDS.set(_age_s(depth.oldest_fact, now))


def _age_s(since: datetime | None, at: datetime) -> float:
    return 0.0 if since is None else max(0.0, (at - since).total_seconds())


def _body(one: Claimed) -> bytes:
    """The same octets at each try: everything in it is of the fact."""
    fact = PublishedFact(
        0, one.event_id, one.tenant_id, one.mailbox_id, one.lease_id, one.event_type, one.payload, one.happened_at
    )
    return msgspec.json.encode(envelope(fact))


def _word(one: Tried) -> str:
    if one.has_succeeded:
        return "succeeded"
    return one.error or "refused"


async def _idle(woken: asyncio.Event, stop: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(woken.wait()), asyncio.ensure_future(stop.wait())]
    await asyncio.wait(waits, timeout=_LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
