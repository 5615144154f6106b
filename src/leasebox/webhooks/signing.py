"""Signatures of Standard Webhooks (symmetric, `v1`), and the secrets behind them, sealed where they are stored."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from leasebox.values.ids import EventId, WebhookId
from leasebox.values.keys import KeyRing
from leasebox.values.secret import Secret
from leasebox.webhooks.errors import SecretRefused
from leasebox.webhooks.model import SealedSecret

PREFIX = "whsec_"
LEAST_BYTES, MOST_BYTES, OWN_BYTES = 24, 64, 32
_NONCE_BYTES = 12  # NIST SP 800-38D §8.2.2: random, 96 bits
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
    nonce, current = secrets.token_bytes(_NONCE_BYTES), keys.current
    sealed = AESGCM(current.reveal()).encrypt(nonce, secret.reveal().encode(), _place(webhook_id, number))
    return SealedSecret(number, current.kid, nonce + sealed)


def unseal(keys: KeyRing, webhook_id: WebhookId, stored: SealedSecret) -> Secret | None:
    """The secret again; None when the key has been retired since, or the row is not what we wrote."""
    key = keys.find(stored.kid)
    if key is None:
        return None
    nonce, sealed = stored.sealed[:_NONCE_BYTES], stored.sealed[_NONCE_BYTES:]
    try:
        return Secret(AESGCM(key.reveal()).decrypt(nonce, sealed, _place(webhook_id, stored.number)).decode())
    except InvalidTag:
        return None


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


def _place(webhook_id: WebhookId, number: int) -> bytes:
    return webhook_id.bytes + number.to_bytes(4)
