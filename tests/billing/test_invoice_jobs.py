"""The monthly close: twice, late, at once, killed; one invoice a month whatever happens."""

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from leasebox.billing import closing_store, invoices
from leasebox.billing.invoice_jobs import GRACE, months_over
from leasebox.billing.invoice_model import Progress
from leasebox.billing.statement import draw_up
from leasebox.infra import db
from leasebox.infra.db import Tx
from leasebox.values.ids import EventId
from leasebox.values.money import Usdc
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
    payer,
    sound,
)
from tests.kit import House

# Closes as the worker does, and says when each step has been committed; whoever reads it can kill it just then.
PROGRAM = """
import asyncio, os
from datetime import UTC, datetime
from leasebox.billing import invoice_jobs, invoices
from leasebox.infra import db

class Still:
    def now(self):
        return datetime(2026, 4, 20, tzinfo=UTC)

async def main():
    database = await db.connect(os.environ["URL"])
    transact = database.transact
    async def told(body):
        answer = await transact(body)
        print("step", flush=True)
        await asyncio.sleep(0.01)
        return answer
    database.transact = told
    invoices.STEP = invoices.CHUNK
    await invoice_jobs.close_months(database, Still())

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("done", "first", "now", "expected"),
    [
        (None, None, "2026-04-20", []),
        (None, "2026-03-31", "2026-04-01", ["2026-03"]),
        (None, "2026-03-31", "2026-03-31", []),
        (None, "2025-11-02", "2026-02-28", ["2025-11", "2025-12", "2026-01"]),
        ("2026-02", "2025-01-01", "2026-04-20", ["2026-03"]),
        ("2026-03", "2025-01-01", "2026-04-20", []),
        ("2026-03", None, "2026-06-01", ["2026-04", "2026-05"]),
    ],
)
def test_which_months_are_over(done: str | None, first: str | None, now: str, expected: list[str]) -> None:
    first_at = None if first is None else datetime.fromisoformat(first).replace(tzinfo=UTC)
    found = months_over(Progress(done, 7), first_at, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert [month.name for month in found] == expected


async def test_a_month_is_closed_some_minutes_after_its_end(shop: House) -> None:
    one = await payer(shop)
    await one.use_up(MID_MARCH)
    assert await close_all(shop.db, MARCH.end + GRACE - timedelta(seconds=1)) == 0
    assert await close_all(shop.db, MARCH.end + GRACE) == 1
    (invoice,) = await one.invoices()
    assert invoice.issued_at == MARCH.end + GRACE


async def test_all_months_and_tenants_that_are_late(shop: House) -> None:
    one, other = await payer(shop), await payer(shop)
    for month in (MARCH, APRIL, MAY):
        await one.buy(month.start, 1)
    await other.call(APRIL.start, route=READ)
    assert await close_all(shop.db, MAY.end + timedelta(days=40)) == 4
    assert [each.period for each in await one.invoices()] == ["2026-03", "2026-04", "2026-05"]
    assert [each.period for each in await other.invoices()] == ["2026-04"]
    assert await close_all(shop.db, MAY.end + timedelta(days=41)) == 0
    assert await closed(shop) == ["2026-03", "2026-04", "2026-05", "2026-06"]
    await all_agree(shop)


async def test_twenty_at_once_make_one_invoice(shop: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invoices, "STEP", invoices.CHUNK)
    one, other = await payer(shop), await payer(shop)
    await one.fill(700)
    bought = await other.buy(MID_MARCH, 3)
    assert shop.settings.database_url is not None
    second = await db.connect(shop.settings.database_url.reveal(), at_most=10)
    try:
        issued = await asyncio.gather(*(close_all(each) for _ in range(10) for each in (shop.db, second)))
    finally:
        await second.close()
    assert sum(issued) == 2
    (invoice,), (bill,) = await one.invoices(), await other.invoices()
    assert (invoice.event_count, bill.event_count) == (700, 5)
    assert set(bought) <= {event.event_id for event in (await sound(shop, bill)).events}
    await sound(shop, invoice)
    told = "SELECT type, count(*) FROM facts WHERE type LIKE 'invoice.%' GROUP BY 1 ORDER BY 1"
    rows = await shop.db.read(lambda tx: tx.all(told))
    assert [tuple(row) for row in rows] == [("invoice.issued", 2), ("invoice.paid", 1)]
    await all_agree(shop)


async def test_killed_after_any_step_it_is_gone_on_with(shop: House) -> None:
    one = await payer(shop)
    await one.fill(1100)
    await one.buy(MID_MARCH, 2)
    assert shop.settings.database_url is not None
    url, moments = shop.settings.database_url.reveal(), (1, 2, 2, 1, 3, 1)
    assert [await asyncio.to_thread(killed, url, after) for after in moments] == list(moments)
    drafts = await shop.db.read(closing_store.drafts)
    assert len(drafts) + len(await one.invoices()) == 1
    await close_all(shop.db)
    (invoice,) = await one.invoices()
    assert (invoice.event_count, invoice.supplement, invoice.total) == (1104, 0, Usdc(2_000))
    assert invoice.head == draw_up(invoice.invoice_id, one.tenant_id, "2026-03", await one.events()).head
    await sound(shop, invoice)
    await all_agree(shop)


def killed(url: str, after: int) -> int:
    """Close in another process and kill it once it has committed so many steps; how many these were."""
    steps = 0
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env={**os.environ, "URL": url}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while steps < after and process.stdout.readline():
            steps += 1
        process.send_signal(signal.SIGKILL)
    return steps


async def test_killed_before_a_commit_nothing_was_done(shop: House) -> None:
    one = await payer(shop)
    await one.buy(MID_MARCH, 1)

    async def dies(tx: Tx) -> None:
        await invoices.issue_now(tx, one.tenant_id, MARCH, ADMIN)
        await tx.run("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(Exception, match="does not answer"):
        await shop.db.transact(dies)
    assert await one.invoices() == []
    assert await shop.db.read(closing_store.drafts) == []
    assert await close_all(shop.db) == 1
    await all_agree(shop)


async def test_what_was_committed_after_the_close_is_found(shop: House) -> None:
    one, other = await payer(shop), await payer(shop)
    await one.use_up(MID_MARCH)
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slow(tx: Tx) -> EventId:
        made = await other.admit(tx, MARCH.end - timedelta(seconds=1), route=READ)
        begun.set()
        await finish.wait()
        return made.event_id

    # It began to write before the close, and no event of its tenant tells of it.
    writing = asyncio.create_task(shop.db.transact(slow))
    await begun.wait()
    assert await close_all(shop.db) == 1
    assert await closed(shop) == ["2026-03"]
    finish.set()
    late = await writing
    await one.call(MID_MARCH + timedelta(hours=1))
    assert await close_all(shop.db) == 2
    (its,), mine = await other.invoices(), await one.invoices()
    assert [event.event_id for event in (await sound(shop, its)).events] == [late]
    assert (its.supplement, [each.supplement for each in mine]) == (0, [0, 1])
    await other.call(APRIL.start, route=READ)
    assert await close_all(shop.db) == 0, "April is not over"
    await all_agree(shop)


async def test_what_was_committed_between_two_months_of_one_run_is_found(
    shop: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = await payer(shop), await payer(shop)
    await one.use_up(MID_MARCH)
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slow(tx: Tx) -> None:
        await other.admit(tx, MID_MARCH, route=READ)
        begun.set()
        await finish.wait()

    writing, close = asyncio.create_task(shop.db.transact(slow)), closing_store.close

    async def once_march_is_closed(*closing: object) -> None:
        await close(*closing)  # type: ignore[arg-type]
        finish.set()
        await writing

    await begun.wait()
    with monkeypatch.context() as patched:
        patched.setattr(closing_store, "close", once_march_is_closed)
        assert await close_all(shop.db, MAY.start + timedelta(days=1)) == 1
    assert await closed(shop) == ["2026-03", "2026-04"]
    assert await other.invoices() == []
    assert await close_all(shop.db, MAY.start + timedelta(days=1)) == 1
    assert [each.period for each in await other.invoices()] == ["2026-03"]


async def test_a_straggler_of_months_ago_is_found(shop: House) -> None:
    one = await payer(shop)
    for month in (MARCH, APRIL, MAY):
        await one.call(month.start, route=READ)
        await close_all(shop.db, month.end + timedelta(days=1))
    await one.call(MID_MARCH, route=READ)
    await one.call(MAY.start + timedelta(days=3), route=READ)
    assert await close_all(shop.db, MAY.end + timedelta(days=2)) == 2
    found = [(each.period, each.supplement) for each in await one.invoices()]
    assert found == [("2026-03", 0), ("2026-03", 1), ("2026-04", 0), ("2026-05", 0), ("2026-05", 1)]
    await all_agree(shop)


async def test_one_tenants_fault_holds_up_nobody_else(shop: House, monkeypatch: pytest.MonkeyPatch) -> None:
    payers = [await payer(shop) for _ in range(3)]
    for each in payers:
        await each.use_up(MID_MARCH)
    unlucky, issue = payers[1], invoices.issue

    async def breaks(tx: Tx, tenant_id: object, *rest: object) -> object:
        if tenant_id == unlucky.tenant_id:
            raise ArithmeticError("one tenant's")
        return await issue(tx, tenant_id, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as broken:
        broken.setattr(invoices, "issue", breaks)
        assert await close_all(shop.db) == 2
    assert [len(await each.invoices()) for each in payers] == [1, 0, 1]
    assert await closed(shop) == []
    assert await close_all(shop.db) == 1
    assert await closed(shop) == ["2026-03"]


async def test_an_invoice_that_was_given_back_whole_becomes_paid(shop: House) -> None:
    one = await payer(shop)
    bought = await one.buy(MID_MARCH, 2)
    await close_all(shop.db)
    for each in bought:
        await one.reverse(each)
    (before,) = await one.invoices()
    assert (before.state, before.due) == ("issued", Usdc(0))
    await close_all(shop.db)
    (after,) = await one.invoices()
    assert (after.state, after.settled, after.paid_at) == ("paid", Usdc(0), LATER)
    await all_agree(shop)


async def test_calls_go_on_while_a_month_is_closed(shop: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invoices, "STEP", invoices.CHUNK)
    one = await payer(shop)
    await one.fill(2000)
    await one.grant("1.000000")
    closing = asyncio.create_task(close_all(shop.db))
    made = await buy_while(one, closing)
    assert await closing == 1
    (invoice,) = await one.invoices()
    assert invoice.event_count == 2000
    assert made > 2
    await all_agree(shop)


async def buy_while(one: Payer, closing: "asyncio.Task[int]") -> int:
    """Charged calls of the next month, one after another, until the month before is closed; how many."""
    await one.use_up(LATER)
    made = 0
    while not closing.done():
        made += (await one.pay_call(LATER)).paid_quantity
    return made


async def closed(house: House) -> list[str]:
    rows = await house.db.read(lambda tx: tx.all("SELECT period FROM closed_months ORDER BY period"))
    return [row["period"] for row in rows]
