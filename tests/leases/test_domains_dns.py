"""What counts as found, missing and wrong in a stranger's DNS."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.infra.lookups import Record
from leasebox.leases.domains_dns import DnsLook, judge
from leasebox.leases.domains_errors import DnsOff
from leasebox.leases.domains_model import DnsRecord, Finding, Purpose
from tests.fakes.dns import FakeDns

OURS = {
    "ownership": DnsRecord("ownership", "TXT", "_leasebox.acme.test", "leasebox-domain=abc", required=True),
    "mx": DnsRecord("mx", "MX", "acme.test", "mx.leasebox.test", required=True, priority=10),
    "spf": DnsRecord("spf", "TXT", "acme.test", "v=spf1 a:mx.leasebox.test ~all", required=False),
    "dkim": DnsRecord("dkim", "TXT", "s._domainkey.acme.test", "v=DKIM1; k=rsa; p=AAAA", required=False),
    "dmarc": DnsRecord("dmarc", "TXT", "_dmarc.acme.test", "v=DMARC1; p=none", required=False),
}


def look(purpose: Purpose, *found: Record) -> Finding:
    record = OURS[purpose]
    return judge(record, FakeDns({f"{record.type.lower()} {record.name}": found}))


@pytest.mark.parametrize(
    ("purpose", "found", "state"),
    [
        ("ownership", [b"leasebox-domain=abc"], "found"),
        ("ownership", [b" leasebox-domain=abc "], "found"),
        ("ownership", [b"other", b"leasebox-domain=abc"], "found"),
        ("ownership", [b"leasebox-domain=abcd"], "wrong"),
        ("ownership", [b"LEASEBOX-DOMAIN=ABC"], "wrong"),
        ("ownership", [b"\xff\xfe"], "wrong"),
        ("mx", [(10, "mx.leasebox.test")], "found"),
        ("mx", [(0, "MX.leasebox.test.")], "found"),
        ("mx", [(10, "mx.leasebox.test"), (20, "backup.test")], "found"),
        ("mx", [(10, "mx.leasebox.test"), (10, "other.test")], "wrong"),
        ("mx", [(10, "mx.leasebox.test"), (5, "other.test")], "wrong"),
        ("mx", [(10, "x.mx.leasebox.test")], "wrong"),
        ("mx", [(0, "")], "wrong"),
        ("spf", [b"v=spf1 a:mx.leasebox.test ~all"], "found"),
        ("spf", [b"V=SPF1 include:x.test +A:MX.leasebox.test -all"], "found"),
        ("spf", [b"google-site-verification=1", b"v=spf1 a:mx.leasebox.test ?all"], "found"),
        ("spf", [b"v=spf1 a:mx.leasebox.test redirect=x.test"], "found"),
        ("spf", [b"v=spf1 -a:mx.leasebox.test ~all"], "wrong"),
        ("spf", [b"v=spf1 include:x.test ~all"], "wrong"),
        ("spf", [b"v=spf1 a:mx.leasebox.test ~all", b"v=spf1 -all"], "wrong"),
        ("spf", [b"v=spf10 a:mx.leasebox.test"], "missing"),
        ("spf", [b"something else"], "missing"),
        ("dkim", [b"v=DKIM1; k=rsa; p=AAAA"], "found"),
        ("dkim", [b"p=AA AA;"], "found"),
        ("dkim", [b"v=DKIM1;k=rsa;t=y;p=AAAA"], "found"),
        ("dkim", [b"v=DKIM1; k=rsa; p="], "wrong"),
        ("dkim", [b"v=DKIM1; k=ed25519; p=AAAA"], "wrong"),
        ("dkim", [b"v=DKIM1; k=rsa; p=AAAA", b"v=DKIM1; k=rsa; p=BBBB"], "wrong"),
        ("dkim", [b"=;;="], "wrong"),
        ("dmarc", [b"v=DMARC1; p=none"], "found"),
        ("dmarc", [b"v = DMARC1 ;p=reject; rua=mailto:x@acme.test"], "found"),
        ("dmarc", [b"v=DMARC1; p=none", b"v=DMARC1; p=reject"], "wrong"),
        ("dmarc", [b"dmarc"], "missing"),
    ],
)
def test_what_is_found(purpose: Purpose, found: list[Record], state: str) -> None:
    assert look(purpose, *found).state == state


@pytest.mark.parametrize("purpose", sorted(OURS))
def test_nothing_and_silence(purpose: Purpose) -> None:
    assert look(purpose) == Finding("missing")
    assert judge(OURS[purpose], FakeDns({}, silent=["*"])) == Finding("unknown")


def test_what_was_seen_is_shown_short_and_harmless() -> None:
    texts = [f"wrong-{number}".encode() + b"\x1b[31m\xff" + b"x" * 600 for number in range(9)]
    seen = look("ownership", *texts).seen
    assert len(seen) == 5
    assert all(len(text) <= 500 and text.isprintable() for text in seen)
    assert seen[0].startswith("wrong-0?[31m\\xff")
    assert look("mx", (20, "b.test"), (0, "")).seen == ("0 .", "20 b.test")


@given(st.lists(st.binary(max_size=300), max_size=6), st.sampled_from(["ownership", "spf", "dkim", "dmarc"]))
def test_no_answer_of_a_strangers_dns_breaks_it(texts: list[bytes], purpose: Purpose) -> None:
    assert look(purpose, *texts).state in ("found", "missing", "wrong")


async def test_all_records_are_asked_for_with_a_fresh_resolver_each_time() -> None:
    made: list[FakeDns] = []

    def fresh() -> FakeDns:
        made.append(FakeDns({"txt _leasebox.acme.test": [b"leasebox-domain=abc"]}, silent=["_dmarc.acme.test"]))
        return made[-1]

    asking = DnsLook(fresh)
    first, second = await asyncio.gather(asking.look(list(OURS.values())), asking.look(list(OURS.values())))
    asking.close()
    assert len(made) == 2
    assert first == second
    assert {each: finding.state for each, finding in first.items()} == {
        "TXT _leasebox.acme.test": "found",
        "MX acme.test": "missing",
        "TXT acme.test": "missing",
        "TXT s._domainkey.acme.test": "missing",
        "TXT _dmarc.acme.test": "unknown",
    }
    assert set(made[0].asked.values()) == {1}


async def test_without_dns_it_says_so() -> None:
    with pytest.raises(DnsOff, match="no DNS") as off:
        await DnsLook(None).look(list(OURS.values()))
    assert "LEASEBOX_DNS" in off.value.fix
