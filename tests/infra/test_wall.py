"""Behind whose wall a task works, and that it is felt in the database: by tasks, connections, requests and passages."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import httpx
import pytest
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar, get

from leasebox.infra import db, migrate, ports, reach, wall
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.edge import Edge
from leasebox.values.errors import Unavailable
from leasebox.values.ids import TenantId
from tests import debian
from tests.kit import House

ANN, BOB = (TenantId.new(datetime(2026, 11, 20, tzinfo=UTC)) for _ in range(2))
_SETUP = f"""
CREATE TABLE things (tenant_id uuid NOT NULL, n int NOT NULL UNIQUE);
ALTER TABLE things ENABLE ROW LEVEL SECURITY;
ALTER TABLE things FORCE ROW LEVEL SECURITY;
CREATE POLICY wall ON things USING ({wall.OWN})
"""
_SEEN = "SELECT DISTINCT tenant_id FROM things"


@pytest.fixture(params=["sessions of our own", "PgBouncer"])
async def store(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Database]:
    """A pool of two connections on a walled table in which both tenants have rows; under both ways of reading."""
    opened = await db.connect(database_url, at_most=2, statement_cache=0 if request.param == "PgBouncer" else 256)
    await opened.transact(lambda tx: tx.run(_SETUP))
    await opened.transact(lambda tx: tx.run("INSERT INTO things SELECT $1, g FROM generate_series(1, 5) g", ANN))
    await opened.transact(lambda tx: tx.run("INSERT INTO things SELECT $1, g FROM generate_series(6, 9) g", BOB))
    yield opened
    await opened.close()


async def seen(tx: Tx) -> set[UUID]:
    return {row["tenant_id"] for row in await tx.all(_SEEN)}


async def test_a_statement_without_a_tenant_finds_one_tenant_only(store: Database) -> None:
    for verb in (store.read, store.transact):
        with wall.behind(ANN):
            assert await verb(seen) == {ANN}
        with wall.behind(BOB):
            assert await verb(seen) == {BOB}
        assert await verb(seen) == {ANN, BOB}, "the system sees all"


async def test_nothing_is_written_for_somebody_else(store: Database) -> None:
    with wall.behind(ANN):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await store.transact(lambda tx: tx.run("INSERT INTO things VALUES ($1, 10)", BOB))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await store.transact(lambda tx: tx.run("UPDATE things SET tenant_id = $1", BOB))
        assert await store.transact(lambda tx: tx.run("UPDATE things SET n = -n")) == 5
        assert await store.transact(lambda tx: tx.run("DELETE FROM things")) == 5
    assert await store.read(seen) == {BOB}


async def test_two_hundred_requests_at_once_on_two_connections(store: Database) -> None:
    """Each takes turns with the others between its statements, and some of them fail or are called off."""
    dice = random.Random(7)

    async def request(tenant: TenantId | None, steps: int) -> Counter[str]:
        found: Counter[str] = Counter()
        with wall.outside("nobody has signed in"):
            assert await store.read(seen) == {ANN, BOB}
            if tenant is not None:
                wall.enter(tenant)
            for _ in range(steps):
                verb = dice.choice([store.read, store.transact])
                found["right" if await verb(seen) == ({ANN, BOB} if tenant is None else {tenant}) else "wrong"] += 1
                await asyncio.sleep(0)
        return found

    async def failing(tenant: TenantId) -> Counter[str]:
        with wall.behind(tenant), pytest.raises(asyncpg.UniqueViolationError):
            await store.transact(lambda tx: tx.run("INSERT INTO things VALUES ($1, 1)", tenant))
        return Counter()

    async def called_off(tenant: TenantId) -> Counter[str]:
        with wall.behind(tenant):
            task = asyncio.create_task(dice.choice([store.read, store.transact])(_slow))
        await asyncio.sleep(dice.random() / 50)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return Counter()

    whose = [dice.choice([ANN, BOB, None]) for _ in range(200)]
    work = [request(tenant, dice.randint(1, 4)) for tenant in whose]
    work += [each(dice.choice([ANN, BOB])) for each in (failing, called_off) for _ in range(20)]
    dice.shuffle(work)
    total: Counter[str] = sum(await asyncio.gather(*work), Counter())
    assert total["wrong"] == 0
    assert total["right"] >= 200


async def _slow(tx: Tx) -> set[UUID]:
    await tx.value("SELECT pg_sleep(0.01)")
    return await seen(tx)


async def test_a_transaction_that_failed_leaves_nobodys_wall_behind(store: Database) -> None:
    for fault in (LookupError, asyncio.CancelledError):

        async def fails(tx: Tx, fault: type[BaseException] = fault) -> None:
            assert await seen(tx) == {ANN}
            raise fault

        with wall.behind(ANN), pytest.raises(fault):
            await store.transact(fails)
        assert await asyncio.gather(*(store.read(seen) for _ in range(4))) == [{ANN, BOB}] * 4
        with wall.behind(BOB):
            assert await asyncio.gather(*(store.read(seen) for _ in range(4))) == [{BOB}] * 4


async def test_a_beginning_that_is_called_off_leaves_no_transaction_open(
    store: Database, caplog: pytest.LogCaptureFixture
) -> None:
    for turns in range(40):
        with wall.behind(ANN):
            task = asyncio.create_task(store.transact(seen))
        for _ in range(turns % 7):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await asyncio.gather(*(store.read(seen) for _ in range(4))) == [{ANN, BOB}] * 4
    assert "active transaction" not in caplog.text


async def test_a_move_that_was_called_off_is_made_again(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    query = db.Connection.execute

    async def called_off(self: Any, sql: str, *values: Any, **more: Any) -> Any:
        if sql.startswith("SET "):
            raise asyncio.CancelledError
        return await query(self, sql, *values, **more)

    for _ in range(4):
        with wall.behind(ANN), monkeypatch.context() as patch:
            patch.setattr(db.Connection, "execute", called_off)
            await asyncio.gather(*(store.read(seen) for _ in range(2)), return_exceptions=True)
    with wall.behind(ANN):
        assert await asyncio.gather(*(store.read(seen) for _ in range(4))) == [{ANN}] * 4


async def test_a_connection_that_was_lost_is_replaced_by_one_that_knows_its_place(store: Database) -> None:
    async def loses(tx: Tx) -> None:
        tx._connection._con._transport.abort()
        await tx.value("SELECT 1")

    for verb in (store.read, store.transact):
        with wall.behind(ANN):
            assert await asyncio.gather(*(store.read(seen) for _ in range(4))) == [{ANN}] * 4
            with pytest.raises(Unavailable):
                await verb(loses)
            assert await store.read(seen) == {ANN}
        assert await asyncio.gather(*(store.read(seen) for _ in range(4))) == [{ANN, BOB}] * 4


async def test_tasks_of_a_request_stay_behind_its_wall_and_those_from_before_outside(store: Database) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def background() -> set[UUID]:
        begun.set()
        await go.wait()
        return await store.read(seen)

    task = asyncio.create_task(background())
    await begun.wait()
    with wall.behind(ANN):
        go.set()
        assert await task == {ANN, BOB}, "it was started by the system"
        own = asyncio.create_task(background())
        with wall.outside("a loop for all tenants"):
            common = asyncio.create_task(background())
    assert (await own, await common) == ({ANN}, {ANN, BOB})
    assert await store.read(seen) == {ANN, BOB}


async def test_a_passage_opens_the_wall_and_shuts_it_again(store: Database) -> None:
    async def passing(tx: Tx) -> list[set[UUID]]:
        before = await seen(tx)
        async with tx.across_tenants("to see"):
            within = await seen(tx)
            async with tx.across_tenants("already open"):
                pass
            within &= await seen(tx)
        return [before, within, await seen(tx)]

    for verb in (store.read, store.transact):
        with wall.behind(ANN):
            assert await verb(passing) == [{ANN}, {ANN, BOB}, {ANN}]
            assert await store.read(seen) == {ANN}
        assert await verb(passing) == [{ANN, BOB}] * 3


async def test_a_passage_that_fails_is_shut_too(store: Database) -> None:
    async def fails(tx: Tx, sql: str) -> set[UUID]:
        try:
            async with tx.across_tenants("to fail"):
                await tx.run(sql)
                raise LookupError
        except (LookupError, asyncpg.DivisionByZeroError):
            return await seen(tx)

    for verb in (store.read, store.transact):
        with wall.behind(ANN):
            assert await verb(lambda tx: fails(tx, "SELECT 1")) == {ANN}
    with wall.behind(ANN), pytest.raises(asyncpg.InFailedSQLTransactionError):
        await store.transact(lambda tx: fails(tx, "SELECT 1 / 0"))
    with wall.behind(ANN):
        assert await store.read(seen) == {ANN}


async def test_what_is_no_tenant_is_refused_rather_than_let_through(store: Database) -> None:
    async def nonsense(tx: Tx) -> set[UUID]:
        await tx.run("SET LOCAL leasebox.tenant = 'everybody'")
        return await seen(tx)

    with pytest.raises(asyncpg.InvalidTextRepresentationError):
        await store.transact(nonsense)


async def test_the_setting_is_looked_up_once_a_statement(store: Database) -> None:
    with wall.behind(ANN):
        plan = await store.read(lambda tx: tx.all("EXPLAIN (ANALYZE, TIMING OFF) SELECT * FROM things"))
    text = "\n".join(row[0] for row in plan)
    assert "InitPlan" in text
    assert "SubPlan" not in text
    assert "Rows Removed by Filter: 4" in text


async def _nothing(tx: Tx) -> None:
    await tx.value("SELECT 1")


async def test_a_read_that_need_not_move_costs_no_round_trip(database_url: str) -> None:
    one = await db.connect(database_url, at_most=1)
    calls: list[str] = []
    query = db.Connection.execute

    async def noted(self: Any, sql: str, *values: Any, **more: Any) -> Any:
        calls.append(sql)
        return await query(self, sql, *values, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db.Connection, "execute", noted)
        await one.read(_nothing)
        with wall.behind(ANN):
            await one.read(_nothing)
            await one.read(_nothing)
            await one.transact(_nothing)
        with wall.behind(BOB):
            await one.transact(_nothing)
        await one.read(_nothing)
    await one.close()
    assert calls == [
        f"SET leasebox.tenant = '{ANN.hex}'",
        *("BEGIN;", "COMMIT;"),
        *(f"BEGIN; SET LOCAL leasebox.tenant = '{BOB.hex}'", "COMMIT;"),
        "SET leasebox.tenant = ''",
    ]


@pytest.fixture(scope="module")
def debian_urls() -> Iterator[tuple[str, str]]:
    """A migrated database of Debian's PostgreSQL 15 by its superuser, and by the plain role that owns it."""
    with debian.postgres_15() as url:
        asyncio.run(_found(url))
        owner = urlsplit(url)._replace(netloc=f"plain:plain@{urlsplit(url).netloc.rpartition('@')[2]}", path="/walled")
        asyncio.run(asyncio.to_thread(migrate.upgrade, owner.geturl()))
        yield urlsplit(url)._replace(path="/walled").geturl(), owner.geturl()


