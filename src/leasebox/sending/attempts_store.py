"""SQL of send attempts: making, settling, listing and cancelling them; a mailbox's counters.

Whoever changes several rows of an attempt locks them in one order: hop, recipients, attempt.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from asyncpg import Record

from leasebox.infra.db import Tx
from leasebox.sending.model import MAYBE, Place
from leasebox.values.ids import LeaseId, MailboxId, MessageId, SendAttemptId, TenantId

# Foreign keys are checked when the statement ends, so one can make all rows.
_INSERT = """
WITH attempt AS (
    INSERT INTO send_attempts (id, tenant_id, mailbox_id, lease_id, actor, message_id, header_message_id, sender, state,
                               size_bytes, send_at, expires_at, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'queued', $9, $10, $11, $12)
), recipients AS (
    INSERT INTO send_recipients (attempt_id, position, address, kind, destination, state, reply_code, reply_text, at)
    SELECT $1, position - 1, address, kind, destination, state, code, reply, $12
    FROM unnest($13::text[], $14::text[], $15::text[], $16::text[], $17::int[], $18::text[])
        WITH ORDINALITY AS t(address, kind, destination, state, code, reply, position)
), hops AS (
    INSERT INTO send_hops (attempt_id, destination, route, state, tries, next_try_at)
    SELECT $1, destination, route, 'waiting', 0, next_try_at
    FROM unnest($19::text[], $20::text[], $21::timestamptz[]) AS t(destination, route, next_try_at)
)
INSERT INTO outgoing_contents (attempt_id, content) SELECT $1, $22::bytea WHERE $22::bytea IS NOT NULL
"""
_COUNT = """
INSERT INTO mailbox_sends AS s (mailbox_id, tenant_id, day, sends_today, total_sent, bounce_count, complaint_count)
SELECT $1, $2, ($3::timestamptz AT TIME ZONE 'UTC')::date, $4::int, $4, 0, 0
WHERE $4 <= $5::int OR EXISTS (SELECT FROM mailbox_sends WHERE mailbox_id = $1)
ON CONFLICT (mailbox_id) DO UPDATE SET
    sends_today = CASE WHEN s.day < excluded.day THEN 0 ELSE s.sends_today END + $4,
    day = greatest(s.day, excluded.day), total_sent = s.total_sent + $4
WHERE CASE WHEN s.day < excluded.day THEN 0 ELSE s.sends_today END + $4 <= coalesce(s.daily_send_limit, $5)
RETURNING sends_today
"""
_COUNTERS = """
SELECT mailbox_id, daily_send_limit, total_sent, bounce_count, complaint_count,
       CASE WHEN day < ($3::timestamptz AT TIME ZONE 'UTC')::date THEN 0 ELSE sends_today END AS sends_today
FROM mailbox_sends WHERE tenant_id = $1 AND mailbox_id = ANY ($2)
"""
_COUNT_RETURN = """
INSERT INTO mailbox_sends AS s (mailbox_id, tenant_id, day, sends_today, total_sent, bounce_count, complaint_count)
VALUES ($1, $2, ($3::timestamptz AT TIME ZONE 'UTC')::date, 0, 0, $4, $5)
ON CONFLICT (mailbox_id) DO UPDATE SET
    bounce_count = s.bounce_count + excluded.bounce_count,
    complaint_count = s.complaint_count + excluded.complaint_count
"""
_SET_LIMIT = """
INSERT INTO mailbox_sends AS s (mailbox_id, tenant_id, daily_send_limit, day, sends_today, total_sent, bounce_count,
                                complaint_count)
