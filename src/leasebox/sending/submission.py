"""The clerk of the submission door: who may come in, and what happens to the mail that is handed in (RFC 6409).

It ends in the same verb as `POST /v2/messages/send`, in one transaction with its metering; 250 is said after the
commit. A right that was taken away is felt within a second: each command asks, and the handing in asks last.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, Protocol

import msgspec

from leasebox.billing import service as billing
from leasebox.billing.errors import InvalidPaymentProof, PaymentRequired
from leasebox.billing.model import Demand
from leasebox.infra import log, metrics, wall
from leasebox.infra.cache import Cache
from leasebox.infra.db import Database, StorageFull, Tx
from leasebox.leases import logins
from leasebox.leases.logins import Login, Standing
from leasebox.mail import denials, house
from leasebox.mail import smtp_replies as say
from leasebox.mail.parse_worker import NOTHING_FOUND, Reading
from leasebox.mail.service import UNTOLD, fresh_message
from leasebox.mail.smtp_clerk import Visit
from leasebox.mail.smtp_questions import (
    ContentReceived,
    LoginAsked,
    Question,
    RecipientAsked,
    SenderAsked,
    StandingAsked,
)
from leasebox.mail.smtp_replies import RcptVerdict, Reply
from leasebox.sending import service, suppressions
from leasebox.sending import submission_replies as answers
from leasebox.sending.addressees import Addressee, Kind, UnreadableAddress, read_addressee
from leasebox.sending.compose import header_message_id
from leasebox.sending.model import Letter, SendPolicy, Submitted
from leasebox.sending.submission_content import Handed, Seal, prepare
from leasebox.sending.submission_session import SIGNED_IN
from leasebox.values.addresses import Mailbox, MalformedAddress
from leasebox.values.clock import Clock
from leasebox.values.errors import LeaseboxError, Unavailable
from leasebox.values.ids import SendAttemptId
from leasebox.values.keys import KeyRing
from leasebox.values.paths import Route
from leasebox.values.rate import Rate
from leasebox.values.secret import Secret

SEND: Final = Route("POST", "/v2/messages/send")
CHECKS: Final = 4
"""Passwords that are verified at once; each takes a thread for about 0.1 ms."""
CHECKS_WAITING: Final = 200
FAILURES: Final = Rate(20, 600)
"""Failed sign-ins of one client address, over all processes; then none of its sign-ins is looked at for a while."""
MAILBOX_FAILURES: Final = Rate(100, 3_600)
"""Failed sign-ins to one mailbox. Beyond, failures end their session; the right password still opens, or anybody could
lock its owner out."""
FRESH_S: Final = 0.5
"""How long a session's standing is believed."""
_REMEMBERED: Final = 10_000


class Reader(Protocol):
    """Reads a mail under a CPU bound."""

    async def read(self, raw: bytes) -> Reading: ...


class Neighbours(Protocol):
    """Knows the mailboxes of this instance (mail.intake.GroupIntake)."""

    async def rcpt(self, address: Mailbox, size: int) -> RcptVerdict: ...


class MailRate(Protocol):
    """Counts mails of a client address."""

    async def take(self, key: str) -> bool: ...


class Guard:
    """Counts failed sign-ins, and turns clients away that had too many."""

    def __init__(self, cache: Cache, by_client: Rate = FAILURES, by_mailbox: Rate = MAILBOX_FAILURES) -> None:
        self._cache = cache
        self._by_client = by_client
        self._by_mailbox = by_mailbox
        self._shut: OrderedDict[str, float] = OrderedDict()

    def turns_away(self, client: str) -> bool:
        """Whether this client's sign-ins are not even looked at."""
        return self._shut.get(client, 0.0) > time.monotonic()

    async def failed(self, client: str, login: str) -> bool:
        """Count a failure; True: it was one too many, for the client or for the mailbox."""
        by_client = await self._cache.draw(f"auth-client:{client}", self._by_client)
        by_login = await self._cache.draw(f"auth-login:{login}", self._by_mailbox)
        if not by_client.allowed:
            self._shut[client] = time.monotonic() + by_client.retry_after_s
            self._shut.move_to_end(client)
            if len(self._shut) > _REMEMBERED:
                self._shut.popitem(last=False)
        return not (by_client.allowed and by_login.allowed)


