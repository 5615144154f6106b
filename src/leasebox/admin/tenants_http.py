"""Routes of tenants as admins see and steer them."""

import contextlib
import re
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from asyncpg import Record
from litestar import Controller, Request, get, patch, put
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from leasebox.admin import service, views_store
from leasebox.admin.door_http import TAGS, admits
from leasebox.admin.errors import NotSearchable
from leasebox.admin.model import Admin, Right
from leasebox.billing.statement import InvoiceId
from leasebox.identity import rates, siwe
from leasebox.identity.standing import TenantStatus
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.listing import CursorText, Limit, MomentText, Page, after, moment, page
from leasebox.infra.web.routes import Given, known_id, request_id
from leasebox.leases.model import LeasePolicy
from leasebox.values.addresses import Mailbox, MalformedAddress
from leasebox.values.clock import Clock
from leasebox.values.errors import NotFound
from leasebox.values.ids import AgentId, Id, KeyId, LeaseId, MailboxId, MalformedId, TenantId, lowest_id
from leasebox.values.rate import Rate

Note = Annotated[str, msgspec.Meta(max_length=500, description="Why; it is kept in the audit log.")]
Search = Annotated[
    str | None,
    QueryParameter(
        max_length=320, description="A wallet, a leased address, or an id: ten_, agt_, key_, mbx_, lse_, inv_."
    ),
]
_WALLET = re.compile(r"0x[0-9a-fA-F]{40}")
_KINDS: dict[str, type[Id]] = {kind.prefix: kind for kind in (TenantId, AgentId, KeyId, MailboxId, LeaseId, InvoiceId)}
_NOBODY = TenantId(int=0)


class RateBody(msgspec.Struct, forbid_unknown_fields=True):
    """At most count calls within seconds; count 0 means no limit."""

    count: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
    seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)]


class TenantPatch(msgspec.Struct, forbid_unknown_fields=True):
    """suspended: credentials are refused, mail still comes in. closed: leases end too. active: let in again."""

    status: TenantStatus
    note: Note = ""


class TenantRatePut(msgspec.Struct, forbid_unknown_fields=True):
    """api_rate: null for the instance's own."""

    api_rate: RateBody | None


class TenantLine(msgspec.Struct):
    """wallets: EIP-55 checksummed; none for a tenant made by a claim that nobody has bound."""

    tenant_id: str
    status: str
    wallets: list[str]
    created_at: datetime


class TenantCounts(msgspec.Struct):
    agents: int
    api_keys: int
    leases: int
    live_leases: int
    messages: int
    stored_bytes: int


class RateView(msgspec.Struct):
    count: int
    seconds: int


class TenantDetail(TenantLine):
    """api_rate: null where the instance's own holds."""

    counts: TenantCounts
    last_sign_in_at: datetime | None
    api_rate: RateView | None


class AdminTenantRoutes(Controller):
    """All tenants."""

    path = "/v2/admin/tenants"
    tags = TAGS

    db: Database
    clock: Clock
    policy: LeasePolicy

    @get("/", operation_id="admin_list_tenants", **admits(Right.LOOK))
    async def listed(
        self,
        status: FromQuery[Literal["active", "suspended", "closed"] | None] = None,
        q: Search = None,
        since: MomentText = None,
        until: MomentText = None,
        limit: Limit = 20,
        cursor: CursorText = None,
    ) -> Page[TenantLine]:
        """Tenants, newest first; since and until narrow by when they were made."""
        below, first, before = after(cursor), _first(moment(since, "since")), _first(moment(until, "until"))

        async def body(tx: Tx) -> Any:
            wanted = None if q is None else (await _searched(tx, q) or _NOBODY)
            return await views_store.tenants(tx, below, wanted, status, first, before, limit + 1)

        return page(await self.db.read(body), limit, _line, lambda row: row["id"])

    @get("/{tenant_id:str}", operation_id="admin_get_tenant", **admits(Right.LOOK, 404))
    async def one(self, tenant_id: FromPath[str]) -> TenantDetail:
        """One tenant with what it has."""
        return await self.db.read(lambda tx: self._detail(tx, known_id(TenantId, tenant_id)))

    @patch("/{tenant_id:str}", operation_id="admin_change_tenant", **admits(Right.STEER, 404))
    async def change(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        tenant_id: FromPath[str],
        data: JSONBody[TenantPatch],
    ) -> TenantDetail:
        """Suspend, close or reactivate a tenant; felt within a second."""
        wanted, now, trace = known_id(TenantId, tenant_id), self.clock.now(), request_id(request)

        async def work(tx: Tx) -> TenantDetail:
            await service.change_status(tx, admin, wanted, data.status, data.note, self.policy, now, trace)
            return await self._detail(tx, wanted)

        return await self.db.transact(work)

    @put("/{tenant_id:str}/api-rate", operation_id="admin_set_tenant_rate", **admits(Right.STEER, 404))
    async def set_rate(
        self,
        request: Request[Any, Any, Any],
        admin: Given[Admin],
        tenant_id: FromPath[str],
        data: JSONBody[TenantRatePut],
    ) -> TenantDetail:
        """Give a tenant its own API rate, or the instance's own again; felt within a second."""
        wanted, now, trace = known_id(TenantId, tenant_id), self.clock.now(), request_id(request)
        rate = None if data.api_rate is None else Rate(data.api_rate.count, data.api_rate.seconds)

        async def work(tx: Tx) -> TenantDetail:
            await rates.set_rate(tx, "api", wanted, rate, actor=admin.actor, at=now, request_id=trace)
            return await self._detail(tx, wanted)

        return await self.db.transact(work)

    async def _detail(self, tx: Tx, tenant_id: TenantId) -> TenantDetail:
        rows = await views_store.tenants(tx, None, tenant_id, None, None, None, 1)
        if not rows:
            raise NotFound("No such tenant.")
        counts = await views_store.tenant_counts(tx, tenant_id, self.clock.now())
        own = [
            each.rate for each in await rates.list_overrides(tx) if (each.name, each.tenant_id) == ("api", tenant_id)
        ]
        return TenantDetail(
            **msgspec.structs.asdict(_line(rows[0])),
            counts=TenantCounts(**{name: counts[name] for name in TenantCounts.__struct_fields__}),
            last_sign_in_at=counts["last_sign_in_at"],
            api_rate=RateView(own[0].count, own[0].seconds) if own else None,
        )


async def _searched(tx: Tx, text: str) -> TenantId | None:
    """The tenant that a text leads to, None if it leads to nobody. Raises NotSearchable (400)."""
    if _WALLET.fullmatch(text):
        return await views_store.owner_of_wallet(tx, text.lower())
    if "@" in text:
        with contextlib.suppress(MalformedAddress):
            return await views_store.owner_of_address(tx, Mailbox.parse(text).address)
    kind = _KINDS.get(text.partition("_")[0])
    if kind is not None:
        with contextlib.suppress(MalformedId):
            return await views_store.owner_of(tx, kind.parse(text))
    raise NotSearchable("q is no wallet, address or id.")


def _first(at: datetime | None) -> object:
    return None if at is None else lowest_id(at)


def _line(row: Record) -> TenantLine:
    wallets = [siwe.checksummed(each) for each in row["wallets"]]
    return TenantLine(str(TenantId.of(row["id"])), row["status"], wallets, row["created_at"])
