"""Sealing of what we must keep and use again: AES-256-GCM, bound to the one row that it stands in.

Sealed bytes, form 1: `lbs1`, the key's id (4), nonce (12), ciphertext and tag. The head is authenticated with the
place, so neither the id nor the row can be exchanged. Form 0, of before, is the nonce and what follows; its key's id
stands in a column beside it. Form 1 is written, both are read.
"""

import secrets
from enum import Enum
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from leasebox.values.keys import KeyRing

FORM = b"lbs1"
_HEAD_BYTES = 8
_NONCE_BYTES = 12  # NIST SP 800-38D §8.2.2: random, 96 bits


class Place(NamedTuple):
    """Where sealed bytes belong: table and key of the row. former: what form 0 of this table was bound to."""

    table: str
    row: tuple[bytes, ...]
    former: bytes


class SealFault(Enum):
    """Why sealed bytes stay closed; the value says it to the operator."""

    UNKNOWN_KEY = "it was sealed with a key that is neither the current nor the previous one"
    NOT_OURS = "it is not what was sealed for this row: it was changed, or moved here"


class CannotOpen(ValueError):
    """Sealed bytes that this process cannot open; the text names table, key and reason, never what is inside."""

    def __init__(self, place: Place, kid: str, why: SealFault) -> None:
        super().__init__(f"{place.table}, key {kid}: {why.value}")
        self.why = why


def seal(keys: KeyRing, place: Place, clear: bytes) -> bytes:
    """Encrypt for this place under the current key; nobody opens it elsewhere."""
    head = FORM + bytes.fromhex(keys.current.kid)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return head + nonce + AESGCM(keys.current.reveal()).encrypt(nonce, clear, _bound(head, place))


def opened(keys: KeyRing, place: Place, sealed: bytes, kid: str) -> bytes:
    """What was sealed for this place. kid: of the column, which counts for form 0 only. Raises CannotOpen."""
    head, rest, bound = b"", sealed, place.former
    # A nonce of form 0 begins like this once in 2^32 rows.
    if sealed.startswith(FORM):
        head, rest = sealed[:_HEAD_BYTES], sealed[_HEAD_BYTES:]
        kid, bound = head[len(FORM) :].hex(), _bound(head, place)
    key = keys.find(kid)
    if key is None:
        raise CannotOpen(place, kid, SealFault.UNKNOWN_KEY)
    try:
        return AESGCM(key.reveal()).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], bound)
    except (InvalidTag, ValueError):  # the latter for what is too short to hold a nonce
        raise CannotOpen(place, kid, SealFault.NOT_OURS) from None


def _bound(head: bytes, place: Place) -> bytes:
    """Length-prefixed, so that no two places are bound alike."""
    parts = (place.table.encode(), *place.row)
    return head + b"".join(len(part).to_bytes(4) + part for part in parts)
