"""SPF over tables, the mechanisms that need the DNS most of all."""

import pytest

from leasebox.mail.spf_policy import check_spf, spf_domain
from tests.fakes.dns import FakeDns

V4, V6 = "192.0.2.7", "2001:db8::7"


@pytest.mark.parametrize(
    ("record", "result"),
    [
        (b"v=spf1 ip4:192.0.2.0/24 -all", "pass"),
        (b"v=spf1 ip4:198.51.100.0/24 -all", "fail"),
        (b"v=spf1 ~all", "softfail"),
        (b"v=spf1 ?all", "neutral"),
        (b"v=spf1", "neutral"),
        (b"v=spf1 a -all", "pass"),
        (b"v=spf1 mx -all", "pass"),
        (b"v=spf1 a:none.acme.example -all", "fail"),
        (b"v=spf1 include:_spf.provider.example -all", "pass"),
        (b"v=spf1 redirect=_spf.provider.example", "pass"),
        (b"v=spf1 exists:%{ir}.%{v}.acme.example -all", "pass"),
        (b"v=spf1 ptr -all", "pass"),
        (b"v=spf1 include:nowhere.example -all", "permerror"),
        (b"v=spf1 include:silent.example -all", "temperror"),
        (b"v=spf1 include:acme.example -all", "permerror"),
        (b"v=spf1 a:n1.example a:n2.example a:n3.example -all", "permerror"),
        (b"v=spf1 ip4:not-an-address -all", "permerror"),
        (b"v=spf1 \xff -all", "permerror"),
        (b"unrelated text", "none"),
    ],
)
def test_records(record: bytes, result: str) -> None:
    dns = FakeDns(
        {
            "txt acme.example": [b"other", record],
            "txt _spf.provider.example": [b"v=spf1 ip4:192.0.2.7 -all"],
            "a acme.example": [V4],
            "mx acme.example": [(20, "b.acme.example"), (10, "a.acme.example")],
            "a a.acme.example": ["198.51.100.1"],
            "a b.acme.example": [V4],
            "a 7.2.0.192.in-addr.acme.example": ["127.0.0.2"],
            "ptr 7.2.0.192.in-addr.arpa": ["b.acme.example"],
        },
        ["silent.example"],
    )
    assert check_spf(V4, "joe@acme.example", "mx.acme.example", dns) == result


def test_ipv6() -> None:
    dns = FakeDns({"txt acme.example": [b"v=spf1 a -all"], "aaaa acme.example": [V6]})
    assert check_spf(V6, "joe@acme.example", "x.example", dns) == "pass"
    assert check_spf("2001:db8::8", "joe@acme.example", "x.example", dns) == "fail"


def test_two_records_are_an_error() -> None:
    dns = FakeDns({"txt acme.example": [b"v=spf1 -all", b"v=spf1 +all"]})
    assert check_spf(V4, "joe@acme.example", "x.example", dns) == "permerror"


def test_the_null_sender_is_judged_by_its_greeting() -> None:
    dns = FakeDns({"txt mx.acme.example": [b"v=spf1 ip4:192.0.2.7 -all"]})
    assert check_spf(V4, "", "mx.acme.example", dns) == "pass"
    assert spf_domain("", "MX.acme.example.") == "mx.acme.example"


@pytest.mark.parametrize(
    "sender", ["joe", "joe@localhost", "joe@[192.0.2.7]", "joe@a..b", "joe@" + "a" * 300 + ".example", "joe@é.example"]
)
def test_senders_without_a_domain_are_none_and_ask_nothing(sender: str) -> None:
    dns = FakeDns({})
    assert check_spf(V4, sender, "[192.0.2.7]", dns) == "none"
    assert not dns.asked


def test_lookups_are_bounded() -> None:
    zone = {f"txt n{n}.example": [f"v=spf1 include:n{n + 1}.example -all".encode()] for n in range(40)}
    dns = FakeDns(zone)
    assert check_spf(V4, "joe@n0.example", "x.example", dns) == "permerror"
    assert dns.asked.total() <= 12
