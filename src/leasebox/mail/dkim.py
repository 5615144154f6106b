"""DKIM signatures verified (RFC 6376, Ed25519 of RFC 8463, key rules of RFC 8301). Linear in the mail, never raising.

Our own rather than dkimpy's verifier, which needs a second cryptography library for Ed25519 and believes `l=`.
dkimpy signs in the tests, so the two check each other.
"""

import base64
import binascii
import hashlib
import re
from datetime import datetime
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from leasebox.infra.lookups import LookupFailed, Resolver
from leasebox.mail.mime_bounds import HEADER_BYTES, HEADERS

SIGNATURES: Final = 5
"""Signatures of one mail that are judged, from the top."""
_KEY_BITS: Final = range(1024, 8193)
_SIGNATURE_BYTES: Final = 16 * 1024
_NAMES_SIGNED: Final = 200
_EMPTIED_B: Final = re.compile(rb"((?:^|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*")
_BLANKS: Final = re.compile(rb"[ \t\r\n]+")
_DOMAIN: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_-]{1,63})+")
_TAG: Final = re.compile(rb"[A-Za-z][A-Za-z0-9_]{0,31}")
_REQUIRED: Final = ("v", "a", "b", "bh", "d", "h", "s")
# RFC 8601 §2.7.1: what tells most comes first when several signatures disagree.
_ORDER: Final = ("pass", "temperror", "policy", "fail", "permerror", "neutral")

Headers = list[tuple[bytes, bytes]]


class Verdict(NamedTuple):
    """One signature's RFC 8601 result word, and the domain (lower case) that it speaks for, "" if none can be told."""

    result: str
    domain: str


class _Judged(Exception):
    """Ends the judging of one signature with a result word."""

    def __init__(self, result: str) -> None:
        super().__init__(result)
        self.result = result


def verify(raw: bytes, resolver: Resolver, at: datetime | None) -> tuple[Verdict, ...]:
    """A verdict for each of the first SIGNATURES signatures, in order; expiry is judged at `at`, if given."""
    headers, body = _split(raw)
    found = [place for place, (name, _) in enumerate(headers) if name.strip().lower() == b"dkim-signature"]
    bodies = _Bodies(body)
    return tuple(_judge(headers, place, bodies, resolver, at) for place in found[:SIGNATURES])


def summary(verdicts: tuple[Verdict, ...]) -> str:
    """One RFC 8601 word for all signatures of a mail."""
    results = {verdict.result for verdict in verdicts}
    return next((word for word in _ORDER if word in results), "none")


def _split(raw: bytes) -> tuple[Headers, bytes]:
    """Header fields as they stand (name, rest with its line break) and the body, with CRLF line ends."""
    first = raw.find(b"\n")
    if first > 0 and raw[first - 1 : first] != b"\r":
        raw = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    end = raw.find(b"\r\n\r\n", 0, HEADER_BYTES)
    head, body = (raw[: end + 2], raw[end + 4 :]) if end >= 0 else (raw[:HEADER_BYTES], b"")
    fields: list[tuple[bytes, list[bytes]]] = []
    for line in head.removesuffix(b"\r\n").split(b"\r\n"):
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1][1].append(line)
            continue
        name, colon, value = line.partition(b":")
        if colon and len(fields) < HEADERS:
            fields.append((name, [value]))
    return [(name, b"\r\n".join(lines) + b"\r\n") for name, lines in fields], body


