"""Lists of suppressions: by tenant first, newest first."""

from leasebox.sending import suppressions_store as store
from tests.kit import House
from tests.kit_mail import shared_house
from tests.sending.writing_desk import Writer

__all__ = ["shared_house"]


async def add(who: Writer, address: str) -> None:
    at = who.house.clock.now()
    await who.house.db.transact(lambda tx: store.add(tx, who.tenant_id, address, "manual", None, "", at))


async def test_a_list_is_a_tenants_own_and_goes_on_where_it_ended(shared_house: House) -> None:
    ann, bob = await Writer.new(shared_house), await Writer.new(shared_house)
    for number in range(3):
        shared_house.clock.advance(seconds=1)
        for who in (ann, bob):
            await add(who, f"p{number}@a.example")
    first = await shared_house.db.read(lambda tx: store.listed(tx, ann.tenant_id, None, None, None, 2))
    rest = await shared_house.db.read(lambda tx: store.listed(tx, ann.tenant_id, None, None, first[-1]["id"], 2))
    assert [row["address"] for row in (*first, *rest)] == [f"p{number}@a.example" for number in (2, 1, 0)]
    everybody = await shared_house.db.read(lambda tx: store.search(tx, None, "p1@a.example", "manual", None, 9))
    assert {row["tenant_id"] for row in everybody} >= {ann.tenant_id, bob.tenant_id}
    assert await shared_house.db.transact(lambda tx: store.drop(tx, ann.tenant_id, "p1@a.example")) == "manual"
    assert await shared_house.db.transact(lambda tx: store.drop(tx, ann.tenant_id, "p1@a.example")) is None
    assert await shared_house.db.read(lambda tx: store.one(tx, bob.tenant_id, "p1@a.example")) is not None
