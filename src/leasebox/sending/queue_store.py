"""SQL of the queue: claiming hops that are due, beginning to hand them over, writing down what became of them.

The rows of `send_hops` are the queue themselves, not jobs of a queueing library beside them: their states and replies
are what users are shown, handing in is a plain insert in the caller's transaction, and cancelling, fairness and the
caps per destination are conditions on the same rows.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from asyncpg import Record

from leasebox.infra.db import Tx
from leasebox.sending.attempts_store import TRIES_IN_DOUBT
from leasebox.sending.queue_model import Cargo, Claimed, Depth, Hop, Line
from leasebox.values.ids import LeaseId, SendAttemptId, TenantId

SCANNED: Final = 500
"""Destinations looked at by one claim."""
_TURNSTILE: Final = 0x6C62_7175_6575_6531  # any number that no other lock of this database has
_QUEUE_UP = "SELECT pg_advisory_xact_lock($1)"
# Destination after destination by the index, whatever many hops each has: the flood for one never hides the others.
_CLAIM = """
WITH RECURSIVE busy AS (
    SELECT destination, count(*) AS hops FROM send_hops
    WHERE state IN ('claimed', 'handing_over') AND claimed_until > $1 GROUP BY destination
), around AS (
    SELECT 1 AS seen, (SELECT min(destination) FROM send_hops WHERE state <> 'done' AND destination > $2) AS destination
    UNION ALL
    SELECT seen + 1,
        (SELECT min(h.destination) FROM send_hops h WHERE h.state <> 'done' AND h.destination > a.destination)
    FROM around a WHERE a.destination IS NOT NULL AND seen < $3
), due AS (
    SELECT h.attempt_id, h.destination, h.state FROM around a CROSS JOIN LATERAL (
        SELECT attempt_id, destination, state FROM send_hops
        WHERE state <> 'done' AND destination = a.destination AND next_try_at <= $1
            AND (state = 'waiting' OR claimed_until <= $1 AND claim <> ALL ($4::uuid[]))
        ORDER BY next_try_at
        LIMIT greatest(0, $5 - coalesce((SELECT hops FROM busy WHERE busy.destination = a.destination), 0))
        FOR UPDATE SKIP LOCKED
    ) h LIMIT $6
), taken AS (
    UPDATE send_hops h SET state = 'claimed', claim = gen_random_uuid(), claimed_until = $7,
        tries = h.tries + CASE due.state WHEN 'handing_over' THEN 1 ELSE 0 END
    FROM due WHERE h.attempt_id = due.attempt_id AND h.destination = due.destination
    RETURNING h.attempt_id, h.destination, h.route, h.tries, h.claim, due.state AS was
)
SELECT t.*, a.size_bytes, a.expires_at, (SELECT max(destination) FROM around WHERE seen = $3) AS scanned_to
FROM (SELECT) AS once LEFT JOIN taken t ON true LEFT JOIN send_attempts a ON a.id = t.attempt_id ORDER BY t.destination
"""
_SENDING = "UPDATE send_attempts SET state = 'sending' WHERE id = ANY ($1) AND state IN ('queued', 'deferred')"
_LAST_SEEN = """
UPDATE send_tries SET ended_at = $4 WHERE attempt_id = $1 AND destination = $2 AND number = $3 AND ended_at IS NULL
"""
# A lease's end that came early lies before a moment that was to be within it. What went out at once has a send_at of
# created_at; should another process's clock lag, that is no reason to stop it.
_CARGO = """
SELECT a.tenant_id, a.lease_id, a.header_message_id, a.sender, a.created_at, c.content,
       CASE WHEN m.erased_at IS NOT NULL OR a.send_at > greatest(l.expires_at, a.created_at) THEN 'ended'
            WHEN m.domain <> ALL ($3) AND NOT EXISTS (SELECT FROM domains d WHERE d.name = m.domain
                AND d.state = 'verified' AND d.tenant_id = a.tenant_id) THEN 'domain'
            WHEN t.status <> 'active' THEN 'tenant'
            WHEN l.frozen_at IS NOT NULL THEN 'mailbox'
            WHEN l.state = 'paused' AND l.expires_at > $4 THEN 'paused' END AS stopped,
       ARRAY(SELECT position FROM send_recipients r WHERE r.attempt_id = a.id AND r.destination = $2
             AND r.state IN ('queued', 'deferred') ORDER BY position) AS positions,
       ARRAY(SELECT address FROM send_recipients r WHERE r.attempt_id = a.id AND r.destination = $2
             AND r.state IN ('queued', 'deferred') ORDER BY position) AS addresses
