"""Carries a mail along a route: host after host until one answers for it, on kept connections where there are some.

Every mail passes one gate per route with its end (CRLF.CRLF): the next one's end is sent when the reply to this one has
been written down for good. So a process that dies leaves at most one mail per route of which nobody knows whether it
was taken, however many are under way; all that comes before that line runs side by side.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol
from weakref import WeakValueDictionary

import msgspec

from leasebox.sending.relay import Host, Route
from leasebox.sending.transport import Doubt, Parcel, Patience, Session, Trouble
from leasebox.sending.transport_pool import Pool
from leasebox.sending.transport_reply import Reply, Verdict, reply

GATE_S: Final = 60.0
"""A server that takes longer than this over its reply is not waited for by the mails behind: better the small chance of
a second doubtful mail than that one tarpit, or one mail that a filter broods on, stops all others."""


class Fate(msgspec.Struct, frozen=True):
    """What becomes of a recipient, and the reply that says so."""

    verdict: Verdict
    reply: Reply


class Outcome(msgspec.Struct, frozen=True):
    """What became of a mail. word: `sent`, `failed`, `deferred`, `partial` (not alike for all) or `unknown`.

    remote: whom we spoke to last. said: all replies, in order.
    """

    word: str
    fates: dict[str, Fate]
    remote: str | None
    said: tuple[Reply, ...]


def stopped(recipients: Sequence[str], why: Reply) -> Outcome:
    """The outcome for a mail that found no server to speak to."""
    fates = {each: Fate(why.verdict, why) for each in recipients}
    return Outcome(why.verdict.value, fates, None, (why,))


class Book(Protocol):
    """Where it is written down for good."""

    async def begin(self, remote: str, said: Sequence[Reply]) -> bool:
        """About to send the end of the mail. False: it must not be sent; it was cancelled, or is another's by now."""

    async def settle(self, outcome: Outcome) -> None:
        """This is what became of it."""


class _Trip:
    """One try of a mail."""

    def __init__(self, key: str, parcel: Parcel, book: Book) -> None:
        self.key = key
        self.parcel = parcel
        self.book = book
        self.remote: str | None = None
        self.said: list[Reply] = []
        self.fates: dict[str, Fate] = {}

    def left(self) -> tuple[str, ...]:
        """Recipients that no server has refused for good."""
        refused = {each for each, fate in self.fates.items() if fate.verdict is Verdict.FAILED}
        return tuple(each for each in self.parcel.recipients if each not in refused)

    def put_off(self, last: Reply) -> None:
        """Whatever the code: trouble with a connection is no judgement on the mail."""
        self.fates |= {each: Fate(Verdict.DEFERRED, last) for each in self.left()}

    def outcome(self) -> Outcome:
        verdicts = {fate.verdict for fate in self.fates.values()}
        word = verdicts.pop().value if len(verdicts) == 1 else "partial"
        return Outcome(word, self.fates, self.remote, tuple(self.said))


class Carrier:
    """What one process sends with. helo: the name that it gives."""

    def __init__(self, helo: str, pool: Pool, patience: Patience | None = None, gate_s: float = GATE_S) -> None:
        self._helo = helo
        self._pool = pool
        self._patience = patience or Patience()
        self._gate_s = gate_s
        self._gates: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def carry(self, route: Route, parcel: Parcel, book: Book) -> None:
        """Hand a mail over, telling `book` before the end of it is sent, and when its fate is known."""
        trip = _Trip(route.key, parcel, book)
        kept = self._pool.take(route.key)
        if kept is not None and await self._again(trip, kept):
            return
        for host in route.hosts:
            if await self._anew(trip, host, route):
                return
        if not route.hosts:
            trip.put_off(reply("route", None, "there is no host to send it to"))
        await book.settle(trip.outcome())

    async def _again(self, trip: _Trip, session: Session) -> bool:
        """On a kept connection. False: another is needed; if this one had merely gone stale, that is not told of."""
        session.said = trip.said
        try:
            await self._speak(trip, session)
        except Trouble as trouble:
            if trip.fates:
                trip.put_off(trouble.reply)
            else:
                trip.said.clear()
            return False
        return True

    async def _anew(self, trip: _Trip, host: Host, route: Route) -> bool:
        trip.remote = str(host)
        try:
            session = await Session.opened(host, route.login, self._helo, self._patience, trip.said)
            await self._speak(trip, session)
        except Trouble as trouble:
            trip.put_off(trouble.reply)
            return False
        return True

    async def _speak(self, trip: _Trip, session: Session) -> None:
        trip.remote = str(session.host)
        try:
            await self._hand_over(trip, session)
        except BaseException:
            session.close()
            raise
        self._pool.keep(trip.key, session)

    async def _hand_over(self, trip: _Trip, session: Session) -> None:
        heard = await session.offer(msgspec.structs.replace(trip.parcel, recipients=trip.left()))
        trip.fates |= {each: Fate(last.recipient_verdict, last) for each, last in heard.items()}
        taken = [each for each, fate in trip.fates.items() if fate.verdict is Verdict.SENT]
        refusal = await session.send(trip.parcel.content) if taken else None
        if not taken or refusal is not None:
            trip.fates |= {each: _fate(refusal) for each in taken if refusal is not None}
            await trip.book.settle(trip.outcome())
            return
        async with self._gate(trip.key):
            if not await trip.book.begin(str(session.host), trip.said):
                session.close()
                return
            try:
                last = await session.end()
            except Doubt as doubt:
                trip.fates |= {each: Fate(Verdict.DEFERRED, doubt.reply) for each in taken}
                await trip.book.settle(msgspec.structs.replace(trip.outcome(), word="unknown"))
                return
            trip.fates |= {each: _fate(last) for each in taken}
            await trip.book.settle(trip.outcome())

    @contextlib.asynccontextmanager
    async def _gate(self, key: str) -> AsyncIterator[None]:
        gate = self._gates.get(key) or self._gates.setdefault(key, asyncio.Lock())
        ours = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._gate_s):
                ours = await gate.acquire()
        try:
            yield
        finally:
            if ours:
                gate.release()


def _fate(last: Reply) -> Fate:
    return Fate(last.verdict, last)
