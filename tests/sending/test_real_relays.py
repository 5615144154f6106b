"""The same mail to servers that others wrote, Postfix's smtp-sink and Postfix itself, and to our fake of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import pytest

from leasebox.infra import tls
from leasebox.sending.relay import Host, Tls
from leasebox.sending.transport import Parcel, Patience, Session
from leasebox.sending.transport_reply import Verdict
from leasebox.values.clock import SystemClock
from tests import debian
from tests.fakes.relay import FakeRelay

ONE, TWO, NOBODY = "one@there.example", "two@there.example", "nobody@there.example"
CONTENT = b"From: a@here.example\r\nSubject: Hello\r\n\r\nHello.\r\n.\r\n..two dots\r\n" + b"x" * 900 + b"\r\nend\r\n"
QUICK = Patience(5.0, 5.0, 10.0, 10.0)


class Server(NamedTuple):
    """taken: contents of the mails for a local part. knows: whether it can tell who does not exist. hidden: has TLS."""

    port: int
    taken: Callable[[str], list[bytes]]
    knows: bool
    hides: bool


@contextlib.asynccontextmanager
async def fake(folder: tls.CertificatePair) -> AsyncIterator[Server]:
    refusal = {f"RCPT {NOBODY}": "550 5.1.1 No such user"}
    async with FakeRelay(refusal, tls=tls.server_context(*folder)).serving() as relay:

        def taken(name: str) -> list[bytes]:
            return [mail.content for mail in relay.mails if f"{name}@there.example" in mail.recipients]

        yield Server(relay.port, taken, knows=True, hides=True)


@contextlib.asynccontextmanager
async def sink(folder: tls.CertificatePair) -> AsyncIterator[Server]:
    with debian.smtp_sink() as one:

        def taken(name: str) -> list[bytes]:
            return [content for _, to, content in one.mails() if f"{name}@there.example" in to]

        yield Server(one.port, taken, knows=False, hides=False)


@contextlib.asynccontextmanager
async def postfix(folder: tls.CertificatePair) -> AsyncIterator[Server]:
    with debian.postfix(folder.certificate, folder.key, "one", "two") as one:
        yield Server(one.port, one.mails, knows=True, hides=True)


@pytest.fixture(scope="module", params=[fake, sink, postfix], ids=lambda each: each.__name__)
async def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    pair = tls.ensure_certificate(tmp_path_factory.mktemp("tls"), ("localhost",), SystemClock())
    async with request.param(pair) as one:
        yield one


async def opened(server: Server) -> Session:
    return await Session.opened(Host("localhost", "127.0.0.1", server.port, Tls.MAY), None, "here.example", QUICK, [])


async def test_a_mail_arrives_octet_for_octet(server: Server) -> None:
    session = await opened(server)
    for _ in range(3):
        assert {each.verdict for each in (await session.offer(Parcel("", (ONE,), CONTENT))).values()} == {Verdict.SENT}
        assert await session.send(CONTENT) is None
        assert (await session.end()).verdict is Verdict.SENT
    await session.quit()
    async with asyncio.timeout(10):
        while len(server.taken("one")) < 3:
            await asyncio.sleep(0.05)
    head, _, body = CONTENT.replace(b"\r\n", b"\n").partition(b"\n\n")
    for got in server.taken("one"):
        before, _, after = got.replace(b"\r\n", b"\n").partition(b"\n\n")
        assert after == body
        assert head in before, "with trace fields on top, and whatever a server adds"


async def test_what_is_not_ended_is_not_taken(server: Server) -> None:
    session = await opened(server)
    content = b"Subject: half\r\n\r\nThis mail has no end.\r\n"
    await session.offer(Parcel("a@here.example", (TWO,), content))
    assert await session.send(content) is None
    await asyncio.sleep(0.2)
    session.close()
    await asyncio.sleep(0.5)
    assert server.taken("two") == []


async def test_who_does_not_exist_is_refused_and_the_others_get_it(server: Server) -> None:
    session = await opened(server)
    heard = await session.offer(Parcel("a@here.example", (NOBODY, ONE), CONTENT))
    refused = heard[NOBODY]
    assert (refused.verdict, refused.is_hard_bounce) == (
        (Verdict.FAILED, True) if server.knows else (Verdict.SENT, False)
    )
    assert heard[ONE].verdict is Verdict.SENT
    assert await session.send(CONTENT) is None
    assert (await session.end()).verdict is Verdict.SENT
    await session.quit()


async def test_tls_where_there_is_some(server: Server) -> None:
    session = await opened(server)
    assert ("STARTTLS" in [each.command for each in session.said]) is server.hides
    await session.quit()
    assert not session.is_open
