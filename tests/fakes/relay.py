"""An SMTP server that takes mail, and says at any stage what a test wants it to say."""

import asyncio
import base64
import contextlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

HANG, RESET, MUTE = "hang", "reset", "mute"
"""Instead of a reply: never answer; drop the connection; take the mail and never answer."""
EXTENSIONS = ("PIPELINING", "SIZE 10485760", "8BITMIME", "SMTPUTF8")


class Mail(NamedTuple):
    """What was taken. session: the number of the connection, from 1."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    options: str
    session: int
    hidden: bool


class FakeRelay:
    """`script` maps a stage (connect, EHLO, STARTTLS, AUTH, MAIL, RCPT, `RCPT a@b`, DATA, end, RSET; `early`:
    when the first line of a mail has come) to its replies.

    They come one after the other, the last one for ever; a stage that is not in it is answered well. A reply is a whole
    line, HANG or RESET.
    """

    def __init__(
        self,
        script: Mapping[str, str | Sequence[str]] | None = None,
        *,
        extensions: Sequence[str] = EXTENSIONS,
        tls: ssl.SSLContext | None = None,
        login: tuple[str, str] | None = None,
    ) -> None:
        self._script = {
            stage: [said] if isinstance(said, str) else list(said) for stage, said in (script or {}).items()
        }
        self._extensions = extensions
        self._tls = tls
        self._login = login
        self.port = 0
        self.mails: list[Mail] = []
        self.heard: list[str] = []
        self.sessions = 0
        self.open = 0
        self.most_open = 0
        self.at_the_end = 0
        self.most_at_the_end = 0
        self.stages: Counter[str] = Counter()
        self._silence = asyncio.Event()

    @contextlib.asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator["FakeRelay"]:
        """Listen on a free port of the loopback; with `tls` from the first octet."""
        tasks: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            self.sessions += 1
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            try:
                await _Session(self, reader, writer, self.sessions, tls is not None).run()
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
                pass
            finally:
                self.open -= 1
                writer.transport.abort()
                tasks.discard(task)

        server = await asyncio.start_server(accept, host, 0, ssl=tls, limit=64 * 1024 * 1024)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def say(self, stage: str, *said: str) -> None:
        """Change what is said at a stage; nothing: answer well again."""
        self._script[stage] = list(said)

    async def silence(self) -> None:
        """Returns when they are let go."""
        await self._silence.wait()

    def let_go(self) -> None:
        """Drop all connections that hear nothing (HANG, MUTE)."""
        self._silence.set()
        self._silence = asyncio.Event()

    def reply(self, *stages: str) -> str | None:
        """What the script says at the first of these stages that it knows."""
        for stage in stages:
            self.stages[stage] += 1
            lines = self._script.get(stage)
            if lines:
                return lines.pop(0) if len(lines) > 1 else lines[0]
        return None

    def extensions(self, *, hidden: bool) -> list[str]:
        offered = list(self._extensions)
        if self._tls is not None and not hidden:
            offered.append("STARTTLS")
        if self._login is not None:
            offered.append("AUTH PLAIN LOGIN")
        return offered

    @property
    def tls(self) -> ssl.SSLContext | None:
        return self._tls

    def knows(self, user: str, password: str) -> bool:
        return self._login == (user, password)


class _Session:
    def __init__(
        self,
        relay: FakeRelay,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        number: int,
        hidden: bool,
    ) -> None:
        self._relay, self._reader, self._writer = relay, reader, writer
        self._number, self._hidden = number, hidden
        self._sender: str | None = None
        self._options = ""
        self._recipients: list[str] = []

    async def run(self) -> None:
        if not await self._say("220 fake.example ESMTP", "connect"):
            return
        while line := await self._reader.readline():
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            self._relay.heard.append(text)
            verb = text.partition(" ")[0].upper()
            if verb == "QUIT":
                await self._write("221 Bye")
                return
            if not await self._obey(verb, text):
                return

    async def _obey(self, verb: str, text: str) -> bool:
        match verb:
            case "EHLO" | "HELO":
                offered = self._relay.extensions(hidden=self._hidden) if verb == "EHLO" else []
                lines = ["fake.example", *offered]
                well = "\r\n".join(f"250{'-' if at < len(lines) else ' '}{word}" for at, word in enumerate(lines, 1))
                return await self._say(well, verb)
            case "STARTTLS":
                return await self._start_tls()
            case "AUTH":
                return await self._log_in(text)
            case "MAIL":
                return await self._mail(text)
            case "RCPT":
                return await self._rcpt(text)
            case "DATA":
                return await self._content()
            case "RSET":
                self._sender, self._recipients = None, []
                return await self._say("250 2.0.0 OK", "RSET")
            case _:
                return await self._say("502 5.5.1 What?", verb)

    async def _mail(self, text: str) -> bool:
        if self._sender is not None:
            return await self._write("503 5.5.1 There is a mail already")
        said = self._relay.reply("MAIL")
        if said is None or said.startswith("2"):
            address, _, self._options = text.partition(":")[2].strip().partition(" ")
            self._sender, self._recipients = address.strip("<>"), []
        return await self._answer(said or "250 2.1.0 OK")

    async def _rcpt(self, text: str) -> bool:
        address = text.partition(":")[2].strip().strip("<>")
        said = self._relay.reply(f"RCPT {address}", "RCPT")
        if said is None or said.startswith("2"):
            self._recipients.append(address)
        return await self._answer(said or "250 2.1.5 OK")

    async def _content(self) -> bool:
        if not self._recipients:
            return await self._write("554 5.5.1 No valid recipients")
        said = self._relay.reply("DATA")
        if said is not None and not said.startswith("354"):
            return await self._answer(said)
        await self._write(said or "354 Go ahead")
        lines = []
        while (line := await self._reader.readline()) != b".\r\n":
            if not line:
                return False
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
            early = self._relay.reply("early") if len(lines) == 1 else None
            if early is not None:
                await self._write(early)
                await asyncio.sleep(0.2)
                return False
        self._relay.at_the_end += 1
        self._relay.most_at_the_end = max(self._relay.most_at_the_end, self._relay.at_the_end)
        try:
            said = self._relay.reply("end")
            if said is None or said.startswith("2") or said in (RESET, MUTE):
                # Taken, whether or not the sender ever learns of it.
                self._relay.mails.append(
                    Mail(
                        self._sender or "",
                        tuple(self._recipients),
                        b"".join(lines),
                        self._options,
                        self._number,
                        self._hidden,
                    )
                )
            self._sender, self._recipients = None, []
            await asyncio.sleep(0)
            return await self._answer(said or f"250 2.0.0 Taken as {len(self._relay.mails)}")
        finally:
            self._relay.at_the_end -= 1

    async def _start_tls(self) -> bool:
        if self._relay.tls is None:
            return await self._write("502 5.5.1 No TLS here")
        if not await self._say("220 2.0.0 Go ahead", "STARTTLS"):
            return False
        if self._relay.stages["STARTTLS"] and (self._relay.reply("tls") == RESET):
            return False
        await self._writer.start_tls(self._relay.tls)
        self._hidden = True
        return True

    async def _log_in(self, text: str) -> bool:
        words = text.split()
        if words[1].upper() == "PLAIN":
            _, user, password = base64.b64decode(words[2]).decode().split("\0")
        else:
            user = base64.b64decode(words[2]).decode()
            await self._write("334 UGFzc3dvcmQ6")
            password = base64.b64decode(await self._reader.readline()).decode()
        well = "235 2.7.0 Welcome" if self._relay.knows(user, password) else "535 5.7.8 Wrong"
        return await self._say(well, "AUTH")

    async def _say(self, well: str, stage: str) -> bool:
        return await self._answer(self._relay.reply(stage) or well)

    async def _answer(self, said: str) -> bool:
        if said in (HANG, MUTE):
            await self._relay.silence()
        if said in (HANG, MUTE, RESET):
            return False
        await self._write(said)
        return not said.startswith("421")

    async def _write(self, line: str) -> bool:
        self._writer.write(line.encode() + b"\r\n")
        await self._writer.drain()
        return True
