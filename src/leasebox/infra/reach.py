"""Whether servers that somebody else runs answer: looked at once, before a role starts on them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

_PATIENCE_S = 5.0
_OLDEST = 15
CLIMBS = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
"""Whether row-level security does not hold for the role that asks."""


def database_fault(url: str) -> str | None:
    """Why this database cannot be used, in a line that shows no password; None when it can. Waits at most 5 s."""
    return asyncio.run(_database(url))


def wall_fault(url: str) -> str | None:
    """Why row-level security does not keep tenants apart in this database; None when it does. Waits at most 5 s."""
    return asyncio.run(_database(url, _climbed))


def redis_fault(url: str) -> str | None:
    """Why this Redis cannot be used, in a line that shows no password; None when it can. Waits at most 5 s."""
    return asyncio.run(_redis(url))


async def _climbed(connection: Any) -> str | None:
    if await connection.fetchval(CLIMBS):
        return "the role of DATABASE_URL is a superuser or has BYPASSRLS"
    return None


async def _nothing_more(connection: Any) -> str | None:
    del connection
    return None


async def _database(url: str, look: Callable[[Any], Awaitable[str | None]] = _nothing_more) -> str | None:
    import asyncpg  # noqa: PLC0415 who asks for one of the two should not load the other's client (0.1 s)

    try:
        async with asyncio.timeout(_PATIENCE_S):
            connection = await asyncpg.connect(url)
            version, fault = connection.get_server_version(), await look(connection)
            await connection.close()
    except TimeoutError:
        return f"DATABASE_URL: {_place(url)} does not answer within {_PATIENCE_S:.0f} s"
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as refused:
        return f"DATABASE_URL: cannot use the database at {_place(url)}: {_first_line(refused)}"
    if version.major < _OLDEST:
        return f"DATABASE_URL: {_place(url)} is PostgreSQL {version.major}; leasebox needs {_OLDEST} or newer"
    return fault


async def _redis(url: str) -> str | None:
    from redis.asyncio import Redis  # noqa: PLC0415 see above
    from redis.exceptions import RedisError  # noqa: PLC0415

    redis = Redis.from_url(url, socket_connect_timeout=_PATIENCE_S, socket_timeout=_PATIENCE_S)
    try:
        await redis.ping()
    except (OSError, RedisError) as fault:
        return f"REDIS_URL: cannot use the server at {_place(url)}: {_first_line(fault)}"
    finally:
        await redis.aclose()
    return None


def _place(url: str) -> str:
    # Only what stands after the user part, and no query: passwords may stand in both.
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or parts.path or "its socket"


def _first_line(fault: Exception) -> str:
    return (str(fault) or type(fault).__name__).splitlines()[0]
