"""The ledger: grants, reversals, limits, what the database itself refuses, and invariants under random use."""

import contextlib
import random
from datetime import datetime
from typing import Any

import asyncpg
import pytest

from leasebox.billing import caps, ledger, service
from leasebox.billing.errors import CannotReverse, InvalidPaymentProof, NotReversible, PaymentRequired
from leasebox.billing.model import Transfer, TransferId
from leasebox.infra.db import Database, Tx
from leasebox.values.errors import NotFound, Unprocessable
from leasebox.values.ids import TenantId
from leasebox.values.money import Usdc
from tests.billing.payer import LEASE, READ, SEND, Payer, WorkFailed, publish
from tests.billing.shop import book
from tests.billing.told import all_told
from tests.fakes.clock import FakeClock


async def agree(db: Database) -> None:
    lines = await db.read(ledger.trial_balance)
    assert sum(line.debited.micros for line in lines) == sum(line.credited.micros for line in lines)
    assert [dict(row) for row in await db.read(ledger.discrepancies)] == []
    await all_told(db)


async def spent(payer: Payer, at: datetime) -> Transfer:
    """Pay for one lease beyond the free ones; its transfer."""
    for _ in range(5):
        await payer.use(at)
    await payer.use(at, proof=await payer.text(at))
    rows = await payer.db.read(lambda tx: ledger.transfers(tx, payer.caller.tenant_id, None, 10))
    return next(row for row in rows if row.kind == "spend")


async def test_a_grant_can_be_spent_and_taken_back_once(payer: Payer, clock: FakeClock) -> None:
    now = clock.now()
    given = await payer.grant(now, "0.010000")
    assert (await payer.funds(now))["balance"] == "0.010000"
    await payer.reverse(now, given)
    assert (await payer.funds(now))["balance"] == "0.000000"
    with pytest.raises(CannotReverse) as refused:
        await payer.reverse(now, given)
    assert refused.value.fields["reason"] == "replayed"
    await agree(payer.db)


async def test_a_grant_that_is_spent_cannot_be_taken_back(payer: Payer, clock: FakeClock) -> None:
    now = clock.now()
    given = await payer.grant(now, "0.001000")
    await spent(payer, now)
    with pytest.raises(CannotReverse) as refused:
        await payer.reverse(now, given)
    assert refused.value.fields["reason"] == "short"


@pytest.mark.parametrize(("granted", "balance"), [("1", "1.000000"), (None, "0.000000")])
async def test_a_charge_goes_back_where_it_came_from(
    payer: Payer, clock: FakeClock, granted: str | None, balance: str
) -> None:
    now = clock.now()
    if granted:
        await payer.grant(now, granted)
    charge = await spent(payer, now)
    await payer.reverse(now, charge.transfer_id)
    found = await payer.funds(now)
    assert (found["balance"], found["owed"]) == (balance, "0.000000")
    lines = {line.ledger_account: line for line in await payer.db.read(ledger.trial_balance)}
    assert lines["revenue"].credited == lines["refunds"].debited == Usdc(1_000)
    await agree(payer.db)


async def test_only_charges_and_grants_are_reversed(payer: Payer, clock: FakeClock) -> None:
    now = clock.now()
    await payer.hold(now)
    held = (await payer.db.read(lambda tx: ledger.transfers(tx, payer.caller.tenant_id, None, 1)))[0]
    with pytest.raises(NotReversible):
        await payer.reverse(now, held.transfer_id)
    with pytest.raises(NotFound):
        await payer.reverse(now, TransferId.new(now))
    stranger = await Payer.new(payer.db, now)
    given = await payer.grant(now, "1")
    with pytest.raises(NotFound):
        await stranger.reverse(now, given)


