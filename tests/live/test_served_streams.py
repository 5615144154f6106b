"""Streams of real processes over real sockets: kills, restarts, readers that stand still, and a quick end."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from eth_account import Account
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from leasebox.infra import cache, db, migrate
from leasebox.infra.db import Database
from leasebox.infra.facts_log import Fact, append
from leasebox.values.clock import SystemClock
from leasebox.values.facts import MESSAGE_RECEIVED
from leasebox.values.ids import LeaseId, TenantId
from tests.infra.engine_room import EngineRoom, opened_room
from tests.kit import Agent
from tests.kit_mail import until
from tests.wiring.stage import Role, serving

BEGINNING = "evt_00000000000000000000000000"
RATES = {"LEASEBOX_API_RATE": "0", "LEASEBOX_SIGNIN_RATE": "0", "LEASEBOX_TENANT_RATE": "0"}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineRoom]:
    with opened_room(tmp_path_factory.mktemp("room") / "home") as engines:
        migrate.upgrade(engines.database_url)
        yield engines


@pytest.fixture
def roles(room: EngineRoom, tmp_path: Path) -> Iterator[tuple[Role, Role, Role]]:
    """Two HTTP processes and a worker."""
    with (
        serving("http", room.database_url, room.redis_url, tmp_path, **RATES) as first,
        serving("http", room.database_url, room.redis_url, tmp_path, **RATES) as second,
        serving("worker", room.database_url, room.redis_url, tmp_path) as worker,
    ):
        yield first, second, worker


@pytest.fixture
async def log(room: EngineRoom) -> AsyncIterator[Database]:
    redis = cache.connect(room.redis_url, SystemClock())
    database = await db.connect(room.database_url, wakes=redis)
    yield database
    await database.close()
    await redis.close()


def url(role: Role) -> str:
    host, port = role.address("http")
    return f"http://{host}:{port}"


async def signed_in(role: Role) -> Agent:
    return await Agent.signed_in(httpx.AsyncClient(base_url=url(role), timeout=20), Account.create())


async def happen(log: Database, agent: Agent, *names: str, size: int = 0) -> None:
    tenant = TenantId.parse(agent.session["tenant_id"])
    now = SystemClock().now()
    facts = [Fact(tenant, None, None, MESSAGE_RECEIVED, {"name": each, "fill": "x" * size}, now) for each in names]
    await log.transact(lambda tx: append(tx, facts))


class Following:
    """A reader that connects again by the last id whenever it is cut off."""

    def __init__(self, role: Role, agent: Agent) -> None:
        self.names: list[str] = []
        self.cuts = 0
        self.place = BEGINNING
        self._role = role
        self._token = {"authorization": agent.http.headers["authorization"]}
        self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async with httpx.AsyncClient(base_url=url(self._role), headers=self._token, timeout=30) as http:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    async with http.stream("GET", "/v2/events", headers={"last-event-id": self.place}) as answer:
                        async for line in answer.aiter_lines():
                            self._take(line)
                self.cuts += 1
                await asyncio.sleep(0.05)

    def _take(self, line: str) -> None:
        field, _, text = line.partition(": ")
        if field == "data" and "event_id" in text:
            event = json.loads(text)
            self.names.append(event["data"].get("name", event["type"]))
            self.place = event["event_id"]

    async def has(self, count: int) -> list[str]:
        async def there() -> bool:
            return len(self.names) >= count

        await until(there)
        return self.names

    async def leave(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


@contextlib.asynccontextmanager
async def socket(role: Role, agent: Agent, **wish: Any) -> AsyncIterator[ClientConnection]:
    """A WebSocket as a browser opens it: the token goes in the first message."""
    async with connect(url(role).replace("http", "ws") + "/v2/events/ws", max_size=2**24) as one:
        await one.send(json.dumps({"authenticate": {"token": agent.session["access_token"]}}))
        assert "authenticated" in json.loads(await one.recv())
        await one.send(json.dumps({"subscribe": wish}))
        assert "subscribed" in json.loads(await one.recv())
        yield one


async def test_both_doors_of_both_processes_tell_everything_once_over_a_restart_of_redis(
    roles: tuple[Role, Role, Role], room: EngineRoom, log: Database
) -> None:
    first, second, _ = roles
    agent = await signed_in(first)
    readers = [Following(role, agent) for role in (first, second) for _ in range(3)]
    async with socket(second, agent, last_event_id=BEGINNING) as one:
        await happen(log, agent, *[f"a{index}" for index in range(10)])
        for each in readers:
            await each.has(10)
        room.kill("valkey")
        await happen(log, agent, *[f"b{index}" for index in range(10)])
        await room.revive()
        await happen(log, agent, *[f"c{index}" for index in range(10)])
        wanted = [f"{letter}{index}" for letter in "abc" for index in range(10)]
        for each in readers:
            assert await each.has(30) == wanted
        async with asyncio.timeout(20):
            heard = [json.loads(await one.recv()) for _ in range(30)]
        assert [each["data"]["name"] for each in heard] == wanted
    assert {each.cuts for each in readers} == {0}
    for each in readers:
        await each.leave()
    await agent.http.aclose()


async def test_facts_written_while_no_worker_runs_are_told_once_one_does(
    roles: tuple[Role, Role, Role], room: EngineRoom, log: Database, tmp_path: Path
) -> None:
    first, _, worker = roles
    agent = await signed_in(first)
    reader = Following(first, agent)
    worker.process.kill()
    worker.process.wait()
    await happen(log, agent, "1", "2")
    await asyncio.sleep(1.2)
    assert reader.names == []
    with serving("worker", room.database_url, room.redis_url, tmp_path):
        assert await reader.has(2) == ["1", "2"]
    await reader.leave()
    await agent.http.aclose()


async def test_a_process_with_open_streams_ends_quickly_and_readers_go_on_elsewhere(
    roles: tuple[Role, Role, Role], log: Database
) -> None:
    first, second, _ = roles
    agent = await signed_in(second)
    reader = Following(first, agent)
    async with socket(first, agent) as one:
        await happen(log, agent, "1")
        await reader.has(1)
        began = time.monotonic()
        status, said = await asyncio.to_thread(first.stop)
        took = time.monotonic() - began
        with pytest.raises(ConnectionClosed):
            while True:
                await one.recv()
        assert one.close_code == 1012
    assert status == 0, said
    assert took < 4
    assert '"level":"error"' not in said
    await reader.leave()
    await happen(log, agent, "2")
    elsewhere = Following(second, agent)
    elsewhere.place = reader.place

    assert await elsewhere.has(1) == ["2"]
    await elsewhere.leave()
    await agent.http.aclose()


async def test_one_that_reads_nothing_holds_up_nobody_and_costs_little(
    roles: tuple[Role, Role, Role], log: Database
) -> None:
    """Its buffers fill up, then it waits; the others go on, and the process does not grow with what is written."""
    first, _, _ = roles
    agent = await signed_in(first)
    host, port = first.address("http")
    reader, writer = await asyncio.open_connection(host, port, limit=1024)
    token = agent.http.headers["authorization"]
    writer.write(f"GET /v2/events HTTP/1.1\r\nhost: {host}\r\nauthorization: {token}\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    healthy = Following(first, agent)
    before = rss_mb(first)
    for batch in range(20):
        await happen(log, agent, *[f"{batch} {index}" for index in range(50)], size=20_000)
    await healthy.has(1_000)
    assert rss_mb(first) - before < 100
    assert len(set(healthy.names)) == 1_000
    writer.transport.abort()
    await healthy.leave()
    await agent.http.aclose()


async def test_a_socket_that_reads_nothing_holds_up_nobody_either(
    roles: tuple[Role, Role, Role], log: Database
) -> None:
    first, _, _ = roles
    agent = await signed_in(first)
    async with socket(first, agent) as idle:
        idle.transport.pause_reading()  # type: ignore[attr-defined]
        healthy = Following(first, agent)
        before = rss_mb(first)
        for batch in range(20):
            await happen(log, agent, *[f"{batch} {index}" for index in range(50)], size=20_000)
        await healthy.has(1_000)
        assert rss_mb(first) - before < 100
        idle.transport.abort()
    await healthy.leave()
    await agent.http.aclose()


async def test_a_message_too_large_and_one_that_is_none_are_answered(roles: tuple[Role, Role, Role]) -> None:
    first, _, _ = roles
    for said, code in (("x" * 1_000_000, 4413), ("hello", 4400), (b"{}", 4400)):
        async with connect(url(first).replace("http", "ws") + "/v2/events/ws") as one:
            await one.send(said)
            assert json.loads(await one.recv())["status"] == code - 4000
            with pytest.raises(ConnectionClosed):
                await one.recv()
            assert one.close_code == code


async def test_the_worker_tells_the_end_of_leases(roles: tuple[Role, Role, Role], log: Database) -> None:
    first, _, _ = roles
    agent = await signed_in(first)
    lease = await agent.lease()
    reader = Following(first, agent)
    over = "UPDATE leases SET expires_at = now(), tell_at = now() WHERE id = $1"
    await log.transact(lambda tx: tx.run(over, LeaseId.parse(lease["lease_id"])))
    assert await reader.has(1) == ["lease.expired"]
    await reader.leave()
    await agent.http.aclose()


def rss_mb(role: Role) -> float:
    pages = int(Path(f"/proc/{role.process.pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20
