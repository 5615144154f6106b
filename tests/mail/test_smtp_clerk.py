"""Who answers at the MX, and what a client hears when that fails."""

import pytest

from leasebox.mail import smtp_replies as say
from leasebox.mail.smtp_clerk import MxClerk, Visit, apology
from leasebox.mail.smtp_commands import MailCommand
from leasebox.mail.smtp_questions import (
    ContentReceived,
    LoginAsked,
    Question,
    RecipientAsked,
    SenderAsked,
    StandingAsked,
)
from leasebox.values.addresses import Mailbox
from leasebox.values.clock import SystemClock
from leasebox.values.secret import Secret
from tests.mail.smtp_house import MemoryIntake, codes

VISIT = Visit("mx.inbox.example", "192.0.2.1", "192.0.2.1", "abc.1", None)
MAIL = MailCommand("a@far.example", 7, "ascii")
ANN = Mailbox.parse("ann@inbox.example")
CONTENT = ContentReceived(MAIL, (ANN, Mailbox.parse("ann+x@inbox.example")), b"A: b\r\n\r\n", "c", "ESMTP", None)


class Yes:
    async def take(self, key: str) -> bool:
        return True

    async def refuses(self, sender: str) -> bool:
        return sender == "spam@far.example"


def clerk(intake: MemoryIntake, asks: Yes | None = None) -> MxClerk:
    return MxClerk(intake, SystemClock(), asks, asks, 1.0)


async def test_without_anybody_to_ask_a_sender_is_let_in_at_once() -> None:
    assert clerk(MemoryIntake()).at_once(SenderAsked(MAIL), VISIT) is say.SENDER_OK
    assert clerk(MemoryIntake(), Yes()).at_once(SenderAsked(MAIL), VISIT) is None
    assert clerk(MemoryIntake()).at_once(RecipientAsked(ANN), VISIT) is None


async def test_denied_senders() -> None:
    denied = SenderAsked(MailCommand("spam@far.example", 0, "ascii"))
    assert await clerk(MemoryIntake(), Yes()).answer(denied, VISIT) is say.SENDER_DENIED
    assert await clerk(MemoryIntake(), Yes()).answer(SenderAsked(MAIL), VISIT) is say.SENDER_OK


async def test_recipients_are_asked_with_the_declared_size() -> None:
    intake = MemoryIntake()
    await clerk(intake).answer(RecipientAsked(ANN, 7), VISIT)
    assert intake.sizes == [7]


async def test_mail_is_handed_over_with_its_envelope() -> None:
    intake = MemoryIntake()
    assert codes((await clerk(intake).answer(CONTENT, VISIT)).wire) == ["250/2.0.0"]
    (mail,) = intake.mails
    assert mail.envelope.recipients == ("ann@inbox.example", "ann+x@inbox.example")
    assert mail.envelope.deliver_to == ("ann@inbox.example",)
    assert b"by mx.inbox.example with ESMTP id abc.1" in mail.trace


async def test_nobody_signs_in_here() -> None:
    for question in (LoginAsked("a", Secret("b")), StandingAsked(b"NOOP\r\n")):
        assert await clerk(MemoryIntake()).answer(question, VISIT) is say.NOT_IMPLEMENTED


@pytest.mark.parametrize(
    ("question", "code"),
    [
        (CONTENT, "451/4.3.0"),
        (RecipientAsked(ANN), "451/4.3.0"),
        (SenderAsked(MAIL), "451/4.3.0"),
        (StandingAsked(b"NOOP\r\n"), "451/4.3.0"),
        (LoginAsked("a", Secret("b")), "454/4.7.0"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_a_failure_of_ours_lets_the_client_try_again(question: Question, code: str) -> None:
    assert codes(apology(question).wire) == [code]
