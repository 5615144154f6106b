"""Routes of risk: what was refused, bursts of new tenants, and the policies that hold them off."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from asyncpg import Record
from litestar import Controller, Request, delete, get, post, put
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from leasebox.admin import views_store
from leasebox.admin.door_http import TAGS, admits
from leasebox.admin.model import Admin, Right
from leasebox.admin.tenants_http import RateBody, RateView
from leasebox.identity import rates
from leasebox.identity.rates import RATE_NAMES, Override, RateName, Rates
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.listing import CursorText, Limit, MomentText, Page, after, moment, page
from leasebox.infra.web.routes import Given, known_id, request_id
from leasebox.mail import denials
from leasebox.mail.denials import Denial, Direction
from leasebox.values.addresses import MalformedAddress, canonical_domain
from leasebox.values.clock import Clock
from leasebox.values.errors import BadRequest, NotFound
from leasebox.values.ids import EventId, TenantId, lowest_id
from leasebox.values.rate import Rate

_BURST_DAYS = 31
AtLeast = Annotated[int, QueryParameter(ge=1, le=1_000_000, description="New tenants in the hour.")]
RefusalCode = Literal["payment_required", "invalid_payment_proof"]


class DenyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """domain: as people write it, or in its xn-- form. note: why; it is kept in the audit log."""

    domain: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
    note: Annotated[str, msgspec.Meta(max_length=500)] = ""


class DeniedDomainView(msgspec.Struct):
    """A domain stands for all below it.

    direction sender: SMTP answers its mail 550 5.7.1. recipient: nothing is sent to it; HTTP tells such recipients
    under `rejected` as denied_domain, submission answers 550 5.1.2.
    """

    direction: str
    domain: str
    note: str
    made_by: str
    at: datetime


class LimitView(msgspec.Struct):
    """rate: what is in force. made_by, at: the admin who set it; null where the settings' own rate holds."""

    name: str
    rate: RateView
    configured: RateView
    made_by: str | None
    at: datetime | None


class RiskEventView(msgspec.Struct):
    """A call that was refused. error: payment_required or invalid_payment_proof; reason: of the proof's fault."""

    event_id: str
    tenant_id: str
    at: datetime
    type: str
    error: str
    reason: str | None
    meter: str
    method: str
    path: str
    quantity: int
    actor: str
    request_id: str


class BurstView(msgspec.Struct):
    """An hour (UTC) in which many tenants were made. unbound: those that still have no wallet."""

    starts_at: datetime
    tenants: int
    unbound: int


