"""SQL of who has little left."""

from datetime import timedelta

from leasebox.billing import low_balance_store
from tests.billing.payer import Payer
from tests.fakes.clock import FakeClock


async def test_tenants_whose_money_moved(payer: Payer, clock: FakeClock) -> None:
    other = await Payer.new(payer.db, clock.now())
    await payer.grant(clock.now(), "1")
    await payer.grant(clock.now(), "1")
    clock.advance(hours=1)
    await other.grant(clock.now(), "1")

    async def moved(**ago: float) -> set[str]:
        since = clock.now() - timedelta(**ago)
        return {str(each) for each in await payer.db.read(lambda tx: low_balance_store.moved_since(tx, since))}

    assert await moved(hours=2) == {str(payer.caller.tenant_id), str(other.caller.tenant_id)}
    assert await moved(minutes=1) == {str(other.caller.tenant_id)}


async def test_a_mark_is_set_once(payer: Payer, clock: FakeClock) -> None:
    async def mark() -> int:
        return await payer.db.transact(lambda tx: low_balance_store.mark(tx, payer.caller.tenant_id, clock.now()))

    assert [await mark(), await mark()] == [1, 0]
    await payer.db.transact(lambda tx: low_balance_store.unmark(tx, payer.caller.tenant_id))
    assert await mark() == 1