@pytest.mark.parametrize("amount", [Usdc(0), Usdc(-1)])
async def test_nothing_is_no_grant(payer: Payer, clock: FakeClock, amount: Usdc) -> None:
    tenant, more = payer.caller.tenant_id, {"actor": "t", "at": clock.now(), "request_id": "r"}
    with pytest.raises(Unprocessable):
        await payer.db.transact(lambda tx: ledger.grant(tx, tenant, amount, "", **more))  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        nobody = TenantId.new(clock.now())
        await payer.db.transact(lambda tx: ledger.grant(tx, nobody, Usdc(1), "", **more))  # type: ignore[arg-type]


async def test_an_admin_changes_what_may_be_owed(payer: Payer, clock: FakeClock) -> None:
    now, tenant = clock.now(), payer.caller.tenant_id

    async def limit(usdc: str | None) -> None:
        amount = None if usdc is None else Usdc.parse(usdc)
        await payer.db.transact(
            lambda tx: ledger.set_credit_limit(tx, tenant, amount, actor="a", at=now, request_id="r")
        )

    await limit("0.001000")
    await payer.hold(now)
    with pytest.raises(PaymentRequired):
        await payer.hold(now)
    await limit("0")
    assert (await payer.funds(now))["owed"] == "0.001000"
    await limit(None)
    assert (await payer.funds(now))["credit_limit"] == "0.050000"
    await payer.hold(now)


