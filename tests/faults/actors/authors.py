"""Agents that write: to strangers by the relay, to mailboxes next door; the same Idempotency-Key until they hear."""

import asyncio

from tests.faults.world import SEND, Box, Person, World


async def act(world: World) -> None:
    """Two of them."""
    await asyncio.gather(*(_write(world, number) for number in range(2)))


async def _write(world: World, number: int) -> None:
    name = f"author{number}"
    person, dice = await world.newcomer(name), world.dice(f"{name}/letters")
    box = await person.lease()
    while not world.over.is_set():
        if box is None:
            box = await person.lease()
            continue
        to = [
            f"{name}-{dice.randrange(10**6)}@far{dice.randrange(5)}.example" for _ in range(dice.choice((1, 1, 2, 4)))
        ]
        if world.boxes and dice.random() < 0.3:
            to.append(dice.choice(world.boxes).address)
        await send(world, person, box, to)
        await world.pause(dice.uniform(0.1, 0.7))


async def send(world: World, person: Person, box: Box, to: list[str]) -> None:
    """Write one letter, paid for where it must be, until told that it is on its way or cannot be."""
    token = world.token("letter")
    wish = {"mailbox_id": box.mailbox_id, "to": to, "subject": token, "text": f"Dear all, this is {token}."}
    headers = {"idempotency-key": token}
    for _ in range(2):
        answer = await person.patiently("POST", SEND, json=wish, headers=headers, token=token)
        if answer is None:
            return
        if answer.status_code == 202:
            attempt = answer.json()["send_attempt_id"]
            world.figures["letters accepted"] += 1
            await world.journal.note("written", token=token, attempt=attempt, to=to, mailbox_id=box.mailbox_id)
            return
        if answer.status_code != 402 or (proof := await person.proof("POST", SEND, len(to))) is None:
            return
        headers["x-payment-proof"] = proof
