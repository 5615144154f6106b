"""The statements that decide: each takes what it may, once, and nothing otherwise."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from leasebox.billing import invoice_store, invoices
from leasebox.billing.invoice_model import Invoice, Wanted
from leasebox.billing.model import TransferId
from leasebox.billing.statement import InvoiceId
from leasebox.infra.db import Tx
from leasebox.values.ids import EventId
from tests.billing.bills import ADMIN, APRIL, LATER, MARCH, MAY, MID_MARCH, READ, Payer, all_agree, payer
from tests.kit import House


async def drafted(one: Payer) -> InvoiceId:
    """A draft of March with nothing on it yet."""
    found = await one.house.db.transact(lambda tx: invoices.open_draft(tx, one.tenant_id, MARCH, LATER))
    assert isinstance(found, InvoiceId)
    return found


async def settle(one: Payer, invoice: Invoice) -> None:
    await one.house.db.transact(
        lambda tx: invoice_store.settle(tx, one.tenant_id, invoice.invoice_id, TransferId.new(LATER), LATER, "test")
    )


async def test_of_twenty_at_once_one_begins_the_draft(shop: House) -> None:
    one = await payer(shop)
    await one.use_up(MID_MARCH)
    found = await asyncio.gather(*(drafted(one) for _ in range(20)))
    assert len(set(found)) == 1


async def test_a_batch_takes_what_is_on_no_invoice_in_order(shop: House) -> None:
    one, other = await payer(shop), await payer(shop)
    await one.fill(7)
    await other.fill(3)
    events = [event.event_id for event in await one.events()]

    async def ids(after: EventId | None, limit: int) -> list[EventId]:
        rows = await shop.db.read(lambda tx: invoice_store.unbilled(tx, one.tenant_id, MARCH, after, limit))
        return [EventId.of(row["id"]) for row in rows]

    assert await ids(None, 3) == events[:3]
    assert await ids(events[2], 10) == events[3:]
    await one.close()
    assert await ids(None, 10) == []


async def test_what_was_paid_from_where(shop: House) -> None:
    one = await payer(shop)
    await one.grant("0.001000")
    bought = await one.buy(MID_MARCH, 3)
    await one.reverse(bought[2])
    rows = await shop.db.read(lambda tx: invoice_store.unbilled(tx, one.tenant_id, MARCH, None, 10))
    found = {EventId.of(row["id"]): (row["source"], row["is_credited"]) for row in rows if row["proof_id"]}
    expected = [("balance", False), ("receivable", False), ("receivable", True)]
    assert found == dict(zip(bought, expected, strict=True))


async def test_settling_takes_all_that_is_due_or_nothing(shop: House) -> None:
    one = await payer(shop)
    await one.buy(MID_MARCH, 2)
    invoice = await one.close()
    await one.grant("0.001999", LATER)
    await settle(one, invoice)
    assert await one.funds() == ("0.001999", "0.002000")
    await one.grant("0.010000", LATER)
    await asyncio.gather(*(settle(one, invoice) for _ in range(10)))
    assert await one.funds() == ("0.009999", "0.000000")
    assert str((await one.invoice(invoice.invoice_id)).settled) == "0.002000"


async def test_another_tenants_balance_pays_nothing(shop: House) -> None:
    one, other = await payer(shop), await payer(shop)
    await one.buy(MID_MARCH, 1)
    invoice = await one.close()
    await other.grant("1.000000", LATER)
    await settle(Payer(shop, other.agent), invoice)
    assert (await other.funds(), await one.funds()) == (("1.000000", "0.000000"), ("0.000000", "0.001000"))


Mark = Callable[[Tx, Payer, InvoiceId], Awaitable[object]]


def _paid(tx: Tx, one: Payer, invoice_id: InvoiceId) -> Awaitable[object]:
    return invoice_store.mark_paid(tx, one.tenant_id, invoice_id, LATER)


def _void(tx: Tx, one: Payer, invoice_id: InvoiceId) -> Awaitable[object]:
    return invoice_store.mark_void(tx, one.tenant_id, invoice_id, LATER)


def _issued(tx: Tx, one: Payer, invoice_id: InvoiceId) -> Awaitable[object]:
    del one
    return invoice_store.issue(tx, invoice_id, b"h" * 32, LATER)


@pytest.mark.parametrize("mark", [_paid, _void, _issued])
async def test_a_state_is_not_reached_from_where_it_may_not(shop: House, mark: Mark) -> None:
    one = await payer(shop)
    await one.buy(MID_MARCH, 1)
    draft = await drafted(one)
    assert await shop.db.transact(lambda tx: mark(tx, one, draft)) is None, "it is not whole"
    invoice = await one.close()
    assert await shop.db.transact(lambda tx: mark(tx, one, draft)) is None, "something is due on it"
    await shop.db.transact(lambda tx: invoices.void(tx, invoice.invoice_id, "", ADMIN))
    assert await shop.db.transact(lambda tx: mark(tx, one, draft)) is None, "it is void"
    await all_agree(shop)


async def test_operators_find_by_tenant_state_and_month(shop: House) -> None:
    one, other = await payer(shop), await payer(shop)
    for month in (MARCH, APRIL):
        await one.call(month.start, route=READ)
        await one.close(month, MAY.start)
    await other.buy(MID_MARCH, 1)
    await other.close()

    async def found(wanted: Wanted) -> set[tuple[bool, str]]:
        rows = await shop.db.read(lambda tx: invoices.find(tx, wanted, None, 100))
        return {(each.tenant_id == one.tenant_id, each.period) for each in rows}

    mine, its = {(True, "2026-03"), (True, "2026-04")}, {(False, "2026-03")}
    assert await found(Wanted()) == mine | its
    assert await found(Wanted(tenant_id=other.tenant_id)) == its
    assert await found(Wanted(state="issued")) == its
    assert await found(Wanted(period="2026-03")) == {(True, "2026-03"), (False, "2026-03")}
    assert await found(Wanted(tenant_id=one.tenant_id, state="paid", period="2026-04")) == {(True, "2026-04")}
    first = await shop.db.read(lambda tx: invoices.find(tx, Wanted(), None, 2))
    rest = await shop.db.read(lambda tx: invoices.find(tx, Wanted(), first[-1].invoice_id, 2))
    assert len({each.invoice_id for each in first + rest}) == 3
