"""DMARC: which policy counts, and what is aligned with it."""

import pytest

from leasebox.mail.dmarc import Authenticated, judge
from tests.fakes.dns import FakeDns

RELAXED, STRICT = b"v=DMARC1; p=reject", b"v=DMARC1; p=reject; adkim=s; aspf=s"


def word(author: str, dkim: str, spf: str, records: dict[str, bytes]) -> str:
    zone = {f"txt _dmarc.{name}": [record] for name, record in records.items()}
    return judge(author, Authenticated(tuple(dkim.split()), spf), FakeDns(zone))


@pytest.mark.parametrize(
    ("author", "dkim", "spf", "record", "result"),
    [
        ("acme.example", "acme.example", "", RELAXED, "pass"),
        ("acme.example", "", "acme.example", RELAXED, "pass"),
        ("acme.example", "mail.acme.example", "", RELAXED, "pass"),
        ("acme.example", "", "bounce.mail.acme.example", RELAXED, "pass"),
        ("news.acme.example", "acme.example", "", RELAXED, "pass"),
        ("news.acme.example", "mail.acme.example", "", RELAXED, "pass"),
        ("acme.example", "evil.example acme.example", "", RELAXED, "pass"),
        ("acme.example", "", "", RELAXED, "fail"),
        ("acme.example", "evil.example", "evil.example", RELAXED, "fail"),
        ("acme.example", "notacme.example", "", RELAXED, "fail"),
        ("acme.example", "acme.example.evil.example", "", RELAXED, "fail"),
        ("acme.example", "example", "", RELAXED, "fail"),
        ("acme.example", "acme.example", "", STRICT, "pass"),
        ("acme.example", "", "acme.example", STRICT, "pass"),
        ("acme.example", "mail.acme.example", "", STRICT, "fail"),
        ("acme.example", "", "bounce.acme.example", STRICT, "fail"),
        ("news.acme.example", "acme.example", "", STRICT, "fail"),
        ("acme.example", "mail.acme.example", "", b"v=DMARC1; adkim=s; aspf=r", "fail"),
        ("acme.example", "", "mail.acme.example", b"v=DMARC1; adkim=s; aspf=r", "pass"),
        ("acme.example", "", "mail.acme.example", b" v = DMARC1 ; P = None ", "pass"),
        ("acme.example", "acme.example", "", b"p=reject; v=DMARC1", "none"),
        ("acme.example", "acme.example", "", b"v=DMARC2; p=reject", "none"),
        ("acme.example", "acme.example", "", b"some text", "none"),
    ],
)
def test_alignment(author: str, dkim: str, spf: str, record: bytes, result: str) -> None:
    assert word(author, dkim, spf, {"acme.example": record}) == result


@pytest.mark.parametrize(
    ("author", "dkim", "records", "result"),
    [
        ("acme.example", "acme.example", {}, "none"),
        # The author's own record counts before that of the organization.
        ("news.acme.example", "acme.example", {"acme.example": STRICT, "news.acme.example": RELAXED}, "pass"),
        ("news.acme.example", "acme.example", {"acme.example": RELAXED, "news.acme.example": STRICT}, "fail"),
        # RFC 9989 §4.10: what lies between is passed over.
        ("a.b.acme.example", "acme.example", {"acme.example": RELAXED, "b.acme.example": STRICT}, "pass"),
        # psd=n makes a subdomain an organization of its own.
        ("b.acme.example", "acme.example", {"acme.example": RELAXED, "b.acme.example": RELAXED + b"; psd=n"}, "fail"),
        ("acme.example", "b.acme.example", {"acme.example": RELAXED, "b.acme.example": RELAXED + b"; psd=n"}, "fail"),
        # psd=y is a registry: its policy counts, its name joins nobody.
        ("acme.bank.example", "other.bank.example", {"bank.example": RELAXED + b"; psd=y"}, "fail"),
        ("acme.bank.example", "mail.acme.bank.example", {"bank.example": RELAXED + b"; psd=y"}, "pass"),
        ("acme.bank.example", "bank.example", {"bank.example": RELAXED + b"; psd=y"}, "fail"),
        # A top-level domain that forgot to say so.
        ("acme.example", "other.example", {"example": RELAXED}, "fail"),
        ("acme.example", "acme.example", {"example": RELAXED}, "pass"),
    ],
)
def test_policies(author: str, dkim: str, records: dict[str, bytes], result: str) -> None:
    assert word(author, dkim, "", records) == result


def test_two_records_are_none() -> None:
    dns = FakeDns({"txt _dmarc.acme.example": [RELAXED, STRICT]})
    assert judge("acme.example", Authenticated(("acme.example",), ""), dns) == "none"


def test_no_answer_is_temporary() -> None:
    assert judge("acme.example", Authenticated(("acme.example",), ""), FakeDns({}, ["*"])) == "temperror"


def test_the_walk_asks_at_most_eight_names() -> None:
    dns = FakeDns({})
    assert judge(".".join("abcdefghijklmnop"), Authenticated((), ""), dns) == "none"
    assert min(dns.asked, key=len) == "txt _dmarc.p"
    assert len(dns.asked) == 8
