"""Verbs of sending: take a message over, deliver what is for this instance's own mailboxes, settle attempts.

`hand_in` is the one way out, whatever door a message came by. All of it happens in one transaction, so a message that
is refused costs nothing and leaves nothing, and one that is taken over is in its author's mailbox and in the queue.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncpg import Record

from leasebox.identity.model import Caller
from leasebox.infra.db import Tx
from leasebox.infra.facts_log import Fact, append
from leasebox.leases import service as leases
from leasebox.leases.errors import LeaseEnded, MailboxFrozen, MailboxPaused
from leasebox.leases.inbound import Inbound, Slot
from leasebox.leases.model import Lease
from leasebox.mail import inside
from leasebox.mail.inside import InsideMail
from leasebox.sending import attempts_store, cooldown, routing
from leasebox.sending.errors import DailyLimit, MailboxFull, NobodyLeft
from leasebox.sending.model import (
    EXPIRY,
    OPEN,
    REFUSALS,
    REPLIES,
    TAKEN,
    WAKE_QUEUE,
    AttemptState,
    Letter,
    LocalOutcome,
    Place,
    RecipientState,
    SendPolicy,
    Submitted,
    attempt_state,
)
from leasebox.values.addresses import Mailbox
from leasebox.values.clock import rfc3339
from leasebox.values.facts import MESSAGE_BOUNCED, MESSAGE_DELIVERED, MESSAGE_SENT
from leasebox.values.ids import LeaseId, MailboxId, MessageId, SendAttemptId, TenantId

Admit = Callable[[Tx, int], Awaitable[object]]


async def hand_in(tx: Tx, caller: Caller, letter: Letter, admit: Admit, policy: SendPolicy, at: datetime) -> Submitted:
    """Take a message over: file it in its author's mailbox, hand it to mailboxes of this instance, queue the rest.

    admit: lets so many recipients be charged, or raises (402). Recipients that are suppressed, at a denied domain, or
    no mailbox of ours though at a domain of ours are rejected and cost nothing. The author's copy takes room in the
    lease as received mail does.

    Raises NotFound, LeaseEnded (410), MailboxPaused, MailboxFrozen (403), MailboxFull, NobodyLeft (422), whatever
    `admit` raises, CooldownLimit and DailyLimit (429).
    """
    lease = (await leases.get_mailbox(tx, caller, letter.mailbox_id)).lease
    lease.require_active(at)
    async with tx.across_tenants("recipients may be anybody's mailboxes here"):
        sifted = await routing.sift(tx, caller.tenant_id, letter, policy)
        forecast = await routing.foresee(tx, sifted.boxes(), policy, at)
    mail = _inside(letter.attempt_id, letter.sender, letter.content, policy)
    planned, refused = routing.place(sifted, forecast, letter)
    rejected = [*sifted.rejected, *refused]
    if not planned:
        raise NobodyLeft("Every recipient was refused.", rejected=rejected)
    await admit(tx, len(planned))
    await cooldown.take(tx, caller.tenant_id, len(planned), at)
    await _count(tx, lease, len(planned), policy, at)
    # Leases are locked last: whoever waits for an allowance keeps no mailbox's mail waiting.
    own, verdicts = await _take(tx, lease, letter, routing.deliverable(planned, letter), mail, policy, at)
    places = routing.delivered(planned, verdicts)
    message_id, thread_id = await inside.keep_sent(tx, letter.content, letter.sender, own, letter.message, at)
    await inside.put(tx, mail, [each for each in verdicts.values() if isinstance(each, Slot)], at)
    if letter.send_at is None:
        await inside.put_in_house(tx, mail, list(sifted.errands.values()), at)
    await _enqueue(tx, caller, lease, letter, message_id, places, at)
    state = await settle(tx, letter.attempt_id, at)
    accepted = [each.addressee.address for each in places]
    return Submitted(letter.attempt_id, state, message_id, thread_id, accepted, rejected)


async def settle(tx: Tx, attempt_id: SendAttemptId, at: datetime) -> AttemptState:
    """Bring an attempt in line with its recipients and hops; to be called last by whoever changed one of them.

    Forgets the queue's copy once nobody is left to be tried. Tells `message.sent` once, when the first recipient's
    server or mailbox has the message, `message.delivered` for each that is known to have it in the mailbox, and
    `message.bounced` for each that it failed for or came back from; these count as the mailbox's bounces.

    The attempt stays locked until the caller commits. Returns its state; one that is gone counts as cancelled.
    """
    row = await attempts_store.lock(tx, attempt_id)
    if row is None:
        return "cancelled"
    states = await attempts_store.states(tx, attempt_id)
    state = attempt_state(states["recipients"], states["hops"])
    await attempts_store.settle(tx, attempt_id, state, states["recipients"], at)
    await _tell(tx, attempt_id, row, states["recipients"], at)
    if OPEN.isdisjoint(states["recipients"]):
        await attempts_store.drop_content(tx, attempt_id)
    return state


async def deliver_locally(
    tx: Tx, attempt_id: SendAttemptId, destination: str, policy: SendPolicy, at: datetime
) -> LocalOutcome:
    """Hand a local hop's message in to those of its recipients that are still to be tried, and write down what became
    of each. The caller holds the hop; it notes the try, says when the next one is, and settles the attempt."""
    waiting = await attempts_store.open_at(tx, attempt_id, destination)
    kept = await attempts_store.content(tx, attempt_id) if waiting else None
    if kept is None:
        return LocalOutcome(0, [])
    mail = _inside(attempt_id, kept["sender"], kept["content"], policy)
    boxes = {row["position"]: Mailbox.parse(row["address"]) for row in waiting}
    errands = {position: errand for position, box in boxes.items() if (errand := policy.errand(box)) is not None}
    await inside.put_in_house(tx, mail, list(errands.values()), at)
    leased = [box.address for position, box in boxes.items() if position not in errands]
    verdicts = await inside.deliver(tx, mail, leased, policy.leases, at)
    replies, still_open = [], 0
    for position, box in boxes.items():
        state, reply = ("delivered", TAKEN) if position in errands else _outcome(verdicts[box.address])
        await attempts_store.set_recipient(tx, attempt_id, position, state, reply, at)
        replies.append(reply)
        still_open += state in OPEN
    return LocalOutcome(still_open, replies)


async def complain(tx: Tx, tenant_id: TenantId, mailbox_id: MailboxId, people: int, at: datetime) -> None:
    """Count those who complained about a mailbox's mail."""
    await attempts_store.count_returns(tx, mailbox_id, tenant_id, at, 0, people)


