"""Tenants that lease one chosen name again and again, with mail for it in flight all the time.

What was sent while nobody had the name must be refused, and what is read must belong to the lease of its time (I7).
"""

import asyncio

from tests.faults.actors.senders import content
from tests.faults.postman import Letter, Session, deliver
from tests.faults.world import LEASES, Box, Person, World


async def act(world: World) -> None:
    """Two of them."""
    await asyncio.gather(*(_move(world, number) for number in range(2)))


async def _move(world: World, number: int) -> None:
    name = f"mover{number}-{world.seed}"
    person, dice = await world.newcomer(name), world.dice(name)
    spot = _Spot(name)
    sending = asyncio.create_task(_write_to(world, spot))
    try:
        while not world.over.is_set():
            box = await person.lease(local_part=spot.name)
            if box is None:
                # Its tenant can pay no more; or the clock was ahead when it was released: then it is free that late.
                spot.name = world.token(f"{name}-")
            await world.pause(dice.uniform(0, 0.6))
            if box is not None:
                await _leave(world, person, box, dice.random())
            await world.pause(dice.uniform(0, 0.4))
    finally:
        await sending


class _Spot:
    """The name at present."""

    def __init__(self, name: str) -> None:
        self.name = name


async def _leave(world: World, person: Person, box: Box, luck: float) -> None:
    """Release, at times while a renewal is under way."""
    path, wanted = f"{LEASES}/{box.lease_id}/renew", {"ttl_hours": 720}
    both = [person.release(box), *([person.call("POST", path, json=wanted)] if luck < 0.3 else [])]
    await asyncio.gather(*both)


async def _write_to(world: World, spot: _Spot) -> None:
    session: Session | None = None
    dice = world.dice(f"{spot.name}/letters")
    while not world.over.is_set():
        token = world.token("move")
        letter = Letter(token, content(token, dice), [f"{spot.name}@inbox.leasebox.test"], {"moving": True})
        session = await deliver(world, session, letter, "at_once")
        await world.pause(dice.uniform(0, 0.08))
    if session is not None:
        session.leave()
