"""Mailboxes that hand in mail by SMTP. Nothing there names a repetition: they repeat only what they saw no 250 for."""

import asyncio

from tests.faults.postman import Letter, Session, post, reached
from tests.faults.world import SEND, Box, World

_TOLD = {"door": "submission"}


async def act(world: World) -> None:
    """Two of them."""
    await asyncio.gather(*(_Submitter(world, f"submitter{number}").live() for number in range(2)))


class _Submitter:
    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self._dice = world.dice(name)
        self._session: Session | None = None

    async def live(self) -> None:
        self._person = await self._world.newcomer(self._name)
        box: Box | None = None
        while not self._world.over.is_set():
            box = box or await self._person.lease()
            if box is not None:
                await self._send(box)
            await self._world.pause(self._dice.uniform(0.1, 0.6))
        if self._session is not None:
            self._session.leave()

    async def _send(self, box: Box) -> None:
        to = [f"{self._name}-{self._dice.randrange(10**6)}@far{self._dice.randrange(5)}.example"]
        if self._world.boxes and self._dice.random() < 0.4:
            to.append(self._dice.choice(self._world.boxes).address)
        token, paid = self._world.token("handed"), ""
        number = 0
        while not self._world.over.is_set():
            number += 1
            letter = Letter(token, _content(token, box, to, paid), to, _TOLD)
            outcome = await self._try(letter, box, number)
            if outcome == "acked":
                self._world.figures["mails handed in"] += 1
                return
            if outcome == "refused":
                if paid or (proof := await self._person.proof("POST", SEND, len(to))) is None:
                    return
                paid = f"X-Payment-Proof: {proof}\r\n"
            await self._world.pause(0.2)

    async def _try(self, letter: Letter, box: Box, number: int) -> str:
        if self._session is None:
            door = Session.submission(self._world, box.address, box.password)
            self._session = await reached(self._world, door)
        if self._session is None:
            return "unreachable"
        outcome = await post(self._world, self._session, letter, number, self._dice.choice(("step_by_step", "at_once")))
        if outcome != "acked" or self._dice.random() < 0.2:
            self._session.leave()
            self._session = None
        return outcome


def _content(token: str, box: Box, to: list[str], paid: str) -> bytes:
    head = f"From: <{box.address}>\r\nTo: {to[0]}\r\nSubject: {token}\r\nMessage-ID: <{token}@faults.example>\r\n"
    return f"{head}{paid}\r\n.Dear all, this is {token}.\r\n".encode()
