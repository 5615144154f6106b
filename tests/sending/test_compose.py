"""Composing: what our reader and the standard library find in the octets is what was drafted, and nothing else."""

import email
import email.policy
import re
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from itertools import count
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leasebox.mail import mime
from leasebox.sending.compose import Author, compose, header_message_id, message_of
from leasebox.sending.draft import AttachmentGiven, Wish, read_draft
from leasebox.sending.errors import Unsendable
from leasebox.values.ids import SendAttemptId

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
ATTEMPT = SendAttemptId.new(NOW)
AUTHOR = Author("quick-otter@inbox.leasebox.test", "Quick Otter")
PNG = AttachmentGiven("dot.png", "image/png", b"\x89PNG dot", "dot@1", True)
PDF = AttachmentGiven("Rechnung März.pdf", "application/pdf", bytes(range(256)) * 20)


def composed(to: Any = "to@b.example", subject: str = "Hello", author: Author = AUTHOR, **wish: Any) -> bytes:
    return compose(read_draft(to, subject, Wish(**wish), NOW), author, ATTEMPT, NOW)


def read(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def test_a_plain_text_stays_as_it_is() -> None:
    content = composed(text="Hello,\nhow are you?")
    assert content == (
        b"From: Quick Otter <quick-otter@inbox.leasebox.test>\r\n"
        b"To: to@b.example\r\n"
        b"Subject: Hello\r\n"
        b"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\n"
        b"Message-ID: " + header_message_id(ATTEMPT, "inbox.leasebox.test").encode() + b"\r\n"
        b"MIME-Version: 1.0\r\n"
        b'Content-Type: text/plain;\r\n charset="utf-8"\r\n'
        b"Content-Transfer-Encoding: 7bit\r\n"
        b"\r\n"
        b"Hello,\r\nhow are you?\r\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a\r\nb\rc\nd",
        "Grüße aus Köln",
        "данные " * 200,
        "x" * 5_000,
        "trailing blank \nand tab\t\nend",
        "From here\n.\n..\n",
        "form\x0cfeed \x0b \x1b",
        "next\x85line and\u2028paragraph",
        "=?utf-8?Q?no?= =3D =\n=",
        "emoji 🦦" * 50,
        "--=_boundary\n--",
    ],
    ids=ascii,
)
def test_any_text_comes_back_whole_and_in_seven_bits(text: str) -> None:
    content = composed(text=text, attachments=[PDF])
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", content)
    (body,) = [part for part in read(content).walk() if part.get_content_type() == "text/plain"]
    payload = body.get_payload(decode=True)
    assert isinstance(payload, bytes)
    wanted = re.sub("\r\n|\r|\n", "\r\n", text)
    assert payload.decode().removesuffix("\r\n") == wanted.removesuffix("\r\n")


def test_a_text_is_made_from_the_page_where_it_is_missing() -> None:
    message = read(composed(html="<h1>Title</h1><p>Body &amp; soul</p><p style='display:none'>hidden</p>"))
    assert message.get_content_type() == "multipart/alternative"
    text, page = message.iter_parts()
    assert (text.get_content_type(), page.get_content_type()) == ("text/plain", "text/html")
    assert "Body & soul" in text.get_content() and "hidden" not in text.get_content()
    assert "<p>Body &amp; soul</p>" in page.get_content()


def test_pictures_stand_with_the_page_and_files_below_all() -> None:
    page = '<p>See <img src="cid:dot@1"></p>'
    content = composed(text="See", html=page, attachments=[PDF, PNG])
    message = read(content)
    kinds = [part.get_content_type() for part in message.walk()]
    assert kinds == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "application/pdf",
    ]
    parts = list(message.walk())
    assert (parts[5]["content-id"], parts[5].get_content_disposition()) == ("<dot@1>", "inline")
    assert (parts[6].get_filename(), parts[6].get_content_disposition()) == (PDF.filename, "attachment")
    assert parts[6].get_payload(decode=True) == PDF.content_base64
    assert str(parts[3].get_param("type")) == "text/html"
    listed = {each.filename: each for each in mime.parse(content).attachments}
    assert listed[PNG.filename].content_id == "dot@1"
    found = mime.attachment(content, listed[PDF.filename].index)
    assert found is not None and found.content == PDF.content_base64


def test_without_a_page_an_inline_file_is_attached() -> None:
    message = read(composed(text="See", attachments=[PNG]))
    assert [part.get_content_type() for part in message.walk()] == ["multipart/mixed", "text/plain", "image/png"]


def test_blind_copies_are_nowhere_in_it() -> None:
    content = composed(text="Hi", cc=["Carl <cc@b.example>"], bcc=["secret@b.example"])
    assert b"secret" not in content and b"bcc" not in content.lower()
    assert str(read(content)["cc"]) == "Carl <cc@b.example>"