FROM send_attempts a JOIN outgoing_contents c ON c.attempt_id = a.id
JOIN tenants t ON t.id = a.tenant_id JOIN leases l ON l.id = a.lease_id JOIN mailboxes m ON m.id = a.mailbox_id
WHERE a.id = $1
"""
_BEGIN = """
WITH mine AS (
    UPDATE send_hops SET state = 'handing_over', claimed_until = $4
    WHERE attempt_id = $1 AND destination = $2 AND claim = $3 AND state IN ('claimed', 'handing_over')
    RETURNING attempt_id, destination
)
INSERT INTO send_tries (attempt_id, destination, number, began_at, remote, outcome, replies)
SELECT attempt_id, destination, $5, $6, $7, 'unknown', $8 FROM mine
ON CONFLICT (attempt_id, destination, number) DO UPDATE SET remote = excluded.remote, replies = excluded.replies
"""
_END_TRY = """
INSERT INTO send_tries (attempt_id, destination, number, began_at, ended_at, remote, outcome, replies)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (attempt_id, destination, number)
DO UPDATE SET ended_at = excluded.ended_at, remote = excluded.remote, outcome = excluded.outcome,
    replies = excluded.replies
"""
# The hop first, then what hangs on it. What was taken is written down even if the claim has run out meanwhile ($7);
# else, without the claim, only the try and who has the mail.
_SETTLE = """
WITH hop AS (
    UPDATE send_hops SET state = $4, tries = greatest(tries, $5), next_try_at = coalesce($6, next_try_at), claim = NULL,
        claimed_until = NULL
    WHERE attempt_id = $1 AND destination = $2 AND state <> 'done' AND (claim = $3 OR $7)
    RETURNING state
), try AS (
    INSERT INTO send_tries (attempt_id, destination, number, began_at, ended_at, remote, outcome, replies)
    VALUES ($1, $2, $5, $8, $9, $10, $11, $12)
    ON CONFLICT (attempt_id, destination, number)
    DO UPDATE SET ended_at = excluded.ended_at, remote = excluded.remote, outcome = excluded.outcome,
        replies = excluded.replies
), noted AS (
    UPDATE send_recipients r SET state = t.state, reply_code = t.code, reply_text = t.text, at = $9
    FROM unnest($13::int[], $14::text[], $15::int[], $16::text[]) AS t(position, state, code, text)
    WHERE r.attempt_id = $1 AND r.position = t.position AND r.state IN ('queued', 'deferred')
        AND (t.state = 'sent' OR EXISTS (SELECT FROM hop))
)
SELECT EXISTS (SELECT FROM hop)
"""
_CLOSE = """
UPDATE send_hops SET state = 'done', tries = greatest(tries, $4), claim = NULL, claimed_until = NULL
WHERE attempt_id = $1 AND destination = $2 AND state <> 'done' AND claim = $3
"""
_PUT_OFF = """
UPDATE send_hops SET state = 'waiting', tries = greatest(tries, $4), next_try_at = $5, claim = NULL,
    claimed_until = NULL
WHERE attempt_id = $1 AND destination = $2 AND claim = $3 AND state IN ('claimed', 'handing_over')
"""
_RECIPIENTS = """
UPDATE send_recipients r SET state = t.state, reply_code = t.code, reply_text = t.text, at = $2
FROM unnest($3::int[], $4::text[], $5::int[], $6::text[]) AS t(position, state, code, text)
WHERE r.attempt_id = $1 AND r.position = t.position AND r.state IN ('queued', 'deferred')
"""
_HOLD = """
SELECT true FROM send_hops WHERE attempt_id = $1 AND destination = $2 AND claim = $3 AND state = 'claimed' FOR UPDATE
"""
_IN_DOUBT = f"""
SELECT position FROM send_recipients r
WHERE attempt_id = $1 AND destination = $2 AND state IN ('queued', 'deferred')
    AND EXISTS ({TRIES_IN_DOUBT} AND number <> $3)
