"""The SMTP server: mail comes in here and is answered 250 only after the house has committed it."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import replace

from leasebox.mail.smtp_clerk import Clerk, MxClerk
from leasebox.mail.smtp_connection import Connection, Doorway
from leasebox.mail.smtp_intake import AcceptVerdict, Envelope, IncomingMail, Intake, RatePort, SenderPort, Stored
from leasebox.mail.smtp_limits import Gate, IPNetwork, Limits, Memory
from leasebox.mail.smtp_questions import Offer
from leasebox.mail.smtp_replies import MailRefusal, RcptVerdict
from leasebox.mail.smtp_session import Session
from leasebox.values.clock import Clock

__all__ = [
    "AcceptVerdict",
    "Envelope",
    "IncomingMail",
    "Intake",
    "Limits",
    "MailRefusal",
    "Offer",
    "RatePort",
    "RcptVerdict",
    "SenderPort",
    "SmtpServer",
    "Stored",
    "listen",
    "serve",
]

GRACE_S = 10.0
_BACKLOG = 1_024


class SmtpServer:
    """A listening server. Made by `serve`; must be closed."""

    def __init__(self, listener: asyncio.Server, doorway: Doorway) -> None:
        self._listener = listener
        self._door = doorway
        self._sweeper = asyncio.create_task(_sweep(doorway))

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Where it listens, as (host, port); ports that were asked for as 0 are the ones given."""
        return tuple(tuple(socket.getsockname()[:2]) for socket in self._listener.sockets)

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._door.open)

    @property
    def held_octets(self) -> int:
        """Memory that mail in flight takes now, in octets."""
        return self._door.memory.held

    async def close(self, grace_s: float = GRACE_S) -> None:
        """Stop listening, let mails under way end for up to `grace_s` seconds, tell all others 421.

        After the grace the connections are cut and storing is cancelled; such clients have seen no 250 and try again.
        """
        door = self._door
        door.draining = True
        self._listener.close()
        for connection in list(door.open):
            connection.drain()
        door.notice()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await door.quiet.wait()
        self._sweeper.cancel()
        for task in list(door.tasks):
            task.cancel()
        for connection in list(door.open):
            connection.abort()
        door.notice()
        await asyncio.gather(self._sweeper, *door.tasks, return_exceptions=True)
        await door.quiet.wait()


async def serve(
    intake: Intake,
    *,
    host: str,
    port: int,
    offer: Offer,
    clock: Clock,
    limits: Limits | None = None,
    rate: RatePort | None = None,
    senders: SenderPort | None = None,
    tls: ssl.SSLContext | None = None,
    trusted_proxies: tuple[IPNetwork, ...] = (),
) -> SmtpServer:
    """Take mail in from anybody. Raises as `listen` does.

    rate, senders: asked once per MAIL FROM; None asks nobody.
    """
    bounds = limits or Limits()
    clerk = MxClerk(intake, clock, rate, senders, bounds.rate_s)
    return await listen(
        clerk, host=host, port=port, offer=offer, limits=bounds, tls=tls, trusted_proxies=trusted_proxies
    )


async def listen(
    clerk: Clerk,
    *,
    host: str,
    port: int,
    offer: Offer,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    trusted_proxies: tuple[IPNetwork, ...] = (),
    session: Callable[[Offer], Session] = Session,
) -> SmtpServer:
    """Listen on `host` and `port` (0: any free one). Raises OSError if that is not possible.

    clerk: answers what the sessions ask. tls: offers STARTTLS with it. trusted_proxies: peers that must begin with a
    PROXY header, whose client then counts as the peer; anyone else's header is a bad command.
    """
    bounds = limits or Limits()
    if tls is not None:
        offer = replace(offer, extensions=(*offer.extensions, "STARTTLS"))
    doorway = Doorway(clerk, offer, bounds, tls, trusted_proxies, session, Gate(bounds), Memory(bounds.memory_octets))
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Connection(doorway), host, port, backlog=_BACKLOG)
    return SmtpServer(listener, doorway)


async def _sweep(doorway: Doorway) -> None:
    """Look for slow clients, four times in the shortest patience but at most once a second."""
    limits = doorway.limits
    shortest = min(limits.command_s, limits.stall_s, limits.mail_s, limits.proxy_s, limits.linger_s)
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(min(1.0, shortest / 4))
        now = loop.time()
        for connection in list(doorway.open):
            connection.sweep(now)
