"""Kept connections."""

import asyncio

from leasebox.sending import transport_pool
from leasebox.sending.relay import Host, Tls
from leasebox.sending.transport import Patience, Session
from leasebox.sending.transport_pool import Pool
from tests.fakes.relay import FakeRelay


async def opened(relay: FakeRelay) -> Session:
    return await Session.opened(Host("x", "127.0.0.1", relay.port, Tls.OFF), None, "here.example", Patience(), [])


async def test_a_kept_connection_is_given_out_once_the_last_one_first() -> None:
    pool = Pool()
    async with FakeRelay().serving() as relay:
        first, second = await opened(relay), await opened(relay)
        pool.keep("a", first)
        pool.keep("a", second)
        assert pool.take("b") is None
        assert pool.take("a") is second
        assert pool.take("a") is first
        assert pool.take("a") is None
        for session in (first, second):
            session.close()


async def test_an_idle_one_is_parted_from_politely() -> None:
    pool = Pool(idle_s=0.05)
    async with FakeRelay().serving() as relay:
        session = await opened(relay)
        pool.keep("a", session)
        async with asyncio.timeout(10):
            while session.is_open:
                await asyncio.sleep(0.01)
        assert pool.take("a") is None
        assert relay.heard[-1] == "QUIT"


async def test_one_that_the_server_has_closed_is_not_given_out() -> None:
    pool = Pool()
    async with FakeRelay().serving() as relay:
        pool.keep("a", await opened(relay))
    await asyncio.sleep(0.05)
    assert pool.take("a") is None
    await pool.close()


async def test_a_worn_out_one_is_not_kept() -> None:
    pool = Pool()
    async with FakeRelay().serving() as relay:
        session = await opened(relay)
        session.mails = transport_pool.MAILS
        pool.keep("a", session)
        assert pool.take("a") is None
        await pool.close()
        assert relay.heard[-1] == "QUIT"


async def test_all_are_parted_from_in_the_end() -> None:
    pool = Pool()
    async with FakeRelay().serving() as relay:
        for key in "aab":
            pool.keep(key, await opened(relay))
        await pool.close()
        assert relay.heard.count("QUIT") == 3
        assert pool.take("a") is None
