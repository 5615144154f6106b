"""Threads: which one a mail belongs to, in both directions; reading and labelling whole threads.

A mail joins the thread that its References and In-Reply-To name (RFC 5322 §3.6.4), also when it came before what it
answers. Programs and relays lose these fields or rewrite message ids, so an answer that names nothing known joins the
newest thread with its subject, if that is at most SUBJECT_SPAN old and one of those it is from (outbound: to) took part
in it: strangers who send the same subject stay apart. Threads never reach over mailboxes or leases.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final
from uuid import UUID

import msgspec
from asyncpg import Record

from leasebox.identity.model import Caller
from leasebox.infra.db import Tx
from leasebox.leases import service as leases
from leasebox.leases.model import LeasePolicy
from leasebox.mail import store, threads_store
from leasebox.mail.model import LABELS, FreshMessage, Query
from leasebox.mail.threads_subject import answers, subject_key
from leasebox.values.errors import NotFound, Unprocessable
from leasebox.values.ids import LeaseId, MailboxId, MessageId, TenantId, ThreadId

SUBJECT_SPAN: Final = timedelta(days=7)
EXTRACT_CHARS: Final = 10_000
"""Characters of each message's new text that a thread shows."""
# The nearest ones and the root: a hundred of a long thread would cost a hundred rows and join nothing more.
_NEAREST = 9
# No message id: those have no blanks.
_ANSWER = " "


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """What decides a mail's thread. related: message ids it refers to, the nearest first.

    people: addresses that must have taken part for the subject to count: the sender of what came in, the recipients of
    what goes out.
    """

    lease_id: LeaseId
    at: datetime
    message_id: str | None
    related: tuple[str, ...]
    subject: str
    people: tuple[str, ...]


def letter_of(lease_id: LeaseId, fresh: FreshMessage, at: datetime) -> Letter:
    """What decides the thread of a message that is about to be stored. Pure."""
    to = (each["address"] for each in (*fresh.recipients, *fresh.cc))
    return Letter(
        lease_id=lease_id,
        at=at,
        message_id=fresh.header_message_id,
        related=fresh.related,
        subject=fresh.subject,
        people=(fresh.sender,) if fresh.direction == "inbound" else tuple(to),
    )


class Summary(msgspec.Struct, frozen=True):
    """A thread as lists show it. place: the message that decides where it stands in them."""

    place: UUID
    row: Record
    people: tuple[Record, ...]


async def place(tx: Tx, letter: Letter) -> ThreadId:
    """The thread of a new mail, perhaps a new one. The mailbox must be locked (`store.next_places`), so that of two
    mails of one thread that come at once the second sees the first."""
    (thread_id,) = await place_all(tx, [letter])
    return thread_id


async def place_all(tx: Tx, letters: Sequence[Letter]) -> list[ThreadId]:
    """The same for mails of one turn (`turns`)."""
    near = [[hashed(each) for each in _near(letter)] for letter in letters]
    numbered = list(enumerate(letters))
    found = await store.find_threads(tx, [(n, each.lease_id, name) for n, each in numbered for name in _named(each)])
    asked = [(n, each.lease_id, one) for n, each in numbered if n not in found for one in _sought(each, near[n])]
    found |= await threads_store.find_referenced(tx, asked)
    for n, letter in numbered:
        if n not in found:
            found[n] = await _same_subject(tx, letter) or ThreadId.new(letter.at)
    known = [(each.lease_id, one, found[n]) for n, each in numbered for one in near[n]]
    await threads_store.remember(tx, known)
    return [found[n] for n, _ in numbered]


def turns(mails: Sequence[Sequence[Letter]]) -> list[int]:
    """When to place each of some mails, given by its letters: those of one turn belong to nobody's thread among them,
    and a mailbox's mails keep their order. Nearly always all have the first turn, 0. Pure."""
    last: dict[LeaseId, int] = {}
    known: set[tuple[LeaseId, int, str | None]] = set()
    given = []
    for letters in mails:
        turn = max((last.get(each.lease_id, 0) for each in letters), default=0)
        # Whatever answers something has its lease for itself in a turn: what it belongs to may be any other mail.
        names = {each: _ANSWER if each.related or answers(each.subject) else each.message_id for each in letters}
        turn += any(
            last.get(each.lease_id) == turn
            and (name == _ANSWER or not known.isdisjoint({(each.lease_id, turn, _ANSWER), (each.lease_id, turn, name)}))
            for each, name in names.items()
        )
        for each, name in names.items():
            last[each.lease_id] = turn
            if name is not None:
                known.add((each.lease_id, turn, name))
        given.append(turn)
    return given


