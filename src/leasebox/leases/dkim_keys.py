"""Keys that mail is signed with (DKIM, RFC 6376; Ed25519 by RFC 8463): how they are made, kept sealed and published."""

import base64
import secrets
from datetime import datetime
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from leasebox.infra import seal as sealing
from leasebox.infra.seal import Place
from leasebox.values.keys import KeyRing

Algorithm = Literal["rsa-sha256", "ed25519-sha256"]
ALGORITHMS: tuple[Algorithm, ...] = ("rsa-sha256", "ed25519-sha256")
RSA_BITS = 2048  # RFC 8301 §3.2: what a verifier must take; a longer key's record outgrows one UDP answer
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_TAGS = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}


class SigningKey:
    """A private key and the selector that its public half is published under. Redacted; `reveal` gives PKCS #8 DER."""

    __slots__ = ("_private", "algorithm", "domain", "selector")

    def __init__(self, domain: str, selector: str, algorithm: Algorithm, private: bytes) -> None:
        self.domain = domain
        self.selector = selector
        self.algorithm = algorithm
        self._private = private

    def reveal(self) -> bytes:
        """The key itself, unencrypted PKCS #8 in DER: for whoever signs, and nobody else."""
        return self._private

    def load(self) -> RSAPrivateKey | Ed25519PrivateKey:
        """The key as `cryptography` uses it. We made it ourselves, so that it is sound is not proved again (20 ms)."""
        key = load_der_private_key(self._private, None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(key, RSAPrivateKey | Ed25519PrivateKey)
        return key

    def __repr__(self) -> str:
        return f"SigningKey({self.selector}._domainkey.{self.domain}, {self.algorithm}, ***)"

    def __reduce__(self) -> str:
        raise TypeError("a SigningKey is not pickled")


class PublicKey(msgspec.Struct, frozen=True):
    """What the DNS says of a key. key: base64, the `p=` tag. state: signing, waiting or retired."""

    selector: str
    algorithm: Algorithm
    state: str
    key: str
    retired_at: datetime | None

    @property
    def text(self) -> str:
        """The TXT record's text (RFC 6376 §3.6.1, RFC 8463 §4)."""
        return f"v=DKIM1; k={_TAGS[self.algorithm]}; p={self.key}"


class SealedKey(msgspec.Struct, frozen=True):
    """A key as the database keeps it: sealed with the key that `kid` names."""

    selector: str
    algorithm: Algorithm
    kid: str
    sealed: bytes
    public: str


def make_pair(domain: str) -> tuple[SigningKey, ...]:
    """A fresh RSA and a fresh Ed25519 key. Takes 20 to 100 ms of CPU, so call it off the event loop."""
    stem = "lb-" + "".join(secrets.choice(_LETTERS) for _ in range(8))
    made: tuple[tuple[Algorithm, RSAPrivateKey | Ed25519PrivateKey], ...] = (
        ("rsa-sha256", rsa.generate_private_key(65537, RSA_BITS)),
        ("ed25519-sha256", Ed25519PrivateKey.generate()),
    )
    return tuple(
        SigningKey(
            domain,
            f"{stem}-{_TAGS[algorithm]}",
            algorithm,
            key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        )
        for algorithm, key in made
    )


def seal(key: SigningKey, keys: KeyRing) -> SealedKey:
    """Under the ring's current key, bound to domain, selector and algorithm."""
    sealed = sealing.seal(keys, place_of(key.domain, key.selector, key.algorithm), key.reveal())
    return SealedKey(key.selector, key.algorithm, keys.current.kid, sealed, _public(key))


def opened(domain: str, kept: SealedKey, keys: KeyRing) -> SigningKey:
    """What `seal` was given. Raises CannotOpen where its key has left the ring, or the row was changed or moved."""
    raw = sealing.opened(keys, place_of(domain, kept.selector, kept.algorithm), kept.sealed, kept.kid)
    return SigningKey(domain, kept.selector, kept.algorithm, raw)


def place_of(domain: str, selector: str, algorithm: str) -> Place:
    """What a sealed key belongs to: in another row it cannot be opened."""
    parts = (domain.encode(), selector.encode(), algorithm.encode())
    return Place("dkim_keys", parts, b"\n".join(parts))


def _public(key: SigningKey) -> str:
    public = key.load().public_key()
    if key.algorithm == "rsa-sha256":
        raw = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(raw).decode()
