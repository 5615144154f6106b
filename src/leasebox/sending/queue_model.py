"""Words of the queue of outgoing mail."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from leasebox.sending.transport_reply import Reply
from leasebox.values.ids import LeaseId, SendAttemptId, TenantId

Stop = Literal["tenant", "mailbox", "paused", "domain", "ended"]
FOR_GOOD: frozenset[Stop] = frozenset({"domain", "ended"})
"""Nothing makes mail go out again that is stopped for these."""


class Hop(msgspec.Struct, frozen=True):
    """An attempt's recipients of one domain, claimed by us. number: of the try that begins now, from 1.

    left_in: the state that a dead worker left it in; `handing_over` means that its last try may have succeeded.
    """

    attempt_id: SendAttemptId
    destination: str
    route: Literal["local", "smtp"]
    number: int
    claim: UUID
    size_bytes: int
    expires_at: datetime
    left_in: str = "waiting"


class Cargo(msgspec.Struct, frozen=True):
    """What a hop carries: the message, its author, and the recipients that still wait, each with its position.

    stopped: what keeps all of it from going out now: its tenant (suspended, closed), its mailbox (frozen), its lease
    (paused), a custom domain that is its tenant's no more, or a lease that ended before the mail was to go out.
    refused: of the recipients those that are sent nothing any more, by position, and why.
    """

    tenant_id: TenantId
    lease_id: LeaseId
    header_message_id: str
    sender: str
    created_at: datetime
    content: bytes
    recipients: tuple[tuple[int, str], ...]
    stopped: Stop | None = None
    refused: Mapping[int, Reply] = {}


class Line(msgspec.Struct, frozen=True):
    """What is written down of a recipient. state: sent, deferred or failed."""

    position: int
    state: str
    code: int | None
    text: str


class Depth(msgspec.Struct, frozen=True):
    """How much waits. oldest: when the hop that has been due for longest was; None where none is due."""

    waiting: int
    under_way: int
    oldest: datetime | None


class Claimed(msgspec.Struct, frozen=True):
    """What one claim got. last: the destination to go on after; None: there is none left behind it."""

    hops: tuple[Hop, ...]
    last: str | None


class Pace(msgspec.Struct, frozen=True):
    """How much goes out at once. places: hops under way in one process; per_destination: in all of them together."""

    places: int = 50
    per_destination: int = 8
