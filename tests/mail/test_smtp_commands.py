"""Commands with arguments: what is read from them, and how they are refused."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.mail import smtp_replies as say
from leasebox.mail.smtp_commands import ChunkCommand, MailCommand, parse_chunk, parse_mail, parse_name, parse_rcpt
from leasebox.mail.smtp_replies import Reply
from leasebox.values.addresses import Mailbox


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (b"FROM:<>", MailCommand("", 0, "ascii")),
        (b"from:<A.b@Sender.Example>", MailCommand("A.b@Sender.Example", 0, "ascii")),
        (b"FROM:<a@s.example> SIZE=7 BODY=7BIT", MailCommand("a@s.example", 7, "ascii")),
        (b"FROM:<a@s.example>  size=7", MailCommand("a@s.example", 7, "ascii")),
        (b"FROM:<@x.example:a@s.example>", MailCommand("a@s.example", 0, "ascii")),
        ("FROM:<ä@s.example> SMTPUTF8".encode(), MailCommand("ä@s.example", 0, "utf-8")),
        (b'FROM:<"a>\\" b"@s.example>', MailCommand('"a>\\" b"@s.example', 0, "ascii")),
        (b"FROM:<b_1=c@under_score.example>", MailCommand("b_1=c@under_score.example", 0, "ascii")),
        (b"FROM:<a@s.example>x", say.BAD_SENDER),
        (b"FROM:<a@s.example", say.BAD_SENDER),
        (b"FROM:<a b@s.example>", say.BAD_SENDER),
        (b"FROM:<a@s..example>", say.BAD_SENDER),
        (b"FROM:<@x.example:>", MailCommand("", 0, "ascii")),
        (b"FROM", say.BAD_SENDER),
        (b"", say.BAD_SENDER),
        (b"FROM:<> =", say.BAD_PARAMETER),
        (b"FROM:<> SIZE=", say.BAD_PARAMETER),
        (b"FROM:<> SIZE=1.5", say.BAD_PARAMETER),
        (b"FROM:<> SIZE=" + b"9" * 21, say.BAD_PARAMETER),
        (b"FROM:<> \xff", say.BAD_PARAMETER),
        (b"FROM:<> AUTH=<>", say.UNKNOWN_PARAMETER),
        (b"FROM:<> AUTH=x", say.UNKNOWN_PARAMETER),
        (b"FROM:<> MT-PRIORITY=1", say.UNKNOWN_PARAMETER),
    ],
)
def test_parse_mail(argument: bytes, expected: MailCommand | Reply) -> None:
    assert parse_mail(argument) == expected


def test_parameters_that_mean_nothing_here_may_be_named() -> None:
    assert parse_mail(b"FROM:<a@b.example> AUTH=<> SIZE=1", {"AUTH"}) == MailCommand("a@b.example", 1, "ascii")
    assert isinstance(parse_mail(b"FROM:<a@b.example> AUTH=<> X=1", {"AUTH"}), Reply)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (b"TO:<Ann@Inbox.Example>", Mailbox("ann", "inbox.example")),
        (b"to: <ann+t@inbox.example>", Mailbox("ann", "inbox.example", "t")),
        (b"TO:<@a.example:ann@inbox.example>", Mailbox("ann", "inbox.example")),
        (b"TO:<POSTMASTER>", Mailbox("postmaster", "home.example")),
        (b"TO:<ann@[IPv6:::1]>", say.NOT_SERVED),
        (b"TO:<ann@inbox.example> ORCPT=rfc822;x", say.UNKNOWN_PARAMETER),
        (b"TO:<ann>", say.BAD_RECIPIENT),
        (b"TO:<>", say.BAD_RECIPIENT),
        (b"TO:ann@inbox.example", say.BAD_RECIPIENT),
        (b"TO:<\xc3\xa4@inbox.example>", say.NEEDS_SMTPUTF8),
    ],
)
def test_parse_rcpt(argument: bytes, expected: Mailbox | Reply) -> None:
    assert parse_rcpt(argument, "ascii", "home.example") == expected


def test_parse_rcpt_under_smtputf8() -> None:
    assert parse_rcpt("TO:<Ä@bücher.example>".encode(), "utf-8", "x") == Mailbox("ä", "xn--bcher-kva.example")
    assert parse_rcpt(b"TO:<\xff@x.example>", "utf-8", "x") == say.BAD_RECIPIENT


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (b"0", ChunkCommand(0, False)),
        (b"12 last", ChunkCommand(12, True)),
        (b"12  LAST", ChunkCommand(12, True)),
        (b"", say.BAD_CHUNK),
        (b"-1", say.BAD_CHUNK),
        (b"1 FIRST", say.BAD_CHUNK),
        (b"1LAST", say.BAD_CHUNK),
        ("١".encode(), say.BAD_CHUNK),
        (b"9" * 21, say.BAD_CHUNK),
    ],
)
def test_parse_chunk(argument: bytes, expected: ChunkCommand | Reply) -> None:
    assert parse_chunk(argument) == expected


@pytest.mark.parametrize("name", [b"client.example", b"[192.0.2.1]", b"MY_PC", b"x" * 255])
def test_parse_name(name: bytes) -> None:
    assert parse_name(name) == name.decode()


@pytest.mark.parametrize("name", [b"", b"a b", b"\xff", b"x" * 256])
def test_parse_name_refuses(name: bytes) -> None:
    assert parse_name(name) == say.NEEDS_NAME


@given(st.binary(max_size=80), st.sampled_from([b"", b"FROM:<", b"TO:<", b'FROM:<"', b'TO:<"\\']))
def test_parsers_are_total(octets: bytes, head: bytes) -> None:
    assert isinstance(parse_mail(head + octets), MailCommand | Reply)
    assert isinstance(parse_rcpt(head + octets, "utf-8", "x.example"), Mailbox | Reply)
    assert isinstance(parse_chunk(octets), ChunkCommand | Reply)


@pytest.mark.parametrize("bomb", [b'"' * 1000, b'"\\' * 500, b"<" * 1000, b'"a"' * 300, b"a." * 500, b"@" * 1000])
def test_hostile_paths_take_linear_time(bomb: bytes) -> None:
    start = time.process_time()
    for _ in range(50):
        parse_mail(b"FROM:<" + bomb)
        parse_mail(b"FROM:<" + bomb + b"@x.example>")
    assert time.process_time() - start < 0.5
