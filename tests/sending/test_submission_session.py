"""Whole dialogues at the submission door, octets in and out: AUTH in each form, what comes before it, and its end."""

import base64
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest

from leasebox.mail import smtp_replies as say
from leasebox.mail.smtp_questions import ContentReceived, LoginAsked, Offer, Question, StandingAsked, TlsAsked
from leasebox.mail.smtp_replies import Reply
from leasebox.sending import submission_replies as answers
from leasebox.sending.submission_session import SIGNED_IN, SubmissionSession
from leasebox.values.secret import Secret
from tests.mail.smtp_house import codes

OFFER = Offer("mx.inbox.example", "inbox.example", extensions=("PIPELINING", "CHUNKING", "STARTTLS"))
BEGIN = b"EHLO c\r\nSTARTTLS\r\n"
ME, WORD = "otter@inbox.example", "pass-word"


def b64(text: str) -> bytes:
    return base64.b64encode(text.encode())


PLAIN = b"AUTH PLAIN " + b64(f"\0{ME}\0{WORD}") + b"\r\n"
MAIL = b"MAIL FROM:<otter@inbox.example>\r\nRCPT TO:<a@far.example>\r\nDATA\r\n"


@dataclass
class Talk:
    """What came of a dialogue; `standing` is said to each command of whoever has signed in."""

    standing: Reply = say.OK
    output: bytes = b""
    asked: list[tuple[str, str]] = field(default_factory=list)
    commands: list[bytes] = field(default_factory=list)
    mails: list[ContentReceived] = field(default_factory=list)
    ended: bool = False

    def answer(self, question: Question) -> Reply:
        if isinstance(question, LoginAsked):
            self.asked.append((question.login, question.password.reveal()))
            if question.password.reveal() != WORD or question.login != ME:
                return answers.WRONG_CREDENTIALS
            question.granted = "otter"
            return SIGNED_IN
        if isinstance(question, StandingAsked):
            self.commands.append(question.line)
            return self.standing
        if isinstance(question, ContentReceived):
            self.mails.append(question)
        return say.OK


def talk(*pieces: bytes, then: Callable[[Talk], None] | None = None, last: bytes = b"", tls: bool = True) -> Talk:
    """Feed a session; TLS is up from the beginning unless told otherwise. `then` happens before the `last` octets."""
    session, heard = SubmissionSession(OFFER), Talk()
    _feed(session, heard, [BEGIN] if tls else [])
    heard.output = b""
    _feed(session, heard, [b"EHLO c\r\n"] if tls else [])
    heard.output = b""
    _feed(session, heard, pieces)
    if then is not None:
        then(heard)
        _feed(session, heard, [last])
    heard.ended = session.ended
    return heard


