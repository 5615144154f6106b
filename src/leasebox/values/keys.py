"""Keys for one purpose each, derived from the master secret; beside them the previous master's, while it retires."""

from dataclasses import dataclass
from enum import StrEnum

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from leasebox.values.secret import Secret

KEY_BYTES = 32
LEAST_MASTER_CHARACTERS = 32  # 128 bits in hexadecimal; anything shorter was typed by a person


class Purpose(StrEnum):
    """What a key may be used for; part of its derivation, so that no key serves two ends."""

    PAYMENT_PROOF = "payment-proof"
    AUDIT_HEAD = "audit-head"
    KEPT_ANSWER = "kept-answer"
    DKIM_KEY = "dkim-key"
    RETURN_PATH = "return-path"
    WEBHOOK_SECRET = "webhook-secret"  # noqa: S105 - the name of a purpose
    # Seals and signs nothing: its id is the master secret's own name.
    MASTER = "master"


class WeakMaster(ValueError):
    """The master secret is too short to derive keys from."""


class AmbiguousKeys(ValueError):
    """Two different keys carry one id (1 in 2^32 by chance); choose another master secret."""


class DerivedKey:
    """32 bytes for one purpose and the id that names them in public. Redacted like a Secret."""

    __slots__ = ("_material", "kid")

    def __init__(self, kid: str, material: bytes) -> None:
        self.kid = kid
        self._material = material

    def reveal(self) -> bytes:
        """The key itself: for the primitive that uses it, and nobody else."""
        return self._material

    def __repr__(self) -> str:
        return f"DerivedKey({self.kid}, ***)"

    def __reduce__(self) -> str:
        raise TypeError("a DerivedKey is not pickled")


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The key to make new things with, and the retiring one that old things may still be checked with."""

    current: DerivedKey
    previous: DerivedKey | None = None

    def find(self, kid: str) -> DerivedKey | None:
        """The key of that id, if it is still good. Ids are public: no constant time is needed."""
        if kid == self.current.kid:
            return self.current
        if self.previous is not None and kid == self.previous.kid:
            return self.previous
        return None


def derive(master: Secret, purpose: Purpose) -> DerivedKey:
    """HKDF-SHA256 (RFC 5869), no salt, info naming the purpose; the id comes from a derivation of its own.

    Same master and purpose, same key: nothing has to be stored. Raises WeakMaster under 32 characters.
    """
    text = master.reveal()
    if len(text) < LEAST_MASTER_CHARACTERS:
        raise WeakMaster(f"the master secret needs at least {LEAST_MASTER_CHARACTERS} characters")
    material = text.encode()
    kid = _hkdf(material, f"leasebox/1/{purpose}/kid", 4)
    return DerivedKey(kid.hex(), _hkdf(material, f"leasebox/1/{purpose}/key", KEY_BYTES))


def ring(current: Secret, previous: Secret | None, purpose: Purpose) -> KeyRing:
    """The ring of a purpose. The same secret twice counts as one. Raises WeakMaster, AmbiguousKeys."""
    now = derive(current, purpose)
    if previous is None or previous == current:
        return KeyRing(now)
    before = derive(previous, purpose)
    if before.kid == now.kid:
        raise AmbiguousKeys(f"two keys named {now.kid}")
    return KeyRing(now, before)


def _hkdf(material: bytes, info: str, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info.encode()).derive(material)