async def _found(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
    await connection.execute("CREATE DATABASE walled OWNER plain")
    await connection.close()


async def test_on_postgresql_15_the_wall_holds_for_the_owner_and_superusers_are_told_of(
    debian_urls: tuple[str, str],
) -> None:
    superuser, owner = [await db.connect(url, at_most=2) for url in debian_urls]
    insert = "INSERT INTO tenants VALUES ($1, 'active', now()), ($2, 'active', now())"
    await owner.transact(lambda tx: tx.run(insert, ANN, BOB))
    with wall.behind(ANN):
        assert await owner.read(lambda tx: tx.value("SELECT count(*) FROM tenants")) == 1
        assert await superuser.read(lambda tx: tx.value("SELECT count(*) FROM tenants")) == 2
    assert (await superuser.climbs_the_wall(), await owner.climbs_the_wall()) == (True, False)
    assert "superuser" in (await asyncio.to_thread(reach.wall_fault, debian_urls[0]) or "")
    assert await asyncio.to_thread(reach.wall_fault, debian_urls[1]) is None
    await superuser.close()
    await owner.close()


# Requests


@get("/whose", opt={"signed_in": True})
async def whose() -> str:
    await asyncio.sleep(0.001)
    return wall.current()


@get("/public")
async def public() -> str:
    return wall.current()


async def _guard(connection: Any, handler: Any) -> None:
    if handler.opt.get("signed_in"):
        await asyncio.sleep(0)
        wall.enter(TenantId.parse(connection.headers["tenant"]))


@pytest.fixture
async def served() -> AsyncIterator[str]:
    """An application under granian, as the http role serves it; its URL."""
    app = Edge(Litestar([whose, public], guards=[_guard], openapi_config=None, logging_config=None), ())
    port = ports.claim("127.0.0.1", 0)
    server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGINL, log_enabled=False)
    serving = asyncio.create_task(server.serve())
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient() as http:
        for _ in range(200):
            try:
                await http.get(f"{url}/public")
            except httpx.TransportError:
                await asyncio.sleep(0.02)
            else:
                break
    yield url
    server.signal_handler_interrupt()  # type: ignore[no-untyped-call]
    await serving


