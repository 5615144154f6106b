"""The notice to an author, read back by the parsers of others and by our own."""

import email
import email.policy
from datetime import UTC, datetime

import pytest

from leasebox.sending import dsn
from leasebox.sending.delivery_notice import HEADER_BYTES, Occasion, Undelivered, is_report, notice
from leasebox.sending.transport_reply import reply

AT = datetime(2026, 11, 22, 10, tzinfo=UTC)
CONTENT = b"From: a@here.example\r\nTo: b@there.example\r\nMessage-ID: <1@here.example>\r\nSubject: Hi\r\n\r\nBody.\r\n"
OCCASION = Occasion("a@here.example", "here.example", "t0k3n", AT, "<1@here.example>")
REFUSED = Undelivered("b@there.example", reply("RCPT", 550, "5.1.1 No such user"), "mx.there.example [192.0.2.1]:25")
EXPIRED = Undelivered("c@there.example", reply("connect", None, "4.4.7 Not delivered in time; at last: refused"), None)


def read(raw: bytes) -> email.message.EmailMessage:
    return email.message_from_bytes(raw, policy=email.policy.default)  # type: ignore[return-value]


def test_others_read_it_as_a_report() -> None:
    mail = read(notice(OCCASION, [REFUSED, EXPIRED], CONTENT, AT))
    assert mail.get_content_type() == "multipart/report"
    assert mail["content-type"].params["report-type"] == "delivery-status"
    assert mail.defects == []
    assert (mail["auto-submitted"], mail["in-reply-to"], mail["to"]) == (
        "auto-replied",
        "<1@here.example>",
        "a@here.example",
    )
    words, status, original = mail.iter_parts()
    assert "b@there.example" in words.get_content()
    assert "550 5.1.1 No such user" in words.get_content()
    whole, first, second = status.get_payload()
    assert whole["reporting-mta"] == "dns; here.example"
    assert (first["final-recipient"], first["action"], first["status"]) == (
        "rfc822; b@there.example",
        "failed",
        "5.1.1",
    )
    assert first["diagnostic-code"] == "smtp; 550 5.1.1 No such user"
    assert first["remote-mta"] == "dns; mx.there.example"
    assert (second["status"], second["diagnostic-code"], second["remote-mta"]) == ("4.4.7", None, None)
    assert original.get_content_type() == "text/rfc822-headers"
    assert "Subject: Hi" in original.get_payload()
    assert "Body." not in original.get_payload()


def test_our_own_reader_of_bounces_agrees() -> None:
    reports = dsn.read(notice(OCCASION, [REFUSED, EXPIRED], CONTENT, AT))
    assert [report.recipient for report in reports] == ["b@there.example", "c@there.example"]


@pytest.mark.parametrize(
    "hostile",
    [
        "5.1.1 \r\nBcc: x@y.example\r\n\r\ninjected",
        "5.1.1 \u2028x\u0085y\x00",
        "5.1.1 --=_t0k3n--",
        "5.1.1 grüße " + "x" * 5000,
    ],
)
def test_what_servers_say_stays_within_its_line(hostile: str) -> None:
    raw = notice(OCCASION, [Undelivered("b@there.example", reply("RCPT", 550, hostile), hostile)], CONTENT, AT)
    mail = read(raw)
    assert mail["bcc"] is None
    assert len(list(mail.iter_parts())) == 3
    assert raw.count(b"\n") == raw.count(b"\r\n")
    assert max(map(len, raw.split(b"\r\n"))) <= 998


def test_the_original_header_is_bounded_and_need_not_be_ascii() -> None:
    long = b"X-A: " + b"b" * 70 + b"\r\n"
    content = "Subject: Grüße\r\n".encode() + long * 1000 + b"\r\nBody\r\n"
    raw = notice(OCCASION, [REFUSED], content, AT)
    assert len(raw) < HEADER_BYTES + 4000
    *_, original = read(raw).iter_parts()
    assert original["content-transfer-encoding"] == "8bit"
    assert raw.rstrip().endswith(b"--=_t0k3n--")


@pytest.mark.parametrize(
    ("field", "report"),
    [
        (b"Content-Type: multipart/report; report-type=delivery-status", True),
        (b"content-type:\r\n Multipart/Report; report-type=disposition-notification", True),
        (b"Content-Type: multipart/reporting", False),
        (b"Content-Type: text/plain", False),
        (b"X-Content-Type: multipart/report", False),
        (b"Subject: Content-Type: multipart/report", False),
        (b"Auto-Submitted: auto-replied", False),
        (b"Auto-Submitted: auto-generated", False),
    ],
)
def test_what_is_itself_a_notice(field: bytes, report: bool) -> None:
    assert is_report(b"From: a@here.example\r\n" + field + b"\r\n\r\nx\r\n") is report
    assert not is_report(b"From: a@here.example\r\n\r\n" + field + b"\r\n"), "what the body says does not count"
