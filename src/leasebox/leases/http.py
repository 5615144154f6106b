"""Routes of leases."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from leasebox.billing.till_http import PaymentProof, Till
from leasebox.identity.model import Caller
from leasebox.infra import metrics
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.idempotency import IdempotencyKey, Once, was_replayed
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import Given, known_id, needs, request_id
from leasebox.leases import hot, service
from leasebox.leases.domains_model import spelled
from leasebox.leases.model import MAX_TTL_HOURS, Doors, Granted, Lease, LeaseOrder, LeasePolicy, Status
from leasebox.leases.store import Filter
from leasebox.values.clock import Clock
from leasebox.values.errors import BadRequest
from leasebox.values.ids import AgentId, LeaseId, MailboxId
from leasebox.values.paths import Route

Hours = Annotated[int, msgspec.Meta(ge=1, le=MAX_TTL_HOURS, description="Hours from now.")]
Metadata = dict[str, Any]
METADATA_CAP = 8192
ALLOCATE = Route("POST", "/v2/mailboxes/leases")


class LeaseRequest(msgspec.Struct, forbid_unknown_fields=True):
    """local_part: leave it out to get a generated address. metadata: up to 8 KiB of JSON of your own."""

    agent_id: str
    purpose: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    ttl_hours: Hours
    local_part: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    domain: Annotated[str, msgspec.Meta(min_length=1, max_length=253)] | None = None
    metadata: Metadata = {}


class RenewRequest(msgspec.Struct, forbid_unknown_fields=True):
    ttl_hours: Hours


class LeaseView(msgspec.Struct):
    """lease_status: active, paused, frozen, released or expired, judged by the clock."""

    lease_id: str
    mailbox_id: str
    account_id: str
    address: str
    agent_id: str
    purpose: str
    lease_status: Status
    started_at: datetime
    expires_at: datetime
    released_at: datetime | None
    metadata: Metadata
    used_bytes: int
    used_messages: int


class NewLeaseView(msgspec.Struct):
    """webmail_password: shown this once; reset it to get another."""

    lease_id: str
    mailbox_id: str
    account_id: str
    address: str
    agent_id: str
    purpose: str
    lease_status: Status
    started_at: datetime
    expires_at: datetime
    metadata: Metadata
    webmail_login: str
    webmail_password: str
    webmail_url: str | None
    smtp: dict[str, Any] | None
    imap: dict[str, Any] | None


class ReleaseView(msgspec.Struct):
    lease_id: str
    mailbox_id: str
    lease_status: Status


class LeaseRoutes(Controller):
    """Leasing a mailbox for some hours."""

    path = "/v2/mailboxes/leases"
    tags = ["Leases"]

    db: Database
    clock: Clock
    policy: LeasePolicy
    doors: Doors
    till: Till
    once: Once

    @post("/", status_code=201, operation_id="allocate", **needs("mail:allocate", 402, 404, 409, 422))
    async def allocate(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        data: JSONBody[LeaseRequest],
        x_payment_proof: PaymentProof = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response[NewLeaseView]:
        """Lease an address: named, or generated when local_part is left out."""
        order = LeaseOrder(
            known_id(AgentId, data.agent_id),
            data.purpose,
            data.ttl_hours,
            data.local_part,
            self.policy.domains[0] if data.domain is None else spelled(data.domain),
            bounded(data.metadata),
        )
        demand = self.till.demand(request, ALLOCATE, x_payment_proof)

        async def work(tx: Tx) -> NewLeaseView:
            admission = await self.till.admit(tx, caller, demand)
            made = await service.grant(tx, caller, order, self.policy, demand.at, demand.request_id, admission)
            return _new_view(made, self.doors, demand.at)

        async def at_once(tx: Tx) -> NewLeaseView:
            made = await hot.grant(tx, order, self.policy, self.till.ask(caller, demand))
            return _new_view(made, self.doors, demand.at)

        quick = at_once if hot.grants(order, self.policy) else None
        async with self.till.noting(caller, demand):
            answer = await self.once.answer(request, caller, idempotency_key, 201, work, quick)
        if not was_replayed(answer):
            metrics.LEASES.labels("granted").inc()
        return answer

    @get("/", operation_id="list_leases", **needs("mail:read", 404))
    async def listed(
        self,
        caller: Given[Caller],
        status: FromQuery[Literal["active", "paused", "frozen", "released", "expired", "ended"] | None] = None,
        agent_id: FromQuery[str | None] = None,
        mailbox_id: FromQuery[str | None] = None,
        limit: Limit = 20,
        cursor: CursorText = None,
    ) -> Page[LeaseView]:
        """Your leases, newest first."""
        now = self.clock.now()
        wanted = Filter(caller.tenant_id, caller.mailbox_ids, now)
        wanted.status = status
        wanted.agent_id = None if agent_id is None else known_id(AgentId, agent_id)
        wanted.mailbox_id = None if mailbox_id is None else known_id(MailboxId, mailbox_id)
        below = after(cursor)
        rows = await self.db.read(lambda tx: service.listed(tx, wanted, below, limit + 1))
        return page(rows, limit, lambda lease: lease_view(lease, now), lambda lease: lease.lease_id)

    @get("/{lease_id:str}", operation_id="get_lease", **needs("mail:read", 404))
    async def one(self, caller: Given[Caller], lease_id: FromPath[str]) -> LeaseView:
        """One lease."""
        wanted = known_id(LeaseId, lease_id)
        return lease_view(await self.db.read(lambda tx: service.get(tx, caller, wanted)), self.clock.now())

    @post("/{lease_id:str}/renew", status_code=200, operation_id="renew", **needs("mail:allocate", 404, 410))
    async def renew(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        lease_id: FromPath[str],
        data: JSONBody[RenewRequest],
    ) -> LeaseView:
        """Let the lease run for ttl_hours from now. Never shortens it."""
        wanted, now, trace = known_id(LeaseId, lease_id), self.clock.now(), request_id(request)
        ttl = timedelta(hours=data.ttl_hours)
        lease = await self.db.transact(lambda tx: service.renew(tx, caller, wanted, ttl, self.policy, now, trace))
        return lease_view(lease, now)

    @post("/{lease_id:str}/release", status_code=202, operation_id="release", **needs("mail:allocate", 404))
    async def release(
        self, request: Request[Any, Any, Any], caller: Given[Caller], lease_id: FromPath[str]
    ) -> ReleaseView:
        """End the lease now. Its mail stays readable until the retention ends; again: the same answer."""
        wanted, now, trace = known_id(LeaseId, lease_id), self.clock.now(), request_id(request)
        mailbox_id = await self.db.at_once(lambda tx: hot.release(tx, caller, wanted, self.policy, now, trace))
        metrics.LEASES.labels("released").inc()
        return ReleaseView(str(wanted), str(mailbox_id), "released")

    @post("/{lease_id:str}/pause", status_code=200, operation_id="pause", **needs("mail:allocate", 404, 410))
    async def pause(self, request: Request[Any, Any, Any], caller: Given[Caller], lease_id: FromPath[str]) -> LeaseView:
        """Stop mail and reading for a while; senders are told to try again later."""
        return await self._switch(request, caller, lease_id, "paused")

    @post("/{lease_id:str}/resume", status_code=200, operation_id="resume", **needs("mail:allocate", 404, 410))
    async def resume(
        self, request: Request[Any, Any, Any], caller: Given[Caller], lease_id: FromPath[str]
    ) -> LeaseView:
        """End a pause."""
        return await self._switch(request, caller, lease_id, "active")

    async def _switch(self, request: Request[Any, Any, Any], caller: Caller, lease_id: str, state: str) -> LeaseView:
        wanted, now, trace = known_id(LeaseId, lease_id), self.clock.now(), request_id(request)
        lease = await self.db.transact(lambda tx: service.switch(tx, caller, wanted, state, now, trace))
        return lease_view(lease, now)


def lease_view(lease: Lease, at: datetime) -> LeaseView:
    """A lease as the API shows it at a moment."""
    return LeaseView(
        lease_id=str(lease.lease_id),
        mailbox_id=str(lease.mailbox_id),
        account_id=str(lease.mailbox_id),
        address=lease.address,
        agent_id=str(lease.agent_id),
        purpose=lease.purpose,
        lease_status=lease.status(at),
        started_at=lease.started_at,
        expires_at=lease.expires_at,
        released_at=lease.released_at,
        metadata=lease.metadata,
        used_bytes=lease.used_bytes,
        used_messages=lease.used_messages,
    )


def bounded(metadata: Metadata) -> Metadata:
    """Refuse metadata that is larger than it may be. Raises BadRequest."""
    if len(msgspec.json.encode(metadata)) > METADATA_CAP:
        raise BadRequest(f"metadata is larger than {METADATA_CAP} bytes of JSON.", fix="Send less metadata.")
    return metadata


def _new_view(made: Granted, doors: Doors, at: datetime) -> NewLeaseView:
    lease = made.lease
    return NewLeaseView(
        lease_id=str(lease.lease_id),
        mailbox_id=str(lease.mailbox_id),
        account_id=str(lease.mailbox_id),
        address=lease.address,
        agent_id=str(lease.agent_id),
        purpose=lease.purpose,
        lease_status=lease.status(at),
        started_at=lease.started_at,
        expires_at=lease.expires_at,
        metadata=lease.metadata,
        webmail_login=lease.address,
        webmail_password=made.password.reveal(),
        webmail_url=doors.webmail_url,
        smtp=doors.smtp,
        imap=doors.imap,
    )
