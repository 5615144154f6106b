"""SQL of taking a group of mails with one statement, which commits by itself (migrations/sql/0017_mail_verbs.sql)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from leasebox.infra.db import Tx
from leasebox.leases.inbound import Route
from leasebox.leases.model import LeasePolicy
from leasebox.mail.model import Recipient
from leasebox.mail.smtp_intake import IncomingMail
from leasebox.values.ids import MessageId

_TAKE = """
SELECT take_mails($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
"""
Batch = Sequence[tuple[IncomingMail, MessageId, tuple[Recipient, ...]]]


@dataclass(slots=True)
class Load:
    """What a group of mails has for one lease: octets and mails. address, route: as RCPT found them."""

    address: str
    route: Route
    octets: int = 0
    mails: int = 0

    def add(self, octets: int) -> None:
        self.octets += octets
        self.mails += 1


async def take(tx: Tx, loads: Collection[Load], batch: Batch, policy: LeasePolicy, at: datetime) -> bool:
    """Store mails and count them against their leases' quotas. False: a lease takes them no more, nothing was done.

    For `Database.at_once`. loads: one for each lease.
    """
    mails = [mail for mail, _, _ in batch]
    envelopes = [mail.envelope for mail in mails]
    taken: bool = await tx.value(
        _TAKE,
        at,
        policy.quota_bytes,
        policy.quota_messages,
        [load.address for load in loads],
        [load.route.lease_id for load in loads],
        [load.route.tenant_id for load in loads],
        [load.route.mailbox_id for load in loads],
        [load.octets for load in loads],
        [load.mails for load in loads],
        [mail_id for _, mail_id, _ in batch],
        [mail.received_at for mail in mails],
        [each.mail_from for each in envelopes],
        [each.helo for each in envelopes],
        [each.client_ip for each in envelopes],
        [each.protocol for each in envelopes],
        [mail.trace for mail in mails],
        [mail.content for mail in mails],
        [recipients for _, _, recipients in batch],
    )
    return taken
