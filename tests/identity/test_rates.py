"""Rates in force: configured, everybody's, a tenant's own; within a second, and through an outage."""

from datetime import timedelta
from typing import Any

import pytest

from leasebox.identity import rates
from leasebox.identity.rates import RateName, Rates
from leasebox.infra.db import Tx
from leasebox.values.errors import NotFound, Unavailable
from leasebox.values.ids import TenantId
from leasebox.values.rate import Rate
from tests.kit import House

CONFIGURED: dict[RateName, Rate] = {name: Rate(100, 1) for name in rates.RATE_NAMES}
OTHER, OWN = Rate(7, 60), Rate(0, 1)


async def put(house: House, name: RateName, tenant: TenantId | None, rate: Rate | None) -> None:
    now = house.clock.now()

    async def work(tx: Tx) -> None:
        await rates.set_rate(tx, name, tenant, rate, actor="wallet:0x1", at=now, request_id="req")

    await house.db.transact(work)


async def test_the_nearest_rate_holds(house: House) -> None:
    tenant = TenantId.parse((await house.agent()).session["tenant_id"])
    process = Rates(house.db, house.clock, CONFIGURED)
    assert await process.of("api", tenant) == Rate(100, 1)
    await put(house, "api", None, OTHER)
    await put(house, "api", tenant, OWN)
    assert await process.of("api", tenant) == Rate(100, 1), "what was read is believed for a moment"
    house.clock.advance(seconds=1)
    assert await process.of("api", tenant) == OWN
    assert await process.of("api") == OTHER
    assert await process.of("signin") == Rate(100, 1)
    assert await process.live("api")() == OTHER
    assert process.configured("api") == Rate(100, 1)
    await put(house, "api", tenant, None)
    house.clock.advance(seconds=1)
    assert await process.of("api", tenant) == OTHER


async def test_a_clock_that_is_set_back_does_not_stop_the_looking(house: House) -> None:
    process = Rates(house.db, house.clock, CONFIGURED)
    await process.of("api")
    await put(house, "api", None, OTHER)
    house.clock.advance(hours=-1)
    assert await process.of("api") == OTHER


async def test_an_outage_changes_nothing(house: House) -> None:
    await put(house, "api", None, OTHER)
    process = Rates(house.db, house.clock, CONFIGURED)
    assert await process.of("api") == OTHER

    class Gone:
        async def read(self, body: object) -> Any:
            raise Unavailable("gone")

    process._db = Gone()  # type: ignore[assignment]
    house.clock.advance(seconds=1)
    assert await process.of("api") == OTHER


async def test_each_change_is_one_audit_row(house: House) -> None:
    for rate in (OTHER, OTHER, None, None):
        await put(house, "claim", None, rate)
    found = await house.db.read(
        lambda tx: tx.all("SELECT resource, detail FROM audit_rows WHERE action = 'rate.set' ORDER BY id")
    )
    seven = {"count": 7, "seconds": 60}
    assert [(row["resource"], row["detail"]["before"], row["detail"]["after"]) for row in found] == [
        ("claim", None, seven),
        ("claim", seven, None),
    ]


async def test_an_unknown_tenant(house: House) -> None:
    with pytest.raises(NotFound):
        await put(house, "api", TenantId.new(house.clock.now() + timedelta()), OWN)
