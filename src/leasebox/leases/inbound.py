"""Whether mail for an address is taken now: the lease's state by the clock, and its quota. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum

import msgspec

from leasebox.leases.model import LeasePolicy
from leasebox.values.ids import LeaseId, MailboxId, TenantId


class Inbound(Enum):
    """Why mail is not taken; `TAKEN` when it is."""

    TAKEN = "taken"
    UNKNOWN = "unknown"
    ENDED = "ended"
    FROZEN = "frozen"
    PAUSED = "paused"
    OVER_QUOTA = "over_quota"


class Route(msgspec.Struct, frozen=True):
    """The latest lease behind an address."""

    lease_id: LeaseId
    tenant_id: TenantId
    mailbox_id: MailboxId
    state: str
    frozen_at: datetime | None
    expires_at: datetime
    used_bytes: int
    used_messages: int


class Hosting(msgspec.Struct, frozen=True):
    """A tenant's domain whose mail comes in here, and the latest lease of an address there, if it ever had one."""

    route: Route | None


class Slot(msgspec.Struct, frozen=True):
    """A lease that one mail was taken for."""

    lease_id: LeaseId
    mailbox_id: MailboxId
    tenant_id: TenantId


def judge(route: Route | None, policy: LeasePolicy, at: datetime, size: int = 0) -> Inbound:
    """Whether a mail of so many bytes (0: of unknown size) is taken for this lease at a moment."""
    if route is None:
        return Inbound.UNKNOWN
    if route.state == "released" or route.expires_at <= at:
        return Inbound.ENDED
    if route.frozen_at is not None:
        return Inbound.FROZEN
    if route.state == "paused":
        return Inbound.PAUSED
    if route.used_messages >= policy.quota_messages or route.used_bytes + max(size, 1) > policy.quota_bytes:
        return Inbound.OVER_QUOTA
    return Inbound.TAKEN


class QuotaLedger:
    """Decides mails one after the other, each against what the ones before it have used."""

    def __init__(self, routes: Mapping[str, Route], policy: LeasePolicy, at: datetime) -> None:
        self._routes = routes
        self._policy = policy
        self._at = at
        self._bytes = {route.lease_id: route.used_bytes for route in routes.values()}
        self._mails = {route.lease_id: route.used_messages for route in routes.values()}

    def take(self, addresses: Sequence[str], size: int) -> tuple[Route, ...] | Inbound:
        """All of a mail's addresses, or the first refusal: a mail is stored for all of them or for none."""
        routes: dict[LeaseId, Route] = {}
        for address in addresses:
            route = self._routes.get(address)
            verdict = judge(route, self._policy, self._at)
            if route is None or verdict is not Inbound.TAKEN:
                return verdict
            if not self._fits(route.lease_id, size):
                return Inbound.OVER_QUOTA
            routes[route.lease_id] = route
        for lease_id in routes:
            self._bytes[lease_id] += size
            self._mails[lease_id] += 1
        return tuple(routes.values())

    def taken(self) -> list[tuple[LeaseId, int, int]]:
        """What was added to each lease: bytes and mails."""
        before = {route.lease_id: route for route in self._routes.values()}
        return [
            (lease_id, self._bytes[lease_id] - route.used_bytes, self._mails[lease_id] - route.used_messages)
            for lease_id, route in sorted(before.items())
            if self._mails[lease_id] > route.used_messages
        ]

    def _fits(self, lease_id: LeaseId, size: int) -> bool:
        return (
            self._bytes[lease_id] + size <= self._policy.quota_bytes
            and self._mails[lease_id] + 1 <= self._policy.quota_messages
        )