SELECT id, tenant_id, $2, ($3::timestamptz AT TIME ZONE 'UTC')::date, 0, 0, 0, 0 FROM mailboxes WHERE id = $1
ON CONFLICT (mailbox_id) DO UPDATE SET daily_send_limit = excluded.daily_send_limit
RETURNING tenant_id
"""


async def insert(
    tx: Tx,
    attempt_id: SendAttemptId,
    tenant_id: TenantId,
    mailbox_id: MailboxId,
    lease_id: LeaseId,
    actor: str,
    message_id: MessageId,
    header_message_id: str,
    sender: str,
    content: bytes,
    times: tuple[datetime, datetime, datetime],
    places: Sequence[Place],
    hops: Sequence[tuple[str, str, datetime]],
) -> None:
    """A new attempt. times: when it goes out, when it is given up, when it was made. hops: destination, route, when."""
    await tx.run(
        _INSERT,
        attempt_id,
        tenant_id,
        mailbox_id,
        lease_id,
        actor,
        message_id,
        header_message_id,
        sender,
        len(content),
        *times,
        [each.addressee.address for each in places],
        [each.kind for each in places],
        [each.addressee.destination for each in places],
        [each.state for each in places],
        [each.reply[0] if each.reply else None for each in places],
        [each.reply[1] if each.reply else None for each in places],
        [hop[0] for hop in hops],
        [hop[1] for hop in hops],
        [hop[2] for hop in hops],
        content if hops else None,
    )


async def count(tx: Tx, mailbox_id: MailboxId, tenant_id: TenantId, at: datetime, recipients: int, limit: int) -> bool:
    """Count a message's recipients against the mailbox's day, all or none; False: they do not fit any more."""
    return await tx.value(_COUNT, mailbox_id, tenant_id, at, recipients, limit) is not None


async def counters(tx: Tx, tenant_id: TenantId, mailbox_ids: Sequence[MailboxId], at: datetime) -> list[Record]:
    """The counters of those mailboxes that have any."""
    return await tx.all(_COUNTERS, tenant_id, mailbox_ids, at)


async def count_returns(
    tx: Tx, mailbox_id: MailboxId, tenant_id: TenantId, at: datetime, bounces: int, complaints: int
) -> None:
    await tx.run(_COUNT_RETURN, mailbox_id, tenant_id, at, bounces, complaints)


async def set_limit(tx: Tx, mailbox_id: MailboxId, limit: int | None, at: datetime) -> UUID | None:
    """The tenant of the mailbox; None: there is no such mailbox."""
    found: UUID | None = await tx.value(_SET_LIMIT, mailbox_id, limit, at)
    return found


_LOCK = """
SELECT tenant_id, mailbox_id, lease_id, message_id, state, sent_at FROM send_attempts WHERE id = $1 FOR UPDATE
"""
_STATES = """
SELECT ARRAY(SELECT DISTINCT state FROM send_recipients WHERE attempt_id = $1) AS recipients,
       ARRAY(SELECT DISTINCT state FROM send_hops WHERE attempt_id = $1) AS hops
"""
_SETTLE = """
UPDATE send_attempts SET state = $2,
    sent_at = coalesce(sent_at, CASE WHEN $3::text[] && ARRAY['sent', 'delivered'] THEN $4::timestamptz END),
    finished_at = coalesce(finished_at, CASE WHEN $2 IN ('sent', 'failed', 'cancelled') THEN $4 END)
WHERE id = $1
"""
_TELL = """
UPDATE send_recipients SET told = state
WHERE attempt_id = $1 AND state IN ('delivered', 'failed', 'bounced') AND told IS DISTINCT FROM state
RETURNING position, address, state, reply_code, reply_text, at
"""
_DROP_CONTENT = "DELETE FROM outgoing_contents WHERE attempt_id = $1"
_CONTENT = """
SELECT a.sender, c.content FROM send_attempts a JOIN outgoing_contents c ON c.attempt_id = a.id WHERE a.id = $1
"""
_OPEN_AT = """
SELECT position, address FROM send_recipients
WHERE attempt_id = $1 AND destination = $2 AND state IN ('queued', 'deferred') ORDER BY position
"""
_SET_RECIPIENT = """
UPDATE send_recipients SET state = $3, reply_code = $4, reply_text = $5, at = $6
WHERE attempt_id = $1 AND position = $2
"""


async def lock(tx: Tx, attempt_id: SendAttemptId) -> Record | None:
    """An attempt whose row stays ours until we commit."""
    return await tx.one(_LOCK, attempt_id)


async def states(tx: Tx, attempt_id: SendAttemptId) -> Record:
    """The states of its recipients and hops. For a statement after `lock`, so that it sees what others committed."""
    row = await tx.one(_STATES, attempt_id)
    assert row is not None
    return row


async def settle(tx: Tx, attempt_id: SendAttemptId, state: str, recipients: Sequence[str], at: datetime) -> None:
    await tx.run(_SETTLE, attempt_id, state, recipients, at)


async def tell(tx: Tx, attempt_id: SendAttemptId) -> list[Record]:
    """Recipients that came to a state worth a fact since the last time, each once."""
    return sorted(await tx.all(_TELL, attempt_id), key=lambda row: int(row["position"]))


async def drop_content(tx: Tx, attempt_id: SendAttemptId) -> None:
    await tx.run(_DROP_CONTENT, attempt_id)


async def open_at(tx: Tx, attempt_id: SendAttemptId, destination: str) -> list[Record]:
    """The recipients of a hop that are still to be tried."""
    return await tx.all(_OPEN_AT, attempt_id, destination)


async def content(tx: Tx, attempt_id: SendAttemptId) -> Record | None:
    """The sender and the message; None once the attempt is over."""
    return await tx.one(_CONTENT, attempt_id)


async def set_recipient(
    tx: Tx, attempt_id: SendAttemptId, position: int, state: str, reply: tuple[int, str] | None, at: datetime
) -> None:
    code, text = reply or (None, None)
    await tx.run(_SET_RECIPIENT, attempt_id, position, state, code, text, at)


_SHOWN = """
SELECT a.id, a.tenant_id, a.mailbox_id, a.lease_id, a.actor, a.message_id, a.header_message_id, a.sender, a.state,
       a.size_bytes, a.send_at, a.expires_at, a.created_at, a.sent_at, a.finished_at,
       (SELECT count(*) FROM send_recipients r WHERE r.attempt_id = a.id) AS recipient_count
