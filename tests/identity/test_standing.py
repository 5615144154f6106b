"""A tenant's status: what it was is told under a lock."""

import asyncio

import pytest

from leasebox.identity import standing
from leasebox.infra.db import Tx
from leasebox.values.errors import NotFound
from leasebox.values.ids import TenantId
from tests.kit import House


async def test_of_many_changes_each_sees_the_one_before(house: House) -> None:
    tenant = TenantId.parse((await house.agent()).session["tenant_id"])
    statuses: list[standing.TenantStatus] = ["suspended", "closed", "active"] * 10

    async def change(to: standing.TenantStatus) -> tuple[str, str]:
        return await house.db.transact(lambda tx: standing.set_status(tx, tenant, to)), to

    links = await asyncio.gather(*(change(each) for each in statuses))
    final = await house.db.transact(lambda tx: standing.set_status(tx, tenant, "active"))
    # Whatever the order was: each state was left as often as it was entered, but for the first and the last.
    for each in ("active", "suspended", "closed"):
        entered = sum(after == each for _, after in links) + (each == "active")
        left = sum(before == each for before, _ in links) + (each == final)
        assert entered == left


async def test_an_unknown_tenant(house: House) -> None:
    async def change(tx: Tx) -> str:
        return await standing.set_status(tx, TenantId.new(house.clock.now()), "closed")

    with pytest.raises(NotFound):
        await house.db.transact(change)
