"""`balance.low`: a tenant is told once when what it can still spend falls below a mark."""

from datetime import timedelta
from functools import partial

from leasebox.billing import ledger, low_balance_store
from leasebox.infra.db import Database, Tx
from leasebox.infra.facts_log import Fact, append
from leasebox.values.clock import Clock
from leasebox.values.facts import BALANCE_LOW
from leasebox.values.ids import TenantId
from leasebox.values.money import Usdc

LOW_MARK = Usdc(10_000)
"""Ten calls at the default prices: time enough to top up, and a fifth of what a new tenant may owe."""

# Whoever hovers around the mark is not told each time.
_ENOUGH = LOW_MARK * 2
_LATE_COMMIT = timedelta(minutes=1)
_UNWATCHED = timedelta(days=1)


class BalanceWatch:
    """Looks at tenants whose money moved since the last look; the first look goes a day back."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._from = clock.now() - _UNWATCHED

    async def look(self) -> int:
        """Tell those who have little left now and had enough before; how many. Safe to run late, twice, anywhere."""
        now = self._clock.now()
        moved = await self._db.read(lambda tx: low_balance_store.moved_since(tx, self._from))
        told = [await self._db.transact(partial(self._judge, tenant_id=each)) for each in moved]
        self._from = now - _LATE_COMMIT
        return sum(told)

    async def _judge(self, tx: Tx, tenant_id: TenantId) -> int:
        now = self._clock.now()
        funds = await ledger.funds(tx, tenant_id, now)
        available = funds.balance + funds.credit_left
        if available >= _ENOUGH:
            await low_balance_store.unmark(tx, tenant_id)
        if available >= LOW_MARK or not await low_balance_store.mark(tx, tenant_id, now):
            return 0
        payload = {
            "available_usdc": str(available),
            "balance_usdc": str(funds.balance),
            "credit_left_usdc": str(funds.credit_left),
            "mark_usdc": str(LOW_MARK),
        }
        await append(tx, [Fact(tenant_id, None, None, BALANCE_LOW, payload, now)])
        return 1
