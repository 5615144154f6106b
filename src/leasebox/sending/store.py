"""SQL of sending."""

from collections.abc import Sequence
from datetime import datetime

from leasebox.infra.db import Tx
from leasebox.sending.model import LIMIT, WINDOW, Taken
from leasebox.values.ids import TenantId

# Of a row that is there: what still counts. The latest moment in it is the earliest "now": a clock that is set back,
# or another process's that is behind, frees nothing early.
_NOW = "greatest($2::timestamptz, c.sent_at[cardinality(c.sent_at)])"
_LIVE = f"ARRAY(SELECT moment FROM unnest(c.sent_at) AS moment WHERE moment > {_NOW} - $5::interval ORDER BY moment)"
# One statement: it decides on the row as it is when it has locked it, whatever it saw before it had to wait.
_TAKE = f"""
WITH unbound AS (
    SELECT $1::uuid AS tenant_id WHERE NOT EXISTS (SELECT FROM wallets WHERE tenant_id = $1)
), counted AS (
    INSERT INTO cooldowns AS c (tenant_id, sent_at)
    SELECT tenant_id, array_fill($2::timestamptz, ARRAY[$3::int]) FROM unbound WHERE $3 <= $4::int
    ON CONFLICT (tenant_id) DO UPDATE SET sent_at = {_LIVE} || array_fill({_NOW}, ARRAY[$3::int])
    WHERE cardinality({_LIVE}) + $3 <= $4
    RETURNING tenant_id
)
SELECT CASE WHEN NOT EXISTS (SELECT FROM unbound) THEN 'bound'
            WHEN EXISTS (SELECT FROM counted) THEN 'counted'
            ELSE 'refused' END
"""
_LOOK = """
SELECT EXISTS (SELECT FROM wallets WHERE tenant_id = $1) AS bound,
       (SELECT sent_at FROM cooldowns WHERE tenant_id = $1) AS sent_at
"""


async def take(tx: Tx, tenant_id: TenantId, recipients: int, at: datetime) -> Taken:
    """Count the recipients of one message, all or none; nothing is counted for a tenant that has a wallet."""
    return Taken(await tx.value(_TAKE, tenant_id, at, recipients, LIMIT, WINDOW))


async def look(tx: Tx, tenant_id: TenantId) -> Sequence[datetime] | None:
    """A moment for each recipient that counts, in rising order; None for a tenant that has a wallet by now."""
    row = await tx.one(_LOOK, tenant_id)
    assert row is not None
    return None if row["bound"] else row["sent_at"] or ()
