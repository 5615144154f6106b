"""Words of the queue of outgoing mail."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from leasebox.values.ids import SendAttemptId, TenantId


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

    stopped: whom an operator has stopped since, the tenant (suspended, closed) or the mailbox (frozen), if any.
    """

    tenant_id: TenantId
    header_message_id: str
    sender: str
    created_at: datetime
    content: bytes
    recipients: tuple[tuple[int, str], ...]
    stopped: Literal["tenant", "mailbox"] | None = None


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
