"""Routes of domains as admins see them: the tenants' and the instance's own, their records, their DKIM keys."""

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from leasebox.admin.door_http import TAGS, admits
from leasebox.admin.leases_http import ReasonRequest
from leasebox.admin.model import Admin, Right
from leasebox.audit.service import record
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.idempotency import IdempotencyKey, Once
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import Given, known_id, request_id
from leasebox.leases import domains
from leasebox.leases.dkim_keys import PublicKey, make_pair, seal
from leasebox.leases.domains import Published
from leasebox.leases.domains_dns import DnsLook
from leasebox.leases.domains_http import RecordView, record_view
from leasebox.leases.domains_jobs import check_own, ensure_own_keys
from leasebox.leases.domains_model import DomainPolicy, Findings, Reason, State, own_records, spelled
from leasebox.leases.model import LeasePolicy
from leasebox.values.clock import Clock
from leasebox.values.errors import NotFound
from leasebox.values.ids import DomainId, TenantId
from leasebox.values.keys import KeyRing

DomainText = Annotated[str | None, QueryParameter(max_length=253, description="Only domains of exactly this name.")]


class RotateRequest(msgspec.Struct, forbid_unknown_fields=True):
    """sign: with the new keys once a check finds their records (published), or at once (now), as after a leak.

    note: why; it is kept in the audit log.
    """

    sign: Literal["published", "now"] = "published"
    note: Annotated[str, msgspec.Meta(max_length=500)] = ""


class AdminDomainView(msgspec.Struct):
    """A tenant's domain, as its tenant sees it, and whose it is."""

    domain_id: str
    tenant_id: str
    domain: str
    status: State
    reason: Reason | None
    records: list[RecordView]
    created_at: datetime
    checked_at: datetime | None
    verified_at: datetime | None
    missing_since: datetime | None


class OwnDomainView(msgspec.Struct):
    """One of the domains that LEASEBOX_MAIL_DOMAIN names, with the records that its operator publishes."""

    domain: str
    records: list[RecordView]
    checked_at: datetime | None


class KeysView(msgspec.Struct):
    """A domain's DKIM keys after a rotation. waiting: new selectors that sign once their records are found."""

    domain: str
    signing: list[str]
    waiting: list[str]
    records: list[RecordView]


