"""What time does: expired holds go back once, whoever notices first; old counters go away."""

import asyncio
from datetime import timedelta

from leasebox.billing import ledger
from leasebox.billing.jobs import forget_windows, release_holds
from leasebox.billing.model import Released
from leasebox.values.money import Usdc
from tests.billing.payer import SEND, Payer
from tests.billing.told import all_told
from tests.fakes.clock import FakeClock


async def test_expired_holds_go_back(payer: Payer, clock: FakeClock) -> None:
    await payer.grant(clock.now(), "0.001000")
    await payer.hold(clock.now())
    await payer.hold(clock.now(), SEND, 4)
    assert await release_holds(payer.db, clock) == Released(0, 0, Usdc(0))
    clock.advance(seconds=120)
    assert await release_holds(payer.db, clock) == Released(1, 2, Usdc(5_000))
    assert await release_holds(payer.db, clock) == Released(0, 0, Usdc(0))
    left = await payer.funds(clock.now())
    assert (left["balance"], left["held"], left["owed"]) == ("0.001000", "0.000000", "0.000000")
    assert await payer.db.read(ledger.discrepancies) == []


async def test_many_jobs_and_callers_at_once_give_each_hold_back_once(payer: Payer, clock: FakeClock) -> None:
    others = [await Payer.new(payer.db, clock.now()) for _ in range(4)]
    for one in (payer, *others):
        for _ in range(5):
            await one.hold(clock.now())
    clock.advance(seconds=121)
    jobs = [release_holds(payer.db, clock) for _ in range(6)]
    asking = [one.hold(clock.now()) for one in (payer, *others) for _ in range(3)]
    done = await asyncio.gather(*jobs, *asking)
    assert sum(each.holds for each in done if isinstance(each, Released)) <= 25
    held = await payer.db.read(lambda tx: tx.value("SELECT count(*) FROM ledger_transfers WHERE kind = 'release'"))
    assert held == 25
    assert await payer.db.read(ledger.discrepancies) == []


RELEASES = "SELECT tenant_id, actor, resource, detail FROM audit_rows WHERE action = 'payment.release' ORDER BY xid"


async def test_what_time_gives_back_is_audited_for_each_tenant_whoever_notices(payer: Payer, clock: FakeClock) -> None:
    other = await Payer.new(payer.db, clock.now())
    for one in (payer, payer, other):
        await one.hold(clock.now())
    clock.advance(seconds=121)
    await other.hold(clock.now())
    await release_holds(payer.db, clock)
    rows = await payer.db.read(lambda tx: tx.all(RELEASES))
    tenants = [each.caller.tenant_id for each in (other, payer)]
    assert [(row["tenant_id"], row["actor"], row["resource"]) for row in rows] == [
        (tenant, "clock", str(tenant)) for tenant in tenants
    ]
    assert [row["detail"] for row in rows] == [
        {"holds": 1, "amount_usdc": "0.001000"},
        {"holds": 2, "amount_usdc": "0.002000"},
    ]
    await all_told(payer.db)


async def test_counters_of_old_windows_go_away(payer: Payer, clock: FakeClock) -> None:
    await payer.use(clock.now())
    await payer.use(clock.now() - timedelta(days=4))
    assert await forget_windows(payer.db, clock) == 1
    assert await forget_windows(payer.db, clock) == 0
