"""Programs without a wallet that claim a mailbox, confirm it themselves, get mail, and send more than they may."""

import asyncio
import time

import msgspec

from tests.faults.actors import authors
from tests.faults.world import Box, Person, World

_MOST = 200


async def act(world: World) -> None:
    """A claim every few seconds, until there are enough; then they only write."""
    dice = world.dice("claimants")
    anybody = Person(world, dice)
    claimed: list[tuple[Person, Box]] = []
    while not world.over.is_set():
        if len(claimed) < _MOST and (one := await _claim(world, anybody, world.token("claim-"))) is not None:
            claimed.append(one)
        if claimed:
            holder, box = dice.choice(claimed[-3:])
            await asyncio.gather(*(_write(world, holder, box, dice.choice((1, 2, 3))) for _ in range(2)))
        await world.pause(dice.uniform(1, 2.5))
    await anybody.leave()


async def _write(world: World, holder: Person, box: Box, recipients: int) -> None:
    """What is beyond the ten of a day is refused (429)."""
    to = [f"claimed{number}@far.example" for number in range(recipients)]
    await authors.send(world, holder, box, to)


async def _claim(world: World, anybody: Person, name: str) -> tuple[Person, Box] | None:
    asked_at = time.time()
    asked = await anybody.call("POST", "/v2/claims", json={"name": name})
    if asked is None or asked.status_code != 201:
        return None
    claim = asked.json()
    path, by_token = f"/v2/claims/{claim['session_id']}", {"authorization": f"Bearer {claim['claim_token']}"}
    confirmed = await anybody.patiently("POST", f"{path}/confirm", headers=by_token)
    if confirmed is None or confirmed.status_code != 200:
        return None
    view = confirmed.json()
    if not view.get("api_key"):  # nobody has used it, so only a step of the clock by a day takes it away
        world.figures["claim keys lost"] += 1
        return None
    holder = await world.newcomer(name, view["api_key"])
    me = await holder.patiently("GET", "/v2/auth/me")
    box = await holder.patiently("GET", "/v2/mailboxes/leases")
    if me is None or box is None or not box.json()["items"]:
        return None
    holder.session = me.json()
    lease = box.json()["items"][0]
    mailbox = Box(lease["address"], lease["mailbox_id"], lease["lease_id"], holder.tenant_id)
    await world.journal.note("leased", asked=asked_at, **msgspec.to_builtins(mailbox))
    world.boxes.append(mailbox)
    world.figures["claims"] += 1
    return holder, mailbox
