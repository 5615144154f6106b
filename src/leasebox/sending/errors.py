"""Refusals of sending."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from leasebox.sending.model import LIMIT
from leasebox.values.clock import rfc3339
from leasebox.values.errors import Conflict, Forbidden, Kind, LeaseboxError, RateLimited, TooLarge, Unprocessable


class CooldownLimit(LeaseboxError):
    """429: a tenant without a wallet has used up its recipients; nothing of the message was taken.

    retry_at: when this very message fits, if nothing else is sent before; null where it has too many recipients ever
    to fit, and then there is no Retry-After either.
    """

    kind = Kind.TOO_MANY_REQUESTS
    code = "cooldown_limit"
    fix = "Bind a wallet with POST /v2/tenants/wallets/challenge and POST /v2/tenants/wallets; that lifts it at once."

    def __init__(self, message: str, *, retry_at: datetime | None, retry_after_s: int | None) -> None:
        super().__init__(
            message,
            retry_after_s=retry_after_s,
            limit=LIMIT,
            window="24h",
            action="bind_wallet",
            retry_at=None if retry_at is None else rfc3339(retry_at),
        )


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong with a message. path: dotted, as `body.cc[1]`."""

    path: str
    message: str


class Unsendable(Unprocessable):
    """422: the message cannot go out as it was given; `errors` lists every fault."""

    fix = "Correct every field named in errors and send the message again."

    def __init__(self, faults: Sequence[Fault]) -> None:
        listed = "; ".join(f"{fault.path}: {fault.message}" for fault in faults[:5])
        super().__init__(f"The message has {len(faults)} fault(s): {listed}.", errors=list(faults))


class Unanswerable(Unprocessable):
    """422: whom a message names cannot all be answered, and the request has no `to` to correct."""

    fix = "Use POST /v2/messages/send with a `to` of yours, and the message's message_id as in_reply_to."


class TooManyOctets(TooLarge):
    """413: the attachments are too large together."""


class NobodyLeft(Unprocessable):
    """422: every recipient was refused; nothing was sent and nothing was counted. `rejected` says why for each."""

    fix = "Read `rejected`: lift a suppression with DELETE /v2/suppressions, or name other recipients."


class WrongPassword(Forbidden):
    """403: this is not the mailbox's password."""

    fix = "Use webmail_password of the lease, reset it, or leave mailbox_password out if your credential may send."


class MailboxFull(Unprocessable):
    """422: what a mailbox sends is kept in it, and it has no room left."""

    fix = "Delete messages with DELETE /v2/messages/{message_id}, then send again."


class DailyLimit(RateLimited):
    """429: the mailbox's daily_send_limit is used up; nothing of the message was taken.

    retry_at: when the next UTC day begins; null where the message has more recipients than a day's limit, and `fix`
    says nothing of waiting then.
    """

    reason = "daily_send_limit"
    fix = "Wait until retry_at, or send from another mailbox."


class NotCancellable(Conflict):
    """409: nothing of the attempt is still ours to take back."""

    fix = "Read the attempt: what another server has taken cannot be called back."
