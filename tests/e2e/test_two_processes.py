"""200 at once on two HTTP processes of a running leasebox, Redis emptied meanwhile: exact every time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest
import redis.asyncio
from eth_account import Account

from leasebox.billing import ledger
from leasebox.infra import db
from leasebox.infra.db import Database
from leasebox.infra.embedded import attach
from leasebox.values.money import Usdc
from tests.billing.shop import MESSAGES, SMALL, ask_proof, balance, lease_with, proof, tenant_of, use_up
from tests.infra.homes import offspring, serves
from tests.instance import Instance, up
from tests.kit import Agent

AT_ONCE = 200
Call = Callable[[Agent], Awaitable[httpx.Response]]


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    place = tmp_path_factory.mktemp("two")
    (place / "prices.toml").write_text(SMALL)
    rates = dict.fromkeys(("LEASEBOX_API_RATE", "LEASEBOX_SIGNIN_RATE", "LEASEBOX_TENANT_RATE"), "0")
    with up(place / "home", LEASEBOX_WORKERS="2", LEASEBOX_PRICES=str(place / "prices.toml"), **rates) as running:
        yield running


@pytest.fixture
async def agent(instance: Instance) -> AsyncIterator[Agent]:
    """A new tenant's agent, whose calls each take a connection of their own."""
    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=instance.url, timeout=60, limits=limits) as http:
        yield await Agent.signed_in(http, Account.create())


@pytest.fixture
async def database(instance: Instance) -> AsyncIterator[Database]:
    urls = attach(instance.home)
    assert urls is not None
    assert urls.database_url is not None
    opened = await db.connect(urls.database_url)
    yield opened
    await opened.close()


async def rush(instance: Instance, agent: Agent, call: Call) -> Counter[int]:
    """Call 200 times at once and empty Redis meanwhile; how often each status came. Both processes must have served."""
    urls = attach(instance.home)
    assert urls is not None
    assert urls.redis_url is not None
    cache = redis.asyncio.Redis.from_url(urls.redis_url)
    serving = [pid for pid in offspring(instance.process.pid) if serves(pid, "http")]
    assert len(serving) == 2
    before = {pid: _cpu_ticks(pid) for pid in serving}
    calls = asyncio.gather(*(call(agent) for _ in range(AT_ONCE)))
    while not calls.done():
        await cache.flushall()
        await asyncio.sleep(0.02)
    await cache.aclose()
    assert all(_cpu_ticks(pid) > ticks + 2 for pid, ticks in before.items()), before
    return Counter(answer.status_code for answer in await calls)


def _cpu_ticks(pid: int) -> int:
    """CPU that a process has used, in hundredths of a second (proc(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def count(database: Database, agent: Agent, sql: str) -> int:
    """A number about the agent's tenant, which is $1."""
    found: int = await database.read(lambda tx: tx.value(sql, tenant_of(agent)))
    return found


async def books_agree(database: Database) -> None:
    assert await database.read(ledger.discrepancies) == []
    trial = await database.read(ledger.trial_balance)
    assert sum((line.debited for line in trial), Usdc(0)) == sum((line.credited for line in trial), Usdc(0))


async def test_the_last_free_call(instance: Instance, agent: Agent, database: Database) -> None:
    await use_up(agent, 1)
    assert await rush(instance, agent, lease_with) == {201: 1, 402: AT_ONCE - 1}
    assert await count(database, agent, "SELECT sum(free_quantity) FROM usage_events WHERE tenant_id = $1") == 2
    assert await rush(instance, agent, lambda one: one.http.get(MESSAGES)) == {200: 3, 402: AT_ONCE - 3}
    await books_agree(database)


async def test_one_proof(instance: Instance, agent: Agent, database: Database) -> None:
    await use_up(agent)
    text = await proof(agent)
    assert await rush(instance, agent, lambda one: lease_with(one, text)) == {201: 1, 402: AT_ONCE - 1}
    spent = "SELECT count(*) FROM ledger_transfers WHERE tenant_id = $1 AND kind = 'spend'"
    assert await count(database, agent, spent) == 1
    assert await count(database, agent, "SELECT count(*) FROM leases WHERE tenant_id = $1") == 3
    await books_agree(database)


async def test_one_idempotency_key(instance: Instance, agent: Agent, database: Database) -> None:
    bodies = set()

    async def call(one: Agent) -> httpx.Response:
        answer = await lease_with(one, **{"idempotency-key": "one"})
        bodies.add(answer.content)
        return answer

    assert await rush(instance, agent, call) == {201: AT_ONCE}
    assert len(bodies) == 1
    assert await count(database, agent, "SELECT count(*) FROM leases WHERE tenant_id = $1") == 1
    assert await count(database, agent, "SELECT count(*) FROM usage_events WHERE tenant_id = $1") == 1


async def test_the_credit_limit(instance: Instance, agent: Agent, database: Database) -> None:
    limit = Usdc.parse((await balance(agent))["credit_limit_usdc"])
    price = Usdc.parse((await ask_proof(agent)).json()["amount_usdc"])
    fits = limit.micros // price.micros - 1  # the one that was just issued is held
    assert 0 < fits < AT_ONCE
    assert await rush(instance, agent, ask_proof) == {200: fits, 402: AT_ONCE - fits}
    assert (await balance(agent))["credit_left_usdc"] == "0.000000"
    await books_agree(database)
