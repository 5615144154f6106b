"""DKIM, checked against RFC 8463's own mail and against what dkimpy and cryptography sign."""

import base64
import hashlib
import re
import time
from datetime import UTC, datetime

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from leasebox.mail import dkim
from leasebox.mail.dkim import Verdict, summary, verify
from tests.fakes.dns import FakeDns

RFC_8463 = """\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
"""
RFC_8463_RSA = (
    b"MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91"
    b"y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
)
RFC_8463_ED = b"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
RFC_8463_ZONE = {
    "txt brisbane._domainkey.football.example.com": [b"v=DKIM1; k=ed25519; p=" + RFC_8463_ED],
    "txt test._domainkey.football.example.com": [b"v=DKIM1; k=rsa; p=" + RFC_8463_RSA],
}
MAIL = (
    b"From: Joe <joe@acme.example>\r\nTo: box@inbox.example\r\nSubject:  Your\r\n\tcode \r\nDate: today\r\n\r\n"
    b"Your  code is\t482913. \r\n\r\nBye\r\n\r\n\r\n"
)
RSA = generate_private_key(public_exponent=65537, key_size=2048)
SMALL = generate_private_key(public_exponent=65537, key_size=1024)
ED = Ed25519PrivateKey.generate()
AT = datetime(2026, 11, 20, tzinfo=UTC)


