"""Judging a wish: every fault is told at once, and what passes is sound."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from leasebox.sending.addressees import RECIPIENTS
from leasebox.sending.draft import (
    ATTACHED_OCTETS,
    FREE,
    STRUCTURED,
    TEXT_OCTETS,
    AttachmentGiven,
    Draft,
    Wish,
    is_attachable,
    is_content_id,
    read_draft,
    read_message_id,
    sound_message_ids,
)
from leasebox.sending.errors import TooManyOctets, Unsendable

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


def draft(to: Any = "to@b.example", subject: str = "s", **wish: Any) -> Draft:
    return read_draft(to, subject, Wish(**wish), NOW)


def faults(to: Any = "to@b.example", subject: str = "s", **wish: Any) -> set[str]:
    """The paths that are found fault with."""
    with pytest.raises(Unsendable) as refused:
        draft(to, subject, **wish)
    return {fault.path for fault in refused.value.fields["errors"]}


def file(**changes: Any) -> AttachmentGiven:
    given: dict[str, Any] = {"filename": "a.txt", "content_type": "text/plain", "content_base64": b"a"}
    return AttachmentGiven(**{**given, **changes})


def test_a_recipient_may_be_one_text_or_a_list() -> None:
    made = draft(["a@x.example", "B <b@x.example>"], cc="c@x.example", bcc=["A@x.example", "d@x.example"])
    assert [(kind, each.address) for kind, each in made.recipients] == [
        ("to", "a@x.example"),
        ("to", "b@x.example"),
        ("cc", "c@x.example"),
        ("bcc", "d@x.example"),
    ]


def test_all_faults_are_told_together() -> None:
    found = faults(
        ["a@x.example", "nobody"],
        "two\nlines",
        cc="x",
        bcc=["b@x.example", "y", "z"],
        reply_to="Desk <>",
        text="\x00",
        attachments=[file(filename="a/b"), file(content_type="text", content_id="<a>")],
        headers={"From": "me@x.example", "X-Ok": "fine", "X-Bad": "a\r\nb"},
        send_at=NOW - timedelta(seconds=1),
    )
    assert found == {
        "body.to[1]",
        "body.subject",
        "body.cc",
        "body.bcc[1]",
        "body.bcc[2]",
        "body.reply_to",
        "body.text",
        "body.attachments[0].filename",
        "body.attachments[1].content_type",
        "body.attachments[1].content_id",
        "body.headers.From",
        "body.headers.X-Bad",
        "body.send_at",
    }


def test_somebody_must_be_named() -> None:
    assert faults(None) == faults([], cc=[], bcc=None) == {"body.to"}
    assert [each.address for each in draft(None, bcc="b@x.example").bcc] == ["b@x.example"]


def test_a_hundred_recipients_are_the_most() -> None:
    many = [f"p{number}@x.example" for number in range(RECIPIENTS)]
    assert len(draft(many, bcc=many).recipients) == RECIPIENTS
    assert faults(many, bcc="one-more@x.example") == {"body.to"}


@pytest.mark.parametrize(
    "name",
    [
        *("From To Cc Bcc Date Message-ID Received Return-Path Reply-To Sender Subject DKIM-Signature".split()),
        *("In-Reply-To References MIME-Version Content-Type Content-Disposition Resent-From X- List-".split()),
        *("Authentication-Results ARC-Seal Disposition-Notification-To from FROM Xtra".split()),
        *("", "X Spaced", "X-Colon:", "X-Ünï", "X-" + "a" * 80, "-X", "X-A\r\nBcc", "X-A\x00", "Auto-Submitted-Too"),
    ],
    ids=ascii,
)
def test_a_field_that_says_who_or_how_cannot_be_set(name: str) -> None:
    assert len(faults(headers={name: "value"})) == 1


@pytest.mark.parametrize(
    "name", ["X-Order", "x-order", "List-Unsubscribe", "List-Id", *sorted(FREE), *sorted(STRUCTURED)]
)
def test_others_can(name: str) -> None:
    assert draft(headers={name: "value"}).headers == ((name, "value"),)


def test_a_field_stands_once_and_a_structured_one_is_ascii() -> None:
    assert faults(headers={"X-A": "1", "x-a": "2"}) == {"body.headers.x-a"}
    assert faults(headers={"List-Id": "Grüße"}) == {"body.headers.List-Id"}
    assert faults(headers={"List-Id": "a" * 901}) == {"body.headers.List-Id"}
    assert draft(headers={"X-Greeting": "Grüße " + "a" * 901}).headers


@pytest.mark.parametrize(
    ("kind", "may"),
    [
        ("text/plain", True),
        ("text/csv; charset=utf-8", True),
        ('text/csv;charset="utf-8"', True),
        ("application/vnd.ms-excel.sheet.macroEnabled.12", True),
        ("image/svg+xml", True),
        ("message/rfc822", False),
        ("Multipart/Mixed", False),
        ("text", False),
        ("text/", False),
        ("text/plain; name=x", False),
        ("text/plain\r\nBcc: x@y.example", False),
        ("text/pl\u2028ain", False),
        ("", False),
    ],
    ids=ascii,
)
def test_what_may_be_attached(kind: str, may: bool) -> None:
    assert is_attachable(kind) is may


def test_a_content_id_has_no_brackets() -> None:
    assert (
        is_content_id("dot@1.2") and not is_content_id("<dot>") and not is_content_id("a b") and not is_content_id("")
    )


@pytest.mark.parametrize("name", ["", "a\nb", "../x", "a\\b", "n" * 201, "é" * 101, "a\u2028b", "\x00"], ids=ascii)
def test_a_file_name_is_one_line_without_a_path(name: str) -> None:
    assert faults(attachments=[file(filename=name)]) == {"body.attachments[0].filename"}


def test_texts_and_files_have_bounds() -> None:
    assert draft(text="a" * TEXT_OCTETS).text
    assert faults(html="é" * TEXT_OCTETS) == {"body.html"}
    half = file(content_base64=bytes(ATTACHED_OCTETS // 2))
    assert draft(attachments=[half, half]).octets == ATTACHED_OCTETS
    with pytest.raises(TooManyOctets):
        draft(attachments=[half, half, file()])


@pytest.mark.parametrize(
    ("days", "sound"), [(0, False), (-1, False), (1 / 86_400, True), (30, True), (30.001, False), (4_000, False)]
)
def test_it_may_go_out_in_the_next_30_days(days: float, sound: bool) -> None:
    moment = NOW + timedelta(days=days)
    if sound:
        assert draft(send_at=moment).send_at == moment
    else:
        assert faults(send_at=moment) == {"body.send_at"}


def test_a_time_needs_an_offset() -> None:
    assert faults(send_at=datetime(2026, 11, 21)) == {"body.send_at"}  # noqa: DTZ001 - this is what is refused


def test_a_message_id_has_brackets_and_no_more() -> None:
    assert read_message_id("<a.b+c@d.example>") == "<a.b+c@d.example>"
    for text in ("a@b.example", "<a@b> <c@d>", "<a b@c>", "<a@b\r\nBcc: x>", "<a>", "<a@b\u2028>", ""):
        with pytest.raises(Unsendable):
            read_message_id(text)
    assert sound_message_ids(["<a@b>", "<a>", "<é@b>", "<c@d>"]) == ("<a@b>", "<c@d>")


def test_what_is_read_already_is_taken_as_it_is() -> None:
    first = draft("a@x.example").to
    made = read_draft(first, "s", Wish(cc="c@x.example"), NOW, draft("b@x.example").to)
    assert ([each.address for each in made.to], [each.address for each in made.cc]) == (
        ["a@x.example"],
        ["b@x.example", "c@x.example"],
    )
