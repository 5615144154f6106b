"""The submission door, which stands in the smtp role's process: mailboxes hand in mail here."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from leasebox.config import Settings
from leasebox.mail import smtp
from leasebox.mail.intake import GroupIntake
from leasebox.mail.parse_pool import ParsePool
from leasebox.mail.smtp_data import Bounds
from leasebox.mail.smtp_limits import Limits
from leasebox.sending.submission import Guard, MailRate, SubmissionClerk
from leasebox.sending.submission_session import EXTENSIONS, SubmissionSession
from leasebox.values.keys import Purpose, ring
from leasebox.wiring.domains import mx_host
from leasebox.wiring.process import Backbone
from leasebox.wiring.sending import send_policy

_MIB = 1024 * 1024
# RFC 5322 §2.1.1: what a client hands in has to pass everywhere, so its lines are as long as they may be and no longer.
_LINE_OCTETS = 998


@asynccontextmanager
async def open_door(
    settings: Settings, base: Backbone, context: ssl.SSLContext, rate: MailRate
) -> AsyncIterator[smtp.SmtpServer]:
    """Listen for as long as the context lasts; then finish the mails under way. Raises OSError.

    rate: counts mails of a client address, together with those that come in at the MX.
    """
    policy, reader = send_policy(settings), ParsePool()
    clerk = SubmissionClerk(
        base.db,
        base.clock,
        Guard(base.cache),
        # Without the house's own addresses: the clerk knows role addresses, and return paths are for strangers.
        GroupIntake(base.db, policy.leases, base.clock),
        reader,
        rate,
        policy,
        ring(settings.secret, settings.secret_previous, Purpose.PAYMENT_PROOF),
    )
    bounds = Bounds(octets=settings.max_mail_mib * _MIB, line_octets=_LINE_OCTETS)
    server = await smtp.listen(
        clerk,
        host=settings.submission.host,
        port=settings.submission.port,
        offer=smtp.Offer(mx_host(settings), settings.mail_domain, EXTENSIONS, bounds),
        limits=Limits(per_client=settings.smtp_connections),
        tls=context,
        trusted_proxies=tuple(settings.trusted_proxies),
        session=SubmissionSession,
    )
    try:
        yield server
    finally:
        await server.close()
        await reader.close()