FROM send_attempts a
"""
_NARROWED = """
($2::uuid[] IS NULL OR a.mailbox_id = ANY ($2)) AND ($3::text IS NULL OR a.state = $3)
  AND ($4::uuid IS NULL OR a.id < $4)
ORDER BY a.id DESC LIMIT $5
"""
# OFFSET keeps the planner from looking for the tenant's among everybody's, the newest first.
_LISTED = f"""{_SHOWN} JOIN (
    SELECT id FROM send_attempts WHERE tenant_id = $1 AND ($2::uuid[] IS NULL OR mailbox_id = ANY ($2))
        AND ($4::uuid IS NULL OR id < $4)
    ORDER BY id DESC OFFSET 0
) AS own ON own.id = a.id WHERE {_NARROWED}"""
_SEARCH = f"{_SHOWN} WHERE ($1::uuid IS NULL OR a.tenant_id = $1) AND {_NARROWED}"
_ONE = f"{_SHOWN} WHERE a.tenant_id = $1 AND a.id = $2"
_ANY = f"{_SHOWN} WHERE a.id = $1"
_RECIPIENTS = """
SELECT address, kind, destination, state, reply_code, reply_text, at FROM send_recipients
WHERE attempt_id = $1 ORDER BY position
"""
_HOPS = """
SELECT destination, route, state, tries, next_try_at FROM send_hops WHERE attempt_id = $1 ORDER BY destination
"""
_TRIES = """
SELECT destination, number, began_at, ended_at, remote, outcome, replies FROM send_tries
WHERE attempt_id = $1 ORDER BY destination, number
"""
# Those that may have reached a recipient `r`: cut off after the mail's end, its last word on him no refusal.
TRIES_IN_DOUBT = """
SELECT FROM send_tries
WHERE attempt_id = r.attempt_id AND destination = r.destination AND outcome = 'unknown' AND NOT coalesce((
    SELECT (said ->> 'code')::int >= 400 FROM jsonb_array_elements(replies) WITH ORDINALITY AS s(said, place)
    WHERE said ->> 'command' = 'RCPT ' || r.address ORDER BY place DESC LIMIT 1), false)
"""
_OPEN_OF_MAILBOX = """
SELECT id FROM send_attempts WHERE tenant_id = $1 AND mailbox_id = $2 AND finished_at IS NULL
"""
_CANCEL_HOPS = """
UPDATE send_hops SET state = 'done', claim = NULL, claimed_until = NULL
WHERE attempt_id = ANY ($1) AND state IN ('waiting', 'claimed') RETURNING attempt_id, destination
"""
_CANCEL_RECIPIENTS = f"""
UPDATE send_recipients r SET state = 'cancelled', at = $3,
    reply_code = CASE WHEN EXISTS ({TRIES_IN_DOUBT}) THEN NULL ELSE reply_code END,
    reply_text = CASE WHEN EXISTS ({TRIES_IN_DOUBT}) THEN $4 ELSE reply_text END