"""
_FAILED_AT = """
SELECT position, address, reply_code, reply_text FROM send_recipients
WHERE attempt_id = $1 AND destination = $2 AND state = 'failed' AND at = $3 ORDER BY position
"""
_RELEASE = """
UPDATE send_hops SET state = 'waiting', claim = NULL, claimed_until = NULL
WHERE attempt_id = $1 AND destination = $2 AND claim = $3 AND state = 'claimed'
"""
_EXTEND = """
UPDATE send_hops h SET claimed_until = $4
FROM unnest($1::uuid[], $2::text[], $3::uuid[]) AS t(attempt_id, destination, claim)
WHERE h.attempt_id = t.attempt_id AND h.destination = t.destination AND h.claim = t.claim
    AND h.state IN ('claimed', 'handing_over')
"""
_DEPTH = """
SELECT count(*) FILTER (WHERE state = 'waiting') AS waiting,
       count(*) FILTER (WHERE state <> 'waiting') AS under_way,
       min(next_try_at) FILTER (WHERE next_try_at <= $1) AS oldest
FROM send_hops WHERE state <> 'done'
"""


async def claim(
    tx: Tx,
    at: datetime,
    until: datetime,
    *,
    after: str,
    live: Sequence[UUID],
    per_destination: int,
    places: int,
    scanned: int = SCANNED,
) -> Claimed:
    """Take up to `places` hops that are due, for the destinations that come after `after` in the alphabet.

    No more than `per_destination` hops of one are ever under way, in all processes together: claims pass one by one.
    live: claims of ours, which are not taken for dead however late we are in extending them.
    """
    await tx.value(_QUEUE_UP, _TURNSTILE)
    rows = await tx.all(_CLAIM, at, after, scanned, live, per_destination, places, until)
    hops = tuple(_hop(row) for row in rows if row["attempt_id"] is not None)
    await tx.run(_SENDING, sorted({hop.attempt_id for hop in hops}))
    for hop in hops:
        if hop.left_in == "handing_over":
            await last_seen(tx, hop, hop.number - 1, at)
    return Claimed(hops, hops[-1].destination if len(hops) == places else rows[0]["scanned_to"])


async def cargo(tx: Tx, hop: Hop, own: Sequence[str], at: datetime) -> Cargo | None:
    """What a hop carries; None where its attempt is over. own: the instance's own domains."""
    row = await tx.one(_CARGO, hop.attempt_id, hop.destination, own, at)
    if row is None:
        return None
    return Cargo(
        TenantId.of(row["tenant_id"]),
        LeaseId.of(row["lease_id"]),
        row["header_message_id"],
        row["sender"],
        row["created_at"],
        row["content"],
        tuple(zip(row["positions"], row["addresses"], strict=True)),
        row["stopped"],
    )


async def begin(
    tx: Tx, hop: Hop, at: datetime, until: datetime, remote: str, replies: Sequence[dict[str, Any]]
) -> bool:
    """Note that the end of the mail is about to be sent; until told otherwise the try's outcome is `unknown`.

    False, and nothing noted: the hop is not ours any more.
    """
    place = (hop.attempt_id, hop.destination, hop.claim)
    return await tx.run(_BEGIN, *place, until, hop.number, at, remote, replies) == 1


async def end_try(
    tx: Tx,
    hop: Hop,
    began_at: datetime,
    ended_at: datetime,
    remote: str | None,
    outcome: str,
    replies: Sequence[dict[str, Any]],
) -> None:
    """Write down a try."""
    place = (hop.attempt_id, hop.destination, hop.number)
    await tx.run(_END_TRY, *place, began_at, ended_at, remote, outcome, replies)


