"""Strangers who send mail to mailboxes that live, alone and to several at once, over connections that they keep."""

import asyncio
import random
from collections.abc import Iterator

from tests.faults.postman import Letter, Session, deliver
from tests.faults.world import World

_WORDS = "order ticket welcome back your parcel has left the yard and will be with you soon".split()


async def act(world: World) -> None:
    """Four of them, until the campaign is over."""
    await asyncio.gather(*(_send(world, world.dice(f"sender{number}")) for number in range(4)))


async def _send(world: World, dice: random.Random) -> None:
    session: Session | None = None
    while not world.over.is_set():
        if not world.boxes:
            await world.pause(0.1)
            continue
        to = [box.address for box in dice.sample(world.boxes, min(dice.choice((1, 1, 1, 2, 5)), len(world.boxes)))]
        if dice.random() < 0.05:
            to.append(f"nobody-{dice.randrange(9)}@inbox.leasebox.test")  # refused, and the others get it
        letter = Letter(token := world.token("mail"), content(token, dice), to)
        how = dice.choice(("step_by_step", "at_once"))
        session = await deliver(world, session, letter, how)
        if session is not None and dice.random() < 0.1:
            session.leave()
            session = None
        await world.pause(dice.uniform(0, 0.12))
    if session is not None:
        session.leave()


def content(token: str, dice: random.Random) -> bytes:
    """A mail with a code, and lines that begin with dots."""
    body = "\r\n".join(_lines(dice))
    head = f"From: Shop <no-reply@shop.example>\r\nSubject: {token}\r\nMessage-ID: <{token}@shop.example>\r\n"
    return f"{head}\r\nYour verification code is {dice.randrange(10**6):06d}.\r\n{body}\r\n".encode()


def _lines(dice: random.Random) -> Iterator[str]:
    for _ in range(dice.choice((0, 1, 5, 200))):
        yield dice.choice(("", ".", "..", "> ")) + " ".join(dice.choices(_WORDS, k=8))
