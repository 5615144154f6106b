"""Payment proofs: single-use evidence, good for 120 s, that a tenant accepted a quote for one call of one route.

    v1.<kid>.<payload>.<mac>

payload: canonical base64url (RFC 4648 §5, no padding) of nine fields, each after its length in two bytes, big-endian:
tenant (16 bytes), method, path, meter, amount in micros (8), price version (4), issued and expires in Unix
microseconds (8 each), proof id (16). mac: HMAC-SHA256 (RFC 2104), likewise encoded, over the name of this format, the
kid, each with its length, and the payload's bytes. That a proof works once is the store's matter, not this file's.
"""

import hmac
import re
import struct
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Self

from leasebox.billing.prices import Meter
from leasebox.values.ids import Id, TenantId
from leasebox.values.keys import DerivedKey, KeyRing
from leasebox.values.money import MOST_MICROS, Usdc
from leasebox.values.paths import Route, normalize
from leasebox.values.secret import Secret

LIFETIME = timedelta(seconds=120)
CLOCK_SKEW = timedelta(seconds=5)
"""How far another of our machines' clocks may run ahead of the one that verifies."""
MAX_CHARACTERS = 1_016  # of a proof's text: what _TEXT admits

_FORMAT = b"\x00\x18leasebox-payment-proof/1"  # after its length, like every field
_TEXT = re.compile(r"v1\.([0-9a-f]{8})\.([A-Za-z0-9_-]{1,960})\.([A-Za-z0-9_-]{43})")
_TO_URL, _FROM_URL = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_", b"+/")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_LAST_LETTERS = (_LETTERS, "", _LETTERS[::16], _LETTERS[::4])  # by the length's remainder of 4
_LENGTH = struct.Struct(">H")
_TENANT = struct.Struct(">H16s")
_TAIL = struct.Struct(">HQHIHQHQH16s")  # amount, price version, issued, expires, id: each after its constant length
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LIFETIME_MICROS = LIFETIME // _MICROSECOND
_MOST_VERSION = 2**31 - 1
_METERS = {meter.value: meter for meter in Meter}


class ProofId(Id):
    prefix = "prf"


class ProofFault(Enum):
    """Why a proof opens nothing; the value is the reason shown in 402 `invalid_payment_proof`."""

    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown_key"
    BAD_MAC = "bad_mac"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    FOREIGN_TENANT = "foreign_tenant"
    WRONG_METHOD = "wrong_method"
    WRONG_PATH = "wrong_path"


class UnsignableClaims(ValueError):
    """Claims that no verifier would take: route not canonical, amount below zero, times out of order. Ours to mend."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a proof says. Times are aware UTC; the amount is what the one call costs."""

    proof_id: ProofId
    tenant: TenantId
    method: str
    path: str
    meter: Meter
    amount: Usdc
    price_version: int
    issued_at: datetime
    expires_at: datetime

    @classmethod
    def issue(
        cls, tenant: TenantId, route: Route, *, meter: Meter, amount: Usdc, price_version: int, now: datetime
    ) -> Self:
        """Fresh claims: a new id, good from now for LIFETIME."""
        at = now.astimezone(UTC)
        return cls(ProofId.new(at), tenant, route.method, route.path, meter, amount, price_version, at, at + LIFETIME)


def sign(claims: Claims, key: DerivedKey) -> Secret:
    """The proof's text, at most MAX_CHARACTERS of ASCII. Raises UnsignableClaims."""
    issued, expires = _unix_micros(claims.issued_at), _unix_micros(claims.expires_at)
    micros, version = claims.amount.micros, claims.price_version
    if not _in_range(micros, version, issued, expires) or not _canonical(claims.method, claims.path):
        raise UnsignableClaims("route, amount, version or times are not what a proof can say")
    payload = b"".join(
        (
            _TENANT.pack(16, claims.tenant.bytes),
            _prefixed(claims.method.encode()),
            _prefixed(claims.path.encode()),
            _prefixed(claims.meter.value.encode()),
            _TAIL.pack(8, micros, 4, version, 8, issued, 8, expires, 16, claims.proof_id.bytes),
        )
    )
    return Secret(f"v1.{key.kid}.{_encode(payload)}.{_encode(_mac(key, payload))}")


