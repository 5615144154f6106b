"""Addresses that a tenant's mail is not sent to: they bounced for good, complained, or were named by the tenant.

An address is suppressed for one tenant only: what one of them did wrong is not held against another's mail.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from asyncpg import Record

from leasebox.audit.model import Act
from leasebox.audit.service import record
from leasebox.identity.model import Caller
from leasebox.infra.db import Tx
from leasebox.sending import suppressions_store as store
from leasebox.values.errors import Forbidden, NotFound
from leasebox.values.ids import SendAttemptId, TenantId

Reason = Literal["hard_bounce", "complaint", "manual"]


class Suppression(msgspec.Struct, frozen=True):
    """address: canonical. attempt_id: the attempt that it bounced or complained about. detail: the server's words."""

    place: UUID
    tenant_id: TenantId
    address: str
    reason: Reason
    attempt_id: SendAttemptId | None
    detail: str
    at: datetime


def require_whole_tenant(caller: Caller) -> None:
    """Raises Forbidden (403) for an API key limited to some mailboxes: what is suppressed holds for all of them."""
    if caller.mailbox_ids is not None:
        raise Forbidden("This credential is limited to some mailboxes; suppressions are the whole tenant's.")


async def suppress(
    tx: Tx,
    tenant_id: TenantId,
    address: str,
    reason: Reason,
    attempt_id: SendAttemptId | None,
    detail: str,
    at: datetime,
) -> bool:
    """Send no more to a canonical address; False: it stood there already, and its first reason stays."""
    return bool(await store.add(tx, tenant_id, address, reason, attempt_id, detail[:500], at))


async def suppress_after(
    tx: Tx,
    tenant_id: TenantId,
    address: str,
    reason: Reason,
    attempt_id: SendAttemptId,
    detail: str,
    actor: str,
    at: datetime,
) -> None:
    """The same for what came of an attempt, written down in the audit log as `actor`'s doing if it is news."""
    if await suppress(tx, tenant_id, address, reason, attempt_id, detail, at):
        why = {"reason": reason, "send_attempt_id": str(attempt_id)}
        await record(tx, Act(at, actor, "suppression.add", address, tenant_id, actor, detail=why))


async def among(tx: Tx, tenant_id: TenantId, addresses: Sequence[str]) -> dict[str, str]:
    """Those of some canonical addresses that are suppressed, and the reason of each."""
    return await store.among(tx, tenant_id, addresses)


async def add(tx: Tx, caller: Caller, address: str, detail: str, at: datetime, request_id: str) -> Suppression:
    """Suppress an address by hand; one that is suppressed already stays as it is."""
    if await suppress(tx, caller.tenant_id, address, "manual", None, detail, at):
        await record(tx, caller.act(at, request_id, "suppression.add", address))
    found = await store.one(tx, caller.tenant_id, address)
    if found is None:
        raise NotFound("The suppression was lifted at the same moment.")
    return _suppression(found)


async def lift(tx: Tx, caller: Caller, address: str, at: datetime, request_id: str) -> None:
    """Let mail go to an address again. Raises NotFound."""
    await lift_any(tx, caller.tenant_id, address, caller.act(at, request_id, "suppression.lift", address))


async def lift_any(tx: Tx, tenant_id: TenantId, address: str, act: Act) -> None:
    """The same for any tenant, written down as `act`. Raises NotFound."""
    reason = await store.drop(tx, tenant_id, address)
    if reason is None:
        raise NotFound("This address is not suppressed.")
    await record(tx, msgspec.structs.replace(act, detail={**act.detail, "reason": reason}))


async def listed(
    tx: Tx, tenant_id: TenantId, address: str | None, reason: str | None, below: object, limit: int
) -> list[Suppression]:
    """A tenant's, newest first."""
    return [_suppression(row) for row in await store.listed(tx, tenant_id, address, reason, below, limit)]


async def search(
    tx: Tx, tenant_id: TenantId | None, address: str | None, reason: str | None, below: object, limit: int
) -> list[Suppression]:
    """The same for admins; of all tenants where none is given."""
    return [_suppression(row) for row in await store.search(tx, tenant_id, address, reason, below, limit)]


def _suppression(row: Record) -> Suppression:
    attempt_id = row["attempt_id"]
    return Suppression(
        row["id"],
        TenantId.of(row["tenant_id"]),
        row["address"],
        row["reason"],
        None if attempt_id is None else SendAttemptId.of(attempt_id),
        row["detail"],
        row["at"],
    )