def pem(key: RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def spki(key: RSAPrivateKey) -> str:
    octets = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(octets).decode()


def zone(record: str) -> dict[str, list[bytes]]:
    return {"txt s1._domainkey.acme.example": [record.encode()]}


RSA_ZONE = zone(f"v=DKIM1; k=rsa; p={spki(RSA)}")


def signed(
    mail: bytes = MAIL, canon: bytes = b"relaxed/relaxed", *, length: str = "", names: tuple[bytes, ...] = ()
) -> bytes:
    head, body = canon.split(b"/")
    options = {"include_headers": list(names)} if names else {}
    header = dkimpy.sign(
        mail, b"s1", b"acme.example", pem(RSA), canonicalize=(head, body), length=bool(length), **options
    )
    return bytes(header) + mail


def signed_by_hand(tags: str, mail: bytes = MAIL) -> bytes:
    """Relaxed/simple over From and Subject with the Ed25519 key; `tags` are put in or replace ours."""
    body = mail.partition(b"\r\n\r\n")[2].rstrip(b"\r\n") + b"\r\n"
    found = {
        "v": "1",
        "a": "ed25519-sha256",
        "c": "relaxed/simple",
        "d": "acme.example",
        "s": "s1",
        "h": "from:subject",
    }
    found["bh"] = base64.b64encode(hashlib.sha256(body).digest()).decode()
    found |= dict(pair.split("=", 1) for pair in tags.split(";") if pair)
    text = "; ".join(f"{name}={value}" for name, value in found.items() if value) + "; b="
    data = f"from:Joe <joe@acme.example>\r\nsubject:Your code\r\ndkim-signature:{text}".encode()
    signature = base64.b64encode(ED.sign(hashlib.sha256(data).digest())).decode()
    return f"DKIM-Signature: {text}{signature}\r\n".encode() + mail


ED_RECORD = f"v=DKIM1; k=ed25519; p={base64.b64encode(ED.public_key().public_bytes_raw()).decode()}"


def results(raw: bytes, records: dict[str, list[bytes]], at: datetime | None = AT) -> list[str]:
    return [verdict.result for verdict in verify(raw, FakeDns(records), at)]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_mail_of_rfc_8463(line_end: str) -> None:
    verdicts = verify(RFC_8463.replace("\n", line_end).encode(), FakeDns(RFC_8463_ZONE), AT)
    assert verdicts == (Verdict("pass", "football.example.com"),) * 2


@pytest.mark.parametrize("canon", [b"simple/simple", b"simple/relaxed", b"relaxed/simple", b"relaxed/relaxed"])
@pytest.mark.parametrize("mail", [MAIL, MAIL.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", MAIL.rstrip(b"\r\n") + b"\r\n"])
def test_what_dkimpy_signs_passes(canon: bytes, mail: bytes) -> None:
    raw = signed(mail, canon)
    assert dkimpy.verify(raw, dnsfunc=lambda *_, **__: RSA_ZONE["txt s1._domainkey.acme.example"][0])
    assert results(raw, RSA_ZONE) == ["pass"]
    assert results(b"Received: by us\r\nReturn-Path: <>\r\n" + raw, RSA_ZONE) == ["pass"]


@pytest.mark.parametrize(
    ("old", "new", "relaxed", "simple"),
    [
        (b"482913", b"482914", "fail", "fail"),
        (b"joe@acme", b"eve@acme", "fail", "fail"),
        (b"code is\t482913. ", b"code is  482913.", "pass", "fail"),
        (b"Bye\r\n\r\n\r\n", b"Bye\r\n", "pass", "pass"),
        (b"Subject:  Your\r\n\tcode ", b"SUBJECT: Your code", "pass", "fail"),
        (b"Bye", b"Bye\r\nPS: 111111", "fail", "fail"),
    ],
)
def test_what_was_changed_fails(old: bytes, new: bytes, relaxed: str, simple: str) -> None:
    assert results(signed(MAIL).replace(old, new), RSA_ZONE) == [relaxed]
    assert results(signed(MAIL, b"simple/simple").replace(old, new), RSA_ZONE) == [simple]


def test_a_second_from_is_seen_where_from_was_oversigned() -> None:
    raw = signed(names=(b"from", b"from", b"subject"))
    assert results(raw, RSA_ZONE) == ["pass"]
    assert results(b"From: eve@evil.example\r\n" + raw, RSA_ZONE) == ["fail"]


@pytest.mark.parametrize(
    ("record", "result"),
    [
        (f"p={spki(RSA)}", "pass"),
        (f"v=DKIM1; t=s; h=sha256; s=email; p={spki(RSA)}", "pass"),
        (f"k=rsa; p={spki(RSA)[:40]} {spki(RSA)[40:]}", "pass"),
        ("v=DKIM1; p=", "permerror"),
        (f"v=DKIM2; p={spki(RSA)}", "permerror"),
        (f"k=ed25519; p={spki(RSA)}", "permerror"),
        (f"h=sha1; p={spki(RSA)}", "permerror"),
        (f"s=tlsrpt; p={spki(RSA)}", "permerror"),
        ("p=bm8ga2V5", "permerror"),
        ("p=***", "neutral"),
        (f"p={spki(SMALL)}", "fail"),
        ("no tags here", "permerror"),
    ],
)
def test_published_keys(record: str, result: str) -> None:
    assert results(signed(), zone(record)) == [result]


def test_no_key_and_no_answer_differ() -> None:
    assert results(signed(), {}) == ["permerror"]
    assert summary(verify(signed(), FakeDns({}, ["*"]), AT)) == "temperror"


def test_keys_that_are_no_rsa_key_are_refused() -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    octets = base64.b64encode(curve.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    assert results(signed(), zone(f"p={octets}")) == ["permerror"]


def der(tag: int, content: bytes) -> bytes:
    size = len(content)
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    head = octets if 0 < size < 128 else bytes([0x80 | len(octets)]) + octets if size else b"\0"
    return bytes([tag]) + head + content


def spki_of(bits: int) -> str:
    """A public key of any size, which cryptography itself would not make: modulus of `bits` ones, exponent 65537."""
    numbers = der(2, b"\0" + ((1 << bits) - 1).to_bytes(bits // 8, "big")) + der(2, b"\1\0\1")
    algorithm = der(0x30, der(6, bytes.fromhex("2a864886f70d010101")) + der(5, b""))
    return base64.b64encode(der(0x30, algorithm + der(3, b"\0" + der(0x30, numbers)))).decode()


@pytest.mark.parametrize(
    ("bits", "result"), [(512, "policy"), (1016, "policy"), (1024, "fail"), (8192, "fail"), (16384, "policy")]
)
def test_keys_too_small_or_too_large_are_against_policy(bits: int, result: str) -> None:
    assert results(signed(), zone(f"p={spki_of(bits)}")) == [result]


def test_what_stands_behind_a_signed_length_is_not_vouched_for() -> None:
    raw = signed(MAIL, b"simple/simple", length="l")
    assert b" l=" in raw
    assert results(raw, RSA_ZONE) == ["pass"]
    assert results(raw + b"Your code is 111111\r\n", RSA_ZONE) == ["policy"]


@pytest.mark.parametrize(
    ("tags", "result"),
    [
        ("", "pass"),
        ("i=@mail.acme.example", "pass"),
        ("x=1900000000", "pass"),
        ("l=45", "policy"),
        ("x=1700000000", "policy"),
        ("a=rsa-sha1", "policy"),
        ("a=rsa-md5", "neutral"),
        ("v=2", "neutral"),
        ("d=", "neutral"),
        ("d=acme", "neutral"),
        ("h=subject", "permerror"),
        ("i=@evil.example", "permerror"),
        ("c=odd/simple", "neutral"),
        ("q=http", "neutral"),
        ("s=a b", "neutral"),
        ("bh=!!!", "neutral"),
        ("bh=AAAA", "fail"),
        ("l=9999", "policy"),
    ],
)
def test_tags(tags: str, result: str) -> None:
    assert results(signed_by_hand(tags), zone(ED_RECORD)) == [result]


def test_a_key_for_the_domain_alone_refuses_its_subdomains() -> None:
    record = ED_RECORD.replace("v=DKIM1;", "v=DKIM1; t=s;")
    assert results(signed_by_hand(""), zone(record)) == ["pass"]
    assert results(signed_by_hand("i=@mail.acme.example"), zone(record)) == ["permerror"]


def test_malformed_and_repeated_tags_are_neutral() -> None:
    broken = signed_by_hand("").replace(b"v=1;", b"v=1; v=1;")
    assert results(broken, zone(ED_RECORD)) == ["neutral"]
    assert results(b"DKIM-Signature: nonsense\r\n" + MAIL, {}) == ["neutral"]


def test_only_so_many_signatures_are_judged() -> None:
    dns = FakeDns(RSA_ZONE)
    one = re.split(rb"\r\n(?=From)", signed())[0] + b"\r\n"
    assert len(verify(one * 50 + MAIL, dns, AT)) == dkim.SIGNATURES


@pytest.mark.parametrize(
    ("words", "word"),
    [
        ((), "none"),
        (("fail", "pass"), "pass"),
        (("fail", "temperror"), "temperror"),
        (("neutral", "permerror"), "permerror"),
    ],
)
def test_one_word_for_all(words: tuple[str, ...], word: str) -> None:
    assert summary(tuple(Verdict(each, "acme.example") for each in words)) == word


@pytest.mark.parametrize(
    "raw",
    [
        signed() + b"a b" + b" " * 8_000_000,
        signed() + b"\r\n" * 4_000_000,
        signed() + b"a \t b\r\n" * 1_000_000,
        b"DKIM-Signature: " + b";" * 200_000 + b"\r\n" + MAIL,
        b"DKIM-Signature: a" + b"\r\n b=" * 60_000 + b"\r\n" + MAIL,
        b"DKIM-Signature: b=1\r\n" * 10_000 + MAIL,
    ],
    ids=["blanks", "line ends", "words", "tags", "folds", "fields"],
)
def test_hostile_mails_cost_little(raw: bytes) -> None:
    started = time.process_time()
    assert set(results(raw, RSA_ZONE)) <= {"pass", "fail", "neutral"}
    assert time.process_time() - started < 2
