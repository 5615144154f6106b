"""What becomes of a header that a client hands in; the body stays as it is."""

from datetime import UTC, datetime

import pytest

from leasebox.mail.smtp_replies import Reply
from leasebox.sending import submission_content as content
from leasebox.sending.submission_content import Handed, Seal, prepare
from tests.mail.smtp_house import codes

ADDRESS = "quiet-otter@inbox.example"
SEAL = Seal(
    ADDRESS, "mx.inbox.example", "ESMTPSA", "snd_1", "<1@inbox.example>", datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
)
RECEIVED = b"Received: by mx.inbox.example with ESMTPSA id snd_1;\r\n\tFri, 20 Nov 2026 12:00:00 +0000\r\n"
FROM = b"From: quiet-otter@inbox.example\r\n"
DATE = b"Date: Fri, 20 Nov 2026 12:00:00 +0000\r\n"
ID = b"Message-ID: <1@inbox.example>\r\n"


def handed(mail: bytes) -> Handed:
    found = prepare(mail, SEAL)
    assert isinstance(found, Handed)
    return found


def refused(mail: bytes) -> Reply:
    found = prepare(mail, SEAL)
    assert isinstance(found, Reply)
    return found


def fields_of(mail: bytes) -> bytes:
    """The header as it goes out, without our Received field."""
    whole = handed(mail).content
    assert whole.startswith(RECEIVED)
    return whole.removeprefix(RECEIVED).partition(b"\r\n\r\n")[0] + b"\r\n"


def test_what_is_missing_is_added() -> None:
    assert (
        handed(b"Subject: Hi\r\n\r\nbody\r\n").content == RECEIVED + FROM + DATE + ID + b"Subject: Hi\r\n\r\nbody\r\n"
    )


def test_what_is_there_is_kept() -> None:
    own = b"Date: Thu, 1 Oct 2026 01:02:03 +0200\r\nMessage-ID: <a.b@laptop.example>\r\nX-Mailer: Own 1.0\r\n"
    found = handed(b"From: Otter <Quiet-Otter@INBOX.example>\r\n" + own + b"\r\nbody\r\n")
    assert b"From: Otter <quiet-otter@inbox.example>\r\n" in found.content
    for line in own.splitlines(keepends=True):
        assert line in found.content
    assert found.header_message_id == "<a.b@laptop.example>"


@pytest.mark.parametrize(
    "field",
    [
        b"Bcc: secret@far.example\r\n",
        b"bcc : secret@far.example,\r\n\tmore@far.example\r\n",
        b"Resent-Bcc: secret@far.example\r\n",
        b"Resent-From: boss@far.example\r\n",
        b"Return-Path: <boss@far.example>\r\n",
        b"Received: from laptop (10.0.0.7)\r\n\tby x; Thu, 1 Oct 2026 01:02:03 +0200\r\n",
        b"DKIM-Signature: v=1; a=rsa-sha256\r\n",
        b"ARC-Seal: i=1\r\n",
        b"Authentication-Results: mx; dkim=pass\r\n",
        b"Received-SPF: pass\r\n",
        b"Sender: boss@far.example\r\n",
        b"X-Payment-Proof: v1.a.b.c\r\n",
        b"Delivered-To: x@far.example\r\n",
    ],
    ids=range(13),
)
def test_what_must_not_go_out_does_not(field: bytes) -> None:
    assert fields_of(b"Subject: Hi\r\n" + field + b"X-After: 1\r\n\r\nbody\r\n") == (
        FROM + DATE + ID + b"Subject: Hi\r\nX-After: 1\r\n"
    )


def test_the_body_is_the_clients_octet_for_octet() -> None:
    body = b"Bcc: not a header\r\n\r\n\xff\x00.\r\n\r\nFrom: nobody\r\n"
    assert handed(b"Subject: Hi\r\n\r\n" + body).content.partition(b"\r\n\r\n")[2] == body
    assert handed(b"Subject: Hi\r\n").content.endswith(b"Subject: Hi\r\n\r\n")


