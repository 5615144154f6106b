"""The job that tells what the clock has done to leases."""

from leasebox.leases.life_jobs import tell_ends
from tests.kit import House
from tests.kit_mail import value


async def test_it_tells_all_that_is_due_in_batches(house: House) -> None:
    agent = await house.agent()
    for _ in range(5):
        await agent.lease()
    assert await tell_ends(house.db, house.clock, batch=2) == 0
    house.clock.advance(hours=2)
    assert await tell_ends(house.db, house.clock, batch=2) == 5
    assert await tell_ends(house.db, house.clock, batch=2) == 0
    assert await value(house, "SELECT count(*) FROM facts WHERE type = 'lease.expired'") == 5
