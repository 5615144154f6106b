"""Names that may be brought, records that they need, and what a check's findings mean."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.leases.dkim_keys import PublicKey
from leasebox.leases.domains_errors import DnsSilent, DomainRefused
from leasebox.leases.domains_model import (
    RETIRED_STAYS,
    Domain,
    DomainPolicy,
    Finding,
    domain_name,
    findings_of,
    is_proven,
    new_token,
    own_records,
    records_of,
    require_answers,
    spelled,
    waiting_keys_are_out,
)
from leasebox.values.ids import DomainId, TenantId

AT = datetime(2026, 11, 20, 10, tzinfo=UTC)
OWN = ("inbox.leasebox.test", "mail.example.net")
POLICY = DomainPolicy(OWN, "mx.leasebox.test", "v=spf1 a:mx.leasebox.test ~all")
DOMAIN = Domain(DomainId.new(AT), TenantId.new(AT), "acme.test", "pending", None, "t" * 32, {}, AT, None, None, None)


def key(selector: str, state: str = "signing", retired_at: datetime | None = None) -> PublicKey:
    return PublicKey(selector, "rsa-sha256", state, "AAAA", retired_at)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("acme.test", "acme.test"),
        ("ACME.Test.", "acme.test"),
        ("a.b.c.acme.co.uk", "a.b.c.acme.co.uk"),
        ("1and1.com", "1and1.com"),
        ("bücher.de", "xn--bcher-kva.de"),
        ("BÜCHER.de", "xn--bcher-kva.de"),
        ("xn--bcher-kva.de", "xn--bcher-kva.de"),
        ("straße.de", "xn--strae-oqa.de"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("example.de", "example.de"),
        ("myexample.com", "myexample.com"),
        ("notinbox.leasebox.test", "notinbox.leasebox.test"),
        ("local.shop.com", "local.shop.com"),
        ("a" * 63 + ".test", "a" * 63 + ".test"),
    ],
)
def test_names_that_may_be_brought(text: str, name: str) -> None:
    assert domain_name(text, OWN) == name


@pytest.mark.parametrize(
    "text",
    [
        "com",
        "acme",
        "acme.test..",
        "*.acme.test",
        "acme_1.test",
        "acme.test:25",
        "http://acme.test",
        "acme.test/",
        "127.0.0.1",
        "0x7f.1",
        "[127.0.0.1]",
        "::1",
        "[IPv6:::1]",
        "acme.localhost",
        "acme.local",
        "acme.invalid",
        "acme.onion",
        "acme.example",
        "www.example.com",
        "inbox.leasebox.test",
        "x.inbox.leasebox.test",
        "leasebox.test",
        "example.net",
        "x.mail.example.net",
        "xn--.test",
        "xn--a.test",
        "xn--bcher-KVA-.test",
        "r2--d2.test",
        "a\x00.test",
        "a\n.test",
        "ａ。test..",
        "",
        ".",
    ],
)
def test_names_that_may_not(text: str) -> None:
    with pytest.raises(DomainRefused) as refused:
        domain_name(text, OWN)
    assert refused.value.fix
    assert text not in refused.value.message or len(text) < 4


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        name = domain_name(text, OWN)
    except DomainRefused:
        return
    assert name.isascii()
    assert name == name.lower()
    assert domain_name(name, OWN) == name


def test_what_is_no_domain_matches_nothing() -> None:
    assert spelled("ACME.test") == "acme.test"
    assert spelled("bücher.de") == "xn--bcher-kva.de"
    assert spelled("no domain") == "no domain"


def test_tokens_are_unlike() -> None:
    assert len({new_token() for _ in range(100)}) == 100


def test_the_records_of_a_tenants_domain() -> None:
    keys = [key("new", "waiting"), key("now"), key("old", "retired", AT)]
    records = records_of(DOMAIN, keys, POLICY)
    assert [(each.purpose, each.key, each.required) for each in records] == [
        ("ownership", "TXT _leasebox.acme.test", True),
        ("mx", "MX acme.test", True),
        ("spf", "TXT acme.test", False),
        ("dkim", "TXT new._domainkey.acme.test", False),
        ("dkim", "TXT now._domainkey.acme.test", False),
        ("dkim", "TXT old._domainkey.acme.test", False),
        ("dmarc", "TXT _dmarc.acme.test", False),
    ]
    assert len({each.key for each in records}) == len(records), "findings are told apart by it"
    assert [each.until for each in records if each.purpose == "dkim"] == [None, None, AT + RETIRED_STAYS]
    assert own_records("acme.test", keys, POLICY) == records[1:]


def test_the_longest_name_has_room_for_what_stands_before_it() -> None:
    name = domain_name(".".join(["a" * 48] * 4) + ".com", OWN)
    assert len(name) == 199
    assert len(f"lb-abcdefgh-ed25519._domainkey.{name}") <= 253


@pytest.mark.parametrize(
    ("ownership", "mx", "proven"),
    [
        ("found", "found", True),
        ("found", "missing", False),
        ("found", "wrong", False),
        ("missing", "found", False),
        ("wrong", "found", False),
    ],
)
def test_ownership_and_mx_prove_it(ownership: str, mx: str, proven: bool) -> None:
    found = {"TXT _leasebox.acme.test": Finding(ownership), "MX acme.test": Finding(mx)}  # type: ignore[arg-type]
    assert is_proven(records_of(DOMAIN, [], POLICY), found) is proven


def test_nothing_looked_at_proves_nothing() -> None:
    assert not is_proven(records_of(DOMAIN, [], POLICY), {})


def test_a_required_record_without_an_answer_is_silence() -> None:
    records = records_of(DOMAIN, [], POLICY)
    answered = {each.key: Finding("missing") for each in records}
    require_answers(records, answered)
    require_answers(records, {**answered, "TXT acme.test": Finding("unknown")})
    for required in ("TXT _leasebox.acme.test", "MX acme.test"):
        with pytest.raises(DnsSilent, match=required):
            require_answers(records, {**answered, required: Finding("unknown")})


def test_waiting_keys_are_out_when_all_of_them_are_found() -> None:
    keys = [key("now"), key("one", "waiting"), key("two", "waiting")]
    found = {f"TXT {each}._domainkey.acme.test": Finding("found") for each in ("now", "one", "two")}
    assert waiting_keys_are_out(keys, "acme.test", found)
    assert not waiting_keys_are_out(keys, "acme.test", {**found, "TXT one._domainkey.acme.test": Finding("wrong")})
    assert not waiting_keys_are_out(keys, "other.test", found)
    assert not waiting_keys_are_out([key("now")], "acme.test", found), "none waits"


def test_findings_come_back_from_the_database() -> None:
    assert findings_of({"MX a.test": {"state": "wrong", "seen": ["5 x"]}}) == {"MX a.test": Finding("wrong", ("5 x",))}


def test_a_day_is_shorter_than_the_grace() -> None:
    assert timedelta(days=2) < RETIRED_STAYS, "mail in a queue was signed up to two days ago"