def _inside(attempt_id: SendAttemptId, sender: str, content: bytes, policy: SendPolicy) -> InsideMail:
    return InsideMail(sender, policy.hostname, str(attempt_id), content)


async def _take(
    tx: Tx, lease: Lease, letter: Letter, boxes: Sequence[str], mail: InsideMail, policy: SendPolicy, at: datetime
) -> tuple[Slot, dict[str, Slot | Inbound]]:
    """Room for the author's copy and for each mailbox of ours that gets the message, under one lock of all leases."""
    sizes = [len(letter.content), *[len(mail.trace(at)) + len(letter.content)] * len(boxes)]
    wanted = [[letter.sender], *([box] for box in boxes)]
    if boxes:
        # The author's mailbox among them: leases are locked in one order.
        async with tx.across_tenants("a mail takes room in the mailboxes that get it, whoever's they are"):
            taken = await leases.take_mail(tx, wanted, sizes, policy.leases, at)
    else:
        taken = await leases.take_mail(tx, wanted, sizes, policy.leases, at)
    found = zip(boxes, taken[1:], strict=True)
    return _own(taken[0], lease), {box: each if isinstance(each, Inbound) else each[0] for box, each in found}


def _own(taken: Sequence[Slot] | Inbound, lease: Lease) -> Slot:
    """The author's slot, judged under the lock: the lease may have changed since it was looked at."""
    match taken:
        case Inbound.PAUSED:
            raise MailboxPaused("The mailbox is paused.")
        case Inbound.FROZEN:
            raise MailboxFrozen("The mailbox was frozen by an operator.")
        case Inbound.OVER_QUOTA:
            raise MailboxFull("The mailbox has no room for a copy of this message.")
        case Inbound.UNKNOWN:
            # Its address went to another tenant a moment ago, whose lease is not seen from here.
            raise LeaseEnded("The lease has ended.", lease_status="released")
        case Inbound():
            raise LeaseEnded("The lease has ended.", lease_status=lease.state)
    if taken[0].lease_id != lease.lease_id:
        # Its address went to a newer lease a moment ago; the rollback gives that one its room back.
        raise LeaseEnded("The lease has ended.", lease_status="released")
    return taken[0]