def test_with_blind_copies_alone_nobody_is_named() -> None:
    content = composed(to=None, text="Hi", bcc="secret@b.example")
    assert b"\r\nTo: undisclosed-recipients:;\r\n" in content
    assert b"secret" not in content


def test_its_date_is_the_time_that_it_goes_out() -> None:
    later = NOW + timedelta(days=3)
    assert b"\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n" in composed(text="x", send_at=later)


def test_fields_of_ones_own_stand_as_given() -> None:
    link = "<https://shop.example/unsubscribe/" + "a" * 200 + ">, <mailto:stop@shop.example>"
    headers = {"X-Order": "Nr. 5 für Ann", "List-Unsubscribe": link, "Auto-Submitted": "auto-generated"}
    message = read(composed(text="x", headers=headers, reply_to="Desk <desk@b.example>"))
    assert {name: str(message[name]) for name in headers} == headers
    assert str(message["reply-to"]) == "Desk <desk@b.example>"
    assert b"List-Unsubscribe: <https://" in composed(text="x", headers=headers)


@pytest.mark.parametrize("name", ["Evil\r\nBcc: x@y.example", "a\nb", "a\x00b", "a\x85b", "a\u2028b"], ids=ascii)
def test_a_display_name_of_whatever_origin_is_one_line(name: str) -> None:
    content = composed(text="x", author=Author("me@inbox.leasebox.test", name))
    assert re.fullmatch(rb'From: "?[ -~]+"? <me@inbox\.leasebox\.test>', content.split(b"\r\n")[0])
    assert [each.addr_spec for each in read(content)["from"].addresses] == ["me@inbox.leasebox.test"]
    assert "bcc" not in read(content)


def test_what_our_reader_finds_is_what_the_mailbox_shows() -> None:
    content = composed(to="Žofie <z@b.example>", subject="Ärger", text="Code 481 223", html="<p>Code <b>481 223</b>")
    fresh = message_of(content)
    assert (fresh.direction, fresh.sender, fresh.sender_name) == ("outbound", AUTHOR.address, "Quick Otter")
    assert (fresh.subject, fresh.text, fresh.recipients) == (
        "Ärger",
        "Code 481 223",
        [{"name": "Žofie", "address": "z@b.example"}],
    )
    assert fresh.header_message_id == header_message_id(ATTEMPT, AUTHOR.domain)
    assert (fresh.otp_code, fresh.parsed_status, fresh.defects) == (None, "none", ())


def test_boundaries_are_those_that_are_given() -> None:
    numbers = count()
    draft = read_draft("a@b.example", "s", Wish(text="a", html="b", attachments=[PDF]), NOW)
    content = compose(draft, AUTHOR, ATTEMPT, NOW, lambda: f"=_{next(numbers)}")
    assert content == compose(draft, AUTHOR, ATTEMPT, NOW, iter(["=_0", "=_1"]).__next__)
    assert content.count(b"--=_0\r\n") == 2 and content.count(b"--=_1\r\n") == 2


TEXTS = st.text(max_size=60) | st.sampled_from(
    ["a@b.example", "Ann <a@b.example>", '"a b"@c.example', "x\r\nBcc: e@f.example"]
)


@settings(max_examples=300, deadline=None)
@given(
    to=st.lists(TEXTS, max_size=3),
    subject=TEXTS,
    texts=st.tuples(st.none() | TEXTS, st.none() | TEXTS),
    file=st.tuples(TEXTS, TEXTS | st.just("text/plain"), st.binary(max_size=80), st.none() | TEXTS, st.booleans()),
    headers=st.dictionaries(TEXTS | st.sampled_from(["X-A", "List-Id"]), TEXTS, max_size=2),
    name=st.none() | TEXTS,
)
@example(
    to=['" "@b.example'],
    subject="",
    texts=("", None),
    file=("x", "text/plain", b"", None, False),
    headers={},
    name=None,
)
def test_whatever_passes_is_composed_and_whatever_does_not_is_told(
    to: list[str],
    subject: str,
    texts: tuple[str | None, str | None],
    file: tuple[str, str, bytes, str | None, bool],
    headers: dict[str, str],
    name: str | None,
) -> None:
    wish = Wish(text=texts[0], html=texts[1], attachments=[AttachmentGiven(*file)], headers=headers)
    try:
        draft = read_draft(to, subject, wish, NOW)
    except Unsendable as refused:
        assert refused.fields["errors"]
        return
    content = compose(draft, Author("me@inbox.leasebox.test", name), ATTEMPT, NOW)
    found = mime.parse(content)
    assert [each.address for each in found.to] == [each.address for each in draft.to]
    assert (found.sender, found.cc, found.defects) == ("me@inbox.leasebox.test", (), ())
    assert [field for field, _ in found.headers].count("Content-Type") == 1
    assert "bcc" not in {field.lower() for field, _ in found.headers}
