"""Every reply is one well-formed line with the code that the contract and the RFCs name."""

import pytest

from leasebox.mail import smtp_replies as say
from leasebox.mail.smtp_replies import MailRefusal, RcptVerdict, Reply
from tests.mail.smtp_house import codes

ALL = {name: value for name, value in vars(say).items() if isinstance(value, Reply)}
VERDICTS = {f"{kind.__name__}.{verdict.name}": verdict.value for kind in (RcptVerdict, MailRefusal) for verdict in kind}


@pytest.mark.parametrize("name", [*ALL, *VERDICTS])
def test_a_reply_is_one_line_whose_codes_agree(name: str) -> None:
    reply = {**ALL, **VERDICTS}[name]
    (found,) = codes(reply.wire)
    code, _, status = found.partition("/")
    assert int(code) == reply.code
    assert not status or status[0] == code[0]
    assert len(reply.wire) <= 512


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (RcptVerdict.ACCEPT, "250/2.1.5"),
        (RcptVerdict.UNKNOWN, "550/5.1.1"),
        (RcptVerdict.FOREIGN, "550/5.7.1"),
        (RcptVerdict.ENDED, "550/5.2.1"),
        (RcptVerdict.FROZEN, "550/5.2.1"),
        (RcptVerdict.PAUSED, "450/4.2.1"),
        (RcptVerdict.OVER_QUOTA, "452/4.2.2"),
        (RcptVerdict.UNAVAILABLE, "451/4.3.0"),
        (MailRefusal.UNKNOWN, "550/5.1.1"),
        (MailRefusal.ENDED, "550/5.2.1"),
        (MailRefusal.FROZEN, "550/5.2.1"),
        (MailRefusal.PAUSED, "450/4.2.1"),
        (MailRefusal.OVER_QUOTA, "452/4.2.2"),
        (MailRefusal.UNAVAILABLE, "451/4.3.0"),
        (MailRefusal.FAILED, "451/4.3.0"),
        (MailRefusal.DISK_FULL, "452/4.3.1"),
    ],
)
def test_verdicts_have_the_codes_of_the_contract(verdict: RcptVerdict | MailRefusal, expected: str) -> None:
    assert codes(verdict.value.wire) == [expected]


def test_no_verdict_is_another_by_a_second_name() -> None:
    assert len(RcptVerdict) == 9
    assert len(MailRefusal) == 9


def test_positive_is_what_took_effect() -> None:
    assert [each.positive for each in (say.OK, say.SEND_CONTENT, say.NO_MEMORY, say.LOOP)] == [
        True,
        False,
        False,
        False,
    ]


def test_hello_lists_capabilities_and_only_the_last_line_ends_it() -> None:
    assert say.hello("mx", ("SIZE 1", "PIPELINING")).wire == b"250-mx\r\n250-SIZE 1\r\n250 PIPELINING\r\n"
    assert say.hello("mx", ()).wire == b"250 mx\r\n"


def test_stored_names_ids_within_a_reply_line() -> None:
    assert say.stored(()).wire == b"250 2.0.0 Stored\r\n"
    many = say.stored(tuple(f"msg_{number:026}" for number in range(100)))
    assert len(many.wire) <= 512
    assert many.wire.count(b"msg_") == 8


def test_greeting() -> None:
    assert say.greeting("mx.example").wire == b"220 mx.example ESMTP leasebox\r\n"