FORBIDDEN = [
    "UPDATE ledger_transfers SET amount_micros = 1",
    "DELETE FROM ledger_transfers",
    "TRUNCATE ledger_transfers",
    "UPDATE usage_events SET paid_quantity = 0, amount_micros = 0",
    "DELETE FROM usage_events",
    "TRUNCATE usage_events",
    "UPDATE price_versions SET unit_price_micros = 1",
    "DELETE FROM price_versions",
    "TRUNCATE price_versions",
    "DELETE FROM payment_proofs",
    "TRUNCATE payment_proofs",
    "UPDATE tenant_funds SET balance_micros = balance_micros + 1",
    "UPDATE tenant_funds SET held_micros = 5",
    "UPDATE tenant_funds SET receivable_micros = 1",
    "DELETE FROM tenant_funds",
    "INSERT INTO tenant_funds SELECT id, 1, 0, 0 FROM tenants WHERE id NOT IN (SELECT tenant_id FROM tenant_funds)",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
async def test_what_the_database_refuses_whoever_asks(payer: Payer, clock: FakeClock, statement: str) -> None:
    now = clock.now()
    await payer.grant(now, "0.010000")
    await spent(payer, now)
    await payer.hold(now)
    await Payer.new(payer.db, now)

    async def forced(tx: Tx) -> None:
        await tx.run("GRANT ALL ON ALL TABLES IN SCHEMA public TO CURRENT_USER")
        await tx.run(statement)

    with pytest.raises(asyncpg.RestrictViolationError):
        await payer.db.transact(forced)
    await agree(payer.db)


TRANSFER = """
INSERT INTO ledger_transfers (id, tenant_id, kind, debit, credit, amount_micros, at, proof_id, event_id, made_by, note)
SELECT gen_random_uuid(), tenant_id, $1, $2, $3, $4, $5, NULL, NULL, 'test', '' FROM tenant_funds
"""


@pytest.mark.parametrize(
    ("kind", "debit", "credit", "amount"),
    [
        ("grant", "promotions", "balance", 0),
        ("grant", "promotions", "balance", -5),
        ("grant", "balance", "balance", 5),
        ("grant", "thin_air", "balance", 5),
        ("gift", "promotions", "balance", 5),
        ("hold", "balance", "held", 10_001),
        ("release", "held", "balance", 1),
        ("settlement", "clearing", "receivable", 1),
        ("spend", "held", "revenue", 1),
        ("reversal", "refunds", "balance", 1),
    ],
)
async def test_no_transfer_is_lopsided_or_takes_what_is_not_there(
    payer: Payer, clock: FakeClock, kind: str, debit: str, credit: str, amount: int
) -> None:
    now = clock.now()
    await payer.grant(now, "0.010000")
    with pytest.raises(asyncpg.CheckViolationError):
        await payer.db.transact(lambda tx: tx.run(TRANSFER, kind, debit, credit, amount, now))
    await agree(payer.db)


async def test_the_trial_balance_notices_what_does_not_agree(payer: Payer, clock: FakeClock) -> None:
    now = clock.now()
    await spent(payer, now)
    await payer.db.transact(lambda tx: tx.run("UPDATE payment_proofs SET charged_micros = 999"))
    rules = [row["rule"] for row in await payer.db.read(ledger.discrepancies)]
    assert rules == ["usage = proofs"]


class RandomUse:
    """What agents, admins, jobs and time may do to a few tenants, in any order."""

    def __init__(self, seed: int, payers: list[Payer], clock: FakeClock) -> None:
        self.random = random.Random(seed)
        self.payers = payers
        self.clock = clock
        self.proofs: list[tuple[Payer, Any, str]] = []
        self.charged = 0
        self.admitted = 0

    async def step(self) -> None:
        payer, now = self.random.choice(self.payers), self.clock.now()
        route = self.random.choice([LEASE, READ, SEND])
        quantity = self.random.randint(1, 9) if route is SEND else 1
        tenant = payer.caller.tenant_id
        more = {"actor": "admin", "at": now, "request_id": "r"}
        seldom = ["vain", "time", "grant", "reverse", "cap", "job", "limit"]
        match self.random.choice(["hold"] * 5 + ["use"] * 8 + seldom):
            case "hold":
                self.proofs.append((payer, route, await payer.text(now, route, quantity)))
            case "use":
                admission = await payer.use(now, route, self._proof(payer, route), quantity)
                self.charged += admission.amount.micros
                self.admitted += 1
            case "vain":
                await payer.use_in_vain(now, route, self._proof(payer, route), quantity)
            case "time":
                self.clock.advance(seconds=self.random.choice([1, 1, 1, 60, 121, 3600]))
            case "grant":
                await payer.grant(now, f"0.{self.random.randint(1, 30_000):06d}")
            case "reverse":
                done = await payer.db.read(lambda tx: ledger.transfers(tx, tenant, None, 50))
                await payer.reverse(now, self.random.choice(done).transfer_id)
            case "cap":
                limit = self.random.choice([None, Usdc(self.random.randint(0, 60_000))])
                await payer.db.transact(lambda tx: caps.set_cap(tx, payer.caller, None, "day", limit, now, "r"))
            case "job":
                await payer.db.transact(lambda tx: service.release_due(tx, now, 2))
            case _:
                limit = Usdc(self.random.randint(0, 90_000))
                await payer.db.transact(lambda tx: ledger.set_credit_limit(tx, tenant, limit, **more))  # type: ignore[arg-type]

    def _proof(self, payer: Payer, route: Any) -> str | None:
        mine = [text for owner, kind, text in self.proofs if owner is payer and kind is route]
        return self.random.choice(mine[-5:]) if mine and self.random.random() < 0.8 else None


@pytest.mark.parametrize("seed", range(6))
async def test_the_books_agree_whatever_happens(db: Database, clock: FakeClock, seed: int) -> None:
    few = book(mailbox_lease=(1, "hour", "0.001"), message_read=(2, "day", "0.0001"), message_send=(3, "day", "0.002"))
    await publish(db, few, clock.now())
    payers = [await Payer.new(db, clock.now()) for _ in range(2)]
    use = RandomUse(seed, payers, clock)
    refusals = (PaymentRequired, InvalidPaymentProof, WorkFailed, CannotReverse, NotReversible, IndexError)
    for turn in range(250):
        with contextlib.suppress(*refusals):
            await use.step()
        if turn % 50 == 49:
            await agree(db)
    sums = await db.read(lambda tx: tx.one("SELECT count(*) AS n, sum(amount_micros) AS micros FROM usage_events"))
    assert sums is not None
    assert (sums["n"], sums["micros"]) == (use.admitted, use.charged)
    assert use.charged > 0
    overdrawn = "SELECT count(*) FROM tenant_funds WHERE least(balance_micros, held_micros, receivable_micros) < 0"
    assert await db.read(lambda tx: tx.value(overdrawn)) == 0