def verify(text: str, keys: KeyRing, now: datetime) -> Claims | ProofFault:
    """Read a proof and check key, mac and time: good while issued_at - CLOCK_SKEW <= now < expires_at.

    Whether it is for this caller and call is `bound_to`'s to say. Pure, bounded, never raises for any text.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        return ProofFault.MALFORMED
    payload, mac = _decode(match[2]), _decode(match[3])
    if payload is None or mac is None:
        return ProofFault.MALFORMED
    key = keys.find(match[1])
    if key is None:
        return ProofFault.UNKNOWN_KEY
    if not hmac.compare_digest(_mac(key, payload), mac):
        return ProofFault.BAD_MAC
    claims = _parse(payload)
    if claims is None:
        return ProofFault.MALFORMED
    return _fault_in_time(claims, now) or claims


def bound_to(claims: Claims, tenant: TenantId, method: str, path: str) -> ProofFault | None:
    """None if the claims are for this tenant's call of this route, else what differs.

    Method and path are a Route's, as `normalize` gave them: any other spelling differs, and so is refused.
    """
    if claims.tenant != tenant:
        return ProofFault.FOREIGN_TENANT
    if claims.method != method:
        return ProofFault.WRONG_METHOD
    return None if claims.path == path else ProofFault.WRONG_PATH


def _fault_in_time(claims: Claims, now: datetime) -> ProofFault | None:
    if now < claims.issued_at - CLOCK_SKEW:
        return ProofFault.NOT_YET_VALID
    return ProofFault.EXPIRED if now >= claims.expires_at else None


def _parse(payload: bytes) -> Claims | None:
    """Claims from the bytes that the mac vouches for; None if our own key signed something else than claims."""
    words = _middle(payload)
    if words is None:
        return None
    method, path, meter = words
    tail = _TAIL.unpack(payload[-_TAIL.size :])
    micros, version, issued, expires = tail[1:9:2]
    found = _METERS.get(meter)
    if found is None or tail[::2] != (8, 4, 8, 8, 16) or not _in_range(micros, version, issued, expires):
        return None
    if not _canonical(method, path):
        return None
    return Claims(
        ProofId(int=int.from_bytes(tail[9])),
        TenantId(int=int.from_bytes(payload[2:18])),
        method,
        path,
        found,
        Usdc(micros),
        version,
        _moment(issued),
        _moment(expires),
    )


def _middle(payload: bytes) -> tuple[str, str, str] | None:
    """Method, path and meter, which lie between the fixed fields and must fill that space exactly."""
    end = len(payload) - _TAIL.size
    if end < _TENANT.size or payload[:2] != b"\x00\x10":
        return None
    method_at = _TENANT.size + 2
    path_at = method_at + int.from_bytes(payload[method_at - 2 : method_at]) + 2
    meter_at = path_at + int.from_bytes(payload[path_at - 2 : path_at]) + 2
    meter_end = meter_at + int.from_bytes(payload[meter_at - 2 : meter_at])
    if meter_end != end or not payload[method_at:end].isascii():
        return None
    text = payload[:end].decode("latin-1")
    return text[method_at : path_at - 2], text[path_at : meter_at - 2], text[meter_at:end]


def _in_range(micros: int, version: int, issued: int, expires: int) -> bool:
    ordered = 0 <= issued < expires <= issued + _LIFETIME_MICROS and expires <= _LATEST
    return ordered and 0 <= micros <= MOST_MICROS and 1 <= version <= _MOST_VERSION


def _canonical(method: str, path: str) -> bool:
    route = normalize(method, path)
    return isinstance(route, Route) and route.path == path  # a query would have been cut off


def _mac(key: DerivedKey, payload: bytes) -> bytes:
    return hmac.digest(key.reveal(), _FORMAT + _prefixed(key.kid.encode()) + payload, "sha256")


def _prefixed(field: bytes) -> bytes:
    return _LENGTH.pack(len(field)) + field


def _unix_micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment(unix_micros: int) -> datetime:
    return _EPOCH + timedelta(0, 0, unix_micros)


def _encode(blob: bytes) -> str:
    return b2a_base64(blob, newline=False).rstrip(b"=").translate(_TO_URL).decode()


def _decode(text: str) -> bytes | None:
    """Bytes from letters of the alphabet; None where the last letter has bits to spare and sets them, or stands alone.

    Such a letter would be a second spelling of the same bytes (RFC 4648 §3.5).
    """
    if text[-1] not in _LAST_LETTERS[len(text) % 4]:
        return None
    return a2b_base64(text.encode().translate(_FROM_URL) + b"==")
