"""What a lease is, how it may change, and the settings of leasing."""

import re
import secrets
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from leasebox.leases.errors import LeaseEnded, MailboxFrozen, MailboxPaused, NameRefused
from leasebox.values.ids import AgentId, LeaseId, MailboxId, TenantId
from leasebox.values.secret import Secret

Status = Literal["active", "paused", "frozen", "released", "expired"]
MAX_TTL_HOURS = 720
ENDED = ("released", "expired")
_WARNING = timedelta(minutes=5)
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?\Z")
# RFC 2142's role names, and names that a person would take for the operator's.
RESERVED = frozenset(
    "abuse admin administrator billing bounce bounces complaints contact daemon dmarc fbl ftp help hostmaster info "
    "leasebox mail mailer-daemon marketing news no-reply noc noreply null nobody operator owner postmaster root "
    "sales security spam ssl-admin ssladmin ssladministrator staff support sysadmin system tls-admin usenet "
    "uucp webmaster www".split()
)
# Names that we send under at every domain. All others are a tenant's at its own domain: there nobody takes it for the
# operator, and `postmaster` is its duty (RFC 5321 §4.5.1).
RESERVED_EVERYWHERE = frozenset("bounce bounces mailer-daemon".split())
# 32 letters and digits that are hard to mistake for one another.
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_LETTER_OF_BYTE = _ALPHABET.encode() * 8


class LeasePolicy(msgspec.Struct, frozen=True):
    """The operator's settings. Sizes in bytes; the first of `domains` is the default one."""

    domains: tuple[str, ...]
    retention: timedelta
    name_hold: timedelta
    quota_bytes: int
    quota_messages: int


class Doors(msgspec.Struct, frozen=True):
    """Where a mailbox's own credentials are good, as told to its lessee."""

    webmail_url: str | None
    smtp: dict[str, Any] | None
    imap: dict[str, Any] | None


class LeaseOrder(msgspec.Struct, frozen=True):
    """The lease that somebody asks for. local_part None: generate one."""

    agent_id: AgentId
    purpose: str
    ttl_hours: int
    local_part: str | None
    domain: str
    metadata: dict[str, Any]


class Lease(msgspec.Struct, frozen=True):
    """The timed right to a mailbox. used_bytes, used_messages: what its mail takes of the quota."""

    lease_id: LeaseId
    tenant_id: TenantId
    mailbox_id: MailboxId
    agent_id: AgentId
    address: str
    purpose: str
    metadata: dict[str, Any]
    state: str
    frozen_at: datetime | None
    started_at: datetime
    expires_at: datetime
    released_at: datetime | None
    used_bytes: int
    used_messages: int

    def status(self, at: datetime) -> Status:
        """What the lease is at a moment: the clock ends it, no job does."""
        if self.state == "released":
            return "released"
        if self.expires_at <= at:
            return "expired"
        if self.frozen_at is not None:
            return "frozen"
        return "paused" if self.state == "paused" else "active"

    def require_active(self, at: datetime) -> None:
        """Raises LeaseEnded (410), MailboxFrozen or MailboxPaused (403)."""
        match self.status(at):
            case "released" | "expired" as status:
                raise LeaseEnded(f"The lease has ended ({status}).", lease_status=status)
            case "frozen":
                self.require_unfrozen()
            case "paused":
                raise MailboxPaused("The mailbox is paused.")

    def require_unfrozen(self) -> None:
        """Raises MailboxFrozen (403), also for a frozen lease that has ended."""
        if self.frozen_at is not None:
            raise MailboxFrozen("The mailbox was frozen by an operator.")


class SendCounters(msgspec.Struct, frozen=True):
    """What a mailbox has sent, in recipients. daily_send_limit: in force now. sends_today: in this UTC day."""

    daily_send_limit: int
    sends_today: int
    total_sent: int
    bounce_count: int
    complaint_count: int


class Granted(msgspec.Struct, frozen=True):
    """A fresh lease and its password, which is shown this once."""

    lease: Lease
    password: Secret


class Mailbox(msgspec.Struct, frozen=True):
    """The place, with the latest lease to it."""

    mailbox_id: MailboxId
    address: str
    display_name: str | None
    metadata: dict[str, Any]
    created_at: datetime
    erased_at: datetime | None
    lease: Lease


def expiring_at(since: datetime, until: datetime) -> datetime:
    """When a lease from `since` to `until` is about to end: after 9/10 of it, but at most 5 minutes before its end."""
    return until - min((until - since) / 10, _WARNING)


def name_of(text: str, reserved: frozenset[str] = RESERVED) -> str:
    """A chosen local part in its one spelling. Raises NameRefused (422)."""
    # Only ASCII is lowered: the Kelvin sign would become a k.
    name = text.lower() if text.isascii() else text
    if not _NAME.match(name):
        raise NameRefused("A name is 1 to 40 of a-z, 0-9 and hyphen, with no hyphen at either end.")
    if name in reserved:
        raise NameRefused(f"The name {name} is reserved.", fix="Choose another name, or leave local_part out.")
    return name


def generate_name() -> str:
    """A readable, unguessable local part: `quiet-otter-` and 45 random bits more in nine characters."""
    return f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_NOUNS)}-{_letters(9)}"


def generate_password() -> Secret:
    """A password for webmail, SMTP and IMAP: 120 random bits, typed without mistakes."""
    text = _letters(24)
    return Secret(f"{text[:6]}-{text[6:12]}-{text[12:18]}-{text[18:]}")


def _letters(count: int) -> str:
    # Of the 256 bytes, eight stand for each letter: none is likelier than another.
    return secrets.token_bytes(count).translate(_LETTER_OF_BYTE).decode()


_ADJECTIVES = (
    "amber brave brisk calm clear coral crisp dapper eager early fair fleet gentle glad golden green keen kind lively "
    "lucid lunar mellow merry mild neat noble olive pale plain proud quick quiet rapid round ruby sharp silver smooth "
    "snowy solar spry stark still sunny swift teal tidy vivid warm wise"
).split()
_NOUNS = (
    "badger beacon birch brook canyon cedar comet coral crane delta dune ember falcon fern finch fjord forest fox "
    "glade harbor heron hill island ivy lake lark leaf lynx maple marsh meadow moon moss otter owl panda pebble pine "
    "prairie quartz raven reef ridge river robin sparrow spruce star stone stream summit swan thicket tiger trail "
    "valley willow"
).split()
