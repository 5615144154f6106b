"""Mail addresses: one canonical spelling each, and nothing malformed gets in."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.values.addresses import Mailbox, MalformedAddress, canonical_domain


@pytest.mark.parametrize(
    ("text", "address", "full"),
    [
        ("ann@inbox.example", "ann@inbox.example", "ann@inbox.example"),
        ("Ann@INBOX.Example", "ann@inbox.example", "ann@inbox.example"),
        ("ann+shop@inbox.example", "ann@inbox.example", "ann+shop@inbox.example"),
        ("ann+a+b@inbox.example", "ann@inbox.example", "ann+a+b@inbox.example"),
        ("ann+@inbox.example", "ann@inbox.example", "ann@inbox.example"),
        ("+ann@inbox.example", "+ann@inbox.example", "+ann@inbox.example"),
        ("++@inbox.example", "+@inbox.example", "+@inbox.example"),
        ('"ann"@inbox.example', "ann@inbox.example", "ann@inbox.example"),
        ('"a\\nn"@inbox.example', "ann@inbox.example", "ann@inbox.example"),
        ('"ann+shop"@inbox.example', "ann@inbox.example", "ann+shop@inbox.example"),
        ('"Ann B"@inbox.example', '"ann b"@inbox.example', '"ann b"@inbox.example'),
        ('"a@b"@inbox.example', '"a@b"@inbox.example', '"a@b"@inbox.example'),
        ('"a\\"\\\\b"@inbox.example', '"a\\"\\\\b"@inbox.example', '"a\\"\\\\b"@inbox.example'),
        ('"a..b"@inbox.example', '"a..b"@inbox.example', '"a..b"@inbox.example'),
        ("!#$%&'*/=?^_`{|}~-@x.example", "!#$%&'*/=?^_`{|}~-@x.example", "!#$%&'*/=?^_`{|}~-@x.example"),
        ("a@localhost", "a@localhost", "a@localhost"),
        ("a@bounce_1.example", "a@bounce_1.example", "a@bounce_1.example"),
        ("a@[192.0.2.1]", "a@[192.0.2.1]", "a@[192.0.2.1]"),
        ("a@[ipv6:2001:DB8:0::1]", "a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"),
        ("Müller@Bücher.example", "müller@xn--bcher-kva.example", "müller@xn--bcher-kva.example"),
        ("mu\u0308ller@x.example", "müller@x.example", "müller@x.example"),
        ("H\u0331@x.example", "\u1e96@x.example", "\u1e96@x.example"),
        ("a@xn--BCHER-kva.example", "a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("a@bücher。example", "a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("a@straße.example", "a@xn--strae-oqa.example", "a@xn--strae-oqa.example"),
        ("用户@例子.example", "用户@xn--fsqu00a.example", "用户@xn--fsqu00a.example"),
    ],
)
def test_canonical_form(text: str, address: str, full: str) -> None:
    mailbox = Mailbox.parse(text)
    assert (mailbox.address, str(mailbox)) == (address, full)
    assert Mailbox.parse(full) == mailbox


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "ann",
        "ann@",
        "@inbox.example",
        "a b@inbox.example",
        "a..b@inbox.example",
        ".a@inbox.example",
        "a.@inbox.example",
        "a@b@inbox.example",
        "<ann@inbox.example>",
        "ann@inbox.example ",
        "(x)ann@inbox.example",
        '""@inbox.example',
        '"a"b@inbox.example',
        '"a@inbox.example',
        'a"b@inbox.example',
        '"a\\"@inbox.example',
        '"a\r\n"@inbox.example',
        "a\x00@inbox.example",
        "a\r\n@inbox.example",
        "a\u2028b@inbox.example",
        "a\u202eb@inbox.example",
        "a\ud800@inbox.example",
        "a@inbox..example",
        "a@.example",
        "a@inbox.example.",
        "a@-x.example",
        "a@x-.example",
        "a@in box.example",
        "a@x.example\n",
        "a@" + "x" * 64 + ".example",
        "a@" + "x." * 127 + "example",
        "a@" + "ü" * 64 + ".example",
        "a" * 256 + "@x.example",
        "ü" * 128 + "@x.example",
        "a@\u202ex.example",
        "a@x\u3002\u3002example",
        "a@[192.0.2.256]",
        "a@[192.0.2.1",
        "a@[]",
        "a@[IPv6:]",
        "a@[IPv6:192.0.2.1]",
        "a@[x-tag:y]",
        "a@℀.example",
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(MalformedAddress) as refusal:
        Mailbox.parse(text)
    assert len(text) < 4 or text not in str(refusal.value)


@given(
    st.text(max_size=40), st.sampled_from(["", "@x.example", "@İ.example", '"@x.example']), st.sampled_from(["", '"'])
)
def test_parsing_is_total_and_canonical_is_final(text: str, domain: str, quote: str) -> None:
    try:
        mailbox = Mailbox.parse(quote + text + domain)
    except MalformedAddress:
        return
    assert Mailbox.parse(str(mailbox)) == mailbox
    assert Mailbox.parse(mailbox.address).address == mailbox.address
    assert mailbox.domain.isascii()


@given(st.text('aA+."\\ @éÉ', min_size=1, max_size=12))
def test_letter_case_never_makes_two_mailboxes(local: str) -> None:
    found: set[Mailbox | None] = set()
    for spelling in (local, local.upper(), local.lower()):
        try:
            found.add(Mailbox.parse(f"{spelling}@x.example"))
        except MalformedAddress:
            found.add(None)
    assert len(found) == 1


def test_literals_are_known() -> None:
    assert Mailbox.parse("a@[192.0.2.1]").is_literal
    assert not Mailbox.parse("a@x.example").is_literal


def test_a_name_at_a_domain() -> None:
    assert Mailbox.at("Postmaster", "Inbox.Example") == Mailbox("postmaster", "inbox.example")
    with pytest.raises(MalformedAddress):
        Mailbox.at("a@b", "inbox.example")


def test_canonical_domain() -> None:
    assert canonical_domain("Bücher.Example") == "xn--bcher-kva.example"
    with pytest.raises(MalformedAddress):
        canonical_domain("")


@pytest.mark.parametrize(
    "text",
    [
        '"' + "\\a" * 50_000 + "@x.example",
        "a." * 50_000 + "@x.example",
        "a@" + "x." * 50_000,
        "a@" + "ü." * 50_000,
        "@" * 100_000,
        "a@" + "ü" * 100_000,
        "ü" * 100_000 + "@x",
        "a@[IPv6:" + ":" * 100_000 + "]",
    ],
)
def test_long_hostile_text_is_refused_at_once(text: str) -> None:
    start = time.process_time()
    with pytest.raises(MalformedAddress):
        Mailbox.parse(text)
    assert time.process_time() - start < 0.2
