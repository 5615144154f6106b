"""One alphabet, no old mail, no addresses."""

import pytest

from leasebox.mail.otp_source import blot, is_forward, is_reply, normalise, without_quotes


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("４８１９２０", "481920"),
        ("٤٨١٩٢٠ ۴۸ ४८ ৪৮", "481920 48 48 48"),
        ("4\u200b8\u20601\ufeff9\u00ad20", "481920"),
        ("481\u2011920", "481-920"),
        ("481\u00a0920", "481 920"),
        ("码：4819，5分钟", "码:4819、5分钟"),
        ("a\r\nb", "a\nb"),
        ("plain", "plain"),
        ("\ud800", "\ud800"),
    ],
)
def test_one_alphabet(text: str, plain: str) -> None:
    assert normalise(text) == plain


@pytest.mark.parametrize(
    "hidden",
    [
        "https://x.example/481920?c=481920",
        "www.x.example/481920",
        "481920@x.example",
        "10.148.19.20",
        "#481920",
        "+1 (415) 555-0199",
        "00340434161094042557",
        "01234567-89ab-cdef-0123-456789abcdef",
        "abc-defg-hij",
    ],
)
def test_addresses_are_blotted_out(hidden: str) -> None:
    assert blot(f"a {hidden} b") == f"a {'~' * len(hidden)} b"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("new\n> old\n>> older", "new"),
        ("new\n\nOn Mon, 2 Mar 2026, Ada wrote:\nold", "new"),
        ("new\n\nOn Mon, 2 Mar 2026 at 10:01,\nAda <a@x.example> wrote:\nold", "new"),
        ("new\nAm 02.03.2026 um 10:01 schrieb Ada:\nold", "new"),
        ("new\n-----Original Message-----\nold", "new"),
        ("new\nVon: Ada\nGesendet: Montag\nold", "new"),
        ("new\nFrom: Ada\nTo: Bob\nDate: Monday\nold", "new"),
        ("From: Ada\nDate: Monday\nnew", "From: Ada\nDate: Monday\nnew"),
        ("Your code:\nnew", "Your code:\nnew"),
        ("-- dashes -- new", "-- dashes -- new"),
    ],
)
def test_quotes_are_cut(text: str, kept: str) -> None:
    assert without_quotes(text, "Re: x").strip() == kept


def test_a_forwarded_mail_is_no_quote() -> None:
    text = "fyi\n---------- Forwarded message ---------\nFrom: A\nDate: B\n> code 4819"
    assert is_forward(text)
    assert "code 4819" in without_quotes(text, "Fwd: x")
    assert "code 4819" in without_quotes("From: A\nDate: B\n> code 4819", "WG: x")


@pytest.mark.parametrize(("subject", "reply"), [("Re: x", True), ("AW: x", True), ("回复：x", True), ("Reset", False)])
def test_replies_say_so(subject: str, reply: bool) -> None:
    assert is_reply(subject) is reply