@pytest.mark.parametrize(
    "value",
    [
        b"boss@far.example",
        b"Boss <boss@far.example>",
        b'"quiet-otter@inbox.example" <boss@far.example>',
        b"quiet-otter@inbox.example, boss@far.example",
        b"quiet-otter+x@inbox.example",
        b"quiet-otter@inbox.example.far.example",
        b"Group: quiet-otter@inbox.example, boss@far.example;",
        b"nobody",
        b"<>",
        b"=?utf-8?q?quiet-otter=40inbox.example?=",
    ],
    ids=range(10),
)
def test_a_foreign_from_is_refused(value: bytes) -> None:
    assert refused(b"From: " + value + b"\r\n\r\nx\r\n") is content.FOREIGN_FROM


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (b"quiet-otter@inbox.example", b"quiet-otter@inbox.example"),
        (b"Quiet Otter\r\n\t<quiet-otter@inbox.example>", b"Quiet Otter <quiet-otter@inbox.example>"),
        (b"=?utf-8?q?Otter=0D=0ABcc=3A_x?= <quiet-otter@inbox.example>", b'"Otter Bcc: x" <quiet-otter@inbox.example>'),
        (b"quiet-otter@inbox.example (the otter)", b"the otter <quiet-otter@inbox.example>"),
        (b'"boss@far.example" <quiet-otter@inbox.example>', b'"boss@far.example" <quiet-otter@inbox.example>'),
        (b"<quiet-otter@inbox.example> <boss@far.example>", b"quiet-otter@inbox.example"),
        (b" ", b"quiet-otter@inbox.example"),
    ],
    ids=range(7),
)
def test_from_is_written_anew(value: bytes, written: bytes) -> None:
    """Whatever reader opens it finds this one author in it."""
    assert fields_of(b"From: " + value + b"\r\n\r\nx\r\n") == b"From: " + written + b"\r\n" + DATE + ID


@pytest.mark.parametrize(
    ("mail", "reply"),
    [
        (b"", content.NO_HEADER),
        (b"\r\nbody only\r\n", content.NO_HEADER),
        (b"hello\r\n\r\nx\r\n", content.NO_HEADER),
        (b" folded\r\n\r\nx\r\n", content.NO_HEADER),
        (b"Subject: a\r\nhello\r\n\r\nx\r\n", content.BROKEN_HEADER),
        (b"Subject: a\r\n \r\nBcc: x@far.example\r\n\r\nx\r\n", content.BROKEN_HEADER),
        (b"Subject: a\x00b\r\n\r\n", content.BROKEN_HEADER),
        (b"Subject: a\x0bb\r\n\r\n", content.BROKEN_HEADER),
        (b"Subject: \xc3\xa4\r\n\r\n", content.UTF8_HEADER),
        (b"Subject: a\xc2\x85Bcc: x@far.example\r\n\r\n", content.UTF8_HEADER),
        (b"Subject: a\xe2\x80\xa8Bcc: x@far.example\r\n\r\n", content.UTF8_HEADER),
        (b"S\xc3\xa4: a\r\n\r\n", content.NO_HEADER),
        (b"From: quiet-otter@inbox.example\r\nFrom: quiet-otter@inbox.example\r\n\r\n", content.DOUBLE_FIELD),
        (b"Subject: a\r\nsubject : b\r\n\r\n", content.DOUBLE_FIELD),
        (b"Content-Type: text/plain\r\ncontent-type: text/html\r\n\r\n", content.DOUBLE_FIELD),
        (b"X: " + b"y" * 300_000 + b"\r\n\r\n", content.HEADER_TOO_BIG),
        (b"X: y\r\n" * 1_001 + b"\r\n", content.HEADER_TOO_BIG),
    ],
    ids=range(17),
)
def test_doubtful_headers_are_refused(mail: bytes, reply: Reply) -> None:
    assert refused(mail) is reply
    assert codes(reply.wire)[0].startswith("55")


@pytest.mark.parametrize(
    "value",
    [b"none", b"<a>", b"<a@b> <c@d>", b"", b"<a@b>\r\n <c@d>", b"<a b@c>", b"<" + b"x" * 900 + b"@b>"],
    ids=range(7),
)
def test_a_message_id_that_is_none_is_replaced(value: bytes) -> None:
    found = handed(b"Message-ID: " + value + b"\r\nSubject: x\r\n\r\n")
    assert found.header_message_id == "<1@inbox.example>"
    assert found.content.count(b"Message-ID:") == 1


def test_who_is_named_in_the_header() -> None:
    found = handed(b"To: Ann <Ann@far.example>,\r\n bob@far.example\r\nCc: Group: cleo+x@far.example;\r\n\r\n")
    assert (found.to, found.cc) == ({"ann@far.example", "bob@far.example"}, {"cleo+x@far.example"})
    assert handed(b"Subject: x\r\n\r\n").to == frozenset()


def test_a_proof_may_be_folded() -> None:
    assert handed(b"X-Payment-Proof: v1.k.\r\n\tp.m\r\nSubject: x\r\n\r\n").proof == "v1.k.p.m"
    assert handed(b"X-Payment-Proof:\r\nSubject: x\r\n\r\n").proof is None
    assert handed(b"Subject: x\r\n\r\n").proof is None
