"""One SMTP session without IO or clock: octets in, replies and questions out (RFC 5321).

The caller feeds `receive`, then calls `advance` until it gives None. A question stops all reading until it is settled,
which is what keeps pipelined replies in order (RFC 2920). `output` is what must be written; `ended` says that nothing
will be read any more. A session for submission derives from this one and adds to `verbs` and `capabilities`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from leasebox.mail import smtp_replies as say
from leasebox.mail.smtp_commands import MailCommand, parse_chunk, parse_mail, parse_name, parse_rcpt
from leasebox.mail.smtp_data import CRLF, ChunkedContent, DottedContent
from leasebox.mail.smtp_questions import ContentReceived, Offer, Question, RecipientAsked, SenderAsked, TlsAsked
from leasebox.mail.smtp_replies import Reply
from leasebox.values.addresses import Mailbox

COMMAND_OCTETS = 512
# MAIL and RCPT grow by what their extensions add (RFC 1870 §3, RFC 6531 §3.4); all others stay at 512.
EXTENDED_OCTETS = 1_024
FLOOD_OCTETS = 65_536
# Chunks smaller than this count as commands, so that a mail cannot be sent octet by octet to keep us busy.
CHUNK_OCTETS = 1_024
# Bare CR and LF are how smuggling and other protocols look: three of them end a session.
BARE_EOL_WEIGHT = 4

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
# Browsers can be made to talk to any port (RFC 9110 §9.3), HTTP/2 begins with PRI.
_FOREIGN_VERBS = frozenset({b"GET", b"POST", b"PUT", b"HEAD", b"CONNECT", b"OPTIONS", b"PRI"})


@dataclass(slots=True)
class _Mail:
    """The mail under way. `chunked` is there from its first BDAT on, `dotted` while DATA's content is being read."""

    command: MailCommand
    recipients: list[Mailbox] = field(default_factory=list)
    chunked: ChunkedContent | None = None
    dotted: DottedContent | None = None


@dataclass(slots=True)
class _Chunk:
    """The chunk being read. `refusal` is there when it belongs to no mail and only has to be got past."""

    octets: int
    left: int
    last: bool
    refusal: Reply | None


