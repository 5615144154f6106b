"""Words of claims: how somebody without a wallet gets a mailbox, once a person agrees."""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from leasebox.leases.errors import NameRefused, UnknownDomain
from leasebox.leases.model import LeasePolicy, name_of
from leasebox.values.ids import AgentId, Id, LeaseId, MailboxId, TenantId
from leasebox.values.secret import Secret

Confirm = Literal["page", "headless", "off"]
Status = Literal["pending", "approved", "declined", "expired"]
Reason = Literal["by_person", "address_taken"]
CLAIM_TTL = timedelta(minutes=30)
# So long after its end a claim can still be asked for, then it is forgotten; and after its approval, for its key.
KEPT_FOR = timedelta(hours=24)
LEASE_HOURS = 24
# All of it within the one mailbox. keys:write: the key must be able to bind the tenant's first wallet.
SCOPES = ("mail:allocate", "mail:read", "mail:send", "keys:write")


class ClaimId(Id):
    prefix = "clm"


class ClaimPolicy(msgspec.Struct, frozen=True):
    """The operator's settings. base_url: where the approval page stands, without a slash at its end."""

    confirm: Confirm
    base_url: str
    leases: LeasePolicy


class ClaimOrder(msgspec.Struct, frozen=True):
    """The mailbox that somebody wants. asked_from: the network address that asked."""

    name: str
    domain: str
    asked_from: str


class Claim(msgspec.Struct, frozen=True):
    """A wish for a mailbox. lease_id and what stands beside it: None until it is approved."""

    claim_id: ClaimId
    name: str
    domain: str
    asked_from: str
    state: str
    reason: Reason | None
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    tenant_id: TenantId | None
    agent_id: AgentId | None
    mailbox_id: MailboxId | None
    lease_id: LeaseId | None
    lease_expires_at: datetime | None

    @property
    def address(self) -> str:
        """The mailbox that is wanted, or was given."""
        return f"{self.name}@{self.domain}"

    def status(self, at: datetime) -> Status:
        """What the claim is at a moment: the clock ends it, no job does."""
        if self.state == "approved":
            return "approved"
        if self.state == "declined":
            return "declined"
        return "expired" if self.expires_at <= at else "pending"


class Started(msgspec.Struct, frozen=True):
    """A fresh claim with its secrets, which are shown this once. link: the last part of the approval page's address."""

    claim: Claim
    token: Secret
    link: Secret


def order_of(name: str, domain: str | None, asked_from: str, policy: LeasePolicy) -> ClaimOrder:
    """What somebody wants, in its one spelling. Raises NameRefused, UnknownDomain (422)."""
    try:
        wanted = name_of(name)
    except NameRefused as refusal:
        raise NameRefused(refusal.message, fix="Choose another name: 1 to 40 of a-z, 0-9 and hyphen.") from None
    at_domain = (domain or policy.domains[0]).lower()
    if at_domain not in policy.domains:
        raise UnknownDomain(f"No mailboxes are leased at {at_domain}.")
    return ClaimOrder(wanted, at_domain, asked_from)
