"""The secrets of a claim: how they look, and how the API key waits in the database until it is fetched.

It is sealed with a key that comes from the claim's token, of which we keep SHA-256 only: neither a copy of the
database nor our master key opens it.
"""

import re
import secrets

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from leasebox.infra import seal as sealing
from leasebox.infra.seal import CannotOpen, Place
from leasebox.leases.claims_model import ClaimId
from leasebox.values.keys import KEY_BYTES, DerivedKey, KeyRing
from leasebox.values.secret import Secret

_TOKEN = re.compile(r"lbc_[0-9a-f]{64}\Z")
_LINK = re.compile(r"[0-9a-f]{40}\Z")
_INFO = b"leasebox/1/claim-key"


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
    """The API key for whoever has the claim's token, bound to this claim."""
    return sealing.seal(_ring(token), _place(claim_id), key.reveal().encode())


def opened(sealed: bytes, token: Secret, claim_id: ClaimId) -> Secret | None:
    """What `seal` was given; None for another token or claim."""
    keys = _ring(token)
    try:
        return Secret(sealing.opened(keys, _place(claim_id), sealed, keys.current.kid).decode())
    except CannotOpen:
        return None


def _place(claim_id: ClaimId) -> Place:
    return Place("claims", (claim_id.bytes,), claim_id.bytes)


def _ring(token: Secret) -> KeyRing:
    # Not the plain SHA-256: that one is stored.
    kid, material = (_hkdf(token, info, size) for info, size in ((_INFO + b"/kid", 4), (_INFO, KEY_BYTES)))
    return KeyRing(DerivedKey(kid.hex(), material))


def _hkdf(token: Secret, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(token.reveal().encode())
