"""Whom an instance speaks to of its own accord: a relay for its mail, a receiver of its webhooks."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable

import msgspec

from tests.fakes import receiver as manners
from tests.fakes.receiver import Manner, Received, Receiver
from tests.fakes.relay import HANG, MUTE, RESET, FakeRelay
from tests.faults.journal import Journal

_SUBJECT = re.compile(rb"^Subject: (\S+)\r?$", re.MULTILINE)
_SOON_S = 10.0
# How a receiver of webhooks and a relay may misbehave, by name.
MANNERS: dict[str, tuple[Manner, str]] = {
    "refuse": (manners.status(500), RESET),
    "hang": (manners.hangs, HANG),
    "trickle": (manners.trickles, MUTE),
    "reset": (manners.resets, RESET),
}


class Outside:
    """A relay and a receiver, good ones until they are told otherwise."""

    def __init__(self, journal: Journal) -> None:
        self.relay = FakeRelay()
        self.receiver = Receiver(self._hear)
        self._journal = journal
        self._bad: list[Manner] = []
        self._visits = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Outside"]:
        """Both listen for as long as the context lasts."""
        async with self.relay.serving(), self.receiver.listening():
            yield self

    @property
    def settings(self) -> dict[str, str]:
        """How an instance is told of them."""
        return {"LEASEBOX_RELAY": f"smtp://127.0.0.1:{self.relay.port}", "LEASEBOX_WEBHOOK_ALLOW": "127.0.0.0/8"}

    def misbehave(self, how: str, times: int) -> None:
        """Let the receiver and the relay treat the next so many requests and mails like this; 0: well again."""
        manner, said = MANNERS[how]
        self._bad = [manner] * times
        self.relay.say("end", *[said] * times, "250 2.0.0 Taken")
        if not times:
            self.relay.let_go()

    async def holds_a_request(self) -> bool:
        """Take the next webhook request and answer nothing; returns once it is there. False if none came."""
        before = self._visits
        self._bad = [manners.hangs]
        came = await _soon(lambda: self._visits > before)
        self._bad.clear()
        return came

    async def holds_a_mail(self, how: str) -> bool:
        """Take (MUTE) or leave (HANG) the next mail's content and answer nothing; returns once it is there."""
        before = self.relay.at_the_end
        self.relay.say("end", how, "250 2.0.0 Taken")
        came = await _soon(lambda: self.relay.at_the_end > before)
        self.relay.say("end")
        return came

    async def write_down(self) -> None:
        """What the relay has taken, into the journal."""
        for mail in self.relay.mails:
            subject = _SUBJECT.search(mail.content)
            token = subject[1].decode() if subject else ""
            await self._journal.note("relayed", token=token, to=list(mail.recipients), sender=mail.sender)

    async def _hear(
        self, receiver: Receiver, one: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Note it, on disk, before it is answered."""
        manner = self._bad.pop(0) if self._bad else manners.well
        event = msgspec.json.decode(one.body)
        taken = manner in (manners.well, manners.trickles)
        await self._journal.note(
            "hooked", id=one.headers["webhook-id"], path=one.path, event=event["event_id"], taken=taken
        )
        self._visits += manner is manners.hangs
        await manner(receiver, one, reader, writer)


async def _soon(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _SOON_S
    while not true():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.005)
    return True
