"""Mails at fixed times and agents that wait for them, in a process of its own: how long from mail to answer.

`python -m tests.bench.wait_load` takes a `Course` as JSON on stdin and prints milliseconds as JSON. Open loop: each
mail has a time at which its content ends, and its milliseconds count from then, also if nobody was ready to send it. A
mailbox takes part again once its agent has been answered and waits anew.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec
import uvloop

# The agent must be waiting already: what is measured is the push, not the question.
_LEAD_S = 0.03
_PATIENCE_S = 60.0
_MAIL = (
    "From: Acme <no-reply@acme.example>\r\nTo: <{to}>\r\nSubject: Your code\r\n"
    "Message-ID: <{n}.{at}@acme.example>\r\n\r\nYour verification code is {n:06d}. It expires in 10 minutes.\r\n.\r\n"
)


class Course(msgspec.Struct):
    """mailboxes: id and address of each. rate: mails a second. mails: how many count, after a first second."""

    url: str
    token: str
    smtp_port: int
    mailboxes: list[tuple[str, str]]
    rate: float
    mails: int


def run(course: Course) -> list[float]:
    """Milliseconds, sorted. SystemExit when somebody was answered wrongly."""
    argv = [sys.executable, "-m", "tests.bench.wait_load"]
    done = subprocess.run(argv, input=msgspec.json.encode(course), stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"the waiters gave up: {done.stdout[-300:]!r}")
    took: list[float] = json.loads(done.stdout)
    return took


class _Desk:
    """A mailbox, its agent's connection and a sender's."""

    def __init__(self, course: Course, mailbox_id: str, address: str) -> None:
        self._course = course
        self._address = address
        self._mailbox_id = mailbox_id
        # Behind what was seen last, so that no mail is missed that comes before the question is understood.
        self._seen = "2026-01-01T00:00:00Z"

    async def open(self) -> None:
        url = urlsplit(self._course.url)
        self._heard, self._asked = await asyncio.open_connection(url.hostname, url.port)
        self._replies, self._mail = await asyncio.open_connection("127.0.0.1", self._course.smtp_port)
        await self._reply(b"220")
        self._mail.write(b"EHLO bench.example\r\n")
        await self._reply(b"250")

    async def prepare(self) -> None:
        """Wait for mail, and say whom the next one is for."""
        target = f"/v2/messages/wait?mailbox_id={self._mailbox_id}&timeout_s=30&has=otp&since={self._seen}"
        head = f"GET {target} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self._course.token}\r\n\r\n"
        self._asked.write(head.encode())
        self._mail.write(f"MAIL FROM:<no-reply@acme.example>\r\nRCPT TO:<{self._address}>\r\nDATA\r\n".encode())
        for code in (b"250", b"250", b"354"):
            await self._reply(code)
        await asyncio.sleep(_LEAD_S)

    async def deliver(self, number: int, due: float) -> float:
        """Send the content; milliseconds from when it was due until the agent has its answer."""
        self._mail.write(_MAIL.format(to=self._address, n=number, at=time.monotonic_ns()).encode())
        status, body = await self._answer()
        took = (time.perf_counter() - due) * 1000
        await self._reply(b"250")
        message = json.loads(body) if status == 200 else {}
        if message.get("otp_code") != f"{number:06d}":
            raise SystemExit(f"wait answered {status}: {body[:200]!r}")
        self._seen = message["message_id"]
        return took

    async def _answer(self) -> tuple[int, bytes]:
        head = await self._heard.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
        status = int(head.split(b" ", 2)[1])
        if b"content-length" in fields:
            return status, await self._heard.readexactly(int(fields[b"content-length"]))
        if b"transfer-encoding" not in fields:
            return status, b""
        body = b""
        while size := int(await self._heard.readline(), 16):
            body += (await self._heard.readexactly(size + 2))[:-2]
        await self._heard.readline()
        return status, body

    async def _reply(self, code: bytes) -> None:
        line = await self._replies.readline()
        while line[3:4] == b"-":
            line = await self._replies.readline()
        if not line.startswith(code):
            raise SystemExit(f"SMTP answered {line!r}, not {code!r}")


async def _measure(course: Course) -> list[float]:
    desks = [_Desk(course, *mailbox) for mailbox in course.mailboxes]
    for desk in desks:
        await desk.open()
        await desk.prepare()
    ready, due = deque(desks), deque[tuple[int, float]]()
    took: list[tuple[int, float]] = []
    skipped = int(min(course.rate, course.mails))

    async def work(desk: _Desk, number: int, at: float) -> None:
        took.append((number, await desk.deliver(number, at)))
        await desk.prepare()
        if due:
            start(desk, *due.popleft())
        else:
            ready.append(desk)

    running: set[asyncio.Task[None]] = set()

    def start(desk: _Desk, number: int, at: float) -> None:
        task = asyncio.create_task(work(desk, number, at))
        running.add(task)
        task.add_done_callback(running.discard)

    first = time.perf_counter() + 0.1
    for number in range(skipped + course.mails):
        at = first + number / course.rate
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        if ready:
            start(ready.popleft(), number, at)
        else:
            due.append((number, at))
    async with asyncio.timeout(_PATIENCE_S):
        while due or running:
            await asyncio.gather(*running)
    return [each for number, each in took if number >= skipped]


def _main(words: Sequence[str]) -> None:
    assert len(words) == 1
    took = uvloop.run(_measure(msgspec.json.decode(sys.stdin.buffer.read(), type=Course)))
    print(json.dumps(sorted(took)))


if __name__ == "__main__":
    _main(sys.argv)
