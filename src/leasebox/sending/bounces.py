"""What comes back: bounces and complaints find their attempt by its signed return path, and change its recipients.

A notification is believed as far as its return path goes: it may speak of that attempt's recipients and of nobody
else's. Nothing here is ever answered.
"""

import asyncio
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from leasebox.audit.model import Act
from leasebox.audit.service import record
from leasebox.infra import metrics
from leasebox.infra.db import Database, Tx
from leasebox.leases import service as leases
from leasebox.leases.inbound import Inbound
from leasebox.leases.model import LeasePolicy
from leasebox.mail import house
from leasebox.mail import service as mail_service
from leasebox.mail.model import BOUNCE, FreshMessage, PendingMail, Recipient
from leasebox.sending import arf, bounces_store, dsn, return_path, service, suppressions
from leasebox.sending.arf import Complaint
from leasebox.sending.bounces_store import Attempt, Sent
from leasebox.sending.dsn import Outcome, Report
from leasebox.values.clock import Clock
from leasebox.values.ids import MessageId, SendAttemptId
from leasebox.values.keys import KeyRing

ACTOR: Final = "job:bounces"
COMPLAINT: Final = "complaint"
# RFC 3463 §3.2, §3.3: nobody is there and nobody will be. 5.1.7 and 5.1.8 are about the sender, 5.1.9 about features.
_HARD: Final = re.compile(r"5\.1\.(0|1|2|3|4|6|10)|5\.2\.1")
_REPLY: Final = re.compile(r"([245]\d\d)[ -]")


class BounceDesk:
    """The parser's desk for mail that belongs to the house."""

    def __init__(self, db: Database, policy: LeasePolicy, keys: KeyRing, clock: Clock) -> None:
        self._db = db
        self._policy = policy
        self._keys = keys
        self._clock = clock

    async def take(self, mail: PendingMail, fresh: FreshMessage) -> None:
        """Do all that a mail says, once. Raises Unavailable."""
        reports, complaint = await asyncio.to_thread(_read, mail)
        paths = () if complaint is None else complaint.return_paths
        blamed = [found for each in paths if (found := return_path.read(self._keys, each)) is not None]
        at = self._clock.now()

        async def work(tx: Tx) -> bool:
            if not await house.hold(tx, mail.mail_id):
                return False
            if complaint is not None:
                await _complain(tx, complaint, [*blamed, *_attempts(mail)], at)
            if mail.purpose != "return_path":
                return await house.file(tx, mail, fresh)
            return await _return(tx, mail, fresh, reports, complaint, self._policy, at)

        if await self._db.transact(work):
            for report in reports:
                metrics.RETURNS.labels(report.outcome.value).inc()


def is_hard(status: str | None, outcome: Outcome) -> bool:
    """Whether nothing will ever arrive there, so that nothing more is to be sent: no mailbox, not a full one; a
    refusal for policy is about the mail and not about the address."""
    return outcome is Outcome.FAILED and status is not None and _HARD.fullmatch(status) is not None


def about(report: Report, sent: Sequence[Sent]) -> Sent | None:
    """The recipient that a report means: by the address as we wrote it, by the one where it failed, or because there is
    only one. Pure."""
    by_address = {each.key: each for each in sent}
    for address in (report.original, report.recipient):
        if address in by_address:
            return by_address[address]
    return sent[0] if len(sent) == 1 else None


def _read(mail: PendingMail) -> tuple[tuple[Report, ...], Complaint | None]:
    complaint = arf.read(mail.raw)
    return (() if complaint is not None or mail.purpose != "return_path" else dsn.read(mail.raw)), complaint


def _attempts(mail: PendingMail) -> list[SendAttemptId]:
    """The attempts whose return path a mail came to; checked at RCPT."""
    return [SendAttemptId.parse(each) for each in mail.concerns] if mail.purpose == "return_path" else []


