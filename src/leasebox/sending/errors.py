"""Refusals of sending."""

from datetime import datetime

from leasebox.sending.model import LIMIT
from leasebox.values.clock import rfc3339
from leasebox.values.errors import Kind, LeaseboxError


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
