"""Invoices: what they say, what is due, what corrects them, and that nothing else can change them."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

import asyncpg
import pytest

from leasebox.audit import merkle
from leasebox.billing import invoices, ledger, price_list, usage
from leasebox.billing.errors import CannotReverse, PaymentRequired
from leasebox.billing.invoice_model import CreditNote, Evidence, Invoice, Undrawn, Wanted
from leasebox.billing.model import TransferId
from leasebox.billing.prices import Meter, MeterPrice, Window
from leasebox.billing.statement import EventProof, InvoiceId, draw_up, prove_event, sum_up, to_csv, verify_event
from leasebox.infra.db import Tx
from leasebox.values.errors import Conflict, LeaseboxError, NotFound, Unprocessable
from leasebox.values.ids import EventId, TenantId
from leasebox.values.money import ZERO, Usdc
from tests.billing.bills import (
    ADMIN,
    APRIL,
    LATER,
    MARCH,
    MAY,
    MID_MARCH,
    READ,
    Payer,
    all_agree,
    close_all,
    hours,
    payer,
    sound,
    statement_text,
)
from tests.kit import House

HOUR = timedelta(hours=1)


def sums(invoice: Invoice) -> tuple[str, ...]:
    """Total, prepaid, on credit, credited, settled, due."""
    cells = (
        invoice.total, invoice.prepaid, invoice.on_credit, invoice.credited, invoice.settled, invoice.due,
    )  # fmt: skip
    return tuple(str(each) for each in cells)


async def credit(house: House, invoice: Invoice, event_ids: list[EventId] | None, reason: str = "wrong") -> CreditNote:
    return await house.db.transact(lambda tx: invoices.credit_note(tx, invoice.invoice_id, event_ids, reason, ADMIN))


async def pay(one: Payer, invoice: Invoice) -> Invoice:
    return await one.house.db.transact(lambda tx: invoices.pay(tx, one.tenant_id, invoice.invoice_id, ADMIN))


async def void(house: House, invoice: Invoice) -> Invoice:
    return await house.db.transact(lambda tx: invoices.void(tx, invoice.invoice_id, "by mistake", ADMIN))


async def acts(house: House, resource: object) -> list[str]:
    """What the audit log says was done to it, in order."""
    found = "SELECT action FROM audit_rows WHERE resource = $1 ORDER BY xid, id"
    return [row["action"] for row in await house.db.read(lambda tx: tx.all(found, str(resource)))]


async def facts(house: House, tenant_id: TenantId) -> list[tuple[str, str]]:
    """The tenant's facts of invoices, with what was due then."""
    found = "SELECT type, payload FROM facts WHERE tenant_id = $1 AND type LIKE 'invoice.%' ORDER BY xid, id"
    rows = await house.db.read(lambda tx: tx.all(found, tenant_id))
    return [(row["type"], row["payload"]["due_usdc"]) for row in rows]


async def evidence(one: Payer, invoice: Invoice, event_id: EventId) -> Evidence:
    return await one.house.db.read(lambda tx: invoices.prove(tx, one.tenant_id, invoice.invoice_id, event_id))


async def refused(call: Awaitable[object], kind: type[LeaseboxError]) -> LeaseboxError:
    with pytest.raises(kind) as caught:
        await call
    return caught.value


async def test_a_month_on_credit_is_due(shop: House) -> None:
    one = await payer(shop)
    await one.buy(MID_MARCH, 3)
    await one.call(MID_MARCH, route=READ)
    invoice = await one.close()
    assert (invoice.period, invoice.supplement, invoice.state, invoice.event_count) == ("2026-03", 0, "issued", 6)
    assert sums(invoice) == ("0.003000", "0.000000", "0.003000", "0.000000", "0.000000", "0.003000")
    bill = await shop.db.read(lambda tx: invoices.bill(tx, one.tenant_id, invoice.invoice_id))
    cells = [(line.meter, line.free_quantity, line.paid_quantity, str(line.amount)) for line in bill.lines]
    assert cells == [("mailbox.lease", 2, 3, "0.003000"), ("message.read", 1, 0, "0.000000")]
    assert bill.lines == (await sound(shop, invoice)).lines
    assert await one.funds() == ("0.000000", "0.003000")
    assert await acts(shop, invoice.invoice_id) == ["invoice.issue"]
    assert await facts(shop, one.tenant_id) == [("invoice.issued", "0.003000")]
    await all_agree(shop)