class SubmissionClerk:
    """Answers the questions of submission sessions."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        guard: Guard,
        neighbours: Neighbours,
        reader: Reader,
        rate: MailRate,
        policy: SendPolicy,
        proof_keys: KeyRing,
    ) -> None:
        self._db = db
        self._clock = clock
        self._guard = guard
        self._neighbours = neighbours
        self._reader = reader
        self._rate = rate
        self._policy = policy
        self._proof_keys = proof_keys
        self._places = asyncio.Semaphore(CHECKS)
        self._waiting = 0
        self._standings: OrderedDict[Login, tuple[float, Standing]] = OrderedDict()

    def at_once(self, question: Question, visit: Visit) -> Reply | None:
        """A standing that was looked up a moment ago."""
        if not isinstance(question, StandingAsked) or not isinstance(visit.login, Login):
            return None
        known = self._standings.get(visit.login)
        fresh = known is not None and time.monotonic() - known[0] < FRESH_S
        return say.OK if known and fresh and known[1] is Standing.GOOD else None

    async def answer(self, question: Question, visit: Visit) -> Reply:
        """Raises Unavailable, which the connection tells as 451 or 454."""
        if isinstance(question, LoginAsked):
            return await self._sign_in(question, visit)
        login = visit.login
        if not isinstance(login, Login):
            return answers.REVOKED
        with wall.behind(login.tenant_id):
            return await self._answer(question, login, visit)

    async def _answer(self, question: Question, login: Login, visit: Visit) -> Reply:
        match question:
            case StandingAsked():
                return say.OK if await self._standing(login) is Standing.GOOD else answers.REVOKED
            case SenderAsked():
                return await self._sender(question, login, visit)
            case RecipientAsked():
                return await self._recipient(question, login)
            case ContentReceived():
                return await self._hand_in(question, login, visit)
        return say.NOT_IMPLEMENTED

    # Who is there

    async def _sign_in(self, asked: LoginAsked, visit: Visit) -> Reply:
        if self._guard.turns_away(visit.client):
            return answers.TOO_MANY_FAILURES
        if self._waiting >= CHECKS_WAITING:
            return answers.BUSY
        address = _canonical(asked.login)
        login = await self._db.read(lambda tx: logins.find(tx, address))
        if not await self._opens(login, asked.password) or login is None:
            metrics.SUBMISSION_SIGN_INS.labels("refused").inc()
            too_many = await self._guard.failed(visit.client, address)
            return answers.TOO_MANY_FAILURES if too_many else answers.WRONG_CREDENTIALS
        refused = answers.SIGN_IN.get(login.standing(self._clock.now()))
        metrics.SUBMISSION_SIGN_INS.labels("refused" if refused else "opened").inc()
        if refused is None:
            asked.granted = login
            self._remember(login, Standing.GOOD)
        return refused or SIGNED_IN

    async def _opens(self, login: Login | None, password: Secret) -> bool:
        self._waiting += 1
        try:
            async with self._places:
                return await asyncio.to_thread(logins.opens, login, password)
        finally:
            self._waiting -= 1

    async def _standing(self, login: Login) -> Standing:
        now = await self._db.read(lambda tx: logins.find(tx, login.address))
        standing = login.still(now, self._clock.now())
        self._remember(login, standing)
        return standing

    def _remember(self, login: Login, standing: Standing) -> None:
        self._standings[login] = (time.monotonic(), standing)
        self._standings.move_to_end(login)
        if len(self._standings) > _REMEMBERED:
            self._standings.popitem(last=False)

    # The envelope

    async def _sender(self, asked: SenderAsked, login: Login, visit: Visit) -> Reply:
        sender = asked.mail.sender
        if not sender:
            return answers.NOBODY_SENDS
        if _canonical(sender) != login.address:
            return answers.NOT_YOUR_ADDRESS
        try:
            return say.SENDER_OK if await self._rate.take(visit.client) else say.RATE_LIMITED
        except Exception:  # noqa: BLE001 - a counter that cannot count must not cost a mail
            log.get("submission").warning("rate not counted", exc_info=True, connection=visit.token)
            return say.SENDER_OK

    async def _recipient(self, asked: RecipientAsked, login: Login) -> Reply:
        try:
            wanted = read_addressee(str(asked.mailbox))
        except UnreadableAddress:
            return answers.UNSENDABLE

        async def look(tx: Tx) -> Reply | None:
            if await suppressions.among(tx, login.tenant_id, [wanted.key]):
                return answers.SUPPRESSED
            denied = await denials.among(tx, "recipient", {wanted.destination})
            return answers.DENIED_DOMAIN if denied else None

        refused = await self._db.read(look)
        if refused is None and self._policy.errand(asked.mailbox) is not None:
            return RcptVerdict.TOO_BIG.value if asked.size > house.MAIL_OCTETS else say.RECIPIENT_OK
        return refused or await self._neighbour(asked.mailbox)

    async def _neighbour(self, mailbox: Mailbox) -> Reply:
        """Mailboxes of ours that never take mail are refused now; those that may take it later go into the queue."""
        with wall.outside("recipients may be anybody's mailboxes"):
            verdict = await self._neighbours.rcpt(mailbox, 0)
        final = (RcptVerdict.UNKNOWN, RcptVerdict.ENDED, RcptVerdict.FROZEN, RcptVerdict.UNAVAILABLE)
        refused: Reply | None = verdict.value if verdict in final else None
        return refused or say.RECIPIENT_OK

    # The mail

    async def _hand_in(self, received: ContentReceived, login: Login, visit: Visit) -> Reply:
        at = self._clock.now()
        attempt_id = SendAttemptId.new(at)
        message_id = header_message_id(attempt_id, login.address.rpartition("@")[2])
        seal = Seal(login.address, visit.hostname, received.protocol, str(attempt_id), message_id, at)
        handed = prepare(received.content, seal)
        if isinstance(handed, Reply):
            return handed
        if len(handed.content) > house.MAIL_OCTETS and any(map(self._policy.errand, received.recipients)):
            return say.MailRefusal.TOO_BIG.value
        reading = await self._reader.read(handed.content)
        fresh = fresh_message(reading.mail, NOTHING_FOUND, UNTOLD, reading.extracted)
        message = msgspec.structs.replace(fresh, direction="outbound", header_message_id=handed.header_message_id)
        recipients = _recipients(received.recipients, handed)
        letter = Letter(attempt_id, login.mailbox_id, login.address, handed.content, message, recipients)
        reply = await self._commit(letter, login, handed.proof, visit, at)
        metrics.SUBMISSIONS.labels("queued" if reply.positive else "refused").inc()
        return reply

    async def _commit(self, letter: Letter, login: Login, proof: str | None, visit: Visit, at: datetime) -> Reply:
        caller = login.caller("mail:send")
        demand = Demand(SEND, len(letter.recipients), proof, at, f"smtp-{visit.token}")

        async def admit(tx: Tx, recipients: int) -> object:
            counted = msgspec.structs.replace(demand, quantity=recipients)
            return await billing.admit(tx, caller, counted, self._proof_keys)

        async def work(tx: Tx) -> Submitted:
            return await self._work(tx, letter, login, admit, at)

        try:
            done = await self._db.transact(work)
        except (PaymentRequired, InvalidPaymentProof) as fault:
            denied = fault
            await self._note(lambda tx: billing.note_denial(tx, caller, demand, denied))
            return answers.refusal(fault)
        except _Revoked:
            return answers.REVOKED
        except _Changed:
            return answers.CHANGED
        except StorageFull:
            return say.MailRefusal.DISK_FULL.value
        except Unavailable:
            return say.MailRefusal.UNAVAILABLE.value
        except LeaseboxError as fault:
            return answers.refusal(fault)
        return answers.queued(done.send_attempt_id)

    async def _work(self, tx: Tx, letter: Letter, login: Login, admit: service.Admit, at: datetime) -> Submitted:
        """Hand in, then look once more: the lease is locked by now, so what stands now stands until the commit."""
        done = await service.hand_in(tx, login.caller("mail:send"), letter, admit, self._policy, at)
        if login.still(await logins.find(tx, login.address), at) is not Standing.GOOD:
            raise _Revoked
        if done.rejected:
            raise _Changed
        return done

    async def _note(self, work: Callable[[Tx], Awaitable[None]]) -> None:
        """Write a refusal down; it stands whether or not that succeeds."""
        try:
            await self._db.transact(work)
        except Unavailable:
            log.get("submission").warning("refusal not noted, database away")


class _Revoked(Exception):
    """The right to send went while the mail came in."""


class _Changed(Exception):
    """A recipient that was taken at RCPT is not any more; SMTP has one verdict for all."""


def _canonical(text: str) -> str:
    """An address as we store it; "" for what is none or names a tag, which no login has."""
    try:
        mailbox = Mailbox.parse(text)
    except MalformedAddress:
        return ""
    return "" if mailbox.tag else mailbox.address


def _recipients(envelope: tuple[Mailbox, ...], handed: Handed) -> tuple[tuple[Kind, Addressee], ...]:
    """The envelope, each address once, under the header field that names it; the others are blind."""
    people = {each.key: each for each in (read_addressee(str(mailbox)) for mailbox in envelope)}
    return tuple((_kind(key, handed), each) for key, each in people.items())


def _kind(key: str, handed: Handed) -> Kind:
    if key in handed.to:
        return "to"
    return "cc" if key in handed.cc else "bcc"