async def _count(tx: Tx, lease: Lease, recipients: int, policy: SendPolicy, at: datetime) -> None:
    fits = await attempts_store.count(tx, lease.mailbox_id, lease.tenant_id, at, recipients, policy.daily_limit)
    if fits:
        return
    rows = await attempts_store.counters(tx, lease.tenant_id, [lease.mailbox_id], at)
    limit = policy.daily_limit if not rows or rows[0]["daily_send_limit"] is None else rows[0]["daily_send_limit"]
    midnight = (at.astimezone(UTC) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    sent = rows[0]["sends_today"] if rows else 0
    if recipients > limit:
        raise DailyLimit(
            f"This mailbox may send to {limit} recipients a day; this message alone has {recipients}.",
            fix=f"Send to at most {limit} at once, or from another mailbox." if limit else "Send from another mailbox.",
            limit=limit,
            window="day",
            retry_at=None,
        )
    raise DailyLimit(
        f"This mailbox may send to {limit} recipients a day; {sent} are used up and this message has {recipients}.",
        retry_after_s=max(1, math.ceil((midnight - at).total_seconds())),
        limit=limit,
        window="day",
        retry_at=rfc3339(midnight),
    )


async def _enqueue(
    tx: Tx, caller: Caller, lease: Lease, letter: Letter, message_id: MessageId, places: Sequence[Place], at: datetime
) -> None:
    begins = letter.send_at or at
    hops = routing.hops(places, letter, at)
    await attempts_store.insert(
        tx,
        letter.attempt_id,
        lease.tenant_id,
        lease.mailbox_id,
        lease.lease_id,
        caller.actor,
        message_id,
        letter.message.header_message_id or "",
        letter.sender,
        letter.content,
        (begins, begins + EXPIRY, at),
        places,
        hops,
    )
    if hops:
        tx.wake(WAKE_QUEUE, "")


async def _tell(tx: Tx, attempt_id: SendAttemptId, row: Record, recipients: Sequence[str], at: datetime) -> None:
    facts = []
    if row["sent_at"] is None and not {"sent", "delivered"}.isdisjoint(recipients):
        facts.append(_fact(attempt_id, row, MESSAGE_SENT, {}, at))
    told = await attempts_store.tell(tx, attempt_id)
    for each in told:
        kind = MESSAGE_DELIVERED if each["state"] == "delivered" else MESSAGE_BOUNCED
        # What the other server wrote stays with the attempt: facts are sealed, and can never be forgotten.
        said = {"address": each["address"], "reply_code": each["reply_code"]}
        facts.append(_fact(attempt_id, row, kind, said, at))
    await append(tx, facts)
    bounces = sum(each["state"] != "delivered" for each in told)
    if bounces:
        mailbox_id, tenant_id = MailboxId.of(row["mailbox_id"]), TenantId.of(row["tenant_id"])
        await attempts_store.count_returns(tx, mailbox_id, tenant_id, at, bounces, 0)


def _fact(attempt_id: SendAttemptId, row: Record, kind: str, more: dict[str, Any], at: datetime) -> Fact:
    mailbox_id, lease_id = MailboxId.of(row["mailbox_id"]), LeaseId.of(row["lease_id"])
    payload = {
        "send_attempt_id": str(attempt_id),
        "message_id": str(MessageId.of(row["message_id"])),
        "mailbox_id": str(mailbox_id),
        "lease_id": str(lease_id),
        **more,
    }
    return Fact(TenantId.of(row["tenant_id"]), mailbox_id, lease_id, kind, payload, at)


def _outcome(verdict: Slot | Inbound) -> tuple[RecipientState, tuple[int, str]]:
    if isinstance(verdict, Slot):
        return "delivered", TAKEN
    return "failed" if verdict in REFUSALS else "deferred", REPLIES[verdict]
