"""The named points are where they say: killed before the commit nothing is there, killed after it everything is."""

import asyncio
from typing import Any, cast

import asyncpg
import pytest

from tests.faults import gates
from tests.faults.machine import Machine

ANSWER_KEPT = next(point for point in gates.POINTS if point.name == "answer kept")
_KEEP = """
INSERT INTO kept_answers (tenant_id, key, fingerprint, status, kid, sealed, expires_at)
VALUES (gen_random_uuid(), 'k', '', 200, 'x', '', now())
"""


class Stage:
    """Stands in for a machine whose one process is a connection of ours."""

    def __init__(self, url: str, victim: asyncpg.Connection) -> None:
        self._url = url
        self._victim = victim

    async def database(self) -> asyncpg.Connection:
        return await asyncpg.connect(self._url)

    def family(self, role: str) -> list[int]:
        """Asked for when somebody stands before the gate: the connection dies."""
        assert role == "http"
        self._victim.terminate()
        return []


@pytest.mark.parametrize(("side", "kept"), [("before", 0), ("after", 1)])
async def test_what_is_killed_at_a_gate(database_url: str, side: str, kept: int) -> None:
    look = await asyncpg.connect(database_url)
    await gates.install(look)
    victim = await asyncpg.connect(database_url)
    server = victim.get_server_pid()

    async def work() -> None:
        async with victim.transaction():
            await victim.execute(_KEEP)

    killing = asyncio.create_task(gates.kill_at(cast(Any, Stage(database_url, victim)), ANSWER_KEPT, side))
    await asyncio.sleep(0.2)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await work()
    assert await killing
    while await look.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", server):
        await asyncio.sleep(0.01)
    assert await look.fetchval("SELECT count(*) FROM kept_answers") == kept
    await look.close()


async def test_an_open_gate_lets_everybody_through(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await gates.install(connection)
    await gates.install(connection)
    await connection.execute(_KEEP)
    assert await connection.fetchval("SELECT count(*) FROM kept_answers") == 1
    await connection.close()


async def test_a_gate_that_nobody_comes_to(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "_PATIENCE_S", 0.1)
    connection = await asyncpg.connect(database_url)
    await gates.install(connection)
    stage = cast(Machine, Stage(database_url, connection))
    assert not await gates.kill_at(stage, ANSWER_KEPT, "before")
    await connection.close()
