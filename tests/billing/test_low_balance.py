"""`balance.low` is told once a crossing, whoever looks and however often."""

import asyncio
from typing import Any

from leasebox.billing import ledger
from leasebox.billing.low_balance import LOW_MARK, BalanceWatch
from leasebox.values.money import Usdc
from tests.billing.payer import SEND, Payer
from tests.fakes.clock import FakeClock


async def told(payer: Payer) -> list[dict[str, Any]]:
    rows = await payer.db.read(
        lambda tx: tx.all(
            "SELECT payload FROM facts WHERE type = 'balance.low' AND tenant_id = $1 ORDER BY at",
            payer.caller.tenant_id,
        )
    )
    return [row["payload"] for row in rows]


async def limit(payer: Payer, clock: FakeClock, micros: int) -> None:
    now = clock.now()
    await payer.db.transact(
        lambda tx: ledger.set_credit_limit(
            tx, payer.caller.tenant_id, Usdc(micros), actor="adm", at=now, request_id="req"
        )
    )


async def test_it_is_told_once_when_little_is_left_and_again_after_there_was_enough(
    payer: Payer, clock: FakeClock
) -> None:
    watch = BalanceWatch(payer.db, clock)
    await limit(payer, clock, 0)
    await payer.grant(clock.now(), "0.010000")
    assert await watch.look() == 0
    await payer.hold(clock.now())
    assert [await watch.look(), await watch.look()] == [1, 0]
    assert await told(payer) == [
        {
            "available_usdc": "0.009000",
            "balance_usdc": "0.009000",
            "credit_left_usdc": "0.000000",
            "mark_usdc": str(LOW_MARK),
        }
    ]
    await payer.hold(clock.now())
    await payer.grant(clock.now(), "0.005000")  # 0.013: above the mark, but it was told a moment ago
    assert await watch.look() == 0
    for _ in range(4):
        await payer.hold(clock.now())
    assert await watch.look() == 0
    await payer.grant(clock.now(), "0.100000")
    assert await watch.look() == 0
    await payer.hold(clock.now(), SEND, 100)
    assert [await watch.look(), await watch.look()] == [1, 0]
    assert [each["available_usdc"] for each in await told(payer)] == ["0.009000", "0.009000"]


async def test_what_may_be_owed_counts(payer: Payer, clock: FakeClock) -> None:
    watch = BalanceWatch(payer.db, clock)
    await limit(payer, clock, 11_000)
    await payer.hold(clock.now())
    assert await watch.look() == 0
    await payer.hold(clock.now())
    assert await watch.look() == 1
    assert (await told(payer))[0]["credit_left_usdc"] == "0.009000"


async def test_two_workers_tell_once(payer: Payer, clock: FakeClock) -> None:
    watches = [BalanceWatch(payer.db, clock) for _ in range(4)]
    await limit(payer, clock, 10_000)
    await payer.hold(clock.now())
    assert sum(await asyncio.gather(*(watch.look() for watch in watches))) == 1
    assert len(await told(payer)) == 1


async def test_a_worker_that_was_away_tells_of_the_last_day(payer: Payer, clock: FakeClock) -> None:
    await limit(payer, clock, 10_000)
    await payer.hold(clock.now())
    clock.advance(hours=23)
    late = BalanceWatch(payer.db, clock)
    await payer.hold(clock.now())
    assert await late.look() == 1


async def test_who_never_had_anything_is_told_nothing(payer: Payer, clock: FakeClock) -> None:
    await limit(payer, clock, 0)
    assert await BalanceWatch(payer.db, clock).look() == 0
    assert await told(payer) == []
