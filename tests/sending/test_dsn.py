"""Bounces of many makes, each with what it must be read as; and that no bytes at all are too odd or too much."""

import random
import time
from pathlib import Path

import pytest

from leasebox.sending import dsn
from leasebox.sending.dsn import Outcome, Report
from tests import kit_mail

CORPUS = Path(__file__).parents[1] / "corpus" / "bounces"
ANN, BOB, CLEO = "ann@far.example", "bob@far.example", "cleo@far.example"
Expected = list[tuple[str, str | None, str | None, str]]
# Outcome, recipient, status, and words of the diagnostic.
CASES: dict[str, Expected] = {
    "exchange-old": [("failed", ANN, "5.1.1", "name is not recognized")],
    "exchange-report": [("failed", ANN, "5.1.10", "RecipientNotFound")],
    "exim": [("failed", ANN, "5.1.1", "550 5.1.1 unknown here")],
    "exim-unrouteable": [
        ("failed", ANN, "5.1.2", "Unrouteable address"),
        ("failed", BOB, "5.2.2", "mailbox is full"),
    ],
    "exim-warning": [("delayed", ANN, None, "connection timed out")],
    "forwarder-names-nobody": [("failed", None, "5.2.2", "mailbox is full")],
    "gmail-report": [("failed", ANN, "5.1.1", "not there")],
    "gmail-text": [("failed", ANN, "5.2.1", "not active")],
    "gmail-text-delay": [("delayed", ANN, None, "retried for 2 more day")],
    "lotus": [("failed", ANN, "5.1.1", "not listed in Domino Directory")],
    "none-challenge": [],
    "none-out-of-office": [],
    "none-person-writes": [],
    "none-read-receipt": [],
    "not-null-sender-daemon": [("failed", ANN, "5.1.1", "User unknown")],
    "outlook-text": [("failed", ANN, "5.1.10", "RecipientNotFound")],
    "postfix-text": [
        ("failed", ANN, "5.1.1", "User unknown (in reply to RCPT TO command)"),
        ("failed", "bob@other.example", "5.1.2", "Host not found"),
    ],
    "provider-german": [("failed", ANN, "5.1.1", "Empfänger unbekannt")],
    "provider-html-only": [("failed", ANN, "5.1.1", "no such user")],
    "qmail": [
        ("failed", ANN, "5.1.1", "no mailbox here by that name"),
        ("failed", "bob@other.example", "5.2.2", "over quota"),
    ],
    "qmail-no-host": [("failed", "ann@nowhere.example", "5.1.2", "find any host")],
    "sendmail-mixed": [("failed", ANN, "5.1.2", "Host unknown"), ("delivered", BOB, None, "delivered to mailbox")],
    "sendmail-transcript": [("failed", ANN, "5.1.1", "User unknown")],
    "standard-angle-brackets-and-comments": [("failed", ANN, "5.1.1", "550 unknown")],
    "standard-delay": [("delayed", ANN, "4.4.1", "timed out")],
    "standard-delivered": [("delivered", ANN, "2.1.5", "")],
    "standard-expired-after-tries": [("failed", ANN, "4.4.7", "gave up after two days")],
    "standard-forwarded-elsewhere": [("failed", "a.smith@behind.far.example", "5.1.10", "nobody of that name")],
    "standard-no-action": [("failed", ANN, "5.1.2", "")],
    "standard-policy": [("failed", ANN, "5.7.1", "on a list of ours")],
    "standard-relayed-and-expanded": [("relayed", ANN, "2.0.0", ""), ("expanded", "list@far.example", "2.0.0", "")],
    "standard-three-fates": [
        ("failed", ANN, "5.2.2", "full, try when it has been emptied"),
        ("delivered", BOB, "2.0.0", ""),
        ("delayed", CLEO, "4.2.1", ""),
    ],
    "standard-unknown-user": [("failed", ANN, "5.1.1", "no mailbox of that name")],
    "status-in-base64": [("failed", ANN, "5.1.6", "")],
    "status-labelled-as-text": [("failed", ANN, "5.1.1", "")],
    "utf8-address": [("failed", "müller@far.example", "5.1.1", "")],
    "yahoo-style": [("failed", ANN, "5.1.1", "doesn't have an account")],
}


def raw(name: str) -> bytes:
    return (CORPUS / f"{name}.eml").read_bytes().replace(b"\n", b"\r\n")


def test_every_mail_of_the_corpus_is_a_case() -> None:
    assert {path.stem for path in CORPUS.glob("*.eml")} == CASES.keys()
    assert sum(bool(expected) for expected in CASES.values()) >= 25


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_bounce_is_read(name: str) -> None:
    found = dsn.read(raw(name))
    assert [(each.outcome.value, each.recipient, each.status) for each in found] == [each[:3] for each in CASES[name]]
    for report, (*_, words) in zip(found, CASES[name], strict=True):
        assert words in report.diagnostic


