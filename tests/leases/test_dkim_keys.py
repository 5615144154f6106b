"""Keys of DKIM: made, sealed, opened by nobody else, published so that an independent verifier believes them."""

import base64
import pickle
import re

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from leasebox.infra.seal import CannotOpen
from leasebox.leases.dkim_keys import PublicKey, SealedKey, SigningKey, make_pair, opened, seal
from leasebox.values.keys import Purpose, ring
from leasebox.values.secret import Secret

DOMAIN = "acme.test"
KEYS = ring(Secret("a" * 40), None, Purpose.DKIM_KEY)
MAIL = b"From: a@acme.test\r\nTo: b@shop.example\r\nSubject: Hello\r\n\r\nHello.\r\n"


@pytest.fixture(scope="module")
def pair() -> tuple[SigningKey, ...]:
    return make_pair(DOMAIN)


def test_a_pair_has_one_of_each_algorithm_under_names_of_its_own(pair: tuple[SigningKey, ...]) -> None:
    rsa, ed25519 = pair
    assert (rsa.algorithm, ed25519.algorithm) == ("rsa-sha256", "ed25519-sha256")
    assert isinstance(ed25519.load(), Ed25519PrivateKey)
    loaded = rsa.load()
    assert isinstance(loaded, RSAPrivateKey)
    assert loaded.key_size == 2048
    stem = re.fullmatch(r"(lb-[a-z2-7]{8})-rsa", rsa.selector)
    assert stem is not None
    assert ed25519.selector == f"{stem[1]}-ed25519"
    assert make_pair(DOMAIN)[0].selector != rsa.selector


def test_a_pair_is_opened_as_it_was_sealed(pair: tuple[SigningKey, ...]) -> None:
    for key in pair:
        kept = seal(key, KEYS)
        assert key.reveal() not in kept.sealed
        again = opened(DOMAIN, kept, KEYS)
        assert (again.domain, again.selector, again.algorithm) == (DOMAIN, key.selector, key.algorithm)
        assert again.reveal() == key.reveal()
        assert seal(key, KEYS).sealed != kept.sealed, "a fresh nonce each time"


@pytest.mark.parametrize(
    "change",
    [
        {"selector": "lb-other-rsa"},
        {"algorithm": "ed25519-sha256"},
        {"sealed": b""},
        {"sealed": b"lbs1"},
        {"sealed": b"x" * 60},
    ],
    ids=["selector", "algorithm", "nothing", "cut", "noise"],
)
def test_a_row_that_was_changed_is_not_opened(pair: tuple[SigningKey, ...], change: dict[str, object]) -> None:
    kept = seal(pair[0], KEYS)
    fields = {name: getattr(kept, name) for name in SealedKey.__struct_fields__}
    with pytest.raises(CannotOpen):
        opened(DOMAIN, SealedKey(**{**fields, **change}), KEYS)


def test_nor_is_one_that_was_moved_to_another_domain(pair: tuple[SigningKey, ...]) -> None:
    with pytest.raises(CannotOpen, match="changed, or moved"):
        opened("other.test", seal(pair[0], KEYS), KEYS)


def test_the_previous_master_key_opens_until_it_leaves(pair: tuple[SigningKey, ...]) -> None:
    kept, first, second = seal(pair[1], KEYS), Secret("a" * 40), Secret("b" * 40)
    assert opened(DOMAIN, kept, ring(second, first, Purpose.DKIM_KEY)).reveal() == pair[1].reveal()
    for other in (ring(second, None, Purpose.DKIM_KEY), ring(first, None, Purpose.KEPT_ANSWER)):
        with pytest.raises(CannotOpen, match="neither the current nor the previous"):
            opened(DOMAIN, kept, other)


def test_what_was_sealed_before_there_were_forms_opens_still(pair: tuple[SigningKey, ...]) -> None:
    key, nonce = pair[1], bytes(12)
    bound = f"{DOMAIN}\n{key.selector}\n{key.algorithm}".encode()
    former = nonce + AESGCM(KEYS.current.reveal()).encrypt(nonce, key.reveal(), bound)
    kept = SealedKey(key.selector, key.algorithm, KEYS.current.kid, former, seal(key, KEYS).public)
    assert opened(DOMAIN, kept, KEYS).reveal() == key.reveal()


def test_a_key_is_shown_to_nobody(pair: tuple[SigningKey, ...]) -> None:
    for key in pair:
        assert "***" in repr(key)
        assert repr(key.reveal())[2:20] not in repr(key)
        with pytest.raises(TypeError):
            pickle.dumps(key)


def test_an_independent_verifier_believes_the_published_rsa_key(pair: tuple[SigningKey, ...]) -> None:
    loaded = pair[0].load()
    pem = loaded.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    header = dkim.sign(MAIL, pair[0].selector.encode(), DOMAIN.encode(), pem)
    asked = {f"{pair[0].selector}._domainkey.{DOMAIN}.": published(pair[0]).text.encode()}
    assert dkim.verify(header + MAIL, dnsfunc=lambda name, timeout=5: asked.get(name.decode()))
    other = published(make_pair(DOMAIN)[0]).text.encode()
    assert not dkim.verify(header + MAIL, dnsfunc=lambda name, timeout=5: other)


def test_an_ed25519_key_is_published_as_its_32_octets(pair: tuple[SigningKey, ...]) -> None:
    """RFC 8463 §4.2: not wrapped in a SubjectPublicKeyInfo, as RSA's is."""
    record = published(pair[1])
    assert record.text == f"v=DKIM1; k=ed25519; p={record.key}"
    raw = base64.b64decode(record.key, validate=True)
    assert len(raw) == 32
    loaded = pair[1].load()
    assert isinstance(loaded, Ed25519PrivateKey)
    Ed25519PublicKey.from_public_bytes(raw).verify(loaded.sign(MAIL), MAIL)


def published(key: SigningKey) -> PublicKey:
    return PublicKey(key.selector, key.algorithm, "signing", seal(key, KEYS).public, None)