async def test_what_was_prepaid_is_not_due(shop: House) -> None:
    one = await payer(shop)
    await one.grant("0.002000")
    await one.buy(MID_MARCH, 3)
    invoice = await one.close()
    assert sums(invoice) == ("0.003000", "0.002000", "0.001000", "0.000000", "0.000000", "0.001000")
    assert invoice.state == "issued"
    await all_agree(shop)


async def test_what_cost_nothing_is_billed_as_nothing_and_paid(shop: House) -> None:
    one = await payer(shop)
    await one.use_up(MID_MARCH)
    invoice = await one.close()
    assert (invoice.state, invoice.event_count, invoice.total) == ("paid", 2, ZERO)
    assert await facts(shop, one.tenant_id) == [("invoice.issued", "0.000000"), ("invoice.paid", "0.000000")]
    await sound(shop, invoice)


async def test_a_balance_that_covers_what_is_due_pays_it_at_once(shop: House) -> None:
    one = await payer(shop)
    await one.buy(MID_MARCH, 3)
    await one.grant("0.003000", LATER)
    invoice = await one.close()
    assert (invoice.state, invoice.issued_at) == ("paid", LATER)
    assert invoice.paid_at == LATER + timedelta(milliseconds=1), "so that facts and audit rows keep their order"
    assert sums(invoice) == ("0.003000", "0.000000", "0.003000", "0.000000", "0.003000", "0.000000")
    assert await one.funds() == ("0.000000", "0.000000")
    assert await acts(shop, invoice.invoice_id) == ["invoice.issue", "invoice.pay"]
    await all_agree(shop)


async def test_one_that_is_too_low_is_not_touched(shop: House) -> None:
    one = await payer(shop)
    await one.buy(MID_MARCH, 3)
    await one.grant("0.002999", LATER)
    invoice = await one.close()
    assert (invoice.state, str(invoice.due)) == ("issued", "0.003000")
    assert await one.funds() == ("0.002999", "0.003000")
    short = await refused(pay(one, invoice), PaymentRequired)
    assert short.fields["amount_usdc"] == "0.003000"
    assert short.fields["reasons"][0].left == "0.002999"
    await one.grant("0.000001", LATER)
    assert (await pay(one, invoice)).state == "paid"
    assert (await pay(one, invoice)).settled == Usdc(3_000)
    assert await one.funds() == ("0.000000", "0.000000")
    await all_agree(shop)


async def test_an_expired_hold_is_balance_to_pay_with(shop: House) -> None:
    one = await payer(shop)
    await one.buy(MID_MARCH, 1)
    invoice = await one.close()
    await one.grant("0.001000", LATER)
    await one.proof(LATER - timedelta(minutes=3))
    assert (await pay(one, invoice)).state == "paid"
    await all_agree(shop)


async def test_of_twenty_payments_at_once_one_pays(shop: House) -> None:
    one = await payer(shop)
    await one.buy(MID_MARCH, 2)
    invoice = await one.close()
    await one.grant("0.010000", LATER)
    paid = await asyncio.gather(*(pay(one, invoice) for _ in range(20)))
    assert {each.state for each in paid} == {"paid"}
    assert await one.funds() == ("0.008000", "0.000000")
    assert await acts(shop, invoice.invoice_id) == ["invoice.issue", "invoice.pay"]
    await all_agree(shop)


async def test_a_month_ends_where_it_ends(shop: House) -> None:
    one = await payer(shop)
    instant = timedelta(microseconds=1)
    for at in (MARCH.start - instant, MARCH.start, MARCH.end - instant, MARCH.end):
        await one.call(at, route=READ)
    assert await close_all(shop.db) == 2
    february, march = await one.invoices()
    assert [each.occurred_at for each in (await sound(shop, march)).events] == [MARCH.start, MARCH.end - instant]
    assert (february.period, february.event_count) == ("2026-02", 1)
    assert await close_all(shop.db, MAY.start + HOUR) == 1
    assert [each.period for each in await one.invoices()] == ["2026-02", "2026-03", "2026-04"]
    await all_agree(shop)


