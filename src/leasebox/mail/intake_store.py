"""SQL of taking a group of mails with one statement, which commits by itself (migrations/sql/0017_mail_verbs.sql)."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from leasebox.infra.db import Tx
from leasebox.leases.inbound import Route
from leasebox.leases.model import LeasePolicy
from leasebox.mail.store import Batch, mail_columns

_TAKE = """
SELECT take_mails($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
"""


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
        *mail_columns(batch),
    )
    return taken
