"""SQL of admins' views: what indexes they walk, and that they keep tenants apart."""

import pytest

from leasebox.admin import views_store
from leasebox.values.ids import TenantId
from tests.admin.desk import tenant_of
from tests.kit import House

ALL = (None,) * 4
PLANS = [
    (views_store._DENIALS, (*ALL, 10), "facts_denied_idx"),
    (views_store._AUDIT, (None, "agt_x", *(None,) * 6, 10), "audit_rows_actor_id_idx"),
    (views_store._AUDIT, (None, None, None, "lse_x", *(None,) * 4, 10), "audit_rows_resource_id_idx"),
    (views_store._TENANTS, (*ALL, None, 10), "tenants_pkey"),
]


@pytest.mark.parametrize(("sql", "values", "index"), PLANS, ids=[each[2] for each in PLANS])
async def test_a_long_table_is_not_read_through(house: House, sql: str, values: tuple[object, ...], index: str) -> None:
    async def plan(tx: object) -> str:
        await tx.run("SET LOCAL enable_seqscan = off")  # type: ignore[attr-defined]
        await tx.run("SET LOCAL enable_bitmapscan = off")  # type: ignore[attr-defined]
        rows = await tx.all("EXPLAIN " + sql, *values)  # type: ignore[attr-defined]
        return "\n".join(row[0] for row in rows)

    assert index in await house.db.transact(plan)


async def test_counts_are_of_one_tenant(house: House) -> None:
    one, other = await house.agent(), await house.agent()
    await one.lease()
    await other.lease()
    await other.lease()
    now = house.clock.now()
    for agent, leases in ((one, 1), (other, 2)):
        tenant = TenantId.parse(tenant_of(agent))
        row = await house.db.read(lambda tx, tenant=tenant: views_store.tenant_counts(tx, tenant, now))  # type: ignore[misc]
        assert (row["leases"], row["live_leases"], row["agents"]) == (leases, leases, 1)
