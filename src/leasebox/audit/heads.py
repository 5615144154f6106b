"""Signed heads: what we vouch for about a log at a size, in a form that other people's tools can check.

A head is a C2SP tlog-checkpoint, a signed note with an Ed25519 signature (RFC 8032): origin, size and root on a line
each, then the time of sealing as an extension line and, but for a log's first head, the digest of the head before it.
So heads are a chain as well: none can be taken out or changed without every later signature. Whoever keeps one can
later show that we rewrote what it covers.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from leasebox.audit import merkle
from leasebox.values.clock import rfc3339
from leasebox.values.keys import DerivedKey

MAX_NOTE_CHARACTERS = 4_096
_ED25519 = b"\x01"  # the signature type's byte in a note's key id and verifier key
_NAME = re.compile(r"[!-*,-~]{1,128}")  # visible ASCII without `+`, which a verifier key uses as separator
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{6})?Z")
_SIGNATURE = re.compile(r"— ([!-*,-~]{1,128}) ([A-Za-z0-9+/]{6,512}={0,2})")
_SEALED = "sealed_at "
_PREVIOUS = "previous "


class HeadFault(Enum):
    """Why a text is no head of ours; the value is a stable word for programs."""

    MALFORMED = "malformed"
    WRONG_ORIGIN = "wrong_origin"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"


class BadHead(ValueError):
    """A head that cannot be written down: its origin, size, root or time is out of form. A mistake of ours."""


@dataclass(frozen=True, slots=True)
class Head:
    """A log's size and root at a time. Raises BadHead for what a checkpoint cannot say.

    previous: the digest of the head before it; None for a log's first.
    """

    origin: str
    size: int
    root: bytes
    sealed_at: datetime
    previous: bytes | None = None

    def __post_init__(self) -> None:
        sized = 0 <= self.size <= merkle.MOST_LEAVES and len(self.root) == merkle.HASH_BYTES
        if not sized or self.sealed_at.tzinfo is None or not _NAME.fullmatch(self.origin):
            raise BadHead("a head has a name without spaces or '+', a size, 32 bytes of root and an aware time")
        if self.size == 0 and self.root != merkle.EMPTY_ROOT:
            raise BadHead("the root of nothing is the hash of nothing")
        if self.previous is not None and len(self.previous) != merkle.HASH_BYTES:
            raise BadHead("the head before is named by the 32 bytes of its digest")


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key under a log's name; `str()` gives the note verifier key, `name+0a1b2c3d+base64`."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a verifier key; None for anything else, a wrong key id included."""
        name, _, rest = text.partition("+")
        key_data = _decode(rest[9:])
        if not _NAME.fullmatch(name) or key_data is None or len(key_data) != 33 or not key_data.startswith(_ED25519):
            return None
        found = cls(name, key_data[1:])
        return found if str(found) == text else None

    @property
    def key_id(self) -> bytes:
        """Four bytes that name the key in a signature line (C2SP signed-note)."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def accepts(self, text: bytes, signature: bytes) -> bool:
        """Whether the signature over the text is this key's (RFC 8032). Never raises."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except (InvalidSignature, ValueError):
            return False
        return True

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_encode(_ED25519 + self.public)}"


class Signer:
    """The private half, seeded by a key derived for AUDIT_HEAD; same master secret, same signer."""

    __slots__ = ("_private", "verifier")

    def __init__(self, name: str, key: DerivedKey) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(key.reveal())
        self.verifier = Verifier(name, self._private.public_key().public_bytes_raw())

    def sign(self, head: Head) -> str:
        """The head as a signed note, ready to be exported. Raises BadHead if it is another log's."""
        if head.origin != self.verifier.name:
            raise BadHead("a log signs under its own name")
        text = encode(head)
        signature = _encode(self.verifier.key_id + self._private.sign(text.encode()))
        return f"{text}\n— {self.verifier.name} {signature}\n"