def _feed(session: SubmissionSession, heard: Talk, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        session.receive(piece)
        while (question := session.advance()) is not None:
            if isinstance(question, TlsAsked):
                session.tls_started("TLSv1.3 test")
            else:
                session.settle(heard.answer(question))
        heard.output += bytes(session.output)
        session.output.clear()


def said(*pieces: bytes) -> list[str]:
    return codes(talk(*pieces).output)


def test_auth_is_offered_under_tls_until_it_is_used() -> None:
    assert b"AUTH" not in talk(b"EHLO c\r\n", tls=False).output
    assert b"250 AUTH PLAIN LOGIN\r\n" in talk(b"EHLO c\r\n").output
    assert b"AUTH" not in talk(PLAIN + b"EHLO c\r\n").output


@pytest.mark.parametrize(
    "dialogue",
    [
        [PLAIN],
        [b"auth plain " + b64(f"{ME}\0{ME}\0{WORD}") + b"\r\n"],
        [b"AUTH PLAIN\r\n", b64(f"\0{ME}\0{WORD}") + b"\r\n"],
        [b"AUTH LOGIN\r\n", b64(ME) + b"\r\n", b64(WORD) + b"\r\n"],
        [b"AUTH LOGIN " + b64(ME) + b"\r\n", b64(WORD) + b"\r\n"],
        [bytes([octet]) for octet in PLAIN],
    ],
    ids=["initial", "own-authzid", "asked", "login", "login-initial", "octet-by-octet"],
)
def test_signing_in(dialogue: list[bytes]) -> None:
    heard = talk(*dialogue)
    *before, last = codes(heard.output)
    assert (set(before) <= {"334"}, last) == (True, "235/2.7.0")
    assert heard.asked == [(ME, WORD)]


def test_what_the_server_asks_in_login() -> None:
    assert talk(b"AUTH LOGIN\r\n").output == b"334 " + b64("Username:") + b"\r\n"
    assert talk(b"AUTH LOGIN " + b64(ME) + b"\r\n").output == b"334 " + b64("Password:") + b"\r\n"
    assert talk(b"AUTH PLAIN\r\n").output == b"334 \r\n"


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"AUTH\r\n", ["504/5.5.4"]),
        (b"AUTH CRAM-MD5\r\n", ["504/5.5.4"]),
        (b"AUTH PLAIN a b\r\n", ["504/5.5.4"]),
        (b"AUTH PLAIN !\r\n", ["501/5.5.2"]),
        (b"AUTH PLAIN =\r\n", ["501/5.5.2"]),
        (b"AUTH PLAIN " + b64("no separators") + b"\r\n", ["501/5.5.2"]),
        (b"AUTH PLAIN " + b64("\0a\0b\0c") + b"\r\n", ["501/5.5.2"]),
        (b"AUTH PLAIN " + b64("\0\0b") + b"\r\n", ["501/5.5.2"]),
        (b"AUTH PLAIN " + b64("\0a\0") + b"\r\n", ["501/5.5.2"]),
        (b"AUTH PLAIN " + base64.b64encode(b"\0a\0\xff") + b"\r\n", ["501/5.5.2"]),
        (b"AUTH PLAIN\r\n*\r\n", ["334", "501/5.7.0"]),
        (b"AUTH PLAIN\r\n\r\n", ["334", "501/5.5.2"]),
        (b"AUTH LOGIN\r\n" + b"A" * 3_000 + b"\r\nNOOP\r\n", ["334", "501/5.5.2", "250/2.0.0"]),
        (b"AUTH LOGIN\r\n" + b64(ME) + b"\n", ["334", "501/5.5.2"]),
        (b"AUTH PLAIN " + b64(f"boss@inbox.example\0{ME}\0{WORD}") + b"\r\n", ["535/5.7.8"]),
        (PLAIN + PLAIN, ["235/2.7.0", "503/5.5.1"]),
        (PLAIN + b"MAIL FROM:<otter@inbox.example>\r\nAUTH PLAIN\r\n", ["235/2.7.0", "250/2.0.0", "503/5.5.1"]),
        (b"HELO c\r\n" + PLAIN, ["250", "503/5.5.1"]),
    ],
    ids=range(18),
)
def test_auth_that_is_refused(octets: bytes, expected: list[str]) -> None:
    assert said(octets) == expected


def test_no_password_is_taken_in_the_clear() -> None:
    heard = talk(b"EHLO c\r\n" + PLAIN, tls=False)
    assert codes(heard.output)[-1] == "538/5.7.11"
    assert heard.asked == []


def test_commands_in_the_clear_behind_starttls_are_thrown_away() -> None:
    heard = talk(b"EHLO c\r\nSTARTTLS\r\n" + PLAIN + MAIL, tls=False)
    assert codes(heard.output) == ["220", "250", "220/2.0.0"]
    assert heard.asked == []


@pytest.mark.parametrize(("tls", "code"), [(True, "530/5.7.0"), (False, "538/5.7.11")])
def test_nothing_is_sent_before_signing_in(tls: bool, code: str) -> None:
    heard = talk(b"EHLO c\r\n" + MAIL, tls=tls)
    assert codes(heard.output)[-3:] == [code, "503/5.5.1", "503/5.5.1"]
    assert codes(talk(b"MAIL FROM:<a@b.example>\r\n", tls=False).output)[-1] == "503/5.5.1"


def test_three_failures_end_the_session() -> None:
    wrong = b"AUTH PLAIN " + b64(f"\0{ME}\0wrong") + b"\r\n"
    heard = talk(wrong * 5)
    assert codes(heard.output) == ["535/5.7.8", "535/5.7.8", "421/4.7.0"]
    assert heard.ended
    assert len(heard.asked) == 3


def test_a_response_is_never_a_command() -> None:
    heard = talk(b"AUTH LOGIN\r\nQUIT\r\n")
    assert codes(heard.output)[0] == "334"
    assert not heard.ended


