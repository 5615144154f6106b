"""The submission door of a house in this process, and clients at it: smtplib, and one that speaks line by line."""

import asyncio
import base64
import contextlib
import smtplib
import ssl
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from typing import Any, TypeVar

from leasebox.infra.db import Database
from leasebox.infra.tls import server_context
from leasebox.mail.intake import GroupIntake
from leasebox.mail.parse_pool import ParsePool
from leasebox.mail.smtp import Limits, Offer, SmtpServer, listen
from leasebox.mail.smtp_data import Bounds
from leasebox.sending.model import SendPolicy
from leasebox.sending.submission import Guard, SubmissionClerk
from leasebox.sending.submission_session import EXTENSIONS, SubmissionSession
from leasebox.values.keys import Purpose, ring
from leasebox.values.rate import Rate
from leasebox.wiring import process
from leasebox.wiring.sending import house_addresses
from leasebox.wiring.smtp import MailRate
from tests.kit import House
from tests.kit_mail import PATIENCE_S, Wire
from tests.mail.smtp_wire import certificate

T = TypeVar("T")
HOST = "mx.leasebox.test"
UNLIMITED = Rate(0, 60)


class Door:
    """Where mailboxes hand in mail."""

    def __init__(self, house: House, server: SmtpServer) -> None:
        self.house = house
        self.server = server

    @contextlib.asynccontextmanager
    async def wire(self, lease: dict[str, Any] | None = None, client: str = "") -> AsyncIterator[Wire]:
        """A session under TLS that has said EHLO; signed in as the lease's mailbox, if one is given.

        client: the address that a proxy says it comes from.
        """
        reader, writer = await asyncio.open_connection(*self.server.addresses[0])
        if client:
            writer.write(f"PROXY TCP4 {client} 192.0.2.1 40000 587\r\n".encode())
        wire = Wire(reader, writer)
        try:
            await wire.hear()
            await wire.ask("EHLO client.example")
            assert (await wire.ask("STARTTLS")).startswith("220")
            await writer.start_tls(trusting(), server_hostname="127.0.0.1")
            await wire.ask("EHLO client.example")
            if lease is not None:
                assert (await wire.ask(plain(lease))).startswith("235 2.7.0")
            yield wire
        finally:
            writer.transport.abort()

    async def send(self, lease: dict[str, Any], raw: bytes, *to: str) -> str:
        """One mail over a connection of its own; the reply to its content, or the first refusal before that."""
        async with self.wire(lease) as wire:
            return await hand_in(wire, lease["address"], raw, *to)

    async def smtplib(self, use: Callable[[smtplib.SMTP], T]) -> T:
        """Use Python's own client, in a thread, after STARTTLS."""

        def work() -> T:
            with smtplib.SMTP(*self.server.addresses[0], timeout=PATIENCE_S) as client:
                client.starttls(context=trusting())
                return use(client)

        return await asyncio.to_thread(work)


async def hand_in(wire: Wire, sender: str, raw: bytes, *to: str) -> str:
    """A mail within a session; the reply to its content, or the first refusal before that."""
    for line in (f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{address}>" for address in to)):
        reply = await wire.ask(line)
        if not reply.startswith("250"):
            return reply
    return await wire.content(raw)


def trusting() -> ssl.SSLContext:
    """Verifies the door's certificate and name."""
    return ssl.create_default_context(cafile=str(certificate().certificate))


def plain(lease: dict[str, Any], password: str | None = None) -> str:
    """AUTH PLAIN with the credentials in it."""
    words = f"\0{lease['webmail_login']}\0{password or lease['webmail_password']}"
    return f"AUTH PLAIN {encoded(words)}"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def letter(subject: str = "Hello", text: str = "Hello there.", **fields: str) -> bytes:
    """A mail as clients make it; `fields` are header fields, `_` in their names standing for `-`."""
    header = {"Subject": subject} | {name.replace("_", "-").title(): value for name, value in fields.items()}
    lines = [f"{name}: {value}" for name, value in header.items()]
    return "\r\n".join([*lines, "", text, ""]).encode()


@contextlib.asynccontextmanager
async def submitting(
    house: House,
    rate: Rate = UNLIMITED,
    failures: tuple[Rate, Rate] = (UNLIMITED, UNLIMITED),
    database: Database | None = None,
) -> AsyncIterator[Door]:
    """The submission door on a free port. failures: how many a client and a mailbox may have.

    database: for the door alone. A client begins with a PROXY line only where `failures` are counted by client.
    """
    reader = ParsePool()
    policy = SendPolicy(HOST, process.lease_policy(house.settings), house=house_addresses(house.settings))
    clerk = SubmissionClerk(
        database or house.db,
        house.clock,
        Guard(house.base.cache, *failures),
        GroupIntake(house.db, policy.leases, house.clock),
        reader,
        MailRate(house.base.cache, rate),
        policy,
        ring(house.settings.secret, None, Purpose.PAYMENT_PROOF),
    )
    server = await listen(
        clerk,
        host="127.0.0.1",
        port=0,
        offer=Offer(HOST, house.settings.mail_domain, EXTENSIONS, Bounds(line_octets=998)),
        limits=Limits(per_client=0),
        tls=server_context(*certificate()),
        trusted_proxies=() if failures[0] is UNLIMITED else (ip_network("127.0.0.0/8"),),
        session=SubmissionSession,
    )
    try:
        yield Door(house, server)
    finally:
        await server.close(grace_s=1)
        await reader.close()