async def settle(
    tx: Tx,
    hop: Hop,
    began_at: datetime,
    ended_at: datetime,
    remote: str | None,
    outcome: str,
    replies: Sequence[dict[str, Any]],
    lines: Sequence[Line],
    again: datetime | None,
) -> bool:
    """Write down a try with all that it made of the hop and its recipients; `again`: when the next one is, if any.

    False: the hop was over before, or it is another's now; then of the recipients only those that were sent to are
    noted. A hop that is over because of those is closed whoever claims it. Settled recipients stay as they are.
    """
    over = again is None and any(line.state == "sent" for line in lines)
    return bool(
        await tx.value(
            _SETTLE,
            hop.attempt_id,
            hop.destination,
            hop.claim,
            "waiting" if again else "done",
            hop.number,
            again,
            over,
            began_at,
            ended_at,
            remote,
            outcome,
            replies,
            [line.position for line in lines],
            [line.state for line in lines],
            [line.code for line in lines],
            [line.text for line in lines],
        )
    )


async def close(tx: Tx, hop: Hop) -> bool:
    """The hop is over. False: it was before, or it is another's now."""
    return await tx.run(_CLOSE, hop.attempt_id, hop.destination, hop.claim, hop.number) == 1


async def put_off(tx: Tx, hop: Hop, until: datetime) -> bool:
    """Try again at a later time. False: the hop is not ours any more."""
    return await tx.run(_PUT_OFF, hop.attempt_id, hop.destination, hop.claim, hop.number, until) == 1


async def note(tx: Tx, attempt_id: SendAttemptId, lines: Sequence[Line], at: datetime) -> None:
    """Write down what became of recipients; those that are settled stay as they are."""
    await tx.run(
        _RECIPIENTS,
        attempt_id,
        at,
        [line.position for line in lines],
        [line.state for line in lines],
        [line.code for line in lines],
        [line.text for line in lines],
    )


async def hold(tx: Tx, hop: Hop) -> bool:
    """Keep a claimed hop for the rest of the transaction. False: it is not ours any more."""
    return bool(await tx.value(_HOLD, hop.attempt_id, hop.destination, hop.claim))


async def in_doubt(tx: Tx, hop: Hop) -> frozenset[int]:
    """The hop's recipients that still wait though a try before this one may have reached them, by position."""
    rows = await tx.all(_IN_DOUBT, hop.attempt_id, hop.destination, hop.number)
    return frozenset(row["position"] for row in rows)


async def failed_at(tx: Tx, hop: Hop, at: datetime) -> list[Record]:
    """The hop's recipients that failed at that very moment."""
    return await tx.all(_FAILED_AT, hop.attempt_id, hop.destination, at)


async def last_seen(tx: Tx, hop: Hop, number: int, at: datetime) -> bool:
    """End a try of which the fate is not known. False: no such try has begun, or it has ended."""
    return await tx.run(_LAST_SEEN, hop.attempt_id, hop.destination, number, at) == 1


async def release(tx: Tx, hop: Hop) -> bool:
    """Give a hop back as if it had not been claimed, unless its mail may have been taken."""
    return await tx.run(_RELEASE, hop.attempt_id, hop.destination, hop.claim) == 1


async def extend(tx: Tx, hops: Sequence[Hop], until: datetime) -> int:
    """Keep hops claimed; how many still are ours."""
    return await tx.run(
        _EXTEND, [hop.attempt_id for hop in hops], [hop.destination for hop in hops], [hop.claim for hop in hops], until
    )


async def depth(tx: Tx, at: datetime) -> Depth:
    """How much waits now."""
    row = await tx.one(_DEPTH, at)
    assert row is not None
    return Depth(row["waiting"], row["under_way"], row["oldest"])


def _hop(row: Any) -> Hop:
    return Hop(
        SendAttemptId.of(row["attempt_id"]),
        row["destination"],
        row["route"],
        row["tries"] + 1,
        row["claim"],
        row["size_bytes"],
        row["expires_at"],
        row["was"],
    )
