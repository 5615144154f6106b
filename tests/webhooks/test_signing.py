"""Signatures that others verify, and secrets that are of no use outside their place."""

import base64
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from standardwebhooks.webhooks import Webhook as StandardWebhook
from standardwebhooks.webhooks import WebhookVerificationError
from svix.webhooks import Webhook as SvixWebhook

from leasebox.infra.seal import CannotOpen
from leasebox.values.ids import EventId, WebhookId
from leasebox.values.keys import KeyRing, Purpose, derive, ring
from leasebox.values.secret import Secret
from leasebox.webhooks import signing
from leasebox.webhooks.errors import SecretRefused
from leasebox.webhooks.model import SealedSecret

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOOK, EVENT = WebhookId.new(AT), EventId.new(AT)
KEYS = ring(Secret("a" * 40), None, Purpose.WEBHOOK_SECRET)
# The example of the Standard Webhooks specification.
SPEC_SECRET = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
SPEC_BODY = b'{"test": 2432232314}'


def test_a_secret_is_256_random_bits_in_base64() -> None:
    made = [signing.make_secret().reveal() for _ in range(20)]
    assert len(set(made)) == 20
    assert {len(base64.b64decode(each.removeprefix("whsec_"), validate=True)) for each in made} == {32}


@pytest.mark.parametrize("length", [24, 25, 32, 63, 64])
def test_secrets_of_ones_own_have_24_to_64_bytes(length: int) -> None:
    text = "whsec_" + base64.b64encode(bytes(length)).decode()
    assert signing.given_secret(text).reveal() == text


@pytest.mark.parametrize(
    "text",
    [
        "", "whsec_", "secret", base64.b64encode(bytes(32)).decode(), "WHSEC_" + base64.b64encode(bytes(32)).decode(),
        "whsec_" + base64.b64encode(bytes(23)).decode(), "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_" + base64.b64encode(bytes(25)).decode().rstrip("="), "whsec_" + "-_" * 16, "whsec_" + "A" * 33,
        "whsec_" + base64.b64encode(bytes(32)).decode() + "\n", "whsec_ " + base64.b64encode(bytes(32)).decode(),
        "whsec_" + "ä" * 32,
    ],
    ids=range(13),
)  # fmt: skip
def test_other_secrets_are_refused(text: str) -> None:
    with pytest.raises(SecretRefused):
        signing.given_secret(text)


def test_what_we_sign_others_verify() -> None:
    now = datetime.now(UTC)
    for length in (24, 32, 64):
        secret = Secret("whsec_" + base64.b64encode(bytes(range(length))).decode())
        headers = signing.headers([secret], EVENT, now, SPEC_BODY)
        assert headers["webhook-id"] == str(EVENT)
        assert headers["webhook-timestamp"] == str(int(now.timestamp()))
        StandardWebhook(secret.reveal()).verify(SPEC_BODY, headers)
        SvixWebhook(secret.reveal()).verify(SPEC_BODY, headers)
        with pytest.raises(WebhookVerificationError):
            StandardWebhook(secret.reveal()).verify(SPEC_BODY + b" ", headers)


def test_the_signature_is_that_of_the_specification() -> None:
    at = datetime.fromtimestamp(1614265330, UTC)
    found = signing._mac(SPEC_SECRET, b"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330." + SPEC_BODY)
    assert found == "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    theirs = StandardWebhook(SPEC_SECRET.reveal()).sign(str(EVENT), at, SPEC_BODY.decode())
    assert signing.headers([SPEC_SECRET], EVENT, at, SPEC_BODY)["webhook-signature"] == theirs


def test_each_secret_signs_the_present_one_first() -> None:
    now, other = datetime.now(UTC), signing.make_secret()
    headers = signing.headers([other, SPEC_SECRET], EVENT, now, SPEC_BODY)
    first, second = headers["webhook-signature"].split(" ")
    assert first.startswith("v1,")
    assert second.startswith("v1,")
    StandardWebhook(other.reveal()).verify(SPEC_BODY, {**headers, "webhook-signature": first})
    StandardWebhook(SPEC_SECRET.reveal()).verify(SPEC_BODY, {**headers, "webhook-signature": second})


def test_a_sealed_secret_opens_in_its_place_only() -> None:
    stored = signing.seal(KEYS, HOOK, 1, SPEC_SECRET)
    assert b"MfKQ9r8G" not in stored.sealed
    assert signing.unseal(KEYS, HOOK, stored) == SPEC_SECRET
    assert signing.seal(KEYS, HOOK, 1, SPEC_SECRET).sealed != stored.sealed
    spoiled = stored.sealed[:-1] + bytes([stored.sealed[-1] ^ 1])
    for hook, moved in (
        (WebhookId.new(AT), stored),
        (HOOK, SealedSecret(2, stored.kid, stored.sealed)),
        (HOOK, SealedSecret(1, stored.kid, spoiled)),
    ):
        with pytest.raises(CannotOpen, match="changed, or moved"):
            signing.unseal(KEYS, hook, moved)


def test_the_previous_master_key_opens_and_another_does_not() -> None:
    stored = signing.seal(KEYS, HOOK, 1, SPEC_SECRET)
    changed = ring(Secret("b" * 40), Secret("a" * 40), Purpose.WEBHOOK_SECRET)
    assert signing.unseal(changed, HOOK, stored) == SPEC_SECRET
    assert signing.seal(changed, HOOK, 1, SPEC_SECRET).kid == changed.current.kid
    for other in (
        ring(Secret("b" * 40), None, Purpose.WEBHOOK_SECRET),
        KeyRing(derive(Secret("a" * 40), Purpose.KEPT_ANSWER)),
    ):
        with pytest.raises(CannotOpen, match=f"key {stored.kid}: it was sealed with a key that is neither"):
            signing.unseal(other, HOOK, stored)


def test_what_was_sealed_before_there_were_forms_opens_still() -> None:
    nonce = bytes(12)
    place = HOOK.bytes + (1).to_bytes(4)
    former = nonce + AESGCM(KEYS.current.reveal()).encrypt(nonce, SPEC_SECRET.reveal().encode(), place)
    assert signing.unseal(KEYS, HOOK, SealedSecret(1, KEYS.current.kid, former)) == SPEC_SECRET
