"""Loans of a real pool's connections: who gets which one, and what becomes of those that nobody borrows."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from leasebox.infra import lending
from leasebox.infra.lending import Lender


@pytest.fixture
async def pool(database_url: str) -> asyncpg.Pool:
    return await asyncpg.create_pool(database_url, min_size=1, max_size=2)


@pytest.fixture
async def lender(pool: asyncpg.Pool) -> AsyncIterator[Lender]:
    one = Lender(pool, 0.5)
    yield one
    await one.close()


async def pid(lender: Lender) -> int:
    async with lender.loan() as connection:
        return int(await connection.fetchval("SELECT pg_backend_pid()"))


async def test_one_after_the_other_borrow_the_same_connection_without_the_pool(
    lender: Lender, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await pid(lender)
    with monkeypatch.context() as patch:
        patch.setattr(asyncpg.Pool, "acquire", None)
        patch.setattr(asyncpg.Pool, "release", None)
        assert {await pid(lender) for _ in range(5)} == {first}


async def test_a_crowd_takes_turns_on_all_connections(lender: Lender, pool: asyncpg.Pool) -> None:

    async def work() -> int:
        async with lender.loan() as connection:
            return int(await connection.fetchval("SELECT pg_backend_pid() FROM pg_sleep(0.002)"))

    assert len(set(await asyncio.gather(*(work() for _ in range(40))))) == 2
    assert pool.get_size() == 2


async def test_who_waits_for_the_pool_is_served_before_a_connection_lies_at_hand(lender: Lender) -> None:
    held = [await lender.borrow(), await lender.borrow()]
    waiting = asyncio.create_task(pid(lender))
    await asyncio.sleep(0.01)
    assert not lender.keep(held[0])
    await lender.give_back(held[0])
    assert await asyncio.wait_for(waiting, 2)
    assert lender.keep(held[1])


async def test_patience_ends(lender: Lender) -> None:
    held = [await lender.borrow(), await lender.borrow()]
    with pytest.raises(TimeoutError):
        await lender.borrow()
    assert lender.keep(held[0])
    assert await pid(lender)
    await lender.give_back(held[1])


async def test_what_raised_goes_back_to_the_pool_which_ends_its_transaction(lender: Lender, pool: asyncpg.Pool) -> None:
    with pytest.raises(KeyError):
        async with lender.loan() as connection:
            await connection.execute("BEGIN")
            raise KeyError
    assert pool.get_idle_size() == 1
    async with lender.loan() as connection:
        assert not connection.is_in_transaction()


async def test_an_open_transaction_does_not_lie_at_hand(lender: Lender) -> None:
    connection = await lender.borrow()
    await connection.execute("BEGIN")
    assert not lender.keep(connection)
    await lender.give_back(connection)


async def test_one_that_died_at_hand_is_passed_over(lender: Lender, database_url: str) -> None:
    first = await pid(lender)
    other = await asyncpg.connect(database_url)
    await other.fetchval("SELECT pg_terminate_backend($1, 1000)", first)
    await other.close()
    await asyncio.sleep(0.05)
    assert await pid(lender) != first


async def test_what_nobody_borrows_goes_back_to_the_pool(
    lender: Lender, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "_AT_HAND_S", 0.05)
    await pid(lender)
    assert pool.get_idle_size() == 0
    await asyncio.sleep(0.2)
    assert pool.get_idle_size() == 1
    assert await pid(lender)


async def test_closing_waits_for_what_is_lent(pool: asyncpg.Pool) -> None:
    lender = Lender(pool, 0.5)
    await pid(lender)
    held = await lender.borrow()
    closing = asyncio.create_task(lender.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    assert not lender.keep(held)
    await lender.give_back(held)
    await asyncio.wait_for(closing, 2)
    with pytest.raises(asyncpg.InterfaceError):
        await lender.borrow()