def encode(head: Head) -> str:
    """The bytes that are signed, canonical: one head, one text."""
    previous = f"{_PREVIOUS}{_encode(head.previous)}\n" if head.previous is not None else ""
    return f"{head.origin}\n{head.size}\n{_encode(head.root)}\n{_SEALED}{rfc3339(head.sealed_at)}\n{previous}"


def digest(note: str) -> bytes:
    """What the next head calls this one: SHA-256 of the whole note, signatures included."""
    return hashlib.sha256(note.encode()).digest()


def unchecked(note: str) -> Head | None:
    """What a note says, whoever signed it: for one that is vouched for otherwise, by the chain. Never raises."""
    text, between, _ = note[:MAX_NOTE_CHARACTERS].partition("\n\n")
    return _parse(text + "\n") if between else None


def read(note: str, trusted: Sequence[Verifier]) -> Head | HeadFault:
    """Read a signed note and check it: at least one trusted key signed it, and no trusted key's signature is wrong.

    Signatures of keys that are not trusted (witnesses) are passed over. Pure, bounded, never raises.
    """
    text, between, tail = note[: MAX_NOTE_CHARACTERS + 1].rpartition("\n\n")
    if not between or len(note) > MAX_NOTE_CHARACTERS:
        return HeadFault.MALFORMED
    text += "\n"
    head, signatures = _parse(text), _signatures(tail)
    if head is None or signatures is None:
        return HeadFault.MALFORMED
    return _check(head, text.encode(), signatures, trusted) or head


def extends(old: Head, new: Head, proof: Sequence[bytes]) -> bool:
    """Whether the new head's log begins with the old head's: same origin, and the consistency proof holds.

    A head of nothing is extended by every head of its log, with an empty proof. Never raises.
    """
    if old.origin != new.origin:
        return False
    if old.size == 0:
        return not proof
    return merkle.verify_consistency(old.size, new.size, old.root, new.root, proof)


def _check(
    head: Head, text: bytes, signatures: list[tuple[str, bytes]], trusted: Sequence[Verifier]
) -> HeadFault | None:
    known = {(key.name, key.key_id): key for key in trusted}
    checked = [(known.get((name, blob[:4])), blob[4:]) for name, blob in signatures]
    ours = [(key, signature) for key, signature in checked if key is not None]
    if not ours:
        return HeadFault.UNKNOWN_KEY
    if not all(key.accepts(text, signature) for key, signature in ours):
        return HeadFault.BAD_SIGNATURE
    return None if all(key.name == head.origin for key, _ in ours) else HeadFault.WRONG_ORIGIN


def _parse(text: str) -> Head | None:
    lines = text.split("\n")
    if len(lines) not in {5, 6} or not _SIZE.fullmatch(lines[1]) or not lines[3].startswith(_SEALED):
        return None
    root, sealed_at = _decode(lines[2]), lines[3].removeprefix(_SEALED)
    previous = _decode(lines[4].removeprefix(_PREVIOUS)) if len(lines) == 6 else None
    if root is None or not _TIME.fullmatch(sealed_at):
        return None
    try:
        head = Head(lines[0], int(lines[1]), root, datetime.fromisoformat(sealed_at), previous)
    except ValueError:  # BadHead, or a time like 25:61
        return None
    return head if encode(head) == text else None


def _signatures(tail: str) -> list[tuple[str, bytes]] | None:
    *lines, end = tail.split("\n")
    found = [_SIGNATURE.fullmatch(line) for line in lines]
    pairs = [(match[1], _decode(match[2])) for match in found if match is not None]
    sound = [(name, blob) for name, blob in pairs if blob is not None]
    return sound if lines and not end and len(sound) == len(lines) else None


def _encode(blob: bytes) -> str:
    return base64.b64encode(blob).decode()


def _decode(text: str) -> bytes | None:
    """Standard base64 (RFC 4648 §4), only the one canonical spelling."""
    try:
        blob = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return blob if _encode(blob) == text else None