@pytest.mark.parametrize("name", sorted(CASES))
def test_bare_line_feeds_say_the_same(name: str) -> None:
    assert dsn.read(raw(name).replace(b"\r\n", b"\n")) == dsn.read(raw(name))


def test_where_a_mail_was_forwarded_the_address_as_we_wrote_it_is_told() -> None:
    (report,) = dsn.read(raw("standard-forwarded-elsewhere"))
    assert report.original == "ann+tag@far.example"


def test_what_we_return_ourselves_is_read() -> None:
    """The notice of our own queue to an author, as others would read it."""
    status = "Final-Recipient: rfc822; Ann@far.example\r\nAction: failed\r\nStatus: 5.4.4\r\n"
    mail = (
        "Return-Path: <>\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        f"--b\r\n\r\ntext\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\n{status}"
        "\r\n--b--\r\n"
    )
    assert dsn.read(mail.encode()) == (Report(Outcome.FAILED, ANN, None, "5.4.4", ""),)


@pytest.mark.parametrize(
    ("action", "status", "outcome"),
    [
        ("FAILED", "5.0.0", "failed"),
        ("failed", "4.4.7", "failed"),
        ("delayed;", "4.0.0", "delayed"),
        ("", "2.0.0", "delivered"),
        ("unknown", "5.1.1", "failed"),
        ("unknown", "unknown", None),
        ("", "", None),
    ],
)
def test_actions_and_statuses_that_stray(action: str, status: str, outcome: str | None) -> None:
    mail = (
        "Return-Path: <>\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\n"
        f"Final-Recipient: rfc822; {ANN}\nAction: {action}\nStatus: {status}\n"
    )
    assert [each.outcome.value for each in dsn.read(mail.encode())] == ([] if outcome is None else [outcome])


def test_a_recipient_is_told_of_once_for_each_outcome() -> None:
    group = f"Final-Recipient: rfc822; {ANN}\nAction: failed\nStatus: 5.1.1\n\n"
    mail = "Return-Path: <>\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\n" + group * 500
    assert len(dsn.read(mail.encode())) == 1


def test_reports_are_bounded() -> None:
    groups = "".join(f"Final-Recipient: rfc822; a{n}@far.example\nAction: failed\n\n" for n in range(5_000))
    mail = "Return-Path: <>\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\n" + groups
    assert 100 < len(dsn.read(mail.encode())) <= dsn.REPORTS


BOMBS = {
    "one endless line": b"Return-Path: <>\r\n\r\nundeliverable " + b"a@b.example," * 100_000,
    "lines of addresses": b"Return-Path: <>\r\n\r\nfailed\r\n" + b"<a@b.example>: 550\r\n" * 100_000,
    "signs at each other": b"Return-Path: <>\r\n\r\nfailed\r\n" + b"@" * 500_000,
    "openings": b"Return-Path: <>\r\n\r\nfailed\r\n" + b"<" * 500_000,
    "fields that fold": b"Content-Type: message/delivery-status\r\n\r\nFinal-Recipient: x\r\n" + b" y\r\n" * 200_000,
    "many failed recipients": b"X-Failed-Recipients: " + b"a@b.example, " * 20_000 + b"\r\n\r\nfailed",
    "nested multiparts": b"".join(
        b"Content-Type: multipart/report; boundary=%d\r\n\r\n--%d\r\n" % (n, n) for n in range(2_000)
    ),
    "escapes": b"Content-Type: message/delivery-status\r\n\r\nFinal-Recipient: utf-8;" + b"\\x{FFFFFF}" * 5_000,
    "blanks": b"Return-Path: <>\r\n\r\nfailed\r\n" + b" \t" * 300_000,
    "nuls": b"\x00" * 600_000,
}


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_bomb_is_read_in_time(name: str) -> None:
    before = time.process_time()
    assert len(dsn.read(BOMBS[name])) <= dsn.REPORTS
    assert time.process_time() - before < 2


def test_any_bytes_are_read() -> None:
    """Every mail of the corpus cut, doubled, shuffled and spoiled."""
    noise = random.Random(20261120)
    mails = [raw(name) for name in sorted(CASES)]
    for _ in range(400):
        mail = bytearray(noise.choice(mails))
        for _ in range(noise.randrange(1, 30)):
            place = noise.randrange(len(mail))
            mail[place : place + noise.randrange(3)] = noise.randbytes(noise.randrange(3))
        if noise.random() < 0.5:
            del mail[noise.randrange(len(mail)) :]
        for report in dsn.read(bytes(mail) + noise.choice(mails)):
            assert len(report.diagnostic) <= dsn.DIAGNOSTIC_CHARS
            assert report.recipient is None or "@" in report.recipient


def test_mails_of_others_are_read_or_none() -> None:
    """Real mails, where the vectors are there; hardly any of them is a bounce."""
    for path in kit_mail.vector_mails():
        assert len(dsn.read(path.read_bytes())) <= dsn.REPORTS
