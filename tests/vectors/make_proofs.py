"""Writes proofs.json: payment proofs, good and bad, and what a verifier must say to each.

The format is written down a second time here, from its description and not from the code under test, with fixed keys.
Run it from the repository's root: `python -m tests.vectors.make_proofs`.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("proofs.json")
NOW = 1_795_000_000_000_000  # Unix microseconds, 2026-11-18
SECOND = 1_000_000
KEYS = {
    "current": ("c0ffee01", hashlib.sha256(b"vector key: current").digest()),
    "previous": ("0ddba11e", hashlib.sha256(b"vector key: previous").digest()),
    "retired": ("deadbeef", hashlib.sha256(b"vector key: retired").digest()),
}
TENANT = "019a94f0c2007aaa8bbbccccddddeeee"
CLAIMS: dict[str, Any] = {
    "tenant": TENANT,
    "method": "POST",
    "path": "/v2/mailboxes/leases",
    "meter": "mailbox.lease",
    "amount_micros": 1_000,
    "price_version": 1,
    "issued": NOW,
    "expires": NOW + 120 * SECOND,
    "proof_id": "019a94f0c2017fff9eeeddddccccbbbb",
}
Case = dict[str, Any]
Fields = list[bytes]


def build() -> list[Case]:
    """Every case, named, in a fixed order."""
    return [*_good(), *_late_and_early(), *_badly_signed(), *_badly_spelled(), *_badly_filled(), *_elsewhere()]


def _good() -> Iterator[Case]:
    yield _case("a lease", _proof(CLAIMS), CLAIMS)
    yield _case("signed by the previous key", _proof(CLAIMS, "previous"), CLAIMS)
    others: dict[str, dict[str, Any]] = {
        "reading": {"method": "GET", "path": "/v2/messages", "meter": "message.read", "amount_micros": 100},
        "waiting": {"method": "GET", "path": "/v2/messages/wait", "meter": "message.read", "amount_micros": 100},
        "sending": {"path": "/v2/messages/send", "meter": "message.send"},
        "a webhook": {"path": "/v2/webhooks", "meter": "webhook.create"},
        "at no price": {"amount_micros": 0},
        "at the highest price": {"amount_micros": 2**63 - 1},
        "at the highest price version": {"price_version": 2**31 - 1},
        "good for a microsecond": {"expires": NOW + 1},
        "another tenant": {"tenant": "ff" * 16},
        "ids of zeros": {"tenant": "00" * 16, "proof_id": "00" * 16},
    }
    for name, changes in others.items():
        claims = CLAIMS | changes
        yield _case(name, _proof(claims), claims)


def _late_and_early() -> Iterator[Case]:
    text = _proof(CLAIMS)
    for name, now, expect in (
        ("its last microsecond", NOW + 120 * SECOND - 1, CLAIMS),
        ("expired to the microsecond", NOW + 120 * SECOND, "expired"),
        ("expired by a day", NOW + 86_400 * SECOND, "expired"),
        ("five seconds ahead is skew", NOW - 5 * SECOND, CLAIMS),
        ("a microsecond more is not", NOW - 5 * SECOND - 1, "not_yet_valid"),
        ("a day ahead", NOW - 86_400 * SECOND, "not_yet_valid"),
    ):
        yield _case(name, text, expect, now=now)


def _badly_signed() -> Iterator[Case]:
    yield _case("signed by a retired key", _proof(CLAIMS, "retired"), "unknown_key")
    yield _case("a kid that names no key", _swap(_proof(CLAIMS), 1, "00000000"), "unknown_key")
    yield _case("the kid of the other key", _swap(_proof(CLAIMS), 1, KEYS["previous"][0]), "bad_mac")
    yield _case("a mac of zeros", _swap(_proof(CLAIMS), 3, _text(bytes(32))), "bad_mac")
    yield _case(
        "the mac of another proof", _swap(_proof(CLAIMS), 3, _proof(CLAIMS | {"issued": 1}).split(".")[3]), "bad_mac"
    )
    edits: dict[str, dict[str, Any]] = {
        "tenant": {"tenant": "ff" * 16},
        "method": {"method": "GET"},
        "path": {"path": "/v2/webhooks"},
        "meter": {"meter": "message.read"},
        "amount": {"amount_micros": 999},
        "price version": {"price_version": 2},
        "issue time": {"issued": NOW + 1},
        "expiry": {"expires": NOW + 119 * SECOND},
        "proof id": {"proof_id": "00" * 16},
    }
    for name, changes in edits.items():
        yield _case(
            f"{name} edited after signing", _swap(_proof(CLAIMS), 2, _text(_payload(CLAIMS | changes))), "bad_mac"
        )
    bare = hmac.digest(KEYS["current"][1], _payload(CLAIMS), "sha256")
    yield _case("a mac without format and kid", _swap(_proof(CLAIMS), 3, _text(bare)), "bad_mac")
    shifted = _joined(_bent(lambda f: [f[0], f[1] + f[2][:1], f[2][1:], *f[3:]]))
    yield _case("a byte moved over a field's edge", _swap(_proof(CLAIMS), 2, _text(shifted)), "bad_mac")


def _badly_spelled() -> Iterator[Case]:
    """Texts that are not canonical, some of which a lax decoder takes for the good proof."""
    text = _proof(CLAIMS)
    _, kid, payload, mac = text.split(".")
    spelled = {
        "nothing": "",
        "dots": "...",
        "no mac": f"v1.{kid}.{payload}",
        "an empty mac": f"v1.{kid}.{payload}.",
        "an empty payload": f"v1.{kid}..{mac}",
        "a fifth part": f"{text}.{mac}",
        "version 2": "v2" + text[2:],
        "version in upper case": "V1" + text[2:],
        "kid in upper case": _swap(text, 1, kid.upper()),
        "kid too short": _swap(text, 1, kid[:-1]),
        "kid of other letters": _swap(text, 1, "zzzzzzzz"),
        "a leading space": " " + text,
        "a trailing newline": text + "\n",
        "a space within": _swap(text, 2, payload[:10] + " " + payload[10:]),
        "padded payload": _swap(text, 2, payload + "=" * (-len(payload) % 4 or 4)),
        "padded mac": text + "=",
        "standard alphabet": _swap(text, 3, "+" + mac[1:]),
        "other trailing bits in the mac": text[:-1] + _next_letter(text[-1]),
        "mac cut": text[:-1],
        "mac too long": text + "A",
        "payload of an impossible length": _swap(text, 2, "AAAAA"),
        "letters of another script": _swap(text, 2, "а" + payload[1:]),
        "a NUL": text + "\x00",
        "over 1,024 characters": _swap(text, 2, "A" * 1_024),
        "a JWT": "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
        "quoted": f'"{text}"',
        "two at once": f"{text}, {text}",
    }
    for name, bad in spelled.items():
        yield _case(f"spelled: {name}", bad, "malformed")
    odd = CLAIMS | {"path": "/v2/messages", "method": "GET", "meter": "message.read"}  # 1 byte into a group of 3
    for more in ("", "s", "es"):
        longer = odd | {"path": odd["path"] + more}
        body = _text(_payload(longer))
        if len(body) % 4:
            bent = _swap(_proof(longer), 2, body[:-1] + _next_letter(body[-1]))
            yield _case(f"spelled: other trailing bits in a payload of {len(body)}", bent, "malformed")


def _badly_filled() -> Iterator[Case]:
    """Payloads that our own key signed and that still say nothing: a later or broken signer."""
    filled: dict[str, bytes] = {
        "no fields": b"",
        "one byte": b"\x00",
        "a field less": _joined(_bent(lambda f: f[:-1])),
        "a field more": _joined(_bent(lambda f: [*f, b"x"])),
        "a byte more": _payload(CLAIMS) + b"\x00",
        "a byte less": _payload(CLAIMS)[:-1],
        "a tenant of 15 bytes": _joined(_bent(lambda f: [f[0][:15], *f[1:]])),
        "an amount of 4 bytes": _joined(_bent(lambda f: [*f[:4], f[4][4:], *f[5:]])),
        "id and expiry swapped": _joined(_bent(lambda f: [*f[:7], f[8], f[7]])),
        "a tenant's length of 15 before 16 bytes": b"\x00\x0f" + _payload(CLAIMS)[2:],
        "an id's length of 15 before 16 bytes": _payload(CLAIMS)[:-18] + b"\x00\x0f" + _payload(CLAIMS)[-16:],
        "a length beyond the end": _payload(CLAIMS)[:18] + b"\xff\xff" + _payload(CLAIMS)[20:],
        "an amount over 63 bits": _payload(CLAIMS | {"amount_micros": 2**63}),
        "a price version of nothing": _payload(CLAIMS | {"price_version": 0}),
        "a price version over 31 bits": _payload(CLAIMS | {"price_version": 2**31}),
        "an unknown meter": _payload(CLAIMS | {"meter": "mailbox.peek"}),
        "a method in lower case": _payload(CLAIMS | {"method": "post"}),
        "a HEAD": _payload(CLAIMS | {"method": "HEAD"}),
        "an empty path": _payload(CLAIMS | {"path": ""}),
        "a path with a query": _payload(CLAIMS | {"path": "/v2/messages?limit=1"}),
        "a path with a trailing slash": _payload(CLAIMS | {"path": "/v2/messages/"}),
        "a path with an escape": _payload(CLAIMS | {"path": "/v2/%6dessages"}),
        "a path beyond ASCII": _payload(CLAIMS | {"path": "/v2/mésßages"}),
        "expiry before issue": _payload(CLAIMS | {"expires": NOW - 1}),
        "expiry at issue": _payload(CLAIMS | {"expires": NOW}),
        "good for longer than 120 s": _payload(CLAIMS | {"expires": NOW + 120 * SECOND + 1}),
        "times after the last year": _payload(CLAIMS | {"issued": 2**64 - 2, "expires": 2**64 - 1}),
    }
    for name, payload in filled.items():
        yield _case(f"filled: {name}", _sealed(payload), "malformed")


def _elsewhere() -> Iterator[Case]:
    """Sound proofs shown by another tenant or on another route."""
    call = {"tenant": TENANT, "method": "POST", "path": "/v2/mailboxes/leases"}
    for name, changes, fault in (
        ("at home", {}, None),
        ("another tenant", {"tenant": "ff" * 16}, "foreign_tenant"),
        ("another method", {"method": "GET"}, "wrong_method"),
        ("HEAD", {"method": "HEAD"}, "wrong_method"),
        ("method in lower case", {"method": "post"}, "wrong_method"),
        ("another path", {"path": "/v2/webhooks"}, "wrong_path"),
        ("a longer path", {"path": "/v2/mailboxes/leases/x"}, "wrong_path"),
        ("a shorter path", {"path": "/v2/mailboxes"}, "wrong_path"),
        ("a trailing slash", {"path": "/v2/mailboxes/leases/"}, "wrong_path"),
        ("a doubled slash", {"path": "/v2//mailboxes/leases"}, "wrong_path"),
        ("upper case", {"path": "/v2/mailboxes/Leases"}, "wrong_path"),
        ("a query", {"path": "/v2/mailboxes/leases?a=1"}, "wrong_path"),
        ("all of it", {"tenant": "ff" * 16, "method": "GET", "path": "/"}, "foreign_tenant"),
    ):
        yield _case(f"shown: {name}", _proof(CLAIMS), CLAIMS) | {"call": call | changes, "call_fault": fault}


def _case(name: str, text: str, expect: dict[str, Any] | str, now: int = NOW) -> Case:
    return {"name": name, "now": now, "text": text} | (
        {"fault": expect} if isinstance(expect, str) else {"claims": expect}
    )


def _proof(claims: dict[str, Any], key: str = "current") -> str:
    return _sealed(_payload(claims), key)


def _sealed(payload: bytes, key: str = "current") -> str:
    kid, secret = KEYS[key]
    mac = hmac.digest(secret, _joined([b"leasebox-payment-proof/1", kid.encode()]) + payload, "sha256")
    return f"v1.{kid}.{_text(payload)}.{_text(mac)}"


def _payload(claims: dict[str, Any]) -> bytes:
    return _joined(_fields(claims))


def _fields(claims: dict[str, Any]) -> Fields:
    return [
        bytes.fromhex(claims["tenant"]),
        *(claims[name].encode() for name in ("method", "path", "meter")),
        claims["amount_micros"].to_bytes(8),
        claims["price_version"].to_bytes(4),
        claims["issued"].to_bytes(8),
        claims["expires"].to_bytes(8),
        bytes.fromhex(claims["proof_id"]),
    ]


def _bent(bend: Callable[[Fields], Fields]) -> Fields:
    return bend(_fields(CLAIMS))


def _joined(fields: Fields) -> bytes:
    return b"".join(len(field).to_bytes(2) + field for field in fields)


def _swap(text: str, part: int, other: str) -> str:
    parts = text.split(".")
    parts[part] = other
    return ".".join(parts)


def _text(blob: bytes) -> str:
    return base64.urlsafe_b64encode(blob).decode().rstrip("=")


def _next_letter(letter: str) -> str:
    """The letter whose lowest bit differs; that bit says nothing at the end of a text of 2 or 3 mod 4 letters."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(letter) ^ 1]


def document() -> dict[str, Any]:
    """The file's content: keys first, so that any language can check the cases."""
    return {
        "format": "v1.<kid>.<payload>.<mac>",
        "keys": {role: {"kid": kid, "key": key.hex()} for role, (kid, key) in KEYS.items()},
        "cases": build(),
    }


def main() -> None:
    FILE.write_text(json.dumps(document(), indent=1) + "\n")


if __name__ == "__main__":
    main()
