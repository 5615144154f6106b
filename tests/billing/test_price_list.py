"""The price book as versions: same book, same version; a change makes one more; nobody's change is undone."""

import asyncio

from leasebox.billing import price_list
from leasebox.billing.model import PriceVersion
from leasebox.billing.prices import DEFAULT_PRICES, Meter, MeterPrice, Window
from leasebox.billing.store import add_price
from leasebox.infra.db import Database
from leasebox.values.money import Usdc
from tests.billing.payer import publish
from tests.billing.shop import book
from tests.fakes.clock import FakeClock


async def versions(db: Database, meter: Meter) -> list[tuple[int, str, int]]:
    history = await db.read(price_list.history)
    return [(each.version, str(each.unit_price), each.free_units) for each in history if each.meter == meter]


async def in_force(db: Database, meter: Meter) -> PriceVersion:
    return next(each for each in await db.read(price_list.current) if each.meter == meter)


async def test_the_default_book_is_version_one_of_every_meter(db: Database) -> None:
    found = {each.meter: each for each in await db.read(price_list.current)}
    assert set(found) == set(Meter)
    assert {each.version for each in found.values()} == {1}
    for meter, price in DEFAULT_PRICES.prices.items():
        assert (found[meter].unit_price, found[meter].free_units, found[meter].span) == (
            price.price,
            price.free,
            price.window,
        )


async def test_the_same_book_again_changes_nothing(db: Database, clock: FakeClock) -> None:
    assert await publish(db, "", clock.now()) == {}
    assert len(await db.read(price_list.history)) == len(Meter)


async def test_a_change_is_one_version_more_of_that_meter(db: Database, clock: FakeClock) -> None:
    assert await publish(db, book(mailbox_lease=(5, "hour", "0.002000")), clock.now()) == {"mailbox.lease": 2}
    assert await versions(db, Meter.MAILBOX_LEASE) == [(1, "0.001000", 5), (2, "0.002000", 5)]
    assert await versions(db, Meter.MESSAGE_READ) == [(1, "0.000100", 1000)]
    assert await publish(db, book(mailbox_lease=(4, "hour", "0.002000")), clock.now()) == {"mailbox.lease": 3}
    assert await publish(db, book(mailbox_lease=(4, "day", "0.002000")), clock.now()) == {"mailbox.lease": 4}


async def test_going_back_to_an_old_price_is_a_version_of_its_own(db: Database, clock: FakeClock) -> None:
    await publish(db, book(mailbox_lease=(5, "hour", "0.002000")), clock.now())
    assert await publish(db, "", clock.now()) == {"mailbox.lease": 3}
    assert (await in_force(db, Meter.MAILBOX_LEASE)).unit_price == Usdc(1_000)


async def test_many_processes_at_once_make_one_version(db: Database, clock: FakeClock) -> None:
    toml = book(mailbox_lease=(5, "hour", "0.003000"))
    made = await asyncio.gather(*(publish(db, toml, clock.now()) for _ in range(20)))
    assert sorted(map(len, made)) == [0] * 19 + [1]
    assert len(await versions(db, Meter.MAILBOX_LEASE)) == 2


async def test_an_admins_price_stays_until_the_book_is_edited(db: Database, clock: FakeClock) -> None:
    theirs = MeterPrice(Meter.MAILBOX_LEASE, 1, Window.DAY, Usdc(9_000))
    await db.transact(lambda tx: add_price(tx, theirs, "agt_admin", clock.now()))
    assert await publish(db, "", clock.now()) == {}
    assert (await in_force(db, Meter.MAILBOX_LEASE)).made_by == "agt_admin"
    assert await publish(db, book(mailbox_lease=(6, "hour", "0.001000")), clock.now()) == {"mailbox.lease": 3}
    assert (await in_force(db, Meter.MAILBOX_LEASE)).made_by == price_list.BOOK


async def test_publishing_is_audited(db: Database) -> None:
    rows = await db.read(lambda tx: tx.all("SELECT actor, detail FROM audit_rows WHERE action = 'prices.publish'"))
    assert [row["actor"] for row in rows] == ["job:prices"]
    assert rows[0]["detail"]["versions"] == {meter.value: 1 for meter in Meter}
