"""Valkey as we use it: values good once, exact buckets, wake-ups that are only hints, and life without it."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from leasebox.infra import cache
from leasebox.infra.cache import Cache, Taken
from leasebox.infra.db import Wake
from leasebox.values.errors import Unavailable
from leasebox.values.rate import Rate
from tests.fakes.clock import FakeClock
from tests.infra.engine_room import EngineRoom, opened_room

HOURLY = Rate(50, 3600)


class Still(FakeClock):
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        super().__init__()
        self._began = super().now()

    def now(self):  # type: ignore[no-untyped-def]
        return self._began + self._ahead


@pytest.fixture
def clock() -> Still:
    return Still()


@pytest.fixture
async def store(redis_url: str, clock: Still) -> AsyncIterator[Cache]:
    opened = cache.connect(redis_url, clock)
    yield opened
    await opened.close()


@pytest.fixture
async def other(redis_url: str, clock: Still) -> AsyncIterator[Cache]:
    """A second process's cache."""
    opened = cache.connect(redis_url, clock)
    yield opened
    await opened.close()


def key() -> str:
    return f"test:{uuid4().hex}"


async def test_a_value_is_good_once(store: Cache, other: Cache) -> None:
    name = key()
    await store.put(name, b"\x00\xff", 30)
    assert await other.take(name) == b"\x00\xff"
    assert await store.take(name) is None


async def test_of_a_hundred_takers_one_gets_it(store: Cache, other: Cache) -> None:
    name = key()
    await store.put(name, b"nonce", 30)
    found = await asyncio.gather(*(each.take(name) for each in [store, other] * 50))
    assert [value for value in found if value] == [b"nonce"]


async def test_each_of_a_crowd_gets_its_own_answer_in_few_questions(store: Cache, redis_url: str) -> None:
    names = [key() for _ in range(200)]
    async with Redis.from_url(redis_url) as raw:
        before = (await raw.info("stats"))["total_reads_processed"]
        await asyncio.gather(*(store.put(name, name.encode(), 30) for name in names))
        assert await asyncio.gather(*(store.take(name) for name in names)) == [name.encode() for name in names]
        reads = (await raw.info("stats"))["total_reads_processed"] - before
    assert reads < 100


async def test_what_redis_refuses_one_is_refused_to_that_one_alone(store: Cache, redis_url: str) -> None:
    good, odd = key(), key()
    await store.put(good, b"nonce", 30)
    async with Redis.from_url(redis_url) as raw:
        await raw.lpush(odd, "a list")
    first, *others = await asyncio.gather(
        store.put(key(), b"", 30), *(store.take(name) for name in (odd, good, key())), return_exceptions=True
    )
    assert first is None
    assert isinstance(others[0], Unavailable)
    assert others[1:] == [b"nonce", None]


async def test_a_redis_that_has_forgotten_our_scripts_is_told_them_again(store: Cache, redis_url: str) -> None:
    name = key()
    async with Redis.from_url(redis_url) as raw:
        await raw.script_flush()
        assert sum(each.allowed for each in await asyncio.gather(*(store.draw(name, HOURLY) for _ in range(60)))) == 50
        await raw.script_flush()
        assert await store.draw_some(name, HOURLY, 1) == 0


async def test_a_value_ends_by_itself(store: Cache, redis_url: str) -> None:
    name = key()
    await store.put(name, b"nonce", 300)
    async with Redis.from_url(redis_url) as raw:
        assert 298 <= await raw.ttl(name) <= 300


async def test_a_bucket_is_exact_for_two_processes_at_once(store: Cache, other: Cache) -> None:
    name = key()
    taken = await asyncio.gather(*(each.draw(name, HOURLY) for each in [store, other] * 100))
    allowed = [each for each in taken if each.allowed]
    assert len(allowed) == 50
    assert sorted(each.remaining for each in allowed) == list(range(50))
    assert {each.remaining for each in taken if not each.allowed} == {0}


