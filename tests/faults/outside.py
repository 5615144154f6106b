"""Whom an instance speaks to of its own accord: a relay for its mail, a receiver of its webhooks."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import msgspec

from tests.fakes.receiver import OK, Received, Receiver
from tests.fakes.relay import RESET, FakeRelay
from tests.faults.journal import Journal

_SUBJECT = re.compile(rb"^Subject: (\S+)\r?$", re.MULTILINE)


class Outside:
    """A relay and a receiver, good ones until they are told otherwise."""

    def __init__(self, journal: Journal) -> None:
        self.relay = FakeRelay()
        self.receiver = Receiver(self._hear)
        self._journal = journal
        self._refusals = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Outside"]:
        """Both listen for as long as the context lasts."""
        async with self.relay.serving(), self.receiver.listening():
            yield self

    @property
    def settings(self) -> dict[str, str]:
        """How an instance is told of them."""
        return {"LEASEBOX_RELAY": f"smtp://127.0.0.1:{self.relay.port}", "LEASEBOX_WEBHOOK_ALLOW": "127.0.0.0/8"}

    def refuse(self, requests: int) -> None:
        """Let the receiver answer 500 to so many requests, and the relay drop the connection after as many mails."""
        self._refusals = requests
        self.relay.say("end", *[RESET] * requests, "250 2.0.0 Taken")

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
        del receiver, reader
        taken = self._refusals == 0
        self._refusals -= not taken
        event = msgspec.json.decode(one.body)
        await self._journal.note(
            "hooked", id=one.headers["webhook-id"], path=one.path, event=event["event_id"], taken=taken
        )
        writer.write(OK if taken else b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