async def _return(
    tx: Tx,
    mail: PendingMail,
    fresh: FreshMessage,
    reports: Sequence[Report],
    complaint: Complaint | None,
    policy: LeasePolicy,
    at: datetime,
) -> bool:
    """Apply what came back, and let its author read it too."""
    readers = []
    for attempt_id in _attempts(mail):
        attempt = await bounces_store.attempt(tx, attempt_id)
        if attempt is None:
            continue
        # The lease is locked before the recipients, as by whoever hands mail to mailboxes here.
        reader = await _reader(tx, attempt, len(mail.raw), policy, at)
        readers += [] if reader is None else [reader]
        await _apply(tx, attempt, reports, at)
    label = COMPLAINT if complaint else BOUNCE if any(each.outcome is Outcome.FAILED for each in reports) else None
    unique = tuple({each.lease_id: each for each in readers}.values())
    labelled = msgspec.structs.replace(fresh, labels=() if label is None else (label,))
    if not unique:
        return await house.drop(tx, mail.mail_id)
    return await mail_service.publish(tx, msgspec.structs.replace(mail, recipients=unique), labelled, at)


async def _apply(tx: Tx, attempt: Attempt, reports: Sequence[Report], at: datetime) -> None:
    """Change the recipients that the reports mean. What was bounced stays so, whatever comes later."""
    sent = await bounces_store.lock_recipients(tx, attempt.attempt_id)
    changed = False
    for report in reports:
        recipient = about(report, sent)
        if recipient is None:
            continue
        changed |= await bounces_store.note(tx, attempt.attempt_id, recipient.position, *_noted(report), at)
        if is_hard(report.status, report.outcome):
            await _suppress(tx, attempt, recipient, "hard_bounce", report.diagnostic, at)
    if changed:
        await service.settle(tx, attempt.attempt_id, at)


async def _complain(tx: Tx, complaint: Complaint, attempts: Sequence[SendAttemptId], at: datetime) -> None:
    """Count each complainer once for each attempt, all who are not named for one, and send no more to the named."""
    for attempt_id in dict.fromkeys(attempts):
        attempt = await bounces_store.attempt(tx, attempt_id)
        if attempt is None:
            continue
        sent = await bounces_store.lock_recipients(tx, attempt_id)
        named = [each for each in sent if each.key in complaint.recipients] or (sent if len(sent) == 1 else [])
        for each in named:
            await _suppress(tx, attempt, each, "complaint", complaint.kind, at)
        fresh = await bounces_store.complain(tx, attempt_id, [each.position for each in named], at)
        if fresh:
            await service.complain(tx, attempt.tenant_id, attempt.mailbox_id, fresh, at)
            detail = {"kind": complaint.kind}
            await record(tx, Act(at, ACTOR, "complaint.note", str(attempt_id), attempt.tenant_id, ACTOR, detail=detail))


async def _suppress(
    tx: Tx, attempt: Attempt, recipient: Sent, reason: suppressions.Reason, detail: str, at: datetime
) -> None:
    tenant_id, attempt_id = attempt.tenant_id, attempt.attempt_id
    await suppressions.suppress_after(tx, tenant_id, recipient.key, reason, attempt_id, detail, ACTOR, at)


async def _reader(tx: Tx, attempt: Attempt, size: int, policy: LeasePolicy, at: datetime) -> Recipient | None:
    """A place for the notification in the author's mailbox, if the very lease that sent still takes mail."""
    (slot,) = await leases.take_mail(tx, [[attempt.sender]], [size], policy, at)
    if isinstance(slot, Inbound):
        return None
    if slot[0].lease_id != attempt.lease_id:
        # Somebody leased the address after him: nothing of an earlier lessee's mail may be seen there.
        await leases.give_back(tx, slot[0].lease_id, size)
        return None
    return Recipient(MessageId.new(at), slot[0].lease_id, slot[0].mailbox_id, slot[0].tenant_id)


def _noted(report: Report) -> tuple[Outcome, int, str]:
    """What is kept of a report: the outcome, an SMTP reply's code and its text."""
    match = _REPLY.match(report.diagnostic)
    by_outcome = {Outcome.FAILED: 550, Outcome.DELAYED: 450}.get(report.outcome, 250)
    status = "" if report.status is None or report.status in report.diagnostic else report.status
    text = " ".join(filter(None, [status, report.diagnostic[match.end() :] if match else report.diagnostic]))
    return report.outcome, int(match[1]) if match else by_outcome, text
