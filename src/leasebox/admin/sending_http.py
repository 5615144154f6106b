"""Routes of sending as admins see it: attempts and suppressions of all tenants, and how much a mailbox may send."""

from typing import Annotated, Any

import msgspec
from asyncpg import Record
from litestar import Controller, Request, delete, get, post, put
from litestar.params import FromPath, FromQuery, JSONBody

from leasebox.admin.door_http import TAGS, admits
from leasebox.admin.leases_http import ReasonRequest
from leasebox.admin.model import Admin, Right
from leasebox.audit.model import Act
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import Given, known_id, request_id
from leasebox.sending import attempts, suppressions
from leasebox.sending.attempts_http import AttemptItem, AttemptView, StateText, attempt_item, attempt_view
from leasebox.sending.suppressions import Reason, Suppression
from leasebox.sending.suppressions_http import AddressText, MaybeAddress, SuppressionView, canonical, suppression_view
from leasebox.values.clock import Clock
from leasebox.values.ids import MailboxId, SendAttemptId, TenantId


class AdminAttemptItem(AttemptItem):
    """actor: who sent it, as in the audit log."""

    tenant_id: str
    actor: str


class AdminAttemptView(AttemptView):
    """A whole attempt. actor: who sent it, as in the audit log."""

    tenant_id: str
    actor: str


class AdminSuppressionView(SuppressionView):
    """A tenant's suppressed address."""

    tenant_id: str


class SendLimitRequest(msgspec.Struct, forbid_unknown_fields=True):
    """daily_send_limit: recipients a UTC day; null: the instance's limit. note: why; it is kept in the audit log."""

    daily_send_limit: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] | None
    note: Annotated[str, msgspec.Meta(max_length=500)] = ""


class AdminAttemptRoutes(Controller):
    """What all tenants send; never the messages themselves."""

    path = "/v2/admin/send-attempts"
    tags = TAGS

    db: Database
    clock: Clock

    @get("/", operation_id="admin_list_send_attempts", **admits(Right.LOOK, 404))
    async def listed(
        self,
        tenant_id: FromQuery[str | None] = None,
        mailbox_id: FromQuery[str | None] = None,
        in_state: StateText = None,
        limit: Limit = 20,
        cursor: CursorText = None,
    ) -> Page[AdminAttemptItem]:
        """Send attempts of all tenants, newest first."""
        below = after(cursor)
        tenant = None if tenant_id is None else known_id(TenantId, tenant_id)
        box = None if mailbox_id is None else known_id(MailboxId, mailbox_id)
        rows = await self.db.read(lambda tx: attempts.search(tx, tenant, box, in_state, below, limit + 1))
        return page(rows, limit, _item, lambda row: row["id"])

    @get("/{send_attempt_id:str}", operation_id="admin_get_send_attempt", **admits(Right.LOOK, 404))
    async def one(self, send_attempt_id: FromPath[str]) -> AdminAttemptView:
        """One attempt with its recipients and every reply of every server."""
        wanted = known_id(SendAttemptId, send_attempt_id)
        return _view(await self.db.read(lambda tx: attempts.look(tx, wanted)))

    @post(
        "/{send_attempt_id:str}/cancel",
        status_code=200,
        operation_id="admin_cancel_send_attempt",
        **admits(Right.STEER, 404, 409),
    )
    async def cancel(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        send_attempt_id: FromPath[str],
        data: JSONBody[ReasonRequest],
    ) -> AdminAttemptView:
        """Take back what nobody is handing over yet; 409 once there is nothing left to take back."""
        wanted, now, trace = known_id(SendAttemptId, send_attempt_id), self.clock.now(), request_id(request)

        async def work(tx: Tx) -> AdminAttemptView:
            tenant_id = TenantId.of((await attempts.look(tx, wanted)).head["tenant_id"])
            detail = {"note": data.note}
            await attempts.cancel_any(
                tx, wanted, Act(now, admin.actor, "send.cancel", str(wanted), tenant_id, trace, detail=detail)
            )
            return _view(await attempts.look(tx, wanted))

        return await self.db.transact(work)


class AdminSuppressionRoutes(Controller):
    """Addresses that tenants' mail is not sent to."""

    path = "/v2/admin/suppressions"
    tags = TAGS

    db: Database
    clock: Clock

    @get("/", operation_id="admin_list_suppressions", **admits(Right.LOOK, 404))
    async def listed(
        self,
        tenant_id: FromQuery[str | None] = None,
        address: MaybeAddress = None,
        reason: FromQuery[Reason | None] = None,
        limit: Limit = 20,
        cursor: CursorText = None,
    ) -> Page[AdminSuppressionView]:
        """Suppressed addresses of all tenants, newest first."""
        below, only = after(cursor), None if address is None else canonical(address)
        tenant = None if tenant_id is None else known_id(TenantId, tenant_id)
        found = await self.db.read(lambda tx: suppressions.search(tx, tenant, only, reason, below, limit + 1))
        return page(found, limit, _suppression, lambda each: each.place)

    @delete("/", status_code=204, operation_id="admin_lift_suppression", **admits(Right.STEER, 404))
    async def lift(
        self, request: Request[Any, Any, Any], admin: Given[Admin], tenant_id: FromQuery[str], address: AddressText
    ) -> None:
        """Let a tenant's mail go to an address again."""
        tenant, key, now = known_id(TenantId, tenant_id), canonical(address), self.clock.now()
        act = Act(now, admin.actor, "suppression.lift", key, tenant, request_id(request))
        await self.db.transact(lambda tx: suppressions.lift_any(tx, tenant, key, act))


class AdminSendLimitRoutes(Controller):
    """How much a mailbox may send."""

    path = "/v2/admin/mailboxes"
    tags = TAGS

    db: Database
    clock: Clock

    @put(
        "/{mailbox_id:str}/send-limit",
        status_code=204,
        operation_id="admin_limit_sends",
        **admits(Right.STEER, 404),
    )
    async def limit_sends(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        mailbox_id: FromPath[str],
        data: JSONBody[SendLimitRequest],
    ) -> None:
        """Set a mailbox's daily_send_limit; what it has sent today counts."""
        wanted, now = known_id(MailboxId, mailbox_id), self.clock.now()
        detail = {"note": data.note, "daily_send_limit": data.daily_send_limit}
        act = Act(now, admin.actor, "mailbox.limit_sends", str(wanted), None, request_id(request), detail=detail)
        await self.db.transact(lambda tx: attempts.limit_sends(tx, wanted, data.daily_send_limit, act))


def _item(row: Record) -> AdminAttemptItem:
    return AdminAttemptItem(**msgspec.structs.asdict(attempt_item(row)), **_owner(row))


def _view(found: attempts.Attempt) -> AdminAttemptView:
    return AdminAttemptView(**msgspec.structs.asdict(attempt_view(found)), **_owner(found.head))


def _owner(row: Record) -> dict[str, Any]:
    return {"tenant_id": str(TenantId.of(row["tenant_id"])), "actor": row["actor"]}


def _suppression(found: Suppression) -> AdminSuppressionView:
    shown = msgspec.structs.asdict(suppression_view(found))
    return AdminSuppressionView(**shown, tenant_id=str(found.tenant_id))
