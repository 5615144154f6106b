"""The smtp role: mail comes in here."""

import asyncio
import contextlib
import socket
from collections.abc import Callable

from leasebox.config import Settings
from leasebox.config_text import Address
from leasebox.infra import tls
from leasebox.infra.cache import Cache
from leasebox.mail import smtp
from leasebox.mail.denials import DeniedSenders
from leasebox.mail.intake import GroupIntake
from leasebox.mail.smtp_data import Bounds
from leasebox.mail.smtp_limits import Limits
from leasebox.values.rate import Rate
from leasebox.wiring import process

_MIB = 1024 * 1024


class MailRate:
    """The SMTP server's rate port over the shared buckets."""

    def __init__(self, cache: Cache, rate: Rate) -> None:
        self._cache = cache
        self._rate = rate

    async def take(self, key: str) -> bool:
        return (await self._cache.draw(f"smtp:{key}", self._rate)).allowed


def run(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve SMTP until told to stop; then finish the mails under way."""

    async def main(stop: asyncio.Event) -> None:
        async with process.backbone(settings, connections=6) as base:
            intake = GroupIntake(base.db, process.lease_policy(settings), base.clock)
            committing = asyncio.create_task(intake.run())
            hostname = socket.getfqdn() if "." in socket.getfqdn() else settings.mail_domain
            pair = _certificate(settings, base, hostname)
            server = await smtp.serve(
                intake,
                host=settings.smtp.host,
                port=settings.smtp.port,
                offer=smtp.Offer(hostname, settings.mail_domain, bounds=Bounds(octets=settings.max_mail_mib * _MIB)),
                clock=base.clock,
                limits=Limits(per_client=settings.smtp_connections),
                rate=MailRate(base.cache, settings.smtp_rate),
                senders=DeniedSenders(base.db, base.clock),
                tls=tls.server_context(*pair),
                trusted_proxies=tuple(settings.trusted_proxies),
            )
            process.settle()
            host, port = server.addresses[0]
            ready(f"smtp={Address(host, port)}")
            stopping = asyncio.create_task(stop.wait())
            # Without the one who commits no mail is ever answered: then this process ends, and is started anew.
            await asyncio.wait([stopping, committing], return_when=asyncio.FIRST_COMPLETED)
            await server.close()
            committing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await committing

    process.run(main)


def _certificate(settings: Settings, base: process.Backbone, hostname: str) -> tls.CertificatePair:
    if settings.tls_cert is not None and settings.tls_key is not None:
        return tls.CertificatePair(settings.tls_cert, settings.tls_key)
    return tls.ensure_certificate(settings.home / "tls", (hostname, *settings.mail_domains), base.clock)
