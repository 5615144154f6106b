"""The cooldown: until a tenant binds a wallet, it may send to 10 recipients in any 24 hours (contract §5)."""

import math
from datetime import datetime

from leasebox.infra.db import Tx
from leasebox.sending import store
from leasebox.sending.errors import CooldownLimit
from leasebox.sending.model import LIMIT, Taken, free_at, live
from leasebox.values.ids import TenantId


async def take(tx: Tx, tenant_id: TenantId, recipients: int, at: datetime) -> None:
    """Let a message to `recipients` (1 or more, each envelope recipient counts) go out, or refuse all of it.

    Takes effect with the caller's transaction: a message that fails costs nothing. Until then other messages of the
    same tenant wait here. A tenant with a wallet costs one statement and leaves no row. What is older than the window
    is forgotten by the next message, so a tenant's row stays small and needs no job.

    Raises CooldownLimit (429).
    """
    if recipients < 1:
        raise ValueError("a message has at least one recipient")
    if await store.take(tx, tenant_id, recipients, at) is not Taken.REFUSED:
        return
    # A second look at what is committed by now: a wallet may have been bound while the statement waited.
    sent_at = await store.look(tx, tenant_id)
    if sent_at is not None:
        raise _refusal(len(live(sent_at, at)), recipients, free_at(sent_at, recipients, at), at)


def _refusal(sent: int, recipients: int, retry_at: datetime | None, at: datetime) -> CooldownLimit:
    if retry_at is None:
        return CooldownLimit(
            f"A tenant without a wallet may send to {LIMIT} recipients in 24 hours; this message alone has "
            f"{recipients}, so waiting does not help.",
            retry_at=None,
            retry_after_s=None,
        )
    return CooldownLimit(
        f"A tenant without a wallet may send to {LIMIT} recipients in 24 hours; {sent} are used up and this message "
        f"has {recipients}.",
        retry_at=retry_at,
        retry_after_s=max(1, math.ceil((retry_at - at).total_seconds())),
    )
