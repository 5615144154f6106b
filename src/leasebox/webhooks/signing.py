"""Signatures of Standard Webhooks (symmetric, `v1`), and the secrets behind them, sealed where they are stored."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from leasebox.infra import seal as sealing
from leasebox.infra.seal import Place
from leasebox.values.ids import EventId, WebhookId
from leasebox.values.keys import KeyRing
from leasebox.values.secret import Secret
from leasebox.webhooks.errors import SecretRefused
from leasebox.webhooks.model import SealedSecret

PREFIX = "whsec_"
LEAST_BYTES, MOST_BYTES, OWN_BYTES = 24, 64, 32
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}\Z")


def make_secret() -> Secret:
    """A fresh secret of 256 random bits."""
    return Secret(PREFIX + base64.b64encode(secrets.token_bytes(OWN_BYTES)).decode())


def given_secret(text: str) -> Secret:
    """A secret that its owner has chosen. Raises SecretRefused."""
    body = text.removeprefix(PREFIX)
    if text.startswith(PREFIX) and _BASE64.match(body):
        try:
            if LEAST_BYTES <= len(base64.b64decode(body, validate=True)) <= MOST_BYTES:
                return Secret(text)
        except binascii.Error:
            pass
    raise SecretRefused(f"A secret is {PREFIX} and the base64 of {LEAST_BYTES} to {MOST_BYTES} bytes.")


def seal(keys: KeyRing, webhook_id: WebhookId, number: int, secret: Secret) -> SealedSecret:
    """Encrypt a secret for its place in the table; elsewhere it cannot be opened."""
    sealed = sealing.seal(keys, place_of(webhook_id, number), secret.reveal().encode())
    return SealedSecret(number, keys.current.kid, sealed)


def unseal(keys: KeyRing, webhook_id: WebhookId, stored: SealedSecret) -> Secret:
    """The secret again. Raises CannotOpen when its key has been retired since, or the row is not what we wrote."""
    return Secret(sealing.opened(keys, place_of(webhook_id, stored.number), stored.sealed, stored.kid).decode())


def place_of(webhook_id: UUID, number: int) -> Place:
    """What a sealed secret belongs to: in another row it cannot be opened."""
    parts = (webhook_id.bytes, number.to_bytes(4))
    return Place("webhook_secrets", parts, b"".join(parts))


def headers(good: Sequence[Secret], event_id: EventId, at: datetime, body: bytes) -> dict[str, str]:
    """The three fields of Standard Webhooks: one signature a secret, so that a receiver may know either.

    The webhook-id is the event's: it is the same whenever and to whichever endpoint the event is sent, so that a
    receiver that has done with an id is done with the event.
    """
    stamp = str(int(at.timestamp()))
    signed = f"{event_id}.{stamp}.".encode() + body
    return {
        "webhook-id": str(event_id),
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(f"v1,{_mac(secret, signed)}" for secret in good),
    }


def _mac(secret: Secret, signed: bytes) -> str:
    key = base64.b64decode(secret.reveal().removeprefix(PREFIX))
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
