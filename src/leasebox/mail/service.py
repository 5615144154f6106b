"""Verbs of mail coming in: turn a stored mail into messages; read, label and delete them."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from asyncpg import Record

from leasebox.audit.service import record
from leasebox.identity.model import Caller
from leasebox.infra.db import Tx
from leasebox.infra.facts_log import WAKE_NEW_FACTS, Fact, append
from leasebox.leases import service as leases
from leasebox.leases.model import Lease, LeasePolicy
from leasebox.mail import filing_store, reading_store, store, threads
from leasebox.mail.errors import MessageGone
from leasebox.mail.mime import ParsedMail
from leasebox.mail.model import LABELS, WAKE_MAILBOX, FreshMessage, PendingMail, Query, Recipient
from leasebox.mail.otp import Extraction
from leasebox.mail.threads_subject import answers
from leasebox.values.errors import NotFound, Unprocessable
from leasebox.values.facts import MESSAGE_RECEIVED, OTP_EXTRACTED
from leasebox.values.ids import LeaseId, MailboxId, MessageId, TenantId

CHECKING = {"spf": "pending", "dkim": "pending", "dmarc": "pending"}
# Of a mail that never left this instance: we let its author in ourselves and wrote its From, so nothing need be proved.
KNOWN = {"spf": "pass", "dkim": "pass", "dmarc": "pass"}
# Of what an author keeps of his own mail.
UNTOLD = {"spf": "none", "dkim": "none", "dmarc": "none"}


def fresh_message(
    mail: ParsedMail, extraction: Extraction, auth: dict[str, str], extracted: str | None = None
) -> FreshMessage:
    """What is stored of a parsed mail; extracted: the new part of its text, None for all of it. Pure."""
    found = extraction.otp_code is not None or extraction.verification_link is not None
    related = dict.fromkeys([*reversed(mail.references), *([mail.in_reply_to] if mail.in_reply_to else [])])
    return FreshMessage(
        parsed_status="failed" if mail.outcome == "failed" else "parsed" if found else "none",
        header_message_id=mail.message_id,
        related=tuple(related),
        sender=mail.sender,
        sender_name=mail.sender_name,
        sender_domain=mail.sender_domain.lower(),
        recipients=_addresses(mail.to),
        cc=_addresses(mail.cc),
        reply_to=_addresses(mail.reply_to),
        subject=mail.subject,
        preview=mail.preview,
        text=mail.text,
        html=mail.html,
        headers=[{"name": name, "value": value} for name, value in mail.headers],
        attachments=[msgspec.structs.asdict(each) for each in mail.attachments],
        extraction=msgspec.to_builtins(extraction),
        otp_code=extraction.otp_code,
        verification_link=extraction.verification_link,
        auth=auth,
        defects=mail.defects,
        extracted=extracted,
    )


async def publish(tx: Tx, mail: PendingMail, fresh: FreshMessage, at: datetime) -> bool:
    """Make the messages of a parsed mail visible together with their facts. False: another parser was quicker.

    A lease whose mail was erased meanwhile gets nothing; a mail that nobody gets is forgotten.
    """
    (first,) = await publish_all(tx, [(mail, fresh)], at)
    return first


async def publish_all(tx: Tx, parsed: Sequence[tuple[PendingMail, FreshMessage]], at: datetime) -> list[bool]:
    """The same for several mails, in their order; what each costs falls with their number."""
    ours = await store.finish_mails(tx, [mail.mail_id for mail, _ in parsed])
    fresh_ones = [(mail, fresh) for mail, fresh in parsed if mail.mail_id in ours]
    alive = await store.lock_unerased(tx, list({to.lease_id for mail, _ in fresh_ones for to in mail.recipients}))
    filed = [_Filing(mail, fresh, [to for to in mail.recipients if to.lease_id in alive]) for mail, fresh in fresh_ones]
    if orphans := [each.mail.mail_id for each in filed if not each.recipients]:
        await store.drop_orphans(tx, orphans)
    if wanted := [each for each in filed if each.recipients]:
        await _file(tx, wanted, at)
    return [mail.mail_id in ours for mail, _ in parsed]


async def publish_at_once(tx: Tx, parsed: Sequence[tuple[PendingMail, FreshMessage]], at: datetime) -> bool:
    """The same for mails that are all `plain`, in one statement: for `Database.at_once`. False: nothing was done, for
    one of them was published before, or a lease erased."""
    facts = [fact for mail, fresh in parsed for to in mail.recipients for fact in _facts(to, fresh, at)]
    if not await filing_store.file(tx, parsed, facts):
        return False
    for mailbox_id in {to.mailbox_id for mail, _ in parsed for to in mail.recipients}:
        tx.wake(WAKE_MAILBOX, str(mailbox_id))
    tx.wake(WAKE_NEW_FACTS, "")
    return True


def plain(parsed: Sequence[tuple[PendingMail, FreshMessage]]) -> list[bool]:
    """Which of some mails refer to no other mail, as nearly all do, and to none of those before them. Pure."""
    known: set[tuple[LeaseId, str | None]] = set()
    told = []
    for mail, fresh in parsed:
        names = {(to.lease_id, fresh.header_message_id) for to in mail.recipients}
        refers = bool(fresh.related) or answers(fresh.subject)
        is_plain = len(names) == len(mail.recipients) > 0 and not (refers or fresh.labels or names & known)
        if is_plain and fresh.header_message_id is not None:
            known |= names
        told.append(is_plain)
    return told


class _Filing(NamedTuple):
    """A parsed mail and those who get it."""

    mail: PendingMail
    fresh: FreshMessage
    recipients: list[Recipient]

    def letters(self) -> list[threads.Letter]:
        return [threads.letter_of(to.lease_id, self.fresh, self.mail.received_at) for to in self.recipients]


async def _file(tx: Tx, filings: Sequence[_Filing], at: datetime) -> None:
    await store.insert_bodies(tx, [(each.mail.mail_id, each.fresh) for each in filings])
    recipients = [to for each in filings for to in each.recipients]
    next_place = await store.next_places(tx, Counter(to.mailbox_id for to in recipients))
    turns = threads.turns([each.letters() for each in filings])
    for turn in range(max(turns) + 1):
        now = [each for each, its_turn in zip(filings, turns, strict=True) if its_turn == turn]
        thread_ids = await threads.place_all(tx, [letter for each in now for letter in each.letters()])
        pairs = [(each, to) for each in now for to in each.recipients]
        rows = []
        for (each, to), thread_id in zip(pairs, thread_ids, strict=True):
            place = next_place[to.mailbox_id]
            next_place[to.mailbox_id] = store.Place(place.seq + 1, place.uid + 1)
            rows.append((each.mail, to, place, thread_id, each.fresh))
        await store.insert_messages(tx, rows)
    for mailbox_id in next_place:
        tx.wake(WAKE_MAILBOX, str(mailbox_id))
    await append(tx, [fact for each in filings for to in each.recipients for fact in _facts(to, each.fresh, at)])


async def listed(tx: Tx, query: Query, below: object, limit: int) -> list[Record]:
    """Readable messages, newest first."""
    return await reading_store.listed(tx, query, below, limit)


async def place_after(
    tx: Tx, tenant_id: TenantId, mailbox_id: MailboxId, last: MessageId | None, since: datetime | None
) -> int:
    """Where a reader stands in a mailbox's order of visibility: behind `last`, at the beginning for a time, else at the
    end. A message that was deleted since has lost its place, so its reader begins anew rather than miss one."""
    if last is not None:
        return await reading_store.seq_of(tx, tenant_id, mailbox_id, last) or 0
    return 0 if since is not None else await reading_store.seq_now(tx, tenant_id, mailbox_id)


async def require_readable_mailbox(tx: Tx, caller: Caller, mailbox_id: MailboxId, at: datetime) -> Lease:
    """The mailbox's latest lease. Raises NotFound, MailboxPaused, MailboxFrozen; an ended lease may still be read."""
    lease = (await leases.get_mailbox(tx, caller, mailbox_id)).lease
    refusal = leases.reading_refusal(lease.state, lease.frozen_at, lease.expires_at, at)
    if refusal is not None:
        raise refusal
    return lease


