"""Frozen words of webhooks, and how a lane goes on after a try: the schedule, the circuit, the end of patience."""

import email.utils
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from leasebox.infra.fetch import TIMEOUT_S, Reply
from leasebox.values.ids import DeliveryId, EventId, LeaseId, MailboxId, TenantId, WebhookId

Status = Literal["enabled", "disabled"]
State = Literal["pending", "delivering", "succeeded", "failed", "dead"]
DisabledReason = Literal["by_caller", "by_operator", "gone", "failing"]
ALL_TYPES = "*"
WEBHOOK_TEST = "webhook.test"
# Short form: what `webhook_url` of a mailbox tells.
MAILBOX_TYPES = ("message.received", "otp.extracted", "message.sent", "message.delivered", "message.bounced")

_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)
# Before each try, counted from the end of the one before (contract §7).
SCHEDULE: tuple[timedelta, ...] = (
    timedelta(0),
    timedelta(seconds=5),
    5 * _MINUTE,
    30 * _MINUTE,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)
PATIENCE = timedelta(days=5)
# Failures that lie further apart than this, with nothing between them, are not one spell of failing.
_SPELL_GAP = timedelta(hours=36)
LONGEST_WISH = timedelta(hours=24)
# A claim outlives the try and the writing down of how it went; after a crash this passes before the next try.
CLAIM = timedelta(seconds=TIMEOUT_S + 10)
OLD_SECRET = timedelta(hours=24)
MOST_ENDPOINTS = 100
MOST_LIVE_SECRETS = 5
MOST_REPLAYED = 10_000
LONGEST_REPLAY = timedelta(days=31)
DELIVERIES_KEPT = timedelta(days=30)

# Tries at once: of an endpoint that works, of one that has not shown yet that it does, of one that fails.
WIDTH_PROVEN, WIDTH_NEW, WIDTH_FAILING = 16, 4, 1
_RESTS_AFTER = 3
_REST, _LONGEST_REST = timedelta(seconds=5), timedelta(seconds=60)


class Webhook(msgspec.Struct, frozen=True):
    """An endpoint. mailbox_ids None: facts of all mailboxes and of none. mailbox_id: whose `webhook_url` it is."""

    webhook_id: WebhookId
    tenant_id: TenantId
    target_url: str
    event_types: tuple[str, ...]
    mailbox_ids: tuple[MailboxId, ...] | None
    mailbox_id: MailboxId | None
    status: Status
    disabled_reason: DisabledReason | None
    disabled_at: datetime | None
    created_at: datetime


class WebhookOrder(msgspec.Struct, frozen=True):
    """The endpoint that somebody asks for."""

    target_url: str
    event_types: tuple[str, ...]
    mailbox_ids: tuple[MailboxId, ...] | None


class Delivery(msgspec.Struct, frozen=True):
    """One fact on its way to one endpoint. attempts: how many were made; last_*: how the latest ended."""

    delivery_id: DeliveryId
    tenant_id: TenantId
    webhook_id: WebhookId
    event_id: EventId
    event_type: str
    state: State
    attempts: int
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    last_status_code: int | None
    last_error: str | None


class DeliveryFilter(msgspec.Struct, frozen=True):
    """Which deliveries are wanted: each criterion that is not None narrows it. within: mailboxes of a limited key."""

    tenant_id: TenantId | None
    within: Sequence[MailboxId] | None = None
    webhook_id: WebhookId | None = None
    state: str | None = None
    event_type: str | None = None
    delivery_id: DeliveryId | None = None


class Attempt(msgspec.Struct, frozen=True):
    """One HTTP try. took_ms None: the process that tried did not live to tell how it went."""

    number: int
    at: datetime
    took_ms: int | None
    status_code: int | None
    error: str | None


class SealedSecret(msgspec.Struct, frozen=True):
    """A signing secret as it is stored: encrypted with the key that `kid` names, good in this place only."""

    number: int
    kid: str
    sealed: bytes


