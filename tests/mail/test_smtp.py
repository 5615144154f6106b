"""The SMTP server over TCP: real clients, many at once, slow ones, and its own end."""

import asyncio
import smtplib
import socket
import ssl
import struct
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from leasebox.infra.tls import server_context
from leasebox.mail.smtp import Limits, SmtpServer, serve
from leasebox.mail.smtp_limits import Gate
from leasebox.values.clock import SystemClock
from tests.mail.smtp_house import OFFER, MemoryIntake
from tests.mail.smtp_wire import (
    CONTENT,
    EHLO,
    ENVELOPE,
    MAIL,
    MAIL_CODES,
    Client,
    certificate,
    on_both_loops,
    serving,
    until,
)

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "eml"
QUICK = Limits(command_s=0.4, stall_s=0.4, mail_s=1.2, linger_s=0.2)


def _connect(server: SmtpServer) -> smtplib.SMTP:
    return smtplib.SMTP(*server.addresses[0], timeout=10)


@on_both_loops
async def test_smtplib_sends_a_mail() -> None:
    intake = MemoryIntake()
    async with serving(intake) as server:

        def send() -> dict[str, tuple[int, bytes]]:
            with _connect(server) as client:
                return client.sendmail(
                    "a@sender.example", ["Ann+x@inbox.example", "nobody@inbox.example", "bob@inbox.example"], CONTENT
                )

        assert await asyncio.to_thread(send) == {"nobody@inbox.example": (550, b"5.1.1 No such mailbox here")}
    (mail,) = intake.mails
    assert mail.content == CONTENT
    envelope = mail.envelope
    assert envelope.mail_from == "a@sender.example"
    assert envelope.recipients == ("ann+x@inbox.example", "bob@inbox.example")
    assert envelope.deliver_to == ("ann@inbox.example", "bob@inbox.example")
    assert (envelope.client_ip, envelope.protocol, envelope.tls, envelope.smtputf8) == (
        "127.0.0.1",
        "ESMTP",
        None,
        False,
    )
    assert mail.trace.startswith(b"Return-Path: <a@sender.example>\r\nReceived: from ")
    assert b"([127.0.0.1])\r\n\tby mx.inbox.example with ESMTP id " in mail.trace
    assert abs(mail.received_at.timestamp() - time.time()) < 60


@on_both_loops
async def test_smtplib_sends_under_tls() -> None:
    intake = MemoryIntake()
    async with serving(intake, tls=server_context(*certificate())) as server:

        def send() -> list[bool]:
            with _connect(server) as client:
                client.ehlo()
                before = client.has_extn("starttls")
                client.starttls(context=ssl.create_default_context(cafile=str(certificate().certificate)))
                client.ehlo()
                client.sendmail("a@sender.example", ["ann@inbox.example"], (b"." * 70 + b"\r\n") * 30_000)
                return [before, client.has_extn("starttls")]

        assert await asyncio.to_thread(send) == [True, False]
    (mail,) = intake.mails
    assert mail.content == (b"." * 70 + b"\r\n") * 30_000
    assert mail.envelope.tls is not None
    assert mail.envelope.tls.startswith("TLSv1.3 TLS_")
    assert mail.envelope.protocol == "ESMTPS"
    assert f"({mail.envelope.tls})".encode() in mail.trace


