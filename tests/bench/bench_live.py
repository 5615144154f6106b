"""Event streams of a real HTTP process and a real worker: how soon a committed fact is told, and whether each is once.

CPU is the HTTP process's, for one event to one reader. `python -m tests.bench live [--quick]` prints the figures.
"""

import asyncio
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from eth_account import Account

from leasebox.infra import cache, db, migrate
from leasebox.infra.db import Database, Wake
from leasebox.infra.facts_log import Fact, append
from leasebox.values.clock import SystemClock
from leasebox.values.facts import MESSAGE_RECEIVED
from leasebox.values.ids import TenantId
from tests.bench import figures, http_cpu
from tests.bench.figures import Row
from tests.infra.engine_room import EngineRoom, opened_room
from tests.kit import Agent
from tests.wiring.stage import Role, serving

QUICK = {"readers": 20, "facts": 1_000, "rounds": 30}
GOALS = {"median_ms": 10.0, "p99_ms": 60.0}
_RATES = {"LEASEBOX_API_RATE": "0", "LEASEBOX_SIGNIN_RATE": "0", "LEASEBOX_TENANT_RATE": "0"}
_EVENT = re.compile(rb"id: (evt_\w+)\nevent: [^\n]+\ndata: [^\n]+\"n\":(\d+)")
_PATIENCE_S = 300


class _Told:
    """Publishes wake-ups as usual and remembers when the last commit was done."""

    def __init__(self, wakes: Any) -> None:
        self._wakes = wakes
        self.at = 0.0

    async def publish(self, wakes: Sequence[Wake]) -> None:
        self.at = time.perf_counter()
        await self._wakes.publish(wakes)


class _Reader:
    """One SSE reader that counts. seen: how often each number came; at: when the newest did."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}
        self.at: dict[int, float] = {}

    async def follow(self, role: Role, token: str, opened: asyncio.Event) -> None:
        host, port = role.address("http")
        reader, writer = await asyncio.open_connection(host, port, limit=2**20)
        writer.write(f"GET /v2/events HTTP/1.1\r\nhost: {host}\r\nauthorization: {token}\r\n\r\n".encode())
        rest = b""
        try:
            while piece := await reader.read(2**18):
                now = time.perf_counter()
                *whole, rest = (rest + piece).split(b"\n\n")
                for event in whole:
                    opened.set()
                    if match := _EVENT.search(event):
                        number = int(match[2])
                        self.seen[number] = self.seen.get(number, 0) + 1
                        self.at[number] = now
        finally:
            writer.close()


def rows(readers: int = 100, facts: int = 6_000, rounds: int = 300) -> list[Row]:
    """Commit to event for one reader and for many, and many readers of many facts while Redis restarts."""
    with tempfile.TemporaryDirectory() as folder, opened_room(Path(folder) / "home") as room:
        migrate.upgrade(room.database_url)
        with (
            serving("http", room.database_url, room.redis_url, Path(folder), **_RATES) as http,
            serving("worker", room.database_url, room.redis_url, Path(folder)),
        ):
            return asyncio.run(_measured(room, http, readers, facts, rounds))


async def _measured(room: EngineRoom, http: Role, readers: int, facts: int, rounds: int) -> list[Row]:
    redis = cache.connect(room.redis_url, SystemClock())
    told = _Told(redis)
    log = await db.connect(room.database_url, wakes=told, at_most=4)
    host, port = http.address("http")
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=20) as client:
        try:
            return [
                await _latency(await Agent.signed_in(client, Account.create()), http, log, told, 1, rounds),
                await _latency(await Agent.signed_in(client, Account.create()), http, log, told, readers, rounds),
                *await _once(await Agent.signed_in(client, Account.create()), http, log, room, readers, facts),
            ]
        finally:
            await log.close()
            await redis.close()


async def _latency(agent: Agent, http: Role, log: Database, told: _Told, readers: int, rounds: int) -> Row:
    """At 50 facts a second, from commit to the event at each reader."""
    following = await _opened(agent, http, readers)
    committed: dict[int, float] = {}
    before = _cpu(http)
    for number in range(rounds):
        await _write(agent, log, number, number + 1)
        committed[number] = told.at
        await asyncio.sleep(0.02)
    await _until_all(following, rounds)
    cpu_us = http_cpu.spent(before, _cpu(http)) / (rounds * readers) * 1e6
    took = [(each.at[number] - committed[number]) * 1000 for each, _ in following for number in range(5, rounds)]
    await _left(following)
    name, goals = f"live: commit to SSE event, {readers} reader(s), 50 facts/s", (GOALS["median_ms"], GOALS["p99_ms"])
    return figures.row(name, "ms", took, cpu_us=cpu_us, goal=goals[0], goal_p99=goals[1])


async def _once(agent: Agent, http: Role, log: Database, room: EngineRoom, readers: int, facts: int) -> list[Row]:
    """Each reader gets each fact once, though Redis is killed and started again in the middle."""
    following = await _opened(agent, http, readers)
    began, before = time.perf_counter(), _cpu(http)
    step = max(1, facts // 100)
    for first in range(0, facts, step):
        await _write(agent, log, first, min(first + step, facts))
        if first == facts // 2 // step * step:
            room.kill("valkey")
            reviving = asyncio.create_task(room.revive())
        await asyncio.sleep(0.02)
    await reviving
    await _until_all(following, facts)
    took = time.perf_counter() - began
    cpu_us = http_cpu.spent(before, _cpu(http)) / (readers * facts) * 1e6
    once = sum(count == 1 for each, _ in following for count in each.seen.values())
    await _left(following)
    share, told = once / (readers * facts), readers * facts
    name = f"live: {readers} readers get each of {facts} facts once, Redis restarted"
    return [
        figures.row(name, "share", [share], n=told, goal=1.0),
        figures.row("live: the same, events told", "events/s", [told / took], n=told, cpu_us=cpu_us),
    ]


def _cpu(role: Role) -> dict[int, float]:
    return http_cpu.seconds(http_cpu.descendants(role.process.pid))


async def _opened(agent: Agent, http: Role, readers: int) -> "list[tuple[_Reader, asyncio.Task[None]]]":
    following, opened = [], []
    for _ in range(readers):
        reader, event = _Reader(), asyncio.Event()
        following.append((reader, asyncio.create_task(reader.follow(http, agent.http.headers["authorization"], event))))
        opened.append(event)
    async with asyncio.timeout(_PATIENCE_S):
        for event in opened:
            await event.wait()
    return following


async def _write(agent: Agent, log: Database, first: int, end: int) -> None:
    tenant, now = TenantId.parse(agent.session["tenant_id"]), SystemClock().now()
    happened = [Fact(tenant, None, None, MESSAGE_RECEIVED, {"n": number}, now) for number in range(first, end)]
    await log.transact(lambda tx: append(tx, happened))


async def _until_all(following: "list[tuple[_Reader, asyncio.Task[None]]]", count: int) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while any(len(each.seen) < count for each, _ in following):
            assert not any(task.done() for _, task in following), "a reader was cut off"
            await asyncio.sleep(0.01)


async def _left(following: "list[tuple[_Reader, asyncio.Task[None]]]") -> None:
    for _, task in following:
        task.cancel()
    await asyncio.gather(*(task for _, task in following), return_exceptions=True)


if __name__ == "__main__":
    for row in rows():
        print(row)