class AdminRiskRoutes(Controller):
    """What goes wrong, and what holds it off."""

    path = "/v2/admin/risk"
    tags = TAGS

    db: Database
    clock: Clock
    rates: Rates

    @get("/events", operation_id="admin_list_risk_events", **admits(Right.LOOK, 404))
    async def events(
        self,
        tenant_id: FromQuery[str | None] = None,
        error: FromQuery[RefusalCode | None] = None,
        since: MomentText = None,
        limit: Limit = 20,
        cursor: CursorText = None,
    ) -> Page[RiskEventView]:
        """Calls refused for want of payment or for a bad proof, newest first."""
        below, start = after(cursor), moment(since, "since")
        tenant = None if tenant_id is None else known_id(TenantId, tenant_id)
        first = None if start is None else lowest_id(start)
        rows = await self.db.read(lambda tx: views_store.denials(tx, below, tenant, error, first, limit + 1))
        return page(rows, limit, _event_view, lambda row: row["id"])

    @get("/bursts", operation_id="admin_list_bursts", **admits(Right.LOOK))
    async def bursts(self, at_least: AtLeast = 20) -> Page[BurstView]:
        """Hours of the last 31 days in which many tenants were made, latest first."""
        now = self.clock.now()
        first, before = lowest_id(now - timedelta(days=_BURST_DAYS)), lowest_id(now + timedelta(hours=1))
        rows = await self.db.read(lambda tx: views_store.bursts(tx, first, before, at_least))
        return Page([BurstView(row["starts_at"], row["tenants"], row["unbound"]) for row in rows], None)

    @get("/denied-domains/{direction:str}", operation_id="admin_list_denied_domains", **admits(Right.LOOK, 404))
    async def denied(self, direction: FromPath[str]) -> Page[DeniedDomainView]:
        """Denied domains, by name."""
        wanted = _direction(direction)
        return Page([_denial_view(each) for each in await self.db.read(lambda tx: denials.listed(tx, wanted))], None)

    @post(
        "/denied-domains/{direction:str}", status_code=200, operation_id="admin_deny_domain", **admits(Right.STEER, 404)
    )
    async def deny(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        direction: FromPath[str],
        data: JSONBody[DenyRequest],
    ) -> Page[DeniedDomainView]:
        """Deny a domain and all below it; senders' mail is refused within a second. Gives the list as it stands."""
        way, name = _direction(direction), _domain(data.domain)
        now, trace = self.clock.now(), request_id(request)

        async def work(tx: Tx) -> list[Denial]:
            await denials.deny(tx, way, name, data.note, actor=admin.actor, at=now, request_id=trace)
            return await denials.listed(tx, way)

        return Page([_denial_view(each) for each in await self.db.transact(work)], None)

    @delete(
        "/denied-domains/{direction:str}/{domain:str}",
        status_code=204,
        operation_id="admin_allow_domain",
        **admits(Right.STEER, 404),
    )
    async def allow(
        self, request: Request[Any, Any, Any], admin: Given[Admin], direction: FromPath[str], domain: FromPath[str]
    ) -> None:
        """Take a denial back; domain as the list names it."""
        way, name = _direction(direction), _domain(domain)
        now, trace = self.clock.now(), request_id(request)
        await self.db.transact(lambda tx: denials.allow(tx, way, name, actor=admin.actor, at=now, request_id=trace))

    @get("/rates", operation_id="admin_list_rates", **admits(Right.LOOK))
    async def limits(self) -> Page[LimitView]:
        """The instance's rates: sign-ins, new tenants and claims per client address, calls per tenant."""
        return self._limits(await self.db.read(rates.list_overrides))

    @put("/rates/{name:str}", operation_id="admin_set_rate", **admits(Right.STEER, 404))
    async def set_rate(
        self, request: Request[Any, Any, Any], admin: Given[Admin], name: FromPath[str], data: JSONBody[RateBody]
    ) -> Page[LimitView]:
        """Put a rate in force in place of the configured one; felt within a second."""
        return await self._set(request, admin, name, Rate(data.count, data.seconds))

    @delete("/rates/{name:str}", status_code=200, operation_id="admin_reset_rate", **admits(Right.STEER, 404))
    async def reset_rate(
        self, request: Request[Any, Any, Any], admin: Given[Admin], name: FromPath[str]
    ) -> Page[LimitView]:
        """Put the configured rate in force again."""
        return await self._set(request, admin, name, None)

    async def _set(
        self, request: Request[Any, Any, Any], admin: Admin, text: str, rate: Rate | None
    ) -> Page[LimitView]:
        name = next((each for each in RATE_NAMES if each == text), None)
        if name is None:
            raise NotFound("There is no such rate.", fix=f"Use one of {', '.join(RATE_NAMES)}.")
        now, trace = self.clock.now(), request_id(request)

        async def work(tx: Tx) -> list[Override]:
            await rates.set_rate(tx, name, None, rate, actor=admin.actor, at=now, request_id=trace)
            return await rates.list_overrides(tx)

        return self._limits(await self.db.transact(work))

    def _limits(self, overrides: list[Override]) -> Page[LimitView]:
        own = {each.name: each for each in overrides if each.tenant_id is None}
        return Page([self._limit(name, own.get(name)) for name in RATE_NAMES], None)

    def _limit(self, name: RateName, own: Override | None) -> LimitView:
        configured = self.rates.configured(name)
        rate = configured if own is None else own.rate
        return LimitView(
            name,
            RateView(rate.count, rate.seconds),
            RateView(configured.count, configured.seconds),
            None if own is None else own.made_by,
            None if own is None else own.at,
        )


def _direction(text: str) -> Direction:
    match text:
        case "sender" | "recipient":
            return text
        case _:
            raise NotFound("There is no such list.", fix="Use denied-domains/sender or denied-domains/recipient.")


def _domain(text: str) -> str:
    try:
        return canonical_domain(text)
    except MalformedAddress:
        raise BadRequest("This is no domain.", fix="Name a domain such as spam.example.") from None


def _denial_view(denial: Denial) -> DeniedDomainView:
    return DeniedDomainView(denial.direction, denial.domain, denial.note, denial.made_by, denial.at)


def _event_view(row: Record) -> RiskEventView:
    told = row["payload"]
    return RiskEventView(
        event_id=str(EventId.of(row["id"])),
        tenant_id=str(TenantId.of(row["tenant_id"])),
        at=row["at"],
        type="usage.denied",
        error=told["error"],
        reason=told.get("reason"),
        meter=told["meter"],
        method=told["method"],
        path=told["path"],
        quantity=told["quantity"],
        actor=told["actor"],
        request_id=told["request_id"],
    )