async def test_guard_and_handler_share_their_wall_and_leave_none_to_the_next_request(served: str) -> None:
    only = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    async with httpx.AsyncClient(base_url=served, limits=only) as http:
        for tenant in (ANN, BOB, ANN):
            assert (await http.get("/whose", headers={"tenant": str(tenant)})).text == tenant.hex
            assert (await http.get("/public")).text == wall.SYSTEM
    async with httpx.AsyncClient(base_url=served, timeout=30) as http:
        asked = [random.Random(n).choice([ANN, BOB]) for n in range(100)]
        told = await asyncio.gather(*(http.get("/whose", headers={"tenant": str(each)}) for each in asked))
    assert [each.text for each in told] == [each.hex for each in asked]


async def test_a_request_of_a_tenant_ends_with_its_wall(house: House) -> None:
    """Here requests run in the very task that asks."""
    agent = await house.agent()
    await agent.lease()
    assert wall.current() == wall.SYSTEM
    assert (await agent.http.get("/v2/mailboxes/leases")).status_code == 200
    assert wall.current() == wall.SYSTEM


async def test_what_a_route_runs_stands_behind_the_wall_of_its_caller(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await house.agent()
    walls: list[str] = []
    query = Tx.all

    async def noted(tx: Tx, sql: str, *values: Any) -> Any:
        walls.append(wall.current())
        return await query(tx, sql, *values)

    monkeypatch.setattr(Tx, "all", noted)
    await agent.http.get("/v2/mailboxes/leases")
    assert walls.pop() == TenantId.parse(agent.session["tenant_id"]).hex
    await house.db.read(lambda tx: tx.all("SELECT 1"))
    assert walls.pop() == wall.SYSTEM