class Session:
    """The server's side of one connection. Every method returns at once and none raises for what a client sends."""

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.ended = False
        self.output = bytearray(say.greeting(offer.hostname).wire)
        self._buffer = bytearray()
        self._scanned = 0
        self._question: Question | None = None
        self._mail: _Mail | None = None
        self._chunk: _Chunk | None = None
        # Who has signed in, as the house knows him; nobody does at this door.
        self.login: object | None = None
        self._helo = ""
        self._protocol = "SMTP"
        self._tls: str | None = None
        self._draining = False
        self._errors = 0
        self._commands = 0
        self._lines = 0

    def receive(self, octets: bytes) -> None:
        """Take octets from the client; `advance` reads them."""
        if not self.ended and not isinstance(self._question, TlsAsked):
            self._buffer += octets

    def advance(self) -> Question | None:
        """Read on until a question must be settled (the same one until it is) or the octets run out (None)."""
        while self._question is None and not self.ended:
            if self._draining and self._mail is None:
                self.leave(say.CLOSING)
            elif not self._read():
                break
        return self._question

    def settle(self, answer: Reply) -> None:
        """Answer the open question, if it is not TlsAsked. A positive answer takes effect."""
        question, self._question = self._question, None
        if isinstance(question, ContentReceived):
            self._mail = None
            self._commands = 0
        elif isinstance(question, SenderAsked) and answer.positive:
            self._mail = _Mail(question.mail)
        elif isinstance(question, RecipientAsked) and answer.positive and self._mail:
            self._mail.recipients.append(question.mailbox)
        self._say(answer)

    def tls_started(self, description: str) -> None:
        """TLS is up: what was said before is forgotten and the client greets anew (RFC 3207 §4.2)."""
        self._question = None
        self._tls = description
        self._forget()
        self._helo = ""

    def shed(self, refusal: Reply) -> None:
        """Throw away the content under way and answer its end with `refusal`; without any, do nothing."""
        mail = self._mail
        if mail is not None and mail.dotted is not None:
            mail.dotted.shed(refusal, self._buffer)
        elif mail is not None and mail.chunked is not None:
            mail.chunked.shed(refusal)

    def drain(self) -> None:
        """From now on, finish the mail under way if there is one, then say 421 and end."""
        self._draining = True

    def leave(self, last: Reply) -> None:
        """Say a last reply and end; nothing more is read."""
        self._say(last)
        self.ended = True
        self._question = None
        self._mail = None
        self._chunk = None
        self._buffer.clear()

    @property
    def reads_content(self) -> bool:
        """Whether the client is expected to send a mail's octets now, and not a command."""
        return self._chunk is not None or (self._mail is not None and self._mail.dotted is not None)

    @property
    def mid_mail(self) -> bool:
        """Whether a mail is under way, from MAIL FROM to the reply to its content."""
        return self._mail is not None

    @property
    def progress(self) -> int:
        """A number that grows with each whole command: what tells a trickle of octets from a conversation."""
        return self._lines

    @property
    def held_octets(self) -> int:
        """Memory held for this client's words, in octets."""
        chunked = self._mail.chunked if self._mail else None
        content = len(self._question.content) if isinstance(self._question, ContentReceived) else 0
        return len(self._buffer) + (chunked.held_octets if chunked is not None else 0) + content

    def capabilities(self) -> tuple[str, ...]:
        """EHLO's lines after the host name. STARTTLS is offered until TLS is up (RFC 3207 §4.2)."""
        offered = (word for word in self.offer.extensions if word != "STARTTLS" or self._tls is None)
        return (f"SIZE {self.offer.bounds.octets}", *offered)

    def _read(self) -> bool:
        """Take one command, chunk or mail from the buffer; False if it is not there whole."""
        if self._chunk is not None:
            return self._read_chunk(self._chunk)
        if self._mail is not None and self._mail.dotted is not None:
            return self._read_content(self._mail, self._mail.dotted)
        end = self._buffer.find(b"\n", self._scanned)
        self._scanned = len(self._buffer) if end < 0 else 0
        if max(end, self._scanned) >= FLOOD_OCTETS:
            self.leave(say.LINE_FLOOD)
        if end < 0 or self.ended:
            return False
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        self._command(line)
        return True

    def _read_content(self, mail: _Mail, dotted: DottedContent) -> bool:
        content = dotted.take(self._buffer)
        if content is None:
            if dotted.flooded and dotted.refusal:
                self.leave(dotted.refusal)
            return False
        mail.dotted = None
        self._finish(mail, content)
        return True

    def _read_chunk(self, chunk: _Chunk) -> bool:
        taken = self._buffer[: chunk.left]
        del self._buffer[: chunk.left]
        chunk.left -= len(taken)
        chunked = self._mail.chunked if self._mail else None
        if chunked is not None:
            chunked.add(taken)
        if chunk.left:
            return False
        self._chunk = None
        if chunk.octets >= CHUNK_OCTETS:
            self._commands -= 1
        if chunk.refusal or chunked is None or self._mail is None:
            self._say(chunk.refusal or say.SENDER_FIRST)
        elif chunk.last:
            self._finish(self._mail, chunked.finish())
        else:
            self._say(chunked.refusal or say.CHUNK_OK)
        return True

    def _finish(self, mail: _Mail, content: bytes | Reply) -> None:
        """The last octet of a mail is here: ask for it to be stored, or refuse it."""
        mail.chunked = None
        if isinstance(content, Reply):
            self._forget()
            return self._say(content)
        # RFC 3848 and RFC 6531 §4.3 name the protocol; there is no SMTPS without EHLO.
        name = "UTF8SMTP" if mail.command.charset == "utf-8" else self._protocol
        protocol = name + "S" if self._tls and name != "SMTP" else name
        protocol += "A" if self.login is not None else ""
        recipients = tuple(mail.recipients)
        self._question = ContentReceived(mail.command, recipients, content, self._helo, protocol, self._tls)
        return None

    def _forget(self) -> None:
        """Drop the mail under way (RFC 5321 §4.1.1.5)."""
        self._mail = None

    def _say(self, answer: Reply) -> None:
        self.output += answer.wire

    def _fail(self, answer: Reply, weight: int = 1) -> None:
        """Refuse what makes no sense; too much of it ends the session."""
        self._errors += weight
        if self._errors >= self.offer.errors:
            self.leave(say.TOO_MANY_ERRORS)
        else:
            self._say(answer)

    def _command(self, line: bytes) -> None:
        """Answer one line, which ends with LF."""
        self._commands += 1
        self._lines += 1
        body = line[:-2]
        verb, _, argument = body.partition(b" ")
        verb = verb.upper()
        room = EXTENDED_OCTETS if verb in {b"MAIL", b"RCPT"} else COMMAND_OCTETS
        if self._commands > self.offer.commands:
            self.leave(say.TOO_MANY_COMMANDS)
        elif verb in _FOREIGN_VERBS or b":" in verb:
            # A header field read as a command means that the client sends a mail which we refused: not one line of
            # it may be obeyed.
            self.leave(say.NOT_SMTP)
        elif not line.endswith(CRLF) or b"\r" in body:
            self._fail(say.BARE_EOL, BARE_EOL_WEIGHT)
        elif len(line) > room:
            self._fail(say.LINE_TOO_LONG)
        elif _CONTROL.search(body):
            self._fail(say.CONTROL_CHARACTER)
        elif verb in self.verbs:
            self.verbs[verb](self, argument.strip(b" "))
        else:
            self._fail(say.UNKNOWN_COMMAND)

    def _ehlo(self, argument: bytes) -> None:
        self._greet(argument, "ESMTP", self.capabilities())

    def _helo_only(self, argument: bytes) -> None:
        self._greet(argument, "SMTP", ())

    def _greet(self, argument: bytes, protocol: str, capabilities: tuple[str, ...]) -> None:
        name = parse_name(argument)
        if isinstance(name, Reply):
            return self._fail(name)
        self._forget()
        self._helo = name
        self._protocol = protocol
        return self._say(say.hello(self.offer.hostname, capabilities))

    def _mail_from(self, argument: bytes) -> None:
        if not self._helo:
            return self._fail(say.HELLO_FIRST)
        if self._mail is not None:
            return self._fail(say.NESTED_MAIL)
        command = parse_mail(argument, self.ignored_parameters)
        if isinstance(command, Reply):
            return self._fail(command)
        if command.size > self.offer.bounds.octets:
            return self._say(say.TOO_BIG)
        self._question = SenderAsked(command)
        return None

    def _rcpt_to(self, argument: bytes) -> None:
        mail = self._mail
        if mail is None:
            return self._fail(say.SENDER_FIRST)
        if mail.chunked is not None:
            return self._fail(say.CHUNKS_UNDER_WAY)
        mailbox = parse_rcpt(argument, mail.command.charset, self.offer.domain)
        if isinstance(mailbox, Reply):
            return self._fail(mailbox)
        if len(mail.recipients) >= self.offer.recipients:
            return self._say(say.TOO_MANY_RECIPIENTS)
        self._question = RecipientAsked(mailbox, mail.command.size)
        return None

    def _data(self, argument: bytes) -> None:
        mail = self._mail
        if mail is None:
            return self._fail(say.SENDER_FIRST)
        if argument:
            return self._fail(say.NO_ARGUMENT)
        if mail.chunked is not None:
            return self._fail(say.CHUNKS_UNDER_WAY)
        if not mail.recipients:
            # No error of the client's: it pipelined DATA behind recipients that we refused.
            return self._say(say.NO_RECIPIENTS)
        mail.dotted = DottedContent(self.offer.bounds)
        self._buffer[:0] = CRLF
        return self._say(say.SEND_CONTENT)

    def _bdat(self, argument: bytes) -> None:
        command = parse_chunk(argument)
        if isinstance(command, Reply) or command.octets > self.offer.bounds.flood_octets:
            # Its octets cannot be told from commands, or are too many to sit through: nothing after this is safe.
            return self.leave(say.TOO_BIG if not isinstance(command, Reply) else command)
        mail = self._mail
        refusal = say.SENDER_FIRST if mail is None else None if mail.recipients else say.NO_RECIPIENTS
        if mail is not None and refusal is None and mail.chunked is None:
            mail.chunked = ChunkedContent(self.offer.bounds)
        self._chunk = _Chunk(command.octets, command.octets, command.last, refusal)
        return None

    def _rset(self, argument: bytes) -> None:
        if argument:
            return self._fail(say.NO_ARGUMENT)
        self._forget()
        return self._say(say.OK)

    def _noop(self, argument: bytes) -> None:
        self._say(say.OK)

    def _help(self, argument: bytes) -> None:
        self._say(say.HELP)

    def _vrfy(self, argument: bytes) -> None:
        if argument:
            self._say(say.CANNOT_VERIFY)
        else:
            self._fail(say.NEEDS_ARGUMENT)

    def _quit(self, argument: bytes) -> None:
        self.leave(say.BYE)

    def _starttls(self, argument: bytes) -> None:
        if self._tls is not None:
            return self._fail(say.TLS_ACTIVE)
        if "STARTTLS" not in self.offer.extensions:
            return self._fail(say.NOT_IMPLEMENTED)
        if argument:
            return self._fail(say.NO_ARGUMENT)
        # Whatever came in the clear behind STARTTLS must never be read as if it came under TLS.
        self._buffer.clear()
        self._scanned = 0
        self._question = TlsAsked()
        return self._say(say.TLS_READY)

    def _not_implemented(self, argument: bytes) -> None:
        self._fail(say.NOT_IMPLEMENTED)

    # Of MAIL FROM, besides those that mean something here.
    ignored_parameters: ClassVar[frozenset[str]] = frozenset()
    verbs: ClassVar[Mapping[bytes, Callable[["Session", bytes], None]]] = {
        b"EHLO": _ehlo,
        b"HELO": _helo_only,
        b"MAIL": _mail_from,
        b"RCPT": _rcpt_to,
        b"DATA": _data,
        b"BDAT": _bdat,
        b"RSET": _rset,
        b"NOOP": _noop,
        b"HELP": _help,
        b"VRFY": _vrfy,
        b"QUIT": _quit,
        b"STARTTLS": _starttls,
        b"AUTH": _not_implemented,
        b"EXPN": _not_implemented,
        b"TURN": _not_implemented,
    }
