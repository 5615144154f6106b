"""What is read most, in one statement with its admission: for `Database.at_once`."""

from collections.abc import Sequence

from asyncpg import Record

from leasebox.billing import service as billing
from leasebox.billing.model import Asked
from leasebox.infra.db import Tx
from leasebox.leases.errors import MailboxFrozen, MailboxPaused
from leasebox.mail import hot_store
from leasebox.mail.model import Query
from leasebox.values.errors import NotFound


def lists(query: Query) -> bool:
    """Whether `listed` can answer a query: one that no criterion narrows but the mailbox."""
    return query == Query(
        tenant_id=query.tenant_id,
        within=None,
        at=query.at,
        retention=query.retention,
        mailbox_id=query.mailbox_id,
    )


async def listed(tx: Tx, asked: Asked, query: Query, below: object, limit: int) -> Sequence[Record]:
    """Admit the call and give readable messages, newest first.

    Raises what billing's `admit` and the service's `require_readable_mailbox` raise.
    """
    rows = await hot_store.listed(tx, asked, query, below, limit)
    if isinstance(rows, str):
        raise _refusal(rows)
    billing.judge(asked, rows[0])
    return rows if rows[0]["id"] is not None else ()


async def next_after(tx: Tx, asked: Asked, query: Query, seq: int) -> Record | None:
    """The first message that fits and became visible after place `seq` of its mailbox; the call is admitted if there
    is one. query: as for `reading_store.next_of`.

    Raises what billing's `admit` raises.
    """
    row = await hot_store.next_after(tx, asked, query, seq)
    if row is not None:
        billing.judge(asked, row)
    return row


def _refusal(outcome: str) -> Exception:
    if outcome == "frozen":
        return MailboxFrozen("The mailbox was frozen by an operator.")
    return MailboxPaused("The mailbox is paused.") if outcome == "paused" else NotFound("No such mailbox.")
