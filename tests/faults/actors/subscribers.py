"""Tenants that ask to be told by webhook of what comes, goes and ends: everybody with a wallet subscribes once."""

from tests.faults.world import Person, World

_EVENTS = ["message.received", "lease.released", "message.sent"]


async def act(world: World) -> None:
    """Everybody with a wallet who is there, also those that come later."""
    done: set[str] = set()
    while not world.over.is_set():
        for person in [
            each for each in world.people if each.tenant_id not in done and each.session.get("access_token")
        ]:
            done.add(person.tenant_id)
            await _subscribe(world, person)
        await world.pause(1)


async def _subscribe(world: World, person: Person) -> None:
    wanted = {"event_types": _EVENTS, "target_url": f"{world.outside.receiver.url}/{person.tenant_id}"}
    key = {"idempotency-key": world.token("hook-")}
    answer = await person.patiently("POST", "/v2/webhooks", json=wanted, headers=key)
    if answer is not None and answer.status_code == 201:
        world.figures["webhooks"] += 1
