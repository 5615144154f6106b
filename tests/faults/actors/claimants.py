"""Programs without a wallet that claim a mailbox, confirm it themselves, and get mail there."""

import time

import msgspec

from tests.faults.world import Box, Person, World

_MOST = 12


async def act(world: World) -> None:
    """A claim every few seconds, until there are enough."""
    dice = world.dice("claimants")
    anybody = Person(world, dice)
    claimed = 0
    while not world.over.is_set() and claimed < _MOST:
        claimed += await _claim(world, anybody, world.token("claim-"))
        await world.pause(dice.uniform(1, 4))
    await anybody.leave()


async def _claim(world: World, anybody: Person, name: str) -> bool:
    asked_at = time.time()
    asked = await anybody.call("POST", "/v2/claims", json={"name": name})
    if asked is None or asked.status_code != 201:
        return False
    claim = asked.json()
    path, by_token = f"/v2/claims/{claim['session_id']}", {"authorization": f"Bearer {claim['claim_token']}"}
    confirmed = await anybody.patiently("POST", f"{path}/confirm", headers=by_token)
    if confirmed is None or confirmed.status_code != 200:
        return False
    view = confirmed.json()
    if not view.get("api_key"):  # the answer that held it was lost, and it is given once
        world.figures["claim keys lost"] += 1
        return False
    holder = await world.newcomer(name, view["api_key"])
    me = await holder.patiently("GET", "/v2/auth/me")
    box = await holder.patiently("GET", "/v2/mailboxes/leases")
    if me is None or box is None or not box.json()["items"]:
        return False
    holder.session = me.json()
    lease = box.json()["items"][0]
    mailbox = Box(lease["address"], lease["mailbox_id"], lease["lease_id"], holder.tenant_id)
    await world.journal.note("leased", asked=asked_at, **msgspec.to_builtins(mailbox))
    world.boxes.append(mailbox)
    world.figures["claims"] += 1
    return True