async def test_a_writer_still_at_work_is_waited_for(shop: House) -> None:
    one = await payer(shop)
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slow(tx: Tx) -> None:
        await one.admit(tx, MID_MARCH, route=READ)
        begun.set()
        await finish.wait()

    writing = asyncio.create_task(shop.db.transact(slow))
    await begun.wait()
    await one.call(MID_MARCH + HOUR)
    assert await shop.db.transact(lambda tx: invoices.open_draft(tx, one.tenant_id, MARCH, LATER)) is Undrawn.UNSETTLED
    assert await close_all(shop.db) == 0
    busy = await refused(shop.db.transact(lambda tx: invoices.issue_now(tx, one.tenant_id, MARCH, ADMIN)), Conflict)
    assert busy.retry_after_s
    finish.set()
    await writing
    assert await close_all(shop.db) == 1
    (invoice,) = await one.invoices()
    assert (invoice.event_count, invoice.supplement) == (2, 0)


async def test_what_is_committed_after_the_close_comes_on_a_supplement(shop: House) -> None:
    one = await payer(shop)
    await one.buy(MID_MARCH, 1)
    first = await one.close()
    text = await one.proof(MID_MARCH + HOUR)
    await one.use_up(MID_MARCH + HOUR)
    late = (await one.call(MID_MARCH + HOUR, text)).event_id
    second = await one.close()
    assert [(each.period, each.supplement) for each in (first, second)] == [("2026-03", 0), ("2026-03", 1)]
    assert late in [each.event_id for each in (await sound(shop, second)).events]
    assert (await sound(shop, first)).head.event_count == first.event_count == 3
    total = await shop.db.read(lambda tx: usage.summary(tx, one.tenant_id, MARCH))
    assert Usdc.total(each.amount for each in total) == first.total + second.total == Usdc(2_000)
    await all_agree(shop)


@pytest.mark.parametrize("seed", range(4))
async def test_usage_is_ledger_is_invoices_to_the_micro(shop: House, seed: int) -> None:
    """Mixed calls of two tenants over three months: free, prepaid, on credit, failed, given back, at moving prices."""
    dice = random.Random(seed)
    payers = [await payer(shop), await payer(shop)]
    bought: dict[TenantId, list[EventId]] = {one.tenant_id: [] for one in payers}
    for at in hours(MARCH.start + timedelta(minutes=5), 24 * 75):
        if dice.random() < 0.985:
            continue
        one = dice.choice(payers)
        for step in range(dice.randint(2, 6)):
            await _something(shop, one, at + timedelta(seconds=step), bought[one.tenant_id], dice)
        if dice.random() < 0.15:
            price = MeterPrice(Meter.MAILBOX_LEASE, 2, Window.HOUR, Usdc(dice.randint(1, 1_500)))
            await shop.db.transact(
                lambda tx, price=price, at=at: price_list.change(  # type: ignore[misc]
                    tx, price, None, "", actor="test", at=at, request_id="req"
                )
            )
        if dice.random() < 0.1:
            await close_all(shop.db, at)
    assert await close_all(shop.db, MAY.end + HOUR) > 0
    await all_agree(shop)
    for one in payers:
        await _all_is_proved(shop, one)


async def _something(house: House, one: Payer, at: object, bought: list[EventId], dice: random.Random) -> None:
    assert isinstance(at, type(MID_MARCH))
    what = dice.random()
    if what < 0.15:
        await one.grant(str(Usdc(dice.randint(1, 4_000))), at)
    elif what < 0.25 and bought:
        wrong = await one.charge_of(bought.pop(dice.randrange(len(bought))))
        await house.db.transact(
            lambda tx: ledger.reverse(tx, one.tenant_id, wrong, "", actor="test", at=at, request_id="req")
        )
    elif what < 0.35:
        await refused(house.db.transact(lambda tx: _failing(tx, one, at)), Unprocessable)
    else:
        try:
            made = await one.pay_call(at)
        except PaymentRequired:
            return
        bought += [made.event_id] if made.paid_quantity else []


