"""Spend caps: what a tenant, or one of its API keys, may spend in a UTC day or month.

A cap counts what is held for proofs; a hold that is given back, or the rest of one, counts no more. A charge that is
refunded later still counts until the window ends: what an operator corrects gives an agent no room to spend again.
A session of the tenant's wallet sets a cap.
"""

from datetime import datetime

import msgspec

from leasebox.audit.model import Act
from leasebox.audit.service import record
from leasebox.billing import ledger_store
from leasebox.billing.errors import CapNotYours, CapUseless
from leasebox.billing.model import CapSpan, SpendCap, tenant_scope
from leasebox.identity.model import Caller
from leasebox.infra.db import Tx
from leasebox.values.errors import NotFound
from leasebox.values.ids import KeyId, TenantId
from leasebox.values.money import Usdc


async def set_cap(
    tx: Tx,
    caller: Caller,
    api_key_id: KeyId | None,
    span: CapSpan,
    limit: Usdc | None,
    at: datetime,
    request_id: str,
) -> None:
    """Set or change a cap; None takes it away. It counts what was spent since its window began.

    Raises CapNotYours (403) for an API key, NotFound (key), CapUseless (422) for a key that could make itself another.
    """
    if isinstance(caller.credential_id, KeyId):
        raise CapNotYours("An API key cannot set spend caps.")
    if api_key_id is not None and limit is not None:
        await _require_cappable(tx, caller.tenant_id, api_key_id)
    subject = tenant_scope(caller.tenant_id, api_key_id)
    await ledger_store.open_funds(tx, caller.tenant_id)
    if limit is None:
        await ledger_store.drop_cap(tx, caller.tenant_id, subject, span)
    else:
        await ledger_store.set_cap(tx, caller.tenant_id, subject, span, limit, at)
    act = caller.act(at, request_id, "spend_cap.set", str(subject))
    detail = {"window": span, "limit_usdc": None if limit is None else str(limit)}
    await record(tx, msgspec.structs.replace(act, detail=detail))


async def impose_cap(
    tx: Tx, tenant_id: TenantId, span: CapSpan, limit: Usdc | None, *, actor: str, at: datetime, request_id: str
) -> None:
    """The same by an operator, for the tenant as a whole. It is the tenant's own cap: its wallet may change it too.

    Raises NotFound (tenant).
    """
    if not await ledger_store.has_tenant(tx, tenant_id):
        raise NotFound("No such tenant.")
    await ledger_store.open_funds(tx, tenant_id)
    own = [cap for cap in await caps_of(tx, tenant_id, at) if cap.api_key_id is None and cap.span == span]
    if limit is None:
        await ledger_store.drop_cap(tx, tenant_id, tenant_id, span)
    else:
        await ledger_store.set_cap(tx, tenant_id, tenant_id, span, limit, at)
    detail = {
        "window": span,
        "before": {"limit_usdc": str(own[0].limit) if own else None},
        "after": {"limit_usdc": None if limit is None else str(limit)},
    }
    await record(tx, Act(at, actor, "spend_cap.set", str(tenant_id), tenant_id, request_id, detail=detail))


async def caps_of(tx: Tx, tenant_id: TenantId, at: datetime) -> list[SpendCap]:
    """A tenant's caps, its own first, with what is used of each in the present window."""
    return [
        SpendCap(
            None if row["subject"] == tenant_id else KeyId.of(row["subject"]),
            row["span"],
            Usdc(row["limit_micros"]),
            Usdc(row["used_micros"]),
            row["resets_at"],
        )
        for row in await ledger_store.caps(tx, tenant_id, at)
    ]


async def _require_cappable(tx: Tx, tenant_id: TenantId, api_key_id: KeyId) -> None:
    scopes = await ledger_store.key_scopes(tx, tenant_id, api_key_id)
    if scopes is None:
        raise NotFound("No such API key.")
    if "keys:write" in scopes:
        raise CapUseless("This key may make further keys, so a cap on it would hold nothing.")