async def test_buckets_do_not_touch_one_another(store: Cache) -> None:
    first, second = key(), key()
    for _ in range(3):
        assert (await store.draw(first, Rate(3, 60))).allowed
    assert not (await store.draw(first, Rate(3, 60))).allowed
    assert (await store.draw(second, Rate(3, 60))).allowed


async def test_it_refills_evenly_and_says_when(store: Cache, clock: Still) -> None:
    name, rate = key(), Rate(6, 60)
    first = await store.draw(name, rate)
    assert first == Taken(True, 5, 0, 10)
    for _ in range(5):
        last = await store.draw(name, rate)
    assert last == Taken(True, 0, 0, 60)
    assert await store.draw(name, rate) == Taken(False, 0, 10, 60)
    clock.advance(seconds=9.9)
    assert await store.draw(name, rate) == Taken(False, 0, 1, 51)
    clock.advance(seconds=0.1)
    assert (await store.draw(name, rate)).allowed
    assert not (await store.draw(name, rate)).allowed
    clock.advance(hours=1)
    assert await store.draw(name, rate) == Taken(True, 5, 0, 10)


@pytest.mark.parametrize("rate", [Rate(1, 1), Rate(1, 86_400), Rate(120, 1), Rate(60, 60), Rate(7, 3600)])
async def test_whatever_the_rate_a_full_bucket_gives_its_count(store: Cache, clock: Still, rate: Rate) -> None:
    name = key()
    taken = [await store.draw(name, rate) for _ in range(rate.count + 3)]
    assert [each.allowed for each in taken] == [True] * rate.count + [False] * 3
    wait = taken[-1].retry_after_s
    assert 1 <= wait <= -(-rate.seconds // rate.count) + 1
    clock.advance(seconds=wait)
    assert (await store.draw(name, rate)).allowed, "who waits as told is let in"


async def test_no_more_than_the_rate_passes_over_time(store: Cache, clock: Still) -> None:
    name, passed = key(), []
    for step in range(400):
        clock.advance(seconds=0.5)
        if (await store.draw(name, Rate(10, 60))).allowed:
            passed.append(step * 0.5)
    assert len(passed) == 10 + int(200 / 6)
    assert all(later - earlier >= 5.5 for earlier, later in pairwise(passed[12:]))


async def test_a_clock_that_steps_back_neither_frees_nor_locks(store: Cache, clock: Still) -> None:
    name, rate = key(), Rate(2, 60)
    assert [(await store.draw(name, rate)).allowed for _ in range(3)] == [True, True, False]
    clock.advance(seconds=-600)
    assert not (await store.draw(name, rate)).allowed
    clock.advance(seconds=631)
    assert (await store.draw(name, rate)).allowed


async def test_zero_means_no_limit_and_no_question(clock: Still) -> None:
    nowhere = cache.connect("redis://127.0.0.1:1/0", clock)
    assert await nowhere.draw(key(), Rate(0, 1)) == Taken(True, 0, 0, 0)
    await nowhere.close()


async def test_several_tokens_are_as_many_single_ones(store: Cache, other: Cache, clock: Still) -> None:
    name, rate = key(), Rate(6, 60)
    assert [await store.draw_some(name, rate, 4), (await other.draw(name, rate)).remaining] == [4, 1]
    assert [await other.draw_some(name, rate, 3), await store.draw_some(name, rate, 1)] == [1, 0]
    clock.advance(seconds=20)
    assert await store.draw_some(name, rate, 9) == 2
    assert await store.draw_some(name, Rate(0, 60), 9) == 9


async def test_several_at_once_from_two_processes_get_no_more_than_there_is(store: Cache, other: Cache) -> None:
    name = key()
    granted = await asyncio.gather(*(each.draw_some(name, HOURLY, 3) for each in [store, other] * 20))
    assert sum(granted) == 50


async def test_a_bucket_is_forgotten_once_it_is_full_again(store: Cache, redis_url: str) -> None:
    name = key()
    await store.draw(name, Rate(6, 60))
    async with Redis.from_url(redis_url) as raw:
        assert 9_000 <= await raw.pttl(f"bucket:{{{name}}}") <= 10_001


async def next_of(wakes: AsyncIterator[Wake]) -> Wake:
    async with asyncio.timeout(10):
        return await anext(wakes)


async def test_wake_ups_reach_every_process(store: Cache, other: Cache) -> None:
    wakes = other.wakes()
    assert await next_of(wakes) == Wake("*", "")
    await store.publish([Wake("mailbox", "mbx_1 with a space")])
    assert await next_of(wakes) == Wake("mailbox", "mbx_1 with a space")
    await store.publish([Wake("mailbox", "mbx_2"), Wake("parser", "")])
    assert [await next_of(wakes), await next_of(wakes)] == [Wake("mailbox", "mbx_2"), Wake("parser", "")]
    await wakes.aclose()  # type: ignore[attr-defined]


async def test_wake_ups_that_nobody_here_wants_are_not_heard(store: Cache, other: Cache) -> None:
    wakes = other.wakes(("mailbox", "facts"))
    assert await next_of(wakes) == Wake("*", "")
    await store.publish([Wake("parser", ""), Wake("mailboxes", "1"), Wake("mailbox", "2")])
    await store.publish([Wake("queue", ""), Wake("facts", "")])
    heard = {await next_of(wakes), await next_of(wakes)}
    assert heard == {Wake("mailbox", "2"), Wake("facts", "")}
    await wakes.aclose()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineRoom]:
    with opened_room(tmp_path_factory.mktemp("room") / "home", "valkey") as opened:
        yield opened


