"""Who answers a session's questions: at the MX the intake; at other doors (submission) somebody else."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from leasebox.infra import log
from leasebox.mail import smtp_replies as say
from leasebox.mail.smtp_intake import Envelope, IncomingMail, Intake, RatePort, SenderPort, Stored
from leasebox.mail.smtp_questions import ContentReceived, LoginAsked, Question, RecipientAsked, SenderAsked
from leasebox.mail.smtp_replies import MailRefusal, RcptVerdict, Reply
from leasebox.mail.smtp_trace import Arrival, trace
from leasebox.values.clock import Clock

_log = log.get("leasebox.smtp")


@dataclass(frozen=True, slots=True)
class Visit:
    """Who asks. client: what counts as one client; client_ip: its address; token: names the mail in logs and trace.

    login: whom a LoginAsked was granted to in this session; None where nobody has signed in.
    """

    hostname: str
    client: str
    client_ip: str
    token: str
    login: object | None


class Clerk(Protocol):
    """Answers questions. What `answer` raises becomes a reply that has the client try again later (`apology`)."""

    def at_once(self, question: Question, visit: Visit) -> Reply | None:
        """The reply, if nobody need be asked for it."""
        ...

    async def answer(self, question: Question, visit: Visit) -> Reply:
        """The reply to any question but TlsAsked. Not cancelled when the client goes away."""
        ...


def apology(question: Question) -> Reply:
    """What a client hears when the house has failed."""
    if isinstance(question, ContentReceived):
        return MailRefusal.FAILED.value
    return say.LOGIN_UNAVAILABLE if isinstance(question, LoginAsked) else RcptVerdict.UNAVAILABLE.value


class MxClerk:
    """Takes mail in from anybody, for the mailboxes that the intake knows.

    rate, senders: asked once per MAIL FROM; None asks nobody. rate_s: seconds that the rate may take to answer.
    """

    def __init__(
        self, intake: Intake, clock: Clock, rate: RatePort | None, senders: SenderPort | None, rate_s: float
    ) -> None:
        self._intake = intake
        self._clock = clock
        self._rate = rate
        self._senders = senders
        self._rate_s = rate_s

    def at_once(self, question: Question, visit: Visit) -> Reply | None:
        asks_nobody = isinstance(question, SenderAsked) and self._rate is None and self._senders is None
        return say.SENDER_OK if asks_nobody else None

    async def answer(self, question: Question, visit: Visit) -> Reply:
        if isinstance(question, SenderAsked):
            denied = await self._is_denied(question.mail.sender, visit)
            return say.SENDER_DENIED if denied else await self._take_rate(visit)
        if isinstance(question, RecipientAsked):
            return (await self._intake.rcpt(question.mailbox, question.size)).value
        if isinstance(question, ContentReceived):
            return await self._store(question, visit)
        return say.NOT_IMPLEMENTED

    async def _is_denied(self, sender: str, visit: Visit) -> bool:
        try:
            return self._senders is not None and await self._senders.refuses(sender)
        except Exception:  # noqa: BLE001 - a list that cannot be read must not cost a mail
            _log.warning("smtp sender not judged", exc_info=True, connection=visit.token)
            return False

    async def _take_rate(self, visit: Visit) -> Reply:
        if self._rate is None:
            return say.SENDER_OK
        try:
            async with asyncio.timeout(self._rate_s):
                allowed = await self._rate.take(visit.client)
        except Exception:  # noqa: BLE001 - a counter that cannot count must not cost a mail
            _log.warning("smtp rate not counted", exc_info=True, connection=visit.token)
            return say.SENDER_OK
        return say.SENDER_OK if allowed else say.RATE_LIMITED

    async def _store(self, received: ContentReceived, visit: Visit) -> Reply:
        at = self._clock.now()
        arrival = Arrival(visit.hostname, visit.client_ip, visit.token, at)
        envelope = Envelope(
            mail_from=received.mail.sender,
            recipients=tuple(map(str, received.recipients)),
            deliver_to=tuple(dict.fromkeys(mailbox.address for mailbox in received.recipients)),
            helo=received.helo,
            client_ip=visit.client_ip,
            protocol=received.protocol,
            tls=received.tls,
            smtputf8=received.mail.charset == "utf-8",
        )
        verdict = await self._intake.accept(IncomingMail(envelope, at, trace(received, arrival), received.content))
        return say.stored(verdict.message_ids) if isinstance(verdict, Stored) else verdict.value