class _Bodies:
    """Canonical bodies of one mail, each made once (RFC 6376 §3.4.3, §3.4.4)."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._made: dict[str, tuple[int, bytes]] = {}

    def size_and_hash(self, canon: str) -> tuple[int, bytes]:
        if canon not in self._made:
            text = self._relaxed() if canon == "relaxed" else self._body
            text = text.rstrip(b"\r\n")
            text = text + b"\r\n" if text or canon == "simple" else text
            self._made[canon] = (len(text), hashlib.sha256(text).digest())
        return self._made[canon]

    def _relaxed(self) -> bytes:
        """Runs of blanks halve with each pass, so the passes are as many as the longest run has binary digits."""
        text = self._body.replace(b"\t", b" ")
        while b"  " in text:
            text = text.replace(b"  ", b" ")
        return text.replace(b" \r\n", b"\r\n").rstrip(b" ")


def _judge(headers: Headers, place: int, bodies: _Bodies, resolver: Resolver, at: datetime | None) -> Verdict:
    tags = _tags(headers[place][1][:_SIGNATURE_BYTES])
    domain = tags.get("d", b"").decode("ascii", "replace").lower()
    try:
        _check_tags(tags, domain, at)
        _check_body(tags, bodies)
        _check_signature(tags, _signed(headers, place, tags), _key(tags, domain, resolver))
    except _Judged as judged:
        return Verdict(judged.result, domain)
    return Verdict("pass", domain)


def _tags(value: bytes) -> dict[str, bytes]:
    """RFC 6376 §3.2. A malformed or repeated tag makes the list empty."""
    found: dict[str, bytes] = {}
    for piece in value.split(b";"):
        name, equals, content = piece.partition(b"=")
        name = name.strip()
        if not name and not equals and not content.strip():
            continue
        if not _TAG.fullmatch(name) or not equals or name.decode("ascii") in found:
            return {}
        found[name.decode("ascii")] = content.strip()
    return found


def _check_tags(tags: dict[str, bytes], domain: str, at: datetime | None) -> None:
    if any(name not in tags for name in _REQUIRED) or tags["v"] != b"1" or not _DOMAIN.fullmatch(domain):
        raise _Judged("neutral")
    agent = tags.get("i", b"").rpartition(b"@")[2].decode("ascii", "replace").lower()
    if agent and agent != domain and not agent.endswith(f".{domain}"):
        raise _Judged("permerror")
    if b"from" not in _names(tags):
        raise _Judged("permerror")
    if b"dns/txt" not in tags.get("q", b"dns/txt"):
        raise _Judged("neutral")
    expiry = tags.get("x", b"")
    if at is not None and expiry.isdigit() and int(expiry[:15]) < at.timestamp():
        raise _Judged("policy")
    if tags["a"].lower() == b"rsa-sha1":  # RFC 8301 §3.1
        raise _Judged("policy")
    if tags["a"].lower() not in (b"rsa-sha256", b"ed25519-sha256"):
        raise _Judged("neutral")


def _names(tags: dict[str, bytes]) -> list[bytes]:
    return [name.strip().lower() for name in tags["h"].split(b":")][:_NAMES_SIGNED]


def _check_body(tags: dict[str, bytes], bodies: _Bodies) -> None:
    """A signature over less than the whole body is no pass: what was added behind it could hold the code (§8.2)."""
    size, digest = bodies.size_and_hash(_canon(tags)[1])
    length = tags.get("l")
    if length is not None and length != str(size).encode():
        raise _Judged("policy")
    if _from_base64(tags["bh"]) != digest:
        raise _Judged("fail")


def _canon(tags: dict[str, bytes]) -> tuple[str, str]:
    head, _, body = tags.get("c", b"simple/simple").lower().decode("ascii", "replace").partition("/")
    if not {head, body or "simple"} <= {"simple", "relaxed"}:
        raise _Judged("neutral")
    return head, body or "simple"


def _signed(headers: Headers, place: int, tags: dict[str, bytes]) -> bytes:
    """The bytes under the signature (§3.7): each signed name takes the lowest field of it not yet taken."""
    canon = _canon(tags)[0]
    waiting: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for number, (name, value) in enumerate(headers):
        if number != place:
            waiting.setdefault(name.strip().lower(), []).append((name, value))
    out = [_canonical(*waiting[name].pop(), canon) for name in _names(tags) if waiting.get(name)]
    own, value = headers[place]
    out.append(_canonical(own, _EMPTIED_B.sub(rb"\1", value), canon).removesuffix(b"\r\n"))
    return b"".join(out)


def _canonical(name: bytes, value: bytes, canon: str) -> bytes:
    if canon == "simple":
        return name + b":" + value
    return name.strip().lower() + b":" + _BLANKS.sub(b" ", value).strip(b" ") + b"\r\n"


def _key(tags: dict[str, bytes], domain: str, resolver: Resolver) -> RSAPublicKey | Ed25519PublicKey:
    """The published key (§3.6.2). Ends the judging where there is none, or none for this use."""
    selector = tags["s"].decode("ascii", "replace").lower()
    if not re.fullmatch(r"[a-z0-9._-]{1,128}", selector):
        raise _Judged("neutral")
    try:
        records = resolver.txt(f"{selector}._domainkey.{domain}")
    except LookupFailed as failed:
        raise _Judged("temperror") from failed
    record = next((found for found in map(_tags, records) if "p" in found), {})
    kind = tags["a"].lower().partition(b"-")[0]
    services = record.get("s", b"*").replace(b" ", b"").split(b":")
    hashes = record.get("h", b"sha256").replace(b" ", b"").split(b":")
    if not record.get("p") or record.get("v", b"DKIM1") != b"DKIM1" or record.get("k", b"rsa").lower() != kind:
        raise _Judged("permerror")
    if not {b"*", b"email"} & set(services) or b"sha256" not in hashes:
        raise _Judged("permerror")
    agent = tags.get("i", b"").rpartition(b"@")[2].decode("ascii", "replace").lower()
    if b"s" in record.get("t", b"").replace(b" ", b"").split(b":") and agent not in ("", domain):
        raise _Judged("permerror")
    return _load_key(kind, _from_base64(record["p"]))


def _load_key(kind: bytes, octets: bytes) -> RSAPublicKey | Ed25519PublicKey:
    try:
        if kind == b"ed25519":
            return Ed25519PublicKey.from_public_bytes(octets)
        key = load_der_public_key(octets)
    except (ValueError, UnsupportedAlgorithm) as bad:
        raise _Judged("permerror") from bad
    if not isinstance(key, RSAPublicKey):
        raise _Judged("permerror")
    if key.key_size not in _KEY_BITS:  # RFC 8301 §3.2
        raise _Judged("policy")
    return key


def _check_signature(tags: dict[str, bytes], signed: bytes, key: RSAPublicKey | Ed25519PublicKey) -> None:
    signature = _from_base64(tags["b"])
    try:
        if isinstance(key, RSAPublicKey):
            key.verify(signature, signed, PKCS1v15(), SHA256())
        else:
            key.verify(signature, hashlib.sha256(signed).digest())
    except InvalidSignature as bad:
        raise _Judged("fail") from bad


def _from_base64(text: bytes) -> bytes:
    try:
        return base64.b64decode(_BLANKS.sub(b"", text), validate=True)
    except (binascii.Error, ValueError) as bad:
        raise _Judged("neutral") from bad