def test_a_mail_is_handed_in() -> None:
    heard = talk(PLAIN + MAIL + b"Subject: x\r\n\r\nhi\r\n.\r\nQUIT\r\n")
    assert codes(heard.output) == ["235/2.7.0", "250/2.0.0", "250/2.0.0", "354", "250/2.0.0", "221/2.0.0"]
    (mail,) = heard.mails
    assert (mail.protocol, mail.content) == ("ESMTPSA", b"Subject: x\r\n\r\nhi\r\n")


def test_in_chunks_too() -> None:
    envelope = MAIL.removesuffix(b"DATA\r\n")
    heard = talk(PLAIN + envelope + b"BDAT 6\r\nA: 1\r\nBDAT 6 LAST\r\n\r\nhi\r\n")
    assert codes(heard.output)[-2:] == ["250/2.0.0", "250/2.0.0"]
    assert heard.mails[0].content == b"A: 1\r\n\r\nhi\r\n"


def test_the_auth_parameter_of_mail_is_taken() -> None:
    """RFC 4954 §5: servers that forward say `AUTH=<>`."""
    assert said(PLAIN + b"MAIL FROM:<otter@inbox.example> AUTH=<> SIZE=10\r\n") == ["235/2.7.0", "250/2.0.0"]
    assert said(PLAIN + b"MAIL FROM:<otter@inbox.example> RET=FULL\r\n") == ["235/2.7.0", "555/5.5.4"]


def test_every_command_but_quit_asks_for_the_standing() -> None:
    heard = talk(PLAIN + b"NOOP\r\nRSET\r\nEHLO d\r\nVRFY x\r\nHELP\r\n" + MAIL + b"A: b\r\n\r\n.\r\nQUIT\r\n")
    assert [line.split()[0] for line in heard.commands] == [
        b"NOOP", b"RSET", b"EHLO", b"VRFY", b"HELP", b"MAIL", b"RCPT", b"DATA",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "command", [b"NOOP\r\n", b"RSET\r\n", MAIL, b"EHLO d\r\n", b"DATA\r\n", b"junk\r\n"], ids=range(6)
)
def test_whoever_may_not_any_more_hears_421_at_the_next_command(command: bytes) -> None:
    def revoke(heard: Talk) -> None:
        heard.output, heard.standing = b"", answers.REVOKED

    heard = talk(PLAIN, then=revoke, last=command + b"NOOP\r\n")
    assert (codes(heard.output), heard.ended) == (["421/4.7.0"], True)


def test_a_standing_that_cannot_be_told_is_tried_again() -> None:
    def hinder(heard: Talk) -> None:
        heard.output, heard.standing = b"", say.RcptVerdict.UNAVAILABLE.value

    heard = talk(PLAIN, then=hinder, last=b"NOOP\r\nNOOP\r\n")
    assert (codes(heard.output), heard.ended) == (["451/4.3.0"] * 2, False)


def test_the_content_is_not_asked_about_line_by_line() -> None:
    heard = talk(PLAIN + MAIL + b"NOOP\r\nRSET\r\n.\r\n")
    assert [line.split()[0] for line in heard.commands] == [b"MAIL", b"RCPT", b"DATA"]
    assert heard.mails[0].content == b"NOOP\r\nRSET\r\n"


def test_secrets_do_not_show() -> None:
    assert WORD not in repr(LoginAsked(ME, Secret(WORD)))


def test_any_octets_get_well_formed_replies() -> None:
    noise = random.Random(20261120)
    words = [
        PLAIN,
        MAIL,
        b"AUTH LOGIN\r\n",
        b64(ME) + b"\r\n",
        b"*\r\n",
        b"A: b\r\n\r\n.\r\n",
        b"EHLO c\r\n",
        b"\r\n",
        b"BDAT 3\r\n",
    ]
    for _ in range(300):
        octets = b"".join(noise.choice(words) for _ in range(noise.randrange(20)))
        spoiled = bytearray(octets)
        for _ in range(noise.randrange(4)):
            if spoiled:
                spoiled[noise.randrange(len(spoiled))] = noise.randrange(256)
        cut = noise.randrange(len(spoiled) + 1)
        heard = talk(bytes(spoiled[:cut]), bytes(spoiled[cut:]))
        assert all(code[0] in "2345" for code in codes(heard.output))
