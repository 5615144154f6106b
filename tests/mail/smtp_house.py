"""The house behind the SMTP door, in memory, and a client's side of a session for the tests of mail coming in."""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from leasebox.mail import smtp_replies as say
from leasebox.mail.smtp_intake import AcceptVerdict, IncomingMail, Stored
from leasebox.mail.smtp_questions import ContentReceived, Offer, Question, RecipientAsked, SenderAsked, TlsAsked
from leasebox.mail.smtp_replies import MailRefusal, RcptVerdict, Reply
from leasebox.mail.smtp_session import Session
from leasebox.values.addresses import Mailbox

OFFER = Offer("mx.inbox.example", "inbox.example")
LIVING = frozenset({"ann", "bob", "müller", "postmaster"} | {f"box{number}" for number in range(200)})
REFUSED = {
    "ended": RcptVerdict.ENDED,
    "frozen": RcptVerdict.FROZEN,
    "paused": RcptVerdict.PAUSED,
    "full": RcptVerdict.OVER_QUOTA,
    "broken": RcptVerdict.UNAVAILABLE,
}
LATE = {f"late-{refusal.name.lower().replace('_', '-')}": refusal for refusal in MailRefusal}
_REPLY = re.compile(rb"(\d{3})([ -])(?:(\d\.\d{1,3}\.\d{1,3}) )?[ -~]*\r\n")


def rcpt_verdict(mailbox: Mailbox) -> RcptVerdict:
    """Decides by name: some live, some do not, the others never did."""
    if mailbox.domain != OFFER.domain:
        return RcptVerdict.FOREIGN
    if mailbox.local in LIVING or mailbox.local in LATE:
        return RcptVerdict.ACCEPT
    return REFUSED.get(mailbox.local, RcptVerdict.UNKNOWN)


@dataclass
class Dialogue:
    """What came of a session: all that was written, and the mails that were handed over."""

    output: bytes = b""
    mails: list[ContentReceived] = field(default_factory=list)
    ended: bool = False

    @property
    def codes(self) -> str:
        """The replies in short: `220 250 250/2.1.0`, one word each; fails on a malformed line."""
        return " ".join(codes(self.output))


def codes(output: bytes) -> list[str]:
    """Code and enhanced code of each reply, many lines making one."""
    found, position = [], 0
    while position < len(output):
        line = _REPLY.match(output, position)
        assert line, f"malformed reply at {output[position : position + 80]!r}"
        if line[2] == b" ":
            found.append(line[1].decode() + (f"/{line[3].decode()}" if line[3] else ""))
        position = line.end()
    return found


def converse(octets: Iterable[bytes], offer: Offer = OFFER) -> Dialogue:
    """Feed a session in these pieces, the house answering each question at once."""
    session, dialogue = Session(offer), Dialogue()
    for piece in octets:
        session.receive(piece)
        while (question := session.advance()) is not None:
            if isinstance(question, TlsAsked):
                session.tls_started("TLSv1.3 test")
            else:
                session.settle(_answer(question, dialogue))
        dialogue.output += bytes(session.output)
        session.output.clear()
    dialogue.ended = session.ended
    return dialogue


def _answer(question: Question, dialogue: Dialogue) -> Reply:
    if isinstance(question, SenderAsked):
        return say.RATE_LIMITED if question.mail.sender.startswith("eager@") else say.SENDER_OK
    if isinstance(question, RecipientAsked):
        return rcpt_verdict(question.mailbox).value
    assert isinstance(question, ContentReceived)
    late = LATE.get(question.recipients[0].local)
    if late is not None:
        return late.value
    dialogue.mails.append(question)
    return say.stored((f"msg_{len(dialogue.mails)}",))


class MemoryIntake:
    """An Intake that keeps mails in a list, after as long as it is told, and fails when it is told."""

    def __init__(self) -> None:
        self.mails: list[IncomingMail] = []
        self.asked: list[str] = []
        self.sizes: list[int] = []
        self.storing_s = 0.0
        self.gate: asyncio.Event | None = None
        self.entered = asyncio.Event()
        self.fault: BaseException | None = None

    async def rcpt(self, address: Mailbox, size: int) -> RcptVerdict:
        self.asked.append(str(address))
        self.sizes.append(size)
        if address.local == "raises":
            raise RuntimeError("no database")
        return rcpt_verdict(address)

    async def accept(self, mail: IncomingMail) -> AcceptVerdict:
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.storing_s:
            await asyncio.sleep(self.storing_s)
        if self.fault is not None:
            raise self.fault
        late = LATE.get(mail.envelope.deliver_to[0].partition("@")[0])
        if late is not None:
            return late
        self.mails.append(mail)
        return Stored((f"msg_{len(self.mails)}",))
