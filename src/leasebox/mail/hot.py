"""The list that is asked for most, in one statement with its admission: for `Database.at_once`."""

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


def _refusal(outcome: str) -> Exception:
    if outcome == "frozen":
        return MailboxFrozen("The mailbox was frozen by an operator.")
    return MailboxPaused("The mailbox is paused.") if outcome == "paused" else NotFound("No such mailbox.")