async def _failing(tx: Tx, one: Payer, at: object) -> None:
    assert isinstance(at, type(MID_MARCH))
    await one.admit(tx, at, route=READ)
    raise Unprocessable("The work failed.")


async def _all_is_proved(house: House, one: Payer) -> None:
    """Every event is in one invoice, under its root; months add up to what the usage routes say."""
    seen: list[EventId] = []
    for invoice in await one.invoices():
        statement = await sound(house, invoice)
        seen += [event.event_id for event in statement.events]
        month = usage.month_named(invoice.period)
        of_month = [each for each in await one.invoices() if each.period == invoice.period]
        summary = await house.db.read(lambda tx, month=month: usage.summary(tx, one.tenant_id, month))  # type: ignore[misc]
        assert Usdc.total(each.amount for each in summary) == Usdc.total(each.total for each in of_month)
    assert sorted(seen) == [event.event_id for event in await one.events()]
    assert len(seen) > 20


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 1000])
async def test_every_event_is_proved(shop: House, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invoices, "STEP", invoices.CHUNK)
    one = await payer(shop)
    await one.fill(count)
    invoice = await one.close()
    events = await one.events()
    whole = draw_up(invoice.invoice_id, one.tenant_id, "2026-03", events)
    assert whole.head == invoice.head
    assert await statement_text(shop, invoice, at_once=300) == to_csv(whole)
    root = invoice.head.statement_hash
    every = range(count) if count < 300 else {0, 255, 256, 511, 512, 767, 768, 998, 999, *range(0, 1000, 37)}
    for index in every:
        event = events[index]
        found = await evidence(one, invoice, event.event_id)
        assert (found.index, found.size, found.event) == (index, count, event)
        assert verify_event(event, EventProof(found.index, found.path), invoice.head)
        assert not merkle.verify_inclusion(found.leaf, index + 1, count, found.path, root)
        if index in {0, count - 1}:
            assert EventProof(found.index, found.path) == prove_event(whole, event.event_id)


async def test_nothing_used_is_nothing_billed(shop: House) -> None:
    one = await payer(shop)
    assert await close_all(shop.db) == 0
    assert await one.invoices() == []
    assert await shop.db.transact(lambda tx: invoices.open_draft(tx, one.tenant_id, MARCH, LATER)) is Undrawn.NOTHING


async def test_the_invoice_of_another_is_none(shop: House) -> None:
    one, other = await payer(shop), await payer(shop)
    (event_id,) = await one.buy(MID_MARCH, 1)
    invoice = await one.close()
    await other.buy(MID_MARCH, 1)
    foreign = await other.close()
    mine, its = invoice.invoice_id, foreign.invoice_id
    for call in (
        shop.db.read(lambda tx: invoices.get(tx, other.tenant_id, mine)),
        shop.db.read(lambda tx: invoices.bill(tx, other.tenant_id, mine)),
        shop.db.read(lambda tx: invoices.prove(tx, other.tenant_id, mine, event_id)),
        shop.db.read(lambda tx: invoices.prove(tx, other.tenant_id, its, event_id)),
        shop.db.transact(lambda tx: invoices.pay(tx, other.tenant_id, mine, ADMIN)),
        shop.db.read(lambda tx: invoices.get(tx, one.tenant_id, InvoiceId.new(LATER))),
    ):
        await refused(call, NotFound)
    assert await other.invoices() == [foreign]


async def test_a_draft_is_nobodys_bill_yet(shop: House) -> None:
    one = await payer(shop)
    await one.use_up(MID_MARCH)
    draft = await shop.db.transact(lambda tx: invoices.open_draft(tx, one.tenant_id, MARCH, LATER))
    assert isinstance(draft, InvoiceId)
    assert await one.invoices() == []
    await refused(one.invoice(draft), NotFound)
    (found,) = await shop.db.read(lambda tx: invoices.find(tx, Wanted(state="draft"), None, 10))
    assert (found.invoice_id, found.statement_hash) == (draft, None)
    with pytest.raises(ValueError, match="draft"):
        _ = found.head


