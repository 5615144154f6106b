"""How far closing has come, and that the oracle over invoices sees what is wrong."""

import asyncio

import pytest

from leasebox.billing import closing_store, invoices
from leasebox.infra.db import Tx
from tests.billing.bills import APRIL, LATER, MARCH, MID_MARCH, READ, all_agree, payer
from tests.kit import House


async def test_progress_is_the_last_closed_month_and_only_grows(shop: House) -> None:
    assert (await shop.db.read(closing_store.progress)).period is None
    await shop.db.transact(lambda tx: closing_store.close(tx, MARCH, 10, LATER))
    await shop.db.transact(lambda tx: closing_store.close(tx, APRIL, 10, LATER))
    await shop.db.transact(lambda tx: closing_store.close(tx, APRIL, 5, LATER))
    for seen, expected in ((20, 20), (15, 20), (21, 21)):
        await shop.db.transact(lambda tx, seen=seen: closing_store.set_seen(tx, "2026-04", seen))  # type: ignore[misc]
        found = await shop.db.read(closing_store.progress)
        assert (found.period, found.seen) == ("2026-04", expected)


async def test_the_horizon_is_the_oldest_writer_at_work(shop: House) -> None:
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slow(tx: Tx) -> int:
        xid = int(await tx.value("SELECT pg_current_xact_id()::text::bigint"))
        begun.set()
        await finish.wait()
        return xid

    writing = asyncio.create_task(shop.db.transact(slow))
    await begun.wait()
    await shop.db.transact(lambda tx: tx.value("SELECT pg_current_xact_id()::text"))
    stuck = await shop.db.read(closing_store.horizon)
    finish.set()
    assert stuck == await writing
    assert await shop.db.read(closing_store.horizon) > stuck


async def test_who_has_events_on_no_invoice(shop: House) -> None:
    one, other = await payer(shop), await payer(shop)
    await one.call(MARCH.start, route=READ)
    await other.call(APRIL.start, route=READ)
    assert await shop.db.read(closing_store.first_event_at) == MARCH.start
    assert await shop.db.read(lambda tx: closing_store.unbilled_tenants(tx, MARCH)) == [one.tenant_id]
    seen = await shop.db.read(closing_store.horizon)
    late = await shop.db.read(lambda tx: closing_store.stragglers(tx, 0, seen, APRIL))
    assert sorted(late) == sorted([(one.tenant_id, MARCH.start), (other.tenant_id, APRIL.start)])
    until_march = await shop.db.read(lambda tx: closing_store.stragglers(tx, 0, seen, MARCH))
    assert until_march == [(one.tenant_id, MARCH.start)]
    assert await shop.db.read(lambda tx: closing_store.stragglers(tx, seen, seen + 9, APRIL)) == []
    await one.close()
    assert await shop.db.read(lambda tx: closing_store.unbilled_tenants(tx, MARCH)) == []
    assert await shop.db.read(lambda tx: closing_store.stragglers(tx, 0, seen, MARCH)) == []


ONE_CHARGED = "SELECT id FROM usage_events WHERE paid_quantity = 1 LIMIT 1"


@pytest.mark.parametrize(
    ("tampering", "rules"),
    [
        ("UPDATE invoices SET total_micros = 1000, prepaid_micros = 0, on_credit_micros = 1000", {"invoice = usage"}),
        ("UPDATE invoices SET event_count = 3", {"invoice = events"}),
        ("UPDATE invoice_lines SET free_quantity = 3", {"free = lines"}),
        ("UPDATE invoice_lines SET paid_quantity = 1, amount_micros = 1000", {"paid = lines", "invoice = lines"}),
        ("DELETE FROM invoice_lines", {"free = lines", "paid = lines", "invoice = lines"}),
        (
            f"DELETE FROM invoice_events WHERE event_id = ({ONE_CHARGED})",
            {"invoice = usage", "invoice = events", "receivable = owed"},
        ),
        ("UPDATE invoices SET credited_micros = 1000", {"receivable = owed"}),
        ("UPDATE tenant_funds SET receivable_micros = 0", {"receivable = owed"}),
    ],
)
async def test_what_does_not_agree_is_named(shop: House, tampering: str, rules: set[str]) -> None:
    one = await payer(shop)
    await one.buy(MID_MARCH, 2)
    await one.close()
    await all_agree(shop)

    async def behind_our_back(tx: Tx) -> None:
        for table in ("invoices", "invoice_lines", "invoice_events", "tenant_funds"):
            await tx.run(f"GRANT ALL ON {table} TO CURRENT_USER")
            await tx.run(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        await tx.run(tampering)

    await shop.db.transact(behind_our_back)
    found = {row["rule"] for row in await shop.db.read(invoices.discrepancies)}
    assert rules <= found
    assert {row["tenant_id"] for row in await shop.db.read(invoices.discrepancies)} == {one.tenant_id}
