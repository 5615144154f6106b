"""Routes of custom domains. A domain is the whole tenant's: keys that are limited to some mailboxes are refused."""

import asyncio
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.params import FromPath, JSONBody

from leasebox.identity.model import Caller
from leasebox.infra.cache import Cache
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.idempotency import IdempotencyKey, Once
from leasebox.infra.web.limits import limit
from leasebox.infra.web.listing import CursorText, Limit, Page, after, page
from leasebox.infra.web.routes import Given, known_id, needs, request_id
from leasebox.leases import domains
from leasebox.leases.dkim_keys import make_pair, seal
from leasebox.leases.domains import Outcome, Published
from leasebox.leases.domains_dns import DnsLook
from leasebox.leases.domains_errors import DomainTaken
from leasebox.leases.domains_model import (
    UNKNOWN,
    DnsRecord,
    DomainPolicy,
    Findings,
    Purpose,
    Reason,
    RecordState,
    State,
    domain_name,
)
from leasebox.leases.domains_zone import zone_file
from leasebox.leases.model import LeasePolicy
from leasebox.values.clock import Clock
from leasebox.values.ids import DomainId
from leasebox.values.keys import KeyRing
from leasebox.values.rate import Rate

# Adding makes an RSA key (20 to 100 ms of CPU), verifying asks half a dozen questions of strangers' name servers.
WORK_RATE = Rate(30, 60)


class DomainRequest(msgspec.Struct, forbid_unknown_fields=True):
    """domain: a name of your own, such as mail.example.com; an international one in either form."""

    domain: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]


class RecordView(msgspec.Struct):
    """A record to publish. required: verification waits for it; the others let your mail be believed.

    state: what the last check found: found, missing, wrong, or unknown (not looked at yet, or no answer). seen: the
    texts that stood there, as the DNS gave them. keep_until: of a retired key; then its record may go.
    """

    purpose: Purpose
    type: str
    name: str
    value: str
    priority: int | None
    required: bool
    state: RecordState
    seen: list[str]
    keep_until: datetime | None


class DomainView(msgspec.Struct):
    """status: addresses are leased at verified domains only.

    reason: why it is pending although it was verified once: ownership_lost or by_operator. missing_since: since when
    checks do not find a verified domain's ownership record; after 72 hours it ceases to be yours.
    """

    domain_id: str
    domain: str
    status: State
    reason: Reason | None
    records: list[RecordView]
    created_at: datetime
    checked_at: datetime | None
    verified_at: datetime | None
    missing_since: datetime | None


