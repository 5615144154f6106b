"""The only place that constructs services: one module a process role, imported only by that role.

A role imports what it needs and no more: signing in alone brings 65 MB of web3 along.
"""

import importlib
from collections.abc import Callable

from leasebox.config import ROLE_NAMES, Settings

__all__ = ["NEEDED", "ROLE_NAMES", "run_role"]

NEEDED = (
    *("asyncpg", "sqlalchemy.dialects.postgresql.asyncpg", "leasebox.tables", "redis.asyncio", "uvloop", "structlog"),
    *("prometheus_client", "leasebox.wiring.process", "cryptography.hazmat.backends.openssl", "granian"),
    *("dns.resolver", "litestar", "litestar.plugins.attrs", "litestar.plugins.pydantic"),
    *("leasebox.mail.otp", "leasebox.identity.http", "leasebox.leases.http", "leasebox.mail.http"),
    *(f"leasebox.wiring.{role}" for role in sorted(ROLE_NAMES, reverse=True)),
)
"""What the roles of one machine import, in small steps: who forks them looks up between two of them."""


def run_role(role: str, settings: Settings, ready: Callable[[str], None]) -> None:
    """Run one role until SIGTERM or SIGINT, then drain; call `ready` with its addresses once it answers."""
    importlib.import_module(f"leasebox.wiring.{role}").run(settings, ready)
