"""The lines that we put above a mail: true, whole, and safe whatever the client called itself."""

from datetime import UTC, datetime, timedelta, timezone
from email import policy
from email.parser import BytesParser

import pytest

from leasebox.mail.smtp_commands import MailCommand
from leasebox.mail.smtp_questions import ContentReceived
from leasebox.mail.smtp_trace import Arrival, trace
from leasebox.values.addresses import Mailbox

ANN, BOB = Mailbox("ann", "inbox.example", "shop"), Mailbox("bob", "inbox.example")
AT = datetime(2026, 11, 20, 10, 2, 24, 999_999, tzinfo=UTC)
ARRIVAL = Arrival("mx.inbox.example", "192.0.2.7", "0123456789ab.1", AT)


def _received(
    *recipients: Mailbox, sender: str = "a@sender.example", helo: str = "client.example", tls: str | None = None
) -> ContentReceived:
    protocol = "ESMTPS" if tls else "ESMTP"
    return ContentReceived(MailCommand(sender, 0, "ascii"), recipients, b"", helo, protocol, tls)


def test_every_octet() -> None:
    assert trace(_received(ANN, tls="TLSv1.3 TLS_AES_256_GCM_SHA384"), ARRIVAL) == (
        b"Return-Path: <a@sender.example>\r\n"
        b"Received: from client.example ([192.0.2.7])\r\n"
        b"\tby mx.inbox.example with ESMTPS id 0123456789ab.1\r\n"
        b"\t(TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
        b"\tfor <ann+shop@inbox.example>;\r\n"
        b"\tFri, 20 Nov 2026 10:02:24 +0000\r\n"
    )


def test_several_recipients_are_not_named() -> None:
    line = trace(_received(ANN, BOB), ARRIVAL)
    assert b"ann" not in line
    assert b"bob" not in line
    assert line.endswith(b"id 0123456789ab.1;\r\n\tFri, 20 Nov 2026 10:02:24 +0000\r\n")


def test_null_sender_and_ipv6() -> None:
    line = trace(_received(ANN, sender=""), ARRIVAL._replace(client_ip="2001:db8::7"))
    assert line.startswith(b"Return-Path: <>\r\nReceived: from client.example ([IPv6:2001:db8::7])\r\n")


def test_time_is_utc_wherever_the_clock_stands() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=9)))
    assert trace(_received(ANN), ARRIVAL._replace(at=elsewhere)) == trace(_received(ANN), ARRIVAL)


@pytest.mark.parametrize("helo", ["a(b", "a)b;", "<x>", 'a"b', "a\\b", "x;y", "(" * 255, "[192.0.2.1]", "my_pc", "-"])
def test_a_hostile_name_stays_a_name(helo: str) -> None:
    raw = trace(_received(ANN, helo=helo), ARRIVAL) + b"Subject: x\r\n\r\nbody"
    mail = BytesParser(policy=policy.compat32).parsebytes(raw)
    assert mail.keys() == ["Return-Path", "Received", "Subject"]
    name = mail["Received"].split()[1]
    assert set(name) <= set("[]._:-") | set("abcdefghijklmnopqrstuvwxyz0123456789")
    assert len(name) == len(helo)
    assert mail["Received"].count("(") == 1


def test_utf8_addresses_are_written_as_such() -> None:
    line = trace(_received(Mailbox("müller", "inbox.example"), sender="ä@sender.example"), ARRIVAL)
    assert "Return-Path: <ä@sender.example>\r\n".encode() in line
    assert "for <müller@inbox.example>".encode() in line