async def test_issue_now(shop: House) -> None:
    one, other = await payer(shop), await payer(shop)
    await one.buy(MID_MARCH, 2)

    def order(tenant_id: TenantId, month: usage.Month) -> Awaitable[Invoice]:
        return shop.db.transact(lambda tx: invoices.issue_now(tx, tenant_id, month, ADMIN))

    made = await order(one.tenant_id, MARCH)
    assert (made.state, made.total) == ("issued", Usdc(2_000))
    assert await order(one.tenant_id, MARCH) == made
    assert await acts(shop, made.invoice_id) == ["invoice.issue"]
    await refused(order(other.tenant_id, MARCH), Unprocessable)
    await refused(order(one.tenant_id, APRIL), Unprocessable)
    await refused(order(TenantId.new(LATER), MARCH), NotFound)
    assert await close_all(shop.db) == 0
    await all_agree(shop)


async def test_void_gives_back_what_is_due(shop: House) -> None:
    one = await payer(shop)
    await one.grant("0.001000")
    await one.buy(MID_MARCH, 3)
    invoice = await one.close()
    voided = await void(shop, invoice)
    assert (voided.state, voided.voided_at) == ("void", LATER)
    assert sums(voided) == ("0.003000", "0.001000", "0.002000", "0.002000", "0.000000", "0.000000")
    assert await one.funds() == ("0.000000", "0.000000")
    assert await acts(shop, invoice.invoice_id) == ["invoice.issue", "invoice.void"]
    await sound(shop, voided)
    for call in (void(shop, invoice), pay(one, invoice), credit(shop, invoice, None)):
        await refused(call, Conflict)
    assert await close_all(shop.db) == 0, "its events are billed no second time"
    await all_agree(shop)


async def test_what_is_too_much_to_void_at_once(shop: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invoices, "MOST_VOIDED", 2)
    monkeypatch.setattr(invoices, "MOST_CREDITED", 2)
    one = await payer(shop)
    bought = await one.buy(MID_MARCH, 3)
    invoice = await one.close()
    await refused(void(shop, invoice), Unprocessable)
    await refused(credit(shop, invoice, None), Unprocessable)
    await credit(shop, invoice, bought[:1])
    assert (await void(shop, invoice)).credited == Usdc(3_000)
    await all_agree(shop)


async def test_what_is_paid_is_not_voided(shop: House) -> None:
    one = await payer(shop)
    await one.buy(MID_MARCH, 1)
    await one.grant("0.001000", LATER)
    invoice = await one.close()
    assert (await refused(void(shop, invoice), Conflict)).fields["state"] == "paid"
    await refused(shop.db.transact(lambda tx: invoices.void(tx, InvoiceId.new(LATER), "", ADMIN)), NotFound)


async def test_a_credit_note_lowers_what_is_due(shop: House) -> None:
    one = await payer(shop)
    bought = await one.buy(MID_MARCH, 3)
    invoice = await one.close()
    note = await credit(shop, invoice, bought[:2])
    assert (str(note.amount), note.event_ids) == ("0.002000", tuple(sorted(bought[:2])))
    after = await one.invoice(invoice.invoice_id)
    assert (after.state, sums(after)[3:]) == ("issued", ("0.002000", "0.000000", "0.001000"))
    assert after.head == invoice.head, "the statement is what it was"
    bill = await shop.db.read(lambda tx: invoices.bill(tx, one.tenant_id, invoice.invoice_id))
    assert bill.notes == (note,)
    last = await credit(shop, invoice, None, "all of it")
    assert last.event_ids == (bought[2],)
    assert (await one.invoice(invoice.invoice_id)).state == "paid", "nothing is due on it any more"
    assert await one.funds() == ("0.000000", "0.000000")
    assert await acts(shop, invoice.invoice_id) == [
        "invoice.issue", "invoice.credit", "invoice.credit", "invoice.pay"
    ]  # fmt: skip
    await all_agree(shop)