class Claimed(msgspec.Struct, frozen=True):
    """A delivery that this process tries now. attempt: the try's number; step: how many of the schedule have failed.

    mailbox_id, lease_id, payload, happened_at: of the fact. made_at: when the delivery was. secrets: sealed, the
    present one first. is_slow: whether the endpoint has been of late; has_more: whether more is due there than was
    taken; is_cut: because places were shared, so that the next claim may take it.
    """

    delivery_id: DeliveryId
    tenant_id: TenantId
    webhook_id: WebhookId
    event_id: EventId
    event_type: str
    attempt: int
    step: int
    target_url: str
    mailbox_id: MailboxId | None
    lease_id: LeaseId | None
    payload: dict[str, Any]
    happened_at: datetime
    made_at: datetime
    secrets: tuple[SealedSecret, ...]
    is_slow: bool
    has_more: bool
    is_cut: bool


class Tried(msgspec.Struct, frozen=True):
    """How a try went. error: a word, where there is no status."""

    delivery: Claimed
    at: datetime
    took_ms: int
    status_code: int | None
    error: str | None
    retry_after: str | None

    @property
    def has_succeeded(self) -> bool:
        """A status of 2xx; nothing else will do, redirects neither."""
        return self.status_code is not None and 200 <= self.status_code < 300

    @property
    def is_gone(self) -> bool:
        """The receiver wants no more (410)."""
        return self.status_code == 410


class Lane(msgspec.Struct, frozen=True):
    """How an endpoint has fared. failures: since the last success, the first of them at failing_since.

    pace_ms: how long its tries take; None before the first.
    """

    webhook_id: WebhookId
    failures: int = 0
    failing_since: datetime | None = None
    failed_at: datetime | None = None
    succeeded_at: datetime | None = None
    resting_until: datetime | None = None
    pace_ms: int | None = None


def tried(delivery: Claimed, began: datetime, reply: Reply) -> Tried:
    """What a reply means to a delivery."""
    return Tried(delivery, began, round(reply.took_s * 1000), reply.status, reply.fault, reply.retry_after)


def next_try(one: Tried, at: datetime) -> datetime | None:
    """When a delivery whose try failed at `at` is tried again; None: never, by itself.

    A receiver that is busy (429, 503) may ask for more time than the schedule gives, up to a day.
    """
    step = one.delivery.step + 1
    if step >= len(SCHEDULE):
        return None
    wish = timedelta(0)
    if one.status_code in (429, 503) and one.retry_after is not None:
        wish = min(_wished(one.retry_after, at), LONGEST_WISH)
    return at + max(SCHEDULE[step], wish)


def paced(before: Lane, after: Lane, took_ms: int) -> Lane:
    """The lane with how long tries take: this one, or half of what it was, so that one quick answer hides nothing."""
    return msgspec.structs.replace(after, pace_ms=max(took_ms, (before.pace_ms or 0) // 2))


def after_success(lane: Lane, at: datetime) -> Lane:
    """The circuit is closed."""
    return Lane(lane.webhook_id, succeeded_at=at)


def after_failure(lane: Lane, at: datetime) -> Lane:
    """From the third failure on the lane rests between tries: 5 s, 10 s, 20 s … at most a minute.

    What fails while it rests was under way before, and opens the circuit no further.
    """
    is_spell = lane.failing_since is not None and lane.failed_at is not None and at - lane.failed_at <= _SPELL_GAP
    since = lane.failing_since if is_spell else at
    failures, rest = lane.failures, lane.resting_until
    if rest is None or rest <= at:
        failures += 1
        waits = _REST * 2 ** min(max(failures - _RESTS_AFTER, 0), 10)
        rest = at + min(waits, _LONGEST_REST) if failures >= _RESTS_AFTER else None
    return Lane(lane.webhook_id, failures, since, at, lane.succeeded_at, rest)


def is_out_of_patience(lane: Lane, at: datetime) -> bool:
    """Whether nothing but failures has come from the endpoint for five days."""
    return lane.failing_since is not None and at - lane.failing_since >= PATIENCE


def _wished(text: str, at: datetime) -> timedelta:
    """Retry-After: seconds or a date (RFC 9110 §10.2.3); nothing where it is neither."""
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text), 10**7))
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return timedelta(0)
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(aware - at, timedelta(0))
