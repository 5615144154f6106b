"""Words of sending, what an attempt's state follows from, and the arithmetic of the cooldown's window. Pure."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Literal

import msgspec

from leasebox.leases.inbound import Inbound
from leasebox.leases.model import LeasePolicy
from leasebox.mail.house import HouseAddresses
from leasebox.mail.model import Errand, FreshMessage
from leasebox.sending.addressees import Addressee, Kind
from leasebox.values.addresses import Mailbox
from leasebox.values.ids import MailboxId, MessageId, SendAttemptId, ThreadId

LIMIT = 10
WINDOW = timedelta(hours=24)
WAKE_QUEUE = "queue"
"""Published when a hop may be due."""
EXPIRY = timedelta(days=2)
"""How long after its time to go out a message is tried."""
LOCAL_RETRY = timedelta(minutes=1)
DAILY_LIMIT = 10_000
MAYBE = "May have been taken; no reply came"
"""Said of a recipient that is tried no more after a try of unknown outcome."""

AttemptState = Literal["queued", "sending", "sent", "deferred", "failed", "cancelled"]
RecipientState = Literal["queued", "sent", "delivered", "deferred", "failed", "bounced", "cancelled"]
HopRoute = Literal["local", "smtp"]
OPEN = frozenset({"queued", "deferred"})
BUSY = frozenset({"claimed", "handing_over"})


class SendPolicy(msgspec.Struct, frozen=True):
    """The operator's settings of sending. hostname: ours, as trace lines name it. daily_limit: recipients of a mailbox
    in a UTC day, where it has no limit of its own. house: knows role addresses such as postmaster's."""

    hostname: str
    leases: LeasePolicy
    daily_limit: int = DAILY_LIMIT
    house: HouseAddresses | None = None

    def errand(self, address: Mailbox) -> Errand | None:
        """What a role address of ours is for; None for any other, and for return paths: what comes back to them comes
        from outside."""
        found = None if self.house is None else self.house.errand(address)
        return None if found is None or found.purpose == "return_path" else found


class Letter(msgspec.Struct, frozen=True):
    """A composed message and whom it goes to. Made outside of any transaction, since it may be large.

    content: RFC 5322 with CRLF, from the mailbox's own address, blind copies not named. message: what is to be read in
    it. recipients: the envelope, each once. send_at: not before then; None: at once.
    """

    attempt_id: SendAttemptId
    mailbox_id: MailboxId
    sender: str
    content: bytes
    message: FreshMessage
    recipients: tuple[tuple[Kind, Addressee], ...]
    send_at: datetime | None = None


class Rejected(msgspec.Struct, frozen=True):
    """A recipient that the message does not go to, and why.

    reason: suppressed, denied_domain, unknown_mailbox, mailbox_ended, mailbox_frozen or too_large.
    """

    address: str
    reason: str
    message: str


class Submitted(msgspec.Struct, frozen=True):
    """A message that has been taken over. accepted: the recipients it goes to, or has gone to already."""

    send_attempt_id: SendAttemptId
    submission_status: AttemptState
    message_id: MessageId
    thread_id: ThreadId
    accepted: list[str]
    rejected: list[Rejected]


class Place(msgspec.Struct, frozen=True):
    """A recipient as it enters the queue. route: None where nothing is left to do."""

    kind: Kind
    addressee: Addressee
    route: HopRoute | None
    state: RecipientState
    reply: tuple[int, str] | None = None


class LocalOutcome(msgspec.Struct, frozen=True):
    """What became of a local hop. open: recipients still to be tried; replies: code and text, as SMTP would say."""

    open: int
    replies: list[tuple[int, str]]


TAKEN = (250, "2.1.5 Delivered to the mailbox")
REPLIES: dict[Inbound, tuple[int, str]] = {
    Inbound.UNKNOWN: (550, "5.1.1 No such mailbox here"),
    Inbound.ENDED: (550, "5.2.1 This mailbox has ended"),
    Inbound.FROZEN: (550, "5.2.1 This mailbox is disabled"),
    Inbound.PAUSED: (450, "4.2.1 This mailbox is paused; tried again later"),
    Inbound.OVER_QUOTA: (452, "4.2.2 This mailbox has no room; tried again later"),
}
REFUSALS = {
    Inbound.UNKNOWN: "unknown_mailbox",
    Inbound.ENDED: "mailbox_ended",
    Inbound.FROZEN: "mailbox_frozen",
}


def attempt_state(recipients: Collection[str], hops: Collection[str]) -> AttemptState:
    """What an attempt is, from the states of its recipients and of its hops.

    While anybody is still to be tried: `sending` while a hop is being handed over or some have it already, `deferred`
    once a try has failed, else `queued`. Then `sent` if anybody got it, for each recipient says what became of it.
    """
    if not OPEN.isdisjoint(recipients):
        if not BUSY.isdisjoint(hops):
            return "sending"
        if "deferred" in recipients:
            return "deferred"
        return "queued" if OPEN.union({"cancelled"}).issuperset(recipients) else "sending"
    for states, outcome in (({"sent", "delivered"}, "sent"), ({"failed", "bounced"}, "failed")):
        if not states.isdisjoint(recipients):
            return outcome  # type: ignore[return-value]
    return "cancelled"


class Taken(Enum):
    """What became of a message's recipients. BOUND: the tenant has a wallet, so nothing is counted."""

    BOUND = "bound"
    COUNTED = "counted"
    REFUSED = "refused"


def live(sent_at: Sequence[datetime], at: datetime) -> list[datetime]:
    """Those of the moments (rising) that still count.

    Time never runs backwards here: a clock that was set back counts as standing still.
    """
    now = max([at, *sent_at[-1:]])
    return [moment for moment in sent_at if moment > now - WINDOW]


def free_at(sent_at: Sequence[datetime], recipients: int, at: datetime) -> datetime | None:
    """When a message to so many recipients fits, if nothing else is sent; `at` if it does now; None: it never will.

    sent_at: one moment for each recipient so far, in rising order.
    """
    if recipients > LIMIT:
        return None
    counting = live(sent_at, at)
    in_the_way = len(counting) + recipients - LIMIT
    return counting[in_the_way - 1] + WINDOW if in_the_way > 0 else at