async def test_without_redis_calls_pass_nonces_do_not_and_listeners_come_back(room: EngineRoom, clock: Still) -> None:
    store = cache.connect(room.redis_url, clock)
    wakes = store.wakes()
    assert await next_of(wakes) == Wake("*", "")
    await store.ping()
    room.kill("valkey")
    began = time.monotonic()
    assert await store.draw("gone", HOURLY) == Taken(True, 50, 0, 0)
    await store.publish([Wake("mailbox", "mbx_1")])
    for call in (store.put("nonce", b"1", 5), store.take("nonce"), store.ping()):
        with pytest.raises(Unavailable) as refused:
            await call
        assert refused.value.retry_after_s
    assert time.monotonic() - began < 3
    gap = asyncio.ensure_future(next_of(wakes))
    await asyncio.sleep(0.3)
    assert not gap.done()
    await room.revive()
    assert await gap == Wake("*", ""), "something may have been missed, so everybody looks"
    await store.publish([Wake("mailbox", "mbx_2")])
    assert await next_of(wakes) == Wake("mailbox", "mbx_2")
    await store.put("nonce", b"1", 5)
    assert await store.take("nonce") == b"1"
    await wakes.aclose()  # type: ignore[attr-defined]
    await store.close()


async def test_what_was_waited_for_in_vain_is_not_asked_again(clock: Still) -> None:
    """The first asking may have taken the nonce; the second would call it unknown, where the truth is: not now."""
    asked: list[bytes] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while said := await reader.read(4096):
            asked.append(said)
            if b"GETDEL" not in said:
                writer.write(b"+OK\r\n" * said.count(b"*"))
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    late = cache.connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0?protocol=2", clock)
    with pytest.raises(Unavailable):
        await late.take("nonce:1")
    assert sum(said.count(b"GETDEL") for said in asked) == 1
    await late.close()
    server.close()


async def test_a_redis_that_hangs_is_not_waited_for_twice(room: EngineRoom, clock: Still) -> None:
    store = cache.connect(room.redis_url, clock)
    await store.ping()
    with room.frozen("valkey"):
        began = time.monotonic()
        assert (await store.draw("hangs", HOURLY)).allowed
        with pytest.raises(Unavailable):
            await store.take("nonce")
        first = time.monotonic() - began
        began = time.monotonic()
        for _ in range(20):
            assert (await store.draw("hangs", HOURLY)).allowed
            await store.publish([Wake("mailbox", "mbx_1")])
        assert time.monotonic() - began < 0.5, "what did not answer just now is left alone for a while"
        assert first < 5
    await asyncio.sleep(1.1)
    await store.ping()
    assert (await store.draw("hangs", HOURLY)).remaining == 49
    await store.close()
