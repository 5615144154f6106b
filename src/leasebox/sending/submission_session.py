"""The session of the submission door: SMTP for those who sign in first (RFC 6409, RFC 4954). Without IO or clock.

AUTH is offered under TLS only, takes PLAIN and LOGIN, and is needed before MAIL FROM. From then on every command first
asks whether its sender may still send, so that a right which was taken away ends the session at its next word.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

from leasebox.mail import smtp_replies as say
from leasebox.mail.smtp_questions import LoginAsked, Offer, StandingAsked
from leasebox.mail.smtp_replies import Reply, reply
from leasebox.mail.smtp_session import Session
from leasebox.values.secret import Secret

# Of one base64 line (RFC 4954 §4 has clients send up to 12,288); more than any address and password of ours take.
RESPONSE_OCTETS = 2_048
# No SMTPUTF8: local parts beyond ASCII are not sent to (addressees.py), and headers are encoded by who writes them.
EXTENSIONS = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING")
# With Offer.errors of 10: the third failure ends the session.
FAILURE_WEIGHT = 4

AUTH_NEEDS_TLS = reply(538, "5.7.11", "Send STARTTLS first: passwords are taken under encryption only")
AUTH_FIRST = reply(530, "5.7.0", "Sign in first: AUTH with the leased address and its webmail_password")
AUTH_UNKNOWN = reply(504, "5.5.4", "Mechanisms here are PLAIN and LOGIN")
AUTH_MALFORMED = reply(501, "5.5.2", "Malformed AUTH response")
AUTH_CANCELLED = reply(501, "5.7.0", "AUTH cancelled")
AUTH_TWICE = reply(503, "5.5.1", "You have signed in already")
AUTH_MID_MAIL = reply(503, "5.5.1", "AUTH is not taken while a mail is under way")
ASK_RESPONSE = reply(334, "", "")
ASK_LOGIN = reply(334, "", base64.b64encode(b"Username:").decode())
ASK_PASSWORD = reply(334, "", base64.b64encode(b"Password:").decode())
SIGNED_IN = reply(235, "2.7.0", "Welcome")

Step = Literal["plain", "login", "password"]
_INITIAL = re.compile(rb"(\S+)(?: +(\S+))?")
_UNASKED = frozenset({b"QUIT"})


class SubmissionSession(Session):
    """One connection of the submission door. `login` is who has signed in."""

    def __init__(self, offer: Offer) -> None:
        super().__init__(offer)
        self._step: Step | None = None
        self._name = ""

    def capabilities(self) -> tuple[str, ...]:
        """AUTH appears once TLS is up, and goes once it has been used."""
        offers_auth = self._tls is not None and self.login is None
        return (*super().capabilities(), *(["AUTH PLAIN LOGIN"] if offers_auth else []))

    def settle(self, answer: Reply) -> None:
        """As the base; a refusal of 421 is the last word to whatever was asked."""
        question = self._question
        if answer.code == 421:
            self.leave(answer)
        elif isinstance(question, StandingAsked):
            self._question = None
            if answer.positive:
                super()._command(question.line)
            else:
                self._say(answer)
        elif isinstance(question, LoginAsked):
            self._question = None
            self._settle_login(question, answer)
        else:
            super().settle(answer)

    def _settle_login(self, question: LoginAsked, answer: Reply) -> None:
        if answer.positive and question.granted is not None:
            self.login = question.granted
            self._commands = 0
            self._say(answer)
        else:
            self._fail(answer, FAILURE_WEIGHT)

    def _command(self, line: bytes) -> None:
        if self._step is not None:
            self._respond(self._step, line)
        elif self.login is not None and line[:4].upper() not in _UNASKED:
            self._question = StandingAsked(line)
        else:
            super()._command(line)

    def _mail_from(self, argument: bytes) -> None:
        if self._helo and self.login is None:
            return self._fail(AUTH_NEEDS_TLS if self._tls is None else AUTH_FIRST)
        return super()._mail_from(argument)

    def _auth(self, argument: bytes) -> None:
        match = _INITIAL.fullmatch(argument)
        if not self._helo or self._protocol == "SMTP":
            return self._fail(say.HELLO_FIRST)
        if self._tls is None:
            return self._fail(AUTH_NEEDS_TLS)
        if self.login is not None:
            return self._fail(AUTH_TWICE)
        if self._mail is not None:
            return self._fail(AUTH_MID_MAIL)
        mechanism = match[1].upper() if match else b""
        if match is None or mechanism not in {b"PLAIN", b"LOGIN"}:
            return self._fail(AUTH_UNKNOWN)
        self._step = "plain" if mechanism == b"PLAIN" else "login"
        if match[2] is None:
            return self._say(ASK_RESPONSE if self._step == "plain" else ASK_LOGIN)
        # RFC 4954 §4: an initial response of no octets is written "=".
        return self._take(self._step, b"" if match[2] == b"=" else match[2])

    def _respond(self, step: Step, line: bytes) -> None:
        """One line that answers a challenge; it is no command, whatever it looks like."""
        self._lines += 1
        self._commands += 1
        if line == b"*\r\n":
            self._step = None
            self._say(AUTH_CANCELLED)
        elif not line.endswith(b"\r\n") or len(line) > RESPONSE_OCTETS:
            self._step = None
            self._fail(AUTH_MALFORMED)
        else:
            self._take(step, line[:-2])

    def _take(self, step: Step, encoded: bytes) -> None:
        self._step = None
        text = _decoded(encoded)
        if text is None:
            self._fail(AUTH_MALFORMED)
        elif step == "login":
            self._name, self._step = text, "password"
            self._say(ASK_PASSWORD)
        elif step == "password":
            self._question = LoginAsked(self._name, Secret(text))
        else:
            self._take_plain(text)

    def _take_plain(self, text: str) -> None:
        """RFC 4616: authorization identity, NUL, authentication identity, NUL, password. The first acts for nobody."""
        acting, login, password = [*text.split("\x00", 2), "", ""][:3]
        if text.count("\x00") != 2 or not login or not password:
            self._fail(AUTH_MALFORMED)
        else:
            # Who wants to act for somebody else is told no more than who has the wrong password.
            self._question = LoginAsked(login if acting in ("", login) else "", Secret(password))

    ignored_parameters = frozenset({"AUTH"})  # RFC 4954 §5: who wrote it is whoever signed in
    verbs: ClassVar[Mapping[bytes, Callable[..., None]]] = {**Session.verbs, b"MAIL": _mail_from, b"AUTH": _auth}


def _decoded(encoded: bytes) -> str | None:
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
