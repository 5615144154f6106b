"""The loop over new facts: woken at once, in one transaction with its fan-outs, and not stopped by a broken one."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence

import pytest

from leasebox.infra import facts_loop, facts_order
from leasebox.infra.db import Tx
from leasebox.infra.facts_log import WAKE_NEW_FACTS, append
from leasebox.infra.facts_loop import FanOut
from leasebox.values.errors import Unavailable
from tests.infra.test_facts_order import fact, told, write
from tests.kit import House
from tests.kit_mail import listens, until


@contextlib.asynccontextmanager
async def looping(house: House, *fan_outs: FanOut) -> AsyncIterator[None]:
    stop = asyncio.Event()
    with house.hub.listening(WAKE_NEW_FACTS, "") as woken:
        running = asyncio.create_task(facts_loop.run(house.db, fan_outs, woken, stop))
        try:
            yield
        finally:
            stop.set()
            async with asyncio.timeout(10):
                await running


async def told_are(house: House, names: Sequence[str]) -> None:
    async def all_told() -> bool:
        return await told(house) == list(names)

    await until(all_told)


async def test_a_fact_is_numbered_as_soon_as_it_is_committed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts_loop, "_LOOK_AGAIN_S", 60.0)
    await listens(house)
    async with looping(house):
        await told_are(house, [])
        for index in range(5):
            await write(house, fact(str(index)))
            await told_are(house, [str(each) for each in range(index + 1)])
    assert await told(house) == ["0", "1", "2", "3", "4"]


async def test_what_nobody_was_woken_for_is_numbered_within_a_second(house: House) -> None:
    async with looping(house):
        await asyncio.sleep(0.05)

        async def quietly(tx: Tx) -> None:
            await append(tx, [fact("1")])
            tx.wakes.clear()

        await house.db.transact(quietly)
        began = time.monotonic()
        await told_are(house, ["1"])
    assert time.monotonic() - began < 5


async def test_fan_outs_see_the_facts_in_the_same_transaction(house: House) -> None:
    seen: list[str] = []

    async def fan_out(tx: Tx) -> int:
        part = await facts_order.after_any(tx, len(seen), 100)
        seen.extend(each.payload["name"] for each in part.facts)
        return part.looked

    await write(house, fact("1"), fact("2"))
    assert await facts_loop.publish(house.db, [fan_out]) is False
    assert seen == ["1", "2"]


async def test_a_full_batch_is_followed_by_the_next_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts_loop, "_LOOK_AGAIN_S", 60.0)
    rounds: list[int] = []

    async def fan_out(tx: Tx) -> int:
        del tx
        rounds.append(facts_order.BATCH if len(rounds) < 4 else 0)
        return rounds[-1]

    async with looping(house, fan_out):

        async def five() -> bool:
            return len(rounds) >= 5

        await until(five)
    assert rounds[:4] == [facts_order.BATCH] * 4


async def test_a_broken_fan_out_does_not_hold_up_the_facts(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    tries: list[int] = []

    async def broken(tx: Tx) -> int:
        tries.append(await facts_order.last_position_of_any(tx))
        raise LookupError("mistake")

    await write(house, fact("1"))
    async with looping(house, broken):
        await told_are(house, ["1"])

        async def again() -> bool:
            return len(tries) > 1

        await until(again)
    assert tries[0] == 1


async def test_it_goes_on_when_the_database_is_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, failures = house.db.transact, iter(range(1))

    async def away(body: object) -> object:
        if next(failures, None) is not None:
            raise Unavailable("away", retry_after_s=1)
        return await whole(body)  # type: ignore[arg-type]

    await write(house, fact("1"))
    monkeypatch.setattr(house.db, "transact", away)
    async with looping(house):
        await told_are(house, ["1"])
    assert next(failures, None) is None


async def test_facts_that_come_one_by_one_in_quick_succession_share_rounds(house: House) -> None:
    rounds = 0

    async def counting(tx: Tx) -> int:
        nonlocal rounds
        del tx
        rounds += 1
        return 0

    names = [str(index) for index in range(40)]
    await listens(house)
    async with looping(house, counting):
        began = time.monotonic()
        for name in names:
            await write(house, fact(name))
        await told_are(house, names)
        took = time.monotonic() - began
        assert rounds <= 3 + took / facts_loop._APART_S
