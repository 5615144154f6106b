"""What this instance is, and whether it is well."""

from typing import Any

import msgspec
from litestar import Controller, Request, Response, get

import leasebox
from leasebox.config import Settings
from leasebox.infra import metrics, migrate
from leasebox.infra.cache import Cache
from leasebox.infra.db import Database
from leasebox.infra.web.limits import client
from leasebox.infra.web.routes import public
from leasebox.values.errors import Forbidden, Unavailable

_LOOPBACK = ("127.", "::1", "::ffff:127.")
_CHAINS = {
    1: ("Ethereum", "https://etherscan.io"),
    8453: ("Base", "https://basescan.org"),
    84532: ("Base Sepolia", "https://sepolia.basescan.org"),
    31337: ("Local development chain", ""),
}


class RuntimeFacts(msgspec.Struct, frozen=True):
    """What an agent must know of an instance before it signs in. No secret in it.

    prices and allowances: empty while nothing is metered. smtp: where mail for the mailbox domains is received; imap and
    webmail_url: null while this version has none.
    """

    siwe_mode: str
    base_chain_id: int
    chain_name: str
    chain_hex: str
    chain_rpc_urls: list[str]
    chain_explorer_urls: list[str]
    mailbox_domain: str
    mailbox_domains: list[str]
    prices: list[dict[str, Any]]
    allowances: list[dict[str, Any]]
    limits: dict[str, Any]
    webmail_url: str | None
    smtp: dict[str, Any]
    imap: dict[str, Any] | None
    version: str


class Health(msgspec.Struct):
    status: str


class NotForYou(Forbidden):
    fix = "Read the metrics from the machine itself."


def facts_of(settings: Settings) -> RuntimeFacts:
    """The facts of an instance with these settings."""
    name, explorer = _CHAINS.get(settings.chain_id, (f"eip155:{settings.chain_id}", ""))
    return RuntimeFacts(
        siwe_mode="strict",
        base_chain_id=settings.chain_id,
        chain_name=name,
        chain_hex=hex(settings.chain_id),
        chain_rpc_urls=[],
        chain_explorer_urls=[explorer] if explorer else [],
        mailbox_domain=settings.mail_domain,
        mailbox_domains=list(settings.mail_domains),
        prices=[],
        allowances=[],
        limits={
            "ttl_hours_max": 720,
            "mail_bytes_max": settings.max_mail_mib * 1024 * 1024,
            "lease_bytes_max": settings.lease_quota_mib * 1024 * 1024,
            "lease_mails_max": settings.lease_quota_mails,
            "retention_hours": settings.retention_hours,
            "name_hold_days": settings.name_hold_days,
            "api_rate": _rate(settings.api_rate),
            "signin_rate": _rate(settings.signin_rate),
        },
        webmail_url=None,
        smtp={"host": settings.smtp.host, "port": settings.smtp.port, "security": "starttls"},
        imap=None,
        version=leasebox.__version__,
    )


class RuntimeRoutes(Controller):
    """What this instance is."""

    path = "/v2/meta"
    tags = ["Instance"]

    facts: RuntimeFacts

    @get("/runtime", operation_id="runtime", **public())
    async def runtime(self) -> RuntimeFacts:
        """Chain, mail domains and limits of this instance."""
        return self.facts


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
        if not client(request).startswith(_LOOPBACK):
            raise NotForYou("Metrics are shown to this machine only.")
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @get("/openapi.json", include_in_schema=False, opt={"public": True})
    async def openapi(self, request: Request[Any, Any, Any]) -> dict[str, Any]:
        """The API's description, OpenAPI 3.1."""
        return request.app.openapi_schema.to_schema()


def _rate(rate: Any) -> str:
    return f"{rate.count}/{rate.seconds}s" if rate.count else "unlimited"