async def get(tx: Tx, caller: Caller, message_id: MessageId, policy: LeasePolicy, at: datetime) -> Record:
    """One message with its body. Raises NotFound (also once its retention is over), MailboxPaused, MailboxFrozen."""
    return _require_readable(await reading_store.one(tx, caller.tenant_id, message_id), caller, policy, at)


async def get_raw(tx: Tx, caller: Caller, message_id: MessageId, policy: LeasePolicy, at: datetime) -> bytes:
    """The bytes of a message as received, after our own trace fields. Raises as `get` does."""
    _require_readable(await reading_store.head(tx, caller.tenant_id, message_id), caller, policy, at)
    raw = await reading_store.raw(tx, caller.tenant_id, message_id)
    if raw is None:
        raise MessageGone("No such message.")
    return raw


async def relabel(
    tx: Tx,
    caller: Caller,
    message_id: MessageId,
    added: Sequence[str],
    removed: Sequence[str],
    policy: LeasePolicy,
    at: datetime,
) -> list[str]:
    """Add and remove labels; the labels that stand then. Raises as `get` does, and Unprocessable for too many."""
    _require_readable(await reading_store.head(tx, caller.tenant_id, message_id), caller, policy, at)
    labels = await reading_store.label(tx, caller.tenant_id, message_id, added, removed)
    if labels is None:
        raise MessageGone("No such message.")
    if len(labels) > LABELS:
        raise Unprocessable(f"A message has at most {LABELS} labels.", fix="Remove labels that you no longer need.")
    return labels


