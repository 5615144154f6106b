"""What replies mean."""

import pytest

from leasebox.sending.transport_reply import TEXT_CHARACTERS, Reply, Verdict, reply

SENT, DEFERRED, FAILED = Verdict.SENT, Verdict.DEFERRED, Verdict.FAILED


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (250, SENT),
        (251, SENT),
        (354, DEFERRED),
        (421, DEFERRED),
        (450, DEFERRED),
        (451, DEFERRED),
        (452, DEFERRED),
        (500, FAILED),
        (521, FAILED),
        (550, FAILED),
        (554, FAILED),
        (556, FAILED),
        (530, DEFERRED),
        (535, DEFERRED),
        (538, DEFERRED),
        (None, DEFERRED),
    ],
)
def test_the_class_of_the_code_decides_but_a_login_is_the_operators_business(
    code: int | None, verdict: Verdict
) -> None:
    assert Reply("MAIL", code, "").verdict is verdict


def test_too_many_recipients_is_no_refusal_of_one() -> None:
    assert Reply("RCPT a@b", 552, "Too many recipients").recipient_verdict is DEFERRED
    assert Reply("end of mail", 552, "Too large").verdict is FAILED


@pytest.mark.parametrize(
    ("code", "text", "status"),
    [
        (550, "5.1.1 No such user", "5.1.1"),
        (550, "5.1.10 Null MX", "5.1.10"),
        (450, "4.2.1 Greylisted", "4.2.1"),
        (250, "2.0.0 OK", "2.0.0"),
        (550, "No such user", "5.0.0"),
        (550, "4.1.1 Says two things", "5.0.0"),
        (421, "", "4.0.0"),
        (None, "no answer in time", "4.0.0"),
        (550, "5.1.1234 Too long", "5.0.0"),
        (550, "see 5.1.1", "5.0.0"),
    ],
)
def test_the_enhanced_code_counts_where_it_fits_the_code(code: int | None, text: str, status: str) -> None:
    assert Reply("RCPT a@b", code, text).status == status


@pytest.mark.parametrize(
    ("code", "text", "hard"),
    [
        (550, "5.1.1 The email account that you tried to reach does not exist", True),
        (550, "5.1.1 <a@b>: Recipient address rejected: User unknown in virtual mailbox table", True),
        (550, "5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", True),
        (554, "5.2.1 Disabled", True),
        (550, "Requested action not taken: mailbox unavailable", True),
        (550, "No such user here", True),
        (556, "5.1.10 Null MX", True),
        (550, "5.7.1 Our system has detected that this message is likely unsolicited mail", False),
        (550, "5.7.26 Unauthenticated email is not accepted", False),
        (552, "5.2.2 Mailbox full", False),
        (554, "5.7.1 Spam", False),
        (550, "Blocked by reputation list", False),
        (550, "relay not permitted", False),
        (554, "Transaction failed", False),
        (450, "4.1.1 Try later", False),
        (250, "2.1.5 OK", False),
        (None, "the connection was lost", False),
    ],
)
def test_a_hard_bounce_is_an_address_that_does_not_exist(code: int | None, text: str, hard: bool) -> None:
    assert Reply("RCPT a@b", code, text).is_hard_bounce is hard


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("one\ntwo\r\nthree", "one two three"),
        ("a\x00b\x1b[31m", "a?b?[31m"),
        ("caf\udce9", "caf?"),
        ("line\u2028break\u0085x", "line break x"),
        ("  spaced\tout  ", "spaced out"),
        ("grüße", "grüße"),
    ],
)
def test_what_is_recorded_is_printable(text: str, kept: str) -> None:
    assert reply("MAIL", 250, text).text == kept


def test_what_is_recorded_is_bounded_and_its_code_is_one() -> None:
    assert len(reply("MAIL", 250, "x" * 10_000).text) == TEXT_CHARACTERS
    assert [reply("MAIL", code, "").code for code in (-1, 0, 199, 200, 599, 600, None)] == [
        None, None, None, 200, 599, None, None,
    ]  # fmt: skip


def test_it_reads_as_a_server_said_it() -> None:
    assert [str(Reply("x", 250, "OK")), str(Reply("x", None, "lost")), str(Reply("x", 250, ""))] == [
        "250 OK",
        "lost",
        "250",
    ]
