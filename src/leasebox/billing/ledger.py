"""Verbs of the ledger: grant, reverse, limits, and what a tenant has. Holding and spending belong to `service`.

| kind       | debit                | credit               | what it is                                             |
|------------|----------------------|----------------------|--------------------------------------------------------|
| grant      | promotions           | balance              | balance given by the operator                          |
| hold       | balance, receivable  | held                 | the price of a proof, set aside                        |
| spend      | held                 | revenue              | a metered call; one usage event each                   |
| release    | held                 | balance, receivable  | a hold, or the rest of one, given back                 |
| reversal   | refunds, balance     | balance, receivable, promotions | another transfer taken back                 |
| settlement | clearing, balance    | receivable           | an invoice paid                                        |
| deposit    | clearing             | balance              | balance paid in                                        |

balance and held are what we owe a tenant, receivable is what it owes us: three running balances in `tenant_funds` that
a trigger moves with each transfer, and that cannot fall below zero. revenue, promotions, clearing and refunds are ours:
sums over entries. One row is one balanced pair, so debits equal credits however the row came about.
"""

from collections.abc import Sequence
from datetime import datetime

from asyncpg import Record

from leasebox.audit.model import Act
from leasebox.audit.service import record
from leasebox.billing import ledger_store
from leasebox.billing.errors import CannotReverse, NotReversible
from leasebox.billing.model import Funds, Transfer, TransferId, TrialLine
from leasebox.billing.prices import NEW_TENANT_CREDIT_LIMIT
from leasebox.billing.proof import ProofId
from leasebox.infra.db import Tx
from leasebox.values.errors import NotFound, Unprocessable
from leasebox.values.ids import EventId, TenantId
from leasebox.values.money import Usdc

_WHY_NOT = {
    "replayed": "This transfer was reversed before.",
    "short": "What this transfer moved is not there any more.",
}


async def grant(
    tx: Tx, tenant_id: TenantId, amount: Usdc, note: str, *, actor: str, at: datetime, request_id: str
) -> TransferId:
    """Give a tenant promotional balance. Raises NotFound (tenant), Unprocessable for nothing or less."""
    if amount <= Usdc(0):
        raise Unprocessable(
            "A grant is more than nothing.", fix="Grant a positive amount; to take one back, reverse it."
        )
    await _open(tx, tenant_id)
    transfer_id = TransferId.new(at)
    await ledger_store.grant(tx, tenant_id, transfer_id, amount, at, actor, note)
    detail = {"amount_usdc": str(amount), "note": note}
    await record(tx, Act(at, actor, "balance.grant", str(transfer_id), tenant_id, request_id, detail=detail))
    return transfer_id


async def reverse(
    tx: Tx, tenant_id: TenantId, wrong: TransferId, note: str, *, actor: str, at: datetime, request_id: str
) -> TransferId:
    """Take a charge, grant, deposit or settlement back by a transfer that points at it; the first one stays as it is.

    Raises NotFound, NotReversible (422), CannotReverse (409: done before, or the granted balance is spent).
    """
    transfer_id = TransferId.new(at)
    outcome, amount = await ledger_store.reverse(tx, tenant_id, transfer_id, wrong, at, actor, note)
    match outcome:
        case "unknown":
            raise NotFound("No such transfer.")
        case "irreversible":
            raise NotReversible("Holds, releases and reversals are not reversed.")
        case "replayed" | "short":
            raise CannotReverse(_WHY_NOT[outcome], reason=outcome)
    detail = {"transfer_id": str(transfer_id), "amount_usdc": str(amount), "note": note}
    await record(tx, Act(at, actor, "transfer.reverse", str(wrong), tenant_id, request_id, detail=detail))
    return transfer_id


async def set_credit_limit(
    tx: Tx, tenant_id: TenantId, limit: Usdc | None, *, actor: str, at: datetime, request_id: str
) -> None:
    """How much a tenant may owe; None: the default, which is nothing without a wallet. Raises NotFound."""
    await _open(tx, tenant_id)
    before = await ledger_store.credit_limit(tx, tenant_id)
    await ledger_store.set_credit_limit(tx, tenant_id, limit)
    detail = {
        "before": {"credit_limit_usdc": None if before is None else str(before)},
        "after": {"credit_limit_usdc": None if limit is None else str(limit)},
    }
    await record(tx, Act(at, actor, "credit_limit.set", str(tenant_id), tenant_id, request_id, detail=detail))


async def funds(tx: Tx, tenant_id: TenantId, at: datetime) -> Funds:
    """What a tenant has at a moment."""
    row = await ledger_store.funds(tx, tenant_id, at, NEW_TENANT_CREDIT_LIMIT)
    return Funds(
        Usdc(row["balance_micros"]),
        Usdc(row["held_micros"]),
        Usdc(row["owed_micros"]),
        Usdc(row["credit_limit_micros"]),
    )


async def transfers(tx: Tx, tenant_id: TenantId, below: object, limit: int) -> list[Transfer]:
    """A tenant's transfers, newest first."""
    return [_transfer(row) for row in await ledger_store.listed(tx, tenant_id, below, limit)]


async def trial_balance(tx: Tx) -> list[TrialLine]:
    """Debits and credits of each ledger account; over all of them they are equal."""
    return [
        TrialLine(row["ledger_account"], Usdc(row["debit_micros"]), Usdc(row["credit_micros"]))
        for row in await ledger_store.trial(tx)
    ]


async def discrepancies(tx: Tx) -> Sequence[Record]:
    """Where ledger, running balances, proofs, usage and price versions disagree: nowhere, or something is broken.

    Each row has tenant_id, rule and difference_micros.
    """
    return await ledger_store.discrepancies(tx)


async def _open(tx: Tx, tenant_id: TenantId) -> None:
    if not await ledger_store.has_tenant(tx, tenant_id):
        raise NotFound("No such tenant.")
    await ledger_store.open_funds(tx, tenant_id)


def _transfer(row: Record) -> Transfer:
    return Transfer(
        TransferId.of(row["id"]),
        row["kind"],
        row["debit"],
        row["credit"],
        Usdc(row["amount_micros"]),
        row["at"],
        None if row["proof_id"] is None else ProofId.of(row["proof_id"]),
        None if row["event_id"] is None else EventId.of(row["event_id"]),
        None if row["reverses"] is None else TransferId.of(row["reverses"]),
        row["note"],
    )