async def test_a_credit_note_gives_back_what_was_paid(shop: House) -> None:
    one = await payer(shop)
    await one.grant("0.001000")
    bought = await one.buy(MID_MARCH, 2)
    await one.grant("0.001000", LATER)
    invoice = await one.close()
    assert (invoice.state, invoice.prepaid, invoice.settled) == ("paid", Usdc(1_000), Usdc(1_000))
    await credit(shop, invoice, bought)
    after = await one.invoice(invoice.invoice_id)
    assert (after.state, after.credited, after.settled) == ("paid", ZERO, Usdc(1_000))
    assert await one.funds() == ("0.002000", "0.000000")
    await all_agree(shop)


async def test_what_no_credit_note_gives_back(shop: House) -> None:
    one, other = await payer(shop), await payer(shop)
    bought = await one.buy(MID_MARCH, 2)
    free = next(each.event_id for each in await one.events() if not each.paid_quantity)
    (foreign,) = await other.buy(MID_MARCH, 1)
    await other.close()
    invoice = await one.close()
    await credit(shop, invoice, bought[:1])
    for event_ids, kind in (
        ([foreign], NotFound),
        ([free], NotFound),
        ([EventId.new(LATER)], NotFound),
        ([bought[1], foreign], NotFound),
        (bought, Conflict),
        ([], Unprocessable),
    ):
        await refused(credit(shop, invoice, event_ids), kind)
    await refused(
        shop.db.transact(lambda tx: invoices.credit_note(tx, InvoiceId.new(LATER), None, "", ADMIN)), NotFound
    )
    await credit(shop, invoice, None)
    await refused(credit(shop, invoice, None), Unprocessable)
    await all_agree(shop)