class AdminDomainRoutes(Controller):
    """The domains of all tenants."""

    path = "/v2/admin/domains"
    tags = TAGS

    db: Database
    clock: Clock
    policy: DomainPolicy
    leases: LeasePolicy
    keys: KeyRing
    dns: DnsLook
    once: Once

    @get("/", operation_id="admin_list_domains", **admits(Right.LOOK, 404))
    async def listed(
        self,
        tenant_id: FromQuery[str | None] = None,
        domain: DomainText = None,
        status: FromQuery[State | None] = None,
        limit: Limit = 20,
        cursor: CursorText = None,
    ) -> Page[AdminDomainView]:
        """Domains of all tenants, newest first."""
        below, now = after(cursor), self.clock.now()
        tenant = None if tenant_id is None else known_id(TenantId, tenant_id)
        name = None if domain is None else spelled(domain)
        rows = await self.db.read(lambda tx: domains.search(tx, below, tenant, name, status, limit + 1, now))
        return page(rows, limit, self._view, lambda one: one.domain.domain_id)

    @get("/{domain_id:str}", operation_id="admin_get_domain", **admits(Right.LOOK, 404))
    async def one(self, domain_id: FromPath[str]) -> AdminDomainView:
        """One domain."""
        return self._view(await self._get(domain_id))

    @post("/{domain_id:str}/check", status_code=200, operation_id="admin_check_domain", **admits(Right.STEER, 404, 409))
    async def check(
        self, request: Request[Any, Any, Any], admin: Given[Admin], domain_id: FromPath[str]
    ) -> AdminDomainView:
        """Look its records up now. What an operator unverified may be verified again by this, and by nothing else."""
        seen = await self._get(domain_id)
        found = await self.dns.look(seen.records(self.policy))
        now, trace, tenant_id = self.clock.now(), request_id(request), seen.domain.tenant_id
        act = admin.act(now, trace, "domain.check", str(seen.domain.domain_id), tenant_id)
        settled = await self.db.transact(lambda tx: domains.settle(tx, seen, found, act, self.policy, self.leases))
        return self._view(settled.published)

    @post(
        "/{domain_id:str}/unverify", status_code=200, operation_id="admin_unverify_domain", **admits(Right.STEER, 404)
    )
    async def unverify(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        domain_id: FromPath[str],
        data: JSONBody[ReasonRequest],
    ) -> AdminDomainView:
        """Take a domain from its tenant: the leases on it end. Unverified already: the same answer."""
        domain, now, trace = (await self._get(domain_id)).domain, self.clock.now(), request_id(request)
        act = admin.act(now, trace, "domain.unverify", str(domain.domain_id), domain.tenant_id, note=data.note)
        return self._view(await self.db.transact(lambda tx: domains.unverify(tx, domain.domain_id, act, self.leases)))

    @post("/{name:str}/dkim/rotate", status_code=200, operation_id="admin_rotate_dkim", **admits(Right.STEER, 404, 409))
    async def rotate(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        name: FromPath[str],
        data: JSONBody[RotateRequest],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[KeysView]:
        """New DKIM keys for a domain: one of the instance's own by its name, a tenant's by its domain_id.

        The keys before keep signing until the new records are found, and their own records stay for seven days more.
        Keys that wait already are not replaced.
        """
        domain = None if name in self.policy.own else (await self._get(name)).domain
        wanted = name if domain is None else domain.name
        domain_id, tenant_id = (None, None) if domain is None else (domain.domain_id, domain.tenant_id)
        await ensure_own_keys(self.db, self.keys, self.policy.own, self.clock)
        made = await asyncio.to_thread(lambda: [seal(key, self.keys) for key in make_pair(wanted)])
        now, resource = self.clock.now(), wanted if domain_id is None else str(domain_id)
        act = admin.act(now, request_id(request), "dkim.rotate", resource, tenant_id, sign=data.sign, note=data.note)

        async def work(tx: Tx) -> KeysView:
            fresh = await domains.add_waiting_keys(tx, wanted, domain_id, made, now)
            if data.sign == "now":
                await domains.advance_keys(tx, wanted, domain_id, now)
            if fresh or data.sign == "now":
                await record(tx, act)
            if domain is None:
                return _keys_view(wanted, await domains.own_keys(tx, wanted, now), {}, self.policy)
            keys = (await domains.get_any(tx, domain.domain_id, now)).keys
            return _keys_view(wanted, keys, domain.found, self.policy)

        return await self.once.answer(request, admin, idempotency_key, 200, work)

    async def _get(self, domain_id: str) -> Published:
        wanted, now = known_id(DomainId, domain_id), self.clock.now()
        return await self.db.read(lambda tx: domains.get_any(tx, wanted, now))

    def _view(self, published: Published) -> AdminDomainView:
        domain = published.domain
        return AdminDomainView(
            domain_id=str(domain.domain_id),
            tenant_id=str(domain.tenant_id),
            domain=domain.name,
            status=domain.state,
            reason=domain.reason,
            records=[record_view(each, domain.found) for each in published.records(self.policy)],
            created_at=domain.created_at,
            checked_at=domain.checked_at,
            verified_at=domain.verified_at,
            missing_since=domain.missing_since,
        )


class AdminOwnDomainRoutes(Controller):
    """The instance's own domains, which the settings name."""

    path = "/v2/admin/own-domains"
    tags = TAGS

    db: Database
    clock: Clock
    policy: DomainPolicy
    keys: KeyRing
    dns: DnsLook

    @get("/", operation_id="admin_list_own_domains", **admits(Right.LOOK))
    async def listed(self) -> Page[OwnDomainView]:
        """All of them, the main one first, with the records to publish."""
        await ensure_own_keys(self.db, self.keys, self.policy.own, self.clock)
        return Page([await self._view(name) for name in self.policy.own], None)

    @post("/{name:str}/check", status_code=200, operation_id="admin_check_own_domain", **admits(Right.STEER, 404, 409))
    async def check(self, name: FromPath[str]) -> OwnDomainView:
        """Look its records up now."""
        if name not in self.policy.own:
            raise NotFound("This is no domain of the instance's own.")
        await ensure_own_keys(self.db, self.keys, self.policy.own, self.clock)
        await check_own(self.db, self.dns, name, self.policy, self.clock)
        return await self._view(name)

    async def _view(self, name: str) -> OwnDomainView:
        now = self.clock.now()

        async def look(tx: Tx) -> tuple[tuple[PublicKey, ...], dict[str, tuple[Findings, datetime]]]:
            return await domains.own_keys(tx, name, now), await domains.own_findings(tx, [name])

        keys, seen = await self.db.read(look)
        found, at = seen.get(name, ({}, None))
        return OwnDomainView(name, [record_view(each, found) for each in own_records(name, keys, self.policy)], at)


def _keys_view(name: str, keys: tuple[PublicKey, ...], found: Findings, policy: DomainPolicy) -> KeysView:
    records = [each for each in own_records(name, keys, policy) if each.purpose == "dkim"]
    return KeysView(
        domain=name,
        signing=[each.selector for each in keys if each.state == "signing"],
        waiting=[each.selector for each in keys if each.state == "waiting"],
        records=[record_view(each, found) for each in records],
    )
