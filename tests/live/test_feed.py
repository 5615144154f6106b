"""A tenant's feed: one read of the log for all readers, nothing missed at its edges, nothing left behind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from leasebox.infra import facts_order
from leasebox.infra.facts_order import number
from leasebox.live import feed as feed_module
from leasebox.live.feed import Feed, Feeds
from leasebox.values.errors import Unavailable
from tests.infra.test_facts_order import OTHER, TENANT, fact, write
from tests.kit import House
from tests.kit_mail import listens, until


async def tell(house: House, *names: str) -> None:
    await write(house, *[fact(name) for name in names])
    await house.db.transact(number)


def names(part: feed_module.Part) -> list[str]:
    import json

    return [json.loads(each.json)["data"]["name"] for each in part.facts]


@contextlib.asynccontextmanager
async def reading(house: House) -> AsyncIterator[tuple[Feed, asyncio.Event, Feeds]]:
    feeds = Feeds(house.db, house.hub)
    async with feeds.reading(TENANT) as (feed, event):
        async with asyncio.timeout(10):
            await event.wait()
        event.clear()
        yield feed, event, feeds


async def test_readers_at_the_end_share_one_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await tell(house, "old")
    await listens(house)
    reads: list[int] = []
    whole = facts_order.walk

    async def counted(tx: object, tenant_id: object, position: int, limit: int) -> object:
        reads.append(position)
        return await whole(tx, tenant_id, position, limit)  # type: ignore[arg-type]

    async with reading(house) as (feed, event, feeds), feeds.reading(TENANT) as (same, other):
        assert same is feed
        monkeypatch.setattr(facts_order, "walk", counted)
        await tell(house, "1", "2")
        for each in (event, other):
            async with asyncio.timeout(10):
                await each.wait()
        before = len(reads)
        for _ in range(20):
            assert names(await feed.part_after(1)) == ["1", "2"]
        assert len(reads) - before <= 1  # a look that every second makes


async def test_whoever_is_behind_reads_the_log_itself(house: House) -> None:
    await tell(house, "1", "2", "3")
    async with reading(house) as (feed, _, _):
        part = await feed.part_after(0)
        assert (names(part), part.until, part.is_last) == (["1", "2", "3"], 3, True)
        part = await feed.part_after(2)
        assert names(part) == ["3"]
        part = await feed.part_after(3)
        assert (names(part), part.until, part.is_last) == ([], 3, True)


async def test_only_so_much_is_kept_and_the_rest_is_read_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "_KEPT", 3)
    monkeypatch.setattr(feed_module, "PAGE", 2)
    async with reading(house) as (feed, _, _):
        await tell(house, *"abcdefg")

        async def caught_up() -> bool:
            return feed._head == 7

        await until(caught_up)
        assert len(feed._kept) == 3
        heard, position = [], 0
        while True:
            part = await feed.part_after(position)
            heard += names(part)
            position = part.until
            if part.is_last:
                break
        assert heard == list("abcdefg")
        assert names(await feed.part_after(4)) == ["e", "f", "g"]


async def test_facts_of_others_are_not_in_it(house: House) -> None:
    async with reading(house) as (feed, _, _):
        await write(house, fact("theirs", OTHER))
        await tell(house, "own")

        async def there() -> bool:
            return bool(feed._kept)

        await until(there)
        assert names(await feed.part_after(0)) == ["own"]


async def test_a_database_that_is_away_for_a_moment_is_no_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with reading(house) as (feed, _, _):
        whole = house.db.read

        async def away(body: object) -> object:
            raise Unavailable("away", retry_after_s=1)

        monkeypatch.setattr(house.db, "read", away)
        await tell(house, "1")
        await asyncio.sleep(0.1)
        with pytest.raises(Unavailable):
            await Feed(house.db, TENANT).part_after(0)
        monkeypatch.setattr(house.db, "read", whole)

        async def there() -> bool:
            return bool(feed._kept)

        await until(there)


async def test_the_last_reader_ends_the_feed(house: House) -> None:
    async with reading(house) as (_, _, feeds):
        async with feeds.reading(TENANT):
            pass
        assert TENANT in feeds._feeds
        task = feeds._feeds[TENANT][1]
    assert feeds._feeds == {}
    await asyncio.wait([task])
    assert f"facts {TENANT}" not in house.hub._waiters
