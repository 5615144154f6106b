"""The smtp role: mail comes in here, and mailboxes hand theirs in."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence

from leasebox.config import Settings
from leasebox.config_text import Address
from leasebox.infra import tls
from leasebox.infra.cache import Cache
from leasebox.infra.together import Together
from leasebox.mail import smtp
from leasebox.mail.denials import DeniedSenders
from leasebox.mail.intake import GroupIntake
from leasebox.mail.smtp_data import Bounds
from leasebox.mail.smtp_limits import Limits
from leasebox.values.rate import Rate
from leasebox.wiring import process
from leasebox.wiring.domains import mx_host
from leasebox.wiring.sending import house_addresses
from leasebox.wiring.submission import open_door

_MIB = 1024 * 1024


class MailRate:
    """The SMTP server's rate port over the shared buckets; mails of one client that come at once are drawn together."""

    def __init__(self, cache: Cache, rate: Rate) -> None:
        self._cache = cache
        self._rate = rate
        self._drawing = Together(self._draw)

    async def take(self, key: str) -> bool:
        return not self._rate.count or await self._drawing.ask(key)

    async def _draw(self, keys: Sequence[str]) -> list[bool]:
        wanted = Counter(keys)
        draws = [self._cache.draw_some(f"smtp:{key}", self._rate, count) for key, count in wanted.items()]
        # Of one client no tasks are made.
        drawn = await asyncio.gather(*draws) if len(draws) > 1 else [await draws[0]]
        granted = dict(zip(wanted, drawn, strict=True))
        verdicts = []
        for key in keys:
            granted[key] -= 1
            verdicts.append(granted[key] >= 0)
        return verdicts


def run(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve SMTP until told to stop; then finish the mails under way."""

    async def main(stop: asyncio.Event) -> None:
        async with process.backbone(settings, connections=6) as base:
            policy, hostname = process.lease_policy(settings), mx_host(settings)
            intake = GroupIntake(base.db, policy, base.clock, house_addresses(settings))
            committing = asyncio.create_task(intake.run())
            context = tls.server_context(*_certificate(settings, base, hostname))
            rate = MailRate(base.cache, settings.smtp_rate)
            server = await smtp.serve(
                intake,
                host=settings.smtp.host,
                port=settings.smtp.port,
                offer=smtp.Offer(hostname, settings.mail_domain, bounds=Bounds(octets=settings.max_mail_mib * _MIB)),
                clock=base.clock,
                limits=Limits(per_client=settings.smtp_connections),
                rate=rate,
                senders=DeniedSenders(base.db, base.clock),
                tls=context,
                trusted_proxies=tuple(settings.trusted_proxies),
            )
            async with open_door(settings, base, context, rate) as submission:
                process.settle()
                ready(f"smtp={Address(*server.addresses[0])} submission={Address(*submission.addresses[0])}")
                stopping = asyncio.create_task(stop.wait())
                # Without the one who commits no mail is ever answered: then this process ends, and is started anew.
                await asyncio.wait([stopping, committing], return_when=asyncio.FIRST_COMPLETED)
                await asyncio.gather(server.close(), submission.close())
            committing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await committing

    process.run(main)


def _certificate(settings: Settings, base: process.Backbone, hostname: str) -> tls.CertificatePair:
    if settings.tls_cert is not None and settings.tls_key is not None:
        return tls.CertificatePair(settings.tls_cert, settings.tls_key)
    return tls.ensure_certificate(settings.home / "tls", (hostname, *settings.mail_domains), base.clock)
