"""One connection: who it belongs to, how it takes up TLS, how it waits, and what it holds."""

import asyncio
import ipaddress
import socket
import ssl
import struct

from leasebox.infra.tls import server_context
from leasebox.mail.smtp import Limits
from leasebox.mail.smtp_proxy import SIGNATURE
from tests.mail.smtp_house import MemoryIntake, codes
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

TRUSTED = (ipaddress.ip_network("127.0.0.0/8"),)
ELSEWHERE = (ipaddress.ip_network("10.0.0.0/8"),)
V1 = b"PROXY TCP4 192.0.2.9 192.0.2.1 40000 25\r\n"
V2 = SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 12) + bytes([192, 0, 2, 9, 192, 0, 2, 1]) + struct.pack("!HH", 1, 25)
LOCAL = SIGNATURE + struct.pack("!BBH", 0x20, 0, 0)


class Rate:
    """A rate port that answers as it is told and remembers for whom."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.keys: list[str] = []

    async def take(self, key: str) -> bool:
        self.keys.append(key)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            await asyncio.sleep(60)
        return bool(self.answer)


@on_both_loops
async def test_the_rate_decides_each_mail() -> None:
    rate = Rate(answer=True)
    async with serving(MemoryIntake(), rate=rate) as server:
        client = await Client.greeted(server)
        assert await client.ask(MAIL, 4) == MAIL_CODES
        rate.answer = False
        refused = await client.ask(ENVELOPE + b"DATA\r\nNOOP\r\n", 4)
        assert refused == ["450/4.7.1", "503/5.5.1", "503/5.5.1", "250/2.0.0"]
    assert rate.keys == ["127.0.0.1"] * 2


@on_both_loops
async def test_a_rate_that_fails_or_hangs_costs_no_mail() -> None:
    for answer in (RuntimeError("no cache"), ConnectionError(), None):
        async with serving(MemoryIntake(), rate=Rate(answer), limits=Limits(rate_s=0.1)) as server:
            client = await Client.greeted(server)
            assert await client.ask(MAIL, 4) == MAIL_CODES


@on_both_loops
async def test_a_trusted_proxy_names_the_client() -> None:
    for header, client_ip in ((V1, "192.0.2.9"), (V2, "192.0.2.9"), (LOCAL, "127.0.0.1")):
        intake, rate = MemoryIntake(), Rate(answer=True)
        async with serving(intake, trusted_proxies=TRUSTED, rate=rate) as server:
            client = await Client.open(server)
            for octet in header:
                await client.say(bytes([octet]))
            assert await client.ask(EHLO + MAIL, 6) == ["220", "250", *MAIL_CODES]
            together = await Client.open(server)
            assert await together.ask(header + EHLO + MAIL, 6) == ["220", "250", *MAIL_CODES]
        assert {mail.envelope.client_ip for mail in intake.mails} == {client_ip}
        assert rate.keys == [client_ip] * 2
        assert f"([{client_ip}])".encode() in intake.mails[0].trace


@on_both_loops
async def test_proxied_clients_are_capped_each_for_itself() -> None:
    async with serving(MemoryIntake(), trusted_proxies=TRUSTED, limits=Limits(per_client=1)) as server:
        first = await Client.open(server)
        assert await first.ask(V1, 1) == ["220"]
        second = await Client.open(server)
        await second.say(V1 + EHLO)
        assert await second.hear_out() == ["421/4.7.0"]
        other = await Client.open(server)
        assert await other.ask(V1.replace(b"192.0.2.9", b"192.0.2.8"), 1) == ["220"]


@on_both_loops
async def test_a_trusted_proxy_must_say_for_whom_it_speaks() -> None:
    async with serving(MemoryIntake(), trusted_proxies=TRUSTED, limits=Limits(proxy_s=0.3)) as server:
        for said in (EHLO, b"PROXY TCP4 x\r\n", b"PROXY ", b"", b"x" * 5_000):
            client = await Client.open(server)
            await client.say(said)
            assert await client.hear_out() in ([], ["reset"])
        await until(lambda: server.connections == 0)


@on_both_loops
async def test_a_proxy_header_from_anybody_else_changes_nothing() -> None:
    intake = MemoryIntake()
    async with serving(intake, trusted_proxies=ELSEWHERE) as server:
        client = await Client.open(server)
        assert await client.ask(V1 + EHLO + MAIL, 7) == ["220", "500/5.5.2", "250", *MAIL_CODES]
        binary = await Client.open(server)
        await binary.say(V2 + EHLO + MAIL)
        assert (await binary.hear(9))[:2] == ["220", "500/5.5.2"]
    assert {mail.envelope.client_ip for mail in intake.mails} == {"127.0.0.1"}


@on_both_loops
async def test_starttls_forgets_and_is_not_offered_twice() -> None:
    intake = MemoryIntake()
    async with serving(intake, tls=server_context(*certificate())) as server:
        client = await Client.greeted(server)
        assert await client.ask(ENVELOPE, 2) == MAIL_CODES[:2]
        await client.start_tls()
        assert await client.ask(b"DATA\r\nMAIL FROM:<>\r\nSTARTTLS\r\n", 3) == ["503/5.5.1"] * 3
        assert await client.ask(EHLO + MAIL + b"QUIT\r\n", 6) == ["250", *MAIL_CODES, "221/2.0.0"]
        assert await client.hear_out() == []
        client.writer.close()
    assert len(intake.mails) == 1


@on_both_loops
async def test_starttls_injection_over_the_wire() -> None:
    """Attack: commands sent in the clear behind STARTTLS are obeyed as if they came under TLS."""
    intake = MemoryIntake()
    async with serving(intake, tls=server_context(*certificate())) as server:
        client = await Client.greeted(server)
        await client.say(b"STARTTLS\r\n" + EHLO + MAIL)
        assert await client.hear(1) == ["220/2.0.0"]
        context = ssl.create_default_context(cafile=str(certificate().certificate))
        await client.writer.start_tls(context, server_hostname="127.0.0.1")
        assert await client.ask(b"NOOP\r\n", 1) == ["250/2.0.0"]
        assert await client.ask(b"RCPT TO:<ann@inbox.example>\r\n", 1) == ["503/5.5.1"]
    assert intake.mails == []


@on_both_loops
async def test_words_in_the_same_segment_as_the_end_of_the_handshake_are_heard() -> None:
    async with serving(MemoryIntake(), tls=server_context(*certificate())) as server:
        client = await Client.greeted(server)
        assert await client.ask(b"STARTTLS\r\n", 1) == ["220/2.0.0"]
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=str(certificate().certificate))
        tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await client.say(outgoing.read())
                incoming.write(await client.reader.read(65_536))
        tls.write(EHLO + MAIL)
        await client.say(outgoing.read())
        heard = b""
        async with asyncio.timeout(5):
            while b"Stored" not in heard:
                incoming.write(await client.reader.read(65_536))
                try:
                    heard += tls.read(65_536)
                except ssl.SSLWantReadError:
                    continue
        assert codes(heard) == ["250", *MAIL_CODES]


@on_both_loops
async def test_tls_is_taken_up_by_a_connection_whose_reading_was_paused() -> None:
    intake = MemoryIntake()
    intake.gate = asyncio.Event()
    async with serving(intake, tls=server_context(*certificate())) as server:
        client = await Client.greeted(server)
        await client.say(MAIL)
        await intake.entered.wait()
        await client.say(b"STARTTLS\r\n")
        await until(lambda: server.held_octets > len(CONTENT))
        intake.gate.set()
        assert await client.hear(5) == [*MAIL_CODES, "220/2.0.0"]
        context = ssl.create_default_context(cafile=str(certificate().certificate))
        await client.writer.start_tls(context, server_hostname="127.0.0.1")
        assert await client.ask(EHLO + MAIL, 5) == ["250", *MAIL_CODES]
        assert await client.ask(MAIL, 4) == MAIL_CODES


@on_both_loops
async def test_a_handshake_that_fails_costs_only_its_connection() -> None:
    limits = Limits(handshake_s=0.5, linger_s=0.2, per_client=2)
    async with serving(MemoryIntake(), tls=server_context(*certificate()), limits=limits) as server:
        for garbage in (b"EHLO in the clear\r\n", b"\x16\x03\x01\x00\x05hello", b""):
            client = await Client.greeted(server)
            assert await client.ask(b"STARTTLS\r\n", 1) == ["220/2.0.0"]
            await client.say(garbage)
            async with asyncio.timeout(5):
                try:
                    await client.reader.read()
                except ConnectionError:
                    client.leave()
            await until(lambda: server.connections == 0)
        gone = await Client.greeted(server)
        assert await gone.ask(b"STARTTLS\r\n", 1) == ["220/2.0.0"]
        gone.leave()
        await until(lambda: server.connections == 0)
        client = await Client.greeted(server)
        await client.start_tls()
        assert await client.ask(EHLO + MAIL, 5) == ["250", *MAIL_CODES]


@on_both_loops
async def test_memory_in_flight_is_bounded_and_given_back() -> None:
    intake = MemoryIntake()
    async with serving(intake, limits=Limits(memory_octets=1_000_000)) as server:
        first, second = await Client.greeted(server), await Client.greeted(server)
        line = b"x" * 998 + b"\r\n"
        for client in (first, second):
            assert await client.ask(ENVELOPE + b"DATA\r\n", 3) == MAIL_CODES[:3]
        await first.say(line * 600)
        await until(lambda: server.held_octets > 590_000)
        await second.say(line * 600)
        await until(lambda: server.held_octets < 700_000)
        assert await second.ask(line + b".\r\n", 1) == ["452/4.3.1"]
        assert await first.ask(b".\r\n", 1) == ["250/2.0.0"]
        assert server.held_octets == 0
        assert await second.ask(MAIL, 4) == MAIL_CODES
        said = b"BDAT 1200000 LAST\r\n" + line * 1_200
        assert await second.ask(ENVELOPE + said, 3) == ["250/2.1.0", "250/2.1.5", "452/4.3.1"]
        assert server.held_octets == 0
    assert [len(mail.content) for mail in intake.mails] == [600_000, len(CONTENT)]


@on_both_loops
async def test_a_client_is_not_read_while_the_house_thinks() -> None:
    intake = MemoryIntake()
    intake.gate = asyncio.Event()
    async with serving(intake) as server:
        client = await Client.greeted(server)
        await client.say(MAIL)
        await intake.entered.wait()
        flood = asyncio.create_task(client.say(b"NOOP\r\n" * 2_000_000))
        await asyncio.sleep(0.2)
        assert server.held_octets < 1_000_000
        assert not flood.done()
        intake.gate.set()
        assert await client.hear(10) == [*MAIL_CODES, *["250/2.0.0"] * 6]
        flood.cancel()
        client.leave()


@on_both_loops
async def test_a_client_that_does_not_read_is_not_read() -> None:
    async with serving(MemoryIntake()) as server:
        client = await Client.greeted(server)
        (connection,) = server._door.open
        connection.pause_writing()
        await client.say(b"NOOP\r\nNOOP\r\n")
        await until(lambda: server.held_octets == 12)
        connection.resume_writing()
        assert await client.hear(2) == ["250/2.0.0"] * 2
        assert await client.ask(MAIL, 4) == MAIL_CODES


@on_both_loops
async def test_last_words_arrive_over_unread_octets() -> None:
    async with serving(MemoryIntake()) as server:
        for _ in range(20):
            client = await Client.open(server)
            await client.say(b"GET / HTTP/1.1\r\n" + b"Cookie: x\r\n" * 20_000)
            assert await client.hear_out() == ["220", "421/4.7.0"]


@on_both_loops
async def test_who_does_not_close_is_closed_upon() -> None:
    async with serving(MemoryIntake(), limits=Limits(linger_s=0.2)) as server:
        client = await Client.open(server)
        assert await client.ask(b"QUIT\r\n", 2) == ["220", "221/2.0.0"]
        await until(lambda: server.connections == 0)


@on_both_loops
async def test_a_connection_reset_at_once_is_no_fault() -> None:
    async with serving(MemoryIntake()) as server:
        for _ in range(20):
            peer = socket.create_connection(server.addresses[0])
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
        client = await Client.greeted(server)
        assert await client.ask(MAIL, 4) == MAIL_CODES
        client.leave()
        await until(lambda: server.connections == 0)