async def test_of_twenty_credit_notes_at_once_one_is_made(shop: House) -> None:
    one = await payer(shop)
    bought = await one.buy(MID_MARCH, 2)
    invoice = await one.close()
    made = await asyncio.gather(*(credit(shop, invoice, bought) for _ in range(20)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in made) == ["Conflict"] * 19 + ["CreditNote"]
    assert await one.funds() == ("0.000000", "0.000000")
    await all_agree(shop)


async def _before_it_is_drawn_up(one: Payer, wrong: EventId) -> Invoice:
    await one.reverse(wrong)
    return await one.close()


async def _while_it_is_a_draft(one: Payer, wrong: EventId) -> Invoice:
    db = one.house.db
    draft = await db.transact(lambda tx: invoices.open_draft(tx, one.tenant_id, MARCH, LATER))
    assert isinstance(draft, InvoiceId)
    assert await db.transact(lambda tx: invoices.gather(tx, one.tenant_id, MARCH, draft, LATER))
    await one.reverse(wrong)
    return await one.close()


async def _once_it_is_issued(one: Payer, wrong: EventId) -> Invoice:
    invoice = await one.close()
    await one.reverse(wrong)
    return await one.invoice(invoice.invoice_id)


@pytest.mark.parametrize("course", [_before_it_is_drawn_up, _while_it_is_a_draft, _once_it_is_issued])
async def test_a_charge_taken_back_is_not_due(
    shop: House, course: Callable[[Payer, EventId], Awaitable[Invoice]]
) -> None:
    one = await payer(shop)
    bought = await one.buy(MID_MARCH, 3)
    invoice = await course(one, bought[1])
    assert sums(invoice) == ("0.003000", "0.000000", "0.003000", "0.001000", "0.000000", "0.002000")
    assert await one.funds() == ("0.000000", "0.002000")
    await sound(shop, invoice)
    await all_agree(shop)
    assert (await void(shop, invoice)).credited == Usdc(3_000)
    await all_agree(shop)


async def test_a_charge_of_a_paid_invoice_goes_to_the_balance_whatever_else_is_owed(shop: House) -> None:
    one = await payer(shop)
    bought = await one.buy(MID_MARCH, 2)
    await one.grant("0.002000", LATER)
    march = await one.close()
    await one.buy(APRIL.start, 4)
    assert await one.funds() == ("0.000000", "0.004000")
    await one.reverse(bought[0])
    assert await one.funds() == ("0.001000", "0.004000"), "April is owed in full"
    assert (await one.invoice(march.invoice_id)) == march
    april = await one.close(APRIL, MAY.start)
    assert april.due == Usdc(4_000)
    await all_agree(shop)


async def settlement_of(one: Payer, invoice: Invoice) -> TransferId:
    found = "SELECT transfer_id FROM invoice_settlements WHERE invoice_id = $1"
    return TransferId.of(await one.house.db.read(lambda tx: tx.value(found, invoice.invoice_id)))


async def unsettle(one: Payer, settlement: TransferId) -> None:
    await one.house.db.transact(
        lambda tx: ledger.reverse(tx, one.tenant_id, settlement, "", actor="test", at=LATER, request_id="req")
    )


async def test_a_settlement_taken_back_makes_the_invoice_due_again(shop: House) -> None:
    one = await payer(shop)
    await one.buy(MID_MARCH, 2)
    await one.grant("0.002000", LATER)
    invoice = await one.close()
    settlement = await settlement_of(one, invoice)
    await unsettle(one, settlement)
    again = await one.invoice(invoice.invoice_id)
    assert (again.state, again.paid_at, again.due) == ("issued", None, Usdc(2_000))
    assert await one.funds() == ("0.002000", "0.002000")
    await all_agree(shop)
    assert (await pay(one, invoice)).state == "paid"
    await refused(unsettle(one, settlement), CannotReverse)
    await all_agree(shop)


async def test_what_was_given_to_the_balance_cannot_be_voided_but_paid(shop: House) -> None:
    one = await payer(shop)
    bought = await one.buy(MID_MARCH, 4)
    await one.grant("0.010000", LATER)
    invoice = await one.close()
    assert invoice.state == "paid"
    await one.reverse(bought[0])
    await unsettle(one, await settlement_of(one, invoice))
    assert await one.funds() == ("0.011000", "0.004000")
    said = await refused(void(shop, invoice), Conflict)
    assert "given back to the balance" in said.message
    assert await one.funds() == ("0.011000", "0.004000"), "nothing was given back by the refused void"
    await all_agree(shop)
    await credit(shop, invoice, None)
    assert (await one.invoice(invoice.invoice_id)).due == Usdc(1_000)
    assert (await pay(one, invoice)).state == "paid"
    assert await one.funds() == ("0.010000", "0.000000")
    await all_agree(shop)


async def test_the_audit_log_says_how_much_money_was_moved(shop: House) -> None:
    one, other = await payer(shop), await payer(shop)
    bought = await one.buy(MID_MARCH, 6)
    await one.grant("0.006000", LATER)
    invoice = await one.close()
    await one.reverse(bought[0])
    await unsettle(one, await settlement_of(one, invoice))
    due = await other.buy(MID_MARCH, 3)
    unpaid = await other.close()
    await credit(shop, unpaid, due[:1])
    await void(shop, unpaid)
    found = """
    SELECT action, tenant_id, detail ->> 'amount_usdc' AS amount FROM audit_rows
    WHERE action IN ('invoice.pay', 'invoice.credit', 'invoice.void', 'transfer.reverse') ORDER BY xid, id
    """
    rows = await shop.db.read(lambda tx: tx.all(found))
    assert [tuple(row) for row in rows] == [
        ("invoice.pay", one.tenant_id, "0.006000"),
        ("transfer.reverse", one.tenant_id, "0.001000"),
        ("transfer.reverse", one.tenant_id, "0.006000"),
        ("invoice.credit", other.tenant_id, "0.001000"),
        ("invoice.void", other.tenant_id, "0.002000"),
    ]
    await all_agree(shop)


REFUSED = [
    "UPDATE invoices SET total_micros = total_micros + 1, prepaid_micros = prepaid_micros + 1",
    "UPDATE invoices SET statement_hash = sha256('x')",
    "UPDATE invoices SET chunk_hashes = ''",
    "UPDATE invoices SET event_count = 1",
    "UPDATE invoices SET period = '2026-02'",
    "UPDATE invoices SET tenant_id = (SELECT id FROM tenants WHERE id <> tenant_id LIMIT 1)",
    "UPDATE invoices SET issued_at = now()",
    "UPDATE invoices SET state = 'draft', statement_hash = NULL, issued_at = NULL",
    "UPDATE invoices SET credited_micros = on_credit_micros",
    "UPDATE invoices SET settled_micros = on_credit_micros, state = 'paid', paid_at = now()",
    "UPDATE invoices SET state = 'paid', paid_at = now()",
    "UPDATE invoices SET state = 'void', voided_at = now()",
    "DELETE FROM invoices",
    "TRUNCATE invoices CASCADE",
    "UPDATE invoice_lines SET free_quantity = free_quantity + 1",
    "DELETE FROM invoice_lines",
    "INSERT INTO invoice_lines SELECT id, 'other', 1, 0, 1, 0, 0 FROM invoices",
    "TRUNCATE invoice_lines",
    "UPDATE invoice_events SET seq = seq + 100",
    "DELETE FROM invoice_events",
    "TRUNCATE invoice_events",
    "INSERT INTO invoice_events SELECT gen_random_uuid(), id, 99 FROM invoices",
    "INSERT INTO invoice_events SELECT event_id, invoice_id, seq + 100 FROM invoice_events",
    "UPDATE credit_notes SET amount_micros = 1",
    "DELETE FROM credit_notes",
    "TRUNCATE credit_notes CASCADE",
    "DELETE FROM credit_note_charges",
    "UPDATE credit_note_charges SET event_id = gen_random_uuid()",
    "INSERT INTO invoice_settlements SELECT t.id, i.id FROM ledger_transfers t, invoices i LIMIT 1",
    "UPDATE invoice_settlements SET transfer_id = transfer_id",
    "DELETE FROM invoice_settlements",
    "TRUNCATE invoice_settlements",
]


async def forced(tx: Tx, sql: str) -> None:
    """With the rights that the owner can give itself back, or nothing would come to the triggers."""
    await tx.run("GRANT ALL ON ALL TABLES IN SCHEMA public TO CURRENT_USER")
    await tx.run(sql)


async def test_what_is_issued_stands(shop: House) -> None:
    one, other = await payer(shop), await payer(shop)
    bought = await one.buy(MID_MARCH, 3)
    invoice = await one.close()
    await credit(shop, invoice, bought[:1])
    await other.buy(MID_MARCH, 1)
    await other.grant("0.002000", LATER)
    await other.close()
    before = await shop.db.read(lambda tx: tx.all("SELECT i::text FROM invoices i ORDER BY id"))
    for sql in REFUSED:
        with pytest.raises((asyncpg.RestrictViolationError, asyncpg.CheckViolationError)):
            await shop.db.transact(lambda tx, sql=sql: forced(tx, sql))  # type: ignore[misc]
    assert await shop.db.read(lambda tx: tx.all("SELECT i::text FROM invoices i ORDER BY id")) == before
    await all_agree(shop)


async def test_an_event_is_on_one_invoice_and_its_tenants(shop: House) -> None:
    one, other = await payer(shop), await payer(shop)
    await one.use_up(MID_MARCH)
    await other.use_up(MID_MARCH)
    await one.close()
    (mine, _), (its, _) = await one.events(), await other.events()
    await one.call(MID_MARCH + HOUR)
    draft = await shop.db.transact(lambda tx: invoices.open_draft(tx, one.tenant_id, MARCH, LATER))
    add = "INSERT INTO invoice_events (event_id, invoice_id, seq) VALUES ($1, $2, 0)"
    with pytest.raises(asyncpg.UniqueViolationError):
        await shop.db.transact(lambda tx: tx.run(add, mine.event_id, draft))
    with pytest.raises(asyncpg.RestrictViolationError):
        await shop.db.transact(lambda tx: tx.run(add, its.event_id, draft))


async def test_lines_add_up_over_steps(shop: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invoices, "STEP", 2)
    monkeypatch.setattr(invoices, "CHUNK", 2)
    one = await payer(shop)
    await one.buy(MID_MARCH, 3)
    await one.buy(MID_MARCH + HOUR, 2)
    invoice = await one.close()
    bill = await shop.db.read(lambda tx: invoices.bill(tx, one.tenant_id, invoice.invoice_id))
    assert bill.lines == sum_up(await one.events())
    assert invoice.head == draw_up(invoice.invoice_id, one.tenant_id, "2026-03", await one.events()).head
    await all_agree(shop)