def test_every_vector_arrives_octet_for_octet() -> None:
    if not VECTORS.is_dir():
        pytest.skip("the shared eml vectors are absent")
    raw = [path.read_bytes() for path in sorted(VECTORS.rglob("*.eml"))]
    # Bare line ends cannot come over SMTP: whoever sends such a file makes them CRLF first.
    contents = [b"\r\n".join(octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")) for octets in raw]
    contents = [content if content.endswith(b"\r\n") else content + b"\r\n" for content in contents]

    async def send() -> list[bytes]:
        intake = MemoryIntake()
        async with serving(intake) as server:
            client = await Client.greeted(server)
            for content in contents:
                stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
                assert await client.ask(ENVELOPE + b"DATA\r\n" + stuffed + b".\r\n", 4) == MAIL_CODES
        return [mail.content for mail in intake.mails]

    with asyncio.Runner() as runner:
        assert runner.run(send()) == contents
    assert len(contents) > 50


@on_both_loops
async def test_a_thousand_mails_on_many_connections_are_stored_once_each() -> None:
    intake = MemoryIntake()
    intake.storing_s = 0.001
    async with serving(intake, limits=Limits(per_client=0)) as server:

        async def send(sender: int) -> None:
            client = await Client.greeted(server)
            for number in range(25):
                mail = ENVELOPE + b"DATA\r\nSubject: %d.%d\r\n\r\n%b\r\n.\r\n" % (sender, number, b"x" * number * 40)
                assert await client.ask(mail, 4) == MAIL_CODES
            assert await client.ask(b"QUIT\r\n", 1) == ["221/2.0.0"]

        await asyncio.gather(*(send(sender) for sender in range(40)))
    subjects = [mail.content.split(b"\r\n")[0] for mail in intake.mails]
    assert sorted(subjects) == sorted(b"Subject: %d.%d" % (sender, n) for sender in range(40) for n in range(25))


@on_both_loops
async def test_pipelined_commands_are_answered_in_order_however_slow_the_house() -> None:
    intake = MemoryIntake()
    async with serving(intake) as server:
        client = await Client.greeted(server)
        names = [b"ann", b"nobody", b"paused", b"bob", b"ended", b"raises", b"full"]
        said = b"MAIL FROM:<>\r\n" + b"".join(b"RCPT TO:<%b@inbox.example>\r\n" % name for name in names)
        heard = await client.ask(said + b"DATA\r\n", 9)
        answers = ["250/2.1.5", "550/5.1.1", "450/4.2.1", "250/2.1.5", "550/5.2.1", "451/4.3.0", "452/4.2.2"]
        assert heard == ["250/2.1.0", *answers, "354"]
        assert await client.ask(CONTENT + b".\r\n" + MAIL + b"QUIT\r\n", 6) == ["250/2.0.0", *MAIL_CODES, "221/2.0.0"]
        assert await client.hear_out() == []
    assert [mail.envelope.deliver_to for mail in intake.mails] == [
        ("ann@inbox.example", "bob@inbox.example"),
        ("ann@inbox.example",),
    ]


@on_both_loops
async def test_a_mailbox_named_twice_gets_one_mail() -> None:
    intake = MemoryIntake()
    async with serving(intake) as server:
        client = await Client.greeted(server)
        said = ENVELOPE + b"RCPT TO:<ANN+x@inbox.example>\r\nDATA\r\n" + CONTENT + b".\r\n"
        assert (await client.ask(said, 5))[-1] == "250/2.0.0"
    assert intake.mails[0].envelope.recipients == ("ann@inbox.example", "ann+x@inbox.example")
    assert intake.mails[0].envelope.deliver_to == ("ann@inbox.example",)


@on_both_loops
async def test_what_the_house_raises_becomes_451_and_the_next_mail_goes_through() -> None:
    intake = MemoryIntake()
    async with serving(intake) as server:
        client = await Client.greeted(server)
        intake.fault = RuntimeError("disk on fire")
        assert await client.ask(MAIL, 4) == [*MAIL_CODES[:3], "451/4.3.0"]
        intake.fault = None
        assert await client.ask(MAIL, 4) == MAIL_CODES
    assert len(intake.mails) == 1


@on_both_loops
async def test_refusals_after_data_reach_the_client() -> None:
    intake = MemoryIntake()
    async with serving(intake) as server:
        client = await Client.greeted(server)
        for name, answer in ((b"ended", "550/5.2.1"), (b"over-quota", "452/4.2.2"), (b"disk-full", "452/4.3.1")):
            said = MAIL.replace(b"<ann@", b"<late-" + name + b"@")
            assert await client.ask(said, 4) == [*MAIL_CODES[:3], answer]
    assert intake.mails == []


@on_both_loops
async def test_a_client_that_leaves_in_the_middle_leaves_nothing() -> None:
    intake = MemoryIntake()
    async with serving(intake) as server:
        for said in (MAIL[:-3], MAIL[:-1], ENVELOPE + b"DATA\r\n", ENVELOPE + b"BDAT 100 LAST\r\nabc"):
            client = await Client.greeted(server)
            await client.say(said)
            await client.hear(2)
            client.leave()
            closed = await Client.greeted(server)
            await closed.say(said)
            closed.writer.close()
        await until(lambda: server.connections == 0)
        assert server.held_octets == 0
    assert intake.mails == []


@on_both_loops
async def test_a_client_that_leaves_while_we_store_does_not_stop_us() -> None:
    intake = MemoryIntake()
    intake.gate = asyncio.Event()
    async with serving(intake) as server:
        client = await Client.greeted(server)
        await client.say(MAIL)
        await intake.entered.wait()
        client.leave()
        await asyncio.sleep(0.05)
        assert server.held_octets == len(CONTENT)
        intake.gate.set()
        await until(lambda: intake.mails)
        await until(lambda: (server.held_octets, server.connections) == (0, 0))


@on_both_loops
async def test_a_connection_reset_while_we_store_does_not_stop_us() -> None:
    intake = MemoryIntake()
    intake.gate = asyncio.Event()
    async with serving(intake) as server:
        client = await Client.greeted(server)
        await client.say(MAIL)
        await intake.entered.wait()
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.leave()
        await until(lambda: server.connections == 0)
        assert server.held_octets == len(CONTENT)
        intake.gate.set()
        await until(lambda: intake.mails)
        await until(lambda: server.held_octets == 0)


@on_both_loops
async def test_a_client_that_says_all_and_closes_its_side_hears_all() -> None:
    intake = MemoryIntake()
    intake.storing_s = 0.1
    async with serving(intake) as server:
        client = await Client.open(server)
        await client.say(EHLO + MAIL)
        client.writer.write_eof()
        assert await client.hear_out() == ["220", "250", *MAIL_CODES]


@on_both_loops
async def test_oversized_mail_is_refused_by_its_word_and_by_its_weight() -> None:
    intake = MemoryIntake()
    async with serving(intake) as server:
        client = await Client.greeted(server)
        assert await client.ask(b"MAIL FROM:<> SIZE=26214401\r\n", 1) == ["552/5.3.4"]
        assert await client.ask(ENVELOPE + b"DATA\r\n", 3) == MAIL_CODES[:3]
        line = b"x" * 1_022 + b"\r\n"
        for _ in range(36):
            await client.say(line * 1_024)
        assert server.held_octets < 36_000_000
        assert await client.ask(b".\r\n" + MAIL, 5) == ["552/5.3.4", *MAIL_CODES]
        assert await client.ask(ENVELOPE + b"DATA\r\n" + line * 25_600 + b".\r\n", 4) == MAIL_CODES
    assert [len(mail.content) for mail in intake.mails] == [len(CONTENT), 26_214_400]


@on_both_loops
async def test_who_never_ends_an_oversized_mail_is_cut_off_but_told_why() -> None:
    async with serving(MemoryIntake()) as server:
        client = await Client.greeted(server)
        assert await client.ask(ENVELOPE + b"DATA\r\n", 3) == MAIL_CODES[:3]

        async def flood() -> None:
            while True:
                await client.say(b"x" * 1_000_000)

        flooding = asyncio.create_task(flood())
        assert await client.hear(1) == ["552/5.3.4"]
        with pytest.raises(ConnectionError):
            await flooding


@pytest.mark.parametrize(
    ("patience", "trickle"),
    [
        ({"command_s": 0.4}, []),
        ({"command_s": 0.4}, [bytes([octet]) for octet in EHLO[:16]]),
        ({"command_s": 0.4}, [EHLO + ENVELOPE, *[b"D"] * 14]),
        ({"stall_s": 0.4}, [EHLO + ENVELOPE + b"DATA\r\n", b"a"]),
        ({"stall_s": 0.4}, [EHLO + ENVELOPE + b"BDAT 99\r\n", b"a"]),
        ({"mail_s": 0.6}, [EHLO + ENVELOPE + b"DATA\r\n", *[b"a"] * 16]),
        ({"mail_s": 0.6}, [b"NOOP\r\n"] * 16),
    ],
    ids=["silence", "first command", "later command", "data", "chunk", "endless data", "endless talk"],
)
def test_slow_loris(patience: dict[str, Any], trickle: list[bytes]) -> None:
    """Attack: clients that say little, slowly, to keep our connections; whichever clock runs out first parts them."""
    limits = replace(Limits(command_s=30, stall_s=30, mail_s=30, linger_s=0.2), **patience)

    async def drip() -> tuple[list[str], float]:
        async with serving(MemoryIntake(), limits=limits) as server:
            client, start = await Client.open(server), time.monotonic()
            hearing = asyncio.create_task(client.hear_out())
            for octets in trickle:
                client.writer.write(octets)
                await asyncio.wait([hearing], timeout=0.15)
            return await hearing, time.monotonic() - start

    with asyncio.Runner() as runner:
        heard, seconds = runner.run(drip())
    assert heard[-1] == "421/4.4.2"
    assert seconds < 2


@on_both_loops
async def test_a_client_that_keeps_to_its_times_is_not_parted_from() -> None:
    async with serving(MemoryIntake(), limits=QUICK) as server:
        client = await Client.greeted(server)
        for _ in range(8):
            await asyncio.sleep(0.25)
            assert await client.ask(MAIL, 4) == MAIL_CODES


@on_both_loops
async def test_the_house_may_take_longer_than_a_client() -> None:
    intake = MemoryIntake()
    intake.storing_s = 1.5
    async with serving(intake, limits=QUICK) as server:
        client = await Client.greeted(server)
        assert await client.ask(MAIL, 4) == MAIL_CODES


@on_both_loops
async def test_connections_per_client_are_capped_and_free_again() -> None:
    async with serving(MemoryIntake(), limits=Limits(per_client=3, linger_s=0.2)) as server:
        clients = [await Client.greeted(server) for _ in range(3)]
        assert await (await Client.open(server)).hear_out() == ["421/4.7.0"]
        clients[0].leave()
        await until(lambda: server.connections == 2)
        await Client.greeted(server)


@on_both_loops
async def test_connections_in_all_are_capped_and_free_again() -> None:
    async with serving(MemoryIntake(), limits=Limits(connections=3, per_client=0, linger_s=0.2)) as server:
        clients = [await Client.greeted(server) for _ in range(3)]
        assert await (await Client.open(server)).hear_out() == ["421/4.3.2"]
        await until(lambda: server.connections == 3)
        assert await clients[0].ask(b"QUIT\r\n", 1) == ["221/2.0.0"]
        clients[0].writer.close()
        await until(lambda: server.connections == 2)
        await Client.greeted(server)


@on_both_loops
async def test_closing_tells_the_idle_and_waits_for_mails_under_way() -> None:
    intake = MemoryIntake()
    intake.gate = asyncio.Event()
    server = await serve(intake, host="127.0.0.1", port=0, offer=OFFER, clock=SystemClock())
    address = server.addresses[0]
    idle, storing, sending, starting = [await Client.greeted(server) for _ in range(4)]
    await storing.say(MAIL + MAIL)
    assert await sending.ask(ENVELOPE + b"DATA\r\n", 3) == MAIL_CODES[:3]
    assert await starting.ask(b"MAIL FROM:<>\r\n", 1) == ["250/2.1.0"]
    await intake.entered.wait()
    closing = asyncio.create_task(server.close(grace_s=10))
    assert await idle.hear_out() == ["421/4.3.2"]
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    intake.gate.set()
    assert await storing.hear_out() == [*MAIL_CODES, "421/4.3.2"]
    await sending.say(CONTENT + b".\r\n")
    assert await sending.hear_out() == ["250/2.0.0", "421/4.3.2"]
    await starting.say(b"RSET\r\n")
    assert await starting.hear_out() == ["250/2.0.0", "421/4.3.2"]
    for client in (idle, storing, sending, starting):
        client.writer.close()
    await closing
    assert len(intake.mails) == 2


@on_both_loops
async def test_closing_does_not_wait_beyond_its_grace() -> None:
    intake = MemoryIntake()
    intake.gate = asyncio.Event()
    server = await serve(intake, host="127.0.0.1", port=0, offer=OFFER, clock=SystemClock())
    storing, sending = await Client.greeted(server), await Client.greeted(server)
    await storing.say(MAIL)
    await sending.say(MAIL[:-3])
    await intake.entered.wait()
    start = time.monotonic()
    await server.close(grace_s=0.3)
    assert time.monotonic() - start < 2
    assert "250/2.0.0" not in await storing.hear_out()
    assert (intake.mails, server.connections, server.held_octets) == ([], 0, 0)


@on_both_loops
async def test_a_server_without_clients_closes_at_once() -> None:
    server = await serve(MemoryIntake(), host="127.0.0.1", port=0, offer=OFFER, clock=SystemClock())
    start = time.monotonic()
    await server.close()
    assert time.monotonic() - start < 5, "its grace is far longer"


@on_both_loops
async def test_a_port_in_use_is_an_oserror() -> None:
    async with serving(MemoryIntake()) as server:
        host, port = server.addresses[0]
        with pytest.raises(OSError, match=r"[Aa]ddress"):
            await serve(MemoryIntake(), host=host, port=port, offer=OFFER, clock=SystemClock())


def test_the_gate_is_left_as_often_as_it_is_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    balance = {"all": 0, "named": 0}
    for verb, kind, step in (("enter", "all", 1), ("leave", "all", -1), ("name", "named", 1), ("unname", "named", -1)):
        original = getattr(Gate, verb)

        def counted(
            self: Gate, *client: str, original: object = original, kind: str = kind, step: int = step
        ) -> object:
            balance[kind] += step
            return original(self, *client)  # type: ignore[operator]

        monkeypatch.setattr(Gate, verb, counted)

    async def come_and_go() -> None:
        async with serving(MemoryIntake()) as server:
            for ending in (b"QUIT\r\n", MAIL, b"X\r\n" * 20, b"\n" * 9, b"GET / HTTP/1.1\r\n", b""):
                client = await Client.open(server)
                await client.say(EHLO + ending)
                await asyncio.sleep(0.02)
                client.leave()
            await until(lambda: server.connections == 0)

    with asyncio.Runner() as runner:
        runner.run(come_and_go())
    assert balance == {"all": 0, "named": 0}
