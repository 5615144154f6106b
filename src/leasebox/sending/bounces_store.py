"""SQL of what comes back to send attempts. The attempt's signed return path stands in for its tenant."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from leasebox.infra.db import Tx
from leasebox.sending.dsn import Outcome
from leasebox.values.addresses import Mailbox
from leasebox.values.ids import LeaseId, MailboxId, SendAttemptId, TenantId


class Attempt(msgspec.Struct, frozen=True):
    """The attempt that something came back to. sender: the leased address."""

    attempt_id: SendAttemptId
    tenant_id: TenantId
    mailbox_id: MailboxId
    lease_id: LeaseId
    sender: str


class Sent(msgspec.Struct, frozen=True):
    """One of its recipients. key: the canonical address."""

    position: int
    key: str


_ATTEMPT = "SELECT id, tenant_id, mailbox_id, lease_id, sender FROM send_attempts WHERE id = $1"
_RECIPIENTS = "SELECT position, address FROM send_recipients WHERE attempt_id = $1 ORDER BY position FOR UPDATE"
# A failure is final. Success is not taken back by it being told late, nor does it undo a failure. A delay changes no
# state: the mail is the other server's to try, and whoever is `deferred` would be tried by us.
_NOTE = """
UPDATE send_recipients SET
    state = CASE $3 WHEN 'failed' THEN 'bounced' WHEN 'delivered' THEN 'delivered' ELSE state END,
    reply_code = $4, reply_text = $5, at = $6
WHERE attempt_id = $1 AND position = $2 AND CASE $3
    WHEN 'failed' THEN state IN ('queued', 'sent', 'delivered', 'deferred')
    WHEN 'delivered' THEN state IN ('queued', 'sent', 'deferred')
    ELSE state = 'sent' END
"""
_COMPLAINED = """
UPDATE send_recipients SET complained_at = $3
WHERE attempt_id = $1 AND position = ANY ($2::smallint[]) AND complained_at IS NULL
"""
_SOMEBODY_COMPLAINED = "UPDATE send_attempts SET complained_at = $2 WHERE id = $1 AND complained_at IS NULL"


async def attempt(tx: Tx, attempt_id: SendAttemptId) -> Attempt | None:
    """The attempt, if it is still known."""
    row = await tx.one(_ATTEMPT, attempt_id)
    if row is None:
        return None
    return Attempt(
        attempt_id,
        TenantId.of(row["tenant_id"]),
        MailboxId.of(row["mailbox_id"]),
        LeaseId.of(row["lease_id"]),
        row["sender"],
    )


async def lock_recipients(tx: Tx, attempt_id: SendAttemptId) -> list[Sent]:
    """All its recipients; their rows are ours until we commit."""
    rows = await tx.all(_RECIPIENTS, attempt_id)
    return [Sent(row["position"], str(Mailbox.parse(row["address"]))) for row in rows]


async def note(
    tx: Tx, attempt_id: SendAttemptId, position: int, outcome: Outcome, code: int, text: str, at: datetime
) -> bool:
    """Write down what is told of a recipient; False where it is known better already."""
    return bool(await tx.run(_NOTE, attempt_id, position, outcome.value, code, text, at))


async def complain(tx: Tx, attempt_id: SendAttemptId, positions: Sequence[int], at: datetime) -> int:
    """Remember that these recipients complained, or that somebody did where none is named; how many that is news of."""
    if positions:
        return await tx.run(_COMPLAINED, attempt_id, positions, at)
    return await tx.run(_SOMEBODY_COMPLAINED, attempt_id, at)