FROM unnest($1::uuid[], $2::text[]) AS hop(attempt_id, destination)
WHERE r.attempt_id = hop.attempt_id AND r.destination = hop.destination AND r.state IN ('queued', 'deferred')
"""
_LOCK_ALL = "SELECT FROM send_attempts WHERE id = ANY ($1) ORDER BY id FOR UPDATE"
# As `model.attempt_state` has it for attempts of which nobody is left to be tried.
_CLOSE = """
UPDATE send_attempts a SET finished_at = coalesce(finished_at, $2),
    state = CASE WHEN states && ARRAY['sent', 'delivered'] THEN 'sent' WHEN states && ARRAY['failed', 'bounced']
                 THEN 'failed' ELSE 'cancelled' END
FROM (SELECT attempt_id, array_agg(state) AS states FROM send_recipients WHERE attempt_id = ANY ($1)
      GROUP BY attempt_id) AS r
WHERE a.id = r.attempt_id AND NOT states && ARRAY['queued', 'deferred']
"""
_DROP_CONTENTS = "DELETE FROM outgoing_contents WHERE attempt_id = ANY ($1)"


async def listed(
    tx: Tx, tenant_id: TenantId, within: Sequence[MailboxId] | None, state: str | None, below: object, limit: int
) -> list[Record]:
    """A tenant's attempts, newest first."""
    return await tx.all(_LISTED, tenant_id, within, state, below, limit)


async def search(
    tx: Tx,
    tenant_id: TenantId | None,
    within: Sequence[MailboxId] | None,
    state: str | None,
    below: object,
    limit: int,
) -> list[Record]:
    """The same for operators; of all tenants where none is given."""
    return await tx.all(_SEARCH, tenant_id, within, state, below, limit)


async def one(tx: Tx, tenant_id: TenantId, attempt_id: SendAttemptId) -> Record | None:
    return await tx.one(_ONE, tenant_id, attempt_id)


async def find_any(tx: Tx, attempt_id: SendAttemptId) -> Record | None:
    """An attempt of whichever tenant: for operators."""
    return await tx.one(_ANY, attempt_id)


async def recipients(tx: Tx, attempt_id: SendAttemptId) -> list[Record]:
    return await tx.all(_RECIPIENTS, attempt_id)


async def hops(tx: Tx, attempt_id: SendAttemptId) -> list[Record]:
    return await tx.all(_HOPS, attempt_id)


async def tries(tx: Tx, attempt_id: SendAttemptId) -> list[Record]:
    return await tx.all(_TRIES, attempt_id)


async def cancel(tx: Tx, attempt_id: SendAttemptId, at: datetime) -> int:
    """Take back what no worker is handing over; how many recipients that were."""
    return await _cancel(tx, [attempt_id], at)


async def cancel_of_mailbox(tx: Tx, tenant_id: TenantId, mailbox_id: MailboxId, at: datetime) -> None:
    """The same for all that a mailbox sends, and forget the queue's copies of it, also of what is being handed over."""
    found = [row["id"] for row in await tx.all(_OPEN_OF_MAILBOX, tenant_id, mailbox_id)]
    if not found:
        return
    await _cancel(tx, found, at)
    # Locked by a statement of its own, so that the next one sees what became of the recipients meanwhile.
    await tx.run(_LOCK_ALL, found)
    await tx.run(_CLOSE, found, at)
    await tx.run(_DROP_CONTENTS, found)


async def cancel_left(tx: Tx, attempt_id: SendAttemptId, destination: str, at: datetime) -> None:
    """Take back whoever of a hop that is over still waits."""
    await tx.run(_CANCEL_RECIPIENTS, [attempt_id], [destination], at, MAYBE)


async def _cancel(tx: Tx, attempt_ids: Sequence[UUID], at: datetime) -> int:
    taken = await tx.all(_CANCEL_HOPS, attempt_ids)
    if not taken:
        return 0
    places = [row["attempt_id"] for row in taken], [row["destination"] for row in taken]
    return await tx.run(_CANCEL_RECIPIENTS, *places, at, MAYBE)
