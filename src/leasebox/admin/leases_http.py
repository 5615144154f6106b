"""Routes of leases as admins see them, and freeze or release them."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from asyncpg import Record
from litestar import Controller, Request, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from leasebox.admin import views_store
from leasebox.admin.door_http import TAGS, admits
from leasebox.admin.model import Admin, Right
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import Given, known_id, request_id
from leasebox.leases import oversight
from leasebox.leases.model import LeasePolicy
from leasebox.values.addresses import Mailbox, MalformedAddress
from leasebox.values.clock import Clock
from leasebox.values.errors import BadRequest, NotFound
from leasebox.values.ids import AgentId, LeaseId, MailboxId, TenantId

_Verb = Callable[..., Awaitable[None]]
LeasedAddress = Annotated[
    str | None, QueryParameter(max_length=320, description="Only leases of whoever leased this address last.")
]


class ReasonRequest(msgspec.Struct, forbid_unknown_fields=True):
    """note: why; it is kept in the audit log."""

    note: Annotated[str, msgspec.Meta(max_length=500)] = ""


class AdminLeaseView(msgspec.Struct):
    """lease_status: as its tenant sees it. frozen_at: also of a lease that has ended, whose mail nobody reads then."""

    lease_id: str
    tenant_id: str
    mailbox_id: str
    agent_id: str
    address: str
    purpose: str
    lease_status: str
    frozen_at: datetime | None
    started_at: datetime
    expires_at: datetime
    released_at: datetime | None
    used_bytes: int
    used_messages: int


class AdminLeaseRoutes(Controller):
    """The leases of all tenants; never their mail."""

    path = "/v2/admin/leases"
    tags = TAGS

    db: Database
    clock: Clock
    policy: LeasePolicy

    @get("/", operation_id="admin_list_leases", **admits(Right.LOOK, 404))
    async def listed(
        self,
        tenant_id: FromQuery[str | None] = None,
        address: LeasedAddress = None,
        status: FromQuery[Literal["active", "paused", "frozen", "released", "expired"] | None] = None,
        limit: Limit = 20,
        cursor: CursorText = None,
    ) -> Page[AdminLeaseView]:
        """Leases of all tenants, newest first."""
        below, now = after(cursor), self.clock.now()
        tenant = None if tenant_id is None else known_id(TenantId, tenant_id)
        box = None if address is None else _canonical(address)
        rows = await self.db.read(lambda tx: views_store.leases(tx, below, None, tenant, box, status, now, limit + 1))
        return page(rows, limit, lambda row: _view(row, now), lambda row: row["id"])

    @get("/{lease_id:str}", operation_id="admin_get_lease", **admits(Right.LOOK, 404))
    async def one(self, lease_id: FromPath[str]) -> AdminLeaseView:
        """One lease."""
        return await self.db.read(lambda tx: self._one(tx, known_id(LeaseId, lease_id)))

    @post("/{lease_id:str}/freeze", status_code=200, operation_id="admin_freeze_lease", **admits(Right.STEER, 404))
    async def freeze(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        lease_id: FromPath[str],
        data: JSONBody[ReasonRequest],
    ) -> AdminLeaseView:
        """Stop mail and reading at once: callers get 403, senders 550. Frozen already: the same answer."""
        return await self._act(oversight.freeze, request, admin, lease_id, data)

    @post("/{lease_id:str}/unfreeze", status_code=200, operation_id="admin_unfreeze_lease", **admits(Right.STEER, 404))
    async def unfreeze(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        lease_id: FromPath[str],
        data: JSONBody[ReasonRequest],
    ) -> AdminLeaseView:
        """End a freeze. Not frozen: the same answer."""
        return await self._act(oversight.unfreeze, request, admin, lease_id, data)

    @post("/{lease_id:str}/release", status_code=200, operation_id="admin_release_lease", **admits(Right.STEER, 404))
    async def release(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        lease_id: FromPath[str],
        data: JSONBody[ReasonRequest],
    ) -> AdminLeaseView:
        """End a lease now, frozen or not. Released already: the same answer."""
        return await self._act(partial(oversight.release, policy=self.policy), request, admin, lease_id, data)

    async def _act(
        self, verb: _Verb, request: Request[Any, Any, Any], admin: Admin, lease_id: str, data: ReasonRequest
    ) -> AdminLeaseView:
        wanted, now, trace = known_id(LeaseId, lease_id), self.clock.now(), request_id(request)

        async def work(tx: Tx) -> AdminLeaseView:
            await verb(tx, wanted, data.note, actor=admin.actor, at=now, request_id=trace)
            return await self._one(tx, wanted)

        return await self.db.transact(work)

    async def _one(self, tx: Tx, lease_id: LeaseId) -> AdminLeaseView:
        now = self.clock.now()
        rows = await views_store.leases(tx, None, lease_id, None, None, None, now, 1)
        if not rows:
            raise NotFound("No such lease.")
        return _view(rows[0], now)


def _canonical(address: str) -> str:
    try:
        return Mailbox.parse(address).address
    except MalformedAddress:
        raise BadRequest("address is no mail address.", fix="Write it as name@domain.") from None


def _view(row: Record, at: datetime) -> AdminLeaseView:
    return AdminLeaseView(
        lease_id=str(LeaseId.of(row["id"])),
        tenant_id=str(TenantId.of(row["tenant_id"])),
        mailbox_id=str(MailboxId.of(row["mailbox_id"])),
        agent_id=str(AgentId.of(row["agent_id"])),
        address=row["address"],
        purpose=row["purpose"],
        lease_status=_status(row, at),
        frozen_at=row["frozen_at"],
        started_at=row["started_at"],
        expires_at=row["expires_at"],
        released_at=row["released_at"],
        used_bytes=row["used_bytes"],
        used_messages=row["used_messages"],
    )


def _status(row: Record, at: datetime) -> str:
    if row["state"] == "released":
        return "released"
    if row["expires_at"] <= at:
        return "expired"
    return "frozen" if row["frozen_at"] is not None else str(row["state"])
