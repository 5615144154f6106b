"""The ledger's statements: every tenant apart, and the running balances moved by transfers alone."""

from leasebox.billing import ledger, ledger_store
from leasebox.billing.model import TransferId
from leasebox.values.money import Usdc
from tests.billing.payer import Payer
from tests.fakes.clock import FakeClock


async def test_two_first_movements_at_once_open_one_row(payer: Payer) -> None:
    tenant = payer.caller.tenant_id
    await payer.db.transact(lambda tx: ledger_store.open_funds(tx, tenant))
    await payer.db.transact(lambda tx: ledger_store.open_funds(tx, tenant))
    assert await payer.db.read(lambda tx: tx.value("SELECT count(*) FROM tenant_funds")) == 1


async def test_a_transfer_moves_both_its_sides(payer: Payer, clock: FakeClock) -> None:
    await payer.grant(clock.now(), "0.003000")
    await payer.hold(clock.now())
    entries = await payer.db.read(
        lambda tx: tx.all(
            "SELECT ledger_account, sum(credit_micros - debit_micros)::int AS micros FROM ledger_entries GROUP BY 1"
        )
    )
    assert {row["ledger_account"]: row["micros"] for row in entries} == {
        "balance": 2_000,
        "held": 1_000,
        "promotions": -3_000,
    }
    lines = await payer.db.read(ledger_store.trial)
    assert sum(row["debit_micros"] for row in lines) == sum(row["credit_micros"] for row in lines) == 4_000


async def test_a_strangers_transfer_is_unknown(payer: Payer, clock: FakeClock) -> None:
    given, other = await payer.grant(clock.now(), "1"), await Payer.new(payer.db, clock.now())
    await other.grant(clock.now(), "1")
    outcome, _ = await payer.db.transact(
        lambda tx: ledger_store.reverse(
            tx, other.caller.tenant_id, TransferId.new(clock.now()), given, clock.now(), "a", ""
        )
    )
    assert outcome == "unknown"
    mine = await payer.db.read(lambda tx: ledger.transfers(tx, payer.caller.tenant_id, None, 10))
    assert [row.transfer_id for row in mine] == [given]


async def test_nobody_has_funds_before_the_first_movement(payer: Payer, clock: FakeClock) -> None:
    found = await payer.db.read(lambda tx: ledger.funds(tx, payer.caller.tenant_id, clock.now()))
    assert (found.balance, found.held, found.owed, found.credit_limit) == (Usdc(0), Usdc(0), Usdc(0), Usdc(50_000))
