"""Wake-ups: who hears what, what a gap in the subscription means, and nothing left behind."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from leasebox.infra import cache
from leasebox.infra.cache import Cache
from leasebox.infra.db import Wake
from leasebox.live.hub import DOOR, Hub, running, woken
from leasebox.values.clock import SystemClock
from tests.kit_mail import until


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Cache]:
    connected = cache.connect(redis_url, SystemClock())
    yield connected
    await connected.close()


def test_only_those_who_wait_for_it_hear_it(redis: Cache) -> None:
    hub = Hub(redis)
    with (
        hub.listening("mailbox", "a") as first,
        hub.listening("mailbox", "a") as second,
        hub.listening("mailbox", "b") as other_box,
        hub.listening("parser", "a") as other_channel,
    ):
        hub.spread(Wake("mailbox", "a"))
        heard = [event.is_set() for event in (first, second, other_box, other_channel)]
        assert heard == [True, True, False, False]


def test_after_a_gap_everybody_looks(redis: Cache) -> None:
    hub = Hub(redis)
    with hub.listening("mailbox", "a") as first, hub.listening("parser", "") as second:
        hub.spread(Wake("*", ""))
        assert first.is_set()
        assert second.is_set()


def test_who_stops_listening_leaves_nothing_behind(redis: Cache) -> None:
    hub = Hub(redis)
    with hub.listening("mailbox", "a"), hub.listening("mailbox", "a"):
        pass
    with contextlib.suppress(RuntimeError), hub.listening("mailbox", "b"):
        raise RuntimeError
    assert not hub._waiters
    hub.spread(Wake("mailbox", "a"))
    assert not hub._waiters


def test_a_hub_that_closes_wakes_everybody(redis: Cache) -> None:
    hub = Hub(redis)
    with hub.listening("mailbox", "a") as event:
        hub.close()
        assert event.is_set()
        assert hub.closing


async def test_waiting_ends_with_the_event_or_the_time() -> None:
    event = asyncio.Event()
    started = time.monotonic()
    await woken(event, 0.05)
    assert 0.04 < time.monotonic() - started < 2
    asyncio.get_running_loop().call_later(0.01, event.set)
    async with asyncio.timeout(10):
        await woken(event, 60)
    assert not event.is_set()


async def test_what_one_process_publishes_another_hears(redis: Cache, redis_url: str) -> None:
    elsewhere = cache.connect(redis_url, SystemClock())
    word = uuid4().hex
    async with running(Hub(redis)) as hub:
        with hub.listening("mailbox", word) as event:

            async def told() -> bool:
                await elsewhere.publish([Wake("mailbox", word), Wake("mailbox", "another")])
                return event.is_set()

            await until(told)
    await elsewhere.close()


async def test_a_new_subscription_wakes_those_who_waited_before(redis: Cache) -> None:
    hub = Hub(redis)
    with hub.listening("mailbox", uuid4().hex) as event:
        async with running(hub), asyncio.timeout(10):
            assert await event.wait()


async def test_a_hub_hears_what_it_was_told_to_and_nobody_waits_for_more(redis: Cache) -> None:
    hub = Hub(redis, "mailbox")
    with pytest.raises(AssertionError), hub.listening("parser", ""):
        pass
    with hub.listening(DOOR, "") as door, hub.listening("mailbox", word := uuid4().hex) as event:
        async with running(hub):
            async with asyncio.timeout(10):
                await event.wait()  # the beginning is a gap
            event.clear()
            await redis.publish([Wake("mailbox", word)])
            async with asyncio.timeout(10):
                await event.wait()
        door.clear()
        hub.close()
        assert door.is_set()


async def test_without_redis_the_hub_keeps_trying_and_ends_when_told(tmp_path: object) -> None:
    nobody = cache.connect(f"unix://{tmp_path}/nobody", SystemClock())
    async with asyncio.timeout(10):
        async with running(Hub(nobody)) as hub:
            with hub.listening("mailbox", "a") as event:
                await woken(event, 0.3)
                assert not event.is_set()
    await nobody.close()


async def test_the_end_waits_for_those_who_leave_and_not_for_ever(redis: Cache) -> None:
    hub = Hub(redis)
    with hub.listening("a", "1"):
        began = time.monotonic()
        await hub.emptied(at_most_s=0.2)
        assert time.monotonic() - began >= 0.2
    began = time.monotonic()
    await hub.emptied(at_most_s=60.0)
    assert time.monotonic() - began < 5
