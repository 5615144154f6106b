"""Domains that the operator deals with no more: as senders (SMTP says 550 5.7.1) or as recipients (for sending).

A domain stands for all below it: who denies `spam.example` denies `mx1.spam.example`. Judged is the envelope's sender,
never a header; the null sender of bounces has no domain and passes.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from leasebox.audit.model import Act
from leasebox.audit.service import record
from leasebox.infra.db import Database, Tx
from leasebox.mail import denials_store
from leasebox.values.addresses import Mailbox, MalformedAddress
from leasebox.values.clock import Clock
from leasebox.values.errors import NotFound, Unavailable

Direction = Literal["sender", "recipient"]
_FRESH = timedelta(milliseconds=750)


class Denial(msgspec.Struct, frozen=True):
    """A denied domain, in lower-case A-labels."""

    direction: Direction
    domain: str
    note: str
    made_by: str
    at: datetime


class DeniedSenders:
    """What one SMTP process refuses. An admin's change is felt within a second; nobody waits for it.

    While the database does not answer, what was known last holds on.
    """

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._domains: frozenset[str] = frozenset()
        self._looked_at: datetime | None = None

    async def refuses(self, sender: str) -> bool:
        """Whether mail from this envelope sender is refused. Never raises for what a client wrote."""
        await self._refresh()
        return bool(self._domains) and is_under(domain_of(sender), self._domains)

    async def _refresh(self) -> None:
        now = self._clock.now()
        if self._looked_at is not None and timedelta() <= now - self._looked_at < _FRESH:
            return
        # Set first: whoever comes while the answer is under way goes by what is known.
        self._looked_at = now
        try:
            self._domains = frozenset(await self._db.read(lambda tx: denials_store.domains(tx, "sender")))
        except Unavailable:
            return


def domain_of(sender: str) -> str:
    """The canonical domain of an envelope sender; empty for the null sender and for what is no address."""
    try:
        return Mailbox.parse(sender).domain
    except MalformedAddress:
        return ""


def is_under(domain: str, denied: Collection[str]) -> bool:
    """Whether a domain, or one that it lies below, is denied."""
    while domain:
        if domain in denied:
            return True
        domain = domain.partition(".")[2]
    return False


async def among(tx: Tx, direction: Direction, names: Collection[str]) -> set[str]:
    """Those of some canonical domains that are denied, or lie below one that is."""
    denied = frozenset(await denials_store.domains(tx, direction))
    return {name for name in names if is_under(name, denied)} if denied else set()


async def listed(tx: Tx, direction: Direction) -> list[Denial]:
    """What is denied in one direction, by name."""
    return [
        Denial(direction, row["domain"], row["note"], row["made_by"], row["at"])
        for row in await denials_store.listed(tx, direction)
    ]


async def deny(
    tx: Tx, direction: Direction, domain: str, note: str, *, actor: str, at: datetime, request_id: str
) -> None:
    """Deny a canonical domain. One that is denied already stays as it is and is not written down again."""
    if await denials_store.add(tx, direction, domain, note, actor, at):
        detail = {"note": note}
        await record(tx, Act(at, actor, f"{direction}_domain.deny", domain, None, request_id, detail=detail))


async def allow(tx: Tx, direction: Direction, domain: str, *, actor: str, at: datetime, request_id: str) -> None:
    """Take a denial back. Raises NotFound."""
    note = await denials_store.drop(tx, direction, domain)
    if note is None:
        raise NotFound("This domain is not denied.")
    detail = {"before": {"note": note}}
    await record(tx, Act(at, actor, f"{direction}_domain.allow", domain, None, request_id, detail=detail))
