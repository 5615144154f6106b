"""SQL of figures: a span is half open, and each figure counts its own."""

from datetime import timedelta

import pytest

from leasebox.admin import series_store
from leasebox.values.ids import lowest_id
from tests.kit import House


@pytest.mark.parametrize(("figure", "value"), [("signups", 2), ("leases", 3), ("usage", 3), ("revenue", 0)])
async def test_a_span_begins_with_its_first_moment_and_ends_before_its_last(
    house: House, figure: str, value: int
) -> None:
    start = house.clock.now()
    one, other = await house.agent(), await house.agent()
    for agent in (one, one, other):
        await agent.lease()
    house.clock.advance(seconds=5)
    end = house.clock.now()
    await (await house.agent()).lease()

    async def total(since: timedelta) -> int:
        first, before = lowest_id(start + since), lowest_id(end)
        rows = await house.db.read(lambda tx: series_store.series(tx, figure, "day", first, before))
        return sum(row["value"] for row in rows)

    assert await total(timedelta()) == value
    assert await total(timedelta(seconds=5)) == 0


def test_every_figure_of_the_route_has_its_statement() -> None:
    assert set(series_store.SERIES) == {
        "signups",
        "leases",
        "messages",
        "usage",
        "revenue",
        "denials",
        "deliveries",
        "dead_deliveries",
    }
