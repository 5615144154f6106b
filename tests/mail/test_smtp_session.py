"""Whole SMTP dialogues, octets in and replies out, however the octets are cut into pieces."""

import dataclasses
from random import Random
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasebox.mail import smtp_replies as say
from leasebox.mail.smtp_data import Bounds
from leasebox.mail.smtp_questions import ContentReceived, Offer, RecipientAsked, SenderAsked, TlsAsked
from leasebox.mail.smtp_session import Session
from leasebox.values.addresses import Mailbox
from tests.mail.smtp_house import OFFER, Dialogue, converse

HI = b"EHLO client.example\r\n"
FROM = b"MAIL FROM:<a@sender.example>\r\n"
TO = b"RCPT TO:<ann@inbox.example>\r\n"
OPEN = HI + FROM + TO
MAIL = b"Subject: hello\r\n\r\nworld\r\n.\r\n"
SMALL = dataclasses.replace(OFFER, bounds=Bounds(octets=200, line_octets=50, hops=3))
TLS = dataclasses.replace(OFFER, extensions=(*OFFER.extensions, "STARTTLS"))

# (name, what the client says, the replies, the contents handed over)
DIALOGUES: list[tuple[str, bytes, str, list[bytes]]] = [
    ("silence", b"", "220", []),
    ("ehlo", HI, "220 250", []),
    ("helo", b"HELO client.example\r\n", "220 250", []),
    ("ehlo with a literal", b"EHLO [192.0.2.1]\r\n", "220 250", []),
    ("ehlo in lower case", b"ehlo client.example\r\n", "220 250", []),
    ("ehlo without a name", b"EHLO\r\n", "220 501/5.5.4", []),
    ("ehlo with two names", b"EHLO a b\r\n", "220 501/5.5.4", []),
    ("ehlo with a name in UTF-8", "EHLO müller\r\n".encode(), "220 501/5.5.4", []),
    ("ehlo twice", HI + HI, "220 250 250", []),
    ("mail first", FROM, "220 503/5.5.1", []),
    ("rcpt first", HI + TO, "220 250 503/5.5.1", []),
    ("data first", HI + b"DATA\r\n", "220 250 503/5.5.1", []),
    ("quit at once", b"QUIT\r\n", "220 221/2.0.0", []),
    ("quit ends all", b"QUIT\r\nNOOP\r\n" + HI, "220 221/2.0.0", []),
    ("noop", b"NOOP\r\nNOOP now\r\n", "220 250/2.0.0 250/2.0.0", []),
    ("help", b"HELP\r\nHELP MAIL\r\n", "220 214/2.0.0 214/2.0.0", []),
    ("vrfy", b"VRFY ann\r\nVRFY\r\n", "220 252/2.0.0 501/5.5.4", []),
    ("expn", b"EXPN all\r\n", "220 502/5.5.1", []),
    ("auth is not offered", HI + b"AUTH PLAIN AGEAYg==\r\n", "220 250 502/5.5.1", []),
    ("rset", HI + b"RSET\r\nRSET now\r\n", "220 250 250/2.0.0 501/5.5.4", []),
    ("rset forgets", OPEN + b"RSET\r\nDATA\r\n", "220 250 250/2.1.0 250/2.1.5 250/2.0.0 503/5.5.1", []),
    ("ehlo forgets", OPEN + HI + TO, "220 250 250/2.1.0 250/2.1.5 250 503/5.5.1", []),
    ("unknown verb", b"XYZZY\r\n", "220 500/5.5.2", []),
    ("empty line", b"\r\n", "220 500/5.5.2", []),
    ("starttls is not offered", HI + b"STARTTLS\r\n", "220 250 502/5.5.1", []),
    (
        "one mail",
        OPEN + b"DATA\r\n" + MAIL + b"QUIT\r\n",
        "220 250 250/2.1.0 250/2.1.5 354 250/2.0.0 221/2.0.0",
        [b"Subject: hello\r\n\r\nworld\r\n"],
    ),
    (
        "two mails",
        (OPEN + b"DATA\r\n" + MAIL) + FROM + TO + b"DATA\r\nsecond\r\n.\r\n",
        "220 250 250/2.1.0 250/2.1.5 354 250/2.0.0 250/2.1.0 250/2.1.5 354 250/2.0.0",
        [b"Subject: hello\r\n\r\nworld\r\n", b"second\r\n"],
    ),
    ("empty mail", OPEN + b"DATA\r\n.\r\n", "220 250 250/2.1.0 250/2.1.5 354 250/2.0.0", [b""]),
    ("one empty line", OPEN + b"DATA\r\n\r\n.\r\n", "220 250 250/2.1.0 250/2.1.5 354 250/2.0.0", [b"\r\n"]),
    (
        "dots",
        OPEN + b"DATA\r\n..\r\n...a\r\n.b\r\nc.\r\nd\r\n..\r\n.\r\n",
        "220 250 250/2.1.0 250/2.1.5 354 250/2.0.0",
        [b".\r\n..a\r\nb\r\nc.\r\nd\r\n.\r\n"],
    ),
    (
        "NUL and 8-bit octets in a mail",
        OPEN + b"DATA\r\na\x00b\xff\xfe\r\n.\r\n",
        "220 250 250/2.1.0 250/2.1.5 354 250/2.0.0",
        [b"a\x00b\xff\xfe\r\n"],
    ),
    ("null sender", HI + b"MAIL FROM:<>\r\n" + TO, "220 250 250/2.1.0 250/2.1.5", []),
    ("source route", HI + b"MAIL FROM:<@a.example,@b.example:u@c.example>\r\n", "220 250 250/2.1.0", []),
    ("quoted sender", HI + b'MAIL FROM:<"a b>c"@sender.example>\r\n', "220 250 250/2.1.0", []),
    ("sender at a literal", HI + b"MAIL FROM:<a@[192.0.2.1]>\r\n", "220 250 250/2.1.0", []),
    ("space after the colon", HI + b"MAIL FROM: <a@sender.example>\r\n", "220 250 250/2.1.0", []),
    ("no brackets", HI + b"MAIL FROM:a@sender.example\r\n", "220 250 501/5.1.7", []),
    ("mail without from", HI + b"MAIL <a@sender.example>\r\n", "220 250 501/5.1.7", []),
    ("sender without a domain", HI + b"MAIL FROM:<a>\r\n", "220 250 501/5.1.7", []),
    ("mail in a mail", OPEN + FROM, "220 250 250/2.1.0 250/2.1.5 503/5.5.1", []),
    ("size fits", HI + b"MAIL FROM:<a@s.example> SIZE=26214400\r\n", "220 250 250/2.1.0", []),
    ("size is too big", HI + b"MAIL FROM:<a@s.example> SIZE=26214401\r\n", "220 250 552/5.3.4", []),
    ("size is no number", HI + b"MAIL FROM:<a@s.example> SIZE=-1\r\n", "220 250 501/5.5.4", []),
    ("size is missing", HI + b"MAIL FROM:<a@s.example> SIZE\r\n", "220 250 501/5.5.4", []),
    ("body", HI + b"MAIL FROM:<a@s.example> body=8bitmime\r\n", "220 250 250/2.1.0", []),
    ("binary body", HI + b"MAIL FROM:<a@s.example> BODY=BINARYMIME\r\n", "220 250 501/5.5.4", []),
    ("same parameter twice", HI + b"MAIL FROM:<a@s.example> SIZE=1 SIZE=1\r\n", "220 250 501/5.5.4", []),
    ("DSN at mail", HI + b"MAIL FROM:<a@s.example> RET=HDRS ENVID=x\r\n", "220 250 555/5.5.4", []),
    ("DSN at rcpt", HI + FROM + TO[:-2] + b" NOTIFY=NEVER\r\n", "220 250 250/2.1.0 555/5.5.4", []),
    ("SMTPUTF8 with a value", HI + b"MAIL FROM:<a@s.example> SMTPUTF8=1\r\n", "220 250 501/5.5.4", []),
    ("UTF-8 sender", HI + "MAIL FROM:<ä@s.example> SMTPUTF8\r\n".encode(), "220 250 250/2.1.0", []),
    ("UTF-8 sender unannounced", HI + "MAIL FROM:<ä@s.example>\r\n".encode(), "220 250 553/5.6.7", []),
    ("broken UTF-8 sender", HI + b"MAIL FROM:<\xff@s.example> SMTPUTF8\r\n", "220 250 501/5.1.7", []),
    (
        "UTF-8 recipient unannounced",
        HI + FROM + "RCPT TO:<ä@i.example>\r\n".encode(),
        "220 250 250/2.1.0 553/5.6.7",
        [],
    ),
    (
        "UTF-8 recipient",
        HI + b"MAIL FROM:<> SMTPUTF8\r\n" + "RCPT TO:<Müller@INBOX.example>\r\n".encode(),
        "220 250 250/2.1.0 250/2.1.5",
        [],
    ),
    ("rate", HI + b"MAIL FROM:<eager@s.example>\r\n" + TO, "220 250 450/4.7.1 503/5.5.1", []),
    ("unknown", HI + FROM + b"RCPT TO:<nobody@inbox.example>\r\n", "220 250 250/2.1.0 550/5.1.1", []),
    ("foreign", HI + FROM + b"RCPT TO:<ann@elsewhere.example>\r\n", "220 250 250/2.1.0 550/5.7.1", []),
    ("ended", HI + FROM + b"RCPT TO:<ended@inbox.example>\r\n", "220 250 250/2.1.0 550/5.2.1", []),
    ("frozen", HI + FROM + b"RCPT TO:<frozen@inbox.example>\r\n", "220 250 250/2.1.0 550/5.2.1", []),
    ("paused", HI + FROM + b"RCPT TO:<paused@inbox.example>\r\n", "220 250 250/2.1.0 450/4.2.1", []),
    ("over quota", HI + FROM + b"RCPT TO:<full@inbox.example>\r\n", "220 250 250/2.1.0 452/4.2.2", []),
    ("unavailable", HI + FROM + b"RCPT TO:<broken@inbox.example>\r\n", "220 250 250/2.1.0 451/4.3.0", []),
    ("tagged", HI + FROM + b"RCPT TO:<Ann+shop@Inbox.Example>\r\n", "220 250 250/2.1.0 250/2.1.5", []),
    ("quoted recipient", HI + FROM + b'RCPT TO:<"ann"@inbox.example>\r\n', "220 250 250/2.1.0 250/2.1.5", []),
    ("literal recipient", HI + FROM + b"RCPT TO:<ann@[127.0.0.1]>\r\n", "220 250 250/2.1.0 550/5.1.2", []),
    ("bare postmaster", HI + FROM + b"RCPT TO:<Postmaster>\r\n", "220 250 250/2.1.0 250/2.1.5", []),
    ("empty recipient", HI + FROM + b"RCPT TO:<>\r\n", "220 250 250/2.1.0 501/5.1.3", []),
    ("rcpt without to", HI + FROM + b"RCPT <ann@inbox.example>\r\n", "220 250 250/2.1.0 501/5.1.3", []),
    ("data with an argument", OPEN + b"DATA now\r\n", "220 250 250/2.1.0 250/2.1.5 501/5.5.4", []),
    (
        "data after refused recipients",
        HI + FROM + b"RCPT TO:<nobody@inbox.example>\r\nDATA\r\nRSET\r\n",
        "220 250 250/2.1.0 550/5.1.1 554/5.5.1 250/2.0.0",
        [],
    ),
    (
        "a mail that nobody asked for is not obeyed",
        HI
        + FROM
        + b"RCPT TO:<nobody@inbox.example>\r\nDATA\r\nSubject: x\r\n\r\nRSET\r\n"
        + OPEN
        + b"DATA\r\nx\r\n.\r\n",
        "220 250 250/2.1.0 550/5.1.1 554/5.5.1 421/4.7.0",
        [],
    ),
    (
        "one of two recipients",
        HI + FROM + b"RCPT TO:<nobody@inbox.example>\r\n" + TO + b"DATA\r\nx\r\n.\r\n",
        "220 250 250/2.1.0 550/5.1.1 250/2.1.5 354 250/2.0.0",
        [b"x\r\n"],
    ),
    (
        "ended between rcpt and data",
        HI + FROM + b"RCPT TO:<late-ended@inbox.example>\r\nDATA\r\nx\r\n.\r\nNOOP\r\n",
        "220 250 250/2.1.0 250/2.1.5 354 550/5.2.1 250/2.0.0",
        [],
    ),
    (
        "disk full",
        HI + FROM + b"RCPT TO:<late-disk-full@inbox.example>\r\nDATA\r\nx\r\n.\r\n" + FROM,
        "220 250 250/2.1.0 250/2.1.5 354 452/4.3.1 250/2.1.0",
        [],
    ),
    ("bdat in one", OPEN + b"BDAT 7 LAST\r\nabc\r\nde", "220 250 250/2.1.0 250/2.1.5 250/2.0.0", [b"abc\r\nde"]),
    (
        "bdat in three, dots are dots",
        OPEN + b"BDAT 5\r\n.\r\n.\rBDAT 3\r\n\n..BDAT 0 LAST\r\n",
        "220 250 250/2.1.0 250/2.1.5 250/2.0.0 250/2.0.0 250/2.0.0",
        [b".\r\n.\r\n.."],
    ),
    (
        "bdat holds what looks like the end and commands",
        OPEN + b"BDAT 18 LAST\r\na\r\n.\r\nRSET\r\nQUIT\r\nNOOP\r\n",
        "220 250 250/2.1.0 250/2.1.5 250/2.0.0 250/2.0.0",
        [b"a\r\n.\r\nRSET\r\nQUIT\r\n"],
    ),
    ("bdat without mail", HI + b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", "220 250 503/5.5.1 250/2.0.0", []),
    (
        "bdat without recipients",
        HI + FROM + b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n",
        "220 250 250/2.1.0 554/5.5.1 250/2.0.0",
        [],
    ),
    (
        "nothing but bdat after bdat",
        OPEN + b"BDAT 2\r\nab" + TO + b"DATA\r\n" + FROM + b"BDAT 0 LAST\r\n",
        "220 250 250/2.1.0 250/2.1.5 250/2.0.0 503/5.5.1 503/5.5.1 503/5.5.1 250/2.0.0",
        [b"ab"],
    ),
    (
        "rset between chunks",
        OPEN + b"BDAT 2\r\nabRSET\r\nBDAT 1 LAST\r\nx",
        "220 250 250/2.1.0 250/2.1.5 250/2.0.0 250/2.0.0 503/5.5.1",
        [],
    ),
    ("bdat without a count", OPEN + b"BDAT LAST\r\nQUIT\r\n", "220 250 250/2.1.0 250/2.1.5 501/5.5.4", []),
    ("bdat beyond all bounds", OPEN + b"BDAT 99999999999\r\nx", "220 250 250/2.1.0 250/2.1.5 552/5.3.4", []),
    ("NUL in a command", b"NO\x00OP\r\n", "220 500/5.5.2", []),
    ("tab in a command", b"EHLO\tclient.example\r\n", "220 500/5.5.2", []),
    ("bare LF", b"NOOP\nNOOP\r\n", "220 500/5.5.2 250/2.0.0", []),
    ("bare CR", b"NOOP\rNOOP\r\nNOOP\r\n", "220 500/5.5.2 250/2.0.0", []),
    ("too many bare LF", b"\n\n\n" + HI, "220 500/5.5.2 500/5.5.2 421/4.7.0", []),
    ("command of 512 octets", b"NOOP " + b"x" * 505 + b"\r\n", "220 250/2.0.0", []),
    ("command of 513 octets", b"NOOP " + b"x" * 506 + b"\r\nNOOP\r\n", "220 500/5.5.2 250/2.0.0", []),
    ("mail of 1,025 octets", HI + FROM[:-2] + b" " * 995 + b"\r\n", "220 250 500/5.5.2", []),
    ("a line without an end", b"x" * 70_000, "220 421/4.7.0", []),
    ("too many errors", b"X\r\n" * 12, "220" + " 500/5.5.2" * 9 + " 421/4.7.0", []),
    ("a browser", b"GET / HTTP/1.1\r\nHost: x\r\n" + OPEN, "220 421/4.7.0", []),
    ("a form in a browser", b"POST / HTTP/1.1\r\n\r\n" + OPEN, "220 421/4.7.0", []),
    ("a header field", b"Subject: x\r\n" + OPEN, "220 421/4.7.0", []),
    ("a PROXY line from anybody", b"PROXY TCP4 192.0.2.9 192.0.2.1 1 25\r\n" + HI, "220 500/5.5.2 250", []),
]
CASES = [pytest.param(*row[1:], id=row[0]) for row in DIALOGUES]


def _heard(dialogue: Dialogue) -> list[bytes]:
    return [mail.content for mail in dialogue.mails]


@pytest.mark.parametrize(("said", "replies", "contents"), CASES)
def test_dialogue(said: bytes, replies: str, contents: list[bytes]) -> None:
    dialogue = converse([said])
    assert (dialogue.codes, _heard(dialogue)) == (replies, contents)


@pytest.mark.parametrize(("said", "replies", "contents"), CASES)
def test_dialogue_octet_by_octet(said: bytes, replies: str, contents: list[bytes]) -> None:
    dialogue = converse(bytes([octet]) for octet in said) if said else converse([b""])
    assert (dialogue.codes, _heard(dialogue)) == (replies, contents)


@given(row=st.sampled_from([row for row in DIALOGUES if len(row[1]) < 5_000]), chance=st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_dialogue_in_any_pieces(row: tuple[str, bytes, str, list[bytes]], chance: Random) -> None:
    said = row[1]
    cuts = sorted(chance.randrange(len(said) + 1) for _ in range(chance.randrange(12)))
    pieces = [said[start:end] for start, end in zip([0, *cuts], [*cuts, len(said)], strict=True)]
    dialogue = converse(pieces)
    assert (dialogue.codes, _heard(dialogue)) == row[2:]


@given(
    st.lists(
        st.sampled_from([HI, FROM, TO, b"DATA\r\n", b".\r\n", b"BDAT 3\r\n", b"BDAT 4 LAST\r\n", b"RSET\r\n"])
        | st.binary()
    )
)
@settings(max_examples=300, deadline=None)
def test_no_octets_break_a_session(pieces: list[bytes]) -> None:
    whole, apart = converse([b"".join(pieces)]), converse(pieces or [b""])
    assert (whole.output, _heard(whole)) == (apart.output, _heard(apart))


def test_every_octet_of_the_plain_dialogue() -> None:
    dialogue = converse([OPEN + b"DATA\r\n" + MAIL + b"QUIT\r\n"])
    assert dialogue.output == (
        b"220 mx.inbox.example ESMTP leasebox\r\n"
        b"250-mx.inbox.example\r\n250-SIZE 26214400\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
        b"250-ENHANCEDSTATUSCODES\r\n250 CHUNKING\r\n"
        b"250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n354 Send the mail; end it with CRLF.CRLF\r\n"
        b"250 2.0.0 Stored msg_1\r\n221 2.0.0 Bye\r\n"
    )
    assert dialogue.ended


@pytest.mark.parametrize(
    ("content", "replies"),
    [
        (b"x" * 48 + b"\r\n", "250/2.0.0"),
        ((b"x" * 48 + b"\r\n") * 4, "250/2.0.0"),
        ((b"x" * 48 + b"\r\n") * 4 + b"\r\n", "552/5.3.4"),
        ((b"x" * 48 + b"\r\n") * 7, "552/5.3.4"),
        (b"..\r\n" * 66, "250/2.0.0"),
        (b"..\r\n" * 67, "552/5.3.4"),
        (b"x" * 51 + b"\r\n", "550/5.6.0"),
        (b"Received: a\r\n" * 3 + b"\r\n", "250/2.0.0"),
        (b"Received: a\r\n" * 2 + b"rEcEiVeD: b\r\nReceived: c\r\n\r\n", "554/5.4.6"),
        (b"Subject: a\r\n\r\n" + b"Received: a\r\n" * 5, "250/2.0.0"),
        (b"a\nb\r\n", "550/5.6.11"),
        (b"a\rb\r\n", "550/5.6.11"),
    ],
)
def test_bounds_of_a_mail(content: bytes, replies: str) -> None:
    said = OPEN + b"DATA\r\n" + content + b".\r\nNOOP\r\n"
    expected = f"220 250 250/2.1.0 250/2.1.5 354 {replies} 250/2.0.0"
    assert converse([said], SMALL).codes == expected
    assert converse((bytes([octet]) for octet in said), SMALL).codes == expected


def test_a_refused_mail_is_read_to_its_end_but_not_for_ever() -> None:
    said = OPEN + b"DATA\r\n"
    read = converse([said, b"x" * 300, b"\r\nMAIL FROM:<>\r\n", b".\r\n", b"NOOP\r\n"], SMALL)
    assert read.codes == "220 250 250/2.1.0 250/2.1.5 354 552/5.3.4 250/2.0.0"
    cut_off = converse([said, *[b"x" * 300] * 9, b"\r\n.\r\nNOOP\r\n"], SMALL)
    assert (cut_off.codes, cut_off.ended) == ("220 250 250/2.1.0 250/2.1.5 354 552/5.3.4", True)


def test_chunks_too_big_are_refused_to_the_last() -> None:
    said = OPEN + b"BDAT 150\r\n" + b"x" * 150 + b"BDAT 60\r\n" + b"x" * 60 + b"BDAT 1 LAST\r\nx" + FROM
    dialogue = converse([said], dataclasses.replace(SMALL, bounds=Bounds(octets=200)))
    assert dialogue.codes == "220 250 250/2.1.0 250/2.1.5 250/2.0.0 552/5.3.4 552/5.3.4 250/2.1.0"


def test_the_hundred_and_first_recipient_is_sent_away_for_now() -> None:
    said = HI + FROM + b"".join(b"RCPT TO:<box%d@inbox.example>\r\n" % number for number in range(101))
    dialogue = converse([said + b"DATA\r\nx\r\n.\r\n"])
    assert dialogue.codes == "220 250 250/2.1.0" + " 250/2.1.5" * 100 + " 452/4.5.3 354 250/2.0.0"
    assert len(dialogue.mails[0].recipients) == 100


def test_talk_without_a_mail_ends() -> None:
    assert converse([b"NOOP\r\n" * 1_001]).codes.split()[-2:] == ["250/2.0.0", "421/4.7.0"]
    mail = FROM + TO + b"DATA\r\nx\r\n.\r\n"
    assert not converse([HI + mail * 400]).ended


def test_large_chunks_are_no_talk_but_tiny_ones_are() -> None:
    large = converse([OPEN + (b"BDAT 1024\r\n" + b"x" * 1024) * 1_500 + b"BDAT 0 LAST\r\n"], dataclasses.replace(OFFER))
    assert large.codes.split()[-1] == "550/5.6.0"
    assert converse([OPEN + b"BDAT 1\r\nx" * 1_500]).codes.split()[-1] == "421/4.7.0"


def test_what_was_said_in_the_clear_is_forgotten_under_tls() -> None:
    dialogue = converse([OPEN + b"STARTTLS\r\n", b"DATA\r\n", FROM, HI, b"STARTTLS\r\n", FROM], TLS)
    assert dialogue.codes == "220 250 250/2.1.0 250/2.1.5 220/2.0.0 503/5.5.1 503/5.5.1 250 503/5.5.1 250/2.1.0"
    assert dialogue.output.count(b"STARTTLS") == 1


@pytest.mark.parametrize("behind", [FROM, OPEN + b"DATA\r\n" + MAIL, b"RS", b"\x16\x03\x01", b"X" * 70_000])
def test_starttls_injection(behind: bytes) -> None:
    session = Session(TLS)
    session.receive(HI + b"STARTTLS\r\n" + behind)
    assert isinstance(session.advance(), TlsAsked)
    session.receive(behind)
    assert isinstance(session.advance(), TlsAsked)
    session.output.clear()
    session.tls_started("TLSv1.3 test")
    session.receive(b"NOOP\r\n")
    assert (session.advance(), bytes(session.output)) == (None, say.OK.wire)


def test_starttls_takes_no_argument() -> None:
    assert converse([b"STARTTLS now\r\n"], TLS).codes == "220 501/5.5.4"


@pytest.mark.parametrize(
    ("hello", "sender", "under_tls", "protocol"),
    [
        (b"HELO c\r\n", FROM, False, "SMTP"),
        (b"EHLO c\r\n", FROM, False, "ESMTP"),
        (b"HELO c\r\n", FROM, True, "SMTP"),
        (b"EHLO c\r\n", FROM, True, "ESMTPS"),
        (b"EHLO c\r\n", b"MAIL FROM:<> SMTPUTF8\r\n", False, "UTF8SMTP"),
        (b"EHLO c\r\n", b"MAIL FROM:<> SMTPUTF8\r\n", True, "UTF8SMTPS"),
    ],
)
def test_the_protocol_is_named_as_it_was(hello: bytes, sender: bytes, under_tls: object, protocol: str) -> None:
    pieces = [HI + b"STARTTLS\r\n"] * bool(under_tls) + [hello + sender + TO + b"DATA\r\nx\r\n.\r\n"]
    (mail,) = converse(pieces, TLS).mails
    assert (mail.protocol, mail.tls) == (protocol, "TLSv1.3 test" if under_tls else None)


def test_a_question_stops_all_reading_until_it_is_settled() -> None:
    session = Session(OFFER)
    session.receive(OPEN + TO + b"DATA\r\nx\r\n.\r\nNOOP\r\n")
    seen = []
    while (question := session.advance()) is not None:
        assert session.advance() is question
        seen.append(type(question))
        session.settle(say.RECIPIENT_OK)
    assert seen == [SenderAsked, RecipientAsked, RecipientAsked, ContentReceived]
    assert bytes(session.output).endswith(say.OK.wire)


@pytest.mark.parametrize(("parameters", "size"), [(b"", 0), (b" SIZE=4711", 4711)])
def test_recipients_are_asked_with_the_size_that_mail_declared(parameters: bytes, size: int) -> None:
    session = Session(OFFER)
    session.receive(b"EHLO c\r\nMAIL FROM:<a@b.example>" + parameters + b"\r\nRCPT TO:<ann@inbox.example>\r\n")
    assert isinstance(session.advance(), SenderAsked)
    session.settle(say.SENDER_OK)
    assert session.advance() == RecipientAsked(Mailbox.parse("ann@inbox.example"), size)


def test_shed_content_is_answered_at_its_true_end() -> None:
    for content, end in ((b"DATA\r\nabc", b"\r\n.\r\n"), (b"BDAT 9 LAST\r\nabc", b"def\r\n.")):
        session = Session(OFFER)
        session.receive(OPEN)
        while session.advance():
            session.settle(say.OK)
        session.receive(content)
        assert session.advance() is None
        assert session.reads_content
        session.shed(say.NO_MEMORY)
        assert session.held_octets <= 4
        session.output.clear()
        session.receive(end + b"NOOP\r\n")
        assert session.advance() is None
        assert bytes(session.output) == say.NO_MEMORY.wire + say.OK.wire


def test_draining_ends_an_idle_session_at_once_and_a_mail_after_its_reply() -> None:
    idle = Session(OFFER)
    idle.receive(HI)
    idle.advance()
    idle.drain()
    assert idle.advance() is None
    assert bytes(idle.output).endswith(say.CLOSING.wire)
    assert idle.ended
    busy = Session(OFFER)
    busy.receive(OPEN)
    while busy.advance():
        busy.settle(say.OK)
    busy.drain()
    busy.receive(b"DATA\r\nx\r\n.\r\n" + FROM)
    assert isinstance(busy.advance(), ContentReceived)
    assert not busy.ended
    busy.settle(say.stored(("msg_1",)))
    assert busy.advance() is None
    assert bytes(busy.output).endswith(say.stored(("msg_1",)).wire + say.CLOSING.wire)
    assert busy.ended


def test_a_submission_session_derives_verbs_and_capabilities() -> None:
    def answer_auth(session: Session, argument: bytes) -> None:
        session.output += b"235 2.7.0 " + argument + b"\r\n"

    class Submission(Session):
        verbs: ClassVar = {**Session.verbs, b"AUTH": answer_auth}

        def capabilities(self) -> tuple[str, ...]:
            return (*super().capabilities(), "AUTH PLAIN")

    session = Submission(OFFER)
    session.receive(HI + b"AUTH PLAIN\r\n")
    session.advance()
    assert b"250 AUTH PLAIN\r\n" in session.output
    assert session.output.endswith(b"235 2.7.0 PLAIN\r\n")


def test_what_is_held_is_counted() -> None:
    session = Session(OFFER)
    session.receive(OPEN)
    while session.advance():
        session.settle(say.OK)
    assert session.held_octets == 0
    session.receive(b"BDAT 100 LAST\r\n" + b"x" * 40)
    session.advance()
    assert session.held_octets == 42
    session.receive(b"x" * 60)
    assert isinstance(session.advance(), ContentReceived)
    assert session.held_octets == 100
    session.settle(say.OK)
    assert session.held_octets == 0


def test_an_offer_of_other_extensions_is_what_ehlo_says() -> None:
    plain = Offer("mx", "d", extensions=("PIPELINING",))
    assert converse([HI], plain).output == b"220 mx ESMTP leasebox\r\n250-mx\r\n250-SIZE 26214400\r\n250 PIPELINING\r\n"
