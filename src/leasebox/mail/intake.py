"""Accepting mail: recipients are judged against live leases, and a 250 is said only after the commit.

Mails are committed in groups: whatever queued while the last commit ran goes into the next one (no waiting window).
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from leasebox.infra import log, metrics
from leasebox.infra.db import Database, StorageFull, Tx
from leasebox.leases import service as leases
from leasebox.leases.inbound import Inbound, Slot, judge
from leasebox.leases.model import LeasePolicy
from leasebox.mail import store
from leasebox.mail.model import WAKE_PARSER, Recipient
from leasebox.mail.smtp_intake import AcceptVerdict, IncomingMail, Stored
from leasebox.mail.smtp_replies import MailRefusal, RcptVerdict
from leasebox.values.addresses import Mailbox
from leasebox.values.clock import Clock
from leasebox.values.errors import Unavailable
from leasebox.values.ids import MessageId

_BATCH_MAILS = 128
_BATCH_BYTES = 64 * 1024 * 1024
_RCPT = {
    Inbound.TAKEN: RcptVerdict.ACCEPT,
    Inbound.UNKNOWN: RcptVerdict.UNKNOWN,
    Inbound.ENDED: RcptVerdict.ENDED,
    Inbound.FROZEN: RcptVerdict.FROZEN,
    Inbound.PAUSED: RcptVerdict.PAUSED,
    Inbound.OVER_QUOTA: RcptVerdict.OVER_QUOTA,
}
_DATA = {
    Inbound.UNKNOWN: MailRefusal.UNKNOWN,
    Inbound.ENDED: MailRefusal.ENDED,
    Inbound.FROZEN: MailRefusal.FROZEN,
    Inbound.PAUSED: MailRefusal.PAUSED,
    Inbound.OVER_QUOTA: MailRefusal.OVER_QUOTA,
}
_Waiting = tuple[IncomingMail, "asyncio.Future[AcceptVerdict]"]


class GroupIntake:
    """The SMTP server's `Intake`, over PostgreSQL."""

    def __init__(self, db: Database, policy: LeasePolicy, clock: Clock) -> None:
        self._db = db
        self._policy = policy
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._arrived = asyncio.Event()

    async def rcpt(self, address: Mailbox) -> RcptVerdict:
        """Whether mail for this address is taken now."""
        if address.domain not in self._policy.domains:
            return RcptVerdict.FOREIGN
        try:
            route = await self._db.read(lambda tx: leases.route(tx, address.address))
        except Unavailable:
            return RcptVerdict.UNAVAILABLE
        return _RCPT[judge(route, self._policy, self._clock.now())]

    async def accept(self, mail: IncomingMail) -> AcceptVerdict:
        """Store a mail in the next group; the verdict comes after its commit."""
        verdict: asyncio.Future[AcceptVerdict] = asyncio.get_running_loop().create_future()
        self._waiting.append((mail, verdict))
        self._arrived.set()
        answer = await verdict
        metrics.SMTP_MAILS.labels("stored" if isinstance(answer, Stored) else answer.name.lower()).inc()
        return answer

    async def run(self) -> None:
        """Commit group after group, for ever. Cancel it once no mail is under way any more."""
        while True:
            await self._arrived.wait()
            group = self._next_group()
            if not group:
                self._arrived.clear()
                continue
            started = time.perf_counter()
            await self._commit(group)
            metrics.SMTP_COMMIT_SECONDS.observe(time.perf_counter() - started)
            metrics.SMTP_BATCH_MAILS.observe(len(group))

    def _next_group(self) -> list[_Waiting]:
        size, count = 0, 0
        for mail, _ in self._waiting[:_BATCH_MAILS]:
            if count and size + len(mail.content) > _BATCH_BYTES:
                break
            size, count = size + len(mail.content), count + 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _commit(self, group: list[_Waiting]) -> None:
        try:
            verdicts = await self._db.transact(lambda tx: self._store(tx, [mail for mail, _ in group]))
        except StorageFull:
            verdicts = [MailRefusal.DISK_FULL] * len(group)
        except Unavailable:
            verdicts = [MailRefusal.UNAVAILABLE] * len(group)
        except Exception:  # noqa: BLE001 - answered 451 below, so that the client keeps the mail
            # One mail must not cost its neighbours: each is tried alone, and only the one at fault is refused.
            log.get("smtp").exception("a group of mails could not be stored", mails=len(group))
            if len(group) > 1:
                for alone in group:
                    await self._commit([alone])
                return
            verdicts = [MailRefusal.FAILED]
        for (_, waiting), verdict in zip(group, verdicts, strict=True):
            if not waiting.done():
                waiting.set_result(verdict)

    async def _store(self, tx: Tx, mails: Sequence[IncomingMail]) -> list[AcceptVerdict]:
        now = self._clock.now()
        wanted = [mail.envelope.deliver_to for mail in mails]
        sizes = [len(mail.trace) + len(mail.content) for mail in mails]
        taken = await leases.take_mail(tx, wanted, sizes, self._policy, now)
        batch: list[tuple[IncomingMail, MessageId, tuple[Recipient, ...]]] = []
        verdicts: list[AcceptVerdict] = []
        for mail, slots in zip(mails, taken, strict=True):
            if isinstance(slots, Inbound):
                verdicts.append(_refusal(slots, mail))
                continue
            recipients = tuple(_recipient(slot, now) for slot in slots)
            batch.append((mail, MessageId.new(now), recipients))
            verdicts.append(Stored(tuple(str(recipient.message_id) for recipient in recipients)))
        if batch:
            await store.insert_mails(tx, batch)
            tx.wake(WAKE_PARSER, "")
        return verdicts


def _recipient(slot: Slot, at: Any) -> Recipient:
    return Recipient(MessageId.new(at), slot.lease_id, slot.mailbox_id, slot.tenant_id, slot.uid)


def _refusal(why: Inbound, mail: IncomingMail) -> MailRefusal:
    """A mail for several mailboxes, one of which changed since its RCPT, is put off: the next RCPT sorts it out."""
    return _DATA[why] if len(mail.envelope.deliver_to) == 1 else MailRefusal.UNAVAILABLE
