"""What this instance is, and whether it is well."""

import ipaddress
from typing import Any

import msgspec
from litestar import Controller, Request, Response, get

from leasebox.billing import price_list
from leasebox.billing.model import PriceVersion, unit_of
from leasebox.billing.prices import metered_routes
from leasebox.infra import metrics, migrate
from leasebox.infra.cache import Cache
from leasebox.infra.db import Database
from leasebox.infra.web.description import describe
from leasebox.infra.web.limits import client
from leasebox.infra.web.routes import public
from leasebox.values.errors import Forbidden, Unavailable


class MeterFact(msgspec.Struct, frozen=True):
    """What a meter's unit costs. unit: `call` or `recipient`; routes: method and path."""

    meter: str
    unit: str
    price_usdc: str
    price_version: int
    routes: list[str]


class AllowanceFact(msgspec.Struct, frozen=True):
    """How many units are free for a tenant in each UTC `hour` or `day`."""

    meter: str
    free: int
    window: str


class RuntimeFacts(msgspec.Struct, frozen=True):
    """What an agent must know of an instance before it signs in. No secret in it.

    prices: of each unit beyond the allowance, as in force now. smtp: where a mailbox hands in mail, with its
    own credentials.
    imap and webmail_url: null while this version has none.
    """

    siwe_mode: str
    payment_mode: str
    base_chain_id: int
    chain_name: str
    chain_hex: str
    chain_rpc_urls: list[str]
    chain_explorer_urls: list[str]
    mailbox_domain: str
    mailbox_domains: list[str]
    prices: list[MeterFact]
    allowances: list[AllowanceFact]
    limits: dict[str, Any]
    webmail_url: str | None
    smtp: dict[str, Any]
    imap: dict[str, Any] | None
    version: str


class Health(msgspec.Struct):
    status: str


class NotForYou(Forbidden):
    fix = "Read the metrics from the machine itself."


class RuntimeRoutes(Controller):
    """What this instance is."""

    path = "/v2/meta"
    tags = ["Instance"]

    facts: RuntimeFacts
    db: Database

    @get("/runtime", operation_id="runtime", **public())
    async def runtime(self) -> RuntimeFacts:
        """Chain, mail domains, prices and limits of this instance."""
        prices = await self.db.read(price_list.current)
        return msgspec.structs.replace(
            self.facts,
            prices=[_meter_fact(price) for price in prices],
            allowances=[AllowanceFact(price.meter, price.free_units, price.span) for price in prices],
        )


class HealthRoutes(Controller):
    """Whether this instance is well."""

    path = "/"
    tags = ["Instance"]

    db: Database
    cache: Cache

    @get("/healthz", operation_id="healthz", **public())
    async def healthz(self) -> Health:
        """This process lives."""
        return Health("ok")

    @get("/readyz", operation_id="readyz", **public())
    async def readyz(self) -> Health:
        """Database and Redis answer, and the migrations are current."""
        at = await self.db.revision()
        if at != migrate.revisions()[-1]:
            raise Unavailable(f"The database is at migration {at or 'none'}.", retry_after_s=10)
        await self.cache.ping()
        return Health("ok")

    @get("/metrics", operation_id="metrics", media_type="text/plain", **public(403))
    async def metrics(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Prometheus metrics of all roles on this machine; only for this machine."""
        if not _asked_by_this_machine(request):
            raise NotForYou("Metrics are shown to this machine only.")
        return Response(metrics.render(), media_type="text/plain; version=0.0.4")

    @get("/openapi.json", include_in_schema=False, opt={"public": True})
    async def openapi(self, request: Request[Any, Any, Any]) -> dict[str, Any]:
        """The API's description, OpenAPI 3.1."""
        return describe(request.app)


def _meter_fact(price: PriceVersion) -> MeterFact:
    routes = [f"{route.method} {route.path}" for route in metered_routes(price.meter)]
    return MeterFact(price.meter, unit_of(price.meter), str(price.unit_price), price.version, routes)


def _asked_by_this_machine(request: Request[Any, Any, Any]) -> bool:
    # A proxy on this machine that we were not told of looks like the machine itself, but says for whom it asks.
    if "x-forwarded-for" in request.headers or "forwarded" in request.headers:
        return False
    try:
        return ipaddress.ip_address(client(request)).is_loopback
    except ValueError:
        return False
