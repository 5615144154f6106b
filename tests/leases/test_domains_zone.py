"""Zone files, read back by dnspython."""

from datetime import UTC, datetime

import dns.rrset
import dns.zone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.leases.domains_model import DnsRecord
from leasebox.leases.domains_zone import TTL_S, quoted, zone_file

AT = datetime(2026, 11, 20, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "strings"),
    [
        ("", [b""]),
        ("a" * 255, [b"a" * 255]),
        ("a" * 256, [b"a" * 255, b"a"]),
        ('say "no" \\ ;', [b'say "no" \\ ;']),
        ('"' * 300, [b'"' * 255, b'"' * 45]),
    ],
    ids=["empty", "full", "over", "quotes", "many-quotes"],
)
def test_a_text_is_cut_into_strings(text: str, strings: list[bytes]) -> None:
    (rdata,) = dns.rrset.from_text("a.test.", 60, "IN", "TXT", quoted(text))
    assert list(rdata.strings) == strings


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=700))
def test_any_text_comes_back(text: str) -> None:
    (rdata,) = dns.rrset.from_text("a.test.", 60, "IN", "TXT", quoted(text))
    assert b"".join(rdata.strings).decode() == text


def test_a_file_has_what_is_to_be_published_and_no_more() -> None:
    records = [
        DnsRecord("ownership", "TXT", "_leasebox.acme.test", "leasebox-domain=abc", required=True),
        DnsRecord("mx", "MX", "acme.test", "mx.leasebox.test", required=True, priority=10),
        DnsRecord("spf", "TXT", "acme.test", "v=spf1 a:mx.leasebox.test ~all", required=False),
        DnsRecord("dkim", "TXT", "old._domainkey.acme.test", "v=DKIM1; p=A", required=False, until=AT),
    ]
    text = zone_file("acme.test", records)
    zone = dns.zone.from_text(text, origin="acme.test.", relativize=False, check_origin=False)
    found = {(str(name), ttl, str(rdata)) for name, ttl, rdata in zone.iterate_rdatas()}
    assert found == {
        ("_leasebox.acme.test.", TTL_S, '"leasebox-domain=abc"'),
        ("acme.test.", TTL_S, "10 mx.leasebox.test."),
        ("acme.test.", TTL_S, '"v=spf1 a:mx.leasebox.test ~all"'),
    }
    assert text.count("; required") == 0
    assert "; ownership, required\n" in text
    assert "; spf, advised\n" in text
    assert text.endswith("\n")