async def delete(
    tx: Tx, caller: Caller, message_id: MessageId, policy: LeasePolicy, at: datetime, request_id: str
) -> None:
    """Erase one message and free its room in the lease's quota. Raises as `get` does."""
    _require_readable(await reading_store.head(tx, caller.tenant_id, message_id), caller, policy, at)
    row = await store.erase_one(tx, caller.tenant_id, message_id)
    if row is None:
        raise MessageGone("No such message.")
    await leases.give_back(tx, LeaseId.of(row["lease_id"]), row["size_bytes"])
    await record(tx, caller.act(at, request_id, "message.delete", str(message_id)))


async def erase_of_mailbox(tx: Tx, tenant_id: TenantId, mailbox_id: MailboxId) -> int:
    """Erase all mail of a mailbox; how many messages."""
    return await store.erase_of_mailbox(tx, tenant_id, mailbox_id)


async def erase_of_leases(tx: Tx, lease_ids: Sequence[LeaseId]) -> int:
    """Erase all mail of leases; how many messages."""
    return await store.erase_of_leases(tx, lease_ids)


def _require_readable(row: Record | None, caller: Caller, policy: LeasePolicy, at: datetime) -> Record:
    if row is None or row["expires_at"] <= at - policy.retention:
        raise NotFound("No such message.")
    caller.reach(MailboxId.of(row["mailbox_id"]))
    refusal = leases.reading_refusal(row["state"], row["frozen_at"], row["expires_at"], at)
    if refusal is not None:
        raise refusal
    return row


def _facts(to: Recipient, fresh: FreshMessage, at: datetime) -> list[Fact]:
    payload: dict[str, Any] = {
        "message_id": str(to.message_id),
        "mailbox_id": str(to.mailbox_id),
        "lease_id": str(to.lease_id),
        "parsed_status": fresh.parsed_status,
    }
    facts = [Fact(to.tenant_id, to.mailbox_id, to.lease_id, MESSAGE_RECEIVED, payload, at)]
    if fresh.otp_code is not None or fresh.verification_link is not None:
        facts.append(Fact(to.tenant_id, to.mailbox_id, to.lease_id, OTP_EXTRACTED, payload, at))
    return facts


def _addresses(found: Sequence[Any]) -> list[dict[str, str]]:
    return [{"name": each.name, "address": each.address} for each in found]