class DomainRoutes(Controller):
    """Domains of your own to lease addresses at."""

    path = "/v2/domains"
    tags = ["Domains"]

    db: Database
    clock: Clock
    cache: Cache
    once: Once
    policy: DomainPolicy
    leases: LeasePolicy
    keys: KeyRing
    dns: DnsLook

    @post("/", status_code=201, operation_id="add_domain", **needs("mail:allocate", 409, 422))
    async def add(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        data: JSONBody[DomainRequest],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[DomainView]:
        """Bring a domain along. The answer names the records to publish; then verify it."""
        domains.require_whole_tenant(caller)
        name = domain_name(data.domain, self.policy.own)
        await limit(request, self.cache, "domains", str(caller.tenant_id), WORK_RATE)
        kept = await self.once.recall(request, caller, idempotency_key)
        if kept is not None:
            return kept
        await self.db.read(lambda tx: domains.require_room(tx, caller, name, self.policy))
        made = await asyncio.to_thread(lambda: [seal(key, self.keys) for key in make_pair(name)])
        now, trace = self.clock.now(), request_id(request)

        async def work(tx: Tx) -> DomainView:
            return domain_view(await domains.add(tx, caller, name, made, self.policy, now, trace), self.policy)

        return await self.once.answer(request, caller, idempotency_key, 201, work)

    @get("/", operation_id="list_domains", **needs("mail:read"))
    async def listed(self, caller: Given[Caller], limit: Limit = 20, cursor: CursorText = None) -> Page[DomainView]:
        """Your domains, newest first."""
        below, now = after(cursor), self.clock.now()
        rows = await self.db.read(lambda tx: domains.listed(tx, caller, below, limit + 1, now))
        return page(rows, limit, lambda one: domain_view(one, self.policy), lambda one: one.domain.domain_id)

    @get("/{domain_id:str}", operation_id="get_domain", **needs("mail:read", 404))
    async def one(self, caller: Given[Caller], domain_id: FromPath[str]) -> DomainView:
        """One domain, with what the last check found."""
        return domain_view(await self._get(caller, domain_id), self.policy)

    @get(
        "/{domain_id:str}/zone-file",
        operation_id="get_zone_file",
        media_type="text/dns",
        **needs("mail:read", 404),
    )
    async def zone(self, caller: Given[Caller], domain_id: FromPath[str]) -> Response[str]:
        """The records as a zone file (RFC 1035), to be imported where the domain's DNS is kept."""
        found = await self._get(caller, domain_id)
        text = zone_file(found.domain.name, found.records(self.policy))
        headers = {"content-disposition": f'attachment; filename="{found.domain.name}.zone"'}
        return Response(text, media_type="text/dns", headers=headers)

    @post("/{domain_id:str}/verify", status_code=200, operation_id="verify_domain", **needs("mail:allocate", 404, 409))
    async def verify(
        self, request: Request[Any, Any, Any], caller: Given[Caller], domain_id: FromPath[str]
    ) -> DomainView:
        """Look the records up now. With the ownership record and MX in place the domain is verified.

        Answers 200 in either case: read status, and the state of each record.
        """
        seen = await self._get(caller, domain_id)
        domains.require_unblocked(seen.domain)
        await limit(request, self.cache, "domains", str(caller.tenant_id), WORK_RATE)
        found = await self.dns.look(seen.records(self.policy))
        act = caller.act(self.clock.now(), request_id(request), "domain.check", str(seen.domain.domain_id))
        settled = await self.db.transact(lambda tx: domains.settle(tx, seen, found, act, self.policy, self.leases))
        if settled.outcome is Outcome.TAKEN:
            raise DomainTaken(f"{seen.domain.name} is verified by another tenant.")
        return domain_view(settled.published, self.policy)

    @delete("/{domain_id:str}", status_code=204, operation_id="remove_domain", **needs("mail:allocate", 404, 409))
    async def remove(self, request: Request[Any, Any, Any], caller: Given[Caller], domain_id: FromPath[str]) -> None:
        """Give a domain up. Refused while live leases stand on it."""
        wanted, now, trace = known_id(DomainId, domain_id), self.clock.now(), request_id(request)
        await self.db.transact(lambda tx: domains.remove(tx, caller, wanted, now, trace))

    async def _get(self, caller: Caller, domain_id: str) -> Published:
        wanted, now = known_id(DomainId, domain_id), self.clock.now()
        return await self.db.read(lambda tx: domains.get(tx, caller, wanted, now))


def domain_view(published: Published, policy: DomainPolicy) -> DomainView:
    """A domain as its tenant sees it."""
    domain = published.domain
    return DomainView(
        domain_id=str(domain.domain_id),
        domain=domain.name,
        status=domain.state,
        reason=domain.reason,
        records=[record_view(each, domain.found) for each in published.records(policy)],
        created_at=domain.created_at,
        checked_at=domain.checked_at,
        verified_at=domain.verified_at,
        missing_since=domain.missing_since,
    )


def record_view(record: DnsRecord, found: Findings) -> RecordView:
    """A record with what the last check found of it."""
    finding = found.get(record.key, UNKNOWN)
    return RecordView(
        purpose=record.purpose,
        type=record.type,
        name=record.name,
        value=record.value,
        priority=record.priority,
        required=record.required,
        state=finding.state,
        seen=list(finding.seen),
        keep_until=record.until,
    )
