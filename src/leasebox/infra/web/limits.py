"""Rate limits over HTTP: take a token, tell the caller where it stands (IETF draft-ietf-httpapi-ratelimit-headers)."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from litestar.connection import ASGIConnection

from leasebox.infra.cache import Cache, Taken
from leasebox.infra.web.edge import network_of
from leasebox.values.errors import RateLimited
from leasebox.values.rate import Rate

Connection = ASGIConnection[Any, Any, Any, Any]
# A rate that never changes, or who tells it anew at each call.
AnyRate: TypeAlias = Rate | Callable[[], Awaitable[Rate]]


async def limit(connection: Connection, cache: Cache, name: str, key: str, any_rate: AnyRate) -> None:
    """Take one call of `key` from the bucket `name` and note the RateLimit headers. Raises RateLimited (429)."""
    rate = any_rate if isinstance(any_rate, Rate) else await any_rate()
    if not rate.count:
        return
    taken = await cache.draw(f"{name}:{key}", rate)
    _note(connection, name, rate, taken)
    if not taken.allowed:
        raise RateLimited(
            f"More than {rate.count} calls in {rate.seconds} s for the limit '{name}'.",
            retry_after_s=max(1, taken.retry_after_s),
            limit=rate.count,
            window=f"{rate.seconds}s",
        )


async def limit_address(connection: Connection, cache: Cache, name: str, rate: AnyRate) -> None:
    """The same, per client address (IPv6: per /64)."""
    await limit(connection, cache, name, network_of(client(connection)), rate)


def client(connection: Connection) -> str:
    """The caller's network address as the edge decided it."""
    return str(connection.scope["state"].get("client_address", "unknown"))


def _note(connection: Connection, name: str, rate: Rate, taken: Taken) -> None:
    connection.scope["state"]["headers"] = {
        "ratelimit-policy": f'"{name}";q={rate.count};w={rate.seconds}',
        "ratelimit": f'"{name}";r={taken.remaining};t={taken.reset_s}',
    }
