"""The secrets of a claim: how they look, and how the API key waits in the database until it is fetched.

It is sealed with a key that comes from the claim's token, of which we keep SHA-256 only: neither a copy of the
database nor our master key opens it.
"""

import re
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from leasebox.leases.claims_model import ClaimId
from leasebox.values.secret import Secret

_TOKEN = re.compile(r"lbc_[0-9a-f]{64}\Z")
_LINK = re.compile(r"[0-9a-f]{40}\Z")
_NONCE_BYTES = 12  # NIST SP 800-38D §8.2.2: random, 96 bits


def new_token() -> Secret:
    """`lbc_` and 256 random bits: what the program that asked shows to learn the outcome."""
    return Secret(f"lbc_{secrets.token_hex(32)}")


def new_link() -> Secret:
    """160 random bits for the approval page's address, in the small letters that paths here are made of."""
    return Secret(secrets.token_hex(20))


def is_token(text: str) -> bool:
    """Whether the text can be a claim's token at all."""
    return _TOKEN.match(text) is not None


def is_link(text: str) -> bool:
    """Whether the text can be the end of an approval page's address at all."""
    return _LINK.match(text) is not None


def seal(key: Secret, token: Secret, claim_id: ClaimId) -> bytes:
    """The API key for whoever has the claim's token: AES-256-GCM, bound to this claim."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(_derived(token)).encrypt(nonce, key.reveal().encode(), claim_id.bytes)


def opened(sealed: bytes, token: Secret, claim_id: ClaimId) -> Secret | None:
    """What `seal` was given; None for another token or claim."""
    try:
        raw = AESGCM(_derived(token)).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], claim_id.bytes)
    except InvalidTag:
        return None
    return Secret(raw.decode())


def _derived(token: Secret) -> bytes:
    # Not the plain SHA-256: that one is stored.
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"leasebox/1/claim-key").derive(token.reveal().encode())