async def listed(tx: Tx, query: Query, below: UUID | None, upto: UUID | None, limit: int) -> list[Summary]:
    """Readable threads, the one with the newest message first; messages after `upto` do not move a thread."""
    heads = await threads_store.listed(tx, query, below, upto, limit)
    return await _summaries(tx, query.tenant_id, {ThreadId.of(each["thread_id"]): each["id"] for each in heads})


async def get(tx: Tx, caller: Caller, thread_id: ThreadId, policy: LeasePolicy, at: datetime) -> Summary:
    """One thread. Raises NotFound (also once its retention is over), MailboxPaused, MailboxFrozen."""
    newest = await _newest(tx, caller, thread_id, policy, at)
    found = await _summaries(tx, caller.tenant_id, {thread_id: newest})
    if not found:
        raise NotFound("No such thread.")
    return found[0]


async def messages_of(tx: Tx, caller: Caller, thread_id: ThreadId, after: MessageId | None, limit: int) -> list[Record]:
    """A thread's messages, oldest first, with up to EXTRACT_CHARS of each one's new text."""
    return await threads_store.messages_of(tx, caller.tenant_id, thread_id, after, limit, EXTRACT_CHARS)


async def relabel(
    tx: Tx,
    caller: Caller,
    thread_id: ThreadId,
    added: Sequence[str],
    removed: Sequence[str],
    policy: LeasePolicy,
    at: datetime,
) -> Summary:
    """Add labels to every message of a thread and remove others. Raises as `get` does, and Unprocessable for too many.

    A message that comes afterwards has its own labels.
    """
    await _newest(tx, caller, thread_id, policy, at)
    most = await threads_store.label(tx, caller.tenant_id, thread_id, added, removed)
    if most is not None and most > LABELS:
        raise Unprocessable(f"A message has at most {LABELS} labels.", fix="Remove labels that you no longer need.")
    return await get(tx, caller, thread_id, policy, at)


def _named(letter: Letter) -> list[str]:
    """What it answers, and itself: a mail to oneself is in the mailbox twice, and both belong together."""
    return [*letter.related, *([letter.message_id] if letter.message_id else [])]


def _near(letter: Letter) -> list[str]:
    return [*letter.related[:_NEAREST], *letter.related[_NEAREST:][-1:]]


def _sought(letter: Letter, near: Sequence[bytes]) -> list[bytes]:
    return [*near, *([hashed(letter.message_id)] if letter.message_id else [])]


async def _same_subject(tx: Tx, letter: Letter) -> ThreadId | None:
    key = subject_key(letter.subject) if answers(letter.subject) else None
    people = [each.lower() for each in letter.people if each]
    if key is None or not people:
        return None
    return await threads_store.find_same_subject(tx, letter.lease_id, key, letter.at - SUBJECT_SPAN, people)


async def _summaries(tx: Tx, tenant_id: TenantId, wanted: Mapping[ThreadId, UUID]) -> list[Summary]:
    if not wanted:
        return []
    rows = await threads_store.summaries(tx, tenant_id, list(wanted))
    people = await threads_store.participants(tx, tenant_id, list(wanted))
    return [Summary(place, rows[each], tuple(people.get(each, ()))) for each, place in wanted.items() if each in rows]


async def _newest(tx: Tx, caller: Caller, thread_id: ThreadId, policy: LeasePolicy, at: datetime) -> UUID:
    """The newest message of a thread that the caller may read."""
    row = await threads_store.head(tx, caller.tenant_id, thread_id)
    if row is None or row["expires_at"] <= at - policy.retention:
        raise NotFound("No such thread.")
    caller.reach(MailboxId.of(row["mailbox_id"]))
    refusal = leases.reading_refusal(row["state"], row["frozen_at"], row["expires_at"], at)
    if refusal is not None:
        raise refusal
    return MessageId.of(row["id"])


def hashed(message_id: str) -> bytes:
    """A message id as threads remember it."""
    return blake2b(message_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
